# SPDX-License-Identifier: Apache-2.0
"""Flows exported to a file: which, what rotation and a killed agent leave, a disk that is full."""
import collections
import json
import os
import re
import socket
import subprocess
import threading

import pytest

import peers
from harness import eventually
from netns import within

PORT = 9999
LOG = "flows aren't exported"


class Export:
    """A node and the configuration that it is started with, in a folder of their own."""

    def __init__(self, folder, make):
        self.folder = str(folder)
        self.config = self.folder + "/bpfnetd.yaml"
        self.ports = iter(range(20000, 60000))
        self.write("none")
        self.node = make(options=["--config", self.config])
        self.client, self.web = self.node.pod("client"), self.node.pod("web")
        self.web.tcp(8080)

    def write(self, file, *filters, **keys):
        keys = {"export-file": file, "export-filters": list(filters), **keys}
        with open(self.config, "w") as f:
            json.dump({"flows": keys}, f)

    def restart(self, file, *filters, kill=False, **keys):
        (self.node.kill if kill else self.node.stop)()
        self.write(file, *filters, **keys)
        self.node.start()

    def new_flows(self, n, port=PORT):
        """That many flows of one datagram each; their source ports."""
        used = [next(self.ports) for _ in range(n)]
        with within(self.client.ns):
            for p in used:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.bind(("", p))
                    s.sendto(b"x", (self.web.ip[4], port))
        return used

    def status(self):
        return json.loads(self.node.bpfnet("-o", "json", "status", check=False).stdout)

    def wait_problem(self, problem):
        eventually(lambda: self.status()["export"]["problem"] == problem, f"problem {problem}")


@pytest.fixture(scope="module")
def export(module_node, tmp_path_factory):
    return Export(tmp_path_factory.mktemp("export"), module_node)


def records(*paths):
    """The flows of files and how many records they say are missing; every line is whole."""
    flows, lost = [], 0
    for path in paths:
        with open(path) as f:
            text = f.read()
        assert not text or text.endswith("\n")
        for line in map(json.loads, text.splitlines()):
            if "lost_events" in line:
                lost += int(line["lost_events"]["num_events_lost"])
            else:
                flows.append(line)
    return flows, lost


def opened(flows):
    """Source ports of the flows opened by new_flows(), with how often each is told of."""
    return collections.Counter(f["l4"]["UDP"]["source_port"] for f in flows
                               if f["event_type"] == "opened" and "UDP" in f["l4"]
                               and f["l4"]["UDP"]["destination_port"] >= PORT)


def test_none_by_default(export):
    assert "export" not in export.status()


def test_filters_and_input(export):
    path = export.folder + "/filtered.jsonl"
    export.restart(path, "protocol=udp", "not port=9998")
    unwanted = export.new_flows(3, port=9998)
    with peers.tcp_open(export.client.ns, export.web.ip[4], 8080)[0]:
        pass
    wanted = export.new_flows(3)
    eventually(lambda: set(wanted) <= set(opened(records(path)[0])), "the flows are exported")
    flows, lost = records(path)
    assert lost == 0 and opened(flows) == {p: 1 for p in wanted}
    assert not any("TCP" in f["l4"] for f in flows) and unwanted
    assert os.stat(path).st_mode & 0o777 == 0o640
    kept = {f["time"]: f for f in export.node.flows("--protocol", "udp")}
    assert all(kept[f["time"]] == f for f in flows)
    again = export.node.bpfnet("-o", "json", "flows", "--input", path).stdout
    assert [json.loads(line) for line in again.splitlines()] == flows
    assert export.node.bpfnet("status").returncode == 0


def test_killed_and_stopped(export):
    """What a killed agent leaves is mended, and nothing is written twice."""
    path = export.folder + "/killed.jsonl"
    export.restart(path)
    used, done = [], threading.Event()

    def traffic():
        while not done.is_set():
            used.extend(export.new_flows(20))
    thread = threading.Thread(target=traffic)
    thread.start()
    eventually(lambda: len(records_so_far(path)) > 200, "flows are exported")
    export.node.kill()
    done.set()
    thread.join()
    with open(path, "a") as f:
        f.write('{"time":"2026-01-01T00:0')
    export.restart(path)
    missed = export.new_flows(5)
    eventually(lambda: set(missed) <= set(opened(records(path)[0])), "exported again")
    flows, _ = records(path)
    assert set(opened(flows).values()) == {1} and set(opened(flows)) <= {*used, *missed}
    last = export.new_flows(5)
    eventually(lambda: set(last) <= set(opened(export.node.flows())), "the flows are kept")
    export.restart("none")
    assert set(last) <= set(opened(records(path)[0]))


