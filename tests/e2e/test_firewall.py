# SPDX-License-Identifier: Apache-2.0
"""The node's own firewall: NetworkPolicies that select nodes, in force for the node's addresses."""
import pytest

import netns
import peers
from harness import FAMILIES, NODE, WORLD
from policies import BLINK, Enforce, blocks, denied_tcp, denied_udp, pods, policy, port


def on_hosts(name, labels=None, **rules):
    p = policy(name, labels, **rules)
    p["metadata"]["annotations"] = {"bpfnet.io/host-firewall": "true"}
    return p


def node_manifest(node, labels):
    return {"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node.json("status")["node"], "labels": labels},
            "status": {"addresses": [{"type": "InternalIP", "address": NODE[f]} for f in FAMILIES]}}


@pytest.fixture(scope="module")
def node(module_node):
    n = module_node()
    n.client = n.pod("client", labels={"app": "client"})
    n.client.tcp(8080)
    n.other = n.pod("other", labels={"app": "other"})
    servers = [n.peers.tcp(n.ns, "host", 8080), n.peers.tcp(n.ns, "ssh", 22),
               *n.peers.udp(n.ns, "host", 5353), n.peers.tcp(n.world, "world", 443),
               n.peers.tcp(n.world, "world", 80), *n.peers.udp(n.world, "world", 53)]
    n.serve(*servers)
    return n


@pytest.fixture
def enforce(node):
    with Enforce(node) as e:
        yield e


@pytest.mark.parametrize("family", FAMILIES)
def test_from_outside(node, enforce, family):
    assert peers.tcp(node.world, NODE[family], 8080).name == "host"
    enforce(on_hosts("web", ingress=[{"from": blocks(WORLD), "ports": [port(8080)]}]))
    assert node.json("status")["features"]["host_firewall"] is True
    assert peers.tcp(node.world, NODE[family], 8080).name == "host"
    assert denied_udp(node.world, NODE[family], 5353)
    drop = node.wait_drop("policy-ingress", "--protocol", "udp", "--to-ip", NODE[family])
    assert drop["ingress_denied_by"][0]["name"] == "web"
    # failsafe, and what the node itself begins
    assert peers.tcp(node.world, NODE[family], 22).name == "ssh"
    assert peers.tcp(node.ns, WORLD[family], 443).name == "world"
    assert peers.udp(node.ns, WORLD[family], 53).name == "world"


@pytest.mark.parametrize("family", FAMILIES)
def test_from_pods_of_the_node(node, enforce, family):
    enforce(on_hosts("web", ingress=[{"from": [pods(app="client")], "ports": [port(8080)]}]))
    assert peers.tcp(node.client.ns, NODE[family], 8080).name == "host"
    assert denied_tcp(node.other.ns, NODE[family], 8080)
    # the node reaches its pods, whatever it says
    assert peers.tcp(node.ns, node.client.ip[family], 8080).name == "client"


@pytest.mark.parametrize("family", FAMILIES)
def test_from_the_node(node, enforce, family):
    enforce(on_hosts("out", egress=[{"to": blocks(WORLD), "ports": [port(443)]}]))
    assert peers.tcp(node.ns, WORLD[family], 443).name == "world"
    assert denied_tcp(node.ns, WORLD[family], 80)
    assert node.wait_drop("policy-egress", "--to-ip", WORLD[family], "--to-port", "80")
    assert peers.udp(node.ns, WORLD[family], 53).name == "world", "failsafe"
    # pods are not the node, and what comes in is nobody's egress
    assert peers.tcp(node.client.ns, WORLD[family], 80).name == "world"
    assert peers.tcp(node.world, NODE[family], 8080).name == "host"


@pytest.mark.parametrize("family", FAMILIES)
def test_connections_that_stand(node, enforce, family):
    """Of the node's own making or towards a failsafe port they go on; what is denied is cut."""
    ssh, _ = peers.tcp_open(node.world, NODE[family], 22)
    web, _ = peers.tcp_open(node.world, NODE[family], 8080)
    enforce(on_hosts("shut", ingress=[], egress=[]))
    peers.echo(ssh, b"still here")
    web.settimeout(BLINK)
    web.sendall(b"too late")
    with pytest.raises(TimeoutError):
        web.recv(100)
    ssh.close()
    web.close()


