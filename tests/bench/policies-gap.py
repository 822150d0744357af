#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What default deny lets through while it comes into force: 100 pods that start while a client
hammers their addresses, and 100 kills and starts of bpfnetd. The listeners are the pods' own, so
whatever arrives is counted, answered or not; at the end the policy goes, and the same client gets
in, which proves that it could have been counted.
"""
import sys
import time

import rig
from rig import harness

import policies as np

TIMES = int(sys.argv[1]) if len(sys.argv) > 1 else 100
PORT = 6000


def starts(node, client):
    """Each pod is there, with its listeners, and hammered, before it is attached."""
    arrived, attempts = 0, 0
    for i in range(TIMES):
        pod = node.pod(f"late{i}", labels={"app": "late"}, index=50 + i, attach=False)
        knocker = np.Knocker(client, pod, PORT)
        try:
            node.attach(pod)
            seen = sum(knocker.rounds.values())
            harness.eventually(lambda: sum(knocker.rounds.values()) > seen + 10, every=0.002)
        finally:
            knocker.join()
        attempts += sum(knocker.rounds.values())
        arrived += knocker.end()
        node.remove(pod)
        print(f"\rstart {i + 1} of {TIMES}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return arrived, attempts


def restarts(node, client):
    pod = node.pod("late", labels={"app": "late"}, index=200)
    knocker = np.Knocker(client, pod, PORT)
    try:
        for i in range(TIMES):
            node.kill()
            time.sleep(0.05)
            node.start()
            time.sleep(0.05)
            print(f"\rrestart {i + 1} of {TIMES}", end="", file=sys.stderr, flush=True)
        arrived, attempts = knocker.arrived(), sum(knocker.rounds.values())
        node.delete(DENY)
        harness.eventually(knocker.arrived, "let in when nothing denies it")
    finally:
        print(file=sys.stderr)
        knocker.join()
        knocker.end()
    return arrived, attempts


DENY = np.policy("deny", {}, ingress=[])


def main():
    with rig.node() as n:
        client = n.pod("client", labels={"app": "client"})
        n.apply(DENY)
        began, hammered = starts(n, client)
        kept, again = restarts(n, client)
    return rig.report("policies-gap", [
        (f"{TIMES} pods started: rounds of attempts", hammered, "", None),
        (f"{TIMES} pods started: packets that passed", began, "", 0),
        (f"{TIMES} kills and starts: rounds of attempts", again, "", None),
        (f"{TIMES} kills and starts: packets that passed", kept, "", 0),
    ])


if __name__ == "__main__":
    sys.exit(main())
