#!/usr/bin/env bats
# qz-train on a small real model: exact resume, the same bytes for any threads, memory and pipe, what it
# refuses and how.

# shellcheck disable=SC2154,SC2030,SC2031,SC2001 # bats sets stderr, output and status; sed reads better
bats_require_minimum_version 1.5.0
load helper
load stories

setup_file() {
	export QZ_T=$BATS_FILE_TMPDIR
	[ -e "$SHARED/models/stories260k" ] || return 0
	stories "$QZ_T" 24
	cd "$QZ_T" || return
	qz-tokenize -q -m model -o train.qz train.jsonl
	qz-tokenize -q -m model -o held.qz heldout.jsonl
	sed 's/qz/zq/g' train.jsonl >other.jsonl
	qz-tokenize -q -m model -o other.qz other.jsonl
	cp -r model other-model
	perl -e 'open F, "+<", shift; seek F, -4000, 2; print F "\0" x 4' other-model/model.safetensors
	qz-train -q -b model -r 4 --dropout 0.1 --steps 7 --warmup 2 --accumulate 2 --save-every 2 \
		--checkpoint at6.ckpt --log log.jsonl -o whole.qz train.qz
}

setup() {
	need_shared models/stories260k
	cd "$QZ_T" || return
}

# train ARGS...: the run of setup_file, with other arguments behind.
train() {
	qz-train -q -b model -r 4 --dropout 0.1 --steps 7 --warmup 2 --accumulate 2 "$@"
}

@test "a run that goes on from a checkpoint makes the same bytes" {
	train --resume at6.ckpt -o resumed.qz train.qz
	cmp whole.qz resumed.qz
}

@test "a checkpoint of every step leads to the same bytes" {
	train --save-every 3 --checkpoint at.ckpt -o again.qz train.qz
	cmp whole.qz again.qz
	for _ in 1 2 3; do
		train --resume at.ckpt --save-every 1 --checkpoint at.ckpt -o again.qz train.qz
		cmp whole.qz again.qz
	done
}

@test "one thread and two, a pipe and a file, little memory and much: the same bytes" {
	train -j 1 -o j1.qz train.qz
	train -j 2 -o j2.qz - <train.qz
	cmp whole.qz j1.qz
	cmp whole.qz j2.qz
	least=$(train --memory 1k -o x.qz train.qz 2>&1 | sed 's/.*takes \([0-9.]*\) MB at least.*/\1/')
	train --memory "${least}9M" -o least.qz train.qz
	cmp whole.qz least.qz
	run train --dry-run --memory "${least}9M" train.qz
	[[ $output == *"layers again"* ]]
}

@test "tokens in two files are those of one" {
	cat train.qz held.qz >both.qz
	qz-train -q -b model --steps 2 -o one.qz both.qz
	qz-train -q -b model --steps 2 -o two.qz train.qz held.qz
	cmp one.qz two.qz
}

@test "a line a step, and the same in the log" {
	run --separate-stderr qz-train -b model --steps 3 --eval held.qz --eval-every 2 --log l.jsonl -o a.qz train.qz
	[ "$status" -eq 0 ]
	[ "$output" = "" ]
	[ "$(grep -c '^step [1-3]/3  loss .*  grad .*  lr .*  tokens/s ' <<<"$stderr")" -eq 3 ]
	[ "$(grep -c '^eval [023]/3  loss ' <<<"$stderr")" -eq 3 ]
	[ "$(grep -c '"step":[0-9]*,"loss":.*"grad_norm":.*"lr":.*"tokens_per_second":' l.jsonl)" -eq 3 ]
	[ "$(grep -c '"eval_loss":' l.jsonl)" -eq 3 ]
	perl -MJSON::PP -ne 'decode_json $_' l.jsonl
}