def test_the_nodes_labels_choose(node, enforce):
    edge = on_hosts("edge", {"role": "edge"}, ingress=[])
    enforce(edge)
    assert node.json("status")["features"]["host_firewall"] is False
    assert peers.tcp(node.world, NODE[4], 8080)
    manifest = node_manifest(node, {"role": "edge"})
    node.apply(manifest)
    try:
        assert denied_tcp(node.world, NODE[4], 8080)
        listed, = (p for p in node.json("policy", "list") if p["name"] == "edge")
        assert listed["host"] and listed["endpoints"] == 1 and listed["denied"]["ingress"] >= 1
        node.apply(node_manifest(node, {"role": "core"}))
        assert peers.tcp(node.world, NODE[4], 8080)
    finally:
        node.delete(manifest)


def test_pods_are_not_selected(node, enforce):
    """By a policy of nodes; nor is the node by one of pods."""
    enforce(on_hosts("hosts", ingress=[]), policy("pods", {"app": "none"}, ingress=[]))
    assert peers.tcp(node.other.ns, node.client.ip[4], 8080).name == "client"
    enforce.drop("hosts")
    assert peers.tcp(node.world, NODE[4], 8080)


def test_from_pods_to_nodes_and_back(node, enforce):
    """The same policy changes what it selects among."""
    enforce(on_hosts("one", ingress=[]))
    assert denied_tcp(node.world, NODE[4], 8080)
    enforce(policy("one", {"app": "client"}, ingress=[]))
    assert peers.tcp(node.world, NODE[4], 8080)
    assert denied_tcp(node.other.ns, node.client.ip[4], 8080)
    enforce(on_hosts("one", ingress=[]))
    assert denied_tcp(node.world, NODE[4], 8080)
    assert peers.tcp(node.other.ns, node.client.ip[4], 8080)
    assert len(node.json("policy", "list")) == 1


def test_ping(node, enforce):
    enforce(on_hosts("shut", ingress=[]))
    for family in FAMILIES:
        ping = ["ping", "-c1", "-W1", "-6" if family == 6 else "-4"]
        assert netns.run(node.world, *ping, NODE[family], check=False).returncode
        assert not netns.run(node.ns, *ping, WORLD[family], check=False).returncode


def test_over_a_restart(node, enforce):
    enforce(on_hosts("web", ingress=[{"from": blocks(WORLD), "ports": [port(22)]}]))
    own, _ = peers.tcp_open(node.ns, WORLD[4], 443)
    peers.echo(own, b"before")
    node.kill()
    assert denied_tcp(node.world, NODE[4], 8080), "enforced with no agent"
    peers.echo(own, b"without")
    node.start()
    peers.echo(own, b"after")
    assert denied_tcp(node.world, NODE[4], 8080)
    own.close()


def test_audit(node, enforce):
    manifest = node_manifest(node, {})
    manifest["metadata"]["annotations"] = {"bpfnet.io/policy-audit": "true"}
    node.apply(manifest)
    try:
        enforce(on_hosts("shut", ingress=[]))
        assert peers.tcp(node.world, NODE[4], 8080).name == "host"
        assert node.wait_flow("audited", "--verdict", "audit", "--to-port", "8080")
    finally:
        node.delete(manifest)


def test_trace(node, enforce):
    enforce(on_hosts("web", ingress=[{"from": blocks(WORLD), "ports": [port(8080)]}]))
    answer = node.json("policy", "trace", "--from", WORLD[4], "--to", NODE[4], "--port", "8080")
    assert answer["verdict"] == "FORWARDED"
    assert answer["rules"] == [{"policy": "default/web", "direction": "ingress", "index": 0,
                                "allow": True}]
    answer = node.json("policy", "trace", "--from", WORLD[4], "--to", NODE[4], "--port", "81")
    assert answer["verdict"] == "DROPPED" and answer["drop_reason"] == "policy-ingress"
    enforce(on_hosts("out", egress=[{"to": blocks(WORLD), "ports": [port(443)]}]))
    for number, verdict in ((443, "FORWARDED"), (80, "DROPPED")):
        answer = node.json("policy", "trace", "--from", NODE[4], "--to", WORLD[4], "--port",
                           str(number))
        assert answer["verdict"] == verdict, answer


def test_bad_annotation(node):
    p = on_hosts("bad", ingress=[])
    p["metadata"]["annotations"]["bpfnet.io/host-firewall"] = "yes"
    done = node.apply(p, check=False)
    assert done.returncode == 1 and "host-firewall" in done.stderr
