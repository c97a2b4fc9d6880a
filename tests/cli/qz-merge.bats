#!/usr/bin/env bats
# qz-merge against PEFT's merge_and_unload, and what it refuses.
load helper

setup() {
	need_shared models/stories260k
	MODEL=$SHARED/models/stories260k
	GOLDEN=$SHARED/golden/lora
	cd "$BATS_TEST_TMPDIR" || exit 1
}

far() { perl "$ROOT/tests/cli/tensors.pl" "$@"; }

@test "f32: equal to PEFT within one rounding" {
	qz-merge -q --to hf -o merged "$MODEL" "$GOLDEN/plain-final"
	read -r n different _ largest < <(far merged/model.safetensors "$GOLDEN/merged/f32/model.safetensors" 0)
	echo "$different of $n differ, by $largest at most"
	[ "$n" -eq 260032 ] && [ "$different" -lt 26000 ]
	perl -e 'exit !($ARGV[0] <= 6e-8)' "$largest" # a rounding next to weights below 1
	[ -e merged/tokenizer.json ] && [ -e merged/config.json ] && [ -e merged/generation_config.json ]
}

@test "bf16: the sum rounded once" {
	qz-merge -q -t bf16 --to hf -o merged "$MODEL" "$GOLDEN/plain-final"
	read -r n different more _ < <(far merged/model.safetensors "$GOLDEN/merged/bf16/model.safetensors" 1)
	echo "$different of $n differ, $more by more than one rounding"
	[ "$n" -eq 260032 ] && [ "$more" -eq 0 ] && [ "$different" -lt 30 ]
	grep -q '"torch_dtype": "bfloat16"' merged/config.json
}

@test "it says how many tensors changed, and nothing with -q" {
	run qz-merge -o merged.qz "$MODEL" "$GOLDEN/plain-final"
	[ "$output" = "qz-merge: 35 of 47 tensors changed, 1.04 MB" ]
	run qz-merge -q -o merged.qz "$MODEL" "$GOLDEN/plain-final"
	[ "$output" = "" ]
}

@test "a shard and a folder hold the same, for any number of threads" {
	qz-merge -q -j 1 -o 1.qz "$MODEL" "$GOLDEN/plain-final"
	qz-merge -q -j 2 "$MODEL" "$GOLDEN/plain-final" >2.qz
	cmp 1.qz 2.qz
	qz-show --verify 1.qz
	qz-merge -q --to hf -o merged "$MODEL" "$GOLDEN/plain-final"
	qz-gguf -q -t f32 --name x -o 1.gguf 1.qz
	qz-gguf -q -t f32 --name x -o 2.gguf merged
	cmp 1.gguf 2.gguf
}

@test "every CPU variant gives the same bytes" {
	QZ_CPU=base qz-merge -q -t bf16 -o base.qz "$MODEL" "$GOLDEN/plain-final"
	QZ_CPU=base qz-gguf -q -t q8_0 --name x -o base.gguf base.qz
	for c in avx2 avx512 avx512bf16; do
		run env QZ_CPU=$c qz-merge -q -t bf16 -o $c.qz "$MODEL" "$GOLDEN/plain-final"
		[ "$status" -ne 4 ] || continue # this processor lacks it
		cmp base.qz $c.qz
		QZ_CPU=$c qz-gguf -q -t q8_0 --name x -o $c.gguf base.qz
		cmp base.gguf $c.gguf
	done
}

@test "scales: 0 changes nothing, 1 and 1 are 2, -1 takes it away" {
	a=$GOLDEN/plain-final
	qz-merge -q --scale 0 -o zero.qz "$MODEL" "$a"
	qz-gguf -q -t f32 --name x -o zero.gguf zero.qz
	qz-gguf -q -t f32 --name x -o base.gguf "$MODEL"
	cmp zero.gguf base.gguf
	qz-merge -q --to hf -o both "$MODEL" "$a" "$a"
	qz-merge -q --to hf --scale 2 -o twice "$MODEL" "$a"
	qz-merge -q --to hf --scale 0.5,-0.5 -o none "$MODEL" "$a" "$a"
	for pair in "both twice" "none $MODEL"; do
		# shellcheck disable=SC2086 # two words
		set -- $pair
		read -r _ _ _ largest < <(far "$1/model.safetensors" "$2/model.safetensors" 0)
		perl -e 'exit !($ARGV[0] <= 2.4e-7)' "$largest"
	done
	read -r _ different _ _ < <(far both/model.safetensors "$MODEL/model.safetensors" 0)
	[ "$different" -gt 200000 ]
	qz-merge -q --scale 0.5 --scale=-0.5 --to hf -o again "$MODEL" "$a" "$a"
	cmp none/model.safetensors again/model.safetensors
}

