# SPDX-License-Identifier: Apache-2.0
"""The command from outside: a canned agent answers, and output, requests and exit codes are
compared. Golden texts are in test-cli-golden/; UPDATE=1 writes them anew.

Run by pytest; BPFNET names the program (build/bpfnet)."""
import array
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import yaml

HERE = pathlib.Path(__file__).parent
BPFNET = os.environ.get("BPFNET", str(HERE.parent.parent / "build" / "bpfnet"))
GOLDEN = HERE / "test-cli-golden"

ENDPOINT = {"namespace": "default", "pod": "client", "ips": ["10.0.0.2", "fd00::2"],
            "netns": "client", "ifname": "eth0", "host_ifname": "bn1a2b", "identity": 256,
            "state": "ready", "policy": {"ingress": True, "egress": False}}
WEB = {"namespace": "default", "name": "web", "type": "ClusterIP",
       "frontends": [
           {"ip": "10.96.0.10", "port": 80, "protocol": "TCP", "kind": "ClusterIP"},
           {"ip": "fd00:96::10", "port": 80, "protocol": "TCP", "kind": "ClusterIP"},
           {"ip": "10.96.0.10", "port": 53, "protocol": "UDP", "kind": "ClusterIP"}],
       "backends": [
           {"ip": "10.0.0.3", "port": 8080, "state": "active", "weight": 1, "node": "n1",
            "pod": "web-1", "connections": 12},
           {"ip": "10.0.0.4", "port": 8080, "state": "terminating", "weight": 1, "node": None,
            "pod": "web-2", "connections": 1234}]}
OUTSIDE = {
    "namespace": "default", "name": "shop", "type": "LoadBalancer", "headless": False,
    "internal_traffic_policy": "Cluster", "external_traffic_policy": "Local",
    "traffic_distribution": "PreferSameZone", "session_affinity_s": 10800,
    "health_check": {"port": 30999, "local_endpoints": 1},
    "frontends": [
        {"ip": "10.96.0.11", "port": 80, "protocol": "TCP", "kind": "ClusterIP",
         "name": None, "traffic_policy": "Cluster"},
        {"ip": "192.0.2.9", "port": 80, "protocol": "TCP", "kind": "LoadBalancer", "name": None,
         "traffic_policy": "Local", "source_ranges": ["198.51.100.0/24", "203.0.113.0/24"]},
        {"ip": "2001:db8::9", "port": 80, "protocol": "TCP", "kind": "LoadBalancer", "name": None,
         "traffic_policy": "Local", "source_ranges": []},
        {"ip": "192.0.2.1", "port": 80, "protocol": "TCP", "kind": "ExternalIP", "name": None,
         "traffic_policy": "Local"},
        {"ip": "0.0.0.0", "port": 30080, "protocol": "TCP", "kind": "NodePort", "name": None,
         "traffic_policy": "Local"}],
    "backends": [
        {"ip": "10.0.0.3", "port": 8080, "protocol": "TCP", "state": "active", "weight": 9,
         "local_weight": 1, "serves": ["Cluster", "Local"], "node": "n1", "pod": "v1-1",
         "zone": "west", "connections": 12, "bytes": 123456},
        {"ip": "10.0.1.4", "port": 8080, "protocol": "TCP", "state": "active", "weight": 1,
         "local_weight": 1, "serves": ["Cluster"], "node": "n2", "pod": "v2-1", "zone": "west",
         "connections": 1, "bytes": 78},
        {"ip": "10.0.2.4", "port": 8080, "protocol": "TCP", "state": "not-ready", "weight": 1,
         "local_weight": 1, "serves": [], "node": "n3", "pod": "v2-2", "zone": None,
         "connections": 0, "bytes": 0}]}
HEADLESS = {
    "namespace": "default", "name": "db", "type": "ClusterIP", "headless": True,
    "internal_traffic_policy": "Cluster", "external_traffic_policy": "Cluster",
    "traffic_distribution": None, "session_affinity_s": 0, "health_check": None, "frontends": [],
    "backends": [OUTSIDE["backends"][0]]}
HOST_PORT = {
    "namespace": "default", "name": "pod/web-1", "type": "HostPort", "headless": False,
    "internal_traffic_policy": "Cluster", "external_traffic_policy": "Cluster",
    "traffic_distribution": None, "session_affinity_s": 0, "health_check": None,
    "frontends": [{"ip": "127.0.0.1", "port": 8000, "protocol": "UDP", "kind": "HostPort",
                   "name": None, "traffic_policy": "Cluster"}],
    "backends": [{**OUTSIDE["backends"][0], "protocol": "UDP"}]}
EMPTY = {"namespace": "kube-system", "name": "dns", "type": "NodePort", "frontends": [],
         "backends": []}