@test "the loss on held-out data is what qz-bench ppl says" {
	run --separate-stderr qz-train -b model --steps 3 --lr 3e-3 --eval held.qz -o e.qz train.qz
	want=$(sed -n 's/^eval 3.3  loss *\([0-9.]*\).*/\1/p' <<<"$stderr")
	got=$(qz-bench ppl --adapter e.qz model held.qz | sed 's/loss \([0-9.]*\).*/\1/')
	[ "$(printf '%.4f' "$got")" = "$want" ]
}

@test "training lowers the loss" {
	qz-train -q -b model --lr 3e-3 --epochs 3 --log fall.jsonl -o f.qz train.qz
	perl -ne 'push @l, $1 if /"loss":([0-9.]+)/; END { exit !(@l == 18 && $l[-1] < 0.7 * $l[0]) }' fall.jsonl
}

@test "SIGINT saves, says how to go on, and that gives the same bytes" {
	args=(-b model -r 4 --batch 1 --steps 1500 --lr 1e-3)
	qz-train -q "${args[@]}" -o long.qz train.qz
	rm -f cut.qz.ckpt
	qz-train "${args[@]}" --log cut.jsonl -o cut.qz train.qz 2>cut.err &
	pid=$!
	until [ -s cut.jsonl ] && [ "$(wc -l <cut.jsonl)" -gt 20 ]; do sleep 0.01; done
	kill -INT $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 1 ]
	[ ! -e cut.qz ]
	[ -e cut.qz.ckpt ]
	grep -q 'qz-train: stopped by signal 2 after step [0-9]* of 1500; to go on:' cut.err
	command=$(tail -n 1 cut.err)
	[[ $command == "qz-train --resume cut.qz.ckpt "* ]]
	eval "$command" 2>/dev/null
	cmp long.qz cut.qz
	perl -ne '$n++ if /"loss"/; END { exit($n != 1500) }' cut.jsonl
}

@test "a second signal ends it at once, and nothing is left" {
	mkdir -p clean && cd clean || return
	qz-train -q -b ../model --batch 24 --accumulate 40 --steps 1500 -o long.qz ../train.qz &
	pid=$!
	sleep 0.5
	kill -TERM $pid
	sleep 0.05
	kill -TERM $pid || true
	status=0
	wait $pid || status=$?
	[ "$status" -eq 143 ] || [ "$status" -eq 1 ]
	[ ! -e long.qz ]
	[ -z "$(find . -name '.*qz-*')" ]
}

# refuse STATUS MESSAGE ARGS...: fails like this, and nothing is there afterwards.
refuse() {
	local want=$1 message=$2
	shift 2
	rm -f x.qz
	run qz-train -q "$@"
	echo "status $status, wanted $want: $output"
	[ "$status" -eq "$want" ]
	[[ $output == *"$message"* ]]
	[ ! -e x.qz ]
}

@test "wrong inputs are refused by name" {
	refuse 3 "train.qz: record 0 (HEAD) at byte 64: is a shard of kind tokens, one of kind model is expected" -b train.qz -o x.qz train.qz
	refuse 3 "whole.qz: record 0 (HEAD) at byte 64: is a shard of kind adapter, one of kind tokens is expected" -b model -o x.qz whole.qz
	refuse 1 "nowhere: cannot open" -b nowhere -o x.qz train.qz
	refuse 1 "nowhere.qz: cannot open" -b model -o x.qz nowhere.qz
	refuse 3 "/dev/null: is empty" -b model -o x.qz /dev/null
	head -c 3000 train.qz >cut.qz
	refuse 3 "truncated" -b model -o x.qz cut.qz
	refuse 4 "device cuda" -d cuda -b model -o x.qz train.qz
	rm cut.qz
	cp -r model nan-model
	perl -e 'open F, "+<", shift; seek F, -4000, 2; print F "\0\0\xc0\x7f"' nan-model/model.safetensors
	refuse 3 "of its values is not a finite number" -b nan-model -o x.qz train.qz
	[[ $output == "qz-train: nan-model: tensor model."*": element "* ]]
	tar cf model.tar model
	qz-train -q -b - --base-name model --steps 1 -o tar.qz train.qz <model.tar
	qz-bench ppl --adapter tar.qz model held.qz
}

