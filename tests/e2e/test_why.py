# SPDX-License-Identifier: Apache-2.0
"""`bpfnet why`: each thing that can be wrong is made wrong, and the sentence that says so is read."""
import json
import os
import subprocess

import pytest

import netns
import peers
from harness import BPFTOOL, FAMILIES, WORLD, cluster_ips, eventually, pod_manifest, service_manifest
from policies import pods, policy, port


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    node.front = node.pod("front", labels={"app": "front"})
    node.other = node.pod("other", labels={"app": "other"})
    node.web = node.pod("web-0", namespace="shop", labels={"app": "web"})
    node.web.tcp(8080)
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    node.apply(service_manifest("web", [(80, 8080, "TCP", "http"), (53, 8080, "UDP", "dns")],
                                {"app": "web"}, ips=cluster_ips(1), namespace="shop"),
               service_manifest("empty", [(80, 8080)], {"app": "nobody"}, ips=cluster_ips(2)),
               policy("web", {"app": "web"}, namespace="shop", ingress=[
                   {"from": [{"namespaceSelector": {}, **pods(app="front")}],
                    "ports": [port(8080), port(8080, "UDP")]}]))
    return node


def why(node, *args, code=1):
    r = node.bpfnet("why", *args, check=False)
    assert r.returncode == code and r.stderr == "", r.stdout + r.stderr
    told = node.bpfnet("-o", "json", "why", *args, check=False)
    assert told.returncode == code
    answer = json.loads(told.stdout)
    assert answer["ok"] == (code == 0) and r.stdout.splitlines()[-1] == answer["text"]
    for layer in answer["layers"]:
        assert set(layer) == {"layer", "of", "ok", "text", "advice"}
        assert layer["text"] and (layer["advice"] is None) == layer["ok"]
        assert ("ok     " if layer["ok"] else "WRONG  ") + layer["layer"] in r.stdout
    wrong = [la for la in answer["layers"] if not la["ok"]]
    assert bool(wrong) == (code == 1)
    if wrong:
        assert answer["text"] == f"{wrong[0]['text']}: {wrong[0]['advice']}"
    answer["wrong"] = [la["layer"] for la in wrong]
    return answer


def texts(answer, layer):
    return [la["text"] for la in answer["layers"] if la["layer"] == layer]


@pytest.fixture
def again(node):
    """A pod that a test breaks, made whole by attaching it anew."""
    pod = node.other
    yield pod
    node.detach(pod, check=False)
    netns.ip(pod.ns, "link set lo up")
    node.attach(pod)
    assert why(node, pod.key, code=0)["ok"]


# ---------------------------------------------------------------------------- nothing is wrong
def test_a_pod(node):
    answer = why(node, "default/front", code=0)
    assert answer["text"] == "nothing is wrong with default/front, as far as this node can tell"
    assert [la["layer"] for la in answer["layers"]] == [
        "pod", "interface", "programs", "address", "mtu", "policy", "drops", "node"]
    assert node.front.ip[4] in texts(answer, "pod")[0]
    answer = why(node, "shop/web-0", code=0)
    assert texts(answer, "service") == ["shop/web-0 is a backend of shop/web and gets new flows"]
    assert "restricted in what it receives" in texts(answer, "policy")[0]


def test_pod_to_pod(node):
    answer = why(node, "default/front", "shop/web-0", "--port", 8080, code=0)
    assert texts(answer, "policy") == [
        f"TCP from default/front to {where} (shop/web-0) passes: ingress rule 0 of shop/web"
        for where in (f"{node.web.ip[4]}:8080", f"[{node.web.ip[6]}]:8080")]
    assert texts(answer, "route") == [
        f"default/front sends to {node.web.ip[f]} by eth0" for f in FAMILIES]
    # without a port, those by which services know the pod
    answer = why(node, "default/front", "shop/web-0", code=0)
    assert len(texts(answer, "policy")) == 4


@pytest.mark.parametrize("target", ["shop/web", "svc/shop/web"])
def test_pod_to_service(node, target):
    answer = why(node, "default/front", target, code=0)
    assert f"{node.vip[4]}:80/TCP is a cluster IP of the service shop/web: 1 of 1 backends are " \
        "ready" in texts(answer, "service")
    assert len(texts(answer, "service")) == 4 and len(texts(answer, "policy")) == 4
    assert answer["text"].startswith(f"nothing is wrong between default/front and {target}")


