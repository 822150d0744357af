# SPDX-License-Identifier: Apache-2.0
"""What a pod must not get away with: forged frames, put on its own device with its own hands.

Every case sends the forged frames and then an honest datagram on the same path; what arrives
before the honest one is all that got through. The drop must also be on record, by its name.
"""
import itertools
import json

import pytest

import netns
from harness import FAMILIES, cluster_ips, eventually, service_manifest
from rawnet import (ARP, ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6ND_NA, ICMPv6ND_RA,
                    ICMPv6EchoRequest, ICMPv6NDOptDstLLAddr, IPv6, IPv6ExtHdrDestOpt,
                    IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Raw, Tap)

markers = itertools.count(1)
STRANGER = {4: "10.244.7.7", 6: "fd00:244::7:7"}


@pytest.fixture(scope="module")
def node(module_node):
    node = module_node()
    node.evil, node.victim = node.pod("evil"), node.pod("victim", labels={"app": "victim"})
    node.vip = dict(zip(FAMILIES, cluster_ips(1)))
    node.apply(service_manifest("victim", [(80, 8080), (53, 5353, "UDP")], {"app": "victim"},
                                ips=cluster_ips(1)))
    node.victim.udp(5353)
    # scapy computes right checksums, but truncated and overlapping frames end at the victim too
    node.forged = True
    node.gw = next(li["address"] for li in _links(node) if li["ifname"] == _host(node, "evil"))
    node.mac = node.evil.mac
    return node


def _links(node):
    return json.loads(netns.run(node.ns, "ip", "-j", "link").stdout)


def _host(node, pod):
    return next(e["host_ifname"] for e in node.json("endpoint", "list") if e["pod"] == pod)


def ether(node, **kw):
    return Ether(**{"src": node.mac, "dst": node.gw, **kw})


def l3(node, family, dst=None, **kw):
    cls = IP if family == 4 else IPv6
    return cls(**{"src": node.evil.ip[family], "dst": dst or node.victim.ip[family], **kw})


def arriving(node, frames, family=4):
    """The frames of `frames` that the victim sees."""
    marker = b"marker-%d" % next(markers)
    honest = ether(node) / l3(node, family) / UDP(sport=7777, dport=7778) / Raw(marker)
    with Tap(node.victim.ns) as victim, Tap(node.evil.ns) as evil:
        evil.send(*frames, honest)
        return [f for f in victim.until(lambda f: marker in bytes(f))
                if f.src != node.victim.mac and b"FORGED" in bytes(f)]


def refused(node, reason, *frames, family=4):
    """None of them arrives, and each is on record with the reason."""
    filters = ["--verdict", "DROPPED", *(["--drop-reason", reason] if reason else [])]
    before = len(node.flows(*filters, last=10000))
    got = arriving(node, frames, family)
    assert not got, f"got through: {[f.summary() for f in got]}"
    if reason:
        eventually(lambda: len(node.flows(*filters, last=10000)) - before >= len(frames),
                   f"{len(frames)} drops for {reason}")


