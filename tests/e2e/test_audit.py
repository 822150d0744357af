# SPDX-License-Identifier: Apache-2.0
"""What something else does to the maps and programs is found and put right."""
import json
import os
import subprocess

import pytest

import netns
import peers
from harness import BPFTOOL, FAMILIES, cluster_ips, eventually, service_manifest, slice_manifest

VIP = dict(zip(FAMILIES, cluster_ips(1)))
HASHES = ["bn_ranges", "bn_devices", "bn_endpoints", "bn_addresses", "bn_sock_netns"]
ARRAYS = ["bn_node", "bn_backends", "bn_service_slots"]


@pytest.fixture
def node(make_node, tmp_path):
    # arrays are as large as they can be, and are dumped whole here
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("maps: {services: 64, service-slots: 64, backends: 64}\n")
    node = make_node(options=["--config", str(config)])
    for name in ("b1", "b2"):
        pod = node.pod(name, labels={"app": "web"})
        pod.tcp(8080)
    node.client = node.pod("client")
    # of few backends, which stand in its entries, and of more, which have a list
    node.apply(service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1)),
               service_manifest("many", [(80, 8080, "TCP", "http")], ips=cluster_ips(2)[:1],
                                families=[4]),
               slice_manifest("many", "v4", 4, [("http", 8080, "TCP")],
                              [f"10.244.9.{n}" for n in range(1, 5)]))
    return node


def bpftool(*args):
    r = subprocess.run([BPFTOOL, "-j", *args], text=True, capture_output=True, check=True)
    return json.loads(r.stdout) if r.stdout.strip() else None


def pin(node, name):
    return ("pinned", f"{node.bpffs}/maps/{name}")


def entries(node, name):
    """{key: value}, as tuples of hexadecimal bytes."""
    return {tuple(e["key"]): tuple(e["value"]) for e in bpftool("map", "dump", *pin(node, name))}


def update(node, name, key, value):
    bpftool("map", "update", *pin(node, name), "key", "hex", *(b[2:] for b in key),
            "value", "hex", *(b[2:] for b in value))


def delete(node, name, key):
    bpftool("map", "delete", *pin(node, name), "key", "hex", *(b[2:] for b in key))


def other(data):
    """The same bytes but for the first ones."""
    return tuple(f"0x{int(b, 16) ^ 0x5a:02x}" for b in data[:4]) + tuple(data[4:])


def audit(node):
    """The report without what was as wanted: {name: (missing, wrong, extra, failed)}."""
    report = node.json("map", "audit")
    assert {r["name"] for r in report} >= {*HASHES, *ARRAYS, "bn_services", "programs"}
    counts = {r["name"]: (r["missing"], r["wrong"], r["extra"], r["failed"]) for r in report}
    return {name: c for name, c in counts.items() if any(c)}


def metric(node, name, **labels):
    line = name + ("{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else "")
    return next(float(text.split()[-1]) for text in node.bpfnet("metrics").stdout.splitlines()
                if text.rsplit(" ", 1)[0] == line)


def works(node):
    for family in FAMILIES:
        assert peers.tcp(node.client.ns, VIP[family], 80).name in ("b1", "b2")


def test_nothing_to_mend(node):
    assert audit(node) == {}
    report = {r["name"]: r["checked"] for r in node.json("map", "audit")}
    # two families of: one port and one owned address; two backends; three pods' programs, the uplink's,
    # and three of the node's own way to services
    assert report["bn_services"] == 4 + 2 and report["bn_backends"] == 4 + 4
    assert report["bn_service_slots"] == 4 and report["bn_endpoints"] == 3
    assert report["programs"] == 3 * 2 + 1 + 3
    assert report["bn_addresses"] == len(entries(node, "bn_addresses"))
    status = node.json("status")["audit"]
    assert status["runs"] == 2 and status["repaired"] == {} and status["ago_s"] is not None
    # while things come and go
    pod = node.pod("late")
    node.detach(pod)
    node.delete(service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1)))
    assert audit(node) == {}


@pytest.mark.parametrize("name", HASHES)
def test_hash(node, name):
    """Entries that are gone, that say something else, that nobody wants: as they were, after one
    audit, which tells the counts; the next one finds nothing."""
    s, _ = peers.tcp_open(node.client.ns, VIP[4], 80)
    before = entries(node, name)
    keys = list(before)
    assert keys
    for key in keys[1:]:
        delete(node, name, key)
    update(node, name, keys[0], other(before[keys[0]]))
    strange = other(keys[0])
    if name == "bn_ranges":  # a prefix length stays one
        strange = ("0x80", "0x00", "0x00", "0x00") + ("0x77",) * 16
    assert strange not in before
    update(node, name, strange, before[keys[0]])
    assert audit(node) == {name: (len(keys) - 1, 1, 1, 0)}
    assert entries(node, name) == before
    assert audit(node) == {}
    with s:
        peers.echo(s, b"still there")
        works(node)
    assert metric(node, "bpfnet_audit_repairs_total", map=name) == len(keys) + 1
    assert node.json("status")["audit"]["repaired"] == {name: len(keys) + 1}
    assert [line for line in node.log().splitlines()
            if "something else changed" in line and name in line and f"missing={len(keys) - 1}" in line]
    assert node.status() == 0