STATUS = {"state": "live", "reasons": [], "node": "n1", "version": "0.1.0", "kernel": "6.1.0",
          "features": {"tcx": False, "redirect_peer": True, "map_batch": True},
          "attachments": [{"device": "eth0", "hook": "ingress", "kind": "clsact"}],
          "maps": [{"name": "bn_flows", "entries": 10, "max_entries": 229376, "bytes": 37748736}],
          "audit": {"runs": 3, "interval_s": 600, "ago_s": 17, "repaired": {"bn_addresses": 2}}}
AUDIT = [{"name": n, "checked": c, "missing": m, "wrong": 0, "extra": 0, "failed": 0}
         for n, c, m in (("bn_addresses", 12345, 2), ("programs", 7, 0))]
CT = [{"protocol": "TCP", "source": "10.0.0.2", "source_port": 40112, "destination": "10.96.0.10",
       "destination_port": 80, "state": "established", "nat": "10.0.0.3:8080", "packets": 10,
       "bytes": 1234, "expires_s": 86399},
      {"protocol": "ICMPv6", "source": "fd00::2", "source_port": 0, "destination": "fd00::3",
       "destination_port": 0, "state": "transient", "nat": None, "packets": 1, "bytes": 104,
       "expires_s": 29.5}]
NAT = [{"protocol": "TCP", "source": "10.0.0.2", "source_port": 40112, "destination": "10.96.0.10",
        "destination_port": 80, "to_source": "10.0.0.2", "to_source_port": 40112,
        "to_destination": "10.0.0.3", "to_destination_port": 8080, "expires_s": 3600}]


WHY = {"ok": False,
       "layers": [
           {"layer": "pod", "of": "default/client", "ok": True, "advice": None,
            "text": "default/client is an endpoint of this node: bn1a2b and eth0, 10.0.0.2"},
           {"layer": "policy", "of": "shop/web", "ok": False,
            "text": "TCP from default/client to 10.0.0.3:8080 (shop/web-1) is denied: the ingress "
                    "policy shop/web selects the receiver, and no rule allows it",
            "advice": "allow it by a rule of shop/web"}],
       "text": "TCP from default/client to 10.0.0.3:8080 (shop/web-1) is denied: the ingress policy "
               "shop/web selects the receiver, and no rule allows it: allow it by a rule of shop/web"}


def flow(event="opened", **more):
    f = {"time": "2026-11-23T09:20:11.123456789Z", "verdict": "FORWARDED", "event_type": event,
         "IP": {"source": "10.0.0.2", "destination": "10.0.0.3", "ipVersion": "IPv4"},
         "l4": {"TCP": {"source_port": 40112, "destination_port": 8080, "flags": {"SYN": True}}},
         "source": {"identity": 256, "namespace": "default", "pod_name": "client",
                    "labels": ["k8s:app=client"]},
         "destination": {"identity": 257, "namespace": "default", "pod_name": "web-1",
                         "labels": ["k8s:app=web"]},
         "destination_service": {"namespace": "default", "name": "web"},
         "original": {"ip": "10.96.0.10", "port": 80}, "traffic_direction": "EGRESS",
         "is_reply": False, "node_name": "n1"}
    f.update(more)
    return {k: v for k, v in f.items() if v is not None}


FLOWS = [
    flow(),
    flow("closed", packets=6, bytes=512, reply_packets=5, reply_bytes=20480, duration_ms=1234,
         handshake_us=80, close_cause="fin"),
    flow("drop", verdict="DROPPED", drop_reason=13, drop_reason_desc="service-no-backend",
         destination={"identity": 2, "labels": ["reserved:world"]},
         IP={"source": "fd00::2", "destination": "fd00:96::10", "ipVersion": "IPv6"},
         l4={"TCP": {"source_port": 1, "destination_port": 80, "flags": {"SYN": True}}},
         original=None),
    flow("drop", verdict="DROPPED", drop_reason=16, drop_reason_desc="policy-ingress",
         is_reply=True, destination_service=None, original=None,
         l4={"ICMPv4": {"type": 0, "code": 0}}),
    flow("drop", verdict="DROPPED", drop_reason=1, drop_reason_desc="malformed-header",
         IP=None, l4=None, source={}, destination={}, destination_service=None, original=None),
    {"lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "7"},
     "time": "2026-11-23T09:20:11Z", "node_name": "n1"},
]

OPEN = {"namespace": "default", "name": "web", "types": ["Ingress"], "endpoints": 2,
        "rules": [{"direction": "ingress", "index": 0, "hits": 12}], "denied": {"ingress": 3}}
LOCKDOWN = {"namespace": None, "name": "lockdown", "tier": "Admin", "priority": 10,
            "types": ["Ingress", "Egress"], "endpoints": 40, "denied": {}, "rules": [
                {"direction": "ingress", "index": 0, "name": "over to you", "action": "Pass",
                 "hits": None},
                {"direction": "ingress", "index": 1, "name": None, "action": "Deny", "hits": 1234},
                {"direction": "egress", "index": 0, "name": "dns", "action": "Accept", "hits": 7}]}
