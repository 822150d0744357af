# SPDX-License-Identifier: Apache-2.0
"""Direct server return over time: backends and agents that go, backends of all kinds side by side,
and what else a service or a policy says of those who come from outside."""
import itertools
import os

import pytest

import dsr
import netns
import peers
import xdp
from cluster import BALANCED
from dsr import DNS, READY, TERMINATING, WEB, Uplink, endpoint
from harness import FAMILIES, cluster_ips, eventually, pod_manifest, slice_manifest
from policies import Connection, Enforce, block, denied_tcp, denied_udp, policy
from test_nodeport import node_port, seen
from test_xdp import sent, status_of, uplink

PORTS = [("http", 8080, "TCP"), ("dns", 5353, "UDP")]
numbers = itertools.count(60)


@pytest.fixture(scope="module")
def cluster(module_cluster, tmp_path_factory):
    """Backends on the second node alone."""
    c = module_cluster(nodes=3, options=dsr.options(tmp_path_factory))
    c.outside = dsr.Client(c)
    c.web = [c.pod(1, f"web{i}", {"app": "web"}) for i in range(3)]
    for pod in c.web:
        pod.tcp(8080)
        pod.udp(5353)
    c.objects = [node_port("web", WEB, DNS, number=1, selector={"app": "web"})]
    c.apply(*c.objects)
    c.objects += [n.manifest() for n in c.nodes] + [pod_manifest(p, {"app": "web"}) for p in c.web]
    return c


# ------------------------------------------------------------- backends that go
@pytest.mark.parametrize("family", FAMILIES)
def test_a_datagrams_backend_goes(cluster, family):
    """The next one is another's, on whichever node."""
    name, here, port = f"gone{family}", cluster.nodes[0].ip[family], 30100 + family
    m = node_port(name, 0, port, number=next(numbers), families=(family,), selector={"app": name})
    for number in (1, 1, 2):
        cluster.pod(number, f"{name}-{len(cluster.nodes[number].pods)}", {"app": name}).udp(5353)
    pods = {p.name: p for n in cluster.nodes for p in n.pods.values() if p.name.startswith(name)}
    cluster.apply(m)
    with cluster.outside.udp_socket(here, port, timeout=0.5) as s:
        while pods:
            has = eventually(lambda: peers.udp_exchange(s))
            assert has.client == cluster.client_ip[family]
            gone = pods.pop(has.name)
            cluster.delete(pod_manifest(gone, {"app": name}))
            gone.node.remove(gone)
    assert peers.udp_error(cluster.client, here, port) == "ECONNREFUSED"
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_terminating_backend(cluster, family):
    """An established connection goes on; new ones go to those that are ready."""
    name, here, source = f"drain{family}", cluster.nodes[0].ip[family], cluster.client_ip[family]
    leaving, staying = cluster.web[:2]
    m = node_port(name, 30110 + family, 30120 + family, number=next(numbers), families=(family,))

    def slices(conditions, *others):
        return slice_manifest(name, "a", family, PORTS, [
            endpoint(leaving, family, conditions), *(endpoint(p, family) for p in others)])
    cluster.apply(m, slices(READY, staying))
    held = []
    while {b.name for _, b in held} != {leaving.name, staying.name}:
        held.append(cluster.outside.tcp_open(here, 30110 + family))
    udp = cluster.outside.udp_socket(here, 30120 + family)
    peers.udp_exchange(udp)
    cluster.apply(slices(TERMINATING, staying))
    want = {(staying.name, source)}
    for s, _ in held:
        peers.echo(s, b"x" * 100000)
        assert seen(lambda: cluster.outside.tcp(here, 30110 + family), 10) == want
    with udp:
        assert eventually(lambda: peers.udp_exchange(udp).name == staying.name)
    # nobody else is left: it serves again
    cluster.apply(slices(TERMINATING))
    assert cluster.outside.tcp(here, 30110 + family)[:2] == (leaving.name, source)
    for s, _ in held:
        with s:
            peers.echo(s, b"x" * 100000)
    cluster.delete(m)


