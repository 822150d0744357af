# SPDX-License-Identifier: Apache-2.0
"""The agent's life: start, stop, crash, upgrade, another one, a folder of manifests."""
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

import netns
import peers
from harness import (BIN, FAMILIES, POD_CIDRS, SERVICE_CIDRS, SLOW, WORLD, Node, cluster_ips,
                     eventually, service_manifest)

VIP = dict(zip(FAMILIES, cluster_ips(1)))


def cluster(node):
    """Two backends, a client, a service."""
    for name in ("b1", "b2"):
        pod = node.pod(name, labels={"app": "web"})
        pod.tcp(8080)
        pod.udp(5353)
    node.client = node.pod("client")
    node.apply(service_manifest("web", [(80, 8080), (53, 5353, "UDP")], {"app": "web"},
                                ips=cluster_ips(1)))
    return node


@pytest.fixture(params=["packet", "socket"])
def node(request, make_node):
    return cluster(make_node(cgroup=request.param == "socket"))


class Load:
    """Open connections that keep talking and new ones all the time; every failure is kept."""

    def __init__(self, node, open_=20):
        self.node, self.failures, self.done, self.stop = node, [], 0, threading.Event()
        self.conns = [peers.tcp_open(node.client.ns, VIP[FAMILIES[i % 2]], 80, timeout=20)[0]
                      for i in range(open_)]
        self.threads = [threading.Thread(target=self._guard, args=(fn,), daemon=True)
                        for fn in (self._talk, self._connect, self._datagrams)]
        for t in self.threads:
            t.start()

    def _guard(self, fn):
        n = 0
        while not self.stop.is_set():
            try:
                fn(n)
                self.done += 1
            except Exception as e:
                self.failures.append(f"{fn.__name__} {n}: {e!r}")
                if len(self.failures) > 20:
                    return
            n += 1

    def _talk(self, n):
        peers.echo(self.conns[n % len(self.conns)], b"request %d" % n)

    def _connect(self, n):
        assert peers.tcp(self.node.client.ns, VIP[FAMILIES[n % 2]], 80, timeout=20)
        self.stop.wait(0.01)

    def _datagrams(self, n):
        assert peers.udp(self.node.client.ns, VIP[FAMILIES[n % 2]], 53, tries=1)
        self.stop.wait(0.02)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(30)
        for s in self.conns:
            s.close()
        assert not self.failures, self.failures
        assert self.done > 0
        return self.done


def works(node):
    for family in FAMILIES:
        assert peers.tcp(node.client.ns, VIP[family], 80).name in ("b1", "b2")
        assert peers.udp(node.client.ns, VIP[family], 53).name in ("b1", "b2")


def test_sigterm_leaves_the_datapath(node):
    s, _ = peers.tcp_open(node.client.ns, VIP[4], 80)
    assert node.status() == 0
    assert node.stop() == 0
    assert node.status() == 1
    with s:
        peers.echo(s, b"without an agent")
        works(node)
        assert peers.tcp_error(node.client.ns, VIP[4], 81) == "ECONNREFUSED"
        node.start()
        assert node.status() == 0
        peers.echo(s, b"with the next one")
        works(node)
    # what was configured is still there, and can be changed
    assert {e["pod"] for e in node.json("endpoint", "list")} == {"b1", "b2", "client"}
    assert len(node.service("web")["backends"]) >= 4
    node.pod("b3", labels={"app": "web"}).tcp(8080)
    eventually(lambda: peers.tcp(node.client.ns, VIP[4], 80).name == "b3", every=0)


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_restart_loop_under_load(node, sig):
    load = Load(node)
    for _ in range(10):
        assert node.stop(sig) == (-9 if sig == signal.SIGKILL else 0)
        node.start()
    load.end()
    assert node.status() == 0


def test_killed_while_starting(node):
    """A start that never got to its end leaves nothing that the next one trips over."""
    load = Load(node, open_=4)
    node.kill()
    for delay in (0, 0.002, 0.01, 0.03, 0.06, 0.1, 0.2):
        node.spawn()
        node._notify.close()
        try:
            node.agent.wait(delay)
        except subprocess.TimeoutExpired:
            pass
        node.kill()
    node.start()
    load.end()
    works(node)


def test_upgrade_in_place(node, tmp_path):
    """Another file, the old one gone, as a package manager does it."""
    load = Load(node)
    new = tmp_path / "bpfnetd"
    shutil.copy2(f"{BIN}/bpfnetd", new)
    node.kill()
    node.start(binary=str(new))
    assert os.readlink(f"/proc/{node.agent.pid}/exe") == str(new)
    node.stop()
    node.start()
    load.end()


