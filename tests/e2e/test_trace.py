# SPDX-License-Identifier: Apache-2.0
"""Traces: every packet of a filter at each hook, as lines and as a file that Wireshark's own reader
takes, and nothing of it where nobody reads."""
import base64
import contextlib
import json
import os
import signal
import subprocess

import pytest

import peers
from harness import BIN, FAMILIES, NODE, WORLD, cluster_ips, eventually, service_manifest


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    node.client = node.pod("client", labels={"app": "client"})
    node.web = node.pod("web-0", namespace="shop", labels={"app": "web"})
    node.web.tcp(8080)
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    node.none = dict(zip(FAMILIES, cluster_ips(2)))
    node.serve(node.peers.tcp(node.world, "world", 443))
    node.apply(service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1),
                                namespace="shop"),
               service_manifest("empty", [(80, 8080)], {"app": "none"}, ips=cluster_ips(2)))
    return node


def programs(node):
    return sorted((a["device"], a["hook"], a["program"])
                  for a in node.json("status")["attachments"])


class Trace:
    """`bpfnet trace` in the background; `lines` are what it has told so far."""

    def __init__(self, node, *args, output="-o json"):
        before = programs(node)
        self.path = f"{node.dir}/trace-{len(node.processes)}"
        with open(self.path, "wb") as out:
            self.process = node.popen(None, f"{BIN}/bpfnet", "--run-dir", node.run_dir, "trace",
                                      *map(str, args), *output.split(), stdout=out,
                                      stderr=subprocess.PIPE, text=True)
        if not getattr(node, "tracing", 0):
            eventually(lambda: self.process.poll() is not None or programs(node) != before,
                       "programs that trace", timeout=60)

    @property
    def lines(self):
        with open(self.path) as f:
            return [json.loads(line) for line in f.read().splitlines(True) if line.endswith("\n")]

    def wait(self, match, what="a packet"):
        return eventually(lambda: next((p for p in self.lines if match(p)), None), what)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        errors = self.process.communicate(timeout=30)[1]
        return self.process.returncode, errors


@contextlib.contextmanager
def tracing(node, *args, **kw):
    before = programs(node)
    trace = Trace(node, *args, **kw)
    try:
        yield trace
    finally:
        if trace.process.poll() is None:
            assert trace.end() == (0, "")
        eventually(lambda: programs(node) == before, "the plain programs again")


