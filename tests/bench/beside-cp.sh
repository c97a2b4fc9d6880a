#!/usr/bin/env bash
# beside-cp.sh FOLDER [TURNS]: qz-quantize and qz-merge --to hf of a model's folder beside `cp -r` of it, in turns, the input in
# the page cache; FOLDER/adapter is merged (tests/bench/big-model.py makes both).  Every line: the median of the wall times, the
# least and the most, seconds.  cp leaves its copy to the page cache; qz waits until the disk has its output, so `sync` stands
# behind a second cp.  New memory for the cache costs what the host makes of it: cp alone varies threefold, hence the turns.
set -eu
model=$1 turns=${2:-7}
work=$(mktemp -d "${TMPDIR:-/tmp}/beside-cp.XXXXXX")
trap 'rm -rf "$work"' EXIT

once() { # NAME COMMAND...
	local name=$1
	shift
	rm -rf "$work/out"
	sync
	TIMEFORMAT=%R
	{ time "$@" >"$work/said" 2>&1; } 2>>"$work/$name" || { cat "$work/said" >&2; exit 1; }
}

copy_and_sync() {
	cp -r "$model" "$work/out"
	sync
}

cat "$model"/*.safetensors >/dev/null
for ((i = 0; i < turns; i++)); do
	once 'qz-merge --to hf' qz-merge --to hf -o "$work/out" "$model" "$model/adapter"
	once 'cp -r' cp -r "$model" "$work/out"
	once 'qz-quantize -o' qz-quantize -o "$work/out" "$model"
	once 'cp -r and sync' copy_and_sync
done
for name in 'cp -r' 'cp -r and sync' 'qz-quantize -o' 'qz-merge --to hf'; do
	sort -n "$work/$name" | awk -v name="$name" '{ t[NR] = $1 }
		END { printf "%-18s %.2f  (%.2f to %.2f)\n", name, t[int((NR + 1) / 2)], t[1], t[NR] }'
done
