# SPDX-License-Identifier: Apache-2.0
"""Many connections at once, from and to any namespace: servers and clients in one loop of one
thread. Each probe ends open, silent, or with the error that its client was told."""
import collections
import errno
import itertools
import os
import selectors
import socket
import struct
import time

import netns
import peers
from peers import SLOW

# `ns`: where from; `name`: who must answer at (ip, port)
Probe = collections.namedtuple("Probe", "ns name ip protocol port")

AGAIN = 1  # second, for a datagram without an answer
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: no connection outlives its probe


class Probes:
    def __init__(self):
        self.sel = selectors.DefaultSelector()
        self.serving, self.open = [], {}
        self.results, self.arrived = {}, set()
        self.nonces = itertools.count()

    # ---------------------------------------------------------------- servers
    def serve(self, ns, name, tcp=(), udp=()):
        """Says its name, in both families."""
        for fam in (socket.AF_INET, socket.AF_INET6):
            for kind, ports in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
                for port in ports:
                    with netns.within(ns):
                        s = socket.socket(fam, kind | socket.SOCK_NONBLOCK)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if fam == socket.AF_INET6:
                        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    s.bind(("", port))
                    if kind == socket.SOCK_STREAM:
                        s.listen(1024)
                    self.serving.append(s)
                    self.sel.register(s, selectors.EVENT_READ, (
                        self._accept if kind == socket.SOCK_STREAM else self._answer, name.encode()))

    @staticmethod
    def _accept(s, name):
        conn, _ = s.accept()
        with conn:
            conn.send(name)

    def _answer(self, s, name):
        data, client = s.recvfrom(100)
        self.arrived.add(data)
        s.sendto(data + b" " + name, client)

    # ---------------------------------------------------------------- clients
    def _start(self, probe):
        tcp = probe.protocol == "TCP"
        s = socket.socket(peers.family(probe.ip), (socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) |
                          socket.SOCK_NONBLOCK)
        nonce = b"%d-%d" % (os.getpid(), next(self.nonces))
        self.open[probe] = s, nonce
        if tcp:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        try:
            r = s.connect_ex((probe.ip, probe.port))
            if r not in (0, errno.EINPROGRESS):
                raise OSError(r, os.strerror(r))
            if not tcp:
                s.send(nonce)
        except OSError as e:
            self._finish(probe, e.errno)
            return
        self.sel.register(s, selectors.EVENT_READ, (self._told, probe))

    def _told(self, s, probe):
        try:
            data = s.recv(100)
        except OSError as e:
            self._finish(probe, e.errno)
            return
        expected = (self.open[probe][1] + b" " if probe.protocol == "UDP" else b"") + probe.name.encode()
        self._finish(probe, "open" if data == expected else f"answered by {data!r}")

    def _finish(self, probe, how):
        self.results[probe] = errno.errorcode.get(how, how)
        s, nonce = self.open.pop(probe)
        if s in self.sel.get_map():
            self.sel.unregister(s)
        s.close()
        return nonce

    def _send_again(self, probes):
        """Datagrams may get lost on the way; TCP sees to that by itself."""
        for probe in probes:
            if probe.protocol == "UDP":
                s, nonce = self.open[probe]
                try:
                    s.send(nonce)
                except OSError as e:
                    self._finish(probe, e.errno)

    def _turn(self, timeout):
        for key, _ in self.sel.select(max(0, timeout)):
            handler, argument = key.data
            try:
                handler(key.fileobj, argument)
            except BlockingIOError:
                pass

    def run(self, probes, opening, quiet=0.3, timeout=5):
        """How each of the probes ended. Those of `opening` have `timeout` seconds, the others until
        nothing has happened for `quiet` after that; a datagram that got in without an answer
        getting back is "arrived"."""
        self.results, self.arrived = {}, set()
        deadline = time.monotonic() + timeout * SLOW
        for ns, group in itertools.groupby(sorted(probes), lambda p: p.ns):
            with netns.within(ns):
                for probe in group:
                    self._start(probe)
            self._turn(0)
        waiting = set(opening)
        again = time.monotonic() + AGAIN
        while waiting and time.monotonic() < deadline:
            self._turn(min(again, deadline) - time.monotonic())
            waiting -= self.results.keys()
            if time.monotonic() > again:
                self._send_again(waiting)
                again += AGAIN
        end = time.monotonic() + quiet * SLOW
        while self.open and time.monotonic() < end:
            self._turn(end - time.monotonic())
        for probe in list(self.open):
            if self._finish(probe, "silent") in self.arrived:
                self.results[probe] = "arrived"
        return self.results

    def close(self):
        for s in self.serving:
            s.close()
        self.sel.close()
