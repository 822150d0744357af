#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Unpack a stock Debian kernel under the cache, without installing it.
# usage: fetch.sh 5.10|6.1|6.12|newest      prints the folder: boot/vmlinuz-REL, lib/modules/REL
set -eu
# shellcheck source=tests/kernels/lib.sh
. "$(dirname "$0")/lib.sh"

suite=$(suite_of "$1")
dest=$cache/$1
if [ -e "$dest/done" ]; then
	echo "$dest"
	exit
fi
private_apt >&2
meta=linux-image-cloud-amd64
version=$(apt-cache madison "$meta" | awk -F '|' -v suite=" $suite/" 'index($3, suite) { gsub(/ /, "", $2); print $2; exit }')
[ -n "$version" ] || die "$suite has no $meta"

# The kernel's own packages that the meta package depends on, and what those depend on: one
# linux-image up to 6.x, split into linux-binary, -modules and -base later.
depends() {
	apt-cache show "$1=$version" | sed -n 's/^Depends: //p' | tr ',' '\n' |
		sed 's/ *(.*//; s/|.*//; s/^ *//' | grep -E '^linux-(image|binary|modules|base)-[0-9]' || true
}
todo=$(depends "$meta")
all=
while [ -n "$todo" ]; do
	next=
	for package in $todo; do
		case " $all " in
		*" $package "*) continue ;;
		esac
		all="$all $package"
		next="$next $(depends "$package")"
	done
	todo=$(echo "$next" | xargs)
done
[ -n "$all" ] || die "$meta $version depends on no kernel"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for package in $all; do
	(cd "$work" && apt-get -qq download "$package=$version" >&2)
done
rm -rf "$dest"
mkdir -p "$dest"
for deb in "$work"/*.deb; do
	dpkg -x "$deb" "$dest"
done
# trixie and later have /usr/lib/modules only
if [ -d "$dest/usr/lib/modules" ] && [ ! -e "$dest/lib" ]; then
	ln -s usr/lib "$dest/lib"
fi
release=$(ls "$dest/lib/modules")
if [ ! -e "$dest/boot/vmlinuz-$release" ]; then
	mkdir -p "$dest/boot"
	ln -s "../lib/modules/$release/vmlinuz" "$dest/boot/vmlinuz-$release"
fi
/sbin/depmod -b "$dest" "$release"
echo "kernels: $1 is $release ($version)" >&2
touch "$dest/done"
echo "$dest"
