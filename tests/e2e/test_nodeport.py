# SPDX-License-Identifier: Apache-2.0
"""What kube-proxy does for traffic to a node: NodePorts, load balancers, external IPs, host ports.

Three nodes, backends on two of them, a client outside and one on each node; with balancing at the
socket and without.
"""
import itertools
import os
import socket

import pytest

import harness
import netns
import peers
from cluster import BALANCED
from harness import FAMILIES, cluster_ips, eventually, pod_manifest, service_manifest, slice_manifest
from servers import Nginx

WEB, DNS, SCTP = 30080, 30053, 30038
numbers = itertools.count(60)


@pytest.fixture(scope="module", params=["packet", "socket"])
def cluster(request, module_cluster):
    if request.param == "socket" and not harness.cgroup2_root():
        pytest.skip("cgroup2 is not mounted")
    c = module_cluster(nodes=3, cgroup=request.param == "socket")
    c.by_socket = request.param == "socket"
    c.web = []
    for number in (0, 1):
        pod = c.pod(number, f"web{number}", {"app": "web"})
        pod.tcp(8080)
        pod.udp(5353)
        pod.sctp(3868)
        c.web.append(pod)
    c.inside = [c.pod(n, f"client{n}") for n in range(3)]
    c.apply(node_port("web", WEB, DNS, SCTP, number=1, selector={"app": "web"}))
    return c


def node_port(name, web, dns=None, sctp=None, number=None, selector=None, ports=(8080, 5353, 3868),
              families=FAMILIES, **spec):
    entries = [{"name": n, "port": p, "targetPort": t, "protocol": proto, "nodePort": np}
               for n, p, t, proto, np in (("http", 80, ports[0], "TCP", web),
                                          ("dns", 53, ports[1], "UDP", dns),
                                          ("sig", 38, ports[2], "SCTP", sctp)) if np]
    m = service_manifest(name, [], selector, families=families,
                         ips=[a for f, a in zip(FAMILIES, cluster_ips(number)) if f in families]
                         if number else ())
    m["spec"].update({"type": "NodePort", "ports": entries, **spec})
    return m


def seen(call, times=30):
    """Who answered, and whom they saw."""
    answers = [call() for _ in range(times)]
    return {(a.name, a.client) for a in answers}


def expected(cluster, node, source, family):
    """A backend of the node sees the client, one elsewhere the node."""
    return {(w.name, source if w.node is node else node.ip[family]) for w in cluster.web}


@pytest.mark.parametrize("family", FAMILIES)
def test_from_outside(cluster, family):
    """Through every node, also one without backends."""
    for node in cluster.nodes:
        want = expected(cluster, node, cluster.client_ip[family], family)
        address = node.ip[family]
        assert seen(lambda: peers.tcp(cluster.client, address, WEB)) == want
        assert seen(lambda: peers.udp(cluster.client, address, DNS)) == want


@pytest.mark.parametrize("family", FAMILIES)
def test_much_from_outside(cluster, family):
    """Bulk TCP both ways and datagrams in fragments, to backends here and elsewhere."""
    for node in (cluster.nodes[0], cluster.nodes[2]):
        for _ in range(4):
            s, _ = peers.tcp_open(cluster.client, node.ip[family], WEB)
            with s:
                peers.echo(s, os.urandom(400000))
            assert peers.udp(cluster.client, node.ip[family], DNS, data=os.urandom(8192))


def test_http_and_iperf_from_outside(cluster):
    """Real servers and clients, through a node that has a backend and one that has none."""
    m = node_port("real", 30160, number=next(numbers), selector={"app": "web"}, ports=(8001, 0, 0))
    m["spec"]["ports"] += [
        {"name": f"iperf-{proto.lower()}", "port": 5201, "protocol": proto, "nodePort": 30161}
        for proto in ("TCP", "UDP")]
    cluster.apply(m)
    web = cluster.web[0]
    servers = [Nginx(w.node, w.ns, w.name, 8001) for w in cluster.web]
    # one iperf3 server: all connections of a test must reach the same
    cluster.apply(slice_manifest("real", "iperf", 4, [
        ("http", 8001, "TCP"), ("iperf-tcp", 5201, "TCP"), ("iperf-udp", 5201, "UDP")], [web.ip[4]]),
                  slice_manifest("real", "iperf6", 6, [
                      ("http", 8001, "TCP"), ("iperf-tcp", 5201, "TCP"), ("iperf-udp", 5201, "UDP")],
                                 [web.ip[6]]))
    iperf = web.node.popen(web.ns, "iperf3", "-s")
    try:
        for family, node in itertools.product(FAMILIES, (cluster.nodes[0], cluster.nodes[2])):
            host = f"[{node.ip[6]}]" if family == 6 else node.ip[4]
            out = netns.run(cluster.client, "curl", "-sS", "-g", "-f", "--max-time", "30", "-Z",
                            "--parallel-max", "20", *[f"http://{host}:30160/"] * 100).stdout
            assert len(out.splitlines()) == 100
            for mode in ([], ["-R"], ["-u", "-b", "20M"]):
                eventually(lambda: "receiver" in netns.run(
                    cluster.client, "iperf3", "-c", node.ip[family], "-p", "30161", "-t", "1",
                    "-P", "2", *mode).stdout, timeout=15)
    finally:
        iperf.kill()
        iperf.wait()
        for s in servers:
            s.close()
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_sctp_from_outside(cluster, family):
    for node in cluster.nodes:
        names = set()
        for _ in range(20):
            name, source = peers.sctp(cluster.client, node.ip[family], SCTP)
            assert source == node.ip[family]
            names.add(name)
        assert names == {"web0", "web1"}


