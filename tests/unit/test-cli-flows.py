# SPDX-License-Identifier: Apache-2.0
"""`bpfnet flows`: its formats, stored flows, filters and exits. Golden texts are in test-cli-flows/;
UPDATE=1 writes them anew.

Run by pytest; BPFNET names the program (build/bpfnet)."""
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import threading

import pytest

HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("cli", HERE / "test-cli-golden.py")
cli = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cli)
BPFNET, run, agent, golden = cli.BPFNET, cli.run, cli.agent, cli.golden
cli.GOLDEN = HERE / "test-cli-flows"

POD = {"identity": 256, "namespace": "default", "pod_name": "client", "labels": ["k8s:app=client"]}
WEB = {"identity": 257, "namespace": "shop", "pod_name": "web-1",
       "labels": ["k8s:app=web", "k8s:tier=back"]}
WORLD = {"identity": 2, "labels": ["reserved:world"]}
DENY = {"name": "deny", "namespace": "shop", "kind": "NetworkPolicy", "index": None}
ALLOW = {"name": "out", "namespace": "default", "kind": "NetworkPolicy", "index": 3}
SERVICE = {"name": "web", "namespace": "shop", "port_name": "http"}


def flow(number, event, **more):
    """One as the agent writes it."""
    f = {"time": f"2026-11-23T09:20:{number:02}.123456789Z", "verdict": "FORWARDED",
         "event_type": event,
         "IP": {"source": "10.0.0.2", "destination": "10.0.1.3", "ipVersion": "IPv4"},
         "l4": {"TCP": {"source_port": 40112, "destination_port": 8080, "flags": {"SYN": True}}},
         "source": POD, "destination": WEB, "traffic_direction": "EGRESS", "is_reply": False,
         "node_name": "n1", "Summary": "TCP Flags: SYN"}
    f.update(more)
    return {k: v for k, v in f.items() if v is not None}


def tcp(sport, dport, *flags):
    return {"TCP": {"source_port": sport, "destination_port": dport,
                    "flags": {f: True for f in flags}}}


TO_SERVICE = {"destination_service": SERVICE, "original": {"ip": "10.96.0.10", "port": 80}}
FLOWS = [
    flow(1, "opened", **TO_SERVICE, egress_allowed_by=[ALLOW]),
    flow(2, "closed", **TO_SERVICE, l4=tcp(40112, 8080), packets=6, bytes=512, reply_packets=5,
         reply_bytes=20480, duration_ms=1234, handshake_us=80,
         tcp_flags={"FIN": True, "SYN": True, "PSH": True, "ACK": True},
         reply_tcp_flags={"FIN": True, "SYN": True, "ACK": True}, close_cause="fin",
         closed_by="source"),
    flow(3, "closed", l4=tcp(40113, 8080), packets=3, bytes=164, reply_packets=1, reply_bytes=60,
         duration_ms=2, tcp_flags={"SYN": True, "ACK": True},
         reply_tcp_flags={"SYN": True, "RST": True, "ACK": True}, close_cause="rst",
         closed_by="destination"),
    flow(4, "drop", verdict="DROPPED", drop_reason=16, drop_reason_desc="policy-ingress",
         egress_allowed_by=[ALLOW], ingress_denied_by=[DENY]),
    flow(5, "opened", verdict="AUDIT", drop_reason=16, drop_reason_desc="policy-ingress",
         IP={"source": "fd00::2", "destination": "fd00:1::3", "ipVersion": "IPv6"},
         ingress_denied_by=[DENY], interface={"index": 9}),
    flow(6, "opened", l4={"UDP": {"source_port": 5353, "destination_port": 53}}, destination=WORLD,
         IP={"source": "fd00::2", "source_xlated": "2001:db8::1", "destination": "2001:db8::53",
             "ipVersion": "IPv6"}, translated={"ip": "2001:db8::1", "port": 33000},
         Summary="UDP"),
    flow(7, "closed", l4={"ICMPv4": {"type": 8, "code": 0}}, packets=1, bytes=84, reply_packets=1,
         reply_bytes=84, duration_ms=30000, close_cause="expired"),
    flow(8, "drop", verdict="DROPPED", drop_reason=7, drop_reason_desc="spoofed-source",
         is_reply=None, destination=WORLD, l4={"protocol": 47},
         IP={"source": "192.0.2.66", "destination": "192.0.2.1", "ipVersion": "IPv4"}),
    flow(9, "drop", verdict="DROPPED", drop_reason=20, drop_reason_desc="mtu-exceeded",
         is_reply=True, source=WEB, destination=POD, l4=tcp(80, 40112, "PSH", "ACK"),
         IP={"source": "10.0.1.3", "destination": "10.0.0.2", "ipVersion": "IPv4"},
         source_service=SERVICE),
    flow(10, "drop", verdict="DROPPED", drop_reason=1, drop_reason_desc="malformed-header",
         is_reply=None, IP=None, l4=None, source={"identity": 256, "labels": []},
         destination={"identity": 0, "labels": ["reserved:unknown"]}, Summary="no IP packet"),
]


