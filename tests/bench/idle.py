#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An idle bpfnetd, no endpoint and no flow: resident memory, wake-ups a minute."""
import sys
import time

import rig

MINUTES = float(sys.argv[1]) if len(sys.argv) > 1 else 2


def main():
    with rig.node() as n:
        time.sleep(5)  # what starting left to do
        before = rig.wakeups(n.agent.pid)
        time.sleep(60 * MINUTES)
        woke = (rig.wakeups(n.agent.pid) - before) / MINUTES
        rss, private = rig.memory(n.agent.pid)
    return rig.report("idle", [
        ("idle bpfnetd, resident", rss / 1024, "MB", 15),
        ("of these private", private / 1024, "MB", None),
        ("idle bpfnetd, wake-ups", woke, "a minute", 1),
    ])


if __name__ == "__main__":
    sys.exit(main())
