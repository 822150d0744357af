# SPDX-License-Identifier: Apache-2.0
"""bpfnetd with no more than its systemd unit gives it."""
import os
import re
import shutil
import subprocess

import pytest

import peers
from harness import BIN, cluster_ips, service_manifest

UNIT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../systemd/bpfnetd.service.in")
# linux/capability.h; setpriv may be older than the last ones
CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13,
                "SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYS_RESOURCE": 24, "PERFMON": 38, "BPF": 39}


def test_capabilities(make_node, tmp_path):
    """Pods, a service, a restart and an audit within the bounding set of the unit."""
    with open(UNIT) as f:
        names = re.search(r"^CapabilityBoundingSet=(.*)$", f.read(), re.M)[1].split()
    caps = ",".join(f"+cap_{CAPABILITIES[n.removeprefix('CAP_')]}" for n in names)
    wrapper = tmp_path / "bpfnetd"
    wrapper.write_text(f'#!/bin/sh\nexec setpriv --bounding-set=-all,{caps} --no-new-privs '
                       f'{BIN}/bpfnetd "$@"\n')
    wrapper.chmod(0o755)
    node = make_node(start=False)
    node.start(binary=str(wrapper))
    with open(f"/proc/{node.agent.pid}/status") as f:
        effective = int(re.search(r"^CapEff:\s*(\w+)$", f.read(), re.M)[1], 16)
    # a container may not have all of them to give
    assert effective and not effective & ~sum(1 << CAPABILITIES[n.removeprefix("CAP_")]
                                              for n in names)
    node.pod("b1", labels={"app": "web"}).tcp(8080)
    client = node.pod("client")
    node.apply(service_manifest("web", [(80, 8080)], {"app": "web"}, ips=cluster_ips(1)))
    node.stop()
    node.start(binary=str(wrapper))
    for ip in cluster_ips(1):
        assert peers.tcp(client.ns, ip, 80).name == "b1"
    assert not any(r["failed"] for r in node.json("map", "audit"))
    assert node.status() == 0
    node.detach(client)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_verify(tmp_path):
    with open(UNIT) as f:
        text = f.read().replace("@SBINDIR@/bpfnetd", f"{BIN}/bpfnetd").replace("@SYSCONFDIR@", "/etc")
    # manual pages are where they were installed, or not yet
    unit = tmp_path / "bpfnetd.service"
    unit.write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.M))
    r = subprocess.run(["systemd-analyze", "verify", str(unit)], text=True, capture_output=True)
    assert r.returncode == 0 and "bpfnetd" not in r.stderr, r.stderr