def dump(flows):
    return "".join(json.dumps(f, separators=(",", ":"), ensure_ascii=False) + "\n" for f in flows)


STORED = dump(FLOWS)


def stored(*args, text=STORED, check=0, **more):
    return run("flows", "--input", "-", *args, input=text, check=check, **more)


def numbers(*args, **more):
    """Which of the flows are shown."""
    lines = stored(*args, "-o", "json", **more).stdout.splitlines()
    return [int(json.loads(line)["time"][17:19]) for line in lines]


# ------------------------------------------------------------------------------- formats
FORMATS = ["", "-o compact", "-o table", "-o wide", "-o json", "-o jsonpb", "-o dict", "-o yaml",
           "--numeric", "-o table --numeric", "-o dict --numeric", "--no-headers -o table",
           "--color always", "-o dict --color always", "-o table --color always"]


@pytest.mark.parametrize("args", FORMATS, ids=lambda a: re.sub(r"[^a-z]+", "-", a).strip("-"))
def test_format(agent, args):
    """The agent's flows and a file's look alike."""
    agent.methods["flows"] = tuple(FLOWS)
    live = run("flows", *args.split(), run_dir=agent.dir, check=0)
    assert live.stderr == ""
    golden("-".join(["flows", re.sub(r"[^a-z]+", "-", args).strip("-")]).strip("-"), live.stdout)
    assert stored(*args.split()).stdout == live.stdout


def test_json_is_what_the_agent_says():
    assert stored("-o", "json").stdout == STORED
    wrapped = stored("-o", "jsonpb").stdout
    assert [json.loads(line) for line in wrapped.splitlines()] == [
        {"flow": f, "node_name": f["node_name"], "time": f["time"]} for f in FLOWS]
    # and back
    assert stored("-o", "json", text=wrapped).stdout == STORED
    assert stored("-o", "jsonpb", text=wrapped).stdout == wrapped


@pytest.mark.parametrize("command", ["svc list", "ct list", "get pods", "status", "endpoint list"])
@pytest.mark.parametrize("output", ["compact", "dict", "jsonpb"])
def test_other_commands_have_other_formats(agent, command, output):
    for args in ([*command.split(), "-o", output], ["-o", output, *command.split()]):
        r = run(*args, run_dir=agent.dir, check=2)
        assert f"'--output {output}' is none of: table wide json yaml" in r.stderr
        assert not agent.requests and r.stdout == ""


def test_output_may_stand_in_front(agent):
    agent.methods["flows"] = tuple(FLOWS)
    want = run("flows", "-o", "dict", run_dir=agent.dir, check=0).stdout
    assert run("-o", "DICT", "flows", run_dir=agent.dir, check=0).stdout == want
    r = run("-o", "xml", "flows", run_dir=agent.dir, check=2)
    assert "'--output xml' is none of: compact table wide json jsonpb dict yaml" in r.stderr


def test_lost_flows_are_told_in_every_format():
    lost = {"lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "7"},
            "time": "2026-11-23T09:20:11Z", "node_name": "n1"}
    text = dump([FLOWS[0], lost, FLOWS[1]])
    for output in ("compact", "table", "dict"):
        r = stored("-o", output, "--port", "80", text=text)
        assert r.stderr == "bpfnet: flows are missing here: 7 lost (PERF_EVENT_RING_BUFFER)\n"
    for output in ("json", "jsonpb"):
        assert json.loads(stored("-o", output, text=text).stdout.splitlines()[1]) == lost


