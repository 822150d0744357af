# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicies drawn at random against what the API's text says of them (policy_truth.py): real
connections between all ends of two nodes. BPFNET_POLICY_SEED tries another seed, and
BPFNET_POLICY_ROUNDS more of its rounds."""
import os
import random

import pytest

import netns
import policy_random
from harness import FAMILIES, Node, pod_manifest
from policies import namespace
from policy_truth import End, allows
from probes import Probe, Probes

SEEDS = [int(s) for s in os.environ.get("BPFNET_POLICY_SEED", "1 2 3").split()]
ROUNDS = int(os.environ.get("BPFNET_POLICY_ROUNDS", "6"))
TCP, UDP = (80, 81, 8080), (53, 5353)
PODS = [(0, "default"), (0, "default"), (0, "blue"), (0, "green"),
        (1, "default"), (1, "blue"), (1, "blue"), (1, "green")]
SHOWN = 10  # mismatches that are explained


class Sample:
    """The ends, and what they are like by now."""

    def __init__(self, cluster):
        self.cluster, self.probes = cluster, Probes()
        self.namespaces, self.policies, self.pods = {}, [], []
        cluster.apply(*[namespace(n) for n in policy_random.NAMESPACES])
        for i, (number, ns) in enumerate(PODS):
            self.pods.append(cluster.pod(number, f"p{i}", namespace=ns))
        # no policy selects or means what has its node's address
        cluster.apply(*[self.host_pod(node) for node in cluster.nodes])
        nodes = [End(n.name, n.ns, n.ip, i, None, None, None) for i, n in enumerate(cluster.nodes)]
        self.others = [*nodes, End("outside", cluster.client, cluster.client_ip, None, None, None, None)]
        for node in cluster.nodes:
            netns.ip(cluster.client, *[f"route add {cidr} via {node.ip[f]}" for f, cidr in zip(
                FAMILIES, node.manifest()["spec"]["podCIDRs"])])
        for name, ns in [(p.name, p.ns) for p in self.pods] + [(e.name, e.ns) for e in self.others]:
            self.probes.serve(ns, name, TCP, UDP)
        self.addresses = [a for e in self.pods + self.others for a in e.ip.values()]

    @staticmethod
    def host_pod(node):
        return {"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": f"host-{node.number}", "labels": {"app": "a", "tier": "x"}},
                "spec": {"nodeName": node.name, "hostNetwork": True,
                         "containers": [{"name": "main", "image": "none"}]},
                "status": {"phase": "Running", "podIP": node.ip[4],
                           "podIPs": [{"ip": a} for a in node.ip.values()]}}

    def draw(self, rng, relabel):
        """Policies take the last ones' place; pods and namespaces get other labels, if so."""
        objects, self.last = [], self.policies
        if relabel:
            self.namespaces = {n: policy_random.labels(rng, policy_random.NAMESPACE_LABELS)
                               for n in policy_random.NAMESPACES}
            objects += [namespace(n, **labels) for n, labels in self.namespaces.items()]
            self.ends = []
            for (number, ns), pod in zip(PODS, self.pods):
                labels = policy_random.labels(rng, policy_random.LABELS)
                ports = policy_random.pod_ports(rng, TCP, UDP)
                objects.append(pod_manifest(pod, labels, ports=ports))
                self.ends.append(End(pod.key, pod.ns, pod.ip, number, ns, labels, ports))
        self.policies = policy_random.policies(rng, self.addresses, TCP, UDP)
        self.cluster.apply(*objects, *self.policies)
        kept = {(p["metadata"]["namespace"], p["metadata"]["name"]) for p in self.policies}
        gone = [p for p in self.last
                if (p["metadata"]["namespace"], p["metadata"]["name"]) not in kept]
        if gone:
            self.cluster.delete(*gone)

    def table(self):
        """(probe, source, target, whether it should pass)"""
        ends = self.ends + self.others
        pairs = [(a, b) for a in ends for b in ends
                 if a is not b and (a.namespace is not None or b.namespace is not None)]
        return [(Probe(a.ns, b.name.split("/")[-1], b.ip[f], protocol, port), a, b,
                 allows(self.policies, self.namespaces, a, b, f, protocol, port))
                for a, b in pairs for f in FAMILIES
                for protocol, ports in (("TCP", TCP), ("UDP", UDP)) for port in ports]

    def explain(self, mismatches):
        """All documents, and of each packet what every node with an end of it says."""
        lines = [Node.documents([namespace(n, **ls) for n, ls in self.namespaces.items()] +
                                [pod_manifest(p, e.labels, ports=e.ports)
                                 for p, e in zip(self.pods, self.ends)] + self.policies)]
        for probe, a, b, expected, got in mismatches[:SHOWN]:
            family = 6 if ":" in probe.ip else 4
            lines.append(f"{a.name} -> {b.name} {probe.ip} {probe.protocol} {probe.port}: "
                         f"expected {'open' if expected else 'silent'}, is {got}")
            for node in {e.node for e in (a, b) if e.namespace is not None}:
                r = self.cluster.nodes[node].bpfnet(
                    "policy", "trace", "--from", a.ip[family], "--to", b.ip[family], "--port",
                    probe.port, "--protocol", probe.protocol.lower(), check=False)
                lines.append(f"node {node}: {r.stdout}{r.stderr}")
        return "\n".join(lines)


@pytest.fixture(scope="module")
def sample(module_cluster):
    s = Sample(module_cluster(nodes=2))
    yield s
    s.probes.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_policies_drawn_at_random(sample, seed):
    rng = random.Random(seed)
    allowed = tried = 0
    for number in range(ROUNDS):
        sample.draw(rng, relabel=number % 2 == 0)
        table = sample.table()
        results = sample.probes.run([row[0] for row in table], [row[0] for row in table if row[-1]])
        wrong = [(*row, results[row[0]]) for row in table
                 if results[row[0]] != ("open" if row[-1] else "silent")]
        assert not wrong, f"BPFNET_POLICY_SEED={seed}, round {number}: {len(wrong)} of " \
                          f"{len(table)} wrong\n{sample.explain(wrong)}"
        allowed += sum(row[-1] for row in table)
        tried += len(table)
    # neither truth is rare
    assert 0.1 < allowed / tried < 0.9, allowed / tried
