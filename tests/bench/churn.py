#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Backends that come and go under load, as a rolling update does it: no connection may fail.

    churn.py [SECONDS]      60 by default, for each of the ways in

A service of 10 backends, one of which is replaced every 50 ms, under 500 new connections a second
over IPv4 and IPv6 alike. A replaced backend terminates for 300 ms, in which it still takes
connections; then it is gone, and would refuse them. Each connection asks once and closes.
"""
import json
import signal
import subprocess
import sys
import time

import rig
from harness import FAMILIES, cluster_ips, service_manifest, slice_manifest

BACKENDS, EVERY, DRAIN, RATE = 10, 0.05, 0.3, 500
# those in use, those that drain, those that rest: more where some were late and others hurry
POOL = BACKENDS + round(DRAIN / EVERY) + 12
PORT, NODE_PORT = 8080, 30080
TALK = f"{rig.HERE}/talk.py"
READY = {"ready": True}
LEAVING = {"ready": False, "serving": True, "terminating": True}


class Backend:
    def __init__(self, node, number):
        self.pod = node.pod(f"b{number}")
        self.process = node.popen(self.pod.ns, sys.executable, TALK, "serve", str(PORT),
                                  stdout=subprocess.PIPE, text=True)
        self.said("ready")

    def said(self, what):
        assert self.process.stdout.readline() == what + "\n"

    def listen(self, yes):
        self.process.send_signal(signal.SIGUSR2 if yes else signal.SIGUSR1)
        self.said("ready" if yes else "closed")


class Churn:
    """The pool as a queue: the front serves longest, the back has rested longest."""

    def __init__(self, node, backends):
        self.node = node
        self.serving, self.draining, self.resting = backends[:BACKENDS], [], backends[BACKENDS:]
        for b in self.resting:
            b.listen(False)

    def publish(self):
        ends = [(b, READY) for b in self.serving] + [(b, LEAVING) for b, _ in self.draining]
        self.node.bpfnet("apply", "-f", "-", input="\n---\n".join(
            json.dumps(slice_manifest("churn", f"v{family}", family, [("p80-tcp", PORT, "TCP")],
                                      [(b.pod.ip[family], c) for b, c in ends]))
            for family in FAMILIES))

    def replace(self):
        fresh, old = self.resting.pop(0), self.serving.pop(0)
        fresh.listen(True)
        self.serving.append(fresh)
        now = time.monotonic()
        gone = [b for b, until in self.draining if until <= now]
        self.draining = [(b, until) for b, until in self.draining if until > now]
        self.draining.append((old, now + DRAIN))
        self.publish()
        for b in gone:
            b.listen(False)
            self.resting.append(b)

    def run(self, seconds):
        """
        One is due every EVERY seconds from the start, so that one that takes long delays none after
        it. Returns how many were replaced, in what time, and the longest that one took.
        """
        start, longest = time.monotonic(), 0
        n = round(seconds / EVERY)
        for i in range(n):
            time.sleep(max(0, start + i * EVERY - time.monotonic()))
            begin = time.monotonic()
            self.replace()
            longest = max(longest, time.monotonic() - begin)
        time.sleep(max(0, start + seconds - time.monotonic()))
        return n, time.monotonic() - start, longest


def churn(what, seconds, sockets, outside):
    with rig.node(cgroup=sockets) as node:
        backends = [Backend(node, i) for i in range(POOL)]
        client = node.world if outside else node.pod("client").ns
        vips = dict(zip(FAMILIES, cluster_ips(80)))
        m = service_manifest("churn", [(80, PORT)], ips=list(vips.values()), type="NodePort")
        m["spec"]["ports"][0]["nodePort"] = NODE_PORT
        c = Churn(node, backends)
        node.apply(m)
        c.publish()
        clients = [node.popen(client, sys.executable, TALK, "talk",
                              node.ip[f] if outside else vips[f],
                              str(NODE_PORT if outside else 80), "0", str(RATE / len(FAMILIES)),
                              stdout=subprocess.PIPE, text=True) for f in FAMILIES]
        for p in clients:
            assert p.stdout.readline() == "ready\n"
        done, took, longest = c.run(seconds)
        for p in clients:
            p.send_signal(signal.SIGTERM)
        counts = [json.loads(p.communicate(timeout=60)[0]) for p in clients]
    total = {k: sum(x[k] for x in counts) for k in counts[0]}
    failed = {k: total[k] for k in ("refused", "resets", "lost", "other")}
    if any(failed.values()):
        print(f"churn: {what}: {failed}", file=sys.stderr)
    return [(f"{what}: failed connections", sum(failed.values()), "of " + str(total["connections"]), 0),
            (f"{what}: connections", total["connections"] / took, "a second", None),
            (f"{what}: backends replaced", done, f"in {took:.1f} s", None),
            (f"{what}: the longest replacement", longest * 1000, "ms", None),
            (f"{what}: the slowest connection", max(x["slowest_ms"] for x in counts), "ms", None)]


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    rows = []
    for what, sockets, outside in (("pod, packets", False, False), ("pod, sockets", True, False),
                                   ("outside, NodePort", False, True)):
        rows += churn(what, seconds, sockets, outside)
    return rig.report("churn", rows)


if __name__ == "__main__":
    sys.exit(main())
