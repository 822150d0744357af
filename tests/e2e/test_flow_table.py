# SPDX-License-Identifier: Apache-2.0
"""The agent's own walks of the flow table: counting it, and taking over one of another size."""
import json
import subprocess

import peers
from harness import BPFTOOL, FAMILIES, eventually, service_manifest

HASH = slice(52, 56)  # of struct bn_node


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


def bpftool(*args):
    r = subprocess.run([BPFTOOL, "-j", "map", *args], text=True, capture_output=True, check=True)
    return json.loads(r.stdout) if r.stdout.strip() else None


def test_a_table_of_another_hash_keeps_its_flows(make_node):
    """As after an upgrade: its entries are not where they would be looked for."""
    node = make_node()
    client, server = node.pod("client"), node.pod("server", labels={"app": "server"})
    server.tcp(8080)
    node.apply(service_manifest("web", [(80, 8080)], {"app": "server"}))
    conns = [peers.tcp_open(client.ns, f["ip"], 80)[0] for f in node.service("web")["frontends"]]
    for c in conns:
        peers.echo(c, b"established")
    flows, at = f"{node.bpffs}/maps/bn_flows", ("pinned", f"{node.bpffs}/maps/bn_node")
    table = bpftool("show", "pinned", flows)["id"]
    node.stop()
    node.start()
    assert bpftool("show", "pinned", flows)["id"] == table
    node.stop()
    value = [b[2:] for b in bpftool("dump", *at)[0]["value"]]
    assert value[HASH] == ["01", "00", "00", "00"]
    value[HASH] = ["00"] * 4
    bpftool("update", *at, "key", "0", "0", "0", "0", "value", "hex", *value)
    node.start()
    assert bpftool("show", "pinned", flows)["id"] != table
    for c in conns:
        peers.echo(c, b"still the same backend")
    assert entries(node) == 4
    for c in conns:
        c.close()
