#!/usr/bin/env bats
# --no-sync: the same output, whole or not at all, and nobody waits for the disk.
load helper

setup() {
	need_shared models/stories260k
	MODEL=$SHARED/models/stories260k
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf '{"text":"Once upon a time"}\n' >data.jsonl
}

# What the tools that have the option make, each into out.
makers=(
	"qz-quantize -q -o out $SHARED/models/stories260k"
	"qz-quantize -q --to bnb -o out $SHARED/models/stories260k"
	"qz-merge -q --to hf -o out $SHARED/models/stories260k adapter.qz"
	"qz-tokenize -q -m $SHARED/models/stories260k -o out data.jsonl"
	"qz-gguf -q -o out $SHARED/models/stories260k"
	"qz-show -q --extract config.json -o out model.qz"
)

prepare() {
	qz-quantize -q -t keep -o model.qz "$MODEL"
	qz-tokenize -q -m model.qz data.jsonl |
		qz-train -q -j 1 -b model.qz -r 4 --steps 1 --batch 1 -o adapter.qz
}

@test "the output is the same" {
	prepare
	for make in "${makers[@]}"; do
		rm -rf out synced
		$make
		mv out synced
		$make --no-sync
		diff -r out synced
	done
}

@test "without it a file or folder is synced before it has its name, with it nothing is" {
	command -v strace >/dev/null || skip "no strace here: tests/unit/sync.c alone looks"
	strace -o calls true || skip "strace may not look into programs here"
	prepare
	for make in "${makers[@]}"; do
		for option in '' --no-sync; do
			rm -rf out
			# A leak sanitizer cannot look while strace does.
			# shellcheck disable=SC2086 # words of a command
			ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" \
				strace -f -o calls -e trace=fsync,fdatasync,sync_file_range,syncfs,sync $make $option
			n=$(grep -c 'sync' calls) || true
			echo "$make $option: $n"
			if [ "$option" ]; then [ "$n" -eq 0 ]; else [ "$n" -gt 0 ]; fi
		done
	done
}

@test "kill -9 in the middle leaves no file" {
	tar -C "$(dirname "$MODEL")" -cf model.tar stories260k
	mkfifo feed
	qz-quantize -q --no-sync -o out - <feed 3>&- &
	pid=$!
	exec 9>feed
	head -c 600000 model.tar >&9
	sleep 0.3
	kill -9 $pid
	exec 9>&-
	wait $pid || true
	[ "$(echo .[a-z]* o*)" = '.[a-z]* o*' ]
}

@test "a training and an importance matrix are always synced" {
	for tool in qz-train 'qz-bench imatrix'; do
		run $tool --no-sync
		[ "$status" -eq 2 ]
		[[ $output == *"--no-sync is no option"* ]]
	done
}
