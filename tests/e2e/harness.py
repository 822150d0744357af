# SPDX-License-Identifier: Apache-2.0
"""Nodes, pods and the outside world in network namespaces, driven as a user drives them.

A Node is a namespace with an uplink `up0` to a `world` namespace and a bpfnetd of its own (run,
state and bpffs folders, node name). Pods are namespaces attached with `bpfnet endpoint add`.
Every name begins with the session's id, so that runs go side by side, and what a run that died
left behind is found and removed by the next.

Nothing here sleeps to synchronise: what has no event is polled with a deadline (`eventually`).
"""
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import yaml

import netns
import peers
from peers import SLOW

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.path.join(ROOT, os.environ.get("BPFNET_BUILD", "build"))
BPFTOOL = os.environ.get("BPFTOOL") or "bpftool"
PREFIX = os.environ.get("BPFNET_TEST_PREFIX", "bnt")
# as-is, node-off (no tx checksum offload on the node's devices) or pod-off (on the pods')
OFFLOAD = os.environ.get("BPFNET_OFFLOAD", "as-is")
FOLDER = os.path.join(tempfile.gettempdir(), "bpfnet-test-")
BPFFS = "/sys/fs/bpf"

# The world's side of the uplink and the node's.
WORLD = {4: "172.31.0.1", 6: "fd00:31::1"}
NODE = {4: "172.31.0.2", 6: "fd00:31::2"}
POD_CIDRS = ["10.244.0.0/16", "fd00:244::/64"]
SERVICE_CIDRS = ["10.96.0.0/16", "fd00:96::/108"]
FAMILIES = (4, 6)


def eventually(probe, what="", timeout=10, every=0.02):
    """The first true value of probe(). An AssertionError or OSError counts as not yet."""
    deadline = time.monotonic() + timeout * SLOW
    last = None
    while True:
        try:
            value = probe()
            if value:
                return value
            last = value
        except (AssertionError, OSError) as e:
            last = e
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout * SLOW:g} s: {what or probe}; last: {last!r}")
        time.sleep(every)


class Manifests(yaml.SafeDumper):
    """Without aliases, which manifests don't have, for what a test uses in several places."""

    def ignore_aliases(self, data):
        return True


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_time(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[19]


def cgroup2_root():
    with open("/proc/mounts") as f:
        for line in f:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    return None


class Session:
    """What all nodes of one run share: the id, the servers, a cgroup, and the cleaning up."""

    def __init__(self):
        self.id = f"{PREFIX}{os.getpid()}"
        self.nodes = 0
        self.home = None
        self.cgroup = None
        self.clean_dead()
        self.dir = FOLDER + self.id
        os.makedirs(self.dir)
        self._mount_bpffs()
        self._enter_cgroup()
        self.peers = peers.Peers()

    @staticmethod
    def _mount_bpffs():
        if not os.path.ismount(BPFFS):
            subprocess.run(["mount", "-t", "bpf", "bpf", BPFFS], check=True)

    def _enter_cgroup(self):
        """A cgroup of the run's own: socket programs are attached there, never to the root."""
        root = cgroup2_root()
        if not root:
            return
        self.cgroup = os.path.join(root, f"bpfnet-{self.id}")
        os.mkdir(self.cgroup)
        with open("/proc/self/cgroup") as f:
            own = next(line for line in f if line.startswith("0::")).strip()[3:]
        self.home = os.path.join(root, own.lstrip("/"))
        self._join(self.cgroup)

    @staticmethod
    def _join(cgroup):
        with open(os.path.join(cgroup, "cgroup.procs"), "w") as f:
            f.write(str(os.getpid()))

    def remember(self, pid):
        with open(os.path.join(self.dir, "pids"), "a") as f:
            f.write(f"{pid} {start_time(pid)}\n")

    def popen(self, ns, *command, **kw):
        p = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *netns.argv(ns, *command)],
                             **kw)
        self.remember(p.pid)
        return p

    def clean_dead(self):
        """Remove what runs with our prefix left whose process is gone."""
        tmp = os.path.dirname(FOLDER)
        for entry in os.listdir(tmp):
            m = re.fullmatch(re.escape(os.path.basename(FOLDER) + PREFIX) + r"(\d+)", entry)
            if m and not alive(m[1]):
                self._clean(PREFIX + m[1])

    @staticmethod
    def _clean(sid):
        folder = FOLDER + sid
        with contextlib.suppress(FileNotFoundError):
            with open(os.path.join(folder, "pids")) as f:
                for pid, started in (line.split() for line in f):
                    with contextlib.suppress(OSError):
                        if start_time(pid) == started:
                            os.kill(int(pid), signal.SIGKILL)
        for name in netns.names():
            if name.startswith(sid + "-"):
                subprocess.run(["ip", "netns", "del", name], check=False)
        for entry in os.listdir(BPFFS) if os.path.ismount(BPFFS) else []:
            if entry.startswith(sid + "-"):
                shutil.rmtree(os.path.join(BPFFS, entry), ignore_errors=True)
        root = cgroup2_root()
        if root:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(root, f"bpfnet-{sid}"))
        shutil.rmtree(folder, ignore_errors=True)

    def leftovers(self):
        found = [f"namespace {n}" for n in netns.names() if n.startswith(self.id + "-")]
        found += [f"pins {e}" for e in os.listdir(BPFFS) if e.startswith(self.id + "-")]
        with contextlib.suppress(FileNotFoundError):
            with open(os.path.join(self.dir, "pids")) as f:
                for pid, started in (line.split() for line in f):
                    with contextlib.suppress(FileNotFoundError):
                        if start_time(pid) == started and alive(pid):
                            found.append(f"process {pid}")
        return found

    def close(self):
        if self.cgroup:
            self._join(self.home)
        self._clean(self.id)


