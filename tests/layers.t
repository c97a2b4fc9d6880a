#!/usr/bin/env bash
# Includes point one way (DESIGN, section 2), and a third-party header is included in one file.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck disable=SC2016 # awk's own variables
bad=$(git ls-files -co --exclude-standard '*.c' '*.h' '*.cu' '*.cuh' '*.def' | grep -v '^tests/' | grep -v '^examples/' | xargs awk '
function level(f) {
	if (f ~ /^kernels\//) return 2
	if (f ~ /^libcore\/base\//) return 1
	if (f ~ /^libcore\/io\//) return 3
	if (f ~ /^libcore\/shard\//) return 4
	if (f ~ /^libcore\/(format|text)\//) return 5
	if (f ~ /^libcore\/model\//) return 6
	if (f ~ /^tools\/common\//) return 7
	if (f ~ /^tools\//) return 8
	return 99
}
/^#include "/ {
	split($0, q, "\""); inc = q[2]
	own = FILENAME; sub(/\/[^\/]*$/, "", own)
	theirs = inc; sub(/\/[^\/]*$/, "", theirs)
	if (level(inc) > level(FILENAME)) print FILENAME ":" FNR ": includes " inc ", which is above it"
	if (level(inc) == level(FILENAME) && own != theirs && level(inc) >= 5 && own !~ "^" theirs && inc !~ "^" own) print FILENAME ":" FNR ": includes " inc ", which is beside it"
	if (inc ~ /^kernels\// && FILENAME ~ /^libcore/ && inc != "kernels/kernels.h" && inc != "kernels/ops.def") print FILENAME ":" FNR ": includes " inc ", only kernels.h and its list of ops are for libcore"
}
/^#include </ {
	split($0, q, /[<>]/); inc = q[2]
	if (inc ~ /^(zstd|xxhash|archive|archive_entry|cublasLt|pcre2|utf8proc|dlfcn)\.h$/) {
		where = inc (FILENAME ~ /^kernels\/cuda\// ? " in the plugin" : "")
		if (where in by && by[where] != FILENAME) print FILENAME ": includes <" inc ">, as " by[where] " does"
		by[where] = FILENAME
	}
}')
if [ -n "$bad" ]; then
	echo "not ok 1 - includes point one way"
	printf '%s\n' "$bad" | sed 's/^/# /'
else
	echo "ok 1 - includes point one way"
fi
echo "1..1"
