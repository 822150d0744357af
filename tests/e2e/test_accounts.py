# SPDX-License-Identifier: Apache-2.0
"""No record vanishes: what the datapath counted is kept, or counted as lost and told."""
import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest

import peers
from accounts import Account, Heard, samples
from harness import BIN, FAMILIES, alive, cluster_ips, eventually, service_manifest
from netns import within

HISTORY = 700
PORT = 5353


@pytest.fixture(scope="module")
def node(module_node, tmp_path_factory):
    """With a ring buffer of some 390 records and a short history."""
    config = tmp_path_factory.mktemp("accounts") / "bpfnetd.yaml"
    config.write_text(f"maps:\n  events: 65536\nflows:\n  history: {HISTORY}\n")
    node = module_node(options=["--config", str(config)])
    node.client = node.pod("client", labels={"app": "client"})
    node.web = node.pod("web", labels={"app": "web"})
    node.web.udp(PORT)
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    node.apply(service_manifest("web", [(PORT, PORT, "UDP")], {"app": "web"}, ips=cluster_ips(1)),
               service_manifest("none", [(PORT, PORT, "UDP")], {"app": "no"}, ips=cluster_ips(2)))
    return node


class Reader:
    """`bpfnet flows -f` as a process, its output in a file."""

    def __init__(self, node, path, *args):
        readers = _readers(node)
        with open(path, "wb") as out:
            self.process = node.popen(None, f"{BIN}/bpfnet", "--run-dir", node.run_dir, "-o",
                                      "json", "flows", "-f", *args, stdout=out,
                                      stderr=subprocess.PIPE)
        eventually(lambda: _readers(node) == readers + 1, "the reader is there")
        self.heard = Heard(path)

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        assert self.process.wait(10) == 0, self.process.stderr.read()
        self.process.stderr.close()


def _readers(node):
    return samples(node)["bpfnet_flow_readers", ""]


# so many that the server's queue takes them all
BURST = 50


def _knock(node, ports, to, answers=True):
    """A flow from each of these ports; how many were answered."""
    return sum(_burst(node, ports[i:i + BURST], to, answers)
               for i in range(0, len(ports), BURST))


def _burst(node, ports, to, answers):
    heard = 0
    with contextlib.ExitStack() as stack:
        sockets = []
        with within(node.client.ns):
            for port in ports:
                s = stack.enter_context(socket.socket(peers.family(to), socket.SOCK_DGRAM))
                s.bind(("", port))
                s.sendto(b"x", (to, PORT))
                sockets.append(s)
        for s in sockets if answers else ():
            s.settimeout(5 * peers.SLOW)
            heard += bool(s.recv(100))
    return heard


@contextlib.contextmanager
def _stopped(process):
    process.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T",
                   "stopped")
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _settled(node, before):
    """The account once it has come out even: there may be records under way."""
    account = None

    def even():
        nonlocal account
        account = Account(before, samples(node))
        assert not account.wrong()
        return True
    eventually(even, "all stages of the account are even")
    return account


@pytest.mark.parametrize("family", FAMILIES)
def test_an_agent_that_is_away(node, tmp_path, family):
    """The ring buffer runs full. Every stage says what it lost, and a follower is told."""
    reader = Reader(node, tmp_path / "reader")
    before = samples(node)
    with _stopped(node.agent):
        _knock(node, range(20000, 20300), cluster_ips(2)[FAMILIES.index(family)], False)
        assert _knock(node, range(20300, 20900), node.vip[family]) == 600
        _knock(node, range(20900, 20950), cluster_ips(2)[FAMILIES.index(family)], False)
    account = _settled(node, before)
    flow = "bpfnet_flow_events_total"
    assert account.of("bpfnet_flows_opened_total") == 600
    assert account.drop("drop_packets", "service-no-backend") == 350
    assert account.of("bpfnet_flow_events_lost_total", 'type="opened"') > 0
    assert account.drop("drop_events_lost", "service-no-backend") > 0
    assert account.of(flow, 'type="opened"') > 0 and account.of(flow, 'type="drop"') > 0
    lost = account.of("bpfnet_events_lost_total", 'stage="ring-buffer"')

    def told():
        heard = reader.heard.read()
        assert (heard.flows, heard.lost) == (account.of(flow), {"datapath": lost, "reader": 0})
        return True
    eventually(told, "the reader has been told")
    assert account.of("bpfnet_events_lost_total", 'stage="readers"') == 0
    assert account.of("bpfnet_flow_reader_sent_total") == account.of(flow)
    reader.end()


