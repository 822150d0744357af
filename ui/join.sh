#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Join page.html, style.css and the scripts into one page and write it as a C array, with the hashes
# by which a Content-Security-Policy allows what is inline.
#
#   ui/join.sh HEADER SCRIPT...
set -eu

here=$(dirname "$0")
out=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

hash() { # sha256 in base64; printf makes bytes of octal numbers
	hex=$(sha256sum "$1" | cut -c1-64)
	octal=
	while [ -n "$hex" ]; do
		rest=${hex#??}
		octal=$octal$(printf '\\%03o' "0x${hex%"$rest"}")
		hex=$rest
	done
	# shellcheck disable=SC2059 # the format is what makes the bytes
	printf "$octal" | base64
}

# what stands between <style> and </style>, and between <script> and </script>, to the byte
cat "$here/style.css" >"$work/style"
# modules of one line's imports each: in one script there is nothing to import
sed -e '/^import .*;$/d' -e 's/^export //' "$@" >"$work/script"
while IFS= read -r line; do
	case $line in
	*@STYLE@*)
		printf '<style>'
		cat "$work/style"
		echo '</style>'
		;;
	*@SCRIPT@*)
		printf '<script type="module">'
		cat "$work/script"
		echo '</script>'
		;;
	*) printf '%s\n' "$line" ;;
	esac
done <"$here/page.html" >"$work/page"

{
	echo "#define PAGE_SCRIPT \"sha256-$(hash "$work/script")\""
	echo "#define PAGE_STYLE \"sha256-$(hash "$work/style")\""
	echo 'static const unsigned char page[] = {'
	od -An -v -tx1 "$work/page" | sed 's/ \(..\)/0x\1,/g'
	echo '};'
} >"$out"