@pytest.mark.parametrize("output", ["compact", "table", "wide", "json", "jsonpb", "dict", "yaml"])
def test_nothing_steers_the_terminal(agent, output):
    evil = "\033]0;x\007\r\u009b31m\x7f\u202ea"
    f = flow(1, evil, source={"namespace": evil, "pod_name": evil, "labels": [evil], "identity": evil},
             verdict=evil, drop_reason_desc=evil, close_cause=evil, node_name=evil,
             l4={evil: {"source_port": 1, "flags": {evil: True}}},
             IP={"source": evil, "destination": evil},
             destination_service={"name": evil, "namespace": evil},
             original={"ip": evil, "port": 1}, ingress_denied_by=[{"name": evil, "namespace": evil}],
             tcp_flags={evil: True}, **{evil: evil})
    raw = dump([f, {**f, "time": evil}]).replace("}", "\r\t}").replace("\\u007f", "\x7f")
    assert "\u202e" in raw and "\x7f" in raw
    r = stored("-o", output, text=raw, check=1)
    agent.methods["flows"] = (f,)
    live = run("flows", "-o", output, run_dir=agent.dir, check=0)
    for out in (r.stdout, r.stderr, live.stdout):
        assert not [c for c in out if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
        assert "\u202e" not in out
    if output == "json":
        assert json.loads(r.stdout) == f


# -------------------------------------------------------------------------------- stored
def test_a_file_and_a_pipe_are_read_alike(tmp_path):
    path = tmp_path / "flows.json"
    path.write_text(STORED)
    assert run("flows", "--input", path, "-o", "json", check=0).stdout == STORED
    # the last line may lack its newline, empty lines are none
    assert stored("-o", "json", text="\n" + STORED.replace("\n", "\n\n")[:-2]).stdout == STORED
    assert stored(text="").stdout == ""
    assert stored("-o", "table", text="").stdout.split()[:2] == ["TIMESTAMP", "SOURCE"]


def test_a_flow_that_goes_on_in_audit_mode():
    later = flow(1, "audit", verdict="AUDIT", drop_reason=15, drop_reason_desc="policy-egress",
                 is_reply=True, source=WEB, destination=POD, l4=tcp(8080, 40112, "ACK"),
                 IP={"source": "10.0.1.3", "destination": "10.0.0.2", "ipVersion": "IPv4"},
                 egress_denied_by=[DENY])
    assert stored("--verdict", "audit", text=dump([later])).stdout == (
        "Nov 23 09:20:01.123: default/client:40112 <- shop/web-1:8080 AUDIT (policy-egress; TCP ACK; "
        "egress no rule: default deny by shop/deny)\n")


def test_range():
    every = list(range(1, 11))
    assert numbers() == every and numbers("--all") == every
    assert numbers("--last", "3") == [8, 9, 10]
    assert numbers("--last", "10") == numbers("--last", "100") == every
    assert numbers("--last", "2", "--verdict", "forwarded") == [6, 7]
    assert numbers("--since", "2026-11-23T09:20:09Z") == [9, 10]
    assert numbers("--until", "2026-11-23T09:20:02.123456789Z") == [1, 2]
    assert numbers("--since", "2026-11-23T09:20:03+00:00", "--until", "2026-11-23T09:20:05Z",
                   "--last", "1") == [4]
    assert numbers("--since", "1s") == []


@pytest.mark.parametrize("args,want", [
    ("--pod client", [1, 2, 3, 4, 5, 6, 7, 8, 9]), ("--to-pod shop/web", [1, 2, 3, 4, 5, 7]),
    ("--namespace shop --not --verdict forwarded", [4, 5, 9]), ("--label app=web,tier", [1, 2, 3, 4, 5, 7, 9]),
    ("--label reserved:world", [6, 8]), ("--ip 10.96.0.10", [1, 2]), ("--from-ip fd00::/16", [5, 6]),
    ("--port 80", [1, 2, 9]), ("--from-port 80", [9]), ("--protocol icmp", [7]),
    ("--identity world", [6, 8]), ("--from-identity 257", [9]), ("--to-identity 257", [1, 2, 3, 4, 5, 7]),
    ("--identity 0", [10]), ("--tcp-flags syn", [1, 2, 3, 4, 5]), ("--tcp-flags FIN", [2]),
    ("--tcp-flags RST --tcp-flags PSH,ACK", [2, 3, 9]), ("--verdict audit", [5]),
    ("--drop-reason policy-ingress", [4, 5]), ("--service shop/web", [1, 2, 9])])
def test_filters(agent, args, want):
    assert numbers(*args.split()) == want
    agent.methods["flows"] = ()
    run("flows", *args.split(), run_dir=agent.dir, check=0)
    assert len(agent.requests[0][0]["params"]["filters"]) == len(re.findall("--(?!not)", args))


BAD = [
    ("rubbish", "'[' or '{' expected near 'rubbish'"), ("[1]", "not an object"), ("{", "near end of file"),
    ("1", "'[' or '{' expected"), ("{}", "'time' is not a time"),
    ('{"time":5,"verdict":"FORWARDED"}', "'time' is not a time"),
    ('{"time":"5m","verdict":"FORWARDED"}', "'time' is not a time"),
    ('{"time":"2026-11-23T09:20:01Z"}', "'verdict' is not a text"),
    ('{"time":"2026-11-23T09:20:01Z","verdict":"X","IP":7}', "is not an object"),
    ('{"time":"2026-11-23T09:20:01Z","verdict":"X","verdict":"Y"}', "duplicate object key"),
    ('{"time":"2026-11-23T09:20:01Z","verdict":"a\\u0000b"}', "NUL"),
    ('{"time":"2026-11-23T09:20:01Z","verdict":"X"} x', "end of file expected"),
    ('{"time":"2026-11-23T09:20:01Z","verdict":1e999}', "real number overflow"),
    ("[" * 100000, "depth"), ("\ufeff" + STORED.splitlines()[0], "'[' or '{' expected"),
    ('{"x":"' + "y" * (2 << 20) + '"}', "longer than 1 MiB"),
]


@pytest.mark.parametrize("bad,why", BAD, ids=range(len(BAD)))
def test_bad_lines_are_named_and_left_out(bad, why):
    lines = STORED.splitlines()
    text = "\n".join([lines[0], bad, *lines[1:]])
    r = stored("-o", "json", text=text, check=1)
    assert r.stdout == STORED
    first, last = r.stderr.splitlines()
    assert first.startswith("bpfnet: standard input: line 2 is no flow: ") and why in first
    assert last == "bpfnet: standard input: 1 of 11 lines are no flows and were left out"
    # at the end, too, without a newline
    r = stored("-o", "json", text=STORED + bad, check=1)
    assert r.stdout == STORED and "line 11 is no flow" in r.stderr


def test_bytes_that_are_no_text():
    r = subprocess.run([BPFNET, "flows", "--input", "-", "-o", "json"], capture_output=True,
                       input=b'\xff\xfe\n{"a":"\xc3"}\n\0\0\0\n' + STORED.encode())
    assert r.returncode == 1 and r.stdout.decode() == STORED
    assert b"3 of 13 lines are no flows" in r.stderr


def test_many_bad_lines_are_counted():
    r = stored(text="x\n" * 100000, check=1)
    assert r.stdout == "" and len(r.stderr.splitlines()) == 21
    assert "100000 of 100000 lines are no flows" in r.stderr


def test_strange_shapes_are_shown():
    """What is not where it belongs is not there; nothing crashes."""
    shapes = [None, True, 7, -1, 1.5, "x", [], [[1]], {}, {"a": {}}]
    keys = ["source", "destination", "IP", "l4", "original", "destination_service", "is_reply",
            "drop_reason_desc", "event_type", "close_cause", "packets", "duration_ms", "tcp_flags",
            "ingress_denied_by", "egress_allowed_by", "node_name", "translated"]
    flows = [flow(1, "closed", **TO_SERVICE)]
    for key in keys:
        flows += [{**flows[0], key: shape} for shape in shapes]
    flows += [{**flows[0], "source": {k: s for k in ("identity", "labels", "namespace", "pod_name")}}
              for s in shapes]
    flows += [{**flows[0], "l4": {"TCP": s}} for s in shapes]
    for output in ("compact", "wide", "dict", "jsonpb", "yaml"):
        r = stored("-o", output, "--not", "--label", "a=b", "--not", "--identity", "5", "--not", "--ip",
                   "1.2.3.4", "--not", "--tcp-flags", "FIN", text=dump(flows), check=1)
        assert "are no flows and were left out" in r.stderr and r.stdout


def test_a_file_that_cannot_be_read(tmp_path):
    r = run("flows", "--input", tmp_path / "none", check=1)
    assert r.stderr == f"bpfnet: can't read '{tmp_path}/none': No such file or directory\n"
    assert "Is a directory" in run("flows", "--input", tmp_path, check=1).stderr


def test_input_goes_on_without_an_agent(tmp_path):
    run("flows", "--input", "-", input=STORED, run_dir=tmp_path / "none", check=0)


# --------------------------------------------------------------------------------- exits
WRONG = ["--ip 10.0.0.1/8", "--ip 10.0.0.0/33", "--to-ip fd00::/129", "--ip nowhere", "--port http",
         "--since yesterday", "--until 25:00", "--since 1h --until 2h", "--identity moon",
         "--identity -1", "--tcp-flags SYN,NUL", "--tcp-flags=", "--label a=(b)", "--label ,",
         "--label reserved:moon", "--drop-reason luck", "--nope", "--not --last 1", "--input",
         "--input x --input y", "--input x --follow", "--input x -f", "--service /", "-o xml",
         "-o compact,dict", f"--pod {'x' * 1025}", "--port 1 " * 257]


@pytest.mark.parametrize("args", WRONG, ids=lambda a: a[:30])
def test_wrong_usage(agent, args):
    r = run("flows", *args.split(), run_dir=agent.dir, check=2)
    assert r.stdout == "" and not agent.requests and len(r.stderr.splitlines()) == 1
    assert r.stderr.startswith("bpfnet: ")
    if not args.startswith(("--nope", "--not", "--input")):
        assert re.search("expected|is none of|before|contradict", r.stderr), r.stderr


def popen(*args, **more):
    return subprocess.Popen([BPFNET, "flows", *args], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **more)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("output", ["compact", "table", "dict", "json"])
def test_stored_flows_come_as_they_are_written(end, output):
    """A pipe that stays open: what came is shown, a signal ends it quietly."""
    p = popen("--input", "-", "-o", output, stdin=subprocess.PIPE)
    p.stdin.write(STORED.splitlines()[0] + "\n")
    p.stdin.flush()
    want = stored("-o", output, text=STORED.splitlines()[0]).stdout
    assert "".join(p.stdout.readline() for _ in want.splitlines()) == want
    p.send_signal(end)
    assert p.wait(timeout=5) == 0
    assert p.stderr.read() == "" and p.stdout.read() == ""
    for f in (p.stdin, p.stdout, p.stderr):
        f.close()


def test_table_of_the_agent_comes_while_it_follows(agent):
    agent.methods["flows"] = tuple(FLOWS)
    agent.hold.clear()
    p = popen("--run-dir", agent.dir, "-f", "-o", "table")
    want = stored("-o", "table").stdout
    assert "".join(p.stdout.readline() for _ in want.splitlines()) == want
    p.send_signal(signal.SIGINT)
    assert p.communicate(timeout=5) == ("", "") and p.returncode == 0


@contextlib.contextmanager
def endless(*args):
    """Reads one flow again and again; the first line has been shown."""
    source = subprocess.Popen(["yes", STORED.splitlines()[0]], stdout=subprocess.PIPE)
    p = popen("--input", "-", *args, stdin=source.stdout)
    try:
        assert p.stdout.readline()
        yield p
        assert p.wait(timeout=5) == 0 and p.stderr.read() == ""
    finally:
        for process in (source, p):
            process.kill()
            process.wait()
        for f in (source.stdout, p.stdout, p.stderr):
            f.close()


def test_interrupt_among_flows_without_end():
    """The signal is heard though there is always more to read."""
    with endless() as p:
        threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(p.stdout.fileno(), 65536), b"")],
                         daemon=True).start()
        p.send_signal(signal.SIGINT)


