# SPDX-License-Identifier: Apache-2.0
"""Why: policy's verdicts in flows, in the rules' counters, and asked for by `policy trace`."""
import pytest

import peers
from harness import FAMILIES, cluster_ips, eventually, service_manifest


def policy(name, selector, namespace="default", ingress=None, egress=None):
    spec = {"podSelector": {"matchLabels": selector} if selector else {}, "policyTypes": []}
    for kind, rules in (("Ingress", ingress), ("Egress", egress)):
        if rules is not None:
            spec["policyTypes"].append(kind)
            spec[kind.lower()] = rules
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}


FROM_FRONT = {"from": [{"podSelector": {"matchLabels": {"app": "front"}}}],
              "ports": [{"port": 8080}]}
FROM_METRICS = {"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}],
                "ports": [{"port": 9090}]}
WEB = policy("web", {"app": "web"}, "shop", ingress=[
    FROM_METRICS, {**FROM_FRONT, "from": [{"namespaceSelector": {}, **FROM_FRONT["from"][0]}]}])


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    node.front = node.pod("front", labels={"app": "front"})
    node.other = node.pod("other", labels={"app": "other"})
    node.web = node.pod("web-0", namespace="shop", labels={"app": "web"})
    node.web.tcp(8080)
    node.web.udp(5353)
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    node.apply(service_manifest("web", [(80, 8080, "TCP", "http")], {"app": "web"},
                                ips=cluster_ips(1), namespace="shop"),
               {"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "default", "labels": {"team": "dev"}}},
               WEB,
               policy("front", {"app": "front"}, egress=[{}]))
    return node


def trace(node, source, destination, port=8080, *args):
    return node.json("policy", "trace", "--from", source, "--to", destination, "--port", port, *args)


def denied(node, source, ip, port):
    with pytest.raises((TimeoutError, OSError)):
        peers.tcp_open(source.ns, ip, port, timeout=1)[0].close()


# ---------------------------------------------------------------------------- flows
@pytest.mark.parametrize("family", FAMILIES)
def test_drop_names_the_policy(node, family):
    denied(node, node.other, node.web.ip[family], 8080)
    f = node.wait_drop("policy-ingress", "--from-pod", "default/other",
                       "--ip", node.web.ip[family])
    assert f["verdict"] == "DROPPED"
    assert f["ingress_denied_by"] == [
        {"name": "web", "namespace": "shop", "kind": "NetworkPolicy", "index": None}]
    assert "egress_denied_by" not in f and "egress_allowed_by" not in f
    lines = node.bpfnet("flows", "--verdict", "dropped", "--from-pod", "default/other").stdout
    assert "DROPPED (policy-ingress" in lines
    assert "ingress no rule: default deny by shop/web" in lines


@pytest.mark.parametrize("family", FAMILIES)
def test_opened_names_the_rules(node, family):
    s, _ = peers.tcp_open(node.front.ns, node.vip[family], 80)
    with s:
        port = s.getsockname()[1]
        f = node.wait_flow("opened", "--from-pod", "default/front", "--port", port)
    rule = {"kind": "NetworkPolicy"}
    assert f["egress_allowed_by"] == [
        {**rule, "name": "front", "namespace": "default", "index": 0}]
    assert f["ingress_allowed_by"] == [{**rule, "name": "web", "namespace": "shop", "index": 1}]
    wide = node.bpfnet("-o", "wide", "flows", "--port", port).stdout
    assert "egress default/front rule 0" in wide and "ingress shop/web rule 1" in wide
    assert "rule" not in node.bpfnet("flows", "--port", port).stdout


def test_drops_keep_the_name_of_their_time(node):
    node.apply(policy("gone", {"app": "other"}, egress=[]))
    denied(node, node.other, node.web.ip[4], 8080)
    node.wait_drop("policy-egress", "--from-pod", "default/other")
    node.delete(policy("gone", {"app": "other"}, egress=[]))
    f = node.wait_drop("policy-egress", "--from-pod", "default/other")
    assert f["egress_denied_by"][0]["name"] == "gone"


# ---------------------------------------------------------------------------- counters
def test_hits(node):
    before = node.json("policy", "get", "shop/web")
    peers.tcp_open(node.front.ns, node.web.ip[4], 8080)[0].close()
    denied(node, node.other, node.web.ip[4], 8080)
    after = node.json("policy", "get", "shop/web")
    hits = [[r["hits"] for r in p["rules"] if r["direction"] == "ingress"]
            for p in (before, after)]
    assert [b - a for a, b in zip(*hits)] == [0, 1]
    assert after["denied"]["ingress"] > before["denied"]["ingress"]


# ---------------------------------------------------------------------------- trace
def test_trace_allows_as_the_packet_is(node):
    answer = trace(node, "default/front", "shop/web-0")
    identities = {e["pod"]: e["identity"] for e in node.json("endpoint", "list")}
    assert answer["verdict"] == "FORWARDED" and answer["drop_reason"] is None
    assert answer["rules"] == [
        {"policy": "default/front", "direction": "egress", "index": 0, "allow": True},
        {"policy": "shop/web", "direction": "ingress", "index": 1, "allow": True}]
    assert answer["service"] is None and answer["backend"] is None
    assert answer["source_identity"] == identities["front"]
    assert answer["destination_identity"] == identities["web-0"]


@pytest.mark.parametrize("family", FAMILIES)
def test_trace_through_a_service(node, family):
    ip = node.web.ip[family]
    answer = trace(node, "default/front", node.vip[family], 80)
    assert answer["verdict"] == "FORWARDED"
    assert answer["service"] == "shop/web"
    assert answer["backend"] == (f"{ip}:8080" if family == 4 else f"[{ip}]:8080")
    assert [r["index"] for r in answer["rules"]] == [0, 1]
    answer = trace(node, "default/other", node.vip[family], 80)
    assert (answer["verdict"], answer["drop_reason"]) == ("DROPPED", "policy-ingress")
    assert answer["rules"] == [
        {"policy": "shop/web", "direction": "ingress", "index": None, "allow": False}]


@pytest.mark.parametrize("protocol,port", [("udp", 5353), ("sctp", 8080), ("tcp", 8081)])
def test_trace_of_what_no_rule_allows(node, protocol, port):
    answer = trace(node, "default/front", "shop/web-0", port, "--protocol", protocol)
    assert (answer["verdict"], answer["drop_reason"]) == ("DROPPED", "policy-ingress")


def test_trace_of_other_ends(node):
    outside = trace(node, "192.0.2.7", "shop/web-0")
    assert outside["verdict"] == "DROPPED" and outside["source_identity"] == 2
    away = trace(node, "default/other", "192.0.2.7", 443)
    assert away["verdict"] == "FORWARDED" and away["rules"] == []
    icmp = node.json("policy", "trace", "--from", "default/front", "--to", "shop/web-0",
                     "--protocol", "icmp")
    assert icmp["verdict"] == "DROPPED"
    empty = trace(node, "default/front", str(cluster_ips(9)[0]), 80)
    assert empty["drop_reason"] == "service-unknown"


def test_trace_changes_nothing(node):
    def state():
        metrics = [line for line in node.bpfnet("metrics").stdout.splitlines()
                   if line.startswith(("bpfnet_drop_", "bpfnet_flows_opened", "bpfnet_packets_total"))]
        return (metrics, node.json("policy", "list"), len(node.flows()),
                len(node.lines("ct", "list")))
    trace(node, "default/front", "shop/web-0")
    eventually(lambda: state() == state(), "the node is at rest")
    before = state()
    for source in ("default/front", "default/other", "192.0.2.7"):
        for _ in range(5):
            trace(node, source, "shop/web-0")
    assert state() == before


def test_trace_agrees_with_packets(node):
    """Every pair and some ports: the answer, and a connection at the same moment."""
    pods = {"default/front": node.front, "default/other": node.other, "shop/web-0": node.web}
    for port in (8080, 9090):
        for source, pod in pods.items():
            for destination, peer in pods.items():
                if source == destination:
                    continue
                answer = trace(node, source, destination, port)
                try:
                    peers.tcp_open(pod.ns, peer.ip[4], port, timeout=0.5)[0].close()
                    met = "FORWARDED"
                except ConnectionRefusedError:
                    met = "FORWARDED"
                except (TimeoutError, OSError):
                    met = "DROPPED"
                assert answer["verdict"] == met, (source, destination, port)


def test_trace_refuses(node):
    for args, code, text in (
            (("--from", "default/front"), 2, "--to"),
            (("--from", "default/front", "--to", "shop/web-0"), 2, "--port"),
            (("--from", "default/front", "--to", "shop/web-0", "--port", "0"), 2, "65535"),
            (("--from", "nobody", "--to", "shop/web-0", "--port", "1"), 1, "NS/POD"),
            (("--from", "default/nobody", "--to", "shop/web-0", "--port", "1"), 1, "no pod"),
            (("--from", "192.0.2.1", "--to", "2001:db8::1", "--port", "1"), 1, "family"),
            (("--from", "192.0.2.1", "--to", "192.0.2.2", "--port", "1"), 1, "neither"),
            (("--from", "default/front", "--to", "shop/web-0", "--port", "1", "--protocol", "gre"),
             2, "gre")):
        r = node.bpfnet("policy", "trace", *args, check=False)
        assert r.returncode == code and text in r.stderr, (args, r.stderr)


# ---------------------------------------------------------------------------- audit mode
def audited(node, family=4):
    f = node.wait_flow("opened", "--verdict", "audit", "--from-pod", "default/other",
                       "--ip", node.web.ip[family])
    assert f["drop_reason_desc"] == "policy-ingress"
    assert f["ingress_denied_by"][0]["name"] == "web"
    assert trace(node, "default/other", "shop/web-0")["verdict"] == "AUDIT"
    # not the last: what a connection that was cut before sends again is audited too
    assert "AUDIT (policy-ingress; TCP SYN opened; ingress no rule: default deny by shop/web)" \
        in node.bpfnet("flows", "--verdict", "audit", "--last", "50").stdout


def connects(node):
    try:
        peers.tcp_open(node.other.ns, node.web.ip[4], 8080, timeout=1)[0].close()
        return True
    except (TimeoutError, OSError):
        return False


def audit_of(node, name):
    return {e["pod"]: e["policy_audit"] for e in node.json("endpoint", "list")}[name]


def pod_manifest(node, audit):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"},
                         "annotations": {"bpfnet.io/policy-audit": audit} if audit else {}},
            "spec": {"containers": []}}


