# SPDX-License-Identifier: Apache-2.0
"""Direct server return: nodes that do it, what it looks like on their links, and packets by hand.

The frontend that a client asked stands in an IPv4 option or an IPv6 destination options header, as
maps/bpfnet/dsr.h has it.
"""
import collections
import contextlib
import ipaddress
import itertools
import socket
import struct

import netns
import peers
from cluster import BALANCED
from harness import FAMILIES, cluster_ips
from rawnet import IP, PACKET_OUTGOING, TCP, UDP, Ether, IPv6, Raw, Tap, checksum
from test_nodeport import node_port

TAKES = {4: 8, 6: 24}  # bytes of each packet that carries a frontend
SYN = 2
PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
DESTINATION_OPTIONS, HOP_BY_HOP, FRAGMENT = 60, 0, 44


def options(folder, mode="dsr"):
    """Options of agents with this mode; `folder`: a pytest.TempPathFactory or a path."""
    path = (folder.mktemp("dsr") if hasattr(folder, "mktemp") else folder) / "bpfnetd.yaml"
    path.write_text(f"services: {{load-balancer-mode: {mode}}}\n")
    return ["--config", str(path)]


class Client:
    """The client outside. Each of its sockets has a port of its own: two frontends of a service asked
    from one are another matter (test_dsr.py)."""

    def __init__(self, cluster):
        self.ns, self.ip, self.ports = cluster.client, cluster.client_ip, itertools.count(10000)

    def own(self, ip):
        return self.ip[6 if ":" in ip else 4], next(self.ports)

    def some(self, count=200):
        """Ports for another program, as the first and the last."""
        ports = list(itertools.islice(self.ports, count))
        return ports[0], ports[-1]

    def tcp_open(self, ip, port, **kw):
        return peers.tcp_open(self.ns, ip, port, own=self.own(ip), **kw)

    def tcp(self, ip, port, **kw):
        return peers.tcp(self.ns, ip, port, own=self.own(ip), **kw)

    def udp_socket(self, ip, port, **kw):
        return peers.udp_socket(self.ns, ip, port, own=self.own(ip), **kw)

    def udp(self, ip, port, **kw):
        return peers.udp(self.ns, ip, port, own=self.own(ip), **kw)


WEB, DNS, SIG, FILES = 30080, 30053, 30038, 30088  # NodePorts
Frontend = collections.namedtuple("Frontend", "address web dns sig files")


def one_backend(module_cluster, options, nodes=3):
    """A cluster with the service `web`, whose only backend is on the second node."""
    c = module_cluster(nodes=nodes, options=options)
    c.outside = Client(c)
    c.web = c.pod(1, "web", {"app": "web"})
    c.web.tcp(8080)
    c.web.udp(5353)
    c.web.sctp(3868)
    c.vip = dict(zip(FAMILIES, cluster_ips(1)))
    m = node_port("web", WEB, DNS, SIG, number=1, selector={"app": "web"}, type="LoadBalancer",
                  externalIPs=[BALANCED[f] + "20" for f in FAMILIES])
    m["spec"]["ports"].append({"name": "files", "port": 8001, "targetPort": 8001,
                               "protocol": "TCP", "nodePort": FILES})
    m["status"] = {"loadBalancer": {"ingress": [{"ip": BALANCED[f] + "10"} for f in FAMILIES]}}
    c.apply(m)
    return c


def balanced(c, family):
    """Frontends of `web` that lead to the first node without being its address."""
    return [Frontend(a, 80, 53, 38, 8001)
            for a in (BALANCED[family] + "10", BALANCED[family] + "20", c.vip[family])]


def through(node, family):
    return Frontend(node.ip[family], WEB, DNS, SIG, FILES)


def through_first(c, family):
    return [through(c.nodes[0], family), *balanced(c, family)]


def frontends(c, family):
    return through_first(c, family) + [through(n, family) for n in c.nodes[1:]]


READY = {"ready": True}
TERMINATING = {"ready": False, "serving": True, "terminating": True}


def endpoint(pod, family, conditions=READY):
    """The pod as a controller's EndpointSlice has it: with its node."""
    return pod.ip[family], conditions, pod.node.name


def forget_mtu(*spaces):
    """What the namespaces have learned of paths."""
    for ns in spaces:
        for family in ("-4", "-6"):
            netns.run(ns, "ip", family, "route", "flush", "cache")


# ------------------------------------------------------------------ on a link
# `size`: of what TCP, UDP or SCTP carries; `frontend`: (address, port) or None
Packet = collections.namedtuple("Packet", "protocol src sport dst dport flags size frontend")