def test_changes_while_the_agent_was_away(node):
    """A pod whose namespace went, and objects deleted right after the start."""
    node.kill()
    gone = node.pods.pop("default/b1")
    netns.ip(None, f"netns del {gone.ns}")
    node.start()
    node.bpfnet("endpoint", "delete", "default/b1", check=False)
    node.bpfnet("delete", "-f", "-", check=False, input=node.documents(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b1", "namespace": "default"}}))
    for _ in range(10):
        assert peers.tcp(node.client.ns, VIP[4], 80).name == "b2"


def test_second_agent_refuses(node):
    r = subprocess.run(netns.argv(node.ns, *node.argv()), text=True, capture_output=True,
                       timeout=20 * SLOW)
    assert r.returncode == 1
    assert node.run_dir in r.stderr or node.bpffs in r.stderr or node.state_dir in r.stderr, r.stderr
    assert node.status() == 0
    works(node)


def test_two_agents_side_by_side(node, make_node):
    other = cluster(make_node(cgroup=True))
    for n in (node, other):
        works(n)
    other.stop()
    other.uninstall()
    works(node)


def test_killed_in_the_middle_of_endpoint_add(node):
    """Whatever was done of it, the next agent makes it whole or undoes it."""
    for i, delay in enumerate((0, 0.001, 0.005, 0.01, 0.02, 0.04)):
        pod = node.pod(f"half{i}", attach=False, index=60 + i)
        pod.tcp(8080)
        adding = subprocess.Popen(
            [f"{BIN}/bpfnet", "--run-dir", node.run_dir, "endpoint", "add", pod.key, "--netns",
             pod.ns, "--ip", pod.ip[4], "--ip", pod.ip[6]],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            adding.wait(delay)
        except subprocess.TimeoutExpired:
            pass
        node.kill()
        adding.wait(10)
        node.start()
        node.detach(pod, check=False)
        node.attach(pod)
        assert peers.tcp(node.client.ns, pod.ip[4], 8080).name == pod.name
        node.remove(pod)
    listed = {e["host_ifname"] for e in node.json("endpoint", "list")}
    assert len(listed) == 3
    own = {n for n in node.link_names() if n.startswith(("bnhost", "bnpeer"))}
    assert len(own) == 2
    assert node.link_names() == listed | own | {"lo", "up0"}, "a half-made device stayed"


def test_status(make_node):
    node = make_node(start=False)
    assert node.status() == 1
    node.start()
    assert node.status() == 0
    s = node.json("status")
    assert s["node"] == node.name and s["reasons"] == []
    assert {"state", "version", "kernel", "features", "attachments", "maps"} <= set(s)
    for m in s["maps"]:
        assert {"name", "entries", "max_entries", "bytes"} <= set(m)


def test_full_map_is_refused_and_degraded(make_node, tmp_path):
    """What does not fit is refused with the count, what worked keeps working."""
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("maps:\n  services: 16\n")
    node = make_node(options=["--config", str(config)])
    cluster(node)
    many = [service_manifest(f"s{i}", [(80, 8080)], {"app": "web"}, ips=cluster_ips(10 + i))
            for i in range(40)]
    r = node.apply(*many, check=False)
    assert r.returncode == 1 and any(c.isdigit() for c in r.stderr), r
    works(node)
    assert node.status() == 3
    assert json.loads(node.bpfnet("-o", "json", "status", check=False).stdout)["reasons"]
    node.delete(*many, check=False)
    eventually(lambda: node.status() == 0, "live again once there is room")
    works(node)


def test_config_file(make_node, tmp_path):
    """Every option is a key; the command line wins."""
    node = make_node(start=False)
    config = tmp_path / "bpfnetd.yaml"
    config.write_text(f"""
node-name: from-the-file
run-dir: {node.run_dir}
state-dir: {node.state_dir}
bpffs: {node.bpffs}
device: [up0]
cgroup: none
masquerade: off
pod-cidr: [{", ".join(POD_CIDRS)}]
service-cidr: [{", ".join(SERVICE_CIDRS)}]
""")
    node.argv = lambda *extra, binary=None: [f"{BIN}/bpfnetd", "--config", str(config), *extra]
    node.start()
    assert node.json("status")["node"] == "from-the-file"
    client = node.pod("client")
    node.serve(node.peers.tcp(node.world, "world", 8080))
    assert peers.tcp(client.ns, WORLD[4], 8080).client == client.ip[4], "masquerade is off"
    node.stop()
    node.start("--node-name", "from-the-command-line")
    assert node.json("status")["node"] == "from-the-command-line"


def test_ports_of_translation_and_of_the_node_overlap(make_node, tmp_path):
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("nat: {ports: 40000-41000}\n")
    node = make_node(options=["--config", str(config)])
    status = json.loads(node.bpfnet("-o", "json", "status", check=False).stdout)
    reason = next(r for r in status["reasons"] if "nat.ports" in r)
    assert "40000-41000" in reason and "ip_local_port_range" in reason
    assert reason in node.log()
    assert node.status() == 3
    netns.sysctl(node.ns, ipv4__ip_local_port_range="42000 60999")
    assert node.status() == 0


@pytest.mark.parametrize("text,named", [
    ("no-such-key: 1\n", "no-such-key"), ("masquerade: perhaps\n", "masquerade"),
    ("service-cidr: [10.0.0.0/33]\n", "10.0.0.0/33"), ("maps: {flows: -1}\n", "flows"),
    ("node-name: [\n", "yaml")])
def test_bad_config(make_node, tmp_path, text, named):
    node = make_node(start=False)
    config = tmp_path / "bad.yaml"
    config.write_text(text)
    r = subprocess.run(netns.argv(node.ns, *node.argv("--config", str(config))), text=True,
                       capture_output=True, timeout=20 * SLOW)
    assert r.returncode not in (0, -11, -6)
    assert named in r.stderr and str(config) in r.stderr, r.stderr


def test_bad_options(make_node):
    """Refused by name; what the start had made until then is gone."""
    node = make_node(start=False)
    for extra in (["--no-such-option"], ["--device", "nosuchdev0"], ["--pod-cidr", "10.0.0.0"],
                  ["--cgroup", "/nonexistent"], ["--config", "/nonexistent"],
                  ["--manifests", "/nonexistent"]):
        r = subprocess.run(netns.argv(node.ns, *node.argv(*extra)), text=True, capture_output=True,
                           timeout=20 * SLOW)
        assert r.returncode > 0 and extra[-1].lstrip("-") in r.stderr, (extra, r)
        for folder in (node.bpffs, node.run_dir, node.state_dir):
            assert not os.path.exists(folder), (extra, folder)


def test_failed_start_leaves_the_datapath(node):
    """A predecessor's datapath is not the failed start's to take away."""
    s, _ = peers.tcp_open(node.client.ns, VIP[4], 80)
    node.stop()
    r = subprocess.run(netns.argv(node.ns, *node.argv("--device", "nosuchdev0")), text=True,
                       capture_output=True, timeout=20 * SLOW)
    assert r.returncode == 1 and "nosuchdev0" in r.stderr, r
    with s:
        peers.echo(s, b"still there")
        works(node)
    node.start()
    assert node.service("web")
    works(node)


def test_manifests_folder(make_node, tmp_path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    web = service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1))
    (folder / "web.yaml").write_text(Node.documents(web))
    node = make_node(options=["--manifests", str(folder)])
    assert node.service("web"), "what was there at the start is in force when the agent is ready"

    def names():
        return {s["name"] for s in node.json("svc", "list")}
    # renamed into place, as editors and configuration tools do
    (folder / ".new").write_text(Node.documents(
        [service_manifest(f"s{i}", [(80, 8080)], {"app": "web"}, ips=cluster_ips(5 + i))
         for i in range(2)]))
    os.rename(folder / ".new", folder / "more.yaml")
    eventually(lambda: names() == {"web", "s0", "s1"})
    # written in place
    (folder / "web.yaml").write_text(Node.documents(
        service_manifest("web2", [(80, 8080)], {"app": "web"}, ips=cluster_ips(2))))
    eventually(lambda: names() == {"web2", "s0", "s1"})
    # a bad one changes nothing, and degrades; mended, all is well
    (folder / "more.yaml").write_text("kind: Service\napiVersion: v1\nmetadata: {name: 'UPPER'}\n")
    eventually(lambda: node.status() == 3)
    assert names() == {"web2", "s0", "s1"}
    assert "more.yaml" in node.bpfnet("status", check=False).stdout
    os.unlink(folder / "more.yaml")
    eventually(lambda: names() == {"web2"} and node.status() == 0)
    node.kill()
    os.unlink(folder / "web.yaml")
    node.start()
    eventually(lambda: names() == set(), "deleted while no agent was there")


def test_idle_agent_is_small_and_asleep(make_node):
    node = make_node()
    status = {}

    def read():
        with open(f"/proc/{node.agent.pid}/status") as f:
            status.update(line.split(":", 1) for line in f)
        return int(status["voluntary_ctxt_switches"])
    rss = eventually(lambda: read() and int(status["VmRSS"].split()[0]))
    assert rss < 15 * 1024 or "libasan" in open(f"/proc/{node.agent.pid}/maps").read(), f"{rss} KiB"

    def asleep():
        before = read()
        time.sleep(3)
        return read() - before <= 1
    eventually(asleep, "3 s without a wake-up", timeout=60)
