#!/usr/bin/env bash
# The plugin exports its two tables and nothing else, so that it cannot meet the symbols of a tool.
set -u
cd "$(dirname "$0")/.." || exit 1
so=${B:-build}/lib/qz-cuda.so
echo 1..1
if [ ! -e "$so" ]; then
	echo "ok 1 # SKIP the plugin is not built"
	exit 0
fi
symbols=$(nm -D --defined-only "$so" | awk '{printf "%s ", $3}')
if [ "$symbols" = 'qz_backend_f16_v1 qz_backend_v1 ' ]; then
	echo "ok 1 - two symbols"
else
	echo "not ok 1 - symbols: $symbols"
	exit 1
fi
