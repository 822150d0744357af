#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints vmlinux.h of the running kernel. Usage: tools/vmlinux.sh > vmlinux/vmlinux.h
set -eu
bpftool=$(command -v bpftool || echo /usr/sbin/bpftool)
echo "/* SPDX-License-Identifier: GPL-2.0-only */"
echo "/* Made by tools/vmlinux.sh from Linux $(uname -r | sed 's/-.*//') $(uname -m); don't edit. */"
"$bpftool" btf dump file /sys/kernel/btf/vmlinux format c
