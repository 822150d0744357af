# SPDX-License-Identifier: Apache-2.0
"""Direct server return that nobody asked a node for: packets that a client sends past all nodes to a
backend's, with a frontend that it likes. It gets no answer that another's address is on."""
import itertools

import pytest

import dsr
import peers
from cluster import BALANCED
from dsr import DESTINATION_OPTIONS, HOP_BY_HOP, Uplink, option, packet, parse, towards
from harness import FAMILIES, cluster_ips, eventually
from rawnet import Tap
from test_nodeport import node_port

WEB, DNS, OTHER = 30080, 30053, 30054
ports = itertools.count(22000)


def make(module_cluster, options):
    c = module_cluster(nodes=2, options=options)
    c.web, c.other = c.pod(1, "web", {"app": "web"}), c.pod(1, "other", {"app": "other"})
    for pod in (c.web, c.other):
        pod.tcp(8080)
        pod.udp(5353)
    m = node_port("web", WEB, DNS, number=1, selector={"app": "web"}, type="LoadBalancer",
                  externalIPs=[BALANCED[f] + "20" for f in FAMILIES])
    m["status"] = {"loadBalancer": {"ingress": [{"ip": BALANCED[f] + "10"} for f in FAMILIES]}}
    c.apply(m, node_port("other", 0, OTHER, number=2, selector={"app": "other"}))
    c.vip = [dict(zip(FAMILIES, cluster_ips(n))) for n in (1, 2)]
    return c


@pytest.fixture(scope="module")
def cluster(module_cluster, tmp_path_factory):
    return make(module_cluster, dsr.options(tmp_path_factory))


def probe(c, family, what, protocol="UDP", number=5353, header=DESTINATION_OPTIONS, claims=None):
    """Sends a packet with these options to the backend, perhaps with another's address. Its port,
    whether the pod got it, and who answered: (address, port) of each, seen by the client."""
    pod, node, source = c.web, c.nodes[1], c.client_ip[family]
    sport, marker, claims = next(ports), next(ports), claims or source
    with Tap(c.client, "w0") as tap, Tap(pod.ns) as inside:
        def answers():
            """Until the pod's answer to an honest datagram, which is from the pod."""
            got = []
            for f in tap.frames():
                p = parse(bytes(f))
                if p and p.dst == source and p.dport == marker:
                    return got
                if p and p.dst == source and p.dport == sport:
                    got.append((p.src, p.sport))
            raise AssertionError("no answer to the honest datagram")
        tap.send(towards(node, c.client, packet(family, claims, pod.ip[family], sport, number, what,
                                                protocol, b"FORGED" if protocol == "UDP" else b"",
                                                header)),
                 towards(node, c.client, packet(family, source, pod.ip[family], marker, 5353,
                                                payload=b"honest")))
        got = answers()
        arrived = inside.until(lambda f: b"honest" in bytes(f))
    return sport, any(p and (p.src, p.sport) == (claims, sport)
                      for p in (parse(bytes(f)) for f in arrived)), got


def good(c, family):
    """Frontends that lead to the backend by another node."""
    return [(c.nodes[0].ip[family], WEB, DNS), (BALANCED[family] + "10", 80, 53),
            (BALANCED[family] + "20", 80, 53), (c.vip[0][family], 80, 53)]


@pytest.mark.parametrize("family", FAMILIES)
def test_as_another_node_sends_it(cluster, family):
    """By which the other tests know that their packets are understood."""
    for address, web, dns in good(cluster, family):
        for protocol, number, target in (("TCP", web, 8080), ("UDP", dns, 5353)):
            _, arrived, answers = probe(cluster, family, option(family, (address, number)), protocol,
                                        target)
            assert arrived and set(answers) == {(address, number)}


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("family", FAMILIES)
def test_no_frontend_of_the_backend(cluster, family, protocol):
    """A service's that has other backends, or no service's; its own node's, or nobody's address; a
    port of the other protocol, or of none."""
    first, second = (n.ip[family] for n in cluster.nodes)
    mine, target = (WEB, 8080) if protocol == "TCP" else (DNS, 5353)
    mine_here = 80 if protocol == "TCP" else 53
    nobody, stranger = {4: ("172.31.0.99", "198.51.100.7"), 6: ("fd00:31::99", "fd00:51::7")}[family]
    for frontend in (
            (first, OTHER), (cluster.vip[1][family], 53), (first, 31999), (first, 0),
            (first, mine_here), (first, DNS if protocol == "TCP" else WEB),
            (second, mine), (cluster.web.ip[family], target),
            (nobody, mine), (stranger, mine), (cluster.client_ip[family], mine),
            (BALANCED[family] + "99", mine_here), (BALANCED[family] + "10", mine),
            (cluster.vip[0][family], 81), {4: ("0.0.0.0", mine), 6: ("::", mine)}[family],
            {4: ("127.0.0.1", mine), 6: ("::1", mine)}[family]):
        port, arrived, answers = probe(cluster, family, option(family, frontend), protocol, target)
        assert not arrived and not answers, frontend
        f = cluster.nodes[1].wait_drop("dsr-frontend", "--port", port)
        assert f["IP"]["source"] == cluster.client_ip[family], frontend
    assert 'bpfnet_drop_packets_total{reason="dsr-frontend"' in \
        cluster.nodes[1].bpfnet("metrics").stdout