def records_so_far(path):
    with open(path) as f:
        return f.read().splitlines()


def test_rotation(export):
    path = export.folder + "/rotated.jsonl"
    files = [path + ".2", path + ".1", path]
    export.restart(path, **{"export-file-max-mb": 1, "export-file-max-backups": 2})
    used = []
    while not os.path.exists(files[0]):
        used += export.new_flows(200)
        eventually(lambda: used[-1] in opened(records(path, *filter(os.path.exists, files[1:2]))[0]),
                   "the flows are exported")
    flows, lost = records(*files)
    assert lost == 0 and opened(flows) == {p: 1 for p in used}
    assert all(os.stat(f).st_size <= 1000000 for f in files)
    assert export.status()["export"]["rotations"] == 2


@pytest.fixture
def disk(export):
    path = export.folder + "/disk"
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "bpfnet-test", path], check=True)
    yield path
    export.restart("none")
    subprocess.run(["umount", path], check=True)


def test_full_disk(export, disk):
    """Told once, harmless to everybody else, taken up again, and each record accounted for."""
    node, path = export.node, disk + "/flows.jsonl"
    export.restart(path, history=64)
    told = node.log().count(LOG)
    used = export.new_flows(4000)
    export.wait_problem("no-space")
    status = node.bpfnet("-o", "json", "status", check=False)
    assert status.returncode == 3
    assert any("no-space" in r and path in r for r in json.loads(status.stdout)["reasons"])
    with peers.tcp_open(export.client.ns, export.web.ip[4], 8080)[0] as s:
        peers.echo(s, b"goes on")
    node.wait_flow("another reader", "--port", 8080)
    flows, lost = records(path)
    assert flows and lost == 0
    eventually(lambda: export.status()["export"]["failures"]["no-space"] >= 3, "tries again")
    assert node.log().count(LOG) == told + 1

    subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
    export.wait_problem("none")
    last = export.new_flows(1)
    eventually(lambda: last[0] in opened(records(path)[0]), "exported again")
    flows, lost = records(path)
    seen = opened(flows)
    assert set(seen.values()) == {1} and 0 < len(used) + 1 - len(seen) <= lost
    assert lost == export.status()["export"]["lost"]
    metrics = node.bpfnet("metrics").stdout
    assert f"bpfnet_flow_export_lost_total {lost}\n" in metrics
    assert re.search(r'bpfnet_flow_export_failures_total\{reason="no-space"\} [1-9]', metrics)
    assert node.bpfnet("status").returncode == 0


@pytest.mark.parametrize("kind", ["symlink", "fifo", "foreign", "no-folder"])
def test_no_file_of_ours(export, kind):
    """Reported by name, left as it is, and taken up when it is out of the way."""
    folder = f"{export.folder}/{kind}"
    path, target = folder + "/flows.jsonl", folder + "/target"
    if kind != "no-folder":
        os.mkdir(folder)
    if kind == "symlink":
        open(target, "w").close()
        os.symlink(target, path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "foreign":
        with open(path, "w") as f:
            f.write("root:x:0:0\n")
    export.restart(path)
    export.wait_problem({"foreign": "foreign-file", "no-folder": kind}.get(kind, "no-regular-file"))
    used = export.new_flows(3)
    eventually(lambda: set(used) <= set(opened(export.node.flows())), "the flows are kept")
    if kind == "symlink":
        assert os.stat(target).st_size == 0
    elif kind == "foreign":
        assert open(path).read() == "root:x:0:0\n"
    if kind == "no-folder":
        os.mkdir(folder)
    else:
        os.unlink(path)
    export.wait_problem("none")
    eventually(lambda: set(used) <= set(opened(records(path)[0])), "what waited is exported")


def test_bad_filter(export):
    export.write("none", "colour=red")
    r = subprocess.run(export.node.argv(), capture_output=True, text=True)
    export.write("none")
    assert r.returncode != 0 and "export-filters" in r.stderr and "FIELD=VALUE" in r.stderr
