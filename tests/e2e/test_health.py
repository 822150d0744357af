# SPDX-License-Identifier: Apache-2.0
"""healthCheckNodePort, as a balancer outside asks it."""
import json
import socket

import pytest

import netns
from harness import FAMILIES, pod_manifest


def balancer(port, name="web", policy="Local"):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy,
                     "ipFamilyPolicy": "PreferDualStack", "selector": {"app": "web"},
                     "ports": [{"port": 80, "targetPort": 8080}],
                     **({"healthCheckNodePort": port} if port else {})}}


def ask(node, ip, port):
    host = f"[{ip}]" if ":" in ip else ip
    r = netns.run(node.world, "curl", "-s", "-g", "-m", "10", "-w", "\n%{http_code} %header"
                  "{x-load-balancing-endpoint-weight}", f"http://{host}:{port}/", check=False)
    if r.returncode:
        return r.returncode, None
    body, _, last = r.stdout.rpartition("\n")
    code, _, weight = last.partition(" ")
    answer = json.loads(body)
    assert int(weight) == answer["localEndpoints"]
    return int(code), answer


REFUSED = (7, None)  # curl's exit code


@pytest.mark.parametrize("family", FAMILIES)
def test_health_checks(make_node, family):
    node = make_node()
    ip = node.ip[family]
    far = {"apiVersion": "v1", "kind": "Pod",
           "metadata": {"name": "far", "labels": {"app": "web"}},
           "spec": {"nodeName": "elsewhere"},
           "status": {"podIPs": [{"ip": "10.9.9.9"}, {"ip": "fd09::9"}]}}
    node.apply(balancer(30600), far)
    code, answer = ask(node, ip, 30600)
    assert code == 503
    assert answer == {"service": {"namespace": "default", "name": "web"}, "localEndpoints": 0,
                      "serviceProxyHealthy": True}
    pod = node.pod("near", labels={"app": "web"})
    code, answer = ask(node, ip, 30600)
    assert (code, answer["localEndpoints"]) == (200, 1)
    node.apply(pod_manifest(pod, {"app": "web"}, ready=False))
    assert ask(node, ip, 30600)[0] == 503
    node.apply(pod_manifest(pod, {"app": "web"}, ready=True))
    assert ask(node, ip, 30600)[0] == 200

    # over a restart
    node.stop()
    assert ask(node, ip, 30600) == REFUSED
    node.start()
    assert ask(node, ip, 30600)[0] == 200

    # the port passes to another service in one call, and is free when nobody wants it
    node.apply(balancer(30601), balancer(30600, name="other"))
    assert ask(node, ip, 30600)[1]["service"]["name"] == "other"
    assert ask(node, ip, 30601)[1]["service"]["name"] == "web"
    node.delete(balancer(30600, name="other"))
    assert ask(node, ip, 30600) == REFUSED
    node.apply(balancer(None, policy="Cluster"))
    assert ask(node, ip, 30601) == REFUSED
    assert node.status() == 0


def test_a_held_port_is_refused_or_told(make_node):
    node = make_node()
    with netns.within(node.ns):
        holder = socket.create_server(("127.0.0.1", 30600))
    with holder:
        r = node.apply(balancer(30600), check=False)
        assert r.returncode == 1
        assert "spec.healthCheckNodePort: 30600 is already taken by a socket of the host" in r.stderr
        node.apply(balancer(30601))
    node.stop()
    with netns.within(node.ns):
        holder = socket.create_server(("127.0.0.1", 30601))
    with holder:
        node.start()
        status = node.bpfnet("-o", "json", "status", check=False)
        assert status.returncode == 3
        assert any("default/web: health checks on port 30601" in r
                   for r in json.loads(status.stdout)["reasons"])
    node.apply(balancer(30601, name="web"), {"apiVersion": "v1", "kind": "Node", "metadata": {
        "name": "elsewhere"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.77"}]}})
    assert node.status() == 0
