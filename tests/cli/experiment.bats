#!/usr/bin/env bats
# examples/experiment on a small model: make makes it, then nothing, then only what the data touches.

load helper
load stories

setup() {
	[ -x "$BUILD/bin/qz-train" ] || skip "qz-train is not built"
	command -v gnuplot >/dev/null || skip "no gnuplot"
	stories "$BATS_TEST_TMPDIR" 12
	cd "$BATS_TEST_TMPDIR" || return
}

experiment() {
	make --no-print-directory -C "$ROOT/examples/experiment" OUT="$PWD/out" MODEL="$PWD/model" DATA="$PWD/train.jsonl" \
		HELDOUT="$PWD/heldout.jsonl" STEPS=4 TRAIN='-r 4 --batch 2' BIN="$BUILD/bin" "$@"
}

@test "two learning rates, one report; then nothing to do; then what the data touches" {
	run experiment
	[ "$status" -eq 0 ] || { echo "$output"; false; }
	grep -q 'base + adapter, learning rate 3e-4 | [0-9.]* |' out/report.md
	grep -q '<svg' out/loss.svg
	run experiment
	[[ "$output" == *"Nothing to be done"* ]]
	sleep 1.1
	touch train.jsonl
	run experiment
	[ "$status" -eq 0 ]
	[ "$(grep -c '^qz-train -b' <<<"$output")" -eq 2 ]
	[[ "$output" != *qz-quantize* ]]
	[[ "$output" != *heldout.jsonl* ]]
}

@test "other settings train again, on the same tokens" {
	run experiment
	run experiment STEPS=5
	[ "$(grep -c '^qz-train -b' <<<"$output")" -eq 2 ]
	[[ "$output" != *qz-tokenize* ]]
}
