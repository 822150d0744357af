# SPDX-License-Identifier: Apache-2.0
"""Which backend a client gets, and what becomes of it when backends come and go.

Each case for a pod's connections and the host's, with balancing at the socket and without.
"""
import collections
import itertools
import math
import threading
import time

import pytest

import harness
import netns
import peers
from harness import FAMILIES, cluster_ips, eventually, pod_manifest, service_manifest
from servers import Nginx

BACKENDS = ("b1", "b2", "b3", "b4")
PORTS = ((80, 8080, "TCP", "http"), (53, 5353, "UDP", "dns"))
numbers = itertools.count(60)
GONE = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module", params=["packet", "socket"])
def node(request, module_node):
    if request.param == "socket" and not harness.cgroup2_root():
        pytest.skip("cgroup2 is not mounted")
    n = module_node(cgroup=request.param == "socket")
    n.client, n.other = n.pod("client"), n.pod("other")
    n.web = {}
    for name in BACKENDS:
        n.web[name] = n.pod(name, labels={"app": "web", "version": "v1" if name == "b1" else "v2"})
        n.web[name].tcp(8080)
        n.web[name].udp(5353)
    return n


@pytest.fixture
def web(node):
    """All backends as they were, after a test that changed them."""
    yield node.web
    node.apply(*[manifest(node.web[name]) for name in BACKENDS])


def manifest(pod, **kw):
    annotations, gone = kw.pop("annotations", None), kw.pop("gone", None)
    m = pod_manifest(pod, {"app": "web", "version": "v1" if pod.name == "b1" else "v2"}, **kw)
    if annotations:
        m["metadata"]["annotations"] = annotations
    if gone:
        m["metadata"]["deletionTimestamp"] = GONE
    return m


def service(name, selector=("app", "web"), ports=PORTS, annotations=None, **spec):
    """Its manifest, and its address by family."""
    ips = cluster_ips(next(numbers))
    m = service_manifest(name, ports, dict([selector]), ips=ips, **spec)
    if annotations:
        m["metadata"]["annotations"] = annotations
    return m, dict(zip(FAMILIES, ips))


def tcp(ns, ip):
    return peers.tcp(ns, ip, 80).name


def udp(ns, ip):
    return peers.udp(ns, ip, 53).name


def udp_unconnected(ns, ip):
    return peers.udp(ns, ip, 53, connect=False).name


def udp_told(ns, ip):
    """As a client that is told that its backend goes: it asks again, on a socket of its own."""
    for left in reversed(range(4)):
        try:
            return udp(ns, ip)
        except OSError as e:
            if not left or not peers.told(e):
                raise


def names(exchange, ns, ip, times=40):
    return {exchange(ns, ip) for _ in range(times)}


EXCHANGES = (tcp, udp, udp_unconnected)


def within_chance(counts, shares):
    """Six standard deviations, which chance leaves once in 500 million."""
    n, total = sum(counts.values()), sum(shares.values())
    assert set(counts) <= set(shares), counts
    for name, share in shares.items():
        p = share / total
        off = abs(counts.get(name, 0) - n * p)
        assert off <= 6 * math.sqrt(n * p * (1 - p)) + 1, f"{name}: {dict(counts)} for {shares}"


# ----------------------------------------------------------------------------- weights
@pytest.mark.parametrize("family", FAMILIES)
def test_weights(node, web, family):
    """Of a pod, and a split between versions in percent, counted by curl."""
    servers = [Nginx(node, web[b].ns, b, 8002) for b in BACKENDS]
    m, vip = service(f"split{family}", ports=[(80, 8002, "TCP", "http")],
                     annotations={"bpfnet.io/weights": "version=v1:20,version=v2:80"})
    host = f"[{vip[6]}]" if family == 6 else vip[4]

    def count():
        out = netns.run(node.client.ns, "curl", "-sS", "-g", "-f", "--max-time", "30",
                        "-H", "Connection: close", *[f"http://{host}/"] * 400).stdout
        return collections.Counter(line.split()[0] for line in out.splitlines())
    try:
        node.apply(m)
        within_chance(count(), {"b1": 60, "b2": 80, "b3": 80, "b4": 80})
        node.apply(manifest(web["b2"], annotations={"bpfnet.io/weight": "3"}))
        within_chance(count(), {"b1": 25, "b2": 60, "b3": 20, "b4": 20})
        # none of a version left: the others have it all
        node.apply(manifest(web["b1"], ready=False))
        within_chance(count(), {"b2": 3, "b3": 1, "b4": 1})
        m["metadata"]["annotations"] = {}
        node.apply(m, manifest(web["b1"]), manifest(web["b2"]),
                   manifest(web["b3"], annotations={"bpfnet.io/weight": "0"}))
        within_chance(count(), {"b1": 1, "b2": 1, "b4": 1})
    finally:
        node.delete(m)
        for s in servers:
            s.close()