TRACE = {"verdict": "DROPPED", "drop_reason": "policy-ingress", "service": None, "backend": None,
         "source": "10.0.0.2", "destination": "10.0.0.3:8080", "source_identity": 256,
         "destination_identity": 257, "rules": [
             {"policy": "default/out", "direction": "egress", "index": 2, "allow": True},
             {"policy": "lockdown", "direction": "ingress", "index": 1, "rule": "no \"db\"\n",
              "allow": False}]}

OBJECTS = {
    "Pod": [{"apiVersion": "v1", "kind": "Pod",
             "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web"}},
             "spec": {"nodeName": "n1"},
             "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.3"}, {"ip": "fd00::3"}],
                        "conditions": [{"type": "Ready", "status": "False"}]}}],
    "Service": [{"apiVersion": "v1", "kind": "Service",
                 "metadata": {"name": "web", "namespace": "default"},
                 "spec": {"type": "NodePort", "clusterIP": "10.96.0.10", "selector": {"app": "web"},
                          "ports": [{"port": 80, "nodePort": 30080},
                                    {"port": 53, "protocol": "UDP"}]}}],
    "EndpointSlice": [{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                       "metadata": {"name": "web-x", "namespace": "default"},
                       "addressType": "IPv4", "ports": [{"port": 8080}],
                       "endpoints": [{"addresses": [f"10.0.0.{i}"]} for i in range(5)]}],
    "NetworkPolicy": [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                       "metadata": {"name": "deny", "namespace": "default"},
                       "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}],
    "ClusterNetworkPolicy": [{"apiVersion": "policy.networking.k8s.io/v1alpha2",
                              "kind": "ClusterNetworkPolicy", "metadata": {"name": "lockdown"},
                              "spec": {"tier": "Admin", "priority": 10,
                                       "subject": {"namespaces": {}}}}],
    "Namespace": [{"apiVersion": "v1", "kind": "Namespace",
                   "metadata": {"name": "default", "labels": {"team": "a"}}}],
    "Node": [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
              "spec": {"podCIDRs": ["10.0.0.0/24"]},
              "status": {"addresses": [{"type": "Hostname", "address": "n1"},
                                       {"type": "InternalIP", "address": "192.168.0.1"}]}}],
}


def get(params, _body, _fds):
    return OBJECTS[params["kind"]]


def apply(result):
    return lambda params, _body, _fds: [
        {"kind": "Service", "namespace": "default", "name": "web", "result": result},
        {"kind": "Namespace", "name": "shop", "result": "unchanged"}]


class Refuse(Exception):
    pass


class Agent:
    """Answers each method with a value, a function of the request, or (a list) a stream."""

    def __init__(self, path, methods):
        self.methods, self.requests, self.raw = methods, [], None
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path / "bpfnet.sock"))
        self.socket.listen()
        self.hold = threading.Event()  # a stream stays open until it is set
        self.hold.set()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                conn = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.talk, args=(conn,), daemon=True).start()

    def talk(self, conn):
        with conn:
            try:
                self.answer(conn)
            except (BrokenPipeError, ConnectionResetError):
                pass

    def answer(self, conn):
        data, ancillary = conn.recvmsg(1 << 20, 1024)[:2]
        fds = array.array("i")
        for _, _, content in ancillary:
            fds.frombytes(content)
        while b"\n" not in data:
            data += conn.recv(1 << 20)
        line, body = data.split(b"\n", 1)
        request = json.loads(line)
        while len(body) < request.get("body", 0):
            body += conn.recv(1 << 20)
        self.requests.append((request, body, [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]))
        for fd in fds:
            os.close(fd)
        if self.raw is not None:
            conn.sendall(self.raw)
            return
        value = self.methods.get(request["method"])
        try:
            if callable(value):
                value = value(request.get("params"), body, fds)
        except Refuse as e:
            conn.sendall(json.dumps({"ok": False, "error": str(e), "code": "invalid"}).encode() + b"\n")
            return
        if not isinstance(value, tuple):
            conn.sendall(json.dumps({"ok": True, "result": value}).encode() + b"\n")
            return
        conn.sendall(b'{"ok":true,"stream":true}\n')
        for item in value:
            conn.sendall(json.dumps(item, separators=(",", ":")).encode() + b"\n")
        if request["method"] == "flows":
            self.hold.wait(10)
        conn.sendall(b'{"end":true}\n')


