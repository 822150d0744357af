# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicy with both ends on different nodes, through services, and for what is neither TCP
nor a small datagram. With balancing at the socket and without.

What a policy means for pods of one node is covered by the conformance cases; this is about how
traffic gets to where policy is asked.
"""
import contextlib
import os

import pytest

import harness
import peers
from harness import FAMILIES, cluster_ips, pod_manifest, service_manifest
from policies import (Connection, Enforce, block, blocks, denied_tcp, denied_udp, namespace, namespaces, pings, pods,
                      policy, port)

VIP = dict(zip(FAMILIES, cluster_ips(1)))
NODE_PORT = 30080


@pytest.fixture(scope="module", params=["packet", "socket"])
def cluster(request, module_cluster):
    if request.param == "socket" and not harness.cgroup2_root():
        pytest.skip("cgroup2 is not mounted")
    c = module_cluster(nodes=2, cgroup=request.param == "socket")
    c.apply(namespace("default", team="red"), namespace("blue", team="blue"))
    c.manifests = {}

    def pod(number, name, ns="default", http=8080):
        p = c.nodes[number].pod(name, namespace=ns)
        c.manifests[p.key] = pod_manifest(p, {"app": name}, ports=[("http", http, "TCP"),
                                                                   ("dns", 5353, "UDP")])
        c.apply(c.manifests[p.key])
        for number in (8080, 9090):
            p.tcp(number)
        p.udp(5353)
        return p

    c.a, c.other, c.blue = pod(0, "a"), pod(0, "other"), pod(0, "blue", "blue")
    c.web, c.alt = pod(1, "web"), pod(1, "alt", http=9090)
    c.near = pod(0, "near")
    c.serve(c.peers.tcp(c.client, "outside", 8080), *c.peers.udp(c.client, "outside", 5353))
    web = service_manifest("web", [(80, 8080), (53, 5353, "UDP"), (70, 7000)], {"app": "web"},
                           ips=cluster_ips(1))
    near = service_manifest("near", [(80, 8080)], {"app": "near"}, ips=cluster_ips(2))
    near["spec"]["type"] = "NodePort"
    near["spec"]["ports"][0]["nodePort"] = NODE_PORT
    c.apply(web, near)
    return c


@pytest.fixture
def enforce(cluster):
    with Enforce(cluster) as e:
        yield e


def relabel(cluster, pod, **labels):
    m = cluster.manifests[pod.key]
    cluster.apply({**m, "metadata": {**m["metadata"], "labels": labels}})


def passes(source, target, number=8080):
    """By TCP and by UDP, in both families, with the source's own address."""
    for family in FAMILIES:
        banner = peers.tcp(source.ns, target.ip[family], number)
        assert (banner.name, banner.client) == (target.name, source.ip[family])
        if number == 8080:
            banner = peers.udp(source.ns, target.ip[family], 5353)
            assert (banner.name, banner.client) == (target.name, source.ip[family])


def stopped(source, target, number=8080):
    for family in FAMILIES:
        assert denied_tcp(source.ns, target.ip[family], number), (source.key, target.key, family)
        if number == 8080:
            assert denied_udp(source.ns, target.ip[family], 5353), (source.key, target.key, family)


# ------------------------------------------------------------------ two nodes
@pytest.mark.parametrize("peer", ["pods", "namespaces", "both", "block"])
def test_ingress_at_another_node(cluster, enforce, peer):
    c = cluster
    source = c.a if peer in ("pods", "block") else c.blue
    whom = {"pods": [pods(app="a")], "namespaces": [namespaces(team="blue")],
            "both": [{**namespaces(team="blue"), **pods(app="blue")}], "block": blocks(c.a.ip)}[peer]
    enforce(policy("web", {"app": "web"}, ingress=[{"from": whom}]))
    passes(source, c.web)
    for stranger in (c.other, c.alt, c.blue if source is c.a else c.a):
        stopped(stranger, c.web)
    passes(c.other, c.alt)
    passes(c.web, c.other)
    c.nodes[1].wait_drop("policy-ingress", "--to-pod", "default/web", "--from-pod", "default/other")


