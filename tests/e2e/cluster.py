# SPDX-License-Identifier: Apache-2.0
"""Several nodes on one link, each with a bpfnetd and pods of its own, and a client outside.

              lan (a bridge)
    ┌────────────┬────────────┬────────────┐
    │ .1         │ .2         │ .3         │ .4          172.31.0.0/24, fd00:31::/64
  client       node 0       node 1       node 2
               10.244.1.0/24   .2.0/24      .3.0/24      fd00:244:0:<i>::/64

Nodes have static routes to each other's pods. The client has none: what comes back to it with a
pod's address goes nowhere, as in the world. Addresses of load balancers and external addresses
(BALANCED) lead from the client to node 0. All agents are told the same objects, as one API server
would tell them.
"""
import netns
from harness import OFFLOAD, SERVICE_CIDRS, WORLD, Node, addressed, pod_manifest

# what a load balancer's or a service's external addresses are taken from
BALANCED = {4: "203.0.113.", 6: "fd00:203::"}
CLUSTER_CIDRS = ["10.244.0.0/16", "fd00:244::/48"]


class ClusterNode(Node):
    pod_cidrs = CLUSTER_CIDRS

    def __init__(self, cluster, number, **kw):
        self.cluster, self.number, self.subnet = cluster, number, number + 1
        self.ip = {4: f"172.31.0.{2 + number}", 6: f"fd00:31::{2 + number:x}"}
        super().__init__(cluster.session, **kw)
        self.world = cluster.client

    def _wire(self, mtu):
        netns.ip(None, f"netns add {self.ns}")
        self.cluster.connect(self.ns, "up0", f"n{self.number}", self.ip, mtu)
        netns.ip(self.ns, f"route add default via {WORLD[4]}", f"route add default via {WORLD[6]}")
        netns.sysctl(self.ns, ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
        if OFFLOAD == "node-off":
            self.offload_off(self.ns, "up0")

    def pod_ips(self, index):
        return {4: f"10.244.{self.subnet}.{index}", 6: f"fd00:244:0:{self.subnet}::{index:x}"}

    def spaces(self):
        return [self.ns] + [p.ns for p in self.pods.values()]

    def manifest(self, **labels):
        return {"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": self.name, "labels": {
                    "kubernetes.io/hostname": self.name, **labels}},
                "spec": {"podCIDR": f"10.244.{self.subnet}.0/24",
                         "podCIDRs": [f"10.244.{self.subnet}.0/24",
                                      f"fd00:244:0:{self.subnet}::/64"]},
                "status": {"addresses": [{"type": "InternalIP", "address": a}
                                         for a in self.ip.values()]}}


class Cluster:
    """`cluster.nodes[i]`, `cluster.client` (a namespace), `cluster.apply()` to all agents."""

    def __init__(self, session, nodes=3, mtu=1500, **kw):
        self.session, self.peers = session, session.peers
        self.id = f"{session.id}-c{session.nodes}"
        self.lan, self.client = f"{self.id}-lan", f"{self.id}-client"
        self.client_ip = WORLD
        self.nodes, self.sockets = [], []
        try:
            netns.ip(None, f"netns add {self.lan}", f"netns add {self.client}")
            # no snooping: nobody on the link asks who listens to which group
            netns.ip(self.lan, f"link add br0 mtu {mtu} type bridge mcast_snooping 0",
                     "link set br0 up")
            self.connect(self.client, "w0", "c0", WORLD, mtu)
            for number in range(nodes):
                self.nodes.append(ClusterNode(self, number, mtu=mtu, **kw))
            self._route()
        except BaseException:
            self.close()
            raise

    def connect(self, ns, dev, port, ip, mtu):
        """Gives `ns` a device on the link."""
        netns.ip(None, f"link add {dev} mtu {mtu} netns {ns} type veth peer name {port} "
                       f"mtu {mtu} netns {self.lan}")
        netns.ip(self.lan, f"link set {port} master br0", f"link set {port} up")
        addressed(ns, dev, ip, mtu)

    def _route(self):
        for node in self.nodes:
            others = [n for n in self.nodes if n is not node]
            netns.ip(node.ns, *[f"route add {cidr} via {n.ip[family]}" for n in others
                                for family, cidr in ((4, f"10.244.{n.subnet}.0/24"),
                                                     (6, f"fd00:244:0:{n.subnet}::/64"))])
        first = self.nodes[0]
        netns.ip(self.client, f"route add {BALANCED[4]}0/24 via {first.ip[4]}",
                 f"route add {BALANCED[6]}/64 via {first.ip[6]}")
        # a client that means a service's own address gets no further than a node
        netns.ip(self.client, f"route add {SERVICE_CIDRS[0]} via {first.ip[4]}",
                 f"route add {SERVICE_CIDRS[1]} via {first.ip[6]}")

    def start(self):
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait_ready()
        self.apply(*[n.manifest() for n in self.nodes])
        return self

    def apply(self, *objects):
        for node in self.nodes:
            node.apply(*objects)

    def delete(self, *objects):
        for node in self.nodes:
            node.delete(*objects)

    def pod(self, number, name, labels=None, **kw):
        """A pod on node `number` that all nodes know of."""
        node = self.nodes[number]
        pod = node.pod(name, **kw)
        self.apply(pod_manifest(pod, labels or {"app": name}))
        return pod

    def serve(self, *sockets):
        self.sockets += sockets

    def route_via(self, number, *addresses):
        """The client reaches the addresses through node `number`."""
        for a in addresses:
            netns.ip(self.client, f"route replace {a} via {self.nodes[number].ip[6 if ':' in a else 4]}")

    def close(self):
        errors = []
        for node in reversed(self.nodes):
            try:
                node.close()
            except Exception as e:  # the others must be closed too
                errors.append(e)
        self.peers.close(*self.sockets)
        bad = netns.checksum_errors(self.client) if self.client in netns.names() else {}
        if bad:
            errors.append(AssertionError(f"checksum errors of the client: {bad}"))
        for ns in (self.client, self.lan):
            if ns in netns.names():
                netns.ip(None, f"netns del {ns}")
        if errors:
            raise errors[0]
