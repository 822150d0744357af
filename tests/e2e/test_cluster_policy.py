# SPDX-License-Identifier: Apache-2.0
"""ClusterNetworkPolicy: above NetworkPolicy and below it, by priority and by rule; with real traffic,
over time, and explained."""
import pytest

import peers
from harness import FAMILIES, WORLD, eventually, pod_manifest
from policies import (BLINK, Connection, Enforce, Knocker, Talker, block, cluster_policy, denied_tcp,
                      denied_udp, namespace, pods, policy, port)


@pytest.fixture(scope="module")
def node(module_node):
    n = module_node()
    for name, ns in (("web", "default"), ("a", "default"), ("stranger", "default"),
                     ("guest", "blue")):
        pod = n.pod(name, namespace=ns)
        n.apply(pod_manifest(pod, {"app": name}, ports=[("http", 8080, "TCP"), ("dns", 5353, "UDP")]))
        pod.tcp(8080)
        pod.udp(5353)
        setattr(n, name, pod)
    n.apply(namespace("blue", team="blue"), namespace("default", team="red"))
    n.serve(n.peers.tcp(n.world, "world", 8080), *n.peers.udp(n.world, "world", 5353))
    return n


@pytest.fixture
def enforce(node):
    with Enforce(node) as e:
        yield e


def some(**labels):
    return {"pods": {"podSelector": {"matchLabels": labels}}}


def team(name):
    return {"namespaces": {"matchLabels": {"team": name}}}


ALL = {"namespaces": {}}
WEB = some(app="web")
TCP = {"tcp": {"destinationPort": {"number": 8080}}}
UDP = {"udp": {"destinationPort": {"range": {"start": 5353, "end": 5354}}}}


def rule(action, *whom, protocols=None, name=None):
    """`from` or `to` is for cluster_policy() to say."""
    return {"action": action, "peers": list(whom), **({"protocols": protocols} if protocols else {}),
            **({"name": name} if name else {})}


def passes(source, target, *, tcp=True, udp=True):
    for family in FAMILIES:
        ip = target.ip[family]
        if tcp:
            assert peers.tcp(source.ns, ip, 8080).name == target.name
        else:
            assert denied_tcp(source.ns, ip, 8080), (source.key, target.key, family)
        if udp:
            assert peers.udp(source.ns, ip, 5353).name == target.name
        else:
            assert denied_udp(source.ns, ip, 5353), (source.key, target.key, family)


def stopped(source, target):
    passes(source, target, tcp=False, udp=False)


# ------------------------------------------------------------------------ tiers
def test_admin_denies_what_a_policy_allows(node, enforce):
    enforce(policy("web", {"app": "web"}, ingress=[{}]),
            cluster_policy("lockdown", WEB, ingress=[rule("Deny", some(app="stranger"))]))
    stopped(node.stranger, node.web)
    passes(node.a, node.web)
    passes(node.web, node.stranger)
    enforce.drop("lockdown")
    passes(node.stranger, node.web)


def test_admin_accepts_what_a_policy_denies(node, enforce):
    enforce(policy("deny", {}, ingress=[], egress=[]),
            cluster_policy("monitor", ALL, ingress=[rule("Accept", team("blue"), protocols=[TCP])],
                           egress=[rule("Accept", some(app="guest"))]),
            cluster_policy("leave", {"namespaces": {"matchLabels": {"team": "blue"}}},
                           egress=[rule("Accept", ALL)]))
    passes(node.guest, node.web, udp=False)
    passes(node.web, node.guest)
    stopped(node.a, node.web)


def test_admin_passes_to_policies(node, enforce):
    """What is passed is decided below, and by no other rule of the tier."""
    lockdown = cluster_policy("lockdown", WEB, ingress=[
        rule("Pass", some(app="a")), rule("Deny", ALL)])
    enforce(lockdown, cluster_policy("later", WEB, priority=11, ingress=[rule("Deny", some(app="a"))]))
    passes(node.a, node.web)
    stopped(node.stranger, node.web)
    enforce(policy("web", {"app": "web"}, ingress=[{"from": [pods(app="stranger")]}]))
    stopped(node.a, node.web)
    stopped(node.stranger, node.web)
    enforce(policy("web", {"app": "web"}, ingress=[{"from": [pods(app="a")], "ports": [port(8080)]}]))
    passes(node.a, node.web, udp=False)