@pytest.mark.parametrize("family", FAMILIES)
def test_pod_to_address(node, family):
    vip = node.vip[family]
    where = f"{vip}:80" if family == 4 else f"[{vip}]:80"
    answer = why(node, "default/front", where, code=0)
    assert len(texts(answer, "service")) == 1 and len(texts(answer, "policy")) == 1
    assert why(node, "default/front", vip, "--port", 80, code=0)["text"].count(vip) == 1
    answer = why(node, "default/front", WORLD[family], "--port", 443, code=0)
    assert texts(answer, "destination") == [
        f"{WORLD[family]} is an address outside: no pod, node or service"]
    assert f"to {WORLD[family]} by up0" in texts(answer, "route")
    why(node, "default/front", node.web.ip[family], "--port", 8080, code=0)
    why(node, "default/front", WORLD[family], "--protocol", "icmp", code=0)


# ---------------------------------------------------------------------------- names and addresses
def test_unknown_pod(node):
    answer = why(node, "default/nobody")
    assert answer["text"].startswith(
        "there is no pod default/nobody: no endpoint of this node and no manifest has that name: ")
    assert answer["wrong"] == ["pod"]
    answer = why(node, "default/front", "default/nobody")
    assert "there is no pod default/nobody, nor a service" in answer["text"]


def test_pod_of_another_node(node):
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "away", "namespace": "default"},
                "spec": {"nodeName": "node-far", "containers": []},
                "status": {"podIP": "10.244.7.7", "podIPs": [{"ip": "10.244.7.7"}]}}
    node.apply(manifest)
    try:
        answer = why(node, "default/away")
        assert answer["text"].startswith(
            f"default/away is a pod of the node node-far, not of this one ({node.name}): ")
        answer = why(node, "default/front", "default/away", "--port", 80, code=0)
        assert "10.244.7.7: its interface and its ingress policy are that node's" \
            in texts(answer, "pod")[1]
        netns.ip(node.ns, "route add unreachable 10.244.7.0/24")
        answer = why(node, "default/front", "10.244.7.7:80")
        assert answer["text"].startswith("this node has no route to 10.244.7.7: No route to host")
    finally:
        netns.run(node.ns, "ip", "route", "del", "unreachable", "10.244.7.0/24", check=False)
        node.delete(manifest)


def test_pod_without_endpoint(node):
    pod = node.pod("late", labels={"app": "late"}, attach=False)
    try:
        for args in (("default/late",), ("default/front", "default/late", "--port", 1)):
            assert "default/late has a manifest, but no endpoint on this node: attach it" \
                in why(node, *args)["text"]
    finally:
        node.delete(pod_manifest(pod, {"app": "late"}))
        node.remove(pod)


@pytest.mark.parametrize("ip,range_", [("10.244.0.250", "the pods' range"), ("fd00:244::fa", "the pods' range"),
                                       ("10.96.9.9", "the service range"), ("fd00:96::9:9", "the service range")])
def test_address_of_nobody(node, ip, range_):
    answer = why(node, "default/front", ip, "--port", 80)
    assert answer["wrong"] == ["destination"]
    assert answer["text"].startswith(f"nobody has the address {ip}: it is of {range_}, and no ")


def test_port_that_no_service_has(node):
    for args in ((f"{node.vip[4]}:81",), ("shop/web", "--port", 81)):
        answer = why(node, "default/front", *args)
        assert answer["wrong"][0] == "service"
        assert answer["text"].startswith("shop/web has no port 81/TCP: it has 80/TCP, 53/UDP: ")
    answer = why(node, "default/front", "shop/web", "--port", 80, "--protocol", "udp")
    assert answer["text"].startswith("shop/web has no port 80/UDP")


def test_ports_are_told_whole(node):
    """One port's digits may be the end of another's."""
    near = service_manifest("near", [(8080, 8080, "TCP", "a"), (80, 8080, "TCP", "b")],
                            {"app": "web"}, ips=cluster_ips(3), namespace="shop")
    node.apply(near)
    try:
        assert why(node, "default/front", "shop/near", "--port", 81)["text"].startswith(
            "shop/near has no port 81/TCP: it has 8080/TCP, 80/TCP: ")
    finally:
        node.delete(near)


def test_service_without_backend(node):
    answer = why(node, "default/front", "default/empty")
    assert answer["text"].startswith(
        f"the service default/empty has no backend for {cluster_ips(2)[0]}:80/TCP: no pod and no "
        "EndpointSlice stands behind it: ")
    assert set(answer["wrong"]) == {"service", "policy"}
    assert "service-no-backend" in str(answer["layers"])


