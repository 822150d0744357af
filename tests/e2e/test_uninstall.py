# SPDX-License-Identifier: Apache-2.0
"""`--uninstall`: no program, link, map, pin, device, route, rule or sysctl stays, and nothing that
is someone else's goes."""
import json
import os
import subprocess

import pytest

import netns
import peers
from harness import BPFTOOL, FAMILIES, alive, cluster_ips, eventually, service_manifest


def snapshot(ns):
    """The settings of a namespace as other tools see them."""
    state = {}
    for key, *command in (("links", "ip", "-j", "link"), ("addresses", "ip", "-j", "addr"),
                          ("routes4", "ip", "-j", "route", "show", "table", "all"),
                          ("routes6", "ip", "-6", "-j", "route", "show", "table", "all"),
                          ("rules4", "ip", "-j", "rule"), ("rules6", "ip", "-6", "-j", "rule"),
                          ("neighbours", "ip", "-j", "neigh", "show", "nud", "permanent"),
                          ("qdiscs", "tc", "-j", "qdisc"), ("nft", "nft", "list", "ruleset")):
        state[key] = netns.run(ns, *command).stdout
    # netfilter's are all of the machine's, and an error where one goes while they are listed
    state["nets"] = [{kind: found for kind, found in net.items() if kind != "netfilter"}
                     for net in json.loads(netns.run(ns, BPFTOOL, "-j", "net").stdout)]
    with netns.within(ns):
        for root, _, files in os.walk("/proc/sys/net"):
            for file in files:
                path = os.path.join(root, file)
                try:
                    with open(path) as f:
                        value = f.read()
                except OSError:
                    continue
                if not path.endswith(("stat_refresh", "random_id", "stable_secret")):
                    state[path] = value
    return state


def difference(before, after):
    return {k: (before.get(k), after.get(k)) for k in sorted(before.keys() | after.keys())
            if before.get(k) != after.get(k)}


def kernel_objects(node):
    """Ids of what the agent holds open and what is pinned under its folder: {kind: ids}."""
    found = {"prog": set(), "map": set(), "link": set()}
    folder = f"/proc/{node.agent.pid}/fdinfo"
    for fd in os.listdir(folder):
        try:
            with open(os.path.join(folder, fd)) as f:
                fields = dict(line.split(":", 1) for line in f if ":" in line)
        except FileNotFoundError:
            continue
        for kind in found:
            if f"{kind}_id" in fields:
                found[kind].add(int(fields[f"{kind}_id"]))
    for kind in found:
        r = subprocess.run([BPFTOOL, "-f", "-j", kind, "show"], text=True, capture_output=True)
        for entry in json.loads(r.stdout.strip() or "[]"):
            if any(p.startswith(node.bpffs + "/") for p in entry.get("pinned", [])):
                found[kind].add(entry["id"])
            if kind == "link" and entry.get("prog_id") in found["prog"]:
                found[kind].add(entry["id"])
    return found


def existing(kind):
    r = subprocess.run([BPFTOOL, "-j", kind, "show"], text=True, capture_output=True)
    return {e["id"] for e in json.loads(r.stdout.strip() or "[]")}


def make_foreign(node):
    """What someone else has on this machine, of what every kernel that runs BPF has."""
    netns.ip(node.ns, "link add foreign0 type veth peer name foreign1",
             "link set foreign0 addrgenmode none", "link set foreign1 addrgenmode none",
             "link set foreign0 up", "link set foreign1 up",
             "addr add 192.0.2.1/24 dev foreign0", "route add 203.0.113.0/24 dev foreign0",
             "rule add from 192.0.2.0/24 lookup 77 priority 7000",
             "route add default dev foreign0 table 77")
    netns.run(node.ns, "tc", "qdisc", "add", "dev", "up0", "clsact")
    netns.run(node.ns, "tc", "filter", "add", "dev", "up0", "ingress", "prio", "7", "bpf",
              "bytecode", "1,6 0 0 0")
    netns.run(node.ns, "nft", "add", "table", "inet", "foreign")


def tc_filters(node):
    return netns.run(node.ns, "tc", "filter", "show", "dev", "up0", "ingress").stdout


@pytest.mark.parametrize("how", ["running", "stopped", "killed"])
def test_nothing_stays(make_node, session, how):
    node = make_node(start=False, cgroup=True)
    make_foreign(node)
    pods = [node.pod(f"p{i}", attach=False) for i in range(3)]
    spaces = [node.ns] + [p.ns for p in pods]
    before = {ns: snapshot(ns) for ns in spaces}
    filters = tc_filters(node)
    cgroup = attached(session.cgroup) if session.cgroup else None

    node.start()
    for p in pods:
        node.attach(p)
        p.tcp(8080)
    node.apply(service_manifest("s", [(80, 8080)], {"app": "none"}, ips=cluster_ips(1)))
    for family in FAMILIES:
        assert peers.tcp(pods[0].ns, pods[1].ip[family], 8080).name == "p1"
    assert difference(before[pods[0].ns], snapshot(pods[0].ns)), "the snapshot sees nothing"
    ids = kernel_objects(node)
    assert ids["prog"] and ids["map"], "no object found: the check below would prove nothing"
    agent = node.agent.pid
    if how == "stopped":
        node.stop()
    if how == "killed":
        node.kill()

    assert node.uninstall() == 0
    assert not alive(agent), "the running instance was not stopped"
    if node.agent:
        node.agent.wait()
    assert not os.path.exists(node.bpffs)
    assert not os.path.exists(os.path.join(node.run_dir, "bpfnet.sock"))
    after = {ns: snapshot(ns) for ns in spaces}
    for ns in spaces:
        assert not difference(before[ns], after[ns]), ns
    assert tc_filters(node) == filters
    if session.cgroup:
        eventually(lambda: attached(session.cgroup) == cgroup, "the cgroup is as before")
    for kind, mine in ids.items():
        # the kernel frees objects a grace period later
        eventually(lambda: not (mine & existing(kind)), f"{kind}s {mine} are gone", timeout=20)


def attached(cgroup):
    r = subprocess.run([BPFTOOL, "-j", "cgroup", "show", cgroup], text=True, capture_output=True)
    return sorted(p["id"] for p in json.loads(r.stdout.strip() or "[]"))


def test_uninstall_of_nothing(make_node):
    """Nothing there: done, and no complaint."""
    node = make_node(start=False)
    before = snapshot(node.ns)
    assert node.uninstall(check=False) == 0
    assert not difference(before, snapshot(node.ns))


def test_install_again(make_node):
    """After an uninstall the same folders start from nothing."""
    node = make_node()
    node.apply(service_manifest("s", [(80, 8080)], {"app": "none"}, ips=cluster_ips(1)))
    node.uninstall()
    node.agent.wait()
    node.start()
    assert node.status() == 0
    assert node.json("svc", "list") == [], "objects of the uninstalled node came back"


def test_running_agent_touches_nothing_foreign(make_node):
    node = make_node(start=False)
    make_foreign(node)
    filters = tc_filters(node)
    node.start()
    pod = node.pod("a")
    assert tc_filters(node).startswith(filters.splitlines()[0])
    assert "foreign" in netns.run(node.ns, "nft", "list", "ruleset").stdout
    assert "192.0.2.0/24" in netns.run(node.ns, "ip", "rule").stdout
    node.remove(pod)
