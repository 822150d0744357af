# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicy over time: established connections, pods that come, an agent that goes, policies
that follow one another. What is denied gets in at no moment, what is allowed loses nothing."""
import os
import re
import time

import pytest

import netns
import peers
from harness import FAMILIES, NODE, WORLD, Node, eventually, pod_manifest
from policies import (BLINK, Connection, Enforce, Knocker, Talker, block, blocks, denied_tcp,
                      denied_udp, namespace, namespaces, pings, pods, policy, port)
from servers import Nginx

FAR = {4: "198.51.100.2", 6: "fd00:51::2"}


def build(node):
    for name, ns in (("web", "default"), ("a", "default"), ("stranger", "default"),
                     ("guest", "blue")):
        pod = node.pod(name, namespace=ns, labels={"app": name})
        pod.tcp(8080)
        pod.udp(5353)
        setattr(node, name, pod)
    node.apply(namespace("blue", team="blue"))
    return node


@pytest.fixture(scope="module")
def node(module_node):
    n = build(module_node())
    n.serve(n.peers.tcp(n.ns, "host", 8080), *n.peers.udp(n.ns, "host", 5353))
    return n


@pytest.fixture
def enforce(node):
    with Enforce(node) as e:
        yield e


def relabel(node, pod, **labels):
    node.apply(pod_manifest(pod, labels))


# ----------------------------------------------------- established connections
FRIENDS = policy("web", {"app": "web"}, ingress=[{"from": [pods(role="friend"),
                                                           namespaces(team="blue")]}])
HOW = {
    "ingress": (lambda n: policy("web", {"app": "web"}, ingress=[{"from": [pods(app="stranger")]}]),
                "a"),
    "egress": (lambda n: policy("out", {"app": "a"}, egress=[{"to": [pods(app="stranger")]}]), "a"),
    "port": (lambda n: policy("web", {"app": "web"}, ingress=[{"ports": [port(8080)]}]), "a"),
    "pod-label": (lambda n: pod_manifest(n.a, {"app": "a"}), "a"),
    "namespace-label": (lambda n: namespace("blue"), "guest"),
}


@pytest.mark.parametrize("first", ["client", "server"])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("family", FAMILIES)
def test_established_is_cut(node, enforce, family, how, first):
    """By whatever denies it, whichever end speaks next; by nothing else of the same client."""
    change, who = HOW[how]
    source = getattr(node, who)
    relabel(node, node.a, app="a", role="friend")
    if how.endswith("label"):
        enforce(FRIENDS)
    try:
        with Connection(source, node.web, family) as doomed, \
                Connection(source, node.stranger, family) as other:
            if how.endswith("label"):
                node.apply(change(node))
            else:
                enforce(change(node))
            doomed.cut(first)
            assert denied_tcp(source.ns, node.web.ip[family], 7000)
            other.passes(bytes(100000))
    finally:
        relabel(node, node.a, app="a", role="friend")
        node.apply(namespace("blue", team="blue"))
    if not how.endswith("label"):
        enforce.drop(change(node)["metadata"]["name"])
    with Connection(source, node.web, family) as again:
        again.passes(bytes(100000))


@pytest.mark.parametrize("family", FAMILIES)
def test_established_udp_is_cut(node, enforce, family):
    lasting = peers.udp_socket(node.a.ns, node.web.ip[family], 5353)
    with lasting:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            assert peers.udp_exchange(lasting).name == "web"
        enforce(policy("web", {"app": "web"}, ingress=[{"from": [pods(app="stranger")]}]))
        lasting.settimeout(BLINK)
        for _ in range(3):
            lasting.send(b"too late")
            with pytest.raises(TimeoutError):
                lasting.recv(100)
        enforce.drop("web")
        lasting.settimeout(5)
        assert peers.udp_exchange(lasting).name == "web"


def test_changes_that_do_not_touch_it(node, enforce):
    """Not a byte is late, and no datagram lost, while policies, labels and pods around change."""
    relabel(node, node.a, app="a")
    talker = Talker(node.a, node.web)
    for i in range(20):
        enforce(policy("other", {"app": "stranger"}, ingress=[{"from": [pods(n=str(i))]}]),
                policy("all", {}, ingress=[{"from": [pods(app="a")]}, {"from": [pods(i=str(i))]}]),
                policy("out", {}, egress=[{"to": [pods()], "ports": [
                    port(8080), port(5353, "UDP"), port(6000 + i)]}]),
                policy("cidr", {"app": "web"}, ingress=[{"from": [block(f"192.0.2.{i}")]}]))
        relabel(node, node.stranger, app="stranger", n=str(i))
        relabel(node, node.a, app="a", n=str(i))
        node.apply(namespace("blue", team="blue", n=str(i)))
        if i % 5 == 0:
            passer = node.pod(f"passer{i}", labels={"app": "a"}, index=61)
            node.remove(passer)
            node.delete(pod_manifest(passer, {}))
        before = talker.bytes
        eventually(lambda: talker.bytes > before or talker.failures)
    relabel(node, node.stranger, app="stranger")
    relabel(node, node.a, app="a")
    node.apply(namespace("blue", team="blue"))
    talker.end()


# ---------------------------------------------------------- who is under policy
def test_the_nodes_own_traffic(node, enforce):
    """A health check reaches its pod whatever policy says, and the pod its node."""
    enforce(policy("deny", {}, ingress=[], egress=[]))
    for family in FAMILIES:
        assert peers.tcp(node.ns, node.web.ip[family], 8080).name == "web"
        assert peers.udp(node.ns, node.web.ip[family], 5353, data=bytes(8192)).name == "web"
        assert pings(node.ns, node.web.ip[family])
        assert peers.tcp(node.web.ns, NODE[family], 8080).name == "host"
        assert denied_tcp(node.world, node.web.ip[family], 8080)
        assert denied_tcp(node.a.ns, node.web.ip[family], 8080)
    with Nginx(node, node.web.ns, "web", 8000):
        for host in (node.web.ip[4], f"[{node.web.ip[6]}]"):
            out = netns.run(node.ns, "curl", "-sS", "-g", "-f", "--max-time", "5", "-Z",
                            *[f"http://{host}:8000/"] * 50).stdout
            assert len(out.splitlines()) == 50


def test_host_network_pods_are_not_selected(node, enforce):
    hosted = pod_manifest(node.web, {"app": "hosted"})
    hosted["metadata"]["name"] = "hosted"
    hosted["spec"]["hostNetwork"] = True
    hosted["status"].update(podIP=NODE[4], podIPs=[{"ip": a} for a in NODE.values()])
    node.apply(hosted)
    try:
        enforce(policy("deny", {}, ingress=[], egress=[]))
        for family in FAMILIES:
            assert peers.tcp(node.world, NODE[family], 8080).name == "host"
            assert peers.udp(node.world, NODE[family], 5353).name == "host"
            assert peers.tcp(node.ns, node.web.ip[family], 8080).name == "web"
    finally:
        node.delete(hosted)


def test_a_pod_without_a_manifest(node, enforce):
    """It has no labels: what selects everything selects it, on either side of a rule."""
    bare = node.pod("bare")
    bare.tcp(8080)
    web = node.web.ip
    enforce(policy("in", {}, ingress=[{"from": [pods()], "ports": [port(8080)]}]))
    for family in FAMILIES:
        assert peers.tcp(bare.ns, web[family], 8080).name == "web"
        assert peers.tcp(node.a.ns, bare.ip[family], 8080).name == "bare"
        assert denied_tcp(node.guest.ns, bare.ip[family], 8080)
        assert denied_udp(bare.ns, web[family], 5353)
    enforce(policy("in", {}, ingress=[{"from": [pods(app="a")]}]))
    for family in FAMILIES:
        assert denied_tcp(bare.ns, web[family], 8080)
        assert peers.tcp(node.a.ns, bare.ip[family], 8080).name == "bare"
    node.apply(pod_manifest(bare, {"app": "a"}))
    for family in FAMILIES:
        assert peers.tcp(bare.ns, web[family], 8080).name == "web"
    node.delete(pod_manifest(bare, {}))
    for family in FAMILIES:
        assert denied_tcp(bare.ns, web[family], 8080)
    node.remove(bare)


@pytest.mark.parametrize("manifest", ["before", "after", "never"])
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_in_force_before_the_first_packet(node, enforce, direction, manifest):
    """A pod that comes while others knock at it, or that knocks from its first moment on."""
    deny = {direction: []}
    enforce(policy("deny", {} if manifest == "never" else {"app": "late"}, **deny),
            policy("bare", {}, **deny) if manifest == "after" else policy("bare", {"app": "none"}, **deny))
    late = node.pod("late", attach=False, index=60)
    ends = (node.stranger, late) if direction == "ingress" else (late, node.stranger)
    knocker = Knocker(*ends, 6000)
    try:
        for _ in range(12):
            if manifest == "before":
                node.apply(pod_manifest(late, {"app": "late"}))
            node.attach(late)
            if manifest == "after":
                node.apply(pod_manifest(late, {"app": "late"}))
            knocked = knocker.rounds.get(knocker._knock, 0)
            eventually(lambda: knocker.rounds.get(knocker._knock, 0) > knocked + 5, every=0.001)
            node.detach(late)
            if manifest != "never":
                node.delete(pod_manifest(late, {}))
        assert knocker.arrived() == 0
        node.attach(late)
        enforce.drop()
        eventually(knocker.arrived, "let in")
    finally:
        knocker.join()
        knocker.end()
        node.delete(pod_manifest(late, {}), check=False)
        node.remove(late)


# ------------------------------------------------------------ no gap, no hole
def changing():
    """Policies for `web` that all let `a` in and keep `stranger` out, as unlike as can be."""
    return [
        [{"from": [pods(app="a")]}],
        [{"from": [pods(app="a")], "ports": [port(8080), port(5353, "UDP")]}],
        [{"from": [namespaces(none="x")]}, {"from": [pods(app="a")], "ports": [
            port(1, p, 60000) for p in ("TCP", "UDP")]}],
        [{"from": [{"podSelector": {"matchExpressions": [
            {"key": "app", "operator": "NotIn", "values": ["stranger", "web"]}]}}]}],
        [{"from": blocks({4: "10.244.0.11", 6: "fd00:244::b"})}],
    ]


def test_no_gap_between_policies(node, enforce):
    assert list(node.a.ip.values()) == ["10.244.0.11", "fd00:244::b"]
    rules = changing()
    enforce(policy("web", {"app": "web"}, ingress=rules[0]))
    knocker, talker = Knocker(node.stranger, node.web, 6000), Talker(node.a, node.web)
    for i in range(50):
        one, other = policy("web", {"app": "web"}, ingress=rules[i % len(rules)]), \
            policy("web2", {"app": "web"}, ingress=rules[(i + 2) % len(rules)])
        # replaced; both; one leaves the other
        enforce(one)
        if i % 3 == 1:
            enforce(other)
            enforce.drop("web")
            enforce(one)
            enforce.drop("web2")
    talker.end()
    assert knocker.end() == 0


def test_no_gap_where_both_ends_change(node, enforce):
    """The sender's policy, then the receiver's, denies what the other has stopped denying; or the
    sender's labels change from those that the one denies to those that the other does."""
    ends = [policy("all", {}, egress=[]), policy("all", {}, ingress=[])]
    enforce(ends[0])
    knocker = Knocker(node.a, node.web, 6000)
    for i in range(100):
        enforce(ends[(i + 1) % 2])
    # a guest may send and is not let in, a friend is let in and may not send
    enforce(policy("in", {"app": "web"}, ingress=[{"from": [pods(role="friend")]}]),
            policy("out", {"role": "friend"}, egress=[]))
    enforce.drop("all")
    for i in range(100):
        relabel(node, node.a, app="a", role=("friend", "guest")[i % 2])
    relabel(node, node.a, app="a")
    assert knocker.end() == 0