def test_backend_that_is_not_ready(node):
    node.apply(pod_manifest(node.web, {"app": "web"}, ready=False))
    try:
        answer = why(node, "default/front", f"{node.vip[4]}:80")
        assert answer["text"].startswith(
            f"the service shop/web has no ready backend for {node.vip[4]}:80/TCP: none of its 1 is "
            "ready (web-0): ")
        assert "shop/web-0 is a backend of shop/web, but is not ready" in why(node, "shop/web-0")["text"]
    finally:
        node.apply(pod_manifest(node.web, {"app": "web"}))


# ---------------------------------------------------------------------------- policy, drops
@pytest.mark.parametrize("target", ["shop/web-0", "shop/web"])
def test_policy(node, target):
    number = 8080 if target == "shop/web-0" else 80
    answer = why(node, "default/other", target, "--port", number)
    ip = node.web.ip[4] if target == "shop/web-0" else node.vip[4]
    called = "shop/web-0" if target == "shop/web-0" else "the service shop/web"
    assert answer["text"] == (
        f"TCP from default/other to {ip}:{number} ({called}) is denied: the ingress policy shop/web "
        "selects the receiver, and no rule allows it: allow it by a rule of shop/web, or of another "
        "policy that selects the receiver; 'bpfnet policy get shop/web' shows its rules")
    assert answer["wrong"] == ["policy"]  # one denial, told once
    node.apply(policy("shut", {"app": "other"}, egress=[]))
    try:
        answer = why(node, "default/other", WORLD[4], "--port", 80)
        assert "the egress policy default/shut selects the sender" in answer["text"]
    finally:
        node.delete(policy("shut", {"app": "other"}, egress=[]))


def test_policy_without_a_port(node):
    answer = why(node, "default/other", WORLD[4], code=0)
    assert texts(answer, "policy") == ["no policy selects either end: every port is allowed"]
    node.apply(policy("some", {"app": "other"}, egress=[{"ports": [port(443)]}]))
    try:
        assert why(node, "default/other", WORLD[4])["text"] == (
            "policies select default/other: what they allow depends on the port, and none is "
            "given: ask again with --port")
        why(node, "default/other", f"{WORLD[4]}:443", code=0)
    finally:
        node.delete(policy("some", {"app": "other"}, egress=[]))


def test_drops_that_are_over(node):
    deny = policy("shut", {"app": "front"}, egress=[])
    node.apply(deny)
    with pytest.raises(OSError):
        peers.tcp_open(node.front.ns, node.web.ip[4], 8080, timeout=0.5)[0].close()
    node.wait_drop("policy-egress", "--from-pod", "default/front")
    node.delete(deny)
    answer = why(node, "default/front", "shop/web-0", "--port", 8080, code=0)
    assert any("dropped as policy-egress" in t and t.endswith("that would pass now")
               for t in texts(answer, "drops"))


def test_drops_that_go_on(node):
    """What no first packet shows: a source that is not the pod's."""
    liar = node.pod("liar")
    netns.ip(liar.ns, "addr add 10.244.0.200/32 dev eth0")
    netns.run(liar.ns, "ping", "-n", "-c", "1", "-W", "0.2", "-I", "10.244.0.200", node.front.ip[4],
              check=False)
    node.wait_drop("spoofed-source", "--from-pod", "default/liar")
    answer = why(node, "default/liar")
    assert " dropped as spoofed-source, the last one " in answer["text"]
    assert answer["text"].endswith("the source address is not the sender's own")
    why(node, "default/front", code=0)  # it did nothing
    node.remove(liar)


# ---------------------------------------------------------------------------- the pod itself
def test_link_down_in_the_pod(node, again):
    netns.ip(again.ns, "link set eth0 down")
    answer = why(node, again.key)
    assert answer["text"].startswith(
        f"the link is down in the pod: eth0 of default/other: 'ip -n {again.ns} link set dev eth0 up'")
    # seen from the other end as well, and as a backend of a service
    assert "the link is down in the pod" in why(node, "default/front", again.key, "--port", 1)["text"]


def test_mtu_lost_on_the_node(node, again):
    host = next(e["host_ifname"] for e in node.json("endpoint", "list") if e["pod"] == "other")
    netns.ip(node.ns, f"link set {host} mtu 1400")
    answer = why(node, again.key)
    assert answer["text"] == (
        f"default/other sends packets of up to 1500 bytes, but {host}, the node's side, takes only "
        f"1400: larger ones are lost without a word: 'ip link set dev {host} mtu 1500'")
    assert answer["wrong"] == ["mtu"]


