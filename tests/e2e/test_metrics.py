# SPDX-License-Identifier: Apache-2.0
"""Metrics as a real Prometheus scrapes them from a real agent, and what is shipped to make use of
them: every query of the dashboard and of the alerts asks for metrics that there are."""
import glob
import json
import os
import re
import socket
import subprocess
import time

import pytest
import yaml

import harness
import netns
import peers
from harness import FAMILIES, NODE, WORLD, cluster_ips, eventually, service_manifest
from policies import cluster_policy, denied_tcp, policy

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
RULES = f"{ROOT}/contrib/prometheus/bpfnet.rules.yml"
PORT = 9962
VIP = dict(zip(FAMILIES, cluster_ips(1)))
NAME = re.compile(r"\b(?:bpfnet|process)_[a-z_]+")

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: bpfnet
    static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """In the world, which scrapes the node every second."""

    def __init__(self, node):
        self.ns, folder = node.world, os.path.join(node.dir, "prometheus")
        os.makedirs(folder)
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w") as f:
            f.write(PROMETHEUS.format(rules=RULES, target=f"[{NODE[6]}]:{PORT}"))
        with open(os.path.join(folder, "log"), "w") as log:
            node.popen(self.ns, "prometheus", f"--config.file={config}",
                       f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:9090",
                       stdout=log, stderr=log)
        eventually(lambda: self.ask("up"), "Prometheus has scraped once", 60)

    def get(self, path, **parameters):
        args = [a for k, v in parameters.items() for a in ("--data-urlencode", f"{k}={v}")]
        r = netns.run(self.ns, "curl", "-sS", "-f", "-m", "10", "-G", *args,
                      f"http://127.0.0.1:9090/api/v1/{path}", check=False)
        return json.loads(r.stdout) if r.returncode == 0 else None

    def ask(self, query):
        answer = self.get("query", query=query)
        if answer is None:
            return None
        assert answer["status"] == "success", f"{query}: {answer}"
        return answer["data"]["result"]

    def value(self, query):
        result = self.ask(query)
        return float(result[0]["value"][1]) if result else None


def scrape(node, host=NODE[4]):
    host = f"[{host}]" if ":" in host else host
    return netns.run(node.world, "curl", "-sS", "-g", "-f", "-m", "10",
                     f"http://{host}:{PORT}/metrics").stdout


def samples(text):
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
            for line in text.splitlines() if not line.startswith("#")}


def fresh(node):
    """The samples as of now: the text is made once a second."""
    time.sleep(1.1)
    return samples(scrape(node))


def traffic(node):
    for family in FAMILIES:
        for _ in range(5):
            peers.tcp(node.client.ns, VIP[family], 80)
        peers.tcp(node.client.ns, WORLD[family], 8080)
    assert denied_tcp(node.client.ns, node.shut.ip[4], 8080)
    peers.tcp_error(node.client.ns, cluster_ips(2)[0], 80)


@pytest.fixture(scope="module")
def node(module_node, tmp_path_factory):
    config = tmp_path_factory.mktemp("metrics") / "bpfnetd.yaml"
    config.write_text(f"metrics-listen: \"[::]:{PORT}\"\n")
    n = module_node(options=["--config", str(config)])
    n.client = n.pod("client", labels={"app": "client"})
    n.web = n.pod("web", labels={"app": "web"})
    n.shut = n.pod("shut", labels={"app": "shut"})
    for pod in (n.web, n.shut):
        pod.tcp(8080)
    n.serve(n.peers.tcp(n.world, "world", 8080))
    n.apply(service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1)),
            service_manifest("none", [(80, 8080)], {"app": "none"}, ips=cluster_ips(2)),
            policy("shut", {"app": "shut"}, ingress=[]),
            policy("web", {"app": "web"}, ingress=[{}]))
    n.json("map", "audit")
    return n


@pytest.fixture(scope="module")
def prometheus(node):
    return Prometheus(node)


def test_promtool(node):
    """The text is as promtool wants it, over either family and over the socket."""
    traffic(node)
    for text in (scrape(node), scrape(node, NODE[6]), node.bpfnet("metrics").stdout):
        r = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                           capture_output=True)
        assert (r.returncode, r.stdout + r.stderr) == (0, "")
        described = set(re.findall(r"^# HELP (\S+) \S", text, re.M))
        typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
        assert described == set(typed)
        for name in samples(text):
            base = name.split("{")[0]
            assert base in typed or typed.get(re.sub("_(bucket|sum|count)$", "", base)) == "histogram"


