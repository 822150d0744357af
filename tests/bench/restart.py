#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 and restart of bpfnetd, again and again, under connections that keep talking and new
ones all the time, through a ClusterIP of both families: no reset, no refusal, no lost request.
"""
import json
import os
import signal
import subprocess
import sys
import time

import rig
from rig import harness

TIMES = int(sys.argv[1]) if len(sys.argv) > 1 else 50
OPEN, RATE = 100, 50  # of each family: 200 and 100 together
TALK = os.path.join(rig.HERE, "talk.py")


def started(node, pod, *args):
    p = node.popen(pod.ns, sys.executable, TALK, *args, stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline().strip() == "ready", f"talk.py {args}"
    return p


def main():
    with rig.node() as n:
        client = n.pod("client")
        servers = [n.pod(f"s{i}", labels={"app": "echo"}) for i in range(3)]
        for s in servers:
            started(n, s, "serve", 8080)
        ips = harness.cluster_ips(1)
        n.apply(harness.service_manifest("echo", [(80, 8080)], {"app": "echo"}, ips))
        talkers = [started(n, client, "talk", ip, 80, OPEN, RATE) for ip in ips]
        time.sleep(1)
        begin = time.monotonic()
        for i in range(TIMES):
            n.kill()
            time.sleep(0.1)  # connections must open with no agent, too
            n.start()
            time.sleep(0.1)
            print(f"\r{i + 1} of {TIMES}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        took = time.monotonic() - begin
        total = {}
        for t in talkers:
            t.send_signal(signal.SIGTERM)
            for key, value in json.loads(t.communicate(timeout=30)[0]).items():
                total[key] = max(total.get(key, 0), value) if key == "slowest_ms" \
                    else total.get(key, 0) + value
    rows = [(f"{TIMES} kills and starts", took, "s", None),
            ("connections", total["connections"], "", None),
            ("requests", total["requests"], "", None),
            ("slowest answer", total["slowest_ms"], "ms", None)]
    rows += [(what, total[key], "", 0) for what, key in
             (("resets", "resets"), ("refusals", "refused"), ("lost requests", "lost"),
              ("other failures", "other"))]
    return rig.report("restart", rows)


if __name__ == "__main__":
    sys.exit(main())
