# SPDX-License-Identifier: Apache-2.0
"""The agent's own walks of the flow table: counting it, and taking over one of another size."""
import json
import signal
import subprocess

import peers
from harness import BIN, BPFTOOL, FAMILIES, SLOW, eventually, service_manifest

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


KILLED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int rename(const char *from, const char *to)
{
	int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
	int r = real(from, to);

	if (strstr(to, "/maps/bn_flows"))
		raise(SIGKILL);
	return r;
}
"""


def many(node):
    """Connections by a service whose backends are so many that no guess finds all of theirs."""
    client = node.pod("client")
    for i in range(3):
        node.pod(f"server{i}", labels={"app": "server"}).tcp(8080)
    node.apply(service_manifest("web", [(80, 8080)], {"app": "server"}))
    conns = [peers.tcp_open(client.ns, f["ip"], 80)[0] for f in node.service("web")["frontends"]
             for _ in range(12)]
    for c in conns:
        peers.echo(c, b"established")
    return conns


def test_killed_when_the_new_table_has_the_old_ones_name(make_node, tmp_path):
    node = make_node()
    conns = many(node)
    killed, wrapper, config = (tmp_path / n for n in ("killed.so", "bpfnetd", "config.yaml"))
    subprocess.run(["cc", "-shared", "-fPIC", "-o", killed, "-xc", "-"], input=KILLED, text=True,
                   check=True)
    wrapper.write_text(f'#!/bin/sh\nLD_PRELOAD={killed} exec {BIN}/bpfnetd "$@"\n')
    wrapper.chmod(0o755)
    config.write_text("maps: {flows: 4096}\n")
    node.stop()
    node.spawn("--config", str(config), binary=str(wrapper))
    assert node.agent.wait(30 * SLOW) == -signal.SIGKILL
    for c in conns:
        peers.echo(c, b"by the old programs")
    node.start("--config", str(config))
    for c in conns:
        peers.echo(c, b"still the same backend")
    assert entries(node) == 2 * len(conns)
    for c in conns:
        c.close()


def test_a_table_of_another_hash_keeps_its_flows(make_node):
    """As after an upgrade: its entries are not where they would be looked for."""
    node = make_node()
    conns = many(node)
    flows, at = f"{node.bpffs}/maps/bn_flows", ("pinned", f"{node.bpffs}/maps/bn_node")
    table = bpftool("show", "pinned", flows)["id"]
    node.stop()
    node.start()
    assert bpftool("show", "pinned", flows)["id"] == table
    node.stop()
    value = [b[2:] for b in bpftool("dump", *at)[0]["value"]]
    assert value[HASH] != ["00"] * 4
    value[HASH] = ["00"] * 4
    bpftool("update", *at, "key", "0", "0", "0", "0", "value", "hex", *value)
    node.start()
    assert bpftool("show", "pinned", flows)["id"] != table
    for c in conns:
        peers.echo(c, b"still the same backend")
    assert entries(node) == 2 * len(conns)
    for c in conns:
        c.close()