def test_killed_and_started_again(node, enforce):
    enforce(policy("web", {"app": "web"}, ingress=[{"from": [pods(app="a")]}]),
            policy("out", {"app": "stranger"}, egress=[{"to": [pods(app="guest")]}]))
    knocker, talker = Knocker(node.stranger, node.web, 6000), Talker(node.a, node.web)
    outwards = Knocker(node.guest, node.web, 6001)
    for _ in range(6):
        node.kill()
        time.sleep(0.1)
        node.start()
    talker.end()
    assert knocker.end() == 0 and outwards.end() == 0
    # and it is still known what is in force
    assert {p["name"] for p in node.json("policy", "list")} == {"web", "out"}
    for family in FAMILIES:
        assert denied_tcp(node.stranger.ns, node.web.ip[family], 8080)
        assert peers.tcp(node.a.ns, node.web.ip[family], 8080)


def test_changed_while_the_agent_was_away(make_node, tmp_path):
    """In force as soon as it is back; on the way there what both allow passes, and nothing else."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    node = make_node(start=False, options=["--manifests", str(folder)])

    def write(*rules):
        (folder / "web.yaml").write_text(Node.documents(
            policy("web", {"app": "web"}, ingress=list(rules))))
    write({"from": [pods(app="a"), pods(app="guest")]})
    build(node.start())
    knocker, talker = Knocker(node.stranger, node.web, 6000), Talker(node.a, node.web)
    for i in range(4):
        node.kill()
        write({"from": [pods(app="a")]}, *([{"from": [namespaces(team="blue")]}] if i % 2 else []))
        node.start()
        for family in FAMILIES:
            error = peers.tcp_error(node.guest.ns, node.web.ip[family], 8080, BLINK)
            assert error == (None if i % 2 else "timeout")
    # identities and tables anew
    node.kill()
    (folder / "more.yaml").write_text(Node.documents([
        policy(f"m{i}", {"n": str(i)}, ingress=[{"from": [pods(m=str(i))]}]) for i in range(20)]))
    node.start()
    talker.end()
    assert knocker.end() == 0


# ------------------------------------------------------------------- counters
def test_hits(make_node):
    """A flow that a rule lets through, or that none does, is one more hit."""
    node = build(make_node())
    node.apply(policy("count", {"app": "web"}, ingress=[
        {"from": [pods(app="nobody")]}, {"from": [pods(app="a")], "ports": [port(5353, "UDP")]},
        {"from": [pods(app="a")]}]))

    def counts():
        p = node.json("policy", "get", "default/count")
        assert p == next(q for q in node.json("policy", "list") if q["name"] == "count")
        return [r["hits"] for r in p["rules"]] + [p["denied"]["ingress"]]
    assert counts() == [0, 0, 0, 0]
    for n in range(7):
        peers.udp(node.a.ns, node.web.ip[FAMILIES[n % 2]], 5353, tries=1)
    assert counts() == [0, 7, 0, 0]
    for n in range(4):
        peers.tcp(node.a.ns, node.web.ip[FAMILIES[n % 2]], 8080)
    assert counts() == [0, 7, 4, 0]
    before = len(node.flows("--drop-reason", "policy-ingress", "--from-pod", "default/stranger"))
    for n in range(5):
        with peers.udp_socket(node.stranger.ns, node.web.ip[FAMILIES[n % 2]], 5353) as s:
            s.send(b"x")
    eventually(lambda: counts() == [0, 7, 4, 5], "five denied")
    table = node.bpfnet("policy", "get", "default/count").stdout
    assert "default" in table and "ingress" in table

    def drops():
        return node.flows("--drop-reason", "policy-ingress", "--from-pod", "default/stranger")[before:]
    eventually(lambda: len(drops()) == 5, "five drops on record")
    for f in drops():
        assert (f["verdict"], f["drop_reason_desc"]) == ("DROPPED", "policy-ingress")
        assert f["destination"]["pod_name"] == "web" and f["source"]["pod_name"] == "stranger"
    # what the node does itself is no policy's affair
    peers.tcp(node.ns, node.web.ip[4], 8080)
    assert counts() == [0, 7, 4, 5]


def too_many(key):
    """The map's size, and what is too much for it; by how much, where that is known from here."""
    peer = [pods(app="a")]
    if key == "policy-tables":
        return 6, [policy(f"p{i}", {"app": app}, ingress=[{"from": peer, "ports": [port(7000 + i)]}],
                          egress=[{"to": peer, "ports": [port(8000 + i)]}])
                   for i, app in enumerate(("web", "a", "stranger"))], "([0-9]+) tables? "
    if key == "policy-pages":
        return 5, too_many("policy-tables")[1], "([0-9]+) pages? "
    if key == "policy-lines":
        return 24, [policy("p", {"app": "web"}, ingress=[
            {"from": peer, "ports": [port(7000 + 2 * i) for i in range(200)]}])], "([0-9]+) lines? "
    if key == "policy-rules":
        return 24, [policy("p", {"app": "web"}, ingress=[{"from": peer, "ports": [port(7000 + i)]}
                                                         for i in range(30)])], "(10) rules "
    return 24, [policy("p", {"app": "web"}, ingress=[
        {"from": [block(f"192.0.2.{i}") for i in range(40)]}])], "(18) CIDRs "