@pytest.mark.parametrize("peer", ["pods", "namespaces", "both", "block"])
def test_egress_to_another_node(cluster, enforce, peer):
    c = cluster
    target = c.web if peer in ("pods", "block") else c.blue
    source = c.a if target is c.web else c.web
    whom = {"pods": [pods(app="web")], "namespaces": [namespaces(team="blue")],
            "both": [{**namespaces(team="blue"), **pods(app="blue")}], "block": blocks(c.web.ip)}[peer]
    enforce(policy("out", {"app": source.name}, egress=[{"to": whom}]))
    passes(source, target)
    stopped(source, c.alt)
    stopped(source, c.other)
    passes(c.other, source)
    source.node.wait_drop("policy-egress", "--from-pod", source.key, "--to-pod", "default/alt")


def test_default_deny(cluster, enforce):
    """Each way; replies pass either, and the node's own traffic always."""
    c = cluster
    enforce(policy("in", {"app": "web"}, ingress=[]))
    stopped(c.a, c.web)
    passes(c.web, c.a)
    for family in FAMILIES:
        assert peers.tcp(c.nodes[1].ns, c.web.ip[family], 8080).name == "web"
        # another node is no better than anybody
        assert denied_tcp(c.nodes[0].ns, c.web.ip[family], 8080)
    enforce.drop("in")
    passes(c.a, c.web)
    enforce(policy("out", {"app": "web"}, egress=[]))
    stopped(c.web, c.a)
    for family in FAMILIES:
        assert denied_tcp(c.web.ns, c.client_ip[family], 8080)
        assert denied_udp(c.web.ns, c.client_ip[family], 5353)
    passes(c.a, c.web)


@pytest.mark.parametrize("way, denied", [("pod", "label"), ("service", "ingress"), ("service", "egress")])
def test_established_is_cut(cluster, enforce, way, denied):
    """A connection over two nodes, by a change that only one of them enforces; no other one is."""
    c = cluster
    change = {"ingress": policy("change", {"app": "web"}, ingress=[{"from": [pods(app="other")]}]),
              "egress": policy("change", {"app": "a"}, egress=[{"to": [pods(app="alt")]}])}.get(denied)
    if not change:
        enforce(policy("friends", {"app": "web"}, ingress=[{"from": [pods(role="friend")]}]))
    relabel(c, c.a, app="a", role="friend")
    relabel(c, c.other, app="other", role="friend")
    to = {f: (VIP[f], 70) if way == "service" else None for f in FAMILIES}
    try:
        with contextlib.ExitStack() as stack:
            doomed, others = ([stack.enter_context(Connection(source, c.web, f, frontend=to[f]))
                               for f in FAMILIES] for source in (c.a, c.other))
            if change:
                enforce(change)
            else:
                relabel(c, c.a, app="a")
            for connection, first in zip(doomed, ("client", "server")):
                connection.cut(first)
            for connection in others:
                connection.passes(bytes(100000))
        if change:
            enforce.drop("change")
        relabel(c, c.a, app="a", role="friend")
        for f in FAMILIES:
            with Connection(c.a, c.web, f, frontend=to[f]) as again:
                again.passes(bytes(100000))
    finally:
        relabel(c, c.a, app="a")
        relabel(c, c.other, app="other")


def test_named_ports(cluster, enforce):
    """By the number that the pod at the receiving end gives the name, wherever it is."""
    c = cluster
    enforce(policy("in", {}, ingress=[{"ports": [port("http"), port("dns", "UDP")]}]))
    passes(c.a, c.web)
    stopped(c.a, c.web, 9090)
    passes(c.a, c.alt, 9090)
    for family in FAMILIES:
        assert denied_tcp(c.a.ns, c.alt.ip[family], 8080)
        assert peers.udp(c.a.ns, c.alt.ip[family], 5353).name == "alt"
    enforce.drop("in")
    enforce(policy("out", {"app": "a"}, egress=[{"to": [pods()], "ports": [port("http")]}]))
    for family in FAMILIES:
        for target, open_, shut in ((c.web, 8080, 9090), (c.alt, 9090, 8080)):
            assert peers.tcp(c.a.ns, target.ip[family], open_).name == target.name
            assert denied_tcp(c.a.ns, target.ip[family], shut)
            assert denied_udp(c.a.ns, target.ip[family], 5353)


