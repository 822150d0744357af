# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicy manifests, and those who try policies: a knocker that must not get in, talkers
whose every byte must arrive."""
import contextlib
import errno
import itertools
import os
import socket
import threading

import pytest

import netns
import peers
from harness import FAMILIES

BLINK = 0.4  # seconds: an allowed packet takes a thousandth of that


def policy(name, subject=None, ingress=None, egress=None, namespace="default"):
    """`subject`: labels; a direction's rules, [] to deny all of it, None to leave it open."""
    spec = {"podSelector": {"matchLabels": subject} if subject else {}, "policyTypes": []}
    for kind, key, rules in (("Ingress", "ingress", ingress), ("Egress", "egress", egress)):
        if rules is not None:
            spec["policyTypes"].append(kind)
            spec[key] = rules
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def cluster_policy(name, subject, tier="Admin", priority=10, ingress=(), egress=()):
    """A rule's `peers` are its `from` or `to`."""
    spec = {"tier": tier, "priority": priority, "subject": subject}
    for key, peers_key, rules in (("ingress", "from", ingress), ("egress", "to", egress)):
        if rules:
            spec[key] = [{peers_key if k == "peers" else k: v for k, v in r.items()} for r in rules]
    return {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": name}, "spec": spec}


def namespace(name, **labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pods(**labels):
    return {"podSelector": {"matchLabels": labels} if labels else {}}


def namespaces(**labels):
    return {"namespaceSelector": {"matchLabels": labels} if labels else {}}


def block(ip):
    return {"ipBlock": {"cidr": f"{ip}/{128 if ':' in ip else 32}"}}


def blocks(ip):
    """Both families' addresses."""
    return [block(a) for a in ip.values()]


def port(number, protocol="TCP", end=None):
    return {"port": number, "protocol": protocol, **({"endPort": end} if end else {})}


def denied_tcp(ns, ip, number):
    return peers.tcp_error(ns, ip, number, BLINK) == "timeout"


def denied_udp(ns, ip, number):
    return peers.udp_error(ns, ip, number, BLINK) == "timeout"


def pings(ns, ip):
    r = netns.run(ns, "ping", "-n", "-c", "1", "-W", "1", ip, check=False)
    return " 0% packet loss" in r.stdout


class Enforce:
    """Applies policies, to a node or a cluster; at the end of the test none is left."""

    def __init__(self, where):
        self.where, self.applied = where, {}

    def __call__(self, *manifests):
        self.where.apply(*manifests)
        self.applied.update({m["metadata"]["name"]: m for m in manifests})

    def drop(self, *names):
        self.where.delete(*[self.applied.pop(name) for name in names or list(self.applied)])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.applied:
            self.drop()


class Connection:
    """TCP with both ends in hand."""

    def __init__(self, source, target, family, number=7000, frontend=None):
        """To the target itself or to a frontend, an (address, port) that leads to it."""
        with netns.within(target.ns):
            listener = socket.socket(peers.family(target.ip[family]), socket.SOCK_STREAM)
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((target.ip[family], number))
            listener.listen()
            to = frontend or (target.ip[family], number)
            self.client = peers.tcp_socket(source.ns, to[0])
            self.client.connect(to)
            self.server, _ = listener.accept()
        self.passes(b"hello")

    def passes(self, data):
        for a, b in ((self.client, self.server), (self.server, self.client)):
            b.settimeout(5 * peers.SLOW)
            a.sendall(data)
            got = b""
            while len(got) < len(data):
                got += b.recv(65536)
            assert got == data

    def cut(self, first):
        """Nothing arrives any more, whoever speaks first, and what is sent again neither."""
        ends = (self.client, self.server)
        ends = ends if first == "client" else ends[::-1]
        for a, b in (ends, ends[::-1]) * 2:
            a.sendall(b"too late")
            for s in (a, b):
                s.settimeout(BLINK)
                with pytest.raises(TimeoutError):
                    got = s.recv(100)
                    raise AssertionError(f"{got!r} arrived")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for s in (self.client, self.server):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.close()


class Looping:
    """Runs functions over and over, each in a thread of its own; what they raise is kept."""

    def __init__(self, *functions):
        self.stop, self.failures, self.rounds = threading.Event(), [], {}
        self.threads = [threading.Thread(target=self._loop, args=(fn,), daemon=True)
                        for fn in functions]
        for t in self.threads:
            t.start()

    def _loop(self, fn):
        for n in itertools.count():
            if self.stop.is_set() or len(self.failures) > 10:
                return
            try:
                fn(n)
                self.rounds[fn] = n + 1
            except Exception as e:
                self.failures.append(f"{fn.__name__} {n}: {e!r}")

    def join(self):
        self.stop.set()
        for t in self.threads:
            t.join(30)


class Knocker(Looping):
    """New TCP connections and datagrams from `source` to `target` all the time, on every family.
    Listens at the target itself: what has arrived there has got in, answered or not."""

    def __init__(self, source, target, number, addresses=None):
        self.source, self.number = source, number
        self.addresses = addresses or list(target.ip.values())
        with netns.within(target.ns):
            self.datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        for s in (self.datagrams, self.listener):
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("::", number))
            s.setblocking(False)
        self.listener.listen(1024)
        self.held = []
        super().__init__(self._knock)

    def _knock(self, n):
        for ip in self.addresses:
            with netns.within(self.source.ns):
                s = socket.socket(peers.family(ip), socket.SOCK_DGRAM)
                t = socket.socket(peers.family(ip), socket.SOCK_STREAM)
            with s:
                with contextlib.suppress(OSError):
                    s.sendto(b"knock", (ip, self.number))
            t.setblocking(False)
            r = t.connect_ex((ip, self.number))
            assert r in (0, errno.EINPROGRESS, errno.EHOSTUNREACH, errno.ENETUNREACH), r
            self.held.append(t)
        while len(self.held) > 32:
            self.held.pop(0).close()
        self.stop.wait(0.002)

    def arrived(self):
        n = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.datagrams.recv(100)
                n += 1
        with contextlib.suppress(BlockingIOError):
            while True:
                self.listener.accept()[0].close()
                n += 1
        return n

    def end(self):
        """How many got in, since the last look."""
        self.join()
        for s in self.held:
            s.close()
        n = self.arrived()
        self.datagrams.close()
        self.listener.close()
        assert not self.failures, self.failures
        assert sum(self.rounds.values()) > 10
        return n


class Talker(Looping):
    """From `source` to `target`, which serves TCP and UDP: bytes back and forth on connections
    that stay, datagrams of flows that stay and of new ones. Each must be answered."""

    def __init__(self, source, target, tcp=8080, udp=5353):
        self.source, self.target, self.udp = source, target, udp
        self.conns = [peers.tcp_open(source.ns, target.ip[f], tcp, timeout=20)[0] for f in FAMILIES]
        self.socks = [peers.udp_socket(source.ns, target.ip[f], udp) for f in FAMILIES]
        self.bytes = 0
        super().__init__(self._talk, self._datagrams, self._anew)

    def _talk(self, n):
        data = os.urandom(4000 + n % 30000)
        peers.echo(self.conns[n % 2], data)
        self.bytes += len(data)

    def _datagrams(self, n):
        peers.udp_exchange(self.socks[n % 2], b"datagram %d" % n)
        self.stop.wait(0.002)

    def _anew(self, n):
        peers.udp(self.source.ns, self.target.ip[FAMILIES[n % 2]], self.udp, tries=1)
        self.stop.wait(0.002)

    def end(self):
        self.join()
        lost = [peers.lost(s) for s in self.conns]
        for s in self.conns + self.socks:
            s.close()
        assert not self.failures, self.failures
        assert len(self.rounds) == 3 and self.bytes
        assert lost == [0, 0]
        return self.bytes
