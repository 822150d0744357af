# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts here share. Sourced; sets `cache`, and APT_CONFIG for a private apt: its sources
# are the machine's own with other suite names, its lists and archives live under the cache, and
# the machine's own apt configuration is left alone.

repo=$(cd "$(dirname "$0")/../.." && pwd)
cache=$repo/${BPFNET_BUILD:-build}/kernels

die() {
	echo "kernels: $*" >&2
	exit 1
}

# The Debian suite whose stock kernel is meant.
suite_of() {
	case $1 in
	5.10) echo bullseye ;;
	6.1) echo bookworm ;;
	6.12) echo trixie ;;
	newest) echo sid ;;
	*) die "no suite is known for kernel '$1': use 5.10, 6.1, 6.12 or newest" ;;
	esac
}

# The plain archive of this machine's sources, for other suites.
private_sources() { # SUITE...
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -r "$f" ] || continue
		awk -v suites="$*" '
			BEGIN { RS = ""; FS = "\n" }
			/(^|\n)[Ss]uites:[^\n]*-security/ || /(^|\n)[Ee]nabled:[ \t]*no/ { next }
			/(^|\n)[Uu][Rr][Ii]s:[^\n]*debian/ {
				for (i = 1; i <= NF; i++) {
					if ($i ~ /^#/) continue
					if (tolower($i) ~ /^types:/) print "Types: deb"
					else if (tolower($i) ~ /^suites:/) print "Suites: " suites
					else if (tolower($i) ~ /^components:/) print "Components: main"
					else print $i
				}
				exit
			}' "$f"
	done | awk '/^$/ { exit } /^Types:/ && seen++ { exit } { print }'
}

private_apt() {
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
	APT_CONFIG=$cache/apt/apt.conf
	export APT_CONFIG
	[ ! -e "$cache/apt/done" ] || return 0
	private_sources bullseye bookworm trixie sid >"$cache/apt/debian.sources"
	if [ ! -s "$cache/apt/debian.sources" ]; then
		for suite in bullseye bookworm trixie sid; do
			awk -v suite="$suite" '$1 == "deb" && /debian[ \/]/ && !/-security|-updates|-backports/ {
				for (i = 2; i <= NF; i++)
					if ($i ~ /^[a-z]+$/) { $i = suite; $(i + 1) = "main"; NF = i + 1; print; exit }
			}' /etc/apt/sources.list
		done >"$cache/apt/debian.list"
		[ -s "$cache/apt/debian.list" ] ||
			die "the stock kernels are Debian's, and this machine's apt sources name no Debian archive"
		rm -f "$cache/apt/debian.sources"
		source=$cache/apt/debian.list
	else
		source=$cache/apt/debian.sources
	fi
	cat >"$APT_CONFIG" <<EOC
Dir::Etc::sourcelist "$source";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$cache/apt/lists";
Dir::Cache "$cache/apt";
Dir::Cache::pkgcache "pkgcache.bin";
APT::Sandbox::User "root";
Acquire::Languages "none";
EOC
	apt-get -qq update || die "the archive of other suites can't be reached"
	touch "$cache/apt/done"
}