METHODS = {
    "apply": apply("created"), "delete": apply("deleted"), "get": get,
    "endpoint.add": ENDPOINT, "endpoint.delete": ENDPOINT, "endpoint.list": [ENDPOINT],
    "svc.list": [WEB, EMPTY], "svc.get": WEB, "flows": tuple(FLOWS), "ct.list": tuple(CT),
    "nat.list": tuple(NAT), "map.list": STATUS["maps"],
    "map.audit": AUDIT, "status": STATUS, "policy.list": [LOCKDOWN, OPEN], "policy.get": LOCKDOWN,
    "policy.trace": TRACE, "why": WHY,
    "metrics": "# TYPE bpfnet_up gauge\nbpfnet_up 1\n", "config": {"node-name": "n1", "device": ["eth0"]},
    "version": {"version": "0.2.0", "control": 1, "node": "n1", "kernel": "6.1.0"},
}


@pytest.fixture
def agent(tmp_path):
    a = Agent(tmp_path, dict(METHODS))
    a.dir = tmp_path
    yield a
    a.hold.set()
    a.socket.close()


def run(*args, run_dir=None, check=None, **more):
    env = {"PATH": os.environ["PATH"], "TZ": "UTC", **more.pop("env", {})}
    dir_args = ["--run-dir", str(run_dir)] if run_dir else []
    r = subprocess.run([BPFNET, *dir_args, *map(str, args)], capture_output=True, text=True,
                       timeout=20, env=env, **more)
    if check is not None:
        assert r.returncode == check, r
    for line in r.stdout.splitlines() if check == 0 else []:
        if r.stdout.count("\033") == 0 and "--help" not in args:
            assert line == line.rstrip(), f"blanks at the end of {line!r}"
    return r


def golden(name, text):
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs; UPDATE=1 writes it anew"


OUTPUTS = [
    "endpoint list", "-o wide endpoint list", "-o yaml endpoint list", "-o json endpoint list",
    "svc list", "-o wide svc list", "--no-headers svc list", "-o json svc list",
    "svc get default/web", "svc get default/web -o yaml",
    "flows", "flows --numeric", "flows -o json", "flows -o yaml",
    "flows --color always",
    "ct list", "ct list -o json", "ct list -o yaml", "nat list", "map list", "map audit", "metrics",
    "status",
    "config", "version", "version -o json",
    "get pods", "get po -o wide", "get svc -o wide", "get endpointslices", "get netpol", "get cnp", "get ns",
    "policy list", "-o wide policy list", "policy get lockdown",
    "policy trace --from default/client --to default/web-1 --port 8080",
    "get no", "get service default/web -o yaml", "get services -o json",
    "endpoint delete default/client",
]


@pytest.mark.parametrize("args", OUTPUTS, ids=lambda a: re.sub(r"[^a-z]+", "-", a))
def test_output(agent, args):
    r = run(*args.split(), run_dir=agent.dir, check=0)
    golden(re.sub(r"[^a-z]+", "-", args).strip("-"), r.stdout)


def test_flows_of_cluster_policies(agent):
    """Their rules deny, and may have names; whose, is for them to say."""
    rule = {"name": "lockdown", "kind": "ClusterNetworkPolicy"}
    agent.methods["flows"] = (
        flow("drop", verdict="DROPPED", drop_reason=16, drop_reason_desc="policy-ingress",
             destination_service=None, original=None,
             egress_allowed_by=[{**rule, "index": 24}],
             ingress_denied_by=[{**rule, "index": 0, "rule": "no \"db\"\x1b"}]),)
    for options in ((), ("-o", "wide")):
        r = run(*options, "flows", run_dir=agent.dir, check=0)
        golden("-".join(("flows-of-cluster-policies", *options[1:])), r.stdout)


@pytest.mark.parametrize("service", [OUTSIDE, HEADLESS, HOST_PORT], ids=lambda s: s["name"])
def test_services(agent, service):
    agent.methods["svc.get"] = service
    agent.methods["svc.list"] = [service, EMPTY]
    name = re.sub(r"[^a-z]+", "-", service["name"])
    for options in ((), ("-o", "wide")):
        r = run(*options, "svc", "get", f"default/{service['name']}", run_dir=agent.dir, check=0)
        golden("-".join(("svc-get", name, *options[1:])), r.stdout)
    golden(f"svc-list-{name}", run("svc", "list", run_dir=agent.dir, check=0).stdout)


@pytest.mark.parametrize("args", ["svc list", "endpoint list", "status", "config", "svc get default/web"])
def test_formats_say_the_same(agent, args):
    as_json = json.loads(run(*args.split(), "-o", "json", run_dir=agent.dir, check=0).stdout)
    assert as_json == METHODS[args.split()[0] if " " not in args else
                              ".".join(args.split()[:2])]
    as_yaml = yaml.safe_load(run("-o", "yaml", *args.split(), run_dir=agent.dir, check=0).stdout)
    assert as_yaml == as_json


def test_streams_are_lists_in_yaml(agent):
    assert yaml.safe_load(run("ct", "list", "-o", "yaml", run_dir=agent.dir, check=0).stdout) == CT
    lines = run("flows", "-o", "json", run_dir=agent.dir, check=0).stdout.splitlines()
    assert [json.loads(line) for line in lines] == FLOWS