# ---------------------------------------------------------------------------- affinity
@pytest.mark.parametrize("family", FAMILIES)
def test_session_affinity(node, web, family):
    """By client, over TCP and UDP apart; for its time; and no longer than the backend is there."""
    m, vip = service(f"sticky{family}", sessionAffinity="ClientIP")
    node.apply(m)
    for exchange in (tcp, udp, udp_unconnected):
        for ns in (node.client.ns, node.other.ns):
            has = names(exchange, ns, vip[family], 20)
            assert len(has) == 1, f"{exchange.__name__} of one client: {has}"
    # the backend goes: another, at once and for good
    for exchange in (tcp, udp):
        has = exchange(node.client.ns, vip[family])
        node.apply(manifest(web[has], ready=False))
        moved = names(exchange, node.client.ns, vip[family], 20)
        assert len(moved) == 1 and has not in moved
        node.apply(manifest(web[has]))
        assert names(exchange, node.client.ns, vip[family], 20) == moved
    node.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_affinity_ends(node, family):
    m, vip = service(f"brief{family}", sessionAffinity="ClientIP",
                     sessionAffinityConfig={"clientIP": {"timeoutSeconds": 1}})
    node.apply(m)
    for exchange in (tcp, udp):
        ns = node.client.ns
        has = exchange(ns, vip[family])
        seen = {has}

        def another():
            time.sleep(1.2)  # longer than the client may be idle
            seen.add(exchange(ns, vip[family]))
            return len(seen) > 1
        eventually(another, "another backend after the time", timeout=30)
    node.delete(m)


# -------------------------------------------------------------------- states of backends
@pytest.mark.parametrize("family", FAMILIES)
def test_publish_not_ready_addresses(node, web, family):
    m, vip = service(f"eager{family}", selector=("version", "v1"))
    node.apply(m, manifest(web["b1"], ready=False))
    assert peers.tcp_error(node.client.ns, vip[family], 80) == "ECONNREFUSED"
    assert peers.udp_error(node.client.ns, vip[family], 53) == "ECONNREFUSED"
    m["spec"]["publishNotReadyAddresses"] = True
    node.apply(m)
    for exchange in EXCHANGES:
        assert names(exchange, node.client.ns, vip[family], 3) == {"b1"}
    node.delete(m)


@pytest.mark.parametrize("family", FAMILIES)
def test_terminating_backends(node, web, family):
    """What is open carries on, what is new goes elsewhere; the last ones still serve."""
    m, vip = service(f"leaving{family}")
    node.apply(m)
    open_ = []
    try:
        while {banner.name for _, banner in open_} != set(BACKENDS):
            open_.append(peers.tcp_open(node.client.ns, vip[family], 80))
            assert len(open_) < 200
        for left in ("b1", "b2", "b3"):
            node.apply(manifest(web[left], gone=True))
            others = set(BACKENDS[BACKENDS.index(left) + 1:])
            for exchange in EXCHANGES:
                assert names(exchange, node.client.ns, vip[family]) == others
            for s, _ in open_:
                peers.echo(s, b"unbroken")
        # all of them terminate: all of them serve
        node.apply(manifest(web["b4"], gone=True))
        assert names(tcp, node.client.ns, vip[family], 100) == set(BACKENDS)
        for s, _ in open_:
            peers.echo(s, b"and still")
        # one is not ready any more and no longer serves; then nobody does
        node.apply(*[manifest(web[b], gone=True, ready=False) for b in BACKENDS])
        assert peers.tcp_error(node.client.ns, vip[family], 80) == "ECONNREFUSED"
        assert peers.udp_error(node.client.ns, vip[family], 53) == "ECONNREFUSED"
        for s, _ in open_:
            peers.echo(s, b"to the end")
    finally:
        for s, _ in open_:
            s.close()
        node.delete(m)


