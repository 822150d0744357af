#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Boot a kernel over this machine's own root file system (read-only below throw-away overlays), run
# a command in it as root, and exit with its exit code; 255: the guest died.
# usage: boot.sh KERNELDIR COMMAND
#
# The machine is emulated: a nested /dev/kvm often boots no stock kernel. BPFNET_KVM=1 uses it.
# cx16=off: the emulation of qemu 7.2 computes wrong flags after cmpxchg16b, and 6.12 and later die
# of it in kmalloc. Two processors, since emulation is slow and the tests run side by side; no
# mitigations, for the same reason.
set -eu
# shellcheck source=tests/kernels/lib.sh
. "$(dirname "$0")/lib.sh"

kernel=$1
command=$2
release=$(ls "$kernel/lib/modules")
if ! command -v virtiofsd >/dev/null && [ ! -x /usr/libexec/virtiofsd ] && [ -x /usr/lib/qemu/virtiofsd ]; then
	mkdir -p "$cache/bin"
	cp "$repo/tests/kernels/virtiofsd.sh" "$cache/bin/virtiofsd"
	chmod 755 "$cache/bin/virtiofsd"
	PATH=$cache/bin:$PATH
fi
if [ "${BPFNET_KVM:-0}" = 1 ]; then
	set -- --qemu-opts=-cpu\ host
else
	set -- --disable-kvm "--qemu-opts=-cpu max,cx16=off"
fi
exec timeout "${BPFNET_BOOT_LIMIT:-1800}" vng --run "$kernel/boot/vmlinuz-$release" --user root \
	--cpus 2 --memory 1G --append mitigations=off "$@" --cwd "$repo" --exec "$command" </dev/null
