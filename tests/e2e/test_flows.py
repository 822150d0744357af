# SPDX-License-Identifier: Apache-2.0
"""The flow viewer: what is on record, with which names, how it is filtered and streamed."""
import datetime
import json
import os
import re
import select
import subprocess
import time

import pytest

import peers
from harness import BIN, FAMILIES, SLOW, cluster_ips, eventually, service_manifest

PORT = {4: 80, 6: 81}


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    node.client = node.pod("client", labels={"app": "client", "tier": "front"})
    node.web = node.pod("web-0", namespace="shop", labels={"app": "web"})
    node.web.tcp(8080)
    node.web.udp(5353)
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    node.apply(service_manifest("web", [(80, 8080, "TCP", "http"), (81, 8080, "TCP", "alt"),
                                        (53, 5353, "UDP", "dns")], {"app": "web"},
                                ips=cluster_ips(1), namespace="shop"),
               service_manifest("empty", [(80, 8080)], {"app": "none"}, ips=cluster_ips(2)))
    return node


def source_port(f):
    return next(iter(f["l4"].values())).get("source_port")


def request(node, family, port=80):
    """One connection; its local port."""
    s, _ = peers.tcp_open(node.client.ns, node.vip[family], port)
    with s:
        peers.echo(s, b"hello")
        return s.getsockname()[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_opened_and_closed_with_names(node, family):
    port = request(node, family)
    mine = ["--pod", "shop/web-0", "--port", port]
    opened = node.wait_flow("opened", *mine, match=lambda f: f["event_type"] == "opened")
    closed = node.wait_flow("closed", *mine, match=lambda f: f["event_type"] == "closed")
    for f in (opened, closed):
        assert f["verdict"] == "FORWARDED" and f["node_name"] == node.name
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", f["time"])
        assert f["IP"]["source"] == node.client.ip[family]
        assert f["IP"]["destination"] == node.web.ip[family]
        assert f["IP"]["ipVersion"] == f"IPv{family}"
        assert f["l4"]["TCP"]["source_port"] == port
        assert f["l4"]["TCP"]["destination_port"] == 8080
        assert (f["source"]["namespace"], f["source"]["pod_name"]) == ("default", "client")
        assert (f["destination"]["namespace"], f["destination"]["pod_name"]) == ("shop", "web-0")
        assert "k8s:app=client" in f["source"]["labels"]
        assert f["traffic_direction"] in ("EGRESS", "INGRESS") and f["is_reply"] is False
        assert f["destination_service"]["name"] == "web"
        assert f["destination_service"]["namespace"] == "shop"
    assert closed["close_cause"] == "fin"
    assert closed["packets"] >= 4 and closed["reply_packets"] >= 3
    assert closed["bytes"] > closed["packets"] * 20


def test_counts_are_exact(node):
    """Packets and bytes of a connection as its own counters have them."""
    s, _ = peers.tcp_open(node.client.ns, node.vip[4], 80)
    with s:
        for _ in range(50):
            peers.echo(s, b"x" * 100)
        port = s.getsockname()[1]
    f = node.wait_flow("closed", "--port", port, match=lambda f: f["event_type"] == "closed")
    payload = 50 * 100
    for packets, size in ((f["packets"], f["bytes"]), (f["reply_packets"], f["reply_bytes"])):
        assert 50 <= packets <= 160
        # 20 bytes of IP, 20 of TCP, up to 40 of options
        assert payload + packets * 40 <= size <= payload + packets * 80 + 200


@pytest.mark.parametrize("family", FAMILIES)
def test_a_refused_connection_says_why(node, family):
    vip = cluster_ips(2)[FAMILIES.index(family)]
    assert peers.tcp_error(node.client.ns, vip, 80) == "ECONNREFUSED"
    f = node.wait_drop("service-no-backend", "--ip", vip)
    assert f["verdict"] == "DROPPED" and f["drop_reason_desc"] == "service-no-backend"
    assert f["source"]["pod_name"] == "client"
    assert f["IP"]["destination"] == vip
    table = node.bpfnet("flows", "--last", 50, "--ip", vip).stdout
    assert "DROPPED" in table and "service-no-backend" in table


def test_udp_and_icmp(node):
    peers.udp(node.client.ns, node.vip[4], 53)
    f = node.wait_flow("UDP", "--protocol", "udp", "--pod", "shop/web-0")
    assert f["l4"]["UDP"]["destination_port"] == 5353
    for family in FAMILIES:
        node.client.run("ping", "-n", "-c", "1", "-W", "3", node.web.ip[family])
        f = node.wait_flow("ping", "--protocol", "icmp", "--ip", node.web.ip[family])
        assert f"ICMPv{family}" in f["l4"]


def test_filters(node):
    ports = {f: request(node, f, PORT[f]) for f in FAMILIES}
    assert peers.tcp_error(node.client.ns, cluster_ips(2)[0], 80) == "ECONNREFUSED"
    for port in ports.values():
        node.wait_flow("closed", "--port", port, match=lambda f: f["event_type"] == "closed")
    everything = node.flows()

    def check(filters, keep):
        got = node.flows(*filters)
        assert got, filters
        assert all(keep(f) for f in got), (filters, [f for f in got if not keep(f)][:2])
        newer = {f["time"] for f in got}
        missing = [f for f in everything if keep(f) and f["time"] not in newer]
        assert not missing, (filters, missing[:2])

    def end(f, key):
        return "/".join(f[key].get(k, "") for k in ("namespace", "pod_name"))
    check(["--ip", node.web.ip[6]], lambda f: node.web.ip[6] in f["IP"].values())
    check(["--port", str(ports[4])], lambda f: ports[4] in
          [v for p in f["l4"].values() if isinstance(p, dict) for v in p.values()])
    check(["--protocol", "tcp"], lambda f: "TCP" in f["l4"])
    check(["--protocol", "udp"], lambda f: "UDP" in f["l4"])
    check(["--verdict", "DROPPED"], lambda f: f["verdict"] == "DROPPED")
    check(["--verdict", "FORWARDED"], lambda f: f["verdict"] == "FORWARDED")
    check(["--pod", "shop/web-0"],
          lambda f: "shop/web-0" in (end(f, "source"), end(f, "destination")))
    check(["--protocol", "tcp", "--verdict", "DROPPED"],
          lambda f: "TCP" in f["l4"] and f["verdict"] == "DROPPED")
    assert not node.flows("--ip", "192.0.2.99")
    assert len(node.flows(last=3)) == 3


def test_wrong_filters_are_refused(node):
    for args in (["--protocol", "smtp"], ["--ip", "10.0.0.256"], ["--port", "70000"],
                 ["--verdict", "MAYBE"], ["--drop-reason", "bad-mood"], ["--last", "-1"]):
        r = node.bpfnet("flows", *args, check=False, timeout=10)
        assert r.returncode in (1, 2) and len(r.stderr.strip().splitlines()) >= 1, (args, r)


def test_follow(node):
    """-f says what happens as it happens, to several readers, each with its own filter."""
    readers = {}
    for key, args in (("all", []), ("tcp", ["--protocol", "tcp"]),
                      ("none", ["--ip", "192.0.2.99"])):
        readers[key] = node.popen(None, f"{BIN}/bpfnet", "--run-dir", node.run_dir, "-o", "json",
                                  "flows", "-f", *args, stdout=subprocess.PIPE, text=True)
    try:
        port = 0

        def streamed():
            # readers that were not there yet get their chance with the next request
            nonlocal port
            port = request(node, 4)
            return all(_read_until(readers[r], port, 2) for r in ("all", "tcp"))
        eventually(streamed, "a followed flow", timeout=20)
        assert not _read_until(readers["none"], port, 0.2)
    finally:
        for p in readers.values():
            p.terminate()
            p.wait()
            p.stdout.close()


def _read_until(process, port, timeout):
    """Whether a line with this source port comes before the deadline."""
    deadline = time.monotonic() + timeout * SLOW
    buffer = getattr(process, "pending", b"")
    while (left := deadline - time.monotonic()) > 0:
        *lines, buffer = buffer.split(b"\n")
        process.pending = buffer
        for line in lines:
            f = json.loads(line)
            if "l4" in f and source_port(f) == port:
                return True
        if select.select([process.stdout], [], [], left)[0]:
            data = os.read(process.stdout.fileno(), 65536)
            assert data, "the reader ended"
            buffer += data
    return False


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_history_is_kept_over_a_restart(node, how):
    """Each flow once: of before, of shortly before, and of while no agent ran."""
    begin = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
    ports = [request(node, 4) for _ in range(20)]
    node.wait_flow("closed", "--port", ports[-1], match=lambda f: f["event_type"] == "closed")
    ports += [request(node, 4) for _ in range(20)]
    getattr(node, how)()
    ports += [request(node, 4) for _ in range(20)]
    node.start()

    def told(kind):
        return sorted(source_port(f) for f in node.flows("--pod", "shop/web-0")
                      if f["event_type"] == kind and source_port(f) in ports and f["time"] > begin)

    # the last one to be opened need not be the last one to end
    eventually(lambda: set(told("closed")) == set(ports), "all have ended")
    assert told("opened") == told("closed") == sorted(ports)
    closed = node.flows("--port", ports[0])[-1]
    assert closed["source"]["pod_name"] == "client" and closed["destination"]["pod_name"] == "web-0"
    assert closed["destination_service"]["name"] == "web"


def test_compact_line(node):
    port = request(node, 4)
    node.wait_flow("opened", "--port", port)
    out = node.bpfnet("flows", "--last", 20, "--port", port).stdout
    assert re.search(rf"default/client:{port} .*-> .*shop/web-0:8080 .*FORWARDED", out), out


def test_ct_list(node):
    s, _ = peers.tcp_open(node.client.ns, node.vip[4], 80)
    with s:
        port = s.getsockname()[1]
        entry = eventually(lambda: next(
            (e for e in node.lines("ct", "list")
             if e["protocol"].upper() == "TCP" and e["source_port"] == port), None), "a ct entry")
        assert entry["source"] == node.client.ip[4]
        assert entry["packets"] >= 2 and entry["bytes"] > 0 and entry["expires_s"] > 0
        for key in ("destination", "destination_port", "state", "nat"):
            assert key in entry