@pytest.mark.parametrize("key", ["policy-tables", "policy-pages", "policy-lines", "policy-rules",
                                 "policy-cidrs"])
def test_what_does_not_fit(make_node, tmp_path, key):
    """Refused with the count; what was in force goes on to be, now and after a restart."""
    size, many, count = too_many(key)
    config = tmp_path / "bpfnetd.yaml"
    config.write_text(f"maps:\n  {key}: {size}\n")
    node = build(make_node(options=["--config", str(config)]))
    node.apply(policy("web", {"app": "web"}, ingress=[{"from": [pods(app="a")]}]))
    knocker, talker = Knocker(node.stranger, node.web, 6000), Talker(node.a, node.web)
    small = policy("small", {"app": "a"}, egress=[{"to": [pods(app="web")]}])
    for again in range(2):
        for _ in range(3):
            r = node.apply(*many, check=False)
            assert r.returncode == 1, r
            more = re.search(count, r.stderr)
            assert key in r.stderr and more, r.stderr
            assert {p["name"] for p in node.json("policy", "list")} == {"web"}
        # what fits is taken as ever
        node.apply(small)
        for family in FAMILIES:
            assert denied_tcp(node.a.ns, node.stranger.ip[family], 8080)
        node.delete(small)
        if not again:
            node.kill()
            node.start()
            assert {p["name"] for p in node.json("policy", "list")} == {"web"}
    talker.end()
    assert knocker.end() == 0
    # one less than it said lacks one, and with all of it there is room; lines have to lie side by
    # side, and a start with another size lays them out anew
    for short in (1, 0):
        for again in range(3 if key == "policy-lines" and not short else 1):
            config.write_text(f"maps:\n  {key}: {size + int(more[1]) - short}\n")
            node.kill()
            node.start()
            r = node.apply(*many, check=False)
            if r.returncode and not short:
                size, more = size + int(more[1]), re.search(r"([0-9]+) lines? ", r.stderr)
        assert r.returncode == short, r
        assert not short or key == "policy-lines" or re.search(f"[^0-9]1 .*{key}", r.stderr), r


