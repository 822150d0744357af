# SPDX-License-Identifier: Apache-2.0
"""Services in commands: what they say beside the traffic itself, and ports that are held."""
import socket

import pytest

import netns
import peers
from harness import FAMILIES, cluster_ips, eventually, service_manifest


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    node.client = node.pod("client", labels={"app": "client"})
    for name, version in (("b1", "v1"), ("b2", "v1"), ("b3", "v2")):
        node.pod(name, labels={"app": "web", "version": version}).tcp(8080)
    return node


def backends(node, name):
    service = node.json("svc", "get", f"default/{name}")
    return service, {b["pod"]: b for b in service["backends"] if ":" not in b["ip"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_connections_and_bytes(node, family):
    node.apply(service_manifest("count", [(80, 8080)], selector={"app": "web"}, ips=cluster_ips(50)))
    s, banner = peers.tcp_open(node.client.ns, cluster_ips(50)[FAMILIES.index(family)], 80)
    with s:
        s.sendall(b"x" * 1000)
        got = b""
        while len(got) < 1000:
            got += s.recv(4096)

        def counted():
            mine = [b for b in node.json("svc", "get", "default/count")["backends"]
                    if b["pod"] == banner.name and (":" in b["ip"]) == (family == 6)]
            # the echo went both ways
            return mine and mine[0]["connections"] == 1 and mine[0]["bytes"] > 2000
        eventually(counted, "the connection and its bytes")
    others = [b for b in node.json("svc", "get", "default/count")["backends"]
              if b["pod"] != banner.name and (":" in b["ip"]) == (family == 6)]
    assert len(others) == 2 and all(b["bytes"] == 0 for b in others)
    node.delete(service_manifest("count", [(80, 8080)]))


def test_weights_and_policies(node):
    m = service_manifest("split", [(80, 8080)], selector={"app": "web"}, ips=cluster_ips(51))
    m["metadata"]["annotations"] = {"bpfnet.io/weights": "version=v1:90,version=v2:10"}
    m["spec"].update(internalTrafficPolicy="Local", trafficDistribution="PreferClose",
                     sessionAffinity="ClientIP")
    node.apply(m)
    service, by_pod = backends(node, "split")
    assert {p: b["weight"] for p, b in by_pod.items()} == {"b1": 9, "b2": 9, "b3": 2}
    assert all(b["serves"] == ["Cluster", "Local"] for b in by_pod.values())
    assert service["internal_traffic_policy"] == "Local"
    assert service["traffic_distribution"] == "PreferClose"
    assert service["session_affinity_s"] == 10800
    assert {f["traffic_policy"] for f in service["frontends"]} == {"Local"}
    m["metadata"]["annotations"]["bpfnet.io/weights"] = "version=v1:most"
    r = node.apply(m, check=False)
    assert r.returncode == 1
    assert "metadata.annotations.bpfnet.io/weights: \"most\" is not a weight" in r.stderr
    assert backends(node, "split")[1] == by_pod


def test_headless(node):
    node.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bare"},
                "spec": {"clusterIP": "None", "selector": {"app": "web"},
                         "ports": [{"port": 80, "targetPort": 8080}]}})
    service, by_pod = backends(node, "bare")
    assert service["headless"] and service["frontends"] == []
    assert set(by_pod) == {"b1", "b2", "b3"}
    assert all(b["port"] == 8080 and b["state"] == "active" for b in by_pod.values())
    assert "None" in node.bpfnet("svc", "list").stdout


def test_ports_that_are_held(node):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "published"},
           "spec": {"nodeName": node.name, "containers": [
               {"name": "c", "ports": [{"containerPort": 80, "hostPort": 881}]}]}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "held"},
               "spec": {"type": "NodePort", "ports": [
                   {"port": 53, "protocol": "UDP", "nodePort": 30053}]}}
    with netns.within(node.ns):
        tcp = socket.create_server(("127.0.0.1", 881))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("0.0.0.0", 30053))
    with tcp, udp:
        for what, field in ((pod, "spec.containers[0].ports[0].hostPort: 881"),
                            (service, "spec.ports[0].nodePort: 30053")):
            r = node.apply(what, check=False)
            assert r.returncode == 1
            assert f"document 1: {field} is already taken by a socket of the host" in r.stderr
    node.apply(pod, service)
    again = {**pod, "metadata": {"name": "second"}}
    r = node.apply(again, check=False)
    assert r.returncode == 1
    assert "hostPort: 881 is already taken by pod default/published" in r.stderr
    node.delete(pod, service)
