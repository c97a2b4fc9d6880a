#!/usr/bin/env bats
# shellcheck disable=SC2016 # stubs are scripts: their dollars are theirs
# scripts/deps.sh with a system of our own making: a pkg-config, an id and an apt-get that we say.

setup() {
	deps=$BATS_TEST_DIRNAME/../../scripts/deps.sh
	stub=$BATS_TEST_TMPDIR/stub
	mkdir "$stub"
	for tool in gcc make mandoc bats shellcheck perl gnuplot python3; do
		fake "$tool" 'exit 0'
	done
	fake pkg-config '[ "$2" != libutf8proc ]'
	fake id 'echo 1000'
	fake apt-get "echo \"\$*\" >>'$BATS_TEST_TMPDIR/log'"
	PATH=$stub:$PATH
}

fake() { printf '#!/bin/sh\n%s\n' "$2" >"$stub/$1" && chmod +x "$stub/$1"; }

@test "nothing is missing: nothing is said or done" {
	fake pkg-config 'exit 0'
	run "$deps" build check demo experiment interop
	[ "$status" -eq 0 ]
	[ "$output" = "" ]
	[ ! -e "$BATS_TEST_TMPDIR/log" ]
}

@test "not root: one command to run, exit 1" {
	run "$deps" build
	[ "$status" -eq 1 ]
	[[ "${lines[1]}" == *"sudo apt-get update && sudo apt-get install -y --no-install-recommends libutf8proc-dev" ]]
	[ "${#lines[@]}" -eq 2 ]
	[ ! -e "$BATS_TEST_TMPDIR/log" ]
}

@test "root: updates, then installs what is missing and no more" {
	fake id 'echo 0'
	fake mandoc 'exit 0'
	run "$deps" build
	[ "$status" -eq 0 ]
	grep -q update "$BATS_TEST_TMPDIR/log"
	grep -q 'install -y --no-install-recommends libutf8proc-dev' "$BATS_TEST_TMPDIR/log"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/log")" -eq 2 ]
}

@test "check, demo and experiment need what build needs" {
	for goal in check demo experiment interop; do
		run "$deps" "$goal"
		[ "$status" -eq 1 ]
		[[ "$output" == *libutf8proc-dev* ]]
	done
}

@test "apt fails: so does deps.sh" {
	fake id 'echo 0'
	fake apt-get 'exit 100'
	run "$deps" build
	[ "$status" -ne 0 ]
}

@test "an unknown goal is exit 2" {
	run "$deps" supper
	[ "$status" -eq 2 ]
	[[ "$output" == *"'supper' is none of"* ]]
}