def test_priorities_and_the_order_of_rules(node, enforce):
    first = cluster_policy("zz", WEB, priority=1, ingress=[
        rule("Accept", some(app="a"), protocols=[TCP]), rule("Deny", some(app="a"))])
    enforce(first, cluster_policy("aa", WEB, priority=2, ingress=[
        rule("Deny", ALL, protocols=[TCP]), rule("Accept", ALL)]))
    passes(node.a, node.web, udp=False)
    passes(node.stranger, node.web, tcp=False)
    first["spec"]["priority"] = 3
    enforce(first)
    passes(node.a, node.web, tcp=False)
    first["spec"]["priority"] = 2  # the same: by name
    enforce(first)
    passes(node.a, node.web, tcp=False)


def test_baseline(node, enforce):
    """For pods that no NetworkPolicy selects, direction by direction."""
    enforce(cluster_policy("base", ALL, tier="Baseline", ingress=[
        rule("Pass", some(app="guest")), rule("Accept", ALL, protocols=[UDP]), rule("Deny", ALL)]))
    passes(node.a, node.web, tcp=False)
    passes(node.guest, node.web)
    enforce(policy("web", {"app": "web"}, ingress=[{"from": [pods(app="a")]}]))
    passes(node.a, node.web)
    stopped(node.guest, node.web)
    passes(node.web, node.a, tcp=False)
    enforce(policy("web", {"app": "web"}, egress=[{}]))
    passes(node.a, node.web, tcp=False)
    enforce(cluster_policy("over", WEB, ingress=[rule("Deny", some(app="guest"))]))
    stopped(node.guest, node.web)
    passes(node.a, node.web, tcp=False)


def test_egress(node, enforce):
    """To pods, names of their ports and networks; pods of a network are in it too."""
    def networks(ips):
        return {"networks": [block(a)["ipBlock"]["cidr"] for a in ips]}

    enforce(cluster_policy("out", some(app="a"), egress=[
        rule("Accept", some(app="web"), protocols=[{"destinationNamedPort": "http"}]),
        rule("Deny", some(app="web"), networks(WORLD.values())),
        rule("Deny", networks(node.stranger.ip.values()), protocols=[UDP])]))
    passes(node.a, node.web, udp=False)
    passes(node.a, node.stranger, udp=False)
    passes(node.a, node.guest)
    for family in FAMILIES:
        assert denied_tcp(node.a.ns, WORLD[family], 8080)
        assert denied_udp(node.a.ns, WORLD[family], 5353)
        assert peers.tcp(node.stranger.ns, WORLD[family], 8080).name == "world"
    node.wait_drop("policy-egress", "--from-pod", "default/a", "--to-pod", "default/stranger")


def test_subject_by_namespace_label(node, enforce):
    enforce(cluster_policy("blue", {"namespaces": {"matchLabels": {"locked": "yes"}}},
                           ingress=[rule("Deny", ALL)]))
    passes(node.a, node.guest)
    try:
        node.apply(namespace("blue", team="blue", locked="yes"))
        stopped(node.a, node.guest)
        passes(node.a, node.web)
    finally:
        node.apply(namespace("blue", team="blue"))
    passes(node.a, node.guest)


def test_egress_to_nodes(module_cluster):
    """By the labels that they have now; the pod's own node is no policy's affair."""
    c = module_cluster(nodes=2)
    own, other = c.nodes
    for n in c.nodes:
        c.serve(c.peers.tcp(n.ns, n.name, 8080))
    pod = own.pod("a", labels={"app": "a"})

    def reached(node):
        return [peers.tcp_error(pod.ns, node.ip[family], 8080, BLINK) is None for family in FAMILIES]

    with Enforce(c) as enforce:
        for peer, labels, expected in (({}, {}, False), ({"matchLabels": {"zone": "x"}}, {}, True),
                                       ({"matchLabels": {"zone": "x"}}, {"zone": "x"}, False),
                                       ({"matchLabels": {"zone": "x"}}, {"zone": "y"}, True)):
            c.apply(*[n.manifest(**labels) for n in c.nodes])
            enforce(cluster_policy("nodes", ALL, egress=[rule("Deny", {"nodes": peer})]))
            assert reached(own) == [True, True]
            assert reached(other) == [expected, expected], (peer, labels)
        # the labels alone
        c.apply(other.manifest(zone="x"))
        assert reached(other) == [False, False]
        own.wait_drop("policy-egress", "--from-pod", "default/a", "--ip", other.ip[6])
    assert reached(other) == [True, True]