# --------------------------------------------------------------- agents that go
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_agent_dies_and_comes_back(cluster, family, number):
    """Of the node that is asked, and of the backend's."""
    node, here, source = cluster.nodes[number], cluster.nodes[0].ip[family], cluster.client_ip[family]
    s, _ = cluster.outside.tcp_open(here, WEB)
    with s, cluster.outside.udp_socket(here, DNS) as u:
        def works():
            peers.echo(s, os.urandom(400000))
            assert peers.udp_exchange(u).client == source
            assert cluster.outside.tcp(here, WEB).client == source
            assert cluster.outside.udp(here, DNS).client == source
        works()
        node.kill()
        works()
        node.spawn()
        works()
        node.wait_ready()
        works()
        assert peers.lost(s) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_flows_of_the_first_node_are_lost(cluster, family):
    """It knows none of the connections any more, and sends each to where it has always gone."""
    node, here = cluster.nodes[0], cluster.nodes[0].ip[family]
    held = []
    while len(held) < 12 or len({b.name for _, b in held}) < len(cluster.web):
        held.append(cluster.outside.tcp_open(here, WEB))
    node.stop()
    node.uninstall()
    node.start()
    node.apply(*cluster.objects)
    assert cluster.outside.tcp(here, WEB).client == cluster.client_ip[family]
    for s, _ in held:
        with s:
            peers.echo(s, os.urandom(50000))


@pytest.mark.parametrize("family", FAMILIES)
def test_another_node_is_asked_for_a_connection(cluster, family):
    """As when a load balancer's address moves: the choice is every node's."""
    address, name = BALANCED[family] + "40", f"moves{family}"
    m = node_port(name, 30240 + family, number=next(numbers), families=(family,),
                  selector={"app": "web"}, type="LoadBalancer")
    m["status"] = {"loadBalancer": {"ingress": [{"ip": address}]}}
    cluster.apply(m)
    held = [cluster.outside.tcp_open(address, 80)[0] for _ in range(12)]
    cluster.route_via(2, address)
    for s in held:
        with s:
            peers.echo(s, os.urandom(50000))
    assert cluster.outside.tcp(address, 80).client == cluster.client_ip[family]
    netns.ip(cluster.client, f"route del {address}")
    cluster.delete(m)


# ---------------------------------------------------------- of all kinds at once
@pytest.mark.parametrize("family", FAMILIES)
def test_backends_here_and_elsewhere(cluster, family):
    source, name = cluster.client_ip[family], f"mixed{family}"
    for number in (0, 1):
        pod = cluster.pod(number, f"{name}-{number}", {"app": name})
        pod.tcp(8080)
        pod.udp(5353)
    m = node_port(name, 30250 + family, 30260 + family, number=next(numbers), families=(family,),
                  selector={"app": name})
    cluster.apply(m)
    want = {(f"{name}-{number}", source) for number in (0, 1)}
    for node in cluster.nodes:
        assert seen(lambda: cluster.outside.tcp(node.ip[family], 30250 + family)) == want
        assert seen(lambda: cluster.outside.udp(node.ip[family], 30260 + family)) == want
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_backend_of_the_host_network(cluster, family):
    """It answers by its node's stack: so it sees the node that was asked, beside a pod that sees the
    client."""
    node, pod, name = cluster.nodes[1], cluster.web[0], f"own{family}"
    node.serve(cluster.peers.tcp(node.ns, "own", 8080 + family),
               *cluster.peers.udp(node.ns, "own", 5353 + family))
    m = node_port(name, 30190 + family, 30130 + family, number=next(numbers), families=(family,),
                  ports=(8080 + family, 5353 + family, 0))
    pod.tcp(8080 + family)
    pod.udp(5353 + family)
    cluster.apply(m, slice_manifest(name, "a", family, [
        ("http", 8080 + family, "TCP"), ("dns", 5353 + family, "UDP")],
        [(node.ip[family], READY, node.name), endpoint(pod, family)]))
    for asked in cluster.nodes:
        address = asked.ip[family]
        want = {("own", address), (pod.name, cluster.client_ip[family])}
        assert seen(lambda: cluster.outside.tcp(address, 30190 + family)) == want
        assert seen(lambda: cluster.outside.udp(address, 30130 + family)) == want
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_is_no_client_from_outside(cluster, family):
    """Pods and nodes reach the service as without it; a pod through another node is from outside."""
    vip, pod = cluster_ips(1)[FAMILIES.index(family)], cluster.nodes[0].pods.get("default/inside")
    pod = pod or cluster.pod(0, "inside")
    names, (own, _, other) = {w.name for w in cluster.web}, [n.ip[family] for n in cluster.nodes]
    want = {(n, pod.ip[family]) for n in names}
    for address, port in ((vip, 80), (own, WEB)):
        assert seen(lambda: peers.tcp(pod.ns, address, port), 60) == want
    for ns, address, port in ((pod.ns, other, WEB), (cluster.nodes[0].ns, vip, 80),
                              (cluster.nodes[0].ns, own, WEB), (cluster.nodes[0].ns, other, WEB)):
        assert {n for n, _ in seen(lambda: peers.tcp(ns, address, port), 60)} == names