def test_counts(node):
    """What is counted is what was done."""
    before, known_flows = fresh(node), len(node.flows())
    for _ in range(7):
        peers.tcp(node.client.ns, VIP[4], 80)
    assert denied_tcp(node.client.ns, node.shut.ip[4], 8080)
    peers.tcp_error(node.client.ns, cluster_ips(2)[0], 80)

    def grown(name):
        return after.get(name, 0) - before.get(name, 0)

    web = 'namespace="default",service="web"'
    backend = f'bpfnet_service_connections_total{{{web},backend="{node.web.ip[4]}:8080",pod="default/web"}}'
    eventually(lambda: samples(scrape(node)).get(f"bpfnet_service_handshake_seconds_count{{{web}}}", 0) -
               before.get(f"bpfnet_service_handshake_seconds_count{{{web}}}", 0) == 7,
               "the connections have closed")
    after = fresh(node)
    assert grown(backend) == 7
    assert grown(f'bpfnet_service_handshake_seconds_bucket{{{web},le="10"}}') == 7
    assert grown('bpfnet_flows_opened_total') == 7
    assert grown('bpfnet_policy_verdicts_total{namespace="default",policy="web",direction="ingress",'
                 'verdict="allowed"}') == 7
    assert grown('bpfnet_policy_verdicts_total{namespace="default",policy="shut",direction="ingress",'
                 'verdict="denied"}') == 1
    assert grown('bpfnet_drop_packets_total{reason="policy-ingress",direction="egress"}') >= 1
    assert grown('bpfnet_drop_packets_total{reason="policy-ingress",direction="ingress"}') == 0
    assert grown('bpfnet_drop_packets_total{reason="service-no-backend",direction="egress"}') == 1
    closed = [f for f in node.flows()[known_flows:] if "close_cause" in f]
    assert len(closed) == 7
    for unit in ("packets", "bytes"):
        assert grown(f"bpfnet_{unit}_total") == sum(c[unit] + c[f"reply_{unit}"] for c in closed)
    assert grown("bpfnet_apply_duration_seconds_count") == 0
    # the same again, but for the node's own name, changes nothing; what is refused counts as such
    node.apply(policy("shut", {"app": "shut"}, ingress=[]))
    assert node.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "X"}},
                      check=False).returncode == 1
    after = fresh(node)
    assert grown("bpfnet_apply_duration_seconds_count") == 1
    assert grown("bpfnet_apply_refused_total") == 1


def test_open_flows(node):
    """Packets of a connection count while it is open, and once when it has closed."""
    s, _ = peers.tcp_open(node.client.ns, WORLD[4], 8080)
    before = fresh(node)
    assert before['bpfnet_nat_flows{nat="snat"}'] >= 1
    assert before['bpfnet_flows{state="established"}'] == 1
    data = os.urandom(100000)
    peers.echo(s, data)
    during = fresh(node)
    moved = during["bpfnet_bytes_total"] - before["bpfnet_bytes_total"]
    assert 2 * len(data) < moved < 3 * len(data)
    ended = during["bpfnet_flows_closed_total"]
    s.close()
    eventually(lambda: samples(scrape(node))["bpfnet_flows_closed_total"] > ended, "it has closed")
    after = fresh(node)
    assert after['bpfnet_flows{state="established"}'] == 0
    # the FINs and their ACKs, and nothing of before once more
    assert 0 < after["bpfnet_bytes_total"] - during["bpfnet_bytes_total"] < 1000


def test_policy_that_changes(node):
    """A policy's count does not fall as its rules change, and is gone with the policy."""
    name = 'bpfnet_policy_verdicts_total{namespace="default",policy="more",direction="ingress",' \
           'verdict="allowed"}'
    node.apply(policy("more", {"app": "web"}, ingress=[{}]))
    # two policies allow it; the first by name has the flow
    node.delete(policy("web", {"app": "web"}, ingress=[{}]))
    for _ in range(3):
        peers.tcp(node.client.ns, VIP[4], 80)
    assert fresh(node)[name] == 3
    node.apply(policy("more", {"app": "web"}, ingress=[{"from": [{"podSelector": {}}]}]))
    assert fresh(node)[name] == 3
    peers.tcp(node.client.ns, VIP[4], 80)
    assert fresh(node)[name] == 4
    node.apply(policy("web", {"app": "web"}, ingress=[{}]))
    node.delete(policy("more", {"app": "web"}, ingress=[]))
    assert name not in fresh(node)