def _address(raw):
    return str(ipaddress.ip_address(raw))


def _ipv4(p):
    at, frontend = (p[0] & 15) * 4, None
    if p[20:22] == b"\x9e\x08" and at >= 28:
        frontend = _address(p[24:28]), int.from_bytes(p[22:24], "big")
    offset = int.from_bytes(p[6:8], "big") & 0x1FFF
    return p[9], at, int.from_bytes(p[2:4], "big"), p[12:16], p[16:20], frontend, offset


def _ipv6(p):
    protocol, at, frontend, offset = p[6], 40, None, 0
    if protocol == DESTINATION_OPTIONS and p[41:44] == b"\x02\x1e\x14":
        frontend = _address(p[48:64]), int.from_bytes(p[44:46], "big")
    while protocol in (DESTINATION_OPTIONS, HOP_BY_HOP, FRAGMENT):
        if protocol == FRAGMENT:
            offset = int.from_bytes(p[at + 2:at + 4], "big") & 0xFFF8
        protocol, at = p[at], at + (8 if protocol == FRAGMENT else 8 * (p[at + 1] + 1))
    return protocol, at, 40 + int.from_bytes(p[4:6], "big"), p[8:24], p[24:40], frontend, offset


def parse(frame):
    """A frame's packet; None if it is of no protocol that has services, or not a first fragment."""
    how = {b"\x08\x00": _ipv4, b"\x86\xdd": _ipv6}.get(frame[12:14])
    if not how:
        return None
    p = frame[14:]
    protocol, at, end, src, dst, frontend, offset = how(p)
    if protocol not in PROTOCOLS or offset:
        return None
    sport, dport = struct.unpack("!HH", p[at:at + 4])
    head = (p[at + 12] >> 4) * 4 if protocol == 6 else 8 if protocol == 17 else 12
    return Packet(PROTOCOLS[protocol], _address(src), sport, _address(dst), dport,
                  p[at + 13] if protocol == 6 else 0, end - at - head, frontend)


class Uplink(Tap):
    """What goes over a node's uplink."""

    def __init__(self, node):
        super().__init__(node.ns, "up0")
        self.mac = bytes.fromhex(node.link(node.ns, "up0")["address"].replace(":", ""))

    def passed(self):
        """The packets until now: that came for the node, a bridge may show it others' too; and that
        went. To be asked when the answer to the last one is there."""
        came, went = [], []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, address = self.sock.recvfrom(65536)
                outgoing = address[2] == PACKET_OUTGOING
                p = parse(frame) if outgoing or frame[:6] == self.mac else None
                if p:
                    (went if outgoing else came).append(p)
        return came, went


# -------------------------------------------------------------------- by hand
def option(family, frontend):
    """The IPv4 option, or the IPv6 header behind the byte that says what follows."""
    address, port = ipaddress.ip_address(frontend[0]).packed, frontend[1]
    if family == 4:
        return struct.pack("!BBH4s", 158, 8, port, address)
    return struct.pack("!BBBHH16s", 2, 0x1e, 20, port, 0, address)


def packet(family, src, dst, sport, dport, what=b"", protocol="UDP", payload=b"FORGED",
           header=DESTINATION_OPTIONS, flags="S"):
    """An IP packet with these bytes of options, whatever they say; `flags` of TCP."""
    upper, number = UDP(sport=sport, dport=dport), 17
    if protocol == "TCP":
        upper, number = TCP(sport=sport, dport=dport, flags=flags), 6
    if family == 4:
        upper = bytes(IP(src=src, dst=dst) / upper / Raw(payload))[20:]
        what += bytes(-len(what) % 4)
        head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45 + len(what) // 4, 0,
                                     20 + len(what) + len(upper), 1, 0, 64, number, 0,
                                     socket.inet_aton(src), socket.inet_aton(dst)) + what)
        head[10:12] = struct.pack("!H", checksum(bytes(head)))
        return bytes(head) + upper
    upper = bytes(IPv6(src=src, dst=dst) / upper / Raw(payload))[40:]
    if what:
        what = bytes([number]) + what
        number = header
    return bytes(IPv6(src=src, dst=dst, nh=number) / Raw(what + upper))


def towards(node, client, data):
    """The packet as a frame of the client to the node."""
    return bytes(Ether(src=node.link(client, "w0")["address"],
                       dst=node.link(node.ns, "up0")["address"],
                       type=0x86DD if data[0] >> 4 == 6 else 0x0800)) + data