@pytest.fixture(scope="module")
def on_the_node(cluster):
    """Backends with a node's own address, as pods of the host network are."""
    node = cluster.nodes[1]
    node.serve(cluster.peers.tcp(node.ns, "own", 9090), *cluster.peers.udp(node.ns, "own", 9053))
    m = node_port("own", 30190, 30191, number=next(numbers), ports=(9090, 9053, 0))
    cluster.apply(m, *(slice_manifest("own", f"v{f}", f, [("http", 9090, "TCP"), ("dns", 9053, "UDP")],
                                      [node.ip[f]]) for f in FAMILIES))
    return node


@pytest.mark.parametrize("family", FAMILIES)
def test_backend_of_the_host_network(cluster, on_the_node, family):
    """From outside, through other nodes and through its own."""
    for node in cluster.nodes:
        address = node.ip[family]
        for ask in (lambda: peers.tcp(cluster.client, address, 30190),
                    lambda: peers.udp(cluster.client, address, 30191)):
            banner = ask()
            assert (banner.name, banner.client) == ("own", address)
        s, _ = peers.tcp_open(cluster.client, address, 30190)
        with s:
            peers.echo(s, os.urandom(100000))


@pytest.mark.parametrize("family", FAMILIES)
def test_from_pods(cluster, family):
    """Through the own node no address changes; through another one it is as from outside."""
    for pod in cluster.inside:
        own = pod.node.ip[family]
        want = {(w.name, pod.ip[family]) for w in cluster.web}
        assert seen(lambda: peers.tcp(pod.ns, own, WEB)) == want
        assert seen(lambda: peers.udp(pod.ns, own, DNS)) == want
        assert peers.sctp(pod.ns, own, SCTP)[1] == own
        other = cluster.nodes[(pod.node.number + 1) % 3]
        want = expected(cluster, other, pod.ip[family], family)
        assert seen(lambda: peers.tcp(pod.ns, other.ip[family], WEB)) == want
        assert seen(lambda: peers.udp(pod.ns, other.ip[family], DNS)) == want


@pytest.mark.parametrize("family", FAMILIES)
def test_from_the_host(cluster, family):
    for node in cluster.nodes:
        for target in cluster.nodes:
            assert {a for a, _ in seen(lambda: peers.tcp(node.ns, target.ip[family], WEB))} == \
                {"web0", "web1"}
            assert peers.udp(node.ns, target.ip[family], DNS)


@pytest.mark.parametrize("family", FAMILIES)
def test_hairpin(cluster, family):
    """A backend reaches itself through its node's port, and through another node's."""
    for web in cluster.web:
        for node in cluster.nodes:
            assert {a for a, _ in seen(lambda: peers.tcp(web.ns, node.ip[family], WEB))} == \
                {"web0", "web1"}