@test "tokens of another vocabulary are refused with row and id" {
	need_shared models/qwen2-tokenizer
	qz-tokenize -q -m "$SHARED/models/qwen2-tokenizer" -o qwen.qz train.jsonl || skip "qz-tokenize does not read it"
	refuse 3 "the model's vocabulary ends at 511" -b model -o x.qz qwen.qz
	[[ $output == *"qwen.qz: row 0: token "*" is id "* ]]
}

@test "mistakes on the command line" {
	refuse 2 "which base?" -o x.qz train.qz
	refuse 2 "--optim" -b model --optim sgd -o x.qz train.qz
	refuse 2 "--steps and --epochs" -b model --steps 2 --epochs 1 -o x.qz train.qz
	refuse 2 "only one input can come from stdin" -b - -o x.qz -
	refuse 2 "--eval-every needs --eval" -b model --eval-every 2 -o x.qz train.qz
	refuse 2 "'lm_head' is no projection" -b model --targets q,lm_head -o x.qz train.qz
	refuse 2 "--warmup 9 is more than the run's 7 steps" -b model --steps 7 --warmup 9 -o x.qz train.qz
	refuse 2 "say which with -o" -b model --to peft train.qz
	refuse 2 "is no option" --frobnicate -b model -o x.qz train.qz
}

@test "a checkpoint goes on only with its own inputs and options" {
	refuse 2 "at6.ckpt: cannot go on: lr is 0.001, in the checkpoint 0.0002" \
		-b model -r 4 --dropout 0.1 --steps 7 --warmup 2 --accumulate 2 --lr 1e-3 --resume at6.ckpt -o x.qz train.qz
	run train --resume at6.ckpt --seed 1 -o x.qz train.qz
	[ "$status" -eq 2 ] && [[ $output == *"seed is 1, in the checkpoint 42"* ]]
	run train --resume at6.ckpt -o x.qz other.qz
	[ "$status" -eq 2 ] && [[ $output == *"the token data is "*", in the checkpoint "* ]]
	run qz-train -q -b other-model -r 4 --dropout 0.1 --steps 7 --warmup 2 --accumulate 2 --resume at6.ckpt -o x.qz train.qz
	[ "$status" -eq 2 ] && [[ $output == *"the base model is "*", in the checkpoint "* ]]
	run train --resume whole.qz -o x.qz train.qz
	[ "$status" -eq 3 ] && [[ $output == *"is a shard of kind adapter, one of kind checkpoint is expected"* ]]
	head -c 2000 at6.ckpt >short.ckpt
	run train --resume short.ckpt -o x.qz train.qz
	[ "$status" -eq 3 ] && [[ $output == *"truncated"* ]]
	[ ! -e x.qz ]
}

@test "adamw8bit: less memory, its own checkpoints, the same bytes for any threads" {
	train --optim adamw8bit -j 1 --save-every 3 --checkpoint at8.ckpt -o whole8.qz train.qz
	run cmp -s whole.qz whole8.qz
	[ "$status" -eq 1 ]
	train --optim adamw8bit -j 2 --resume at8.ckpt -o resumed8.qz train.qz
	cmp whole8.qz resumed8.qz
	qz-show at8.ckpt | grep "u8 .* optimizer.m$"
	qz-show at8.ckpt | grep "f32 .* optimizer.v.absmax$"
	run train --resume at8.ckpt -o x.qz train.qz
	[ "$status" -eq 2 ] && [[ $output == *'optim is "adamw", in the checkpoint "adamw8bit"'* ]]
	for o in adamw adamw8bit; do
		qz-train -b model --optim $o --dry-run train.qz >plan.$o
		grep " of $o, 1 x 4 rows" plan.$o
	done
	[ "$(grep '^  optimizer' plan.adamw)" != "$(grep '^  optimizer' plan.adamw8bit)" ]
	qz-train -q -b model -r 4 --optim adamw8bit --lr 1e-3 --steps 12 --eval held.qz --log 8.jsonl -o learned.qz train.qz
	perl -ne 'push @l, $1 if /"eval_loss":([0-9.]+)/; END { exit !(@l == 2 && $l[1] < $l[0] - 0.1) }' 8.jsonl
}