@pytest.mark.parametrize("to", ["pod", "service"])
@pytest.mark.parametrize("family", FAMILIES)
def test_spoofed_address(node, family, to):
    dst = node.victim.ip[family] if to == "pod" else node.vip[family]
    refused(node, "spoofed-source",
            ether(node) / l3(node, family, dst, src=STRANGER[family]) /
            UDP(sport=1, dport=53) / Raw(b"FORGED"),
            ether(node) / l3(node, family, dst, src=node.victim.ip[family]) /
            UDP(sport=1, dport=53) / Raw(b"FORGED"), family=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_spoofed_mac(node, family):
    refused(node, "spoofed-mac",
            ether(node, src="02:00:00:00:00:99") / l3(node, family) / UDP(sport=1, dport=53) /
            Raw(b"FORGED"), family=family)


def test_spoofed_address_names_the_pod(node):
    with Tap(node.evil.ns) as tap:
        tap.send(ether(node) / l3(node, 4, src=STRANGER[4]) / UDP(sport=4242, dport=53))
    f = node.wait_drop("spoofed-source", "--port", "4242")
    assert f["verdict"] == "DROPPED" and f["drop_reason_desc"]
    assert f["IP"]["source"] == STRANGER[4]
    # the address is a lie, the device is not: the record names who really sent it
    assert "evil" in str(f), f


@pytest.mark.parametrize("family", FAMILIES)
def test_vlan_tags(node, family):
    inner = l3(node, family) / UDP(sport=1, dport=53) / Raw(b"FORGED")
    refused(node, "unsupported-ethertype", ether(node) / Dot1Q(vlan=5) / inner,
            ether(node) / Dot1Q(vlan=0) / inner,
            ether(node) / Dot1Q(vlan=5) / Dot1Q(vlan=6) / inner, family=family)


def test_other_ethertypes(node):
    refused(node, "unsupported-ethertype", ether(node, type=0x88B5) / Raw(b"FORGED" + bytes(50)))


def test_ipv4_source_route(node):
    from scapy.layers.inet import IPOption_LSRR, IPOption_SSRR
    refused(node, "source-routed", *(
        ether(node) / l3(node, 4, options=[o(routers=["10.244.0.1"])]) /
        UDP(sport=1, dport=53) / Raw(b"FORGED") for o in (IPOption_LSRR, IPOption_SSRR)))


def test_ipv4_tiny_and_overlapping_fragments(node):
    refused(node, "fragment-overlap",
            # first fragments without all of the transport header
            ether(node) / l3(node, 4, id=11, flags="MF", proto=17) / Raw(b"\0\1\0\x35"),
            ether(node) / l3(node, 4, id=12, flags="MF", proto=6) /
            Raw(bytes(TCP(sport=1, dport=80))[:8] + b"FORGED"))
    # inside the transport header's reach: may overwrite its flags (RFC 1858)
    refused(node, None, ether(node) / l3(node, 4, id=13, frag=1, proto=6) / Raw(b"FORGED" * 4))


def test_fragment_without_its_first(node):
    refused(node, "fragment-unknown",
            ether(node) / l3(node, 4, id=99, frag=100, proto=17) / Raw(b"FORGED" * 4))


def test_ipv6_fragment_without_its_first(node):
    refused(node, "fragment-unknown",
            ether(node) / l3(node, 6) / IPv6ExtHdrFragment(id=99, offset=100, nh=17) /
            Raw(b"FORGED" * 4), family=6)


def test_ipv6_routing_header(node):
    for kind in (0, 2, 4):
        refused(node, "source-routed",
                ether(node) / l3(node, 6) / IPv6ExtHdrRouting(type=kind, addresses=["fd00::1"]) /
                UDP(sport=1, dport=53) / Raw(b"FORGED"), family=6)


def test_ipv6_extension_header_chain_is_never_misread(node):
    """A short chain is followed to the real transport header, a long one is dropped by name."""
    forged = ether(node) / l3(node, 6, src=STRANGER[6])
    for header in (IPv6ExtHdrDestOpt(), IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()):
        refused(node, "spoofed-source", forged / header / UDP(sport=1, dport=53) / Raw(b"FORGED"),
                family=6)
    chain = ether(node) / l3(node, 6)
    for _ in range(30):
        chain = chain / IPv6ExtHdrDestOpt()
    refused(node, "extension-headers", chain / UDP(sport=1, dport=53) / Raw(b"FORGED"), family=6)
    # cut inside the chain
    refused(node, None, ether(node) / l3(node, 6, nh=60, plen=20) / Raw(b"\x3c\x04FORGED" + bytes(12)),
            family=6)


def test_ipv6_options_reach_the_right_service(node):
    """A destination-options header before UDP: the port behind it is what counts."""
    with Tap(node.victim.ns) as victim, Tap(node.evil.ns) as evil:
        evil.send(ether(node) / l3(node, 6, node.vip[6]) / IPv6ExtHdrDestOpt() /
                  UDP(sport=4545, dport=54) / Raw(b"FORGED-PORT"))
        evil.send(ether(node) / l3(node, 6) / UDP(sport=7777, dport=7778) / Raw(b"the-marker"))
        got = victim.until(lambda f: b"the-marker" in bytes(f))
    assert not [f for f in got if b"FORGED" in bytes(f)], "port 54 belongs to no service"


def test_ipv4_mapped_addresses(node):
    refused(node, "mapped-address",
            ether(node) / l3(node, 6, dst="::ffff:" + node.victim.ip[4]) / UDP(sport=1, dport=53) /
            Raw(b"FORGED"), family=6)
    refused(node, None,
            ether(node) / l3(node, 6, src="::ffff:" + node.evil.ip[4]) / UDP(sport=1, dport=53) /
            Raw(b"FORGED"), family=6)


def test_truncated_headers(node):
    whole4 = bytes(ether(node) / l3(node, 4) / UDP(sport=1, dport=53) / Raw(b"FORGED"))
    whole6 = bytes(ether(node) / l3(node, 6) / UDP(sport=1, dport=53) / Raw(b"FORGED"))
    cut = [whole4[:n] for n in (15, 20, 33, 34, 38, 41)] + [whole6[:n] for n in (15, 40, 53, 54, 60)]
    refused(node, "malformed-header", *cut)
    bad = [
        ether(node) / l3(node, 4, ihl=4) / UDP(sport=1, dport=53) / Raw(b"FORGED"),
        ether(node) / l3(node, 4, ihl=15) / UDP(sport=1, dport=53) / Raw(b"FORGED"),
        ether(node) / l3(node, 4, version=6) / UDP(sport=1, dport=53) / Raw(b"FORGED"),
        ether(node) / l3(node, 4, len=2000) / UDP(sport=1, dport=53) / Raw(b"FORGED"),
        ether(node) / l3(node, 4, len=10) / UDP(sport=1, dport=53) / Raw(b"FORGED"),
        ether(node) / l3(node, 6, version=4) / UDP(sport=1, dport=53) / Raw(b"FORGED"),
        ether(node) / l3(node, 6, plen=2000) / UDP(sport=1, dport=53) / Raw(b"FORGED"),
    ]
    refused(node, "malformed-header", *bad)


def test_multicast_and_broadcast_stay(node):
    refused(node, "multicast",
            ether(node, dst="01:00:5e:00:00:05") / l3(node, 4, "224.0.0.5") / UDP() / Raw(b"FORGED"),
            ether(node, dst="ff:ff:ff:ff:ff:ff") / l3(node, 4, "255.255.255.255") /
            UDP(dport=67) / Raw(b"FORGED"),
            ether(node, dst="33:33:00:00:00:05") / l3(node, 6, "ff02::5") / UDP() / Raw(b"FORGED"))


def test_forged_neighbour_messages(node):
    """A pod neither claims another's address nor plays router."""
    victim = node.victim
    refused(node, None,
            ether(node, dst="ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=node.mac, psrc=victim.ip[4],
                                                       pdst=victim.ip[4]) / Raw(b"FORGED"),
            ether(node, dst="33:33:00:00:00:01") / IPv6(src="fe80::1", dst="ff02::1", hlim=255) /
            ICMPv6ND_RA() / Raw(b"FORGED"),
            ether(node) / IPv6(src=node.evil.ip[6], dst=victim.ip[6], hlim=255) /
            ICMPv6ND_NA(tgt=node.evil.ip[6], O=1) / ICMPv6NDOptDstLLAddr(lladdr=node.mac) /
            Raw(b"FORGED"))


def test_icmp_errors_that_quote_nothing_known(node):
    inner = IP(src=node.victim.ip[4], dst="192.0.2.1") / UDP(sport=1, dport=2) / Raw(b"FORGED")
    refused(node, "icmp-unrelated", ether(node) / l3(node, 4) / ICMP(type=3, code=4, nexthopmtu=300) /
            inner)


def test_unsolicited_echo_reply(node):
    refused(node, "icmp-unsolicited", ether(node) / l3(node, 4) / ICMP(type=0, id=5) / Raw(b"FORGED"))


def test_ping_of_an_odd_size_is_no_crime(node):
    """The honest neighbour of all those: an echo request passes."""
    assert arriving(node, [ether(node) / l3(node, 4) / ICMP(id=9) / Raw(b"FORGED not")])
    assert arriving(node, [ether(node) / l3(node, 6) / ICMPv6EchoRequest(id=9, data=b"FORGED not")],
                    family=6)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_loop_to_the_outside(node, family):
    """An address of the service range that nobody owns never leaves by the default route."""
    nobody = {4: "10.96.200.200", 6: "fd00:96::2:200"}[family]
    with Tap(node.world, "w0") as world, Tap(node.evil.ns) as evil:
        evil.send(ether(node) / l3(node, family, nobody) / UDP(sport=1, dport=53) / Raw(b"FORGED"))
        node.wait_drop("service-unknown")
        marker = {4: "172.31.0.1", 6: "fd00:31::1"}[family]
        evil.send(ether(node) / l3(node, family, marker) / UDP(sport=1, dport=54) / Raw(b"the-marker"))
        got = world.until(lambda f: b"the-marker" in bytes(f))
    assert not [f for f in got if b"FORGED" in bytes(f)]
