#!/usr/bin/env bats
# A pipe is the same as files, and the number of threads changes no byte.
load helper

setup() {
	need_shared models/stories260k
	MODEL=$SHARED/models/stories260k
	cd "$BATS_TEST_TMPDIR" || exit 1
	for i in 1 2 3 4 5 6 7 8; do
		printf '{"prompt":"Once upon a time number %d","completion":" there was a cat named %d."}\n' $i $i
	done >data.jsonl
}

whole() { # the flow with files; $1: threads
	mkdir "$1"
	cd "$1" || return
	qz-quantize -q -j "$1" -o base.qz "$MODEL"
	qz-tokenize -q -m base.qz -o train.qz ../data.jsonl
	qz-train -q -j "$1" -b base.qz -r 4 --steps 3 --batch 4 --dropout 0.1 -o adapter.qz train.qz
	qz-merge -q -j "$1" -o merged.qz "$MODEL" adapter.qz
	qz-gguf -q -j "$1" -t q8_0 --name model -o model.gguf merged.qz
	cd .. || return
}

@test "one thread and two give the same bytes in every tool" {
	whole 1
	whole 2
	for f in base.qz train.qz adapter.qz merged.qz model.gguf; do
		cmp "1/$f" "2/$f"
	done
}

@test "a | b equals a > f; b < f" {
	whole 1
	tar -C "$(dirname "$MODEL")" -cf model.tar stories260k
	qz-quantize -q -j 1 "$MODEL" >base.qz
	cmp base.qz 1/base.qz
	qz-tokenize -q -m base.qz <data.jsonl | qz-train -q -j 1 -b base.qz -r 4 --steps 3 --batch 4 --dropout 0.1 >adapter.qz
	cmp adapter.qz 1/adapter.qz
	qz-merge -q "$MODEL" adapter.qz | qz-gguf -q -t q8_0 --name model - >model.gguf
	cmp model.gguf 1/model.gguf
}

@test "an archive on standard input: from a pipe and from a file the same bytes" {
	tar -C "$MODEL" -cf first.tar config.json model.safetensors tokenizer.json
	tar -C "$MODEL" -cf last.tar model.safetensors tokenizer.json config.json
	for f in first last; do
		# shellcheck disable=SC2002 # a pipe is what is tested
		cat $f.tar | qz-quantize -q - >piped.qz
		qz-quantize -q - <$f.tar >redirected.qz
		cmp piped.qz redirected.qz
	done
}

@test "the same command twice gives the same bytes" {
	whole 1
	mv 1 first
	whole 1
	diff -r first 1
}

@test "provenance tells every step" {
	whole 2
	run qz-show 2/merged.qz
	[[ $output == *"qz-quantize"*"qz-tokenize"*"qz-train"*"qz-merge"* ]]
}
