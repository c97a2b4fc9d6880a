#!/usr/bin/env bats
# What happens at two in the morning: full disks, killed runs, closed pipes, cut files.
load helper

setup() {
	need_shared models/stories260k
	MODEL=$SHARED/models/stories260k
	cd "$BATS_TEST_TMPDIR" || exit 1
}

# Nothing but what is named may lie in this folder, hidden files included.
only() {
	local found
	found=$(find . -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ')
	[ "$found" = "$*${*:+ }" ] || { ls -lA; false; }
}

@test "a full disk: status 1, the place is said, nothing is left" {
	mkdir small
	mount -t tmpfs -o size=64k none small 2>/dev/null || skip "cannot mount a small disk here"
	run qz-quantize -q -o small/out.qz "$MODEL"
	left=$(ls -A small)
	umount small
	[ "$status" -eq 1 ]
	[[ $output == *"small/out.qz: the disk has "*" bytes free, the output takes "*" are missing" ]]
	[ -z "$left" ]
}

@test "no room for the temporary file: status 1, the place is said, nothing is left" {
	mkdir small
	mount -t tmpfs -o size=512k none small 2>/dev/null || skip "cannot mount a small disk here"
	tar -C "$MODEL" -cf model.tar model.safetensors config.json
	run bash -c "cat model.tar | TMPDIR='$PWD/small' qz-quantize -q -o out.qz -"
	left=$(ls -A small)
	umount small
	[ "$status" -eq 1 ]
	[[ $output == "qz-quantize: <stdin>: cannot write to a temporary file (TMPDIR chooses the folder): No space left on device" ]]
	[ -z "$left" ]
	rmdir small
	only model.tar
}

@test "a full device as standard output: status 1" {
	run bash -c "qz-quantize -q '$MODEL' >/dev/full"
	[ "$status" -eq 1 ]
	[[ $output == *"No space left on device"* ]]
}

@test "kill -9 in the middle leaves no file" {
	tar -C "$(dirname "$MODEL")" -cf model.tar stories260k
	mkfifo feed
	qz-quantize -q -o out.qz - <feed 3>&- &
	pid=$!
	exec 9>feed
	head -c 600000 model.tar >&9
	sleep 0.3
	kill -9 $pid
	exec 9>&-
	wait $pid || true
	only feed model.tar
}

@test "SIGTERM in the middle leaves no file, no folder" {
	tar -C "$MODEL" -cf model.tar config.json model.safetensors # config first: it streams
	mkfifo feed
	for to in shard bnb; do
		qz-quantize -q --to $to -o out - <feed 3>&- &
		pid=$!
		exec 9>feed
		head -c 600000 model.tar >&9
		sleep 0.3
		for ((i = 0; i < 100; i++)); do
			[ $to = shard ] || [ -d "$(echo .out.qz-*)" ] || sleep 0.1
		done
		kill -TERM $pid
		exec 9>&-
		status=0
		wait $pid || status=$?
		[ "$status" -eq 143 ]
		only feed model.tar
	done
}

@test "a failed run leaves an old file as it was" {
	echo old >out.qz
	run qz-quantize -q -o out.qz /nonexistent
	[ "$status" -eq 1 ]
	[ "$(cat out.qz)" = old ]
	only out.qz
}

@test "a reader that closes the pipe ends the writer quietly" {
	run bash -c "{ qz-quantize -q -t keep '$MODEL'; echo \$? >status; } | head -c 1000 >/dev/null"
	[ -z "$output" ]
	[ "$(cat status)" -eq 141 ]
}

@test "a cut shard: status 3, and says that it is truncated" {
	qz-quantize -q -o base.qz "$MODEL"
	head -c 100000 base.qz >cut.qz
	run qz-show --verify cut.qz
	[ "$status" -eq 3 ]
	[ "$output" = "qz-show: cut.qz: truncated: it ends at byte 100000, before the end record" ]
}

@test "a flipped bit: status 3, and says where" {
	qz-quantize -q -o base.qz "$MODEL"
	printf '\377' | dd of=base.qz bs=1 seek=100000 conv=notrunc status=none
	run qz-show --verify base.qz
	[ "$status" -eq 3 ]
	[[ $output == "qz-show: base.qz: record "*": checksum is "*", not "* ]]
}

@test "binary data is not written to a terminal" {
	command -v script >/dev/null || skip "no script(1)"
	run script -qec "qz-quantize -q '$MODEL'; echo status \$?" /dev/null
	[[ $output == *"binary data is not written to a terminal"* ]]
	[[ $output == *"status 2"* ]]
}

@test "no -o and a closed standard output: status 2" {
	run bash -c "qz-quantize -q '$MODEL' >&-"
	[ "$status" -eq 2 ]
}

@test "an unknown option: status 2 and a hint" {
	run qz-quantize --frobnicate "$MODEL"
	[ "$status" -eq 2 ]
	[ "${lines[0]}" = "qz-quantize: --frobnicate is no option" ]
	[ "${lines[1]}" = "qz-quantize: try 'qz-quantize --help'" ]
}

@test "a GPU that is not there: status 4" {
	[ ! -e /dev/nvidiactl ] || skip "there is a GPU"
	run qz-quantize -q -d cuda -o out.qz "$MODEL"
	[ "$status" -eq 4 ]
	only
}
