# SPDX-License-Identifier: Apache-2.0
"""What people type: good input is taken, bad input is refused with its place and reason."""
import json
import subprocess

import pytest
import yaml

from harness import BIN, cluster_ips, pod_manifest, service_manifest

GOOD = service_manifest("good", [(80, 8080)], {"app": "x"}, ips=cluster_ips(1))


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    node.a = node.pod("a", labels={"app": "a"})
    return node


def change(path, value, kind=GOOD):
    """GOOD with one field changed (None: removed); path as `spec.ports[0].port`."""
    m = json.loads(json.dumps(kind))
    at = m
    *way, last = [int(p) if p.isdigit() else p
                  for p in path.replace("[", ".").replace("]", "").split(".")]
    for p in way:
        at = at[p]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return m


BAD = [
    ("kind", "Deployment", "kind"),
    ("apiVersion", "v2", "apiVersion"),
    ("metadata.name", "UPPER_case", "metadata.name"),
    ("metadata.name", "x" * 300, "metadata.name"),
    ("metadata.name", None, "metadata.name"),
    ("metadata.namespace", "a/b", "metadata.namespace"),
    ("spec.ports[0].port", 0, "spec.ports[0].port"),
    ("spec.ports[0].port", 65536, "spec.ports[0].port"),
    ("spec.ports[0].port", "eighty", "spec.ports[0].port"),
    ("spec.ports[0].protocol", "ICMP", "spec.ports[0].protocol"),
    ("spec.ports[0].targetPort", 70000, "spec.ports[0].targetPort"),
    ("spec.ports", "80", "spec.ports"),
    ("spec.clusterIP", "10.96.1.256", "spec.clusterIP"),
    ("spec.clusterIPs", ["10.96.1.1", "not-an-ip"], "spec.clusterIPs"),
    ("spec.type", "Magic", "spec.type"),
    ("spec.selector", ["app"], "spec.selector"),
]


@pytest.mark.parametrize("path,value,named", BAD, ids=[f"{b[0]}={str(b[1])[:12]}" for b in BAD])
def test_bad_field(node, tmp_path, path, value, named):
    """The second document of a file: nothing of the file is taken, the message says where."""
    file = tmp_path / "bad.yaml"
    other = service_manifest("other", [(80, 8080)], {"app": "x"}, ips=cluster_ips(2))
    file.write_text(node.documents([other, change(path, value)]))
    before = node.bpfnet("svc", "list").stdout
    r = node.bpfnet("apply", "-f", file, check=False)
    assert r.returncode == 1, r
    assert "bad.yaml" in r.stderr and named in r.stderr and "2" in r.stderr, r.stderr
    assert node.bpfnet("svc", "list").stdout == before, "a part of the file was taken"


TEXTS = {
    "broken": "kind: Service\n  metadata: [\n",
    "cut": '{"apiVersion": "v1", "kind": "Service", "metadata": {"na',
    "scalar": "just words\n",
    "tabs": "kind:\tService\n\tx: 1\n",
    "nul": "kind: Service\0\n",
    "latin1": b"kind: Service\nmetadata: {name: \xe9}\n",
    "deep": "[" * 100000,
    "alias-bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi")),
    "over 1 MiB": "apiVersion: v1\nkind: Namespace\nmetadata: {name: big, annotations: {x: '"
                  + "y" * (1 << 20) + "'}}\n",
    "duplicate-key": "apiVersion: v1\nkind: Namespace\nkind: Pod\nmetadata: {name: d}\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_bad_text(node, tmp_path, name):
    file = tmp_path / "bad-text.yaml"
    data = TEXTS[name]
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    r = node.bpfnet("apply", "-f", file, check=False)
    assert r.returncode == 1 and "bad-text.yaml" in r.stderr, (r.returncode, r.stderr[:500])
    assert len(r.stderr.strip().splitlines()) == 1, r.stderr[:1000]
    assert node.status() == 0


def test_duplicate_objects_in_one_file(node):
    r = node.apply(GOOD, change("spec.ports[0].port", 81), check=False)
    assert r.returncode == 1 and "good" in r.stderr
    assert not node.service("good")


def test_cluster_ip_taken(node):
    a = service_manifest("first", [(80, 8080)], {"app": "x"}, ips=cluster_ips(7))
    b = service_manifest("second", [(80, 8080)], {"app": "x"}, ips=cluster_ips(7))
    node.apply(a)
    r = node.apply(b, check=False)
    assert r.returncode == 1 and cluster_ips(7)[0] in r.stderr and "first" in r.stderr, r.stderr
    node.delete(a)
    node.apply(b)
    node.delete(b)


def test_missing_file(node):
    r = node.bpfnet("apply", "-f", "/nonexistent.yaml", check=False)
    assert r.returncode == 1 and "/nonexistent.yaml" in r.stderr