@pytest.mark.parametrize("output", ["compact", "table", "json"])
def test_a_reader_that_has_seen_enough(output):
    with endless("-o", output) as p:
        p.stdout.close()


def test_full_disk(tmp_path):
    (tmp_path / "flows").write_text(STORED * 1000)
    for output in ("compact", "json", "table"):
        with open("/dev/full", "w") as full:
            r = subprocess.run([BPFNET, "flows", "--input", tmp_path / "flows", "-o", output], stdout=full,
                               stderr=subprocess.PIPE, text=True, timeout=20)
        assert r.returncode == 1 and r.stderr.startswith("bpfnet: can't write the output: ")


# ---------------------------------------------------------------------------- completion
def test_completion():
    assert cli.completions("flows", "-o", "") == ["compact", "table", "wide", "json", "jsonpb", "dict",
                                                  "yaml"]
    assert cli.completions("flows", "--identity", "") == ["unknown", "host", "world", "remote-node"]
    assert "SYN" in cli.completions("flows", "--tcp-flags", "")
    assert cli.completions("flows", "--input", "") == [":file"]
    assert cli.completions("flows", "--out") == ["--output"]
    assert run("flows", "--help", check=0).stdout.count("--output FORMAT") == 1
    assert run("man", "bpfnet-flows", check=0).stdout.count("\\-\\-output") == 1
