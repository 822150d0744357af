#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# House rules that a tool can check. A tool that is not installed is named and left out.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

complain() {
	echo "lint: $*" >&2
	bad=1
}

files=$(git ls-files --cached --others --exclude-standard)

for f in $files; do
	case $f in
	LICENSES/* | tests/fuzz/seeds/* | *.json | *.txt | .gitignore | vmlinux/* | *.expected) continue ;;
	esac
	[ -s "$f" ] || continue
	head -n 3 "$f" | grep -q 'SPDX-License-Identifier:' || complain "$f: no SPDX line"
	case $f in
	bpf/*)
		head -n 3 "$f" | grep -q 'GPL-2.0-only OR BSD-2-Clause' ||
			complain "$f: the datapath is GPL-2.0-only OR BSD-2-Clause"
		;;
	esac
	case $f in
	*.c | *.h | *.py | *.sh)
		lines=$(wc -l <"$f")
		[ "$lines" -le 600 ] || echo "lint: note: $f has $lines lines; think of splitting it"
		grep -nE '[[:blank:]]+$' "$f" /dev/null && complain "$f: trailing blanks"
		;;
	esac
done

scripts=$(for f in $files; do
	case $f in
	*.sh | .ci/run) echo "$f" ;;
	esac
done)
if command -v shellcheck >/dev/null; then
	# shellcheck disable=SC2086 # one word each
	shellcheck -x $scripts || complain "shellcheck"
else
	echo "lint: shellcheck is not installed, shell scripts not checked"
fi

python=$(for f in $files; do
	case $f in
	*.py) echo "$f" ;;
	esac
done)
for f in $python; do
	/usr/bin/python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$f" ||
		complain "$f: does not parse"
done
if command -v pyflakes3 >/dev/null; then
	# rawnet.py hands scapy's names on
	# shellcheck disable=SC2086
	pyflakes3 $python | grep -v '^tests/e2e/rawnet.py:.*imported but unused' && complain "pyflakes"
else
	echo "lint: pyflakes3 is not installed, Python only parsed"
fi

tools/format.sh --check || complain "clang-format: run 'make format'"

[ $bad = 0 ] && echo "lint: done"
exit $bad
