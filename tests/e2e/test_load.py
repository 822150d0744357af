# SPDX-License-Identifier: Apache-2.0
"""Load by wrk, over connections that stay and over new ones, while agents are killed and started."""
import re
import subprocess
import time

import pytest

import harness
from harness import FAMILIES, cluster_ips, service_manifest
from servers import Nginx

NODE_PORT = 30180
WAYS = {"kept": [], "new": ["-H", "Connection: close"]}


@pytest.fixture(scope="module", params=["packet", "socket"])
def cluster(request, module_cluster):
    """Backends on the first two of three nodes, a client pod beside one of them, and one outside."""
    if request.param == "socket" and not harness.cgroup2_root():
        pytest.skip("cgroup2 is not mounted")
    c = module_cluster(nodes=3, cgroup=request.param == "socket")
    web = [c.pod(number, f"web{number}", {"app": "web"}) for number in (0, 1)]
    c.inside = c.pod(0, "client")
    m = service_manifest("web", [(80, 8001)], {"app": "web"}, ips=cluster_ips(1))
    m["spec"]["type"] = "NodePort"
    m["spec"]["ports"][0]["nodePort"] = NODE_PORT
    c.apply(m)
    servers = [Nginx(w.node, w.ns, w.name, 8001) for w in web]
    yield c
    for s in servers:
        s.close()


def wrk(node, ns, address, family, *options):
    host = f"[{address}]" if family == 6 else address
    return node.popen(ns, "wrk", "-t", "2", "-c", "20", "-d", "3s", *options, f"http://{host}/",
                      stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("way", WAYS)
def test_wrk(cluster, way):
    """From a pod to the service, and from outside by a node that has no backend: nothing is lost."""
    first, last = cluster.nodes[0], cluster.nodes[2]
    loads = []
    for family, address in zip(FAMILIES, cluster_ips(1)):
        loads.append(wrk(first, cluster.inside.ns, address, family, *WAYS[way]))
        port = f"[{last.ip[6]}]:{NODE_PORT}" if family == 6 else f"{last.ip[4]}:{NODE_PORT}"
        loads.append(wrk(last, cluster.client, port, 4, *WAYS[way]))
    for node in (first, last):
        time.sleep(0.7)  # in the midst of it
        node.kill()
        node.start()
    for load in loads:
        said, _ = load.communicate(timeout=60 * harness.SLOW)
        assert load.returncode == 0, said
        assert "Socket errors" not in said and "Non-2xx" not in said, said
        assert int(re.search(r"(\d+) requests in", said)[1]) > 100, said