def addressed(ns, dev, ip, mtu=1500):
    """Brings a device up. Its link-local address by hand: the kernel's own would wait for
    duplicate address detection. Its last part is the IPv4 address's."""
    netns.ip(ns, "link set lo up", f"link set {dev} addrgenmode none", f"link set {dev} mtu {mtu} up",
             f"addr add {ip[4]}/24 dev {dev}", f"addr add {ip[6]}/64 dev {dev} nodad",
             f"addr add fe80::{ip[4].rsplit('.')[-1]}/64 dev {dev} nodad")


class Pod:
    def __init__(self, node, name, namespace="default", ips=(), ifname="eth0"):
        self.node, self.name, self.namespace, self.ifname = node, name, namespace, ifname
        self.ip = {6 if ":" in a else 4: a for a in ips}
        self.ns = f"{node.id}-{namespace[:3]}-{name}"
        self.key = f"{namespace}/{name}"

    @property
    def mac(self):
        return self.node.link(self.ns, self.ifname)["address"]

    def run(self, *command, **kw):
        return netns.run(self.ns, *command, **kw)

    def tcp(self, port, name=None):
        return self.node.serve(self.node.peers.tcp(self.ns, name or self.name, port))

    def udp(self, port, name=None):
        return self.node.serve(*self.node.peers.udp(self.ns, name or self.name, port))

    def sctp(self, port, name=None):
        return self.node.serve(*self.node.peers.sctp(self.ns, name or self.name, port))


