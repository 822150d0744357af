# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicies drawn at random, all of the API's forms, about a cluster small enough that each
form is met by some pod and missed by another. What is drawn follows from the generator alone."""
import ipaddress

NAMESPACES = ("default", "blue", "green")
LABELS = {"app": ("a", "b", "c"), "tier": ("x", "y"), "role": ("r",)}
NAMESPACE_LABELS = {"team": ("red", "blue"), "open": ("yes",)}
NAME_LABEL = {"kubernetes.io/metadata.name": NAMESPACES}
PORT_NAMES = ("web", "dns", "alt")
POLICIES = 3  # of a namespace, at most


def labels(rng, choices):
    return {k: rng.choice(values) for k, values in choices.items() if rng.random() < 0.7}


def pod_ports(rng, tcp, udp):
    """Some pods give a name another number than their neighbours, some none."""
    named = [("web", rng.choice(tcp), "TCP"), ("dns", rng.choice(udp), "UDP"),
             ("alt", rng.choice(tcp), "TCP"), ("both", udp[0], "UDP")]
    return [p for p in named if rng.random() < 0.7]


def selector(rng, choices):
    """One in six selects everything."""
    if rng.random() < 1 / 6:
        return {}
    drawn = {}
    for _ in range(rng.choice((1, 1, 2))):
        key = rng.choice(list(choices))
        if rng.random() < 0.4:
            drawn.setdefault("matchLabels", {})[key] = rng.choice(choices[key])
            continue
        operator = rng.choice(("In", "NotIn", "Exists", "DoesNotExist"))
        expression = {"key": key, "operator": operator}
        if operator in ("In", "NotIn"):
            n = rng.randint(1, min(2, len(choices[key])))
            expression["values"] = rng.sample(choices[key], n)
        drawn.setdefault("matchExpressions", []).append(expression)
    return drawn


def namespace_selector(rng):
    return selector(rng, {**NAMESPACE_LABELS, **NAME_LABEL})


def block(rng, addresses):
    """Around one of the addresses, of either family; up to two parts of it excepted, around
    others where they lie in it."""
    about = ipaddress.ip_address(rng.choice(addresses))
    lengths = (0, 16, 22, 24, 29, 31, 32) if about.version == 4 else (0, 48, 62, 64, 125, 127, 128)
    length = rng.choice(lengths)
    net = ipaddress.ip_network((about, length), strict=False)
    drawn = {"cidr": str(net)}
    inside = [a for a in addresses
              if (i := ipaddress.ip_address(a)).version == net.version and i in net]
    longer = [n for n in lengths if n > length]
    if longer and rng.random() < 0.5:
        drawn["except"] = sorted({
            str(ipaddress.ip_network((rng.choice(inside), rng.choice(longer)), strict=False))
            for _ in range(rng.choice((1, 2)))})
    return {"ipBlock": drawn}


def peer(rng, addresses):
    form = rng.choice(("pods", "namespaces", "both", "block"))
    if form == "block":
        return block(rng, addresses)
    drawn = {}
    if form != "namespaces":
        drawn["podSelector"] = selector(rng, LABELS)
    if form != "pods":
        drawn["namespaceSelector"] = namespace_selector(rng)
    return drawn


def port(rng, tcp, udp):
    """Protocol left out: TCP. One in ten is all ports of a protocol, some match none that is tried."""
    protocol = rng.choice(("TCP", "TCP", "UDP", None))
    drawn = {"protocol": protocol} if protocol else {}
    form = rng.random()
    if form < 0.3:
        drawn["port"] = rng.choice(PORT_NAMES)
    elif form < 0.9:
        drawn["port"] = rng.choice(udp if protocol == "UDP" else tcp) - rng.choice((0, 0, 0, 1))
        if rng.random() < 0.4:
            drawn["endPort"] = drawn["port"] + rng.choice((0, 1, 20, 2000))
    return drawn


def rule(rng, key, addresses, tcp, udp):
    drawn = {}
    if rng.random() < 0.85:
        drawn[key] = [peer(rng, addresses) for _ in range(rng.choice((1, 2, 2, 3)))]
    if rng.random() < 0.5:
        drawn["ports"] = [port(rng, tcp, udp) for _ in range(rng.choice((1, 2, 3)))]
    return drawn


def policy(rng, name, namespace, addresses, tcp, udp):
    """Types that name a direction without rules, and rules of one that is not named, too."""
    spec = {"podSelector": selector(rng, LABELS)}
    for direction, key in (("ingress", "from"), ("egress", "to")):
        if rng.random() < 0.7:
            spec[direction] = [rule(rng, key, addresses, tcp, udp)
                               for _ in range(rng.choice((0, 1, 2, 2, 3)))]
    types = rng.choice((None, None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    if types:
        spec["policyTypes"] = types
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def policies(rng, addresses, tcp, udp):
    return [policy(rng, f"p{i}", namespace, addresses, tcp, udp)
            for namespace in NAMESPACES for i in range(rng.randint(0, POLICIES))]
