# SPDX-License-Identifier: Apache-2.0
"""Several nodes on one link: pods across nodes, services whose backends are elsewhere."""
import os

import pytest

import netns
import peers
from harness import FAMILIES, cluster_ips, service_manifest


@pytest.fixture(scope="module")
def cluster(module_cluster):
    c = module_cluster(nodes=3)
    c.serve(c.peers.tcp(c.client, "outside", 8080), *c.peers.udp(c.client, "outside", 5353))
    for number in range(3):
        pod = c.pod(number, f"web{number}", {"app": "web"})
        pod.tcp(8080)
        pod.udp(5353)
        pod.sctp(3868)
    c.web = [c.nodes[n].pods[f"default/web{n}"] for n in range(3)]
    return c


@pytest.mark.parametrize("family", FAMILIES)
def test_pod_to_pod_across_nodes(cluster, family):
    """With its own address, in both directions."""
    for a, b in ((0, 1), (1, 0), (2, 1)):
        source, target = cluster.web[a], cluster.web[b]
        banner = peers.tcp(source.ns, target.ip[family], 8080)
        assert (banner.name, banner.client) == (target.name, source.ip[family])
        banner = peers.udp(source.ns, target.ip[family], 5353, data=bytes(8192))
        assert (banner.name, banner.client) == (target.name, source.ip[family])
        assert peers.sctp(source.ns, target.ip[family], 3868) == ("web" + str(b), target.ip[family])
        s, _ = peers.tcp_open(source.ns, target.ip[family], 8080)
        with s:
            peers.echo(s, os.urandom(300000))


@pytest.mark.parametrize("family", FAMILIES)
def test_remote_backends_of_a_service(cluster, family):
    """From every node's pods to every node's backends, the client's address kept."""
    vip = cluster_ips(1)[FAMILIES.index(family)]
    cluster.apply(service_manifest("web", [(80, 8080), (53, 5353, "UDP"), (38, 3868, "SCTP")],
                                   {"app": "web"}, ips=cluster_ips(1)))
    for pod in cluster.web:
        seen = set()
        for _ in range(40):
            banner = peers.tcp(pod.ns, vip, 80)
            seen.add(banner.name)
            if banner.name != pod.name:
                assert banner.client == pod.ip[family]
            seen.add(peers.udp(pod.ns, vip, 53).name)
        assert seen == {"web0", "web1", "web2"}
        assert peers.sctp(pod.ns, vip, 38)[1] == vip


@pytest.mark.parametrize("family", FAMILIES)
def test_masquerade_towards_outside_only(cluster, family):
    for node, pod in zip(cluster.nodes, cluster.web):
        banner = peers.tcp(pod.ns, cluster.client_ip[family], 8080)
        assert (banner.name, banner.client) == ("outside", node.ip[family])
        assert peers.udp(pod.ns, cluster.client_ip[family], 5353).client == node.ip[family]
        other = cluster.web[(node.number + 1) % 3]
        assert peers.tcp(pod.ns, other.ip[family], 8080).client == pod.ip[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_from_a_remote_backend(cluster, family):
    """UDP to a closed port of a backend of another node: its ICMP error finds the way back."""
    vip = cluster_ips(2)[FAMILIES.index(family)]
    cluster.pod(1, f"shut{family}", {"app": f"shut{family}"})
    cluster.apply(service_manifest(f"shut{family}", [(53, 9, "UDP"), (80, 9)],
                                   {"app": f"shut{family}"}, families=(family,), ips=[vip]))
    assert peers.udp_error(cluster.web[0].ns, vip, 53) == "ECONNREFUSED"
    assert peers.tcp_error(cluster.web[0].ns, vip, 80) == "ECONNREFUSED"


def test_pod_of_another_node_is_not_accepted_from_a_pod(cluster):
    """What claims to be another node's pod is refused where it is sent."""
    web = cluster.web[0]
    netns.ip(web.ns, f"addr add {cluster.web[1].ip[4]}/32 dev eth0")
    try:
        r = web.run("ping", "-n", "-c", "1", "-W", "1", "-I", cluster.web[1].ip[4],
                    cluster.web[2].ip[4], check=False)
        assert r.returncode
        cluster.nodes[0].wait_drop("spoofed-source")
    finally:
        netns.ip(web.ns, f"addr del {cluster.web[1].ip[4]}/32 dev eth0")