# ------------------------------------------------------------------------ while it changes
class Knocking:
    """Connections and datagrams one after another, from several threads, until told to stop."""

    def __init__(self, *calls):
        self.failed, self.done = [], collections.Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=c) for c in calls]

    def _run(self, exchange, ns, ip):
        while not self._stop.is_set():
            try:
                exchange(ns, ip)
                self.done[exchange.__name__] += 1
            except OSError as e:
                self.failed.append((exchange.__name__, ip, repr(e)))
                return

    def __enter__(self):
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for t in self._threads:
            t.join()


def test_changes_in_place(node, web):
    """A service that changes in every way refuses nobody meanwhile."""
    m, vip = service("changing")
    node.apply(m)
    shapes = [{}, {"sessionAffinity": "ClientIP"}, {"internalTrafficPolicy": "Local"},
              {"type": "NodePort"}, {"type": "NodePort", "externalTrafficPolicy": "Local"}]
    plain = dict(m["spec"])
    with Knocking(*[(e, node.client.ns, vip[f]) for e in (tcp, udp_told) for f in FAMILIES]) as knocking:
        for turn in range(40):
            m["spec"] = {**plain, **shapes[turn % len(shapes)]}
            m["spec"]["ports"] = m["spec"]["ports"] + [
                {"name": "more", "port": 1000 + turn, "targetPort": 8080}][:turn % 2]
            m["metadata"]["annotations"] = {"bpfnet.io/weights": "version=v1:1,version=v2:5"} \
                if turn % 3 == 0 else {}
            node.apply(m)
            left = BACKENDS[turn % 4]
            node.apply(manifest(web[left], gone=True))
            node.apply(manifest(web[left]))
    assert not knocking.failed
    assert knocking.done["tcp"] > 20 and knocking.done["udp_told"] > 20
    node.delete(m)


def test_restart_in_between(node, web):
    """The agent dies and returns, told something else meanwhile: nobody is refused."""
    m, vip = service("restarted")
    node.apply(m)
    with Knocking(*[(tcp, node.client.ns, vip[f]) for f in FAMILIES]) as knocking:
        for turn in range(3):
            node.kill()
            node.start()
            m["metadata"]["labels"] = {"turn": str(turn)}
            m["spec"]["sessionAffinity"] = ("ClientIP", "None")[turn % 2]
            node.apply(m)
    assert not knocking.failed and knocking.done["tcp"] > 10
    node.delete(m)


# at the socket, connect() itself goes to the backend's address, which a SYN keeps
@pytest.mark.parametrize("node", ["packet"], indirect=True)
@pytest.mark.parametrize("family", FAMILIES)
def test_half_open_connections_move(node, web, family):
    """A backend that swallows SYNs leaves: the client's next SYN reaches another one."""
    hole = node.pod(f"hole{family}", labels={"app": f"hole{family}"}, index=40 + family)
    netns.run(hole.ns, "ip", "link", "set", "eth0", "down")
    m, vip = service(f"holes{family}", selector=("app", f"hole{family}"))
    node.apply(m)
    s = peers.tcp_socket(node.client.ns, vip[family], timeout=10)
    with s:
        s.setblocking(False)
        assert s.connect_ex((vip[family], 80)) == 115  # EINPROGRESS
        node.wait_flow("the SYN", "--service", m["metadata"]["name"])
        m["spec"]["selector"] = {"app": "web"}
        node.apply(m)
        s.settimeout(10 * peers.SLOW)
        assert s.recv(100).split()[0].decode() in BACKENDS
    node.delete(m)
    node.remove(hole)


def test_health_check_follows_the_backends(node, web):
    """What a balancer outside is told agrees with what it gets."""
    m, vip = service("healthy", type="LoadBalancer", externalTrafficPolicy="Local",
                     healthCheckNodePort=30990)
    m["spec"]["ports"][0]["nodePort"] = 30991
    node.apply(m)

    def health():
        return netns.run(node.world, "curl", "-s", "-m", "5", "-o", "/dev/null", "-w",
                         "%{http_code}", f"http://{node.ip[4]}:30990/", check=False).stdout
    assert health() == "200"
    assert peers.tcp(node.world, node.ip[4], 30991).name in BACKENDS
    # those that terminate still get what comes, but the balancer is to send no more
    node.apply(*[manifest(web[b], gone=True) for b in BACKENDS])
    assert health() == "503"
    assert peers.tcp(node.world, node.ip[4], 30991).name in BACKENDS
    node.apply(*[manifest(web[b], ready=False) for b in BACKENDS])
    assert health() == "503"
    assert peers.tcp_error(node.world, node.ip[4], 30991) == "ECONNREFUSED"
    node.delete(m)
