#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One quiet TCP connection of each family through a ClusterIP while N short real connections and N
DNS exchanges pass through the same tables: strangers can't push out friends. The transient table is
small here, so that they do push out each other.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

import rig
from rig import harness

import peers  # of the end-to-end tests; rig has set the path

NUMBER = int(sys.argv[1]) if len(sys.argv) > 1 else 2000000
SHORT = os.path.join(rig.HERE, "short.py")
SETS = 64  # of 7 entries


def counters(node):
    found = {}
    for line in node.bpfnet("metrics").stdout.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("bpfnet_flows_") and "{" not in name:
            found[name] = float(value)
    return found


def strangers(node, clients, ips):
    """A process for each kind and family, all at once; what each says at its end."""
    each = NUMBER // len(ips)
    running = [clients[i % len(clients)].run_later("tcp" if port == 80 else "dns", ip, port, each)
               for i, (port, ip) in enumerate((p, ip) for p in (80, 53) for ip in ips)]
    return [(kind, json.loads(p.communicate()[0])) for kind, p in running]


def main():
    config = tempfile.NamedTemporaryFile("w", suffix=".yaml")
    config.write(f"maps: {{transient-sets: {SETS}}}\n")
    config.flush()
    with config, rig.node(options=["--config", config.name]) as n:
        quiet, *others = (n.pod(name) for name in ("quiet", "c1", "c2"))
        friend = n.pod("friend", labels={"app": "friend"})
        friend.tcp(8080)
        server = n.pod("server", labels={"app": "short"})
        p = n.popen(server.ns, sys.executable, SHORT, "serve", "8080", "5353",
                    stdout=subprocess.PIPE, text=True)
        assert p.stdout.readline().strip() == "ready"
        ips, friends = harness.cluster_ips(1), harness.cluster_ips(2)
        n.apply(harness.service_manifest("short", [(80, 8080), (53, 5353, "UDP")],
                                         {"app": "short"}, ips),
                harness.service_manifest("friend", [(80, 8080)], {"app": "friend"}, friends))
        for pod in others:
            pod.run_later = lambda kind, *args, pod=pod: (kind, n.popen(
                pod.ns, sys.executable, SHORT, kind, *map(str, args), stdout=subprocess.PIPE,
                text=True))
        conns = [peers.tcp_open(quiet.ns, ip, 80, timeout=20)[0] for ip in friends]
        before, begin = counters(n), time.monotonic()
        results = strangers(n, others, ips)
        took, after = time.monotonic() - begin, counters(n)
        lost = 0
        for s in conns:
            try:
                peers.echo(s, b"are you still there?")
            except (OSError, AssertionError) as e:
                print(f"the quiet connection: {e}", file=sys.stderr)
                lost += 1
            s.close()
        # told apart from a connection that was taken up again by a new decision
        origin = [f for f in n.lines("ct", "list") if f["destination"] in friends]
        lost += any(f["state"] not in ("established", "closing", "closed") for f in origin)
    rows = [("quiet connections", len(conns), "", None), ("time", took, "s", None)]
    for what, kind in (("short connections", "tcp"), ("DNS exchanges", "dns")):
        done = sum(r["done"] for k, r in results if k == kind)
        rows += [(what, done, "", None),
                 (f"{what} that failed", NUMBER // len(ips) * len(ips) - done, "", None)]
    rows += [(name[len("bpfnet_"):], after[name] - before[name], "", None)
             for name in sorted(after) if "evicted" in name or "opened" in name or "full" in name]
    for kind, r in results:
        for why, count in r["errors"].items():
            print(f"{kind}: {count} times: {why}", file=sys.stderr)
    rows.append(("quiet connections lost", lost, "", 0))
    return rig.report("quiet-sockets", rows)


if __name__ == "__main__":
    sys.exit(main())
