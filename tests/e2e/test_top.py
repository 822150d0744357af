# SPDX-License-Identifier: Apache-2.0
"""`bpfnet top` on a node that works: its rows are of the connections that are made meanwhile."""
import json
import subprocess

import pytest

import peers
from harness import BIN, FAMILIES, cluster_ips, service_manifest
from policies import denied_tcp, pods, policy, port


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    node.front = node.pod("front", labels={"app": "front"})
    node.other = node.pod("other", labels={"app": "other"})
    node.web = node.pod("web-0", namespace="shop", labels={"app": "web"})
    node.web.tcp(8080)
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    node.apply(service_manifest("web", [(80, 8080, "TCP", "http")], {"app": "web"},
                                ips=cluster_ips(1), namespace="shop"),
               policy("web", {"app": "web"}, namespace="shop", ingress=[
                   {"from": [{"namespaceSelector": {}, **pods(app="front")}],
                    "ports": [port(8080)]}]))
    return node


class Top:
    """`top` as JSON lines, an object for each interval."""

    def __init__(self, node, view):
        self.p = subprocess.Popen(
            [f"{BIN}/bpfnet", "--run-dir", node.run_dir, "-o", "json", "top", "--interval", "0.2",
             "--view", view], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.read()  # it has begun to look

    def read(self):
        told = json.loads(self.p.stdout.readline())
        assert told["records_lost"] == 0
        return told

    def until(self, match):
        """The readings up to the first one with a row that matches."""
        seen = [self.read()]
        while not any(map(match, seen[-1]["rows"])):
            seen.append(self.read())
        return seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.p.communicate()


def ends(row):
    return row["source"], row["destination"]


def test_open_connections(node):
    held = [peers.tcp_open(node.front.ns, node.vip[family], 80)[0]
            for family in FAMILIES for _ in range(3)]
    try:
        rows = node.json("top", "--once", "--interval", "0.2")["rows"]
        assert [(*ends(r), r["flows"]) for r in rows] == [("default/front", "shop/web-0", 6)]
        rows = node.json("top", "--once", "--interval", "0.2", "--view", "services")["rows"]
        assert [(r["service"], r["flows"]) for r in rows] == [("shop/web", 6)]
        table = node.bpfnet("top", "--once", "--interval", "0.2").stdout.splitlines()
        assert len(table) == 2 and table[1].split()[:3] == ["default/front", "shop/web-0", "6"]
    finally:
        for s in held:
            s.close()


def test_connections_that_come_and_go(node):
    """All of what they carried is told, and nothing twice: a rate's interval is never shorter."""
    n, payload = 20, 1000
    with Top(node, "talkers") as top:
        for family in FAMILIES * (n // 2):
            s, _ = peers.tcp_open(node.front.ns, node.vip[family], 80)
            with s:
                peers.echo(s, b"x" * payload)
        seen = top.until(lambda r: ends(r) == ("default/front", "shop/web-0") and r["new_per_s"])
        while any(r["new_per_s"] for r in seen[-1]["rows"]):
            seen.append(top.read())
    rows = [(t["interval_s"], r) for t in seen for r in t["rows"]]
    assert {ends(r) for _, r in rows} == {("default/front", "shop/web-0")}
    assert 0 < sum(dt * r["new_per_s"] for dt, r in rows) < n + 0.5
    # each side's headers, handshake and end come to less than its payload again
    for way in ("bytes_out_per_s", "bytes_in_per_s"):
        assert 0 < sum(dt * r[way] for dt, r in rows) < 2 * n * payload
        assert any(r[way] > r["packets_per_s"] > 0 for _, r in rows)


def test_drops(node):
    with Top(node, "drops") as top:
        assert denied_tcp(node.other.ns, node.web.ip[4], 8080)
        row, = top.until(lambda r: r["drops"])[-1]["rows"]
    assert row["reason"] == "policy-ingress" and row["drops"] >= 1
    assert "default/other" in row["last"] and "shop/web-0" in row["last"]


def test_agent_that_stops(node):
    with Top(node, "services") as top:
        node.stop()
        rest, said = top.p.communicate(timeout=30)
        assert top.p.returncode == 1 and said.startswith("bpfnet: "), said
        assert all(json.loads(line)["view"] == "services" for line in rest.splitlines())
    node.start()
    assert node.json("top", "--once", "--interval", "0.2")["records_lost"] == 0