def test_apply(agent, tmp_path):
    one, folder = tmp_path / "one.yaml", tmp_path / "folder"
    one.write_text("a: 1\n")
    folder.mkdir()
    for name in ("b.yml", "a.json", "ignored.txt", ".hidden.yaml"):
        (folder / name).write_text(name)
    r = run("apply", "-f", one, "-f", folder, "-f-", run_dir=agent.dir, check=0, input="stdin")
    assert r.stdout == "service/default/web created\nnamespace/shop unchanged\n"
    request, body, _ = agent.requests[0]
    assert request["v"] == 1 and request["method"] == "apply"
    assert request["params"]["files"] == [
        {"name": str(one), "size": 5}, {"name": f"{folder}/a.json", "size": 6},
        {"name": f"{folder}/b.yml", "size": 5}, {"name": "-", "size": 5}]
    assert body == b"a: 1\na.jsonb.ymlstdin" and request["body"] == len(body)
    r = run("delete", "-f", one, run_dir=agent.dir, check=0)
    assert r.stdout == "service/default/web deleted\nnamespace/shop unchanged\n"
    assert json.loads(run("apply", "-f", one, "-o", "json", run_dir=agent.dir).stdout)[0]["kind"] == "Service"


def test_apply_large(agent, tmp_path):
    big = tmp_path / "big.yaml"
    big.write_bytes(b"# 0123456789abcdef\n" * 1_000_000)
    run("apply", "-f", big, run_dir=agent.dir, check=0)
    assert len(agent.requests[0][1]) == 19_000_000
    huge = tmp_path / "huge.yaml"
    with open(huge, "wb") as f:
        f.truncate((256 << 20) + 1)
    r = run("apply", "-f", huge, run_dir=agent.dir, check=1)
    assert str(huge) in r.stderr and "256 MiB" in r.stderr


def test_apply_refused(agent, tmp_path):
    def refuse(*_):
        raise Refuse("a.yaml: document 2: spec.ports[0].port: \033[31m70000 is no port")
    agent.methods["apply"] = refuse
    (tmp_path / "a.yaml").write_text("x")
    r = run("apply", "-f", tmp_path / "a.yaml", run_dir=agent.dir, check=1)
    assert r.stdout == ""
    assert r.stderr == "bpfnet: a.yaml: document 2: spec.ports[0].port: \\x1b[31m70000 is no port\n"
    r = run("apply", "-f", tmp_path / "none.yaml", run_dir=agent.dir, check=1)
    assert "none.yaml" in r.stderr and "No such file" in r.stderr
    (tmp_path / "empty").mkdir()
    assert "no *.yaml" in run("apply", "-f", tmp_path / "empty", run_dir=agent.dir, check=1).stderr


def test_refused_before_the_body_was_taken(agent, tmp_path):
    """An agent that answers and hangs up while the body is on its way is heard."""
    big = tmp_path / "big.yaml"
    big.write_bytes(b"x" * (20 << 20))

    def answer(conn):
        conn.recv(100)
        conn.sendall(b'{"ok":false,"error":"not you","code":"forbidden"}\n')
    agent.answer = answer
    r = run("apply", "-f", big, run_dir=agent.dir, check=1)
    assert r.stderr == "bpfnet: not you\n"


def test_requests(agent):
    def params(*args):
        agent.requests.clear()
        run(*args, run_dir=agent.dir, check=0)
        return agent.requests[0][0].get("params")
    assert params("get", "svc") == {"kind": "Service"}
    assert params("get", "svc", "web") == {"kind": "Service", "namespace": "default", "name": "web"}
    assert params("get", "svc", "-n", "x") == {"kind": "Service", "namespace": "x"}
    assert params("get", "svc", "web", "-n", "x") == {"kind": "Service", "namespace": "x", "name": "web"}
    assert params("get", "svc", "x/web") == {"kind": "Service", "namespace": "x", "name": "web"}
    assert params("get", "ns", "shop") == {"kind": "Namespace", "name": "shop"}
    assert params("svc", "list", "-n", "x") == {"namespace": "x"}
    assert params("svc", "get", "a/b") == {"namespace": "a", "name": "b"}
    assert params("svc", "get", "a/pod/b.c") == {"namespace": "a", "name": "pod/b.c"}
    assert params("flows") == {"last": 20, "follow": False, "filters": []}
    assert params("flows", "--all") == {"follow": False, "filters": []}
    assert params("flows", "-f") == {"follow": True, "filters": []}
    assert params("flows", "-f", "--last", "5") == {"last": 5, "follow": True, "filters": []}
    p = params("flows", "--since", "5m", "--until", "2100-01-01T00:00:00Z")
    assert abs(p["since"] - (time.time() - 300) * 1e9) < 10e9
    assert p["until"] == 4102444800 * 10**9 and "last" not in p
    p = params("flows", "--pod", "a/b", "--not", "--protocol", "TCP", "--verdict", "dropped",
               "--drop-reason", "Policy-Ingress", "--port", "80")
    assert p["filters"] == [
        {"field": "pod", "value": "a/b", "not": False},
        {"field": "protocol", "value": "tcp", "not": True},
        {"field": "verdict", "value": "DROPPED", "not": False},
        {"field": "drop-reason", "value": "policy-ingress", "not": False},
        {"field": "port", "value": "80", "not": False}]