def test_cluster_policy(node):
    """Rules of a ClusterNetworkPolicy allow and deny, and have no namespace; what passes on is not told."""
    def name(verdict):
        return f'bpfnet_policy_verdicts_total{{namespace="",policy="ports",direction="ingress",' \
               f'verdict="{verdict}"}}'
    web = {"pods": {"podSelector": {"matchLabels": {"app": "web"}}}}
    rule = {"from": [{"namespaces": {}}]}
    spec = cluster_policy("ports", web, ingress=[
        {"name": "in", "action": "Accept", **rule, "protocols": [{"tcp": {"destinationPort": {"number": 8080}}}]},
        {"name": "out", "action": "Deny", **rule, "protocols": [{"tcp": {"destinationPort": {"number": 8081}}}]},
        {"name": "on", "action": "Pass", **rule}])
    node.apply(spec)
    for _ in range(2):
        peers.tcp(node.client.ns, node.web.ip[4], 8080)
    assert denied_tcp(node.client.ns, node.web.ip[4], 8081)
    peers.tcp_error(node.client.ns, node.web.ip[4], 8082)
    after = fresh(node)
    assert (after[name("allowed")], after[name("denied")]) == (2, 1)
    node.delete(spec)
    assert name("denied") not in fresh(node)


def test_restart(node):
    """The datapath's counters outlive the agent."""
    peers.tcp(node.client.ns, VIP[4], 80)
    before = fresh(node)
    node.stop()
    node.start()
    after = fresh(node)
    assert after["process_start_time_seconds"] > before["process_start_time_seconds"]
    for name in ("bpfnet_flows_opened_total", "bpfnet_packets_total", "bpfnet_bytes_total"):
        assert after[name] >= before[name] > 0


def test_port_is_taken(make_node):
    """The datapath does not wait for who watches it."""
    node = make_node(start=False, options=["--metrics-listen", f"{NODE[4]}:{PORT}"])
    with netns.within(node.ns):
        held = socket.create_server((NODE[4], PORT))
    node.start()
    assert node.status() == 3
    assert any(f"{NODE[4]}:{PORT}" in r and "Address already in use" in r
               for r in json.loads(node.bpfnet("-o", "json", "status", check=False).stdout)["reasons"])
    held.close()
    eventually(lambda: node.status() == 0, "metrics are served")
    assert "bpfnet_build_info" in scrape(node)


def dashboard_queries():
    for path in glob.glob(f"{ROOT}/contrib/grafana/*.json"):
        with open(path) as f:
            dashboard = json.load(f)
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield f"{panel['title']} {target['refId']}", target["expr"]


def alerts():
    with open(RULES) as f:
        return [rule for group in yaml.safe_load(f)["groups"] for rule in group["rules"]]


def bound(query):
    return query.replace("$__rate_interval", "10s").replace("$instance", ".*")


def known(node):
    time.sleep(1.1)
    return set(re.findall(r"^# TYPE (\S+)", scrape(node), re.M))


def test_dashboard(node, prometheus):
    """Each panel shows something where there is traffic."""
    traffic(node)  # a service that nobody has used has no series
    names, missing = known(node), []
    queries = dict(dashboard_queries())
    assert len(queries) > 30
    for query in queries.values():
        for name in NAME.findall(query):
            assert name in names or re.sub("_(bucket|sum|count)$", "", name) in names, name
    node.apply(policy("web", {"app": "web"}, ingress=[{}]))
    deadline = time.monotonic() + 60 * harness.SLOW
    while True:
        traffic(node)
        node.apply(policy("web", {"app": "web"}, ingress=[{}]))
        missing = []
        for title, query in queries.items():
            result = prometheus.ask(bound(query))
            if not any(r["value"][1] != "NaN" for r in result):
                missing.append(title)
        if not missing or time.monotonic() > deadline:
            break
    assert not missing, f"nothing to show: {missing}"
    # and the picture is of what was done
    assert prometheus.value('sum(rate(bpfnet_service_connections_total{service="web"}[10s]))') > 0
    assert 0 < prometheus.value('histogram_quantile(0.5, sum by (le) '
                                '(rate(bpfnet_service_handshake_seconds_bucket[10s])))') < 1
    assert prometheus.value('bpfnet_map_entries{map="bn_endpoints"}') == 3


def test_rules(node, prometheus):
    """Prometheus takes the rules, and each asks for what there is."""
    r = subprocess.run(["promtool", "check", "rules", RULES], text=True, capture_output=True)
    assert r.returncode == 0, r.stdout + r.stderr
    loaded = {rule["name"]: rule for g in prometheus.get("rules")["data"]["groups"]
              for rule in g["rules"]}
    traffic(node)
    names = known(node)
    for alert in alerts():
        rule = loaded[alert["alert"]]
        assert rule.get("lastError", "") == ""
        prometheus.ask(alert["expr"])
        for name in NAME.findall(alert["expr"]):
            assert name in names or re.sub("_(bucket|sum|count)$", "", name) in names, name
        # the text names no label that the result has not
        left = re.split(r" (?:==|>) [\d.]+$", alert["expr"].strip())[0]
        result = prometheus.ask(left)
        assert result, f"{alert['alert']}: no value for {left}"
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(alert["annotations"])))
        assert used <= set(result[0]["metric"]), alert["alert"]