class Node:
    """A node with its world. `start()` it, add pods, talk to it with `cli`."""

    ip = NODE
    pod_cidrs = POD_CIDRS

    def __init__(self, session, cgroup=False, options=(), mtu=1500, service_cidrs=True):
        self.session, self.peers = session, session.peers
        self.index = session.nodes
        session.nodes += 1
        self.id = f"{session.id}-{self.index}"
        self.dir = os.path.join(session.dir, str(self.index))
        self.run_dir, self.state_dir = self.dir + "/run", self.dir + "/state"
        self.bpffs = f"{BPFFS}/{self.id}"
        self.name = f"node-{self.index}"
        self.ns, self.world = f"{self.id}-node", f"{self.id}-world"
        self.pods, self.sockets, self.processes = {}, [], []
        self.agent = None
        self.forged = False  # a test sent wrong checksums on purpose
        self.log_path = self.dir + "/bpfnetd.log"
        self.options = ["--node-name", self.name, "--device", "up0",
                        "--cgroup", session.cgroup if cgroup and session.cgroup else "none"]
        for cidr in self.pod_cidrs:
            self.options += ["--pod-cidr", cidr]
        for cidr in SERVICE_CIDRS if service_cidrs else ():
            self.options += ["--service-cidr", cidr]
        self.options += options
        os.makedirs(self.dir)
        try:
            self._wire(mtu)
        except BaseException:
            self.close()
            raise

    def _wire(self, mtu):
        netns.ip(None, f"netns add {self.ns}", f"netns add {self.world}",
                 f"link add up0 mtu {mtu} netns {self.ns} type veth peer name w0 netns {self.world}")
        addressed(self.ns, "up0", NODE, mtu)
        addressed(self.world, "w0", WORLD, mtu)
        netns.ip(self.ns, f"route add default via {WORLD[4]}", f"route add default via {WORLD[6]}")
        netns.ip(self.world, f"route add {POD_CIDRS[0]} via {NODE[4]}",
                 f"route add {POD_CIDRS[1]} via {NODE[6]}")
        netns.sysctl(self.ns, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
        if OFFLOAD == "node-off":
            self.offload_off(self.ns, "up0")

    @staticmethod
    def offload_off(ns, dev):
        netns.run(ns, "ethtool", "-K", dev, "tx", "off")

    @staticmethod
    def link(ns, dev):
        return json.loads(netns.run(ns, "ip", "-j", "-d", "link", "show", "dev", dev).stdout)[0]

    def link_names(self):
        return {li["ifname"] for li in json.loads(netns.run(self.ns, "ip", "-j", "link").stdout)}

    # ------------------------------------------------------------------ agent
    def argv(self, *extra, binary=None):
        return [binary or f"{BIN}/bpfnetd", "--run-dir", self.run_dir, "--state-dir",
                self.state_dir, "--bpffs", self.bpffs, *self.options, *extra]

    def spawn(self, *extra, binary=None):
        """bpfnetd, not waited for. The log gathers all runs."""
        env = dict(os.environ, NOTIFY_SOCKET=self.dir + "/notify")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(env["NOTIFY_SOCKET"])
        self._notify.bind(env["NOTIFY_SOCKET"])
        with open(self.log_path, "ab") as log:
            self.agent = self.session.popen(self.ns, *self.argv(*extra, binary=binary),
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=env)
        return self.agent

    def wait_ready(self, timeout=30):
        """Until sd_notify says READY=1, as systemd would wait."""
        deadline = time.monotonic() + timeout * SLOW
        with self._notify as s:
            while time.monotonic() < deadline:
                if select.select([s], [], [], 0.1)[0] and b"READY=1" in s.recv(4096).split(b"\n"):
                    return
                assert self.agent.poll() is None, \
                    f"bpfnetd exited with {self.agent.returncode}:\n{self.log()[-3000:]}"
        raise AssertionError(f"bpfnetd not ready after {timeout * SLOW:g} s:\n{self.log()[-3000:]}")

    def start(self, *extra, binary=None):
        self.spawn(*extra, binary=binary)
        self.wait_ready()
        return self

    def stop(self, sig=signal.SIGTERM, timeout=15):
        if self.agent and self.agent.poll() is None:
            self.agent.send_signal(sig)
            self.agent.wait(timeout * SLOW)
        agent, self.agent = self.agent, None
        return agent.returncode if agent else None

    def kill(self):
        return self.stop(signal.SIGKILL)

    def uninstall(self, check=True):
        with open(self.log_path, "ab") as log:
            return subprocess.run(netns.argv(self.ns, *self.argv("--uninstall")), check=check,
                                  stdout=log, stderr=log, timeout=60 * SLOW).returncode

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.log_path, errors="replace") as f:
                return f.read()
        return ""

    # -------------------------------------------------------------------- CLI
    def bpfnet(self, *args, check=True, input=None, timeout=60):
        r = subprocess.run([f"{BIN}/bpfnet", "--run-dir", self.run_dir, *map(str, args)],
                           input=input, text=True, capture_output=True, timeout=timeout * SLOW)
        if check and r.returncode:
            raise AssertionError(f"bpfnet {' '.join(map(str, args))}: exit {r.returncode}\n"
                                 f"{r.stdout}{r.stderr}")
        return r

    def json(self, *args):
        return json.loads(self.bpfnet("-o", "json", *args).stdout)

    def lines(self, *args):
        out = self.bpfnet("-o", "json", *args).stdout
        return [json.loads(line) for line in out.splitlines() if line.strip()]

    @staticmethod
    def documents(objects):
        objects = objects if isinstance(objects, (list, tuple)) else [objects]
        return yaml.dump_all(objects, Dumper=Manifests, sort_keys=False)

    def apply(self, *objects, check=True):
        return self.bpfnet("apply", "-f", "-", input=self.documents(objects), check=check)

    def delete(self, *objects, check=True):
        return self.bpfnet("delete", "-f", "-", input=self.documents(objects), check=check)

    def status(self):
        return self.bpfnet("status", check=False).returncode

    def service(self, name, namespace="default"):
        return next((s for s in self.json("svc", "list")
                     if (s["namespace"], s["name"]) == (namespace, name)), None)

    # ------------------------------------------------------------------- pods
    @staticmethod
    def pod_ips(index):
        return {4: f"10.244.0.{index}", 6: f"fd00:244::{index:x}"}

    def pod(self, name, namespace="default", index=None, families=FAMILIES, labels=None,
            ready=None, ports=None, attach=True):
        """A namespace attached as a pod; with labels also its manifest."""
        index = index if index is not None else 10 + len(self.pods)
        ips = self.pod_ips(index)
        pod = Pod(self, name, namespace, [ips[f] for f in families])
        netns.ip(None, f"netns add {pod.ns}")
        netns.ip(pod.ns, "link set lo up")
        self.pods[pod.key] = pod
        if labels is not None:
            self.apply(pod_manifest(pod, labels, ready, ports))
        if attach:
            self.attach(pod)
        return pod

    def attach(self, pod):
        args = []
        for address in pod.ip.values():
            args += ["--ip", address]
        self.bpfnet("endpoint", "add", pod.key, "--netns", pod.ns, *args)
        self.set_offload(pod)

    def set_offload(self, pod):
        if OFFLOAD == "pod-off":
            self.offload_off(pod.ns, pod.ifname)
        if OFFLOAD == "node-off":
            host = next(e["host_ifname"] for e in self.json("endpoint", "list")
                        if f"{e['namespace']}/{e['pod']}" == pod.key)
            self.offload_off(self.ns, host)

    def detach(self, pod, check=True):
        return self.bpfnet("endpoint", "delete", pod.key, check=check)

    def remove(self, pod):
        if any(f"{e['namespace']}/{e['pod']}" == pod.key for e in self.json("endpoint", "list")):
            self.detach(pod)
        netns.ip(None, f"netns del {pod.ns}")
        del self.pods[pod.key]

    def serve(self, *sockets):
        self.sockets += sockets
        return sockets if len(sockets) > 1 else sockets[0]

    def popen(self, ns, *command, **kw):
        p = self.session.popen(ns, *command, **kw)
        self.processes.append(p)
        return p

    # ------------------------------------------------------------------ flows
    def flows(self, *filters, last=2000):
        return self.lines("flows", "--last", last, *filters)

    def wait_flow(self, what, *filters, match=lambda f: True, timeout=10):
        """The first record with these filters that `match` accepts."""
        def probe():
            return next((f for f in self.flows(*filters) if match(f)), None)
        return eventually(probe, f"a flow: {what}", timeout, every=0.05)

    def wait_drop(self, reason, *filters, timeout=10):
        return self.wait_flow(f"dropped for {reason}", "--verdict", "DROPPED",
                              "--drop-reason", reason, *filters, timeout=timeout)

    # ---------------------------------------------------------------- closing
    def spaces(self):
        return [self.ns, self.world] + [p.ns for p in self.pods.values()]

    def checksum_errors(self):
        return {ns: bad for ns in self.spaces() if (bad := netns.checksum_errors(ns))}

    def close(self):
        """Stop, uninstall, remove; complain about what stayed and about wrong checksums."""
        problems = []
        with contextlib.ExitStack() as stack:
            for name in self.spaces():
                if name in netns.names():
                    stack.callback(subprocess.run, ["ip", "netns", "del", name])
            bad = {} if self.forged else self.checksum_errors()
            if bad:
                problems.append(f"checksum errors (offload {OFFLOAD}): {bad}")
            for p in self.processes:
                if p.poll() is None:
                    p.kill()
                p.wait()
            self.peers.close(*self.sockets)
            if self.agent and self.agent.poll() not in (None, 0):
                problems.append(f"bpfnetd ended with {self.agent.returncode}")
            if self.agent or os.path.isdir(self.bpffs):
                try:
                    if self.stop() not in (0, None):
                        problems.append("bpfnetd did not exit with 0 on SIGTERM")
                    if self.uninstall(check=False):
                        problems.append("--uninstall failed")
                except subprocess.TimeoutExpired as e:
                    problems.append(str(e))
                    if self.agent:
                        self.agent.kill()
                if os.path.isdir(self.bpffs):
                    problems.append(f"pins left in {self.bpffs}: {os.listdir(self.bpffs)}")
                    shutil.rmtree(self.bpffs, ignore_errors=True)
        assert not problems, "; ".join(problems) + "\n" + self.log()[-2000:]