def test_audit_of_a_pod(node):
    """Would-be drops pass and are told, over a restart too; enforcement comes back at once."""
    node.apply(pod_manifest(node, "true"))
    assert audit_of(node, "web-0") and not audit_of(node, "other")
    assert connects(node)
    audited(node)
    node.kill()
    assert connects(node)
    node.start()
    assert audit_of(node, "web-0") and connects(node)
    s, _ = peers.tcp_open(node.other.ns, node.web.ip[4], 8080)
    with s:
        peers.echo(s, b"while it is audited")
        node.apply(pod_manifest(node, "false"))
        s.settimeout(1)
        with pytest.raises((TimeoutError, OSError)):
            peers.echo(s, b"no more")
    assert not audit_of(node, "web-0") and not connects(node)


def test_audit_of_a_flow_that_is_older(node):
    """Once for each change that denies it."""
    def told():
        return node.flows("--verdict", "audit", "--port", port)
    s, _ = peers.tcp_open(node.front.ns, node.web.ip[4], 8080)
    with s:
        port = s.getsockname()[1]
        peers.echo(s, b"allowed")
        assert not told()
        node.apply(pod_manifest(node, "true"))
        node.apply(policy("web", {"app": "web"}, "shop", ingress=[]))
        peers.echo(s, b"denied by now")
        f = eventually(told, "a record of it", timeout=5)[0]
        assert (f["event_type"], f["drop_reason_desc"]) == ("audit", "policy-ingress")
        assert f["ingress_denied_by"][0]["name"] == "web"
        peers.echo(s, b"again")
        s.close()
        node.wait_flow("closed", "--port", port, match=lambda f: f["event_type"] == "closed")
        assert len(told()) == 1
    node.apply(pod_manifest(node, "false"), WEB)


def test_audit_of_a_namespace(node):
    def shop(**annotations):
        return {"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "shop", "annotations": annotations}}
    node.apply(shop(**{"bpfnet.io/policy-audit": "true"}))
    assert connects(node) and audit_of(node, "web-0")
    node.apply(shop())
    assert not connects(node) and not audit_of(node, "web-0")


def test_audit_of_the_node(node):
    node.stop()
    node.start("--policy-audit", "on")
    assert connects(node) and audit_of(node, "web-0") and audit_of(node, "other")
    audited(node)
    node.stop()
    node.start()
    assert not connects(node)


def test_audit_is_true_or_false(node):
    r = node.apply(pod_manifest(node, "maybe"), check=False)
    assert r.returncode == 1
    assert "metadata.annotations" in r.stderr and '"maybe"' in r.stderr
