#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""New flows offered at a rate with one reader, and what became of every record, stage by stage.

    accounts.py [RATE [SECONDS]]       200,000 a second for 10 s; the sender is build/bench/offer
"""
import os
import subprocess
import sys
import tempfile

import rig  # noqa: F401  (finds the end-to-end tests' modules)
from accounts import Account, Heard, samples
from harness import BIN, eventually
from netns import argv
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

PATIENCE = 120  # seconds, for a reader that is behind


def frame(node, client, server):
    """Every pod's gateway has the MAC of the host side of its device."""
    host = next(e["host_ifname"] for e in node.json("endpoint", "list") if e["pod"] == client.name)
    return bytes(Ether(src=client.mac, dst=node.link(node.ns, host)["address"]) /
                 IP(src=client.ip[4], dst=server.ip[4]) / UDP(sport=1, dport=1, chksum=0)).hex()


def main(rate=200000, seconds=10):
    failed = False
    with rig.node() as node, tempfile.TemporaryDirectory() as folder:
        client, server = node.pod("client"), node.pod("server")
        path = os.path.join(folder, "flows.json")
        with open(path, "wb") as out:
            reader = node.popen(None, f"{BIN}/bpfnet", "--run-dir", node.run_dir, "-o", "json",
                                "flows", "-f", stdout=out)
        eventually(lambda: samples(node)["bpfnet_flow_readers", ""] == 1, "the reader is there")
        before, heard = samples(node), Heard(path)
        out = subprocess.run(argv(client.ns, os.path.join(BIN, "bench/offer"), client.ifname,
                                  frame(node, client, server), rate, seconds),
                             check=True, capture_output=True, text=True).stdout
        sent, took = int(out.split()[0]), float(out.split()[1])
        print(f"offered {sent} flows in {took:.2f} s, {sent / took:.0f} a second")
        account = None

        def at_rest():
            nonlocal account
            account = Account(before, samples(node))
            heard.read()
            told = sum(a for stage, a, _ in account.stages() if stage.startswith("flows put"))
            return not account.wrong() and heard.flows + heard.lost["reader"] == told
        try:
            eventually(at_rest, "every stage is even", timeout=PATIENCE, every=1)
        except AssertionError:
            failed = True
        lost = account.of("bpfnet_events_lost_total", 'stage="ring-buffer"')
        rows = [*account.stages(),
                ("flows put into the history, as the reader has it",
                 account.of("bpfnet_flow_events_total"),
                 {"read": heard.flows, "told as overwritten": heard.lost["reader"]}),
                ("records lost in the datapath, as the reader has it", lost,
                 {"told": heard.lost["datapath"]})]
        for stage, total, parts in rows:
            even = total == sum(parts.values())
            failed |= not even
            print(f"{stage}: {total} = " + " + ".join(f"{n} {what}" for what, n in parts.items()) +
                  ("" if even else "   UNEVEN"))
        reader.terminate()
        reader.wait()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
