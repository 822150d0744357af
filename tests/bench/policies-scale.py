#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""1,000 policies over 5,000 pods, with 10,000 identities, of which a node's 110 pods are here.

Every pod has a label of its own that policies look at, so each is an identity. A policy selects
five of the first 5,000 and admits five of the others, by label, to one port; a hundred also name
CIDRs. Measured: start of `bpfnet apply` of the policies to its return, which is when they are
enforced (checked by packets and by `policy trace`); then one pod's label changed.
"""
import json
import os
import sys
import time

import rig
from rig import harness

import policies as np

POLICIES = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
SELECTED, OTHERS = 5 * POLICIES, 5 * POLICIES
LOCAL = 110
CHANGES = 21


def namespace_of(i):
    return f"ns{i % 50}"


def labels_of(i):
    """Pods of one policy are in its namespace: those whose numbers differ by POLICIES."""
    unit = {"unit": f"u{i}"}
    return {**unit, "app": f"app{i % POLICIES}"} if i < SELECTED else unit


def ips_of(i):
    return {4: f"10.{244 + (i >> 16)}.{i >> 8 & 255}.{i & 255}", 6: f"fd00:244::{i:x}"}


def pod(i, labels=None):
    ips = list(ips_of(i + 256).values())
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": f"p{i}", "namespace": namespace_of(i),
                         "labels": labels or labels_of(i)},
            "spec": {"containers": [{"name": "c", "image": "none"}],
                     **({"nodeName": "elsewhere"} if i >= LOCAL else {})},
            "status": {"phase": "Running", "podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}}


def admitted(k):
    return [SELECTED + (5 * k + n) % OTHERS for n in range(5)]


def policy(k):
    sources = [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"unit": f"u{i}"}}}
               for i in admitted(k)]
    if k % 10 == 0:
        sources.append({"ipBlock": {"cidr": f"192.168.{k // 10 % 256}.0/24"}})
    return np.policy(f"policy{k}", {"app": f"app{k}"}, [{"from": sources, "ports": [np.port(80)]}],
                     namespace=namespace_of(k))


def written(node, name, objects):
    path = os.path.join(node.dir, name)
    with open(path, "w") as f:
        json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, f)
    return path


def verdict(node, source, target, port=80):
    return node.json("policy", "trace", "--from", f"{namespace_of(source)}/p{source}",
                     "--to", f"{namespace_of(target)}/p{target}", "--port", str(port))["verdict"]


def enforced(node, target):
    """As `policy trace` finds it: those admitted, at their port, and nobody else."""
    k = target % POLICIES
    for i in range(SELECTED, SELECTED + OTHERS, max(OTHERS // 12, 1)):
        assert verdict(node, i, target) == ("FORWARDED" if i in admitted(k) else "DROPPED"), i
    for i in admitted(k):
        assert verdict(node, i, target) == "FORWARDED", i
        assert verdict(node, i, target, 81) == "DROPPED", i


def attach_all(node):
    pods = []
    for i in range(LOCAL):
        ips = ips_of(i + 256)
        p = harness.Pod(node, f"p{i}", namespace_of(i), list(ips.values()))
        harness.netns.ip(None, f"netns add {p.ns}")
        harness.netns.ip(p.ns, "link set lo up")
        node.pods[p.key] = p
        node.attach(p)
        pods.append(p)
    return pods


def main():
    with rig.node() as n:
        pods = written(n, "pods.json", [pod(i) for i in range(SELECTED + OTHERS)])
        n.bpfnet("apply", "-f", pods, timeout=300)
        local = attach_all(n)
        before = rig.memory(n.agent.pid)[0]
        path = written(n, "policies.json", [policy(k) for k in range(POLICIES)])
        load, _ = rig.timed(n.bpfnet, "apply", "-f", path, timeout=300)
        for ip in local[0].ip.values():
            assert np.denied_tcp(local[1].ns, ip, 80)
        for target in (0, 7, LOCAL - 1):
            enforced(n, target)
        again, _ = rig.timed(n.bpfnet, "apply", "-f", path, timeout=300)
        after = rig.memory(n.agent.pid)[0]
        changes = []
        for c in range(CHANGES):
            # one that nobody admits takes the label of one that policy c admits, and back
            target, other = c % LOCAL, SELECTED + (5 * c + OTHERS // 2) % OTHERS
            assert verdict(n, other, target) == "DROPPED"
            body = written(n, "change.json", [pod(other, {"unit": f"u{admitted(target)[0]}"})])
            changes.append(rig.timed(n.bpfnet, "apply", "-f", body)[0] * 1000)
            assert verdict(n, other, target) == "FORWARDED", "not enforced when apply returns"
            body = written(n, "change.json", [pod(other)])
            changes.append(rig.timed(n.bpfnet, "apply", "-f", body)[0] * 1000)
            assert verdict(n, other, target) == "DROPPED", "not enforced when apply returns"
        restart = time.monotonic()
        n.kill()
        n.start()
        restart = time.monotonic() - restart
        enforced(n, 7)
        use = {m["name"]: m for m in n.json("status")["maps"] if "policy" in m["name"]}
    changes.sort()
    rows = [
        (f"{POLICIES} policies, {SELECTED} selected pods: apply", load, "s", 3),
        ("the same again, unchanged", again, "s", None),
        ("bpfnetd resident before the policies", before / 1024, "MB", None),
        ("bpfnetd resident after", after / 1024, "MB", None),
        ("one pod's label changed: command to effect, median", changes[len(changes) // 2], "ms",
         20),
        ("one pod's label changed: slowest", changes[-1], "ms", None),
        ("kill -9 and start until ready", restart, "s", None),
    ]
    rows += [(f"{name}: entries", m["entries"], f"of {m['max_entries']}", None)
             for name, m in sorted(use.items())]
    return rig.report("policies-scale", rows)


if __name__ == "__main__":
    sys.exit(main())