def test_why(agent):
    r = run("why", "default/client", "shop/web-1", "--port", "8080", run_dir=agent.dir, check=1)
    golden("why", r.stdout)
    assert r.stderr == "" and agent.requests[-1][0]["params"] == {
        "from": "default/client", "to": "shop/web-1", "port": 8080}
    r = run("why", "a/b", "-o", "json", run_dir=agent.dir, check=1)
    assert json.loads(r.stdout) == WHY and agent.requests[-1][0]["params"] == {"from": "a/b"}
    agent.methods["why"] = {"ok": True, "layers": WHY["layers"][:1], "text": "\033[31mnothing"}
    r = run("why", "a/b", "10.0.0.1:53", "--protocol", "udp", run_dir=agent.dir, check=0)
    assert r.stdout.endswith("\n\n\\x1b[31mnothing\n")
    assert agent.requests[-1][0]["params"]["protocol"] == "udp"


def test_endpoint_add_passes_the_namespace(agent):
    r = run("endpoint", "add", "default/client", "--netns", "/proc/self/ns/net", "--ip", "10.0.0.2",
            "--ip", "fd00::2", "--ifname", "eth9", run_dir=agent.dir, check=0)
    assert r.stdout == "endpoint/default/client added\n"
    request, _, fds = agent.requests[0]
    assert request["params"] == {"namespace": "default", "pod": "client", "ifname": "eth9",
                                 "netns": "/proc/self/ns/net", "ips": ["10.0.0.2", "fd00::2"]}
    assert fds == [os.readlink("/proc/self/ns/net")]


@pytest.mark.parametrize("netns,why", [("no-such-netns", "does not exist"), ("/etc/hostname", "not a network"),
                                       ("/proc/self/ns/uts", "not a network")])
def test_endpoint_add_wrong_namespace(agent, netns, why):
    r = run("endpoint", "add", "default/client", "--netns", netns, "--ip", "10.0.0.2",
            run_dir=agent.dir, check=1)
    assert netns in r.stderr and why in r.stderr and not agent.requests


WRONG = ["", "x", "svc", "svc x", "svc list x", "svc get", "svc get web", "svc get a/b/c", "svc get /b", "svc get a/pod/", "svc get /pod/b", "svc get a/pod/b/c",
         "apply", "apply -f", "apply x", "get", "get x", "get svc a b", "get svc a/b -n c",
         "get svc -A -n c", "get ns a/b", "get ns -n x", "-o xml svc list", "-o", "--run-dir",
         "svc list --x", "svc list -z", "svc list --namespace", "svc list --no-headers=1",
         "svc list -n a -n b", "endpoint add", "endpoint add a/b", "endpoint add a/b --netns c",
         "endpoint add a/b --ip 1.2.3.4", "endpoint add a --netns c --ip 1.2.3.4",
         "endpoint add a/b --netns c --ip 1.2.3.400", "endpoint delete", "flows x", "flows --last 0",
         "flows --last -1", "flows --last x", "flows --since x", "flows --not",
         "flows --not --not --port 1", "flows --protocol smtp", "flows --verdict MAYBE",
         "flows --color blue", "why", "why a", "why a/b c/d e/f", "why a/b/c", "why a/b --port 1",
         "why a/b c/d --port 65536", "why a/b c/d --port x", "why a/b c/d --protocol x", "top x",
         "top --view x", "top --sort x", "top --sort out --view drops", "top --sort total",
         "top --interval 0", "top --interval x", "top --interval nan", "top --rows 0", "top --rows x", "flows --last 1 --all", "completion", "completion ksh", "help x", "man x"]


@pytest.mark.parametrize("args", WRONG)
def test_wrong_usage(agent, args):
    r = run(*args.split(), check=2, env={"HOME": "/"})
    assert r.stdout == "" and not agent.requests
    assert r.stderr.startswith(("bpfnet: ", "Usage: ")) and (not args or len(r.stderr.splitlines()) == 1)