def test_hybrid(module_cluster, tmp_path):
    """TCP by direct return, UDP with the node's address: nothing of the MTU is taken."""
    c = dsr.one_backend(module_cluster, dsr.options(tmp_path, "hybrid"), nodes=2)
    assert status_of(c.nodes[0])["features"]["load_balancer_mode"] == "hybrid"
    for family in FAMILIES:
        here, source = c.nodes[0].ip[family], c.client_ip[family]
        with Uplink(c.nodes[0]) as tap:
            assert c.outside.tcp(here, WEB).client == source
            assert c.outside.udp(here, DNS).client == here
            _, went = tap.passed()
        assert {p.protocol for p in went if p.frontend} == {"TCP"}
        assert {p.protocol for p in went if p.dst == source} == {"UDP"}
        for _ in range(5):
            assert c.outside.udp(here, DNS, data=os.urandom(8192), tries=1).client == here


def test_another_mode(module_cluster, tmp_path):
    """What is open goes on, on nodes that were told to do it otherwise since, one after the other."""
    c = dsr.one_backend(module_cluster, dsr.options(tmp_path, "dsr"), nodes=2)
    asked = [n.ip[family] for family in FAMILIES for n in c.nodes[:1]]
    held, talking = [], [c.outside.udp_socket(a, DNS, timeout=1) for a in asked]
    for mode in ("snat", "dsr", "hybrid", "dsr"):
        held += [c.outside.tcp_open(a, WEB)[0] for a in asked]
        for u in talking:
            eventually(lambda: peers.udp_exchange(u))
        dsr.options(tmp_path, mode)
        for node in c.nodes:
            node.stop()
            node.start()
            for s in held:
                peers.echo(s, os.urandom(50000))
        for u in talking:
            eventually(lambda: peers.udp_exchange(u))
        for family, address in zip(FAMILIES, asked):
            seen_as = address if mode == "snat" else c.client_ip[family]
            assert c.outside.tcp(address, WEB).client == seen_as
            seen_as = c.client_ip[family] if mode == "dsr" else address
            assert c.outside.udp(address, DNS).client == seen_as
    for s in held + talking:
        s.close()