# ------------------------------------------------------------------ manifests
def pod_manifest(pod, labels, ready=None, ports=None):
    m = {"apiVersion": "v1", "kind": "Pod",
         "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": labels},
         "spec": {"nodeName": pod.node.name,
                  "containers": [{"name": "main", "image": "none", "ports": [
                      {"name": n, "containerPort": p, "protocol": proto}
                      for n, p, proto in ports or []]}]},
         "status": {"phase": "Running", "podIP": next(iter(pod.ip.values())),
                    "podIPs": [{"ip": a} for a in pod.ip.values()]}}
    if ready is not None:
        m["status"]["conditions"] = [{"type": "Ready", "status": "True" if ready else "False"}]
    return m


def service_manifest(name, ports, selector=None, ips=(), families=FAMILIES, namespace="default",
                     **spec):
    """ports: (port, targetPort[, protocol[, name]])"""
    entries = []
    for port, target, *more in ports:
        proto = more[0] if more else "TCP"
        entries.append({"name": more[1] if len(more) > 1 else f"p{port}-{proto.lower()}",
                        "port": port, "targetPort": target, "protocol": proto})
    spec = {"ports": entries, "ipFamilies": [f"IPv{f}" for f in families],
            "ipFamilyPolicy": "RequireDualStack" if len(families) == 2 else "SingleStack", **spec}
    if selector:
        spec["selector"] = selector
    if ips:
        spec["clusterIP"], spec["clusterIPs"] = ips[0], list(ips)
    return {"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def slice_manifest(service, suffix, family, ports, endpoints, namespace="default"):
    """ports: (name, port, protocol); endpoints: address or (address, conditions[, node's name])."""
    entries = []
    for e in endpoints:
        address, conditions, *node = e if isinstance(e, tuple) else (e, {"ready": True})
        entries.append({"addresses": [address], "conditions": conditions,
                        **({"nodeName": node[0]} if node else {})})
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"{service}-{suffix}", "namespace": namespace,
                         "labels": {"kubernetes.io/service-name": service}},
            "addressType": f"IPv{family}",
            "ports": [{"name": n, "port": p, "protocol": proto} for n, p, proto in ports],
            "endpoints": entries}


def cluster_ips(number):
    """The fixed addresses of test service `number`."""
    return [f"10.96.1.{number}", f"fd00:96::1:{number:x}"]