def test_mtu_lost_in_the_pod(node, again):
    host = next(e["host_ifname"] for e in node.json("endpoint", "list") if e["pod"] == "other")
    netns.ip(again.ns, "link set eth0 mtu 1400")
    answer = why(node, again.key)
    assert answer["text"] == (
        f"default/other takes packets of up to 1400 bytes on eth0, but {host}, the node's side, "
        f"sends up to 1500: larger ones from the node are lost without a word: 'ip link set dev "
        f"{host} mtu 1400'")
    assert answer["wrong"] == ["mtu"]
    netns.ip(node.ns, f"link set {host} mtu 1400")
    assert texts(why(node, again.key, code=0), "mtu") == ["1400 bytes on both sides"]


def test_mtu_too_small(node, again):
    netns.ip(again.ns, "link set eth0 mtu 1200")
    answer = why(node, again.key)
    assert "mtu" in answer["wrong"]
    assert "the MTU of default/other is too small for IPv6: 1200 of eth0, and 1280 is the least" \
        in texts(answer, "mtu")


def test_program_detached(node, again):
    folder = f"{node.bpffs}/links"
    index = node.link(node.ns, next(e["host_ifname"] for e in node.json("endpoint", "list")
                                    if e["pod"] == "other"))["ifindex"]
    pin = f"{folder}/tcx-egress-{index}"
    if not os.path.exists(pin):
        pytest.skip("this kernel has no tcx links to detach")
    subprocess.run([BPFTOOL, "link", "detach", "pinned", pin], check=True)
    answer = why(node, again.key)
    assert answer["text"].startswith("no program is attached to the egress of bn")
    assert "'bpfnet map audit'" in answer["text"] and answer["wrong"] == ["programs"]
    node.bpfnet("map", "audit")
    why(node, again.key, code=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_address_lost(node, again, family):
    ip = again.ip[family]
    netns.ip(again.ns, f"addr del {ip}/{32 if family == 4 else 128} dev eth0")
    answer = why(node, again.key)
    assert answer["text"].startswith(f"default/other has lost its address: eth0 does not have {ip}: ")


def test_route_lost(node, again):
    netns.ip(again.ns, "route del default")
    answer = why(node, again.key, WORLD[4], "--port", 80)
    assert answer["text"].startswith(
        f"default/other has no route to {WORLD[4]}: Network is unreachable: ")
    netns.ip(node.ns, f"route del {again.ip[4]}")
    assert f"the node's route to {again.ip[4]} does not lead to bn" in why(node, again.key)["text"]


def test_pod_of_another_namespace(node, again):
    """The name is another namespace's by now: nothing of that one is told as the pod's."""
    netns.ip(None, f"netns del {again.ns}", f"netns add {again.ns}")
    eventually(lambda: again.name not in [e["pod"] for e in node.json("endpoint", "list")])
    assert "default/other has a manifest, but no endpoint" in why(node, again.key)["text"]


# ---------------------------------------------------------------------------- the node, bad input
def test_degraded_node(make_node, tmp_path):
    (tmp_path / "bad.yaml").write_text("kind: Rubbish\n")
    node = make_node(options=["--manifests", str(tmp_path)])
    node.pod("a")
    answer = why(node, "default/a")
    assert answer["wrong"] == ["node"]
    assert answer["text"].startswith("the node is degraded: manifests in ")


def test_refuses(node):
    for args, code, text in (
            ((), 2, "NS/POD"),
            (("front",), 2, "NS/POD"),
            (("default/front", "--port", "80"), 2, "destination"),
            (("default/front", "shop/web", "--port", "0"), 2, "65535"),
            (("default/front", "shop/web", "--protocol", "gre"), 2, "gre"),
            (("default/front", "rubbish"), 1, "IP:PORT"),
            (("default/front", "10.0.0.1:x"), 1, "'x' is no port"),
            (("default/front", "[::1]:0"), 1, "'0' is no port"),
            (("default/front", "10.0.0.1:1", "--port", "2"), 1, "two ports"),
            (("default/front", "svc/shop/none"), 1, "there is no service shop/none")):
        r = node.bpfnet("why", *args, check=False)
        assert r.returncode == code and text in r.stderr and not r.stdout, (args, r.stderr)