@pytest.mark.parametrize("name", ARRAYS)
def test_array(node, name):
    before = bpftool("map", "dump", *pin(node, name))[:4]
    for e in before:
        value = e["value"]
        if name == "bn_node":  # the first bytes are the address; the rest is not the audit's
            value = other(value)
        else:
            value = ["0x00"] * len(value)
        update(node, name, e["key"], value)
    assert audit(node) == {name: (0, len(before), 0, 0)}
    assert bpftool("map", "dump", *pin(node, name))[:4] == before
    assert audit(node) == {}
    works(node)


GROUP, WORD, VALUE = 4, slice(20, 24), slice(28, 32)  # struct bn_service_entry


def frontends(node):
    """{index: entry} of those in use, and the whole table."""
    table = [e["value"] for e in bpftool("map", "dump", *pin(node, "bn_services"))]
    used = {i: e for i, e in enumerate(table)
            if int(table[i // GROUP * GROUP][WORD.start], 16) & 1 << i % GROUP}
    return used, table


def put_frontend(node, index, entry):
    update(node, "bn_services", tuple(f"0x{b:02x}" for b in index.to_bytes(4, "little")), entry)


def test_frontends(node):
    """Entries that are gone, that say something else, that nobody wants."""
    used, table = frontends(node)
    assert len(used) == 6
    changed = next(i for i in used)
    entry = list(table[changed])
    entry[VALUE] = other(entry[VALUE])
    put_frontend(node, changed, entry)
    gone = next(i // GROUP * GROUP for i in used if i // GROUP != changed // GROUP)
    lost = sum(i // GROUP * GROUP == gone for i in used)
    entry = list(table[gone])
    entry[WORD] = ["0x00"] * 4
    put_frontend(node, gone, entry)
    # the strange one has the group's first place, whose word it carries
    strange = next(i for i in range(0, len(table), GROUP) if not any(
        u // GROUP * GROUP == i for u in used))
    entry = list(other(table[changed]))
    entry[WORD] = ["0x01", "0x00", "0x00", "0x00"]
    put_frontend(node, strange, entry)
    assert audit(node) == {"bn_services": (lost, 1, 1, 0)}
    now, _ = frontends(node)
    assert {tuple(e[:20] + e[28:]) for e in now.values()} == \
        {tuple(e[:20] + e[28:]) for e in used.values()}
    assert audit(node) == {}
    works(node)


def clear_frontends(node):
    _, table = frontends(node)
    for i in range(0, len(table), GROUP):
        entry = list(table[i])
        entry[WORD] = ["0x00"] * 4
        put_frontend(node, i, entry)


def test_everything_at_once(node):
    """The service is gone from every map, and comes back without a restart."""
    for name in HASHES:
        for key in entries(node, name):
            delete(node, name, key)
    clear_frontends(node)
    with pytest.raises((OSError, AssertionError)):
        peers.tcp(node.client.ns, VIP[4], 80, timeout=1)
    assert set(audit(node)) == {*HASHES, "bn_services"}
    works(node)
    assert audit(node) == {}


def test_programs(node):
    """Programs that were taken away or replaced are attached again."""
    folder = f"{node.bpffs}/links"
    tcx = [e for e in os.listdir(folder) if e.startswith("tcx-")]
    if tcx:
        for e in tcx[:2]:
            bpftool("link", "detach", "pinned", f"{folder}/{e}")
        os.unlink(f"{folder}/{tcx[1]}")
    else:
        for e in node.json("endpoint", "list")[:2]:
            netns.run(node.ns, "tc", "filter", "del", "dev", e["host_ifname"], "ingress")
    assert audit(node) == {"programs": (2, 0, 0, 0)}
    assert audit(node) == {}
    works(node)
    ids = {a["program"] for a in node.json("status")["attachments"]}
    assert 0 not in ids and len(ids) == 6


def test_by_itself(make_node, tmp_path):
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("audit: {interval: 1}\n")
    node = make_node(options=["--config", str(config)])
    pod = node.pod("a")
    key = next(iter(entries(node, "bn_endpoints")))
    delete(node, "bn_endpoints", key)
    eventually(lambda: key in entries(node, "bn_endpoints"), "the endpoint is back", timeout=60)
    eventually(lambda: metric(node, "bpfnet_audits_total") > 1, "and it goes on", timeout=60)
    assert pod.key.endswith(node.json("endpoint", "list")[0]["pod"])


def test_what_cannot_be_mended(make_node, tmp_path):
    """A map filled up by something else: told as degraded until there is room."""
    config = tmp_path / "bpfnetd.yaml"
    config.write_text("maps: {addresses: 16}\n")
    node = make_node(options=["--config", str(config)])
    node.pod("a")
    before = entries(node, "bn_addresses")
    gone = next(iter(before))
    delete(node, "bn_addresses", gone)
    filler = [tuple(["0xfd", "0x77"] + ["0x00"] * 13 + [f"0x{i:02x}"]) for i in range(17 - len(before))]
    for key in filler:
        update(node, "bn_addresses", key, before[gone])
    r = node.bpfnet("-o", "json", "map", "audit", check=False)
    counts = next(e for e in json.loads(r.stdout) if e["name"] == "bn_addresses")
    assert r.returncode == 1 and counts["failed"] == 1 and counts["extra"] == len(filler), counts
    assert node.status() == 3
    # the strangers are gone by now, so there is room
    assert audit(node) == {"bn_addresses": (1, 0, 0, 0)}
    assert entries(node, "bn_addresses") == before and node.status() == 0