def flags(p):
    return set(p["l4"].get("TCP", {}).get("flags", {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_way_of_a_connection(node, family):
    client, web = node.client.ip[family], node.web.ip[family]
    with tracing(node, "--pod", "client", "--port", 80) as trace:
        s, _ = peers.tcp_open(node.client.ns, node.vip[family], 80)
        with s:
            peers.echo(s, b"hello trace")
        syn = trace.wait(lambda p: flags(p) == {"SYN"})
        answer = trace.wait(lambda p: flags(p) == {"SYN", "ACK"})
        said = trace.wait(lambda p: b"hello trace" in base64.b64decode(p["capture"]["data"]))
        trace.wait(lambda p: "FIN" in flags(p))
    assert syn["event_type"] == "trace" and syn["verdict"] == "FORWARDED"
    assert syn["trace"]["hook"] == "from-pod" and syn["trace"]["action"] == "delivered"
    assert (syn["source"]["pod_name"], syn["destination"]["pod_name"]) == ("client", "web-0")
    assert syn["IP"]["source"] == client and syn["IP"]["destination"] == web
    assert syn["original"] == {"ip": node.vip[family], "port": 80}
    assert syn["destination_service"]["name"] == "web" and syn["is_reply"] is False
    assert answer["trace"]["hook"] == "from-pod" and answer["is_reply"] is True
    # past the stack: out of the one's device into the other's
    assert syn["trace"]["device"] == answer["trace"]["to_device"]
    assert syn["trace"]["to_device"] == answer["trace"]["device"]
    assert answer["translated"]["ip"] == node.vip[family]
    assert said["trace"]["action"] == "delivered" and said["IP"]["destination"] in (client, web)
    frame = base64.b64decode(syn["capture"]["data"])
    assert len(frame) == syn["capture"]["length"] == min(128, syn["capture"]["original_length"])
    assert frame[12:14] == {4: b"\x08\x00", 6: b"\x86\xdd"}[family]
    numbers = [p["trace"]["packet"] for p in trace.lines]
    assert len(set(numbers)) == len(numbers) and numbers == sorted(numbers)


def test_tells_from_the_first_packet_on(node):
    """However much passes on every CPU while the programs that trace take their places."""
    floods = [node.popen(node.client.ns, "taskset", "-c", str(cpu), "ping", "-q", "-f",
                         node.web.ip[4], stdout=subprocess.DEVNULL)
              for cpu in os.sched_getaffinity(0)]
    try:
        for _ in range(5):
            with tracing(node, "--pod", "client", "--port", 80) as trace:
                peers.tcp(node.client.ns, node.vip[4], 80)
                trace.wait(lambda p: flags(p) == {"SYN"})
    finally:
        for flood in floods:
            flood.kill()
            flood.wait()


def test_one_packet_at_several_hooks(node):
    """From the node itself, by the pair of devices that leads to services; and out and back in."""
    with tracing(node, "--ip", node.vip[4], "--ip", NODE[4], "--protocol", "tcp") as trace:
        s, _ = peers.tcp_open(node.ns, node.vip[4], 80)
        s.close()
        trace.wait(lambda p: "FIN" in flags(p))
    syn = [p for p in trace.lines if flags(p) == {"SYN"}]
    assert [p["trace"]["hook"] for p in syn] == ["host-egress", "from-host"], syn
    assert [p["trace"]["action"] for p in syn] == ["passed", "delivered"]
    assert len({p["trace"]["packet"] for p in syn}) == 1
    with tracing(node, "--protocol", "icmp", "--ip", WORLD[4]) as trace:
        node.client.run("ping", "-n", "-c", "1", "-W", "3", WORLD[4])
        trace.wait(lambda p: p["trace"]["hook"] == "from-uplink")
    ways = [(p["trace"]["hook"], p["trace"]["action"]) for p in trace.lines]
    assert ways == [("from-pod", "redirected"), ("from-uplink", "delivered")]


def tshark(path, *fields):
    """Rows of fields of a file, which is whole."""
    r = subprocess.run(["tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|",
                        *[a for f in fields for a in ("-e", f)]], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    assert "damaged" not in r.stderr and "cut short" not in r.stderr, r.stderr
    return [line.split("|") for line in r.stdout.splitlines()]


def test_a_file_for_wireshark(node):
    path = f"{node.dir}/drops.pcapng"
    with tracing(node, "--verdict", "dropped", "-w", path, output="") as trace:
        for family in FAMILIES:
            assert peers.tcp_error(node.client.ns, node.none[family], 80) == "ECONNREFUSED"
        s, _ = peers.tcp_open(node.client.ns, node.vip[4], 80)
        s.close()
        eventually(lambda: open(path, "rb").read().count(b"service-no-backend") == 2,
                   "two packets in the file")
        assert trace.end() == (0, "")
    rows = tshark(path, "frame.comment", "frame.interface_name", "frame.packet_flags_direction",
                  "frame.packet_id", "frame.verdict.ebpf_tc", "tcp.dstport", "frame.time_epoch",
                  "frame.cap_len", "frame.len")
    assert len(rows) == 2, rows
    for family, row in zip(FAMILIES, rows):
        comment, device, direction, number, verdict, port, when, captured, length = row
        vip = f"[{node.none[6]}]" if family == 6 else node.none[4]
        assert "default/client:" in comment and f"-> {vip}:80 DROPPED" in comment
        assert "(service-no-backend, answered" in comment
        assert device.startswith("bn") and device in comment
        assert int(direction, 0) == 1 and int(number, 0) > 0
        assert int(verdict, 0) == 7 and port == "80"
        assert float(when) > 1.7e9 and captured == length


def test_bounds_are_named(node):
    many = [a for i in range(17) for a in ("--ip", f"192.0.2.{i}")]
    r = node.bpfnet("trace", *many, check=False)
    assert r.returncode == 1 and "more than 16 addresses" in r.stderr
    r = node.bpfnet("trace", "--pod", "default/nobody", check=False)
    assert r.returncode == 1 and "there is no pod default/nobody" in r.stderr
    for bad in (["--port", "0"], ["--ip", "10.0.0.1/33"], ["--protocol", "x"], ["--count", "0"]):
        assert node.bpfnet("trace", *bad, check=False).returncode == 2, bad
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(tracing(node, "--ip", "192.0.2.1"))
        node.tracing = 1
        others = [Trace(node, "--ip", f"192.0.2.{i}") for i in range(2, 10)]
        refused = eventually(lambda: [t for t in others if t.process.poll() is not None],
                             "one of nine to be refused")
        ends = [t.end() for t in others if t not in refused]
        node.tracing = 0
        assert ends == [(0, "")] * 7
        assert len(refused) == 1 and refused[0].process.returncode == 1
        assert "8 traces run already" in refused[0].process.stderr.read()
        assert first.process.poll() is None


def test_the_agent_dies_in_the_middle(node):
    trace = Trace(node, "--pod", "client")
    traced = programs(node)
    node.kill()
    assert trace.process.wait(timeout=30) == 1
    for family in FAMILIES:
        assert peers.tcp(node.client.ns, node.vip[family], 80).name == "web-0"
    node.start()
    assert not {p for *_, p in programs(node)} & {p for *_, p in traced}
    with tracing(node, "--pod", "client", "-c", 1) as trace:
        assert peers.tcp(node.client.ns, node.vip[4], 80).name == "web-0"
        assert trace.process.wait(timeout=30) == 0
    assert [p["trace"]["packet"] for p in trace.lines] == [1]
