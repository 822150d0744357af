#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Install what booting kernels takes: qemu, virtme-ng and udev (without it the guest lacks
# /dev/virtio-ports, and the exit code is lost). Fast when all is there.
set -eu
# shellcheck source=tests/kernels/lib.sh
. "$(dirname "$0")/lib.sh"

if command -v vng >/dev/null && command -v qemu-system-x86_64 >/dev/null && [ -x /lib/systemd/systemd-udevd ]; then
	exit 0
fi
[ "$(id -u)" = 0 ] || die "installing qemu and virtme-ng needs root"
private_apt
unset APT_CONFIG
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
(cd "$cache" && rm -f virtme-ng_*.deb && APT_CONFIG=$cache/apt/apt.conf apt-get -qq download virtme-ng)
# virtiofsd: the kernels of the cloud flavour have no 9p
virtiofsd=
if apt-cache policy virtiofsd | grep -q 'Candidate: [^(]'; then
	virtiofsd=virtiofsd
fi
# shellcheck disable=SC2086 # none or one word
apt-get install -y -q --no-install-recommends "$cache"/virtme-ng_*.deb qemu-system-x86 udev kmod $virtiofsd