# ---------------------------------------------------------------- path MTU
@pytest.fixture(scope="module")
def far(node):
    """A server two hops out, behind a link of 1300 bytes."""
    ns = f"{node.id}-far"
    netns.ip(None, f"netns add {ns}",
             f"link add f0 netns {ns} type veth peer name w1 netns {node.world}")
    netns.sysctl(node.world, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    for space, dev, v4, v6, local in ((ns, "f0", FAR[4], FAR[6], 2),
                                      (node.world, "w1", "198.51.100.1", "fd00:51::1", 1)):
        netns.ip(space, "link set lo up", f"link set {dev} addrgenmode none",
                 f"link set {dev} mtu 1300 up", f"addr add {v4}/24 dev {dev}",
                 f"addr add {v6}/64 dev {dev} nodad", f"addr add fe80::{local}/64 dev {dev} nodad")
    netns.ip(ns, "route add default via 198.51.100.1", "route add default via fd00:51::1")
    sockets = [node.peers.tcp(ns, "far", 8080)]
    yield ns
    node.peers.close(*sockets)
    netns.ip(None, f"netns del {ns}")


@pytest.mark.parametrize("family", FAMILIES)
def test_path_mtu_under_default_deny(node, enforce, far, family):
    """A router's 'too big' about an allowed flow gets through, though the router may not speak."""
    enforce(policy("deny", {}, ingress=[], egress=[]),
            policy("out", {"app": "a"}, egress=[{"to": blocks(FAR), "ports": [port(8080)]}]),
            policy("in", {"app": "web"}, ingress=[{"from": blocks(FAR), "ports": [port(8080)]}]))
    assert not pings(node.world, node.a.ip[family])
    s, banner = peers.tcp_open(node.a.ns, FAR[family], 8080)
    assert banner.name == "far"
    with s:
        peers.echo(s, os.urandom(400000))
    s, banner = peers.tcp_open(far, node.web.ip[family], 8080)
    with s:
        peers.echo(s, os.urandom(400000))
    assert denied_tcp(node.a.ns, WORLD[family], 8080)
