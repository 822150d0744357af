# SPDX-License-Identifier: Apache-2.0
"""`bpfnet top` from outside: on a terminal, which pyte shows as a person would see it, and on paper.

Run by pytest, with the canned agent of test-cli-golden.py."""
import fcntl
import importlib.util
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

pyte = pytest.importorskip("pyte")

SPEC = importlib.util.spec_from_file_location(
    "golden", pathlib.Path(__file__).parent / "test-cli-golden.py")
golden = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(golden)
BPFNET, run = golden.BPFNET, golden.run

EVIL = "\033]0;x\007\033[2J\u202e"


class Table:
    """`ct.list` of an agent whose one connection carries 1000 packets more each time it is read."""

    def __init__(self):
        self.readings = 0

    def __call__(self, *_):
        self.readings += 1
        return ({**golden.CT[0], "to_destination": "10.0.0.3", "to_destination_port": 8080,
                 "packets": 1000 * self.readings, "bytes": 1024000 * self.readings,
                 "reply_packets": 0, "reply_bytes": 0, "service": "default/web"},)


@pytest.fixture
def agent(tmp_path):
    a = golden.Agent(tmp_path, {**golden.METHODS, "ct.list": Table()})
    a.dir = tmp_path
    a.hold.clear()
    yield a
    a.hold.set()
    a.socket.close()