def test_a_reader_that_stands_still(node, tmp_path):
    """It holds up neither the datapath nor the other one, and learns exactly what it missed."""
    stalled, other = Reader(node, tmp_path / "stalled"), Reader(node, tmp_path / "other")
    before = samples(node)
    with _stopped(stalled.process):
        for first in range(21000, 25000, 200):
            assert _knock(node, range(first, first + 200), node.vip[4]) == 200
            eventually(lambda: len(_opened(other)) == first + 200 - 21000, "all of them, by now")
        account = _settled(node, before)
        assert account.of("bpfnet_flows_opened_total") == 4000
        assert account.of("bpfnet_events_lost_total", 'stage="ring-buffer"') == 0
        assert other.heard.lost == {"datapath": 0, "reader": 0}
    kept = account.of("bpfnet_flow_events_total")

    def told():
        heard = stalled.heard.read()
        assert heard.all() == kept
        return True
    eventually(told, "the stalled reader has all or knows")
    assert stalled.heard.lost["reader"] > 0 and stalled.heard.lost["datapath"] == 0
    assert stalled.heard.flows >= HISTORY
    account = Account(before, samples(node))
    assert account.of("bpfnet_events_lost_total", 'stage="readers"') == stalled.heard.lost["reader"]
    # and it is a reader like any other again
    _knock(node, [25000], node.vip[4])
    eventually(lambda: stalled.heard.read().flows == other.heard.read().flows -
               stalled.heard.lost["reader"], "what comes now")
    stalled.end()
    other.end()


def _opened(reader):
    """The source ports whose opening this reader has been told."""
    ports = reader.__dict__.setdefault("ports", set())

    def note(f):
        if f["event_type"] == "opened":
            ports.add(f["l4"]["UDP"]["source_port"])
    reader.heard.read(note)
    return ports


def test_a_hundred_readers(node, tmp_path):
    """Each with its own filter; every one is told what it asked for, once."""
    ports = range(26000, 26100)
    readers = []
    for port in ports:
        path = tmp_path / str(port)
        with open(path, "wb") as out:
            readers.append((port, path, node.popen(
                None, f"{BIN}/bpfnet", "--run-dir", node.run_dir, "-o", "json", "flows", "-f",
                "--port", port, stdout=out)))
    eventually(lambda: _readers(node) == len(ports), "a hundred readers")
    assert _knock(node, ports, node.vip[4]) == len(ports)

    def heard(port, path):
        flows = [json.loads(line) for line in open(path)]
        assert [f["l4"]["UDP"]["source_port"] for f in flows] == [port]
        return True
    for port, path, _ in readers:
        eventually(lambda: heard(port, path), f"the flow from port {port}")
    for _, _, process in readers:
        process.terminate()
    for _, _, process in readers:
        assert process.wait(10) == 0
    eventually(lambda: _readers(node) == 0, "nobody reads")


# --------------------------------------------------------------- bad readers
def _connect(node):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10 * peers.SLOW)
    s.connect(os.path.join(node.run_dir, "bpfnet.sock"))
    return s


def _answer(s):
    """What comes until the agent hangs up."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := s.recv(65536):
            data += chunk
    return data


def _pour(s, data, total):
    """Sends up to `total` bytes; how many were taken before the agent hung up."""
    sent = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < total:
            sent += s.send(data)
    return sent


GIGABYTE = 1 << 30
APPLY = b'{"v":1,"method":"apply","params":{"files":[{"name":"a","size":1073741824}]},"body":1073741824}\n'


def test_rubbish_and_half_messages(node):
    half = b'{"v":1,"method":"flows","params":{"follow":tr'
    with _connect(node) as holds, contextlib.ExitStack() as others:
        holds.send(half)  # and says nothing more
        for rubbish in (b"\0" * 5000 + b"\n", os.urandom(4096).replace(b"\n", b" ") + b"\n", b"[[[[\n",
                        b"GET / HTTP/1.1\r\n\r\n", b'{"v":1}\n', b'{"v":99,"method":"flows"}\n',
                        b'{"v":1,"method":"flows","params":[]}\n', b"\xff\xfe{}\n"):
            s = others.enter_context(_connect(node))
            s.sendall(rubbish)
            s.shutdown(socket.SHUT_WR)
            answer = json.loads(_answer(s).split(b"\n")[0])
            assert answer["ok"] is False and answer["code"] and answer["error"], rubbish
        for cut in range(1, len(half), 9):
            s = others.enter_context(_connect(node))
            s.sendall(half[:cut])
            s.shutdown(socket.SHUT_WR)
            assert b'"bad-request"' in _answer(s)
        _serves(node)


@pytest.mark.parametrize("begin, code", ((b"", b"too-large"), (APPLY, b"too-large"),
                                         (b'{"v":1,"method":"flows"}\n', None)))
def test_a_gigabyte(node, begin, code):
    """Without a line's end; as a body; behind a request whose answer nobody reads. None is kept."""
    before = samples(node)["process_resident_memory_bytes", ""]
    with _connect(node) as s:
        s.settimeout(2)
        s.send(begin)
        with contextlib.suppress(socket.timeout):
            assert _pour(s, b"x" * 65536, GIGABYTE) < GIGABYTE
        if code:
            assert code in _answer(s)
        grown = samples(node)["process_resident_memory_bytes", ""] - before
        assert grown < 8 << 20, f"{grown} bytes more in memory"
        _serves(node)


def _serves(node):
    """The agent answers, and the datapath forwards."""
    assert alive(node.agent.pid) and node.status() == 0
    port = _serves.port = getattr(_serves, "port", 27000) + 1
    assert _knock(node, [port], node.vip[4]) == 1
    node.wait_flow("opened", "--port", port)
