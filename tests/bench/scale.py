#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""10,000 services with 100,000 endpoints, given as Lists of EndpointSlices of up to 100.

Services have 5, 10 or 15 endpoints, so each its own slice, and every hundredth 100 and fewer
elsewhere; what counts is the total. Measured: start of `bpfnet apply` to its return, which is when
the datapath has it all (checked against the maps); bpfnetd's memory; then one endpoint's change.
"""
import json
import os
import subprocess
import sys
import time

import rig
from rig import harness

SERVICES = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
ENDPOINTS = 10 * SERVICES
CHANGES = 21
IN_A_LIST = 500


def cluster_ip(i):
    return f"10.{96 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}"


def endpoint_ip(i):
    return f"10.{128 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}"


def sizes():
    """Endpoints of each service: 100 for every fiftieth, the rest shared out evenly."""
    big = SERVICES // 50
    left = ENDPOINTS - 100 * big
    small = SERVICES - big
    for i in range(SERVICES):
        if i % 50 == 0:
            yield 100
        else:
            n = left // small
            left, small = left - n, small - 1
            yield n


def service(i):
    s = harness.service_manifest(f"s{i}", [(80, 8080)], ips=[cluster_ip(i + 256)], families=(4,),
                                 namespace=f"ns{i % 50}")
    return s


def endpoint_slice(i, addresses):
    return harness.slice_manifest(f"s{i}", "a", 4, [("p80-tcp", 8080, "TCP")], addresses,
                                  namespace=f"ns{i % 50}")


def write_manifest(path):
    slices, first = {}, 1
    objects = []
    for i, n in enumerate(sizes()):
        slices[i] = [endpoint_ip(first + k) for k in range(n)]
        first += n
        objects += [service(i), endpoint_slice(i, slices[i])]
    with open(path, "w") as f:
        for at in range(0, len(objects), IN_A_LIST):
            f.write("---\n")
            json.dump({"apiVersion": "v1", "kind": "List", "items": objects[at:at + IN_A_LIST]}, f)
            f.write("\n")
    return slices


def datapath_has(node):
    """Frontends and places in backend lists, as the kernel's own map has them."""
    dump = subprocess.run([harness.BPFTOOL, "-j", "map", "dump", "pinned",
                           f"{node.bpffs}/maps/bn_services"], capture_output=True, check=True)
    entries = [e["formatted"]["value"] for e in json.loads(dump.stdout)]
    counts = [e["value"]["count"] for i, e in enumerate(entries)
              if e["protocol"] and entries[i - i % 4]["group"] >> i % 4 & 1]
    return len(counts), sum(counts)


def main():
    with rig.node(service_cidrs=False, options=("--service-cidr", "10.96.0.0/11")) as n:
        path = os.path.join(n.dir, "cluster.json")
        slices = write_manifest(path)
        size = os.path.getsize(path)
        start_rss = rig.memory(n.agent.pid)[0]
        load, _ = rig.timed(n.bpfnet, "apply", "-f", path, timeout=300)
        rss, private = rig.memory(n.agent.pid)
        assert datapath_has(n) == (SERVICES, ENDPOINTS), datapath_has(n)
        again, _ = rig.timed(n.bpfnet, "apply", "-f", path, timeout=300)
        changes = []
        for k in range(CHANGES):
            i = (k * 7919 + 1) % SERVICES
            addresses = slices[i][:-1] + [f"10.200.1.{k + 1}"]
            body = os.path.join(n.dir, "change.json")
            with open(body, "w") as f:
                json.dump(endpoint_slice(i, addresses), f)
            changes.append(rig.timed(n.bpfnet, "apply", "-f", body)[0] * 1000)
            have = {b["ip"] for b in n.json("svc", "get", f"ns{i % 50}/s{i}")["backends"]}
            assert have == set(addresses), "the change is not there when apply returns"
            time.sleep(0.05)
        restart = time.monotonic()
        n.kill()
        n.start()
        restart = time.monotonic() - restart
        assert datapath_has(n) == (SERVICES, ENDPOINTS), datapath_has(n)
        after = rig.memory(n.agent.pid)[0]
    changes.sort()
    return rig.report("scale", [
        (f"{SERVICES} services, {ENDPOINTS} endpoints: apply", load, "s", 5),
        ("manifest", size / 1e6, "MB", None),
        ("the same again, unchanged", again, "s", None),
        ("bpfnetd resident before", start_rss / 1024, "MB", None),
        ("bpfnetd resident after", rss / 1024, "MB", 150),
        ("of these private", private / 1024, "MB", None),
        ("one endpoint changed: command to effect, median", changes[len(changes) // 2], "ms", 20),
        ("one endpoint changed: slowest", changes[-1], "ms", None),
        ("kill -9 and start until ready", restart, "s", None),
        ("bpfnetd resident after the restart", after / 1024, "MB", None),
    ])


if __name__ == "__main__":
    sys.exit(main())