# --------------------------------------------------------- what a service says
@pytest.mark.parametrize("family", FAMILIES)
def test_external_policy_local(cluster, family):
    m = node_port(f"local{family}", 30170 + family, 30180 + family, number=next(numbers),
                  families=(family,), selector={"app": "web"}, externalTrafficPolicy="Local")
    cluster.apply(m)
    want = {(w.name, cluster.client_ip[family]) for w in cluster.web}
    here = cluster.nodes[1].ip[family]
    assert seen(lambda: cluster.outside.tcp(here, 30170 + family), 60) == want
    assert seen(lambda: cluster.outside.udp(here, 30180 + family), 60) == want
    for none in (cluster.nodes[0].ip[family], cluster.nodes[2].ip[family]):
        assert peers.tcp_error(cluster.client, none, 30170 + family, timeout=1)
        assert peers.udp_error(cluster.client, none, 30180 + family, timeout=1)
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_session_affinity(cluster, family):
    m = node_port(f"sticky{family}", 30200 + family, 30210 + family, number=next(numbers),
                  families=(family,), selector={"app": "web"}, sessionAffinity="ClientIP")
    cluster.apply(m)
    for node in cluster.nodes:
        for ask, port in ((cluster.outside.tcp, 30200 + family), (cluster.outside.udp, 30210 + family)):
            (_, client), = seen(lambda: ask(node.ip[family], port))
            assert client == cluster.client_ip[family]
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_source_ranges(cluster, family):
    """The node that is asked refuses who is not listed."""
    ingress, name = BALANCED[family] + "30", f"closed{family}"
    own, other = (("172.31.0.0/24", "192.0.2.0/24"), ("fd00:31::/64", "fd00:99::/64"))[family == 6]
    m = node_port(name, 30150 + family, 30160 + family, number=next(numbers), families=(family,),
                  selector={"app": "web"}, type="LoadBalancer", loadBalancerSourceRanges=[other])
    m["status"] = {"loadBalancer": {"ingress": [{"ip": ingress}]}}
    cluster.apply(m)
    assert peers.tcp_error(cluster.client, ingress, 80, timeout=1) == "timeout"
    assert peers.udp_error(cluster.client, ingress, 53, timeout=1) == "timeout"
    cluster.nodes[0].wait_drop("source-range", "--service", f"default/{name}")
    m["spec"]["loadBalancerSourceRanges"].append(own)
    cluster.apply(m)
    assert cluster.outside.tcp(ingress, 80).client == cluster.client_ip[family]
    assert cluster.outside.udp(ingress, 53).client == cluster.client_ip[family]
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_policy_of_the_backends(cluster, family):
    """Its node knows the client: by its address it is let in, kept out, and cut off."""
    source, name = cluster.client_ip[family], f"cut{family}"
    port, target = 30270 + family, cluster.web[0]
    m = node_port(name, port, number=next(numbers), families=(family,), ports=(7000, 0, 0))
    cluster.apply(m, slice_manifest(name, "a", family, [("http", 7000, "TCP")],
                                    [endpoint(target, family)]))
    asked = [cluster.nodes[n].ip[family] for n in (0, 2)]

    def only(address):
        enforce(policy("web", {"app": "web"}, ingress=[{"from": [block(address)]}]))
    with Enforce(cluster) as enforce:
        only(source)
        for address in asked:
            assert cluster.outside.tcp(address, WEB).client == source
            assert cluster.outside.udp(address, DNS).client == source
        with Connection(cluster.outside, target, family, frontend=(asked[0], port)) as doomed:
            # the nodes' addresses are nobody's who comes
            only(asked[0])
            doomed.cut("client")
        for address in asked:
            assert denied_tcp(cluster.client, address, WEB)
            assert denied_udp(cluster.client, address, DNS)
        f = cluster.nodes[1].wait_drop("policy-ingress", "--ip", source, "--service", "default/web")
        assert f["destination"]["pod_name"] in {w.name for w in cluster.web}
    assert cluster.outside.tcp(asked[0], WEB).client == source
    cluster.delete(m)


# ----------------------------------------------------------------- in the driver
@pytest.fixture(scope="module", params=["native", "generic"])
def driven(request, module_cluster, tmp_path_factory):
    c = dsr.one_backend(module_cluster, dsr.options(tmp_path_factory) + ["--xdp", request.param],
                        nodes=2)
    c.mode = request.param
    c.serve(*xdp.wire(c.lan, "n0", "n1"))
    for node in c.nodes:
        node.json("map", "audit")
    return c


@pytest.mark.parametrize("family", FAMILIES)
def test_in_the_driver(driven, family):
    """An established connection's packets never reach the first node's stack, nor tc."""
    node, source = driven.nodes[0], driven.client_ip[family]
    assert [a["mechanism"] for a in uplink(node)] == [driven.mode]
    before = sent(node)
    s, banner = driven.outside.tcp_open(node.ip[family], WEB)
    with s:
        assert banner.client == source
        for _ in range(8):
            peers.echo(s, os.urandom(400000))
    if driven.mode == "native":
        # of one direction alone, as the other never comes here
        assert sent(node) - before > 8 * 400000 // 1500
    for size in (1, 1200, 8192):
        eventually(lambda: driven.outside.udp(node.ip[family], DNS, data=os.urandom(size)))
        for _ in range(20):
            assert driven.outside.udp(node.ip[family], DNS, data=os.urandom(size),
                             tries=1).client == source