@test "a loss that is not finite stops the run and names the rows" {
	refuse 3 "is not a finite number: row " -b model -r 4 --lr 1000 --schedule constant --clip 0 --steps 60 -o x.qz train.qz
	[[ $output == *"qz-train: step "*": the "*" is not a finite number: row "* ]]
}

@test "a failure after a checkpoint names it and says how to go on" {
	local breaks=(-q -b model -r 4 --lr 1000 --schedule constant --clip 0 --steps 60)
	run --separate-stderr qz-train "${breaks[@]}" --save-every 1 --checkpoint last.ckpt -o never.qz train.qz
	[ "$status" -eq 3 ]
	echo "$stderr"
	[[ ${stderr_lines[0]} == "qz-train: step "*" is not a finite number: row "* ]]
	[[ ${stderr_lines[1]} =~ ^"qz-train: the checkpoint of step "[1-9][0-9]*" of 60 is whole; to go on:"$ ]]
	[[ ${stderr_lines[2]} == "qz-train --resume last.ckpt -q -b model "*" --lr 1000 "* ]]
	[ ! -e never.qz ]
	qz-show last.ckpt | grep -q checkpoint
	# Without one there is nothing to say.
	run --separate-stderr qz-train "${breaks[@]}" -o never.qz train.qz
	[ "$status" -eq 3 ]
	[[ $stderr != *"to go on"* ]]
}

@test "what does not fit is refused with a change that would" {
	run qz-train -b model --batch 8 --memory 9M --dry-run train.qz
	[ "$status" -eq 1 ]
	[[ $output == *"there are 9.00 MB; --batch "*" --accumulate "*" takes "* ]]
	read -ra fits < <(sed 's/.*; \(--batch [0-9]* --accumulate [0-9]*\) takes.*/\1/' <<<"$output")
	run qz-train -b model "${fits[@]}" --memory 9M --dry-run train.qz
	[ "$status" -eq 0 ]
	run qz-train -b model --memory 1M --dry-run train.qz
	[ "$status" -eq 1 ]
	[[ $output == *"a row of "*" tokens alone takes "* ]]
}

@test "--optim-offload is refused where states are in host memory anyway" {
	refuse 2 "--optim-offload is for GPUs: on cpu" -d cpu -b model --optim-offload --dry-run train.qz
}

@test "a dry run prints the plan and writes nothing" {
	run --separate-stderr qz-train -b model --dry-run -o x.qz train.qz
	[ "$status" -eq 0 ]
	[ ! -e x.qz ]
	for word in weights adapter gradients optimizer activations logits memory data steps; do
		[[ $output == *"$word"* ]]
	done
}

@test "a PEFT folder holds the same adapter, and is not written over" {
	rm -rf peft
	train --to peft -o peft train.qz
	[ -s peft/adapter_config.json ] && [ -s peft/adapter_model.safetensors ]
	run qz-bench ppl --adapter peft model held.qz
	a=$(sed 's/  over.*//' <<<"$output")
	run qz-bench ppl --adapter whole.qz model held.qz
	[ "$a" = "$(sed 's/  over.*//' <<<"$output")" ]
	run train --to peft -o peft train.qz
	[ "$status" -ne 0 ]
}

@test "an adapter is not written to a terminal" {
	command -v script >/dev/null || skip "no script(1)"
	run script -qec "qz-train -q -b model --steps 1 train.qz" /dev/null
	[ "$status" -eq 2 ]
	[[ $output == *terminal* ]]
}