class Terminal:
    """`bpfnet ARGS` on a terminal of its own."""

    def __init__(self, agent, *args, columns=100, lines=24, term="linux"):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.master, slave = pty.openpty()
        self.resize(columns, lines, tell=False)
        self.process = subprocess.Popen(
            [BPFNET, "--run-dir", str(agent.dir), "top", "--interval", "0.1", *args],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={"PATH": os.environ["PATH"], "TERM": term})
        os.close(slave)

    def resize(self, columns, lines, tell=True):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if tell:
            self.screen.resize(lines, columns)

    def read(self, timeout=0.05):
        while select.select([self.master], [], [], timeout)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                return False
            if not data:
                return False
            self.raw += data
            self.stream.feed(data)
        return True

    def until(self, text, timeout=20):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.read()
            if re.search(text, self.text()):
                return self.text()
        raise AssertionError(f"{text!r} never came:\n{self.text()}")

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, keys):
        os.write(self.master, keys.encode())

    def ends(self):
        """The exit code; the terminal is as it was."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
        self.read()
        flags = termios.tcgetattr(self.master)[3]
        assert flags & termios.ECHO and flags & termios.ICANON
        return self.process.wait(1)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_views_and_keys(agent):
    with Terminal(agent) as t:
        text = t.until(r"default/client +default/web-1 +1 +")
        assert text.startswith("bpfnet top: talkers, every 0.1 s")
        assert re.search(r"^SOURCE +DESTINATION +FLOWS +NEW/s +PKT/s +\*OUT/s +IN/s +DROP/s$", text, re.M)
        t.until(r"default/client +default/web-1 +1 +\S+ +[\d.]+K +[\d.]+M ")
        t.type("s")
        t.until(r"^bpfnet top: services(.|\n)*default/web +1 ")
        t.type("d")
        text = t.until(r"^bpfnet top: drops(.|\n)*service-no-backend +0 +1 +default/client -> ")
        assert "*DROP/s" in text and "policy-ingress" in text
        t.type("\t")
        t.until(r"^bpfnet top: talkers")
        t.type("<<")
        t.until(r"by out;")
        t.type("<")
        t.until(r"\*PKT/s")
        t.type("r")
        t.until("by packets turned round")
        t.type("+")
        t.until("every 0.2 s")
        t.type(" ")
        t.until("paused")
        t.type("h")
        t.until("q +quit")
        t.type("q")
        assert t.ends() == 0


@pytest.mark.parametrize("term", ["xterm-256color", "vt100"])
def test_other_terminals(agent, term):
    with Terminal(agent, term=term) as t:
        t.until("default/client +default/web-1")
        t.type("q")
        assert t.ends() == 0


@pytest.mark.parametrize("size", [(40, 8), (10, 3), (2, 2), (300, 60), (80, 2)])
def test_sizes(agent, size):
    """Begun so, and made so while it runs: nothing is written past the edge, and it goes on."""
    with Terminal(agent, columns=size[0], lines=size[1]) as t:
        t.until("^bpfnet top"[:size[0]])
        t.resize(100, 24)
        t.until("default/client +default/web-1 .*\n")
        t.resize(*size)
        os.killpg(t.process.pid, signal.SIGWINCH)
        t.read(0.5)
        t.resize(100, 24)
        t.until("default/client +default/web-1 ")
        t.type("q")
        assert t.ends() == 0


def test_interrupt_gives_the_terminal_back(agent):
    for how in (lambda t: t.type("\x03"), lambda t: t.process.send_signal(signal.SIGTERM)):
        with Terminal(agent) as t:
            t.until("default/client")
            how(t)
            assert t.ends() == 0


def test_names_do_not_steer_the_terminal(agent):
    agent.methods["flows"] = (golden.flow(
        source={"namespace": "default", "pod_name": EVIL},
        destination_service={"namespace": "default", "name": EVIL}),)
    with Terminal(agent) as t:
        t.until(re.escape(r"default/\x1b]0;x\x07\x1b[2J\u202e"))
        t.type("s")
        t.until(r"services(.|\n)*" + re.escape(r"default/\x1b]0;x\x07"))
        t.type("q")
        assert t.ends() == 0
        assert b"\033]0;x" not in t.raw and b"\007" not in t.raw


def test_agent_goes(agent):
    with Terminal(agent) as t:
        t.until("default/client")
        agent.hold.set()
        assert t.ends() == 1
        assert f"bpfnetd at {agent.dir} does not answer any more" in t.raw.decode().replace("\r\n", "")


# ---------------------------------------------------------------------------- on paper
def test_once(agent):
    r = run("top", "--once", "--interval", "0.2", run_dir=agent.dir, check=0)
    lines = r.stdout.splitlines()
    assert lines[0].split() == ["SOURCE", "DESTINATION", "FLOWS", "NEW/s", "PKT/s", "OUT/s", "IN/s", "DROP/s"]
    # what carries most comes first
    assert re.match(r"default/client +default/web-1 +1 +\S+ +[\d.]+K +[\d.]+M +", lines[1])
    r = run("top", "--once", "--interval", "0.2", "--view", "drops", "--sort", "name", "--no-headers",
            run_dir=agent.dir, check=0)
    assert [line.split()[0] for line in r.stdout.splitlines()] == [
        "malformed-header", "policy-ingress", "service-no-backend"]
    r = run("top", "--once", "--interval", "0.2", "--rows", "1", run_dir=agent.dir, check=0)
    assert len(r.stdout.splitlines()) == 2


def test_json(agent):
    r = run("top", "--once", "--interval", "0.25", "--view", "services", "-o", "json",
            run_dir=agent.dir, check=0)
    answer = json.loads(r.stdout)
    assert set(answer) == {"time", "view", "interval_s", "records_lost", "rows"}
    assert answer["view"] == "services" and answer["records_lost"] == 7
    row, = answer["rows"]
    assert set(row) == {"service", "flows", "new_per_s", "packets_per_s", "bytes_out_per_s",
                        "bytes_in_per_s", "drops_per_s"}
    assert row["service"] == "default/web" and row["flows"] == 1
    assert row["packets_per_s"] > 0 and row["new_per_s"] > 0


def test_repeated_until_it_is_interrupted_or_nobody_reads(agent):
    args = [BPFNET, "--run-dir", agent.dir, "top", "--interval", "0.1", "-o", "json"]
    for end in (lambda p: p.send_signal(signal.SIGINT), lambda p: p.stdout.close()):
        p = subprocess.Popen(args, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert [json.loads(p.stdout.readline())["view"] for _ in range(3)] == ["talkers"] * 3
        end(p)
        assert p.wait(20) == 0
        assert p.stderr.read() == ""
        p.stderr.close()
        if not p.stdout.closed:
            p.stdout.close()


def test_agent_goes_on_paper(agent):
    p = subprocess.Popen([BPFNET, "--run-dir", agent.dir, "top", "--interval", "0.1"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline().startswith("SOURCE")
    agent.hold.set()
    assert p.wait(20) == 1
    assert "hung up in the middle of 'flows'" in p.stderr.read()
    p.stdout.close()
    p.stderr.close()


def test_no_agent(tmp_path):
    r = run("top", "--once", run_dir=tmp_path, check=1)
    assert "can't reach bpfnetd" in r.stderr