@pytest.mark.parametrize("family", FAMILIES)
def test_balanced_addresses(cluster, family):
    """Ingress addresses of a load balancer and external IPs, from outside and from pods."""
    ingress, external = BALANCED[family] + "10", BALANCED[family] + "20"
    name = f"lb{family}"
    m = node_port(name, 30100 + family, 30110 + family, number=next(numbers), families=(family,),
                  selector={"app": "web"}, type="LoadBalancer", externalIPs=[external])
    m["status"] = {"loadBalancer": {"ingress": [{"ip": ingress}]}}
    cluster.apply(m)
    for address in (ingress, external):
        want = expected(cluster, cluster.nodes[0], cluster.client_ip[family], family)
        assert seen(lambda: peers.tcp(cluster.client, address, 80)) == want
        assert seen(lambda: peers.udp(cluster.client, address, 53)) == want
        for pod in cluster.inside:
            want = {(w.name, pod.ip[family]) for w in cluster.web}
            assert seen(lambda: peers.tcp(pod.ns, address, 80)) == want
        assert peers.tcp_error(cluster.client, address, 81) == "ECONNREFUSED"
        assert peers.udp_error(cluster.client, address, 81) == "ECONNREFUSED"
        out = netns.run(cluster.client, "ping", "-n", "-c", "1", "-W", "3", address).stdout
        assert " 0% packet loss" in out
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_source_ranges(cluster, family):
    """Who is not listed is left without an answer; pods of the node and other ports are not asked."""
    ingress, name = BALANCED[family] + "30", f"closed{family}"
    own, other = (("172.31.0.0/24", "192.0.2.0/24"), ("fd00:31::/64", "fd00:99::/64"))[family == 6]
    m = node_port(name, 30150 + family, number=next(numbers), families=(family,),
                  selector={"app": "web"}, type="LoadBalancer")
    m["status"] = {"loadBalancer": {"ingress": [{"ip": ingress}]}}

    def apply(*ranges):
        m["spec"]["loadBalancerSourceRanges"] = list(ranges)
        cluster.apply(m)
    apply(other)
    assert peers.tcp_error(cluster.client, ingress, 80, timeout=1) == "timeout"
    cluster.nodes[0].wait_drop("source-range", "--service", f"default/{name}")
    assert peers.tcp(cluster.inside[0].ns, ingress, 80)
    apply(own, other)
    assert peers.tcp(cluster.client, ingress, 80)
    # the agent's successor finds the same, and removes what is no longer listed
    cluster.nodes[0].kill()
    cluster.nodes[0].start()
    assert peers.tcp(cluster.client, ingress, 80)
    apply(other)
    assert peers.tcp_error(cluster.client, ingress, 80, timeout=1) == "timeout"
    apply()
    assert peers.tcp(cluster.client, ingress, 80)
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_external_policy_local(cluster, family):
    """From outside only backends of the node that is asked, and with the client's address."""
    name = f"local{family}"
    m = node_port(name, 30170 + family, 30180 + family, number=next(numbers), families=(family,),
                  selector={"app": "web"}, externalTrafficPolicy="Local")
    cluster.apply(m)
    source = cluster.client_ip[family]
    for web in cluster.web:
        want, here = {(web.name, source)}, web.node.ip[family]
        assert seen(lambda: peers.tcp(cluster.client, here, 30170 + family)) == want
        assert seen(lambda: peers.udp(cluster.client, here, 30180 + family)) == want
    # a node without one gives nobody away to another
    none = cluster.nodes[2].ip[family]
    assert peers.tcp_error(cluster.client, none, 30170 + family, timeout=1)
    assert peers.udp_error(cluster.client, none, 30180 + family, timeout=1)
    # what is sent inside goes to all, through the own node
    for pod in cluster.inside:
        own = pod.node.ip[family]
        assert {a for a, _ in seen(lambda: peers.tcp(pod.ns, own, 30170 + family))} == \
            {"web0", "web1"}
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_internal_policy_local(cluster, family):
    number = next(numbers)
    vip = cluster_ips(number)[FAMILIES.index(family)]
    m = node_port(f"inner{family}", 30190 + family, number=number, families=(family,),
                  selector={"app": "web"}, internalTrafficPolicy="Local")
    cluster.apply(m)
    for pod, web in zip(cluster.inside, cluster.web):
        assert seen(lambda: peers.tcp(pod.ns, vip, 80)) == {(web.name, pod.ip[family])}
    assert peers.tcp_error(cluster.inside[2].ns, vip, 80, timeout=1)
    # its NodePort is another policy's
    assert {a for a, _ in seen(lambda: peers.tcp(
        cluster.client, cluster.nodes[2].ip[family], 30190 + family))} == {"web0", "web1"}
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_session_affinity(cluster, family):
    """A client keeps its backend, through whatever frontend of a port it comes."""
    number = next(numbers)
    vip = cluster_ips(number)[FAMILIES.index(family)]
    m = node_port(f"sticky{family}", 30200 + family, 30210 + family, number=number,
                  families=(family,), selector={"app": "web"}, sessionAffinity="ClientIP")
    cluster.apply(m)
    for node in cluster.nodes:
        assert len(seen(lambda: peers.tcp(cluster.client, node.ip[family], 30200 + family))) == 1
        assert len(seen(lambda: peers.udp(cluster.client, node.ip[family], 30210 + family))) == 1
    for pod in cluster.inside:
        first = peers.tcp(pod.ns, vip, 80).name
        assert {a for a, _ in seen(lambda: peers.tcp(pod.ns, vip, 80))} == {first}
        assert {a for a, _ in seen(lambda: peers.tcp(
            pod.ns, pod.node.ip[family], 30200 + family))} == {first}
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_host_port(cluster, family):
    pod = cluster.web[1]
    m = pod_manifest(pod, {"app": "web"})
    m["spec"]["containers"][0]["ports"] = [
        {"containerPort": 8080, "hostPort": 8888, "protocol": "TCP"},
        {"containerPort": 5353, "hostPort": 8853, "protocol": "UDP"}]
    cluster.apply(m)
    try:
        here = cluster.nodes[1].ip[family]
        source = cluster.client_ip[family]
        assert seen(lambda: peers.tcp(cluster.client, here, 8888), 3) == {("web1", source)}
        assert seen(lambda: peers.udp(cluster.client, here, 8853), 3) == {("web1", source)}
        for inside in cluster.inside:
            assert peers.tcp(inside.ns, here, 8888)[:2] == ("web1", inside.ip[family])
        # another node publishes nothing
        assert peers.tcp_error(cluster.client, cluster.nodes[0].ip[family], 8888) == "ECONNREFUSED"
    finally:
        cluster.apply(pod_manifest(pod, {"app": "web"}))
    assert peers.tcp_error(cluster.client, here, 8888) == "ECONNREFUSED"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_backend(cluster, family):
    """Refused at once, from outside, from pods and through another node."""
    m = node_port("empty", 30120, 30121, number=next(numbers), selector={"app": "nobody"})
    cluster.apply(m)
    for ns in (cluster.client, cluster.inside[0].ns):
        for node in cluster.nodes:
            assert peers.tcp_error(ns, node.ip[family], 30120) == "ECONNREFUSED"
            assert peers.udp_error(ns, node.ip[family], 30121) == "ECONNREFUSED"
    cluster.nodes[2].wait_drop("service-no-backend")
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_of_a_backend(cluster, family):
    """A closed port of a backend, here and elsewhere: its errors reach the client outside."""
    name = f"shut{family}"
    m = node_port(name, 30130, 30131, number=next(numbers), families=(family,), ports=(9, 9, 0))
    cluster.apply(m, slice_manifest(name, "a", family, [("http", 9, "TCP"), ("dns", 9, "UDP")],
                                    [cluster.web[0].ip[family]]))
    for node in cluster.nodes:
        assert peers.tcp_error(cluster.client, node.ip[family], 30130) == "ECONNREFUSED"
        assert peers.udp_error(cluster.client, node.ip[family], 30131) == "ECONNREFUSED"
    cluster.delete(m)


