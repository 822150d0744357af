# SPDX-License-Identifier: Apache-2.0
"""What makes a veth's end the wire of a NIC: it finishes checksums, and wakes for frames sent to it.

veth wakes its peer for frames of XDP_TX and XDP_REDIRECT only if that has an XDP program; GRO alone
gives it NAPI, but nobody schedules it.
"""
import ctypes
import json
import os
import socket
import struct

import netns

_libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
PROG_LOAD, LINK_CREATE = 5, 28
PROG_TYPE_XDP, ATTACH_XDP = 6, 37
MODES = {"generic": 2, "native": 4}


def _bpf(command, attr):
    buf = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    fd = _libc.syscall(SYS_BPF, command, buf, len(buf))
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"bpf() command {command}")
    return fd


class Pass:
    """A program on a device that passes everything, until it is closed."""

    def __init__(self, ns, dev, mode="native"):
        insns = struct.pack("<BBhiBBhi", 0xb7, 0, 0, 2, 0x95, 0, 0, 0)  # r0 = XDP_PASS; exit
        code, licence = ctypes.create_string_buffer(insns), ctypes.create_string_buffer(b"GPL")
        prog = _bpf(PROG_LOAD, struct.pack("<IIQQ", PROG_TYPE_XDP, 2, ctypes.addressof(code),
                                           ctypes.addressof(licence)))
        try:
            with netns.within(ns):
                index = socket.if_nametoindex(dev)
                self.fd = _bpf(LINK_CREATE, struct.pack("<IIII", prog, index, ATTACH_XDP,
                                                        MODES[mode]))
        finally:
            os.close(prog)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def wire(ns, *devices):
    """The link's ends of veths as a wire would be; the caller closes what it gets."""
    for dev in devices:
        netns.run(ns, "ethtool", "-K", dev, "tx", "off")
    return [Pass(ns, dev) for dev in devices]


def counter(ns, dev, what):
    """A counter of a veth's receive queues, of all of them: frames that XDP did this with."""
    lines = netns.run(ns, "ethtool", "-S", dev).stdout.splitlines()
    return sum(int(line.split(":")[1]) for line in lines
               if line.strip().startswith("rx_queue_") and f"_{what}:" in line)


class PastStack:
    """Packets that leave a device and that no tap sees: those that XDP sends."""

    OUTGOING = ((0x20, 0, 0, 0xfffff004), (0x15, 0, 1, 4), (6, 0, 0, 1), (6, 0, 0, 0))
    STATISTICS = 6

    def __init__(self, ns, dev):
        self.ns, self.dev, self.seen = ns, dev, 0
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *i) for i in self.OUTGOING))
        with netns.within(ns):
            self.tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.tap.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", len(self.OUTGOING),
                                                               ctypes.addressof(code)))
        self.tap.bind((dev, 3))  # all protocols
        self.before = self._sent()

    def _sent(self):
        link = json.loads(netns.run(self.ns, "ip", "-j", "-s", "link", "show", "dev", self.dev).stdout)
        return link[0]["stats64"]["tx"]["packets"]

    def count(self):
        sent = self._sent() - self.before
        self.seen += struct.unpack("II", self.tap.getsockopt(263, self.STATISTICS, 8))[0]
        return sent - self.seen
