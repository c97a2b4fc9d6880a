#!/usr/bin/env bats
# qz-bench train without steps: plans, the longest rows that fit, what is refused.

# shellcheck disable=SC2154,SC2030,SC2031 # bats sets stderr, output and status
bats_require_minimum_version 1.5.0
load helper

plan() {
	run qz-bench train -d cpu --rows 1 --dry-run "$@"
}

@test "a dry run prints the plan and does no step" {
	plan --length 300
	[ "$status" -eq 0 ]
	for word in weights adapter gradients optimizer activations logits memory backward; do
		[[ $output == *"$word"* ]]
	done
	[[ $output != *"step "* ]]
	plan --length 300 --json
	[[ $output == '{"shape":"smollm2-135m","rows":1,"length":300,"planned":'*',"host":0,"predicted_ms":0.000}' ]]
}

@test "max is the longest length for which there is a plan" {
	for memory in 500M 2G; do
		plan --length max --memory $memory --json
		[ "$status" -eq 0 ]
		n=${output#*\"length\":}
		n=${n%%,*}
		plan --length "$n" --memory $memory
		[ "$status" -eq 0 ]
		plan --length $((n + 1)) --memory $memory
		[ "$status" -eq 1 ]
		[[ $output == "qz-bench: 1 x $((n + 1)) tokens: training takes "*" at least, there are "* ]]
	done
	[ "$n" -gt 10000 ]
}

@test "a step of the longest length is done within its memory" {
	run qz-bench train -d cpu --rows 1 --length max --memory 300M
	[ "$status" -eq 0 ]
	[[ $output == *" tokens (no more fit), "*"step "*"loss "* ]]
}

@test "nothing fits, or the length is none" {
	plan --length max --memory 1M
	[ "$status" -eq 1 ]
	[[ $output == *"1 x 2 tokens: training takes "* ]]
	for n in 1 x 100000000 -5; do
		plan --length "$n"
		[ "$status" -eq 2 ]
		[[ $output == *"--length $n: max or a number from 2 to "* ]]
	done
}

@test "--optim-offload is for GPUs" {
	plan --optim-offload
	[ "$status" -eq 2 ]
	[[ $output == *"--optim-offload is for GPUs: on cpu"* ]]
}
