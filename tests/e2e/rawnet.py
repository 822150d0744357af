# SPDX-License-Identifier: Apache-2.0
"""Frames by hand: put on a device of any namespace, and watched on any other."""
import contextlib
import logging
import select
import socket
import time

from netns import within

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402,F401
from scapy.layers.inet6 import (  # noqa: E402,F401
    ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: E402,F401
from scapy.packet import Raw  # noqa: E402,F401
from scapy.utils import checksum  # noqa: E402,F401

ETH_P_ALL = 3
PACKET_OUTGOING = 4


class Tap:
    """An AF_PACKET socket on one device: sends frames, and sees those that arrive."""

    def __init__(self, ns, dev="eth0"):
        with within(ns):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.bind((dev, ETH_P_ALL))
        self.sock.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def send(self, *frames):
        for f in frames:
            self.sock.send(bytes(f))

    def frames(self, timeout=5, outgoing=False):
        """Frames as they come, until the deadline."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return
            with contextlib.suppress(BlockingIOError):
                data, address = self.sock.recvfrom(65536)
                if outgoing or address[2] != PACKET_OUTGOING:
                    yield Ether(data)

    def expect(self, match, timeout=5, what="", outgoing=False):
        """The first frame that `match` accepts."""
        seen = []
        for f in self.frames(timeout, outgoing):
            if match(f):
                return f
            seen.append(f.summary())
        raise AssertionError(f"no {what or 'such frame'} within {timeout} s; seen: {seen[-20:]}")

    def until(self, match, timeout=5, what="the marker"):
        """All frames up to the first that `match` accepts (it excluded)."""
        seen = []
        for f in self.frames(timeout):
            if match(f):
                return seen
            seen.append(f)
        raise AssertionError(f"no {what} within {timeout} s; seen: {[f.summary() for f in seen]}")


