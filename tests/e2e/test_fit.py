# SPDX-License-Identifier: Apache-2.0
"""A start whose maps are smaller than what is stored: up, with what fits, and degraded."""
import json

import pytest

import peers
from harness import FAMILIES, cluster_ips, eventually, service_manifest
from policies import policy, port

MANY = 20


def address(i):
    return dict(zip(FAMILIES, cluster_ips(10 + i)))


@pytest.fixture
def node(make_node, tmp_path):
    node = make_node()
    node.config = tmp_path / "bpfnetd.yaml"
    node.pod("b1", labels={"app": "web"}).tcp(8080)
    node.client = node.pod("client")
    node.services = [service_manifest(f"s{i:02}", [(80, 8080)], {"app": "web"},
                                      ips=cluster_ips(10 + i)) for i in range(MANY)]
    node.apply(*node.services)
    return node


def restart(node, text):
    node.config.write_text(text)
    node.stop()
    node.start("--config", str(node.config))


def refused(node):
    return {int(s["name"][1:]): s["refused"] for s in node.json("svc", "list") if "refused" in s}


def reasons(node):
    return json.loads(node.bpfnet("-o", "json", "status", check=False).stdout)["reasons"]


def in_force(node, numbers):
    for i in numbers:
        for family in FAMILIES:
            assert peers.tcp(node.client.ns, address(i)[family], 80).name == "b1"


@pytest.mark.parametrize("text,key", [("maps: {services: 48}\n", "maps.services"),
                                      ("maps: {backends: 12}\n", "maps.backends")])
def test_services(node, text, key):
    s, _ = peers.tcp_open(node.client.ns, address(0)[4], 80)
    restart(node, text)
    assert node.status() == 3
    left = refused(node)
    # in the order of the store, and what is told is what is true
    assert 2 < len(left) < MANY - 2 and sorted(left) == list(range(MANY - len(left), MANY))
    assert any(f"{len(left)} services" in r for r in reasons(node)), reasons(node)
    for text_ in left.values():
        assert key in text_ and any(c.isdigit() for c in text_)
    last = f"default/s{MANY - 1:02}"
    assert key in node.bpfnet("svc", "get", last).stdout
    conditions = node.json("get", "service", last)["status"]["conditions"]
    assert conditions[0]["status"] == "False" and key in conditions[0]["message"]
    assert "conditions" not in node.json("get", "service", "default/s00").get("status", {})
    with s:
        peers.echo(s, b"still there")
        in_force(node, (0, MANY - len(left) - 1))
        assert peers.tcp_error(node.client.ns, address(MANY - 1)[4], 80)
        # what changes is not refused for what was left out before
        node.apply({**node.services[-1], "metadata": {"name": f"s{MANY - 1:02}", "namespace":
                                                      "default", "labels": {"a": "b"}}})
        node.pod("b2")
        assert len(refused(node)) == len(left)
        # the same again, whatever stands in the maps now
        restart(node, text)
        assert set(refused(node)) == set(left)
        peers.echo(s, b"and again")
    # what is new is refused as ever
    more = service_manifest("more", [(80, 8080)], {"app": "web"}, ips=cluster_ips(99))
    assert node.apply(more, check=False).returncode == 1
    # room: the next ones take it
    node.delete(*node.services[:2])
    eventually(lambda: len(refused(node)) == len(left) - 2, "two more fit")
    in_force(node, (MANY - len(left), MANY - len(left) + 1))
    node.delete(*node.services[2:len(left) + 2])
    eventually(lambda: node.status() == 0, "all that is left fits")
    in_force(node, (MANY - 1,))


def test_room_again(node):
    restart(node, "maps: {services: 48}\n")
    assert node.status() == 3
    restart(node, "maps: {services: 4096}\n")
    assert node.status() == 0 and not refused(node)
    in_force(node, range(MANY))


def test_addresses(node):
    """Pods of other nodes that have no place are told; services and this node's pods work."""
    pods = [{"apiVersion": "v1", "kind": "Pod",
             "metadata": {"name": f"far{i}", "namespace": "default"},
             "spec": {"nodeName": "other", "containers": [{"name": "c", "image": "none"}]},
             "status": {"phase": "Running", "podIP": f"10.244.9.{i}",
                        "podIPs": [{"ip": f"10.244.9.{i}"}]}} for i in range(1, 61)]
    node.apply(*pods)
    restart(node, "maps: {addresses: 40}\n")
    assert node.status() == 3
    told = next(r for r in reasons(node) if "addresses of pods and nodes do not fit" in r)
    n = int(told.split()[0])
    assert 20 < n < 60
    in_force(node, (0, MANY - 1))
    node.delete(*pods[:30])
    node.delete(*pods[30:])
    eventually(lambda: node.status() == 0, "all that is left fits")


def test_policies(node):
    """Pods whose tables don't fit are closed, which hinders nobody, until there is room."""
    apps = ("p0", "p1", "p2")
    pods = [node.pod(app, labels={"app": app}) for app in apps]
    for pod in pods:
        pod.tcp(8080)
    many = [policy(app, {"app": app}, ingress=[{"ports": [port(8080), port(7000 + i)]}],
                   egress=[{"ports": [port(8080), port(8000 + i)]}])
            for i, app in enumerate(apps)]
    node.apply(*many)

    def lacking():
        return [r for r in reasons(node) if "closed" in r]

    # of six tables five fit: number 0 is none's
    restart(node, "maps: {policy-tables: 6}\n")
    assert node.status() == 3
    assert "closed: policy needs, beside what is in force, 1 table " in lacking()[0], lacking()
    closed = [(p.name, q.name) for p in pods for q in pods if p is not q and
              peers.tcp_error(p.ns, q.ip[4], 8080)]
    # one of them is closed in one direction
    assert len(closed) == 2, closed
    node.delete(node.services[0])
    assert len(lacking()) == 1
    node.delete(many[0])
    assert not lacking() and node.status() == 0
    for family in FAMILIES:
        assert peers.tcp(pods[1].ns, pods[2].ip[family], 8080).name == "p2"
        assert peers.tcp(pods[2].ns, pods[1].ip[family], 8080).name == "p1"
    # from now on what does not fit is refused, and says by how much
    r = node.apply(many[0], check=False)
    assert r.returncode == 1 and "1 table more than fit (raise maps.policy-tables" in r.stderr, r
    assert not lacking()
