#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
#   tools/format.sh            format the C sources in place, but for .clang-format-ignore
#   tools/format.sh --check    say what is not formatted, change nothing
#
# Versions before 18 don't read .clang-format-ignore, and break a macro's braces otherwise.
set -u
cd "$(dirname "$0")/.." || exit 1

usable() { # COMMAND
	major=$("$1" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\)\..*/\1/p')
	[ "${major:-0}" -ge 18 ]
}

for format in clang-format-19 clang-format-18 clang-format none; do
	usable "$format" && break
done
if [ "$format" = none ]; then
	echo "format: there is no clang-format of version 18 or later, formatting not checked"
	[ "${1:-}" = --check ]
	exit
fi
case ${1:-} in
--check) how="--dry-run --Werror" ;;
*) how=-i ;;
esac
# shellcheck disable=SC2046,SC2086 # one word each
exec "$format" $how $(git ls-files --cached --others --exclude-standard '*.c' '*.h')
