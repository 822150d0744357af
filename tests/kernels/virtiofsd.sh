#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# virtme-ng speaks the options of the Rust virtiofsd and expects SOCKET.pid; Debian 12 has only the
# C one of qemu 7.2. Called as `virtiofsd` on virtme-ng's PATH, this translates.
set -eu

socket=
folder=/
while [ $# -gt 0 ]; do
	case $1 in
	--version) exec /usr/lib/qemu/virtiofsd --version ;;
	--socket-path)
		socket=$2
		shift
		;;
	--socket-path=*) socket=${1#*=} ;;
	--shared-dir)
		folder=$2
		shift
		;;
	--shared-dir=*) folder=${1#*=} ;;
	-o | --sandbox | --inode-file-handles | --log-level | --modcaps | --thread-pool-size) shift ;;
	*) ;;
	esac
	shift
done
[ -n "$socket" ] || exit 2
# virtme-ng stops the daemon by this pid, which exec keeps
(
	i=0
	while [ ! -S "$socket" ] && [ $i -lt 250 ]; do
		sleep 0.02
		i=$((i + 1))
	done
	echo $$ >"$socket.pid"
) &
exec /usr/lib/qemu/virtiofsd -f --socket-path="$socket" -o source="$folder" -o sandbox=chroot \
	-o cache=auto -o log_level=err -o modcaps=+sys_admin