def test_labels_of_a_remote_pod_change(cluster, enforce):
    c = cluster
    enforce(policy("web", {"app": "web"}, ingress=[{"from": [pods(role="friend")]}]),
            policy("out", {"app": "alt"}, egress=[{"to": [pods(role="friend")]}]))
    try:
        for _ in range(3):
            stopped(c.a, c.web)
            stopped(c.alt, c.a)
            relabel(c, c.a, app="a", role="friend")
            passes(c.a, c.web)
            passes(c.alt, c.a)
            stopped(c.other, c.web)
            relabel(c, c.a, app="a")
    finally:
        relabel(c, c.a, app="a")


def test_labels_of_a_namespace_change(cluster, enforce):
    c = cluster
    enforce(policy("web", {"app": "web"}, ingress=[{"from": [namespaces(open="yes")]}]))
    try:
        stopped(c.blue, c.web)
        c.apply(namespace("blue", team="blue", open="yes"))
        passes(c.blue, c.web)
    finally:
        c.apply(namespace("blue", team="blue"))
    stopped(c.blue, c.web)


# ------------------------------------------------------------------- services
@pytest.mark.parametrize("family", FAMILIES)
def test_egress_through_a_service(cluster, enforce, family):
    """Policy sees the backend: its pod and its port, never the service's."""
    c = cluster
    out = {"to": [pods(app="web")], "ports": [port(8080), port(5353, "UDP")]}
    enforce(policy("out", {"app": "a"}, egress=[out]))
    assert peers.tcp(c.a.ns, VIP[family], 80).name == "web"
    for connect in (True, False):
        assert peers.udp(c.a.ns, VIP[family], 53, connect=connect).name == "web"
    out = {"to": [pods(app="web")], "ports": [port(80), port(53, "UDP")]}
    enforce(policy("out", {"app": "a"}, egress=[out]))
    assert denied_tcp(c.a.ns, VIP[family], 80)
    assert denied_udp(c.a.ns, VIP[family], 53)
    enforce(policy("out", {"app": "a"}, egress=[{"to": [block(VIP[family])]}]))
    assert denied_tcp(c.a.ns, VIP[family], 80)
    assert denied_udp(c.a.ns, VIP[family], 53)


@pytest.mark.parametrize("family", FAMILIES)
def test_ingress_through_a_service(cluster, enforce, family):
    """The backend's policy sees the client."""
    c = cluster
    enforce(policy("web", {"app": "web"}, ingress=[{"from": [pods(app="a")]}]))
    assert peers.tcp(c.a.ns, VIP[family], 80).name == "web"
    assert peers.udp(c.a.ns, VIP[family], 53).name == "web"
    for stranger in (c.other, c.alt):
        assert denied_tcp(stranger.ns, VIP[family], 80)
        assert denied_udp(stranger.ns, VIP[family], 53)


