# SPDX-License-Identifier: Apache-2.0
"""`bpfnet trace`: its lines and its files. Golden texts are in test-cli-trace/; UPDATE=1 writes them
anew.

Run by pytest; BPFNET names the program (build/bpfnet)."""
import base64
import importlib.util
import json
import pathlib

import pytest

HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("cli", HERE / "test-cli-golden.py")
cli = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cli)
run, agent, golden = cli.run, cli.agent, cli.golden
cli.GOLDEN = HERE / "test-cli-trace"

FRAME = bytes.fromhex("02bf00000007" "02bf00000009" "0800" "4500003c00014000400600000a0000020a600001"
                      "9cb00050" "00000001" "00000000" "a002faf000000000")


def packet(number, hook, device, action, returned, **more):
    p = {"time": f"2026-11-23T09:20:{number:02}.123456789Z", "verdict": "FORWARDED",
         "event_type": "trace",
         "IP": {"source": "10.0.0.2", "destination": "10.0.1.3", "ipVersion": "IPv4"},
         "l4": {"TCP": {"source_port": 40112, "destination_port": 8080, "flags": {"SYN": True}}},
         "source": {"identity": 256, "namespace": "default", "pod_name": "client", "labels": []},
         "destination": {"identity": 257, "namespace": "shop", "pod_name": "web-1", "labels": []},
         "traffic_direction": "EGRESS", "is_reply": False, "node_name": "n1",
         "trace": {"packet": number, "hook": hook, "device": device, "action": action,
                   "verdict": returned},
         "capture": {"length": len(FRAME), "original_length": 74,
                     "data": base64.b64encode(FRAME).decode()}}
    to = more.pop("to", None)
    if to:
        p["trace"]["to_device"] = to
    p.update(more)
    return p


PACKETS = (
    packet(1, "from-pod", "bn1", "delivered", 7, to="bn2",
           destination_service={"name": "web", "namespace": "shop"},
           original={"ip": "10.96.0.1", "port": 80}),
    packet(2, "from-pod", "bn1", "dropped", 2, verdict="DROPPED", drop_reason=16,
           drop_reason_desc="policy-ingress",
           ingress_denied_by=[{"name": "deny", "namespace": "shop", "kind": "NetworkPolicy",
                               "index": None}]),
    packet(3, "xdp", "eth0", "passed", 2),
    packet(3, "from-uplink", "eth0", "passed", -1,
           IP={"source": "fd00::2", "destination": "fd00:1::3", "ipVersion": "IPv6"}),
    packet(3, "to-pod", "bn\x1b[2", "passed", -1),
)


@pytest.mark.parametrize("args", ["", "--numeric", "--color always", "-o json"])
def test_lines(agent, args):
    agent.methods["trace"] = PACKETS
    r = run("trace", *args.split(), run_dir=agent.dir, check=0)
    assert r.stderr == ""
    golden(("lines-" + args.replace("-", "").replace(" ", "-")).strip("-"), r.stdout)


def test_a_file(agent, tmp_path):
    agent.methods["trace"] = PACKETS
    path = tmp_path / "trace.pcapng"
    assert run("trace", "-w", path, run_dir=agent.dir, check=0).stdout == ""
    data = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    golden("pcapng", "\n".join(data[i:i + 16].hex(" ", 4) for i in range(0, len(data), 16)) + "\n")
    # blocks are whole: their lengths stand at both ends and lead from one to the next
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 4:at + 8], "little")
        assert length % 4 == 0 and data[at + length - 4:at + length] == data[at + 4:at + 8]
        at += length
    assert at == len(data)


def test_count_takes_all_hooks_of_the_last(agent):
    agent.methods["trace"] = PACKETS
    r = run("trace", "-c", 2, "-o", "json", run_dir=agent.dir, check=0)
    assert [json.loads(line)["trace"]["packet"] for line in r.stdout.splitlines()] == [1, 2]
    r = run("trace", "-c", 3, "-o", "json", run_dir=agent.dir, check=0)
    assert [json.loads(line)["trace"]["packet"] for line in r.stdout.splitlines()] == [1, 2, 3, 3, 3]


def test_what_is_missing_is_said(agent):
    agent.methods["trace"] = (PACKETS[0], {"missed": {"rate": 12, "room": 3}})
    r = run("trace", run_dir=agent.dir, check=0)
    assert "12 packets are missing here: more than is told in a second" in r.stderr
    assert "3 packets are missing here: the agent was too slow" in r.stderr
    assert len(r.stdout.splitlines()) == 1


def test_what_is_asked(agent):
    agent.methods["trace"] = ()
    run("trace", "--pod", "client", "--ip", "10.0.0.0/8", "--tcp-flags", "syn", run_dir=agent.dir,
        check=0)
    assert agent.requests[-1][0]["params"] == {"filters": [
        {"field": "pod", "value": "client", "not": False},
        {"field": "ip", "value": "10.0.0.0/8", "not": False},
        {"field": "tcp-flags", "value": "SYN", "not": False}]}


@pytest.mark.parametrize("args, what", [
    (["--not", "--port", "80"], "--not"), (["--verdict", "audit"], "forwarded"),
    (["-c", "x"], "a number"), (["--ip", "::ffff:1.2.3.4"], "IPv4"), (["-o", "table"], "compact")])
def test_bad_input(args, what):
    r = run("trace", *args, check=2)
    assert what in r.stderr and r.stdout == ""


def test_a_file_that_cannot_be_written(agent):
    agent.methods["trace"] = PACKETS
    assert "can't write /dev/full" in run("trace", "-w", "/dev/full", run_dir=agent.dir,
                                          check=1).stderr
    assert "can't write /nowhere/x" in run("trace", "-w", "/nowhere/x", run_dir=agent.dir,
                                           check=1).stderr
