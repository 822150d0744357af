#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints compile_commands.json. Usage: compile-commands.sh CC MAPS_FLAGS LOADER_FLAGS CLI_FLAGS
set -eu
cc=$1 maps=$2 loader=$3 cli=$4
first=1
echo "["
for f in maps/*.c loader/*.c loader/*/*.c cli/*.c cli/*/*.c; do
	[ -e "$f" ] || continue
	case $f in
	maps/*) flags=$maps ;;
	loader/*) flags=$loader ;;
	*) flags=$cli ;;
	esac
	[ $first = 1 ] || echo ","
	first=0
	printf '  {"directory": "%s", "file": "%s", "command": "%s %s -c %s"}' \
		"$PWD" "$f" "$(printf %s "$cc" | sed 's/"/\\"/g')" "$flags" "$f"
done
echo
echo "]"