@pytest.mark.parametrize("family", FAMILIES)
def test_node_port_from_outside(cluster, enforce, family):
    """A pod of the node that the client speaks to sees the client's address, and judges by it."""
    c = cluster
    outside, node = c.client_ip[family], c.nodes[0].ip[family]
    enforce(policy("near", {"app": "near"}, ingress=[{"from": [block(outside)],
                                                      "ports": [port(8080)]}]))
    banner = peers.tcp(c.client, node, NODE_PORT)
    assert (banner.name, banner.client) == ("near", outside)
    wide = {4: "0.0.0.0/0", 6: "::/0"}[family]
    enforce(policy("near", {"app": "near"}, ingress=[
        {"from": [{"ipBlock": {"cidr": wide, "except": [block(outside)["ipBlock"]["cidr"]]}}]}]))
    assert denied_tcp(c.client, node, NODE_PORT)
    c.nodes[0].wait_drop("policy-ingress", "--from-ip", outside, "--to-pod", "default/near")
    enforce(policy("near", {"app": "near"}, ingress=[{"from": [block(outside)],
                                                      "ports": [port(NODE_PORT)]}]))
    assert denied_tcp(c.client, node, NODE_PORT)
    enforce(policy("near", {"app": "near"}, ingress=[{"from": [block(outside)]}]))
    assert peers.tcp(c.client, node, NODE_PORT).name == "near"


@pytest.mark.parametrize("family", FAMILIES)
def test_hairpin(cluster, enforce, family):
    """A pod may always speak to itself, and does so through a service as well: Kubernetes leaves
    the second to implementations, and a policy that cuts a pod off from itself helps nobody."""
    c = cluster
    enforce(policy("deny", {}, ingress=[], egress=[]))
    vip = cluster_ips(2)[FAMILIES.index(family)]
    assert peers.tcp(c.near.ns, c.near.ip[family], 8080).name == "near"
    assert peers.tcp(c.near.ns, vip, 80).name == "near"
    s, _ = peers.tcp_open(c.near.ns, vip, 80)
    with s:
        peers.echo(s, os.urandom(50000))
    assert denied_tcp(c.near.ns, VIP[family], 80)


# ------------------------------------------------------- neither TCP nor small
@pytest.mark.parametrize("family", FAMILIES)
def test_icmp(cluster, enforce, family):
    """A rule with ports speaks of TCP, UDP and SCTP; one without of everything."""
    c = cluster
    for target in (c.web, c.near):
        label = {"app": target.name}
        enforce(policy("in", label, ingress=[{"from": [pods(app="a")], "ports": [
            port(1, p, end=65535) for p in ("TCP", "UDP", "SCTP")]}]))
        assert not pings(c.a.ns, target.ip[family])
        assert peers.tcp(c.a.ns, target.ip[family], 8080).name == target.name
        enforce(policy("in", label, ingress=[{"from": [pods(app="a")]}]))
        assert pings(c.a.ns, target.ip[family])
        assert not pings(c.other.ns, target.ip[family])
        assert pings(target.node.ns, target.ip[family])
        # what it asks for itself comes back
        assert pings(target.ns, c.other.ip[family])
        # a closed port answers whom policy lets ask
        assert peers.udp_error(c.a.ns, target.ip[family], 9) == "ECONNREFUSED"
        assert peers.udp_error(c.other.ns, target.ip[family], 9, 0.4) == "timeout"
    enforce(policy("out", {"app": "a"}, egress=[{"ports": [port(1, "TCP", end=65535)]}]))
    assert not pings(c.a.ns, c.web.ip[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_fragments(cluster, enforce, family):
    """Datagrams of six fragments: all of them pass, or none."""
    c, data = cluster, os.urandom(8192)
    for target in (c.web, c.near):
        enforce(policy("in", {"app": target.name}, ingress=[{"from": [pods(app="a")],
                                                             "ports": [port(5353, "UDP")]}]))
        for _ in range(5):
            banner = peers.udp(c.a.ns, target.ip[family], 5353, data=data)
            assert (banner.name, banner.client) == (target.name, c.a.ip[family])
        with peers.udp_socket(c.other.ns, target.ip[family], 5353, 0.4) as s:
            for _ in range(5):
                s.send(data)
            with pytest.raises(TimeoutError):
                s.recv(100)
        enforce(policy("in", {"app": target.name}, ingress=[{"ports": [port(5354, "UDP")]}]))
        with peers.udp_socket(c.a.ns, target.ip[family], 5353, 0.4) as s:
            s.send(data)
            with pytest.raises(TimeoutError):
                s.recv(100)