@pytest.fixture(scope="module")
def far(cluster):
    """A client two hops out, behind a link of 1300 bytes."""
    ns = f"{cluster.id}-far"
    netns.ip(None, f"netns add {ns}",
             f"link add f0 netns {ns} type veth peer name w1 netns {cluster.client}")
    netns.sysctl(cluster.client, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
    harness.addressed(ns, "f0", {4: "198.51.100.9", 6: "fd00:51::9"}, 1300)
    harness.addressed(cluster.client, "w1", {4: "198.51.100.1", 6: "fd00:51::1"}, 1300)
    netns.ip(ns, "route add default via 198.51.100.1", "route add default via fd00:51::1")
    yield ns
    netns.ip(None, f"netns del {ns}")


@pytest.mark.parametrize("family", FAMILIES)
def test_path_mtu(cluster, far, family):
    """What a backend sends is too big for the client's link: the error finds the backend."""
    for node in cluster.nodes:
        for _ in range(4):
            s, _ = peers.tcp_open(far, node.ip[family], WEB)
            with s:
                peers.echo(s, os.urandom(200000))


@pytest.mark.parametrize("family", FAMILIES)
def test_terminating_backend(cluster, family):
    """An established connection goes on; new ones go to those that are ready."""
    name = f"drain{family}"
    m = node_port(name, 30140, 30141, number=next(numbers), families=(family,))

    def slices(first):
        return slice_manifest(name, "a", family, [("http", 8080, "TCP"), ("dns", 5353, "UDP")],
                              [(cluster.web[0].ip[family], first),
                               (cluster.web[1].ip[family], {"ready": True})])
    cluster.apply(m, slices({"ready": True}))
    node = cluster.nodes[2]
    held = []
    while {b.name for _, b in held} != {"web0", "web1"}:
        held.append(peers.tcp_open(cluster.client, node.ip[family], 30140))
    udp = peers.udp_socket(cluster.client, node.ip[family], 30141)
    peers.udp_exchange(udp)
    cluster.apply(slices({"ready": False, "serving": True, "terminating": True}))
    for s, _ in held:
        with s:
            peers.echo(s, b"x" * 100000)
            assert {a for a, _ in seen(lambda: peers.tcp(
                cluster.client, node.ip[family], 30140), 10)} == {"web1"}
    with udp:
        assert eventually(lambda: peers.udp_exchange(udp).name == "web1")
    # nobody else is left: it serves again
    cluster.apply(slice_manifest(
        name, "a", family, [("http", 8080, "TCP"), ("dns", 5353, "UDP")],
        [(cluster.web[0].ip[family], {"ready": False, "serving": True, "terminating": True})]))
    assert peers.tcp(cluster.client, node.ip[family], 30140).name == "web0"
    cluster.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_nat_list(cluster, family):
    """The translation to another node, as people see it."""
    node = cluster.nodes[2]
    s, banner = peers.tcp_open(cluster.client, node.ip[family], WEB)
    with s:
        port = s.getsockname()[1]
        entry = next(e for e in node.lines("nat", "list")
                     if (e["source"], e["source_port"]) == (cluster.client_ip[family], port)
                     and (e["destination"], e["destination_port"]) == (node.ip[family], WEB))
        assert entry["to_source"] == node.ip[family] == banner.client
        assert entry["to_source_port"] == banner.client_port
        assert 61000 <= entry["to_source_port"] <= 65535
        assert (entry["to_destination"], entry["to_destination_port"]) == (banner.local, 8080)
        assert entry["nat"] == "dnat,snat"
    flow = node.wait_flow("named after the service", "--service", "default/web",
                          match=lambda f: f["l4"].get("TCP", {}).get("source_port") == port)
    assert flow["verdict"] == "FORWARDED"


def test_node_port_addresses(module_cluster, tmp_path):
    """NodePorts on addresses of one range alone; host ports on all."""
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("services: {node-port-addresses: [192.0.2.0/24, 'fd00:99::/64']}\n")
    c = module_cluster(nodes=1, options=["--config", str(config)])
    node, pod = c.nodes[0], c.pod(0, "web", {"app": "web"})
    pod.tcp(8080)
    extra = {4: "192.0.2.5", 6: "fd00:99::5"}
    netns.ip(node.ns, f"addr add {extra[4]}/32 dev lo", f"addr add {extra[6]}/128 dev lo nodad")
    c.route_via(0, *extra.values())
    c.apply(node_port("web", 30080, selector={"app": "web"}))
    m = pod_manifest(pod, {"app": "web"})
    m["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "hostPort": 8888}]
    c.apply(m)
    for family in FAMILIES:
        assert eventually(lambda: peers.tcp(c.client, extra[family], 30080).name == "web")
        assert peers.tcp_error(c.client, node.ip[family], 30080) == "ECONNREFUSED"
        assert peers.tcp_error(pod.ns, node.ip[family], 30080) == "ECONNREFUSED"
        assert peers.tcp(c.client, node.ip[family], 8888).name == "web"


def test_port_range_exhausted(module_cluster, tmp_path):
    """As many connections to one backend as there are ports; one more is refused by name."""
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("nat: {ports: 62000-62019}\nlifetimes: {closed: 1, closing: 1}\n")
    c = module_cluster(nodes=2, options=["--config", str(config)])
    pod = c.pod(1, "web", {"app": "web"})
    pod.tcp(8080)
    pod.tcp(8081)
    c.apply(node_port("web", 30080, selector={"app": "web"}),
            node_port("other", 30081, selector={"app": "web"}, ports=(8081, 0, 0)))
    here = c.nodes[0].ip[4]
    held = [peers.tcp_open(c.client, here, 30080) for _ in range(20)]
    assert {b.client_port for _, b in held} == set(range(62000, 62020))
    with pytest.raises(socket.timeout):
        peers.tcp(c.client, here, 30080, timeout=1)
    c.nodes[0].wait_drop("nat-ports-exhausted")
    assert "nat-ports-exhausted" in c.nodes[0].bpfnet("metrics").stdout
    # the same ports serve another destination
    assert peers.tcp(c.client, here, 30081).client_port in range(62000, 62020)
    for s, _ in held:
        peers.echo(s, b"still here")
        s.close()
    assert eventually(lambda: peers.tcp(c.client, here, 30080, timeout=2), timeout=30)