def malformed(family, frontend):
    whole = option(family, frontend)
    if family == 4:
        return [
            whole[:1] + b"\x07" + whole[2:7] + b"\x01",
            whole[:1] + b"\x09" + whole[2:] + b"\x01" * 4,
            whole[:1] + b"\x0c" + whole[2:] + bytes(4),
            whole[:4],
            whole[:1] + b"\x00" + whole[2:],
            whole[:1] + b"\x01" + whole[2:],
            b"\x01" * 3 + whole[:1],
            b"\x9d" + whole[1:], b"\x1e" + whole[1:]]
    return [
        whole[:2] + b"\x13" + whole[3:],
        whole[:2] + b"\x15" + whole[3:],
        whole[:2] + b"\x0c" + whole[3:],
        b"\x01" + whole[1:15],
        b"\x01\x1e\x0c" + whole[3:15],
        b"\x1f" + whole[1:],
        whole[:1] + b"\x1f" + whole[2:],
        whole[:1] + b"\x01" + whole[2:],
        whole[:5] + b"\x00\x01" + whole[7:]]


@pytest.mark.parametrize("family", FAMILIES)
def test_malformed(cluster, family):
    """Other lengths, cut off, other options: refused or nothing special, but never answered from the
    frontend."""
    for protocol, number, target in (("TCP", WEB, 8080), ("UDP", DNS, 5353)):
        frontend = (cluster.nodes[0].ip[family], number)
        for what in malformed(family, frontend):
            _, arrived, answers = probe(cluster, family, what, protocol, target)
            assert set(answers) <= {(cluster.web.ip[family], target)}, what.hex()
            assert arrived or not answers
    # well-formed, but in a header that every router reads
    if family == 6:
        _, _, answers = probe(cluster, 6, option(6, (cluster.nodes[0].ip[6], DNS)), header=HOP_BY_HOP)
        assert set(answers) <= {(cluster.web.ip[6], 5353)}


@pytest.mark.parametrize("family", FAMILIES)
def test_brought_to_the_node_that_is_asked(cluster, family):
    """What a client says itself does not get past it: the frontend is the one that it came to."""
    node, source = cluster.nodes[0], cluster.client_ip[family]
    lie = option(family, (BALANCED[family] + "10", 53))
    port, marker = next(ports), next(ports)

    def datagram(sport, what=b""):
        return towards(node, cluster.client,
                       packet(family, source, node.ip[family], sport, DNS, what))
    with Tap(cluster.client, "w0") as tap, Uplink(cluster.nodes[1]) as backend:
        tap.send(datagram(port, lie), datagram(marker))
        tap.expect(lambda f: (p := parse(bytes(f))) and (p.dst, p.dport) == (source, marker),
                   what="answer to the honest datagram")
        came, went = backend.passed()
    assert {(p.dst, p.frontend) for p in came if p.sport == port} <= \
        {(cluster.web.ip[family], (node.ip[family], DNS))}
    assert {(p.src, p.sport) for p in went if p.dport == port} <= {(node.ip[family], DNS)}


