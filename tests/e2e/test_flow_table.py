# SPDX-License-Identifier: Apache-2.0
"""The agent's own walks of the flow table: counting it, and taking over one of another size."""
import peers
from harness import FAMILIES, eventually, service_manifest


def entries(node):
    return next(m["entries"] for m in node.json("map", "list") if m["name"] == "bn_flows")


def restart(node, config):
    node.stop()
    (node.config).write_text(config)
    node.start("--config", str(node.config))


def test_flows_are_counted(make_node):
    node = make_node()
    client, server = node.pod("client"), node.pod("server")
    server.tcp(8080)
    assert entries(node) == 0
    conns = [peers.tcp_open(client.ns, server.ip[f], 8080)[0] for f in FAMILIES]
    for c in conns:
        peers.echo(c, b"established")
    eventually(lambda: entries(node) == 4, "two entries a flow")
    for c in conns:
        c.close()


def test_a_table_of_another_size_keeps_its_flows(make_node, tmp_path):
    node = make_node()
    node.config = tmp_path / "config.yaml"
    client, server = node.pod("client"), node.pod("server", labels={"app": "server"})
    server.tcp(8080)
    node.apply(service_manifest("web", [(80, 8080)], {"app": "server"}))
    ips = [f["ip"] for f in node.service("web")["frontends"]]
    conns = [peers.tcp_open(client.ns, ip, 80)[0] for ip in ips]
    for flows in (4096, 65536):
        restart(node, f"maps: {{flows: {flows}}}\n")
        for c in conns:
            peers.echo(c, b"still the same backend")
        assert entries(node) == 4
    for c in conns:
        c.close()