# ------------------------------------------------------------------- over time
@pytest.mark.parametrize("first", ["client", "server"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tier", ["Admin", "Baseline"])
def test_established_is_cut(node, enforce, tier, family, first):
    with Connection(node.a, node.web, family) as doomed, \
            Connection(node.a, node.stranger, family) as other:
        enforce(cluster_policy("lockdown", WEB, tier=tier, ingress=[rule("Deny", some(app="a"))]))
        doomed.cut(first)
        assert denied_tcp(node.a.ns, node.web.ip[family], 7000)
        other.passes(bytes(100000))
    enforce.drop("lockdown")
    with Connection(node.a, node.web, family) as again:
        again.passes(bytes(100000))


def test_no_gap_and_no_hole(node, enforce):
    """`a` is let in and `stranger` kept out by each of these, and at every moment between them; and
    while the agent is killed and comes back."""
    let_in = policy("web", {"app": "web"}, ingress=[{"from": [pods(app="a")]}])
    ways = [
        [cluster_policy("one", WEB, ingress=[rule("Deny", some(app="stranger"))])],
        [cluster_policy("one", WEB, ingress=[rule("Accept", some(app="a")), rule("Deny", ALL)])],
        [cluster_policy("one", WEB, ingress=[rule("Pass", some(app="a")), rule("Deny", ALL)])],
        [cluster_policy("one", WEB, tier="Baseline", ingress=[
            rule("Accept", some(app="a")), rule("Deny", ALL)])],
        [let_in, cluster_policy("one", ALL, ingress=[rule("Accept", some(app="a"))])],
        [let_in, cluster_policy("one", ALL, tier="Baseline", ingress=[rule("Accept", ALL)])],
    ]
    enforce(*ways[0])
    knocker, talker = Knocker(node.stranger, node.web, 6000), Talker(node.a, node.web)
    for i in range(60):
        way = ways[i * 5 // 3 % len(ways)]
        enforce(*way)
        if "web" in enforce.applied and let_in not in way:
            enforce.drop("web")
    for _ in range(3):
        node.kill()
        node.start()
    talker.end()
    assert knocker.end() == 0


def test_restart(node, enforce):
    enforce(cluster_policy("lockdown", WEB, ingress=[rule("Deny", some(app="stranger"), name="no")]),
            cluster_policy("base", WEB, tier="Baseline", ingress=[rule("Deny", team("blue"))]))
    before = node.json("endpoint", "list")
    node.kill()
    stopped(node.stranger, node.web)
    node.start()
    assert node.json("endpoint", "list") == before
    stopped(node.stranger, node.web)
    stopped(node.guest, node.web)
    passes(node.a, node.web)
    assert [p["name"] for p in node.json("policy", "list")] == ["lockdown", "base"]
    assert node.json("policy", "get", "lockdown")["rules"][0]["name"] == "no"


# -------------------------------------------------------------------- explained
def test_explained(node, enforce):
    """By the rule that denied it, with its own name, in flows, traces and counters."""
    enforce(policy("web", {"app": "web"}, ingress=[{"from": [pods(app="a")]}]),
            cluster_policy("guard", WEB, ingress=[
                rule("Pass", some(app="a"), name="over to you"),
                rule("Accept", team("blue"), protocols=[UDP]),
                rule("Deny", ALL, name="nobody else")]))
    stopped(node.stranger, node.web)
    passes(node.a, node.web)
    passes(node.guest, node.web, tcp=False)

    def traced(source, number=8080, protocol="tcp"):
        args = ("policy", "trace", "--from", source, "--to", "default/web", "--port", number,
                "--protocol", protocol)
        answer = node.json(*args)
        return answer["verdict"], answer["rules"], node.bpfnet(*args).stdout

    denied = {"policy": "guard", "direction": "ingress", "index": 2, "rule": "nobody else",
              "allow": False}
    verdict, rules, text = traced("default/stranger")
    assert (verdict, rules) == ("DROPPED", [denied])
    assert 'guard rule 2 "nobody else"' in text
    verdict, rules, _ = traced("blue/guest", 5353, "udp")
    assert verdict == "FORWARDED"
    assert rules == [{"policy": "guard", "direction": "ingress", "index": 1, "allow": True}]
    verdict, rules, _ = traced("default/a")
    assert verdict == "FORWARDED"
    assert rules == [{"policy": "default/web", "direction": "ingress", "index": 0, "allow": True}]

    by = {"name": "guard", "kind": "ClusterNetworkPolicy", "index": 2, "rule": "nobody else"}
    node.wait_flow("denied by the rule", "--drop-reason", "policy-ingress",
                   "--from-pod", "default/stranger", "--to-pod", "default/web",
                   match=lambda f: f.get("ingress_denied_by") == [by])
    line = node.bpfnet("flows", "--verdict", "dropped", "--from-pod", "default/stranger",
                       "--last", 1).stdout
    assert 'ingress guard rule 2 "nobody else"' in line and "default deny" not in line

    def hits():
        return [r["hits"] for r in node.json("policy", "get", "guard")["rules"]]

    counted = hits()
    assert counted[0] is None and counted[1] >= 2 and counted[2] >= 4
    listed = node.json("policy", "list")
    assert [(p["namespace"], p["name"]) for p in listed] == [(None, "guard"), ("default", "web")]
    assert (listed[0]["tier"], listed[0]["priority"]) == ("Admin", 10)
    assert listed[0]["endpoints"] == 1
    stopped(node.stranger, node.web)
    assert hits()[1] == counted[1] and hits()[2] > counted[2]


def test_allowed_by_no_rule(node, enforce):
    """Where no tier decides, nobody is named."""
    enforce(cluster_policy("lockdown", WEB, ingress=[rule("Pass", some(app="a")),
                                                     rule("Deny", team("blue"))]))
    for family in FAMILIES:
        s, _ = peers.tcp_open(node.a.ns, node.web.ip[family], 8080)
        with s:
            f = node.wait_flow("opened", "--from-pod", "default/a", "--port", s.getsockname()[1])
        assert f["verdict"] == "FORWARDED" and "ingress_allowed_by" not in f
    answer = node.json("policy", "trace", "--from", "default/stranger", "--to", "default/web",
                       "--port", 8080)
    assert (answer["verdict"], answer["rules"]) == ("FORWARDED", [])


def test_audited(node, enforce):
    """What a rule denies passes in audit mode, and is reported with the rule."""
    enforce(cluster_policy("lockdown", {"namespaces": {"matchLabels": {"team": "blue"}}},
                           ingress=[rule("Deny", ALL, name="nobody")]))
    audited = namespace("blue", team="blue")
    audited["metadata"]["annotations"] = {"bpfnet.io/policy-audit": "true"}
    try:
        node.apply(audited)
        passes(node.a, node.guest)
        f = eventually(lambda: node.flows("--verdict", "audit", "--to-pod", "blue/guest"))[-1]
        assert f["ingress_denied_by"][0]["rule"] == "nobody"
    finally:
        node.apply(namespace("blue", team="blue"))
    stopped(node.a, node.guest)


# ----------------------------------------------------------------------- by hand
def test_apply_get_delete(node):
    manifest = cluster_policy("by-hand", ALL, priority=7, egress=[rule("Pass", ALL)])
    for args, result in (("apply", "created"), ("apply", "unchanged"), ("delete", "deleted")):
        r = node.bpfnet(args, "-f", "-", input=node.documents(manifest))
        assert r.stdout == f"clusternetworkpolicy/by-hand {result}\n"
        if args == "delete":
            continue
        assert node.json("get", "clusternetworkpolicy", "by-hand") == manifest
        for kind in ("clusternetworkpolicy", "cnp", "clusternetworkpolicies"):
            lines = node.bpfnet("get", kind).stdout.splitlines()
            assert [line.split() for line in lines] == [["NAME", "TIER", "PRIORITY"],
                                                        ["by-hand", "Admin", "7"]]
    manifest["spec"]["priority"] = 1001
    r = node.bpfnet("apply", "-f", "-", input=node.documents(manifest), check=False)
    assert r.returncode == 1 and "spec.priority: must be 0 to 1000, not 1001" in r.stderr
    r = node.bpfnet("policy", "get", "by-hand", check=False)
    assert r.returncode == 1 and "by-hand not found" in r.stderr