@test "a quantized base gives its dequantized weights" {
	qz-quantize -q -o base.qz "$MODEL"
	qz-merge -q -o merged.qz base.qz "$GOLDEN/plain-final"
	qz-show merged.qz | grep -q 'bf16 .*q_proj'
}

@test "weights in several files with an index are the same weights" {
	qz-merge -q --to hf -o one "$MODEL" "$GOLDEN/plain-final"
	qz-merge -q --to hf --file-size 200k -o many "$MODEL" "$GOLDEN/plain-final"
	[ ! -e one/model.safetensors.index.json ] && [ -e many/model.safetensors.index.json ]
	files=(many/model-*-of-00006.safetensors)
	[ "${#files[@]}" -eq 6 ]
	qz-gguf -q --name x -t f32 -o one.gguf one
	qz-gguf -q --name x -t f32 -o many.gguf many
	cmp one.gguf many.gguf
}

@test "a pipe from merge to gguf" {
	qz-merge -q "$MODEL" "$GOLDEN/plain-final" | qz-gguf -q --name x -o piped.gguf
	qz-merge -q -o merged.qz "$MODEL" "$GOLDEN/plain-final"
	qz-gguf -q --name x -o file.gguf merged.qz
	cmp piped.gguf file.gguf
}

@test "an adapter for another model is refused, nothing is left behind" {
	cp -r "$GOLDEN/plain-final" other && chmod -R u+w other
	cp -r "$MODEL" small && chmod -R u+w small
	sed -i 's/layers.4/layers.9/g' other/adapter_model.safetensors
	run qz-merge -q -o x.qz "$MODEL" other
	[ "$status" -eq 3 ]
	[[ $output == *"layer"* ]]
	[ ! -e x.qz ]
}

@test "a base with other weights is refused by the tensor's name, unless asked for" {
	for i in 1 2 3 4; do
		printf '{"prompt":"Once upon a time %d","completion":" there was a cat."}\n' $i
	done >data.jsonl
	qz-quantize -q -o base.qz "$MODEL"
	qz-tokenize -q -m base.qz -o train.qz data.jsonl
	qz-train -q -b base.qz -r 4 --steps 2 --batch 2 -o adapter.qz train.qz
	qz-merge -q -o x.qz "$MODEL" adapter.qz
	qz-merge -q -o y.qz base.qz adapter.qz
	cp -r "$MODEL" changed && chmod -R u+w changed
	perl -e 'open my $f, "+<:raw", $ARGV[0]; read $f, my $n, 8; seek $f, -8, 2; seek $f, 8 + unpack("Q<", $n) + 200000, 0; print $f "\x01"' changed/model.safetensors
	run qz-merge -q -o z.qz changed adapter.qz
	[ "$status" -eq 3 ]
	[[ $output == *"tensor model.layers."*"was trained on"* ]]
	[ ! -e z.qz ]
	qz-merge -q --any-base -o z.qz changed adapter.qz
}

@test "a sum that is not finite is named" {
	run qz-merge -q -t f16 --scale 1e9 -o x.qz "$MODEL" "$GOLDEN/plain-final"
	[ "$status" -eq 3 ]
	[[ $output == *"tensor model.layers.0."*"is not finite in f16"* ]]
	[ ! -e x.qz ]
}

@test "mistakes on the command line" {
	a=$GOLDEN/plain-final
	while IFS='|' read -r want args text; do
		# shellcheck disable=SC2086 # words
		run qz-merge $args
		[ "$status" -eq "$want" ] || { echo "$args: $status $output"; false; }
		[[ $output == *"$text"* ]] || { echo "$args: $output"; false; }
	done <<-END
		2|$MODEL|adapter
		2|-t q4 $MODEL $a|q4
		2|--to hf $MODEL $a|-o
		2|--scale x -o x.qz $MODEL $a|number
		2|--scale 1,2 -o x.qz $MODEL $a|2 scales for 1
		1|-o x.qz /nowhere $a|nowhere
		1|-o x.qz $MODEL /nowhere|nowhere
	END
}

@test "a folder that is there is not touched" {
	mkdir there && touch there/mine
	run qz-merge -q --to hf -o there "$MODEL" "$GOLDEN/plain-final"
	[ "$status" -ne 0 ]
	[ "$(ls there)" = mine ]
}

@test "a full disk: the folder's file is called by the name it would have" {
	mkdir small
	mount -t tmpfs -o size=600k none small 2>/dev/null || skip "cannot mount a small disk here"
	run qz-merge -q --to hf -o small/merged "$MODEL" "$GOLDEN/plain-final"
	left=$(ls -A small)
	umount small
	[ "$status" -eq 1 ]
	[[ $output == "qz-merge: small/merged/model.safetensors: the disk has "*" bytes free, the output takes "*" are missing" ]]
	[ -z "$left" ]
}