def test_apply_get_delete(node):
    """kubectl's habits: created, unchanged, configured, deleted; and what was put comes back."""
    assert node.apply(GOOD).stdout.split() == ["service/default/good", "created"]
    assert node.apply(GOOD).stdout.split() == ["service/default/good", "unchanged"]
    more = change("spec.ports[0].port", 81)
    assert node.apply(more).stdout.split() == ["service/default/good", "configured"]
    got = node.json("get", "service", "default/good")
    assert got["kind"] == "Service" and got["spec"]["ports"][0]["port"] == 81
    assert "good" in node.bpfnet("get", "service").stdout
    # JSON, and a List of them
    r = node.bpfnet("apply", "-f", "-", input=json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [GOOD, pod_manifest(node.a, {"app": "x"})]}))
    assert sorted(r.stdout.splitlines()) == ["pod/default/a configured",
                                             "service/default/good configured"]
    assert node.delete(GOOD).stdout.split() == ["service/default/good", "deleted"]
    r = node.delete(GOOD, check=False)
    assert r.returncode == 1 and "good" in r.stderr
    r = node.bpfnet("get", "service", "default/good", check=False)
    assert r.returncode == 1 and "good" in r.stderr


ENDPOINTS = [
    (["add", "default/n", "--netns", "no-such-netns", "--ip", "10.244.1.1"], "no-such-netns"),
    (["add", "default/n", "--netns", "/etc/hostname", "--ip", "10.244.1.1"], "/etc/hostname"),
    (["add", "default/n", "--netns", "{ns}", "--ip", "10.244.1.256"], "10.244.1.256"),
    (["add", "default/n", "--netns", "{ns}", "--ip", "{taken}"], "{taken}"),
    (["add", "default/n", "--netns", "{ns}", "--ip", "127.0.0.1"], "127.0.0.1"),
    (["add", "default/n", "--netns", "{ns}", "--ip", "::ffff:10.1.1.1"], "::ffff:10.1.1.1"),
    (["add", "default/n", "--netns", "{ns}", "--ip", "10.244.1.1", "--ifname", "x" * 16], "x" * 16),
    (["add", "default/n", "--netns", "{ns}", "--ip", "10.244.1.1", "--ifname", "a/b"], "a/b"),
    (["add", "default/n", "--netns", "{ns}", "--ip", "10.244.1.1", "--ifname", "lo"], "lo"),
    (["add", "default/a", "--netns", "{ns}", "--ip", "10.244.1.1"], "default/a"),
    (["add", "Default/N", "--netns", "{ns}", "--ip", "10.244.1.1"], "Default/N"),
    (["delete", "default/nobody"], "default/nobody"),
]


@pytest.mark.parametrize("args,named", ENDPOINTS,
                         ids=[f"{e[0][0]}-{e[1][:20]}".replace("/", "_") for e in ENDPOINTS])
def test_bad_endpoint(node, args, named):
    spare = node.pods.get("default/spare") or node.pod("spare", attach=False)
    fill = {"ns": spare.ns, "taken": node.a.ip[4]}
    before = node.json("endpoint", "list")
    r = node.bpfnet("endpoint", *(a.format(**fill) for a in args), check=False)
    assert r.returncode in (1, 2), r
    assert named.format(**fill) in r.stderr and len(r.stderr.strip().splitlines()) == 1, r.stderr
    assert node.json("endpoint", "list") == before
    assert "eth0" not in spare.run("ip", "link").stdout
    links = {n for n in node.link_names() if not n.startswith(("bnhost", "bnpeer"))}
    assert len(links) == 3, f"a device stayed: {links}"


def test_wrong_usage(node):
    for args in ([], ["no-such-command"], ["svc"], ["apply"], ["-o", "xml", "svc", "list"],
                 ["endpoint", "add"], ["flows", "--no-such-flag"]):
        r = node.bpfnet(*args, check=False)
        assert r.returncode == 2 and r.stderr, (args, r)


def test_help_and_version(node):
    for args in (["--help"], ["svc", "--help"], ["version"]):
        r = node.bpfnet(*args)
        assert r.stdout
    assert "--service-cidr" in subprocess.run([f"{BIN}/bpfnetd", "--help"], text=True, check=True,
                                              capture_output=True).stdout


def test_outputs(node):
    node.apply(GOOD)
    assert yaml.safe_load(node.bpfnet("-o", "yaml", "svc", "list").stdout) == node.json("svc", "list")
    table = node.bpfnet("svc", "list").stdout.splitlines()
    bare = node.bpfnet("--no-headers", "svc", "list").stdout.splitlines()
    assert [r.split() for r in table[1:]] == [r.split() for r in bare] and "NAME" in table[0].upper()
    assert "10.96.1.1" in node.bpfnet("-o", "wide", "svc", "list").stdout
    node.delete(GOOD)