def test_no_agent(tmp_path):
    r = run("status", run_dir=tmp_path, check=1)
    assert r.stdout == ""
    assert r.stderr == (f"bpfnet: can't reach bpfnetd at {tmp_path}/bpfnet.sock: No such file or directory; "
                        "is bpfnetd running? (--run-dir picks another)\n")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "bpfnet.sock"))
        assert "Connection refused" in run("status", run_dir=tmp_path, check=1).stderr
    r = run("version", run_dir=tmp_path, check=0)
    assert "does not answer" in r.stdout and r.stderr == ""
    assert json.loads(run("version", "-o", "json", run_dir=tmp_path, check=0).stdout)["agent"] is None


def test_long_run_dir(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    os.symlink(deep, tmp_path / "short")
    agent = Agent(tmp_path / "short", dict(METHODS))
    assert "live" in run("status", run_dir=deep, check=0).stdout
    agent.socket.close()


@pytest.mark.parametrize("state,code", [("live", 0), ("starting", 1), ("degraded", 3), ("strange", 1)])
def test_status_codes(agent, state, code):
    agent.methods["status"] = {**STATUS, "state": state, "reasons": ["map bn_flows is full"]}
    assert "map bn_flows is full" in run("status", run_dir=agent.dir, check=code).stdout
    assert json.loads(run("status", "-o", "json", run_dir=agent.dir, check=code).stdout)["state"] == state


@pytest.mark.parametrize("raw", [b"", b"rubbish\n", b"[]\n", b"{}\n", b'{"ok":true}\n', b'{"ok":tr',
                                 b'{"ok":false}\n', b"\xff\xfe\n", b'{"ok":false,"error":3}\n'])
def test_strange_agent(agent, raw):
    agent.raw = raw
    r = run("svc", "list", run_dir=agent.dir, check=1)
    assert r.stdout == "" and len(r.stderr.splitlines()) == 1


def test_stream_breaks_off(agent):
    agent.raw = b'{"ok":true,"stream":true}\n' + json.dumps(CT[0]).encode() + b'\n{"protocol":'
    r = run("ct", "list", run_dir=agent.dir, check=1)
    assert "10.0.0.2:40112" in r.stdout and "hung up" in r.stderr


def test_lost_lines_are_told(agent):
    agent.methods["flows"] = (FLOWS[0], {"lost": 12}, FLOWS[0])
    r = run("flows", "-o", "json", run_dir=agent.dir, check=0)
    assert len(r.stdout.splitlines()) == 2 and "12 lines are missing" in r.stderr


def test_long_tables_stay_aligned(agent):
    agent.methods["ct.list"] = tuple({**CT[0], "source_port": i, "packets": i} for i in range(1, 3001))
    lines = run("ct", "list", run_dir=agent.dir, check=0).stdout.splitlines()
    assert len(lines) == 3001 and len({line.index("10.96.0.10:80") for line in lines[1:]}) == 1


def test_control_characters_do_not_reach_the_terminal(agent):
    evil = "\033]0;x\007\u009b31m\u202e"
    agent.methods["svc.list"] = [{**WEB, "name": evil}]
    agent.methods["status"] = {**STATUS, "reasons": [evil], "features": {evil: evil}}
    agent.methods["flows"] = (flow(source={"namespace": evil, "pod_name": evil}),)
    for args in ("svc list", "svc list -o wide", "status", "flows", "svc list -o yaml"):
        out = run(*args.split(), run_dir=agent.dir, check=0).stdout
        assert "x1b]0;x" in out or "\\e]0;x" in out
        assert not any(c in out for c in "\033\007\u009b\u202e") or "yaml" in args
        assert "\033" not in out and "\007" not in out and "\u009b" not in out


def test_colors(agent):
    assert "\033[31mDROPPED" in run("flows", "--color", "always", run_dir=agent.dir, check=0).stdout
    assert "\033" not in run("flows", run_dir=agent.dir, check=0).stdout


def test_follow_ends_on_interrupt_and_closed_pipe(agent):
    agent.hold.clear()
    for end in (signal.SIGINT, signal.SIGTERM):
        p = subprocess.Popen([BPFNET, "--run-dir", agent.dir, "flows", "-f"], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # lines arrive while the stream goes on
        assert "default/client:40112" in p.stdout.readline()
        p.send_signal(end)
        out, err = p.communicate(timeout=5)
        assert p.returncode == 0 and "interrupted" not in err
        agent.hold.set()
        agent.hold.clear()
    # a reader that has seen enough ends it though nothing more comes
    p = subprocess.Popen([BPFNET, "--run-dir", agent.dir, "flows", "-f"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.readline()
    p.stdout.close()
    assert p.wait(timeout=5) == 0
    assert "Broken pipe" not in p.stderr.read()
    p.stderr.close()


def test_a_change_is_waited_for_without_a_reader(agent, tmp_path):
    """Who closes the pipe misses the text, not the result."""
    def refuse(*_):
        time.sleep(0.2)
        raise Refuse("no")
    agent.methods["apply"] = refuse
    (tmp_path / "a.yaml").write_text("x")
    r, w = os.pipe()
    os.close(r)
    p = subprocess.run([BPFNET, "--run-dir", agent.dir, "apply", "-f", tmp_path / "a.yaml"], stdout=w,
                       stderr=subprocess.PIPE, text=True)
    os.close(w)
    assert p.returncode == 1 and p.stderr == "bpfnet: no\n"


def test_closed_descriptors(agent):
    r = subprocess.run(["sh", "-c", f"exec {BPFNET} --run-dir {agent.dir} ct list <&- >&- 2>&-"])
    assert r.returncode == 0


def test_full_disk(agent):
    agent.methods["ct.list"] = tuple(CT * 10000)
    with open("/dev/full", "w") as full:
        p = subprocess.run([BPFNET, "--run-dir", agent.dir, "ct", "list"], stdout=full,
                           stderr=subprocess.PIPE, text=True)
    assert p.returncode == 1 and "can't write the output" in p.stderr
    with open("/dev/full", "w") as full:
        p = subprocess.run([BPFNET, "--run-dir", agent.dir, "svc", "list"], stdout=full,
                           stderr=subprocess.PIPE, text=True)
    assert p.returncode == 1 and "No space left" in p.stderr


# Help, completion and manual come from one table: what one knows, all know.

def commands(*path):
    """All paths of commands, as --help lists them."""
    text = run(*path, "--help", check=0).stdout
    block = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.M)
    if not block:
        return [path]
    names = re.findall(r"^  ([a-z]\S*)", block[1], re.M)
    return [path] * bool(path) + [c for n in names for c in commands(*path, n)]


def options(*path):
    """Options as --help lists them."""
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", run(*path, "--help", check=0).stdout, re.M))


def completions(*words, run_dir=None):
    return [line.split("\t")[0] for line in run("__complete", *words, run_dir=run_dir, check=0)
            .stdout.splitlines()]


def test_help_completion_and_manual_agree():
    paths = commands()
    assert ("svc", "list") in paths and ("flows",) in paths and len(paths) > 20
    for path in paths:
        assert path[-1] in completions(*path[:-1], path[-1])
        assert set(completions(*path, "--")) == options(*path)
        assert run("help", *path, check=0).stdout == run(*path, "--help", check=0).stdout
        page = run("man", f"bpfnet-{path[0]}", check=0).stdout.replace("\\-", "-")
        assert options(*path) <= set(re.findall(r"\\fB(--[a-z-]+)\\fR", page))
        assert "bpfnet " + " ".join(path) in page
    assert run("man", check=0).stdout.split() == ["bpfnet"] + [
        f"bpfnet-{p[0]}" for p in paths if len(p) == 1]
    root = run("man", "bpfnet", check=0).stdout.replace("\\-", "-")
    assert all(f"bpfnet-{p[0]}\\fR(1)" in root for p in paths)


def test_every_drop_reason_is_known():
    header = (HERE.parent.parent / "maps/bpfnet/drop_reasons.h").read_text()
    labels = re.findall(r'X\(\d+, [A-Z_]+, "([a-z-]+)"', header)
    assert completions("flows", "--drop-reason", "") == labels
    page = run("man", "bpfnet-flows", check=0).stdout.replace("\\-", "-")
    assert all(f"\\fB{label}\\fR" in page for label in labels)


def test_manual_pages_are_clean():
    for page in run("man", check=0).stdout.split():
        text = run("man", page, check=0).stdout
        r = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True)
        if r.returncode == 127:
            pytest.skip("no groff")
        assert r.returncode == 0 and not r.stderr, (page, r.stderr)


def test_dynamic_completion(agent):
    assert completions("svc", "get", "", run_dir=agent.dir) == ["default/web"]
    assert completions("endpoint", "delete", "def", run_dir=agent.dir) == ["default/client"]
    assert completions("get", "po", "", run_dir=agent.dir) == ["default/web-1"]
    assert completions("flows", "--to-pod", "", run_dir=agent.dir) == ["default/client"]
    assert completions("-n", "--run-dir", agent.dir, "flows", "-n", "") == ["default"]
    assert completions("apply", "-f", "") == [":file"]
    assert completions("-o", "") == ["table", "wide", "json", "yaml"]
    assert completions("svc", "get", "", run_dir=agent.dir / "none") == []


def test_bash_completion(agent):
    script = run("completion", "bash", check=0).stdout + f"""
        bpfnet() {{ {BPFNET} "$@"; }}
        compopt() {{ :; }}
        try() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bpfnet; echo "${{COMPREPLY[*]}}"; }}
        try {BPFNET} sv
        try {BPFNET} --run-dir {agent.dir} svc get d
        cd {GOLDEN} && try {BPFNET} apply -f svc-get
    """
    r = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert r.stderr == ""
    lines = r.stdout.splitlines()
    assert lines[0] == "svc" and lines[1] == "default/web"
    assert "svc-get-default-web.txt" in lines[2].split()
