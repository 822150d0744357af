#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Boot stock kernels and run the program tests and a small end-to-end suite in each.
# usage: run.sh KERNEL...     5.10, 6.1, 6.12, newest; the last line is `N passed, N failed`
set -u
here=$(dirname "$0")
# shellcheck source=tests/kernels/lib.sh
. "$here/lib.sh"

"$here/tools.sh" || die "qemu or virtme-ng is missing"
mkdir -p "$cache"
passed=0
failed=0
for kernel in "$@"; do
	if ! folder=$("$here/fetch.sh" "$kernel"); then
		echo "kernel $kernel: can't be fetched"
		failed=$((failed + 1))
		continue
	fi
	log=$cache/$kernel.log
	for try in 1 2; do
		echo "=== kernel $kernel"
		# a pipe, because qemu truncates a plain file
		"$here/boot.sh" "$folder" "$repo/tests/kernels/guest.sh" 2>&1 | tee "$log"
		code=${PIPESTATUS[0]}
		[ "$code" = 255 ] || [ "$code" = 124 ] || break
		[ $try = 2 ] || echo "kernel $kernel: the guest died, once more"
	done
	line=$(tr -d '\r' <"$log" | grep -E '^[0-9]+ passed, [0-9]+ failed$' | tail -n 1)
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		[ "$code" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || failed=$((failed + 1))
	else
		echo "kernel $kernel: came to no result, exit code $code"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
