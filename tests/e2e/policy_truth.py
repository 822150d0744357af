# SPDX-License-Identifier: Apache-2.0
"""What NetworkPolicies mean, read off the API's text and nothing else: plain, slow, and no kin of
what compiles them. Policies are manifests as a user writes them."""
import collections
import ipaddress

# An end of a connection. Pods have a namespace, labels, and ports, (name, number, protocol); everything
# else has None. `node`: the index of the node that it runs on or is; None: outside.
End = collections.namedtuple("End", "name ns ip node namespace labels ports")


def selects(selector, labels):
    """A LabelSelector: all of its requirements hold. Empty: everything."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for e in selector.get("matchExpressions") or []:
        value, values = labels.get(e["key"]), e.get("values")
        if not {"In": lambda: value in values,
                "NotIn": lambda: value not in values,  # without the label too
                "Exists": lambda: value is not None,
                "DoesNotExist": lambda: value is None}[e["operator"]]():
            return False
    return True


def in_block(block, address):
    address = ipaddress.ip_address(address)

    def holds(cidr):
        net = ipaddress.ip_network(cidr)
        return net.version == address.version and address in net
    return holds(block["cidr"]) and not any(map(holds, block.get("except") or []))


def is_peer(peer, policy, namespaces, end, family):
    """`namespaces`: labels by name."""
    if "ipBlock" in peer:
        return in_block(peer["ipBlock"], end.ip[family])
    if end.namespace is None:
        return False
    if "namespaceSelector" in peer:
        labels = {**namespaces[end.namespace], "kubernetes.io/metadata.name": end.namespace}
        if not selects(peer["namespaceSelector"], labels):
            return False
    elif end.namespace != policy["metadata"]["namespace"]:
        return False
    return selects(peer.get("podSelector") or {}, end.labels)


def is_port(entry, target, protocol, number):
    """A name is the receiving pod's; what is no pod has none."""
    if entry.get("protocol", "TCP") != protocol:
        return False
    wanted = entry.get("port")
    if isinstance(wanted, str):
        return target.namespace is not None and (wanted, number, protocol) in target.ports
    return wanted is None or wanted <= number <= entry.get("endPort", wanted)


def is_about(policy, direction):
    spec = policy["spec"]
    types = spec.get("policyTypes")
    if types:
        return direction in types
    return direction == "Ingress" or bool(spec.get("egress"))


def end_allows(policies, namespaces, direction, subject, other, target, family, protocol, number):
    """What the policies that select `subject` say of traffic with `other`."""
    key, peers = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
    selected = False
    for policy in policies:
        if policy["metadata"]["namespace"] != subject.namespace or \
                not selects(policy["spec"]["podSelector"], subject.labels) or \
                not is_about(policy, direction):
            continue
        selected = True
        for rule in policy["spec"].get(key) or []:
            whom, ports = rule.get(peers), rule.get("ports")
            if (not whom or any(is_peer(p, policy, namespaces, other, family) for p in whom)) and \
                    (not ports or any(is_port(p, target, protocol, number) for p in ports)):
                return True
    return not selected


def allows(policies, namespaces, source, target, family, protocol, number):
    """Both ends must; a pod and the node that it runs on always may."""
    if None in (source.namespace, target.namespace) and source.node == target.node:
        return True
    what = (target, family, protocol, number)
    return (source.namespace is None or
            end_allows(policies, namespaces, "Egress", source, target, *what)) and \
        (target.namespace is None or
         end_allows(policies, namespaces, "Ingress", target, source, *what))
