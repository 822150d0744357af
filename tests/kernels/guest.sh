#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What runs inside the virtual machine: every program test, and a small end-to-end suite.
set -u
cd "$(dirname "$0")/../.." || exit 1

# emulated, everything takes about twenty times as long
export BPFNET_TEST_SLOW=20 PYTHONDONTWRITEBYTECODE=1
BPFNET_TEST_LOGS=$(mktemp -d) || exit 1
export BPFNET_TEST_LOGS
ip link set lo up
grep -q ' cgroup2 ' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
echo "kernel $(uname -r), started after $(cut -d' ' -f1 /proc/uptime) s"
exec /usr/bin/python3 tools/run-tests.py program e2e-smoke