@pytest.mark.parametrize("family", FAMILIES)
def test_claims_to_be_somebody_else(cluster, family):
    """Who can't come from outside doesn't with a frontend either."""
    for address, web, dns in good(cluster, family):
        for protocol, number, target in (("TCP", web, 8080), ("UDP", dns, 5353)):
            for claims, reason in ((cluster.web.ip[family], "uplink-spoof"),
                                   (cluster.other.ip[family], "uplink-spoof"),
                                   (cluster.nodes[1].ip[family], "uplink-spoof"),
                                   (cluster.vip[0][family], "uplink-spoof"),
                                   ({4: "169.254.9.9", 6: "fe80::9"}[family], "martian-source")):
                port, arrived, answers = probe(cluster, family, option(family, (address, number)),
                                               protocol, target, claims=claims)
                assert not arrived and not answers, claims
                cluster.nodes[1].wait_drop(reason, "--port", port)


@pytest.mark.parametrize("family", FAMILIES)
def test_into_what_is_open(cluster, family):
    """Somebody who knows the client's ports sends its packets with another frontend."""
    node, pod, here = cluster.nodes[1], cluster.web, cluster.nodes[0].ip[family]
    own = [(cluster.client_ip[family], next(ports)) for _ in range(2)]
    s, _ = peers.tcp_open(cluster.client, here, WEB, own=own[0])
    u = peers.udp_socket(cluster.client, here, DNS, timeout=1, own=own[1])

    def answered():
        """Each datagram says where the pod's next answer comes from, to whichever it is."""
        u.send(b"honest")
        while not u.recv(100).endswith(b"honest"):
            pass
        return True
    with s, u, Tap(cluster.client, "w0") as tap:
        for address, web, dns in good(cluster, family)[1:]:
            peers.echo(s, b"x" * 10000)
            eventually(answered)
            for flags in ("S", "A", "PA", "SA"):
                tap.send(towards(node, cluster.client, packet(
                    family, own[0][0], pod.ip[family], own[0][1], 8080,
                    option(family, (address, web)), "TCP", b"FORGED" * (flags == "PA"), flags=flags)))
                peers.echo(s, b"x" * 10000)
            tap.send(towards(node, cluster.client, packet(
                family, own[1][0], pod.ip[family], own[1][1], 5353, option(family, (address, dns)))))
            eventually(answered)


@pytest.mark.parametrize("family", FAMILIES)
def test_from_a_pod(cluster, family):
    """Pods are told of frontends by their own node, not by what they bring."""
    sender = cluster.nodes[1].pods.get("default/sender") or cluster.pod(1, "sender")
    node = cluster.nodes[1]
    host = next(e["host_ifname"] for e in node.json("endpoint", "list") if e["pod"] == "sender")
    port, marker = next(ports), next(ports)
    with Tap(sender.ns) as tap:
        def frame(sport, what=b""):
            data = packet(family, sender.ip[family], cluster.web.ip[family], sport, 5353, what)
            mac = node.link(node.ns, host)["address"]
            return bytes.fromhex((mac + sender.mac).replace(":", "")) + \
                (b"\x08\x00" if family == 4 else b"\x86\xdd") + data
        tap.send(frame(port, option(family, (cluster.nodes[0].ip[family], DNS))), frame(marker))
        got = tap.until(lambda f: (p := parse(bytes(f))) and p.dport == marker)
    answers = {(p.src, p.sport) for p in map(parse, map(bytes, got)) if p and p.dport == port}
    assert answers <= {(cluster.web.ip[family], 5353)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frontend_that_goes(cluster, family):
    """What was right is refused when the service is gone from there."""
    address = BALANCED[family] + "50"
    m = node_port(f"short{family}", 30060 + family, 30070 + family, selector={"app": "web"},
                  families=(family,), externalIPs=[address])
    cluster.apply(m)

    def answers():
        return probe(cluster, family, option(family, (address, 53)))[2]
    assert answers() == [(address, 53)]
    cluster.delete(m)
    assert answers() == []
    cluster.nodes[1].wait_drop("dsr-frontend", "--ip", cluster.client_ip[family])


def test_without_it_the_option_means_nothing(module_cluster, tmp_path):
    """A node that does it by SNAT hands the packet over as any other, and the pod answers itself."""
    c = make(module_cluster, dsr.options(tmp_path, "snat"))
    for family in FAMILIES:
        for address, web, dns in good(c, family):
            for protocol, number, target in (("TCP", web, 8080), ("UDP", dns, 5353)):
                _, arrived, answers = probe(c, family, option(family, (address, number)), protocol,
                                            target)
                assert arrived and set(answers) == {(c.web.ip[family], target)}
        assert peers.tcp(c.client, c.nodes[0].ip[family], WEB).client == c.nodes[0].ip[family]
    assert not c.nodes[1].flows("--drop-reason", "dsr-frontend")