# what makes each alert fire within an hour, in promtool's notation: series and values a minute
FIRES = {
    "BpfnetAgentDown": ['up{job="bpfnet",instance="a"}', "0x60"],
    "BpfnetAgentRestarting": ['process_start_time_seconds{job="bpfnet",instance="a"}', "1+1x60"],
    "BpfnetMapNearlyFull": ['bpfnet_map_entries{map="bn_flows",instance="a"}', "95x60",
                            'bpfnet_map_max_entries{map="bn_flows",instance="a"}', "100x60"],
    "BpfnetFlowTableCrowded": ['bpfnet_flows_full_total{instance="a"}', "0+1x60"],
    "BpfnetFlowsRefused": ['bpfnet_drop_packets_total{reason="flow-table-full",instance="a"}', "0+1x60"],
    "BpfnetNatPortsExhausted": ['bpfnet_drop_packets_total{reason="nat-ports-exhausted",instance="a"}',
                                "0+1x60"],
    "BpfnetServiceWithoutBackend": ['bpfnet_drop_packets_total{reason="service-no-backend",instance="a"}',
                                    "0+1x60"],
    "BpfnetHandshakesSlow": ['bpfnet_service_handshake_seconds_bucket{instance="a",le="1"}', "0x60",
                             'bpfnet_service_handshake_seconds_bucket{instance="a",le="2.5"}', "0+1x60",
                             'bpfnet_service_handshake_seconds_bucket{instance="a",le="+Inf"}', "0+1x60"],
    "BpfnetDatapathFault": ['bpfnet_drop_packets_total{reason="internal",instance="a"}', "0+1x60"],
    "BpfnetEventsLost": ['bpfnet_events_lost_total{stage="ring-buffer",instance="a"}', "0+1x60"],
    "BpfnetLabelsOverflow": ['bpfnet_metrics_other_total{metric="m",instance="a"}', "0+1x60"],
    "BpfnetDrift": ['bpfnet_audit_repairs_total{map="bn_flows",instance="a"}', "0x50 1x10"],
    "BpfnetDriftNotRepaired": ['bpfnet_audit_unrepaired_entries{map="bn_flows",instance="a"}', "1x60"],
    "BpfnetChangesSlow": ['bpfnet_apply_duration_seconds_bucket{instance="a",le="5"}', "0x60",
                          'bpfnet_apply_duration_seconds_bucket{instance="a",le="10"}', "0+1x60",
                          'bpfnet_apply_duration_seconds_bucket{instance="a",le="+Inf"}', "0+1x60"],
    "BpfnetChangesRefused": ['bpfnet_apply_refused_total{instance="a"}', "0+1x60"],
    "BpfnetAgentFilesLow": ['process_open_fds{instance="a"}', "90x60",
                            'process_max_fds{instance="a"}', "100x60",
                            'bpfnet_build_info{version="1",instance="a"}', "1x60"],
}


def test_alerts_fire(tmp_path):
    """Each by what it is about, and none by a healthy node's numbers."""
    assert set(FIRES) == {a["alert"] for a in alerts()}
    quiet = {s: "0x60" if "_total" in s or "unrepaired" in s else "1x60"
             for fires in FIRES.values() for s in fires[::2]}
    quiet['process_max_fds{instance="a"}'] = "100x60"
    quiet['bpfnet_map_max_entries{map="bn_flows",instance="a"}'] = "100x60"
    tests = []
    for alert in alerts():
        series = FIRES[alert["alert"]]
        tests.append({"interval": "1m", "name": alert["alert"],
                      "input_series": [{"series": s, "values": v}
                                       for s, v in zip(series[::2], series[1::2])],
                      "promql_expr_test": [{"expr": f'count(ALERTS{{alertname="{alert["alert"]}",'
                                                    f'alertstate="firing"}})',
                                            "eval_time": "58m",
                                            "exp_samples": [{"labels": "{}", "value": 1}]}]})
    tests.append({"interval": "1m", "name": "healthy",
                  "input_series": [{"series": s, "values": v} for s, v in quiet.items()],
                  "promql_expr_test": [{"expr": "count(ALERTS)", "eval_time": "58m", "exp_samples": []}]})
    path = tmp_path / "alerts.yml"
    path.write_text(json.dumps({"rule_files": [RULES], "evaluation_interval": "1m", "tests": tests}))
    r = subprocess.run(["promtool", "test", "rules", str(path)], text=True, capture_output=True)
    assert r.returncode == 0, r.stdout + r.stderr
