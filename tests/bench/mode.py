#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""bpfnet as a mode of the baseline benchmark (bpfnet.json): setup, change, teardown.

The harness names its namespaces in BENCH_*; everything here is done by the two programs' own
command lines. The pods' veths are taken away and made anew by `bpfnet endpoint add`.

    mode.py setup | change IP:PORT | teardown

BPFNET_BENCH_SOCKET: 1 balances at the socket (bpfnet-socket.json).
BPFNET_BENCH_SERVICES: how many services there are besides (default 1000).
BPFNET_BENCH_FLOWS: off reports no flows; read has a reader of them all as JSON, stalled one that has
stopped reading besides (flows-*.json).
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.path.join(ROOT, os.environ.get("BPFNET_BUILD", "build"))
ID = os.environ["BENCH_ID"]
DIR = os.path.join(tempfile.gettempdir(), f"bpfnet-mode-{ID}")
RUN, STATE, BPFFS = DIR + "/run", DIR + "/state", f"/sys/fs/bpf/{ID}"
CGROUP = os.environ["BENCH_CGROUP"] if os.environ.get("BPFNET_BENCH_SOCKET") == "1" else "none"
NODE = os.environ["BENCH_NODE_NETNS"]
FLOWS = os.environ.get("BPFNET_BENCH_FLOWS", "on")


def agent_argv(*extra):
    return ["nsenter", f"--net={NODE}", f"{BIN}/bpfnetd", "--node-name", "bench", "--run-dir", RUN,
            "--state-dir", STATE, "--bpffs", BPFFS, "--cgroup", CGROUP,
            "--device", os.environ["BENCH_UPLINK"], "--pod-cidr", "10.244.0.0/16", *extra]


def bpfnet(*args, stdin=None):
    r = subprocess.run([f"{BIN}/bpfnet", "--run-dir", RUN, *args], input=stdin, text=True,
                       capture_output=True, timeout=120)
    if r.returncode:
        sys.exit(f"bpfnet {' '.join(args)}: {r.stderr}")
    return r.stdout


def service(name, address, endpoints):
    """endpoints: ip:port strings. TCP and UDP."""
    ip, port = address.rsplit(":", 1)
    target = int(endpoints[0].rsplit(":", 1)[1])
    ports = [{"name": p.lower(), "port": int(port), "protocol": p, "targetPort": target}
             for p in ("TCP", "UDP")]
    return [{"apiVersion": "v1", "kind": "Service",
             "metadata": {"name": name, "namespace": "bench"},
             "spec": {"clusterIP": ip, "ports": ports}}, endpoint_slice(name, endpoints)]


def endpoint_slice(name, endpoints):
    target = int(endpoints[0].rsplit(":", 1)[1])
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-1", "namespace": "bench",
                         "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": p.lower(), "port": target, "protocol": p} for p in ("TCP", "UDP")],
            "endpoints": [{"addresses": [e.rsplit(":", 1)[0]], "conditions": {"ready": True}}
                          for e in endpoints]}


def apply(objects):
    bpfnet("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List",
                                                 "items": objects}))


def start():
    os.makedirs(DIR)
    with open(DIR + "/config.yaml", "w") as f:
        f.write(f"flows:\n  events: {'off' if FLOWS == 'off' else 'on'}\n")
    with open(DIR + "/log", "wb") as log:
        p = subprocess.Popen(agent_argv("--config", DIR + "/config.yaml"), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                             start_new_session=True)
    with open(DIR + "/pid", "w") as f:
        f.write(str(p.pid))
    deadline = time.monotonic() + 120
    while subprocess.run([f"{BIN}/bpfnet", "--run-dir", RUN, "status"],
                         capture_output=True).returncode not in (0, 3):
        if p.poll() is not None or time.monotonic() > deadline:
            with open(DIR + "/log") as f:
                sys.exit(f"bpfnetd does not come up: {f.read()[-600:]}")
        time.sleep(0.02)


def setup():
    start()
    for pod in os.environ["BENCH_PODS"].split(","):
        name, ip, device = pod.split("=")[:3]
        ns = os.environ["BENCH_CLIENT_NS"] if name == "client" else ID + name
        subprocess.run(["ip", "-n", os.environ["BENCH_NODE_NS"], "link", "del", device],
                       check=True)
        bpfnet("endpoint", "add", f"bench/{name}", "--netns", ns, "--ip", ip)
    backends = os.environ["BENCH_BACKENDS"].split(",")
    objects = []
    for i in range(int(os.environ.get("BPFNET_BENCH_SERVICES", "1000"))):
        objects += service(f"other-{i}", f"10.97.{i >> 8}.{i & 255}:80",
                           [f"10.245.{i >> 8}.{i & 255}:8080", f"10.246.{i >> 8}.{i & 255}:8080",
                            f"10.247.{i >> 8}.{i & 255}:8080"])
    objects += service("canary", os.environ["BENCH_CANARY"], backends[:1])
    objects += service("main", os.environ["BENCH_VIP"], backends)
    apply(objects)
    if FLOWS in ("read", "stalled"):
        read()
    if FLOWS == "stalled":
        stalled = read()
        with open(DIR + "/stalled", "w") as f:
            f.write(str(stalled.pid))
        time.sleep(0.2)
        stalled.send_signal(signal.SIGSTOP)


def read():
    """Somebody who reads every flow, until the agent ends."""
    return subprocess.Popen([f"{BIN}/bpfnet", "--run-dir", RUN, "-o", "json", "flows", "-f"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            stdin=subprocess.DEVNULL, start_new_session=True)


def teardown():
    subprocess.run(agent_argv("--uninstall"), check=True, capture_output=True, timeout=60)
    for name, how in (("pid", signal.SIGTERM), ("stalled", signal.SIGKILL)):
        try:
            with open(f"{DIR}/{name}") as f:
                os.kill(int(f.read()), how)
        except (FileNotFoundError, ProcessLookupError):
            pass
    shutil.rmtree(DIR)


def main():
    if sys.argv[1] == "setup":
        setup()
    elif sys.argv[1] == "change":
        apply([endpoint_slice("canary", [sys.argv[2]])])
    else:
        teardown()


if __name__ == "__main__":
    main()
