#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Install what building, testing and the demo need, on Debian 12 and 13 and Ubuntu 24.04.
#
# Run as root. Where everything is there already this is one dpkg-query and no network. No host
# name appears here: where a newer libbpf must come from the distribution's backports suite, its
# source is derived from the machine's own apt sources by changing the suite's name.
#
#   tools/deps.sh            install what is missing
#   tools/deps.sh --list     print the packages that this machine needs, install nothing
set -eu

LIBBPF_MIN=1.3 # tcx links

BUILD_DEPS="gcc make pkg-config libelf-dev zlib1g-dev libbpf-dev libjansson-dev libyaml-dev
	libmnl-dev libsystemd-dev uthash-dev libsqlite3-dev libxxhash-dev
	libmicrohttpd-dev libncurses-dev"
TEST_DEPS="libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-pyte python3-scapy
	python3-yaml nginx-light curl iperf3 wrk dnsmasq-base bind9-dnsutils iproute2 ethtool
	iputils-ping iputils-tracepath traceroute tcpdump nftables iptables netcat-openbsd socat
	procps util-linux kmod prometheus tshark"

fail() {
	echo "deps: $*" >&2
	exit 1
}

installed() { # every package named is installed
	for p in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || return 1
	done
}

available() { # apt knows a candidate of the package
	apt-cache policy "$1" 2>/dev/null | grep -q '^ *Candidate: [^(]'
}

# What provides bpftool and clang differs between distributions: `pick LABEL SET...` prints the
# first set that is installed, or else the first one that apt could install.
pick() {
	label=$1
	shift
	for set in "$@"; do
		# shellcheck disable=SC2086 # a set is several words
		if installed $set; then
			echo "$set"
			return
		fi
	done
	for set in "$@"; do
		ok=yes
		for p in $set; do
			available "$p" || ok=no
		done
		if [ $ok = yes ]; then
			echo "$set"
			return
		fi
	done
	fail "no package of this distribution provides $label (tried: $*)"
}

libbpf_new_enough() {
	v=$(dpkg-query -W -f '${Version}' libbpf-dev 2>/dev/null) || return 1
	v=${v#*:}
	dpkg --compare-versions "$v" ge "$LIBBPF_MIN"
}

# The stanza (deb822) or line (one-line format) of the plain suite, with the suite renamed.
derive_source() { # CODENAME SUITE: prints "FORMAT" and then the source
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -r "$f" ] || continue
		out=$(awk -v codename="$1" -v suite="$2" '
			BEGIN { RS = ""; FS = "\n" }
			{
				plain = 0; disabled = 0
				for (i = 1; i <= NF; i++) {
					if (tolower($i) ~ /^enabled:[ \t]*no/) disabled = 1
					if (tolower($i) !~ /^suites:/) continue
					n = split($i, word, /[ \t]+/)
					for (k = 2; k <= n; k++) if (word[k] == codename) plain = 1
				}
				if (!plain || disabled) next
				for (i = 1; i <= NF; i++) {
					if ($i ~ /^#/) continue
					if (tolower($i) ~ /^types:/) print "Types: deb"
					else if (tolower($i) ~ /^suites:/) print "Suites: " suite
					else print $i
				}
				exit
			}' "$f")
		if [ -n "$out" ]; then
			printf 'sources\n%s\n' "$out"
			return
		fi
	done
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -r "$f" ] || continue
		out=$(awk -v codename="$1" -v suite="$2" '
			$1 == "deb" {
				for (i = 2; i <= NF; i++) if ($i == codename) { $i = suite; print; exit }
			}' "$f")
		if [ -n "$out" ]; then
			printf 'list\n%s\n' "$out"
			return
		fi
	done
	return 1
}

enable_backports() { # CODENAME
	suite=$1-backports
	if apt-cache policy | grep -q "n=$suite"; then
		return
	fi
	found=$(derive_source "$1" "$suite") ||
		fail "cannot find this machine's apt source for $1; add $suite by hand and run again"
	file=/etc/apt/sources.list.d/$suite.$(echo "$found" | head -n 1)
	[ ! -e "$file" ] || return 0 # there, but not fetched yet
	echo "deps: adding $suite as $file"
	echo "$found" | tail -n +2 >"$file"
}

[ "$(id -u)" = 0 ] || [ "${1:-}" = --list ] || fail "installing packages needs root: run 'sudo make deps'"
command -v dpkg-query >/dev/null ||
	fail "this is neither Debian nor Ubuntu: install by hand what BUILD_DEPS and TEST_DEPS name in $0"
. /etc/os-release
codename=${VERSION_CODENAME:-}
export DEBIAN_FRONTEND=noninteractive

want() {
	bpftool=$(pick bpftool "bpftool" "linux-tools-common linux-tools-generic") || exit
	# the versioned ones: what `clang` itself means may be too old (14 on Debian 12),
	# and so may clang-format
	# what drives the page; on Ubuntu it is a snap, which has no place here: its tests say so
	chromium=
	[ "${ID:-}" = ubuntu ] || chromium=chromium
	clang=$(pick clang "clang-19 clang-format-19 libclang-rt-19-dev" \
		"clang-18 clang-format-18 libclang-rt-18-dev" "clang-17" "clang-16") || exit
	# shellcheck disable=SC2086 # one word each
	echo $BUILD_DEPS $clang $bpftool $TEST_DEPS $chromium
}

if [ "${1:-}" = --list ]; then
	want
	exit
fi

# The fast way out. pick() asks apt only about what is not installed.
packages=$(want 2>/dev/null) || packages=
# shellcheck disable=SC2086
if [ -n "$packages" ] && installed $packages && libbpf_new_enough; then
	echo "deps: everything is installed"
	exit
fi

install() {
	apt-get install -y -q --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}

case ${ID:-}/$codename in
debian/bookworm) enable_backports bookworm ;;
debian/* | ubuntu/*) ;;
*) echo "deps: ${PRETTY_NAME:-this system} is not one of the systems tested; trying" >&2 ;;
esac

apt-get update -q -o DPkg::Lock::Timeout=300
if [ "${ID:-}/$codename" = debian/bookworm ] && ! { libbpf_new_enough && installed bpftool; }; then
	install -t bookworm-backports libbpf-dev bpftool
fi
packages=$(want)
# their packages would start servers of the machine's own, now and at every boot: the tests run theirs
# in namespaces
servers=
installed nginx-light || servers="$servers nginx"
installed prometheus || servers="$servers prometheus"
policy=/usr/sbin/policy-rc.d
placed=
if [ ! -e $policy ] && [ -n "$servers" ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	placed=yes
	trap 'rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086
install $packages
[ -z "$placed" ] || rm -f $policy
if [ -n "$servers" ] && command -v systemctl >/dev/null; then
	# shellcheck disable=SC2086
	systemctl disable -q $servers || echo "deps: can't disable the services$servers" >&2
fi
libbpf_new_enough ||
	fail "libbpf-dev is $(dpkg-query -W -f '${Version}' libbpf-dev), but $LIBBPF_MIN or later is needed"
echo "deps: done"
