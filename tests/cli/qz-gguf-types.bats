#!/usr/bin/env bats
# qz-gguf's block types: whole files of llama-quantize, its mixtures, importance matrices, and what is refused.
load helper

setup() {
	need_shared golden/kquant
	need_shared models/stories260k
	K=$SHARED/golden/kquant
	cd "$BATS_TEST_TMPDIR" || exit 1
}

tensors() { perl "$ROOT/tests/cli/tensors.pl" "$@"; }

# model FOLDER [KEY=VALUE...]: a tiny llama with a tokenizer of 512 tokens
model() {
	perl "$ROOT/tests/cli/tiny-llama.pl" "$@" vocab=512
	cp "$SHARED/models/stories260k/tokenizer.model" "$1" && chmod u+w "$1"/*
}

# types FILE NAME: "layer:type ..." of a layer's tensor, types as ggml numbers
types() {
	tensors "$1" | sed -n "s/^blk\\.\\([0-9]*\\)\\.$2\\.weight \\([0-9]*\\) .*/\\1:\\2/p" | sort -n | tr '\n' ' '
}

# layers TYPE FILE NAME: the layers whose tensor has this type
layers() {
	types "$2" "$3" | tr ' ' '\n' | sed -n "s/:$1\$//p" | tr '\n' ' ' | sed 's/ $//'
}

@test "whole files are llama-quantize's, to the byte" {
	for f in "$K"/plain/*.gguf; do
		qz-gguf -q --like llama-quantize -t "$(basename "$f" .gguf)" -o x.gguf "$K/in.gguf"
		cmp x.gguf "$f"
	done
}

@test "with an importance matrix too, and its keys" {
	cp "$K/imatrix.dat" . # its name stands in the file
	for f in "$K"/imatrix/*.gguf; do
		qz-gguf -q --like llama-quantize --imatrix imatrix.dat -t "$(basename "$f" .gguf)" -o x.gguf "$K/in.gguf"
		cmp x.gguf "$f"
	done
}

@test "rows that are no multiple of 256: llama-quantize's fallbacks, and they are named" {
	run qz-gguf --like llama-quantize -t q4_k_m -o x.gguf "$SHARED/golden/gguf/stories260k-f32.gguf"
	[ "$status" -eq 0 ]
	cmp x.gguf "$SHARED/golden/gguf/stories260k-q4_k_m.gguf"
	[[ $output == *"35 matrices do not fit q4_k_m: blk.0.attn_k.weight is q5_0: rows of 64 elements are no multiple of 256"* ]]
}

@test "no thread count and no variant of the processor changes a byte" {
	for cpu in base avx2 avx512; do
		QZ_CPU=$cpu run qz-gguf -q -j 3 --like llama-quantize -t q4_k_m -o x.gguf "$K/in.gguf"
		[ "$status" -ne 4 ] || continue # this processor lacks it
		[ "$status" -eq 0 ]
		cmp x.gguf "$K/plain/Q4_K_M.gguf"
	done
}

# The lists are what llama-quantize b4748 logged for models of these depths.
@test "mixtures give the same layers more bits as llama-quantize's" {
	model m32 layers=32 ffn=256
	model m22 layers=22 ffn=256
	for m in m32 m22; do
		for t in q4_k_m q4_k_s q3_k_m; do qz-gguf -q -t $t -o $m-$t.gguf $m; done
	done
	[ "$(layers 14 m32-q4_k_m.gguf attn_v)" = "0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31" ]
	[ "$(layers 14 m32-q4_k_m.gguf ffn_down)" = "0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31" ]
	[ "$(layers 14 m22-q4_k_m.gguf ffn_down)" = "0 1 4 7 10 13 16 19 20 21" ]
	[ "$(layers 13 m32-q4_k_s.gguf ffn_down)" = "0 1 2 3" ]
	[ "$(layers 13 m22-q4_k_s.gguf ffn_down)" = "0 1" ]
	[ "$(layers 13 m32-q3_k_m.gguf ffn_down)" = "0 1" ]
	[ "$(layers 12 m32-q3_k_m.gguf attn_output | wc -w)" -eq 32 ]
}

@test "heads that share keys, and a head that is the embedding" {
	model gqa layers=2 heads=8 kv=2
	qz-gguf -q -t iq4_xs -o gqa.gguf gqa
	[ "$(types gqa.gguf attn_v)" = "0:13 1:13 " ]
	qz-gguf -q -t q2_k -o gqa.gguf gqa
	[ "$(types gqa.gguf attn_v)" = "0:12 1:12 " ]
	model tied layers=1 tied=1
	qz-gguf -q -t q4_k_m -o tied.gguf tied
	tensors tied.gguf | grep -q '^token_embd.weight 14 '
	[ "$(tensors tied.gguf | grep -c '^output.weight')" -eq 0 ]
}

@test "--pure, --tensor-type, --output-type, --token-embedding-type" {
	model m layers=8
	qz-gguf -q -t q4_k_m --pure -o x.gguf m
	[ "$(tensors x.gguf | grep -c ' 12 ')" -eq 58 ]
	qz-gguf -q -t q4_k_m --tensor-type attn_v=q8_0 --tensor-type 'blk.[0-2].ffn_*=Q6_K' --output-type q8_0 \
	    --token-embedding-type q2_k -o x.gguf m
	[ "$(types x.gguf attn_v)" = "0:8 1:8 2:8 3:8 4:8 5:8 6:8 7:8 " ]
	[ "$(layers 14 x.gguf ffn_gate)" = "0 1 2" ]
	tensors x.gguf | grep -q '^output.weight 8 '
	tensors x.gguf | grep -q '^token_embd.weight 10 '
	run qz-gguf -q -t q4_k_m --tensor-type attn_z=q8_0 -o y.gguf m
	[ "$status" -eq 2 ]
	[[ $output == *"--tensor-type attn_z=q8_0: matches no matrix"* ]]
	[ ! -e y.gguf ]
}

@test "quantizing a second time is done with a warning that names it" {
	run qz-gguf -q -t q4_k_m -o x.gguf "$K/plain/Q8_0.gguf"
	[ "$status" -eq 0 ]
	[[ $output == *"9 matrices are quantized a second time, on top of the errors that they have: token_embd.weight from q8_0 to q4_k is the first"* ]]
	run qz-gguf -q -t q8_0 -o x.gguf "$K/plain/Q8_0.gguf"
	[ "$output" = "" ]
}

# poke IN OUT TENSOR HEX: the first bytes of a GGUF file's tensor
poke() {
	perl -e '
		my ($in, $out, $name, $hex) = @ARGV;
		open my $f, "<:raw", $in or die; local $/; my $s = <$f>;
		my $at = index($s, pack("Q</a", $name)) + 8 + length $name;
		my $n = unpack "L<", substr $s, $at; my $offset = unpack "Q<", substr $s, $at + 4 + 8 * $n + 4, 8;
		my ($last) = $s =~ /.*(blk\.0\.ffn_up\.weight|blk\.0\.ffn_norm\.weight)/s ? $+[0] : die;
		my $data = $last + 4 + 8 * unpack("L<", substr $s, $last) + 12; $data += -$data % 32;
		substr($s, $data + $offset, length($hex) / 2) = pack "H*", $hex;
		open my $o, ">:raw", $out; print $o $s' "$@"
}

@test "a block whose scale is no number is named, kept or not" {
	for hex in 007e 007c; do # NaN, infinite
		poke "$K/plain/Q8_0.gguf" bad.gguf blk.0.attn_q.weight $hex
		for t in q8_0 q4_k_m f32; do
			run qz-gguf -q -t $t -o x.gguf bad.gguf
			[ "$status" -eq 3 ] || { echo "$hex $t: $status $output"; false; }
			[[ $output == *"tensor model.layers.0.self_attn.q_proj.weight: row 0, column 0 is not finite"* ]] || { echo "$output"; false; }
			[ ! -e x.gguf ]
		done
	done
}

@test "an importance matrix that lacks a matrix, or has another size" {
	perl -e 'print pack "l<", 1; print pack("l<", 19), "blk.0.ffn_up.weight", pack("l<l<f<*", 1, 256, (1) x 256)' >one.dat
	run qz-gguf --like llama-quantize -t q4_k_m --imatrix one.dat -o x.gguf "$K/in.gguf"
	[ "$status" -eq 0 ]
	[[ $output == *"8 matrices are not in the importance matrix: output.weight is the first"* ]]
	perl -e 'print pack "l<", 1; print pack("l<", 19), "blk.0.ffn_up.weight", pack("l<l<f<*", 1, 128, (1) x 128)' >short.dat
	run qz-gguf -q -t q4_k_m --imatrix short.dat -o y.gguf "$K/in.gguf"
	[ "$status" -eq 3 ]
	[[ $output == *"the importance matrix has 128 columns for blk.0.ffn_up.weight, the model has 256"* ]]
	run qz-gguf -q -t q2_k_s -o y.gguf "$K/in.gguf"
	[ "$status" -eq 2 ]
	[[ $output == *"q2_k_s needs an importance matrix"* ]]
	[ ! -e y.gguf ]
}

@test "an importance matrix of another model: with more layers, or with other names" {
	model m layers=1
	perl -e 'print pack("l<", 2); for ("blk.0.ffn_down.weight", "blk.7.ffn_down.weight") {
		print pack("l<", length), $_, pack("l<l<f<*", 1, $ARGV[0], (1) x $ARGV[0]) }' \
	    "$(sed -n 's/.*"intermediate_size": *\([0-9]*\).*/\1/p' m/config.json)" >more.dat
	run qz-gguf -q -t q4_k_m --imatrix more.dat -o x.gguf m
	[ "$status" -eq 0 ] || { echo "$output"; false; }
	[[ $output == *"1 matrices of the importance matrix are not in this model, blk.7.ffn_down.weight is the first"* ]] || { echo "$output"; false; }
	perl -e 'print pack("l<", 1), pack("l<", 8), "conv.one", pack("l<l<f<*", 1, 4, (1) x 4)' >other.dat
	run qz-gguf -q -t q4_k_m --imatrix other.dat -o y.gguf m
	[ "$status" -eq 3 ]
	[[ $output == *"is of another model: it has no matrix of this one, but conv.one"* ]] || { echo "$output"; false; }
	[ ! -e y.gguf ]
}

@test "importance matrices that are none" {
	model m layers=1
	e='print pack "l<", 1; print pack("l<", 4), "blk."'
	while IFS='|' read -r text code; do
		perl -e "$code" >bad.dat
		run qz-gguf -q -t q4_k_m --imatrix bad.dat -o y.gguf m
		[ "$status" -eq 3 ] || { echo "$text: $status $output"; false; }
		[[ $output == *"bad.dat: "*"$text"* ]] || { echo "$text: $output"; false; }
		[ ! -e y.gguf ]
	done <<-END
		ends at byte 0|
		the number of entries is 0|print pack "l<", 0
		the number of entries is -7|print pack "l<", -7
		the length of a name is 64|print pack "l<l<", 1, 64
		not UTF-8|print pack("l<l<", 1, 2), "\\xff\\xfe"
		a number of columns is 0|$e, pack("l<l<", 1, 0)
		the file ends before them|$e, pack("l<l<", 1, 99)
		not finite, or negative|$e, pack("l<l<f<f<", 1, 2, 1, "nan")
		column 0 is -1|$e, pack("l<l<f<f<", 1, 2, -1, 1)
		is there twice|print pack "l<", 2; for (1, 2) { print pack("l<", 1), "x", pack("l<l<f<", 1, 1, 1) }
	END
}

@test "--set and --name" {
	qz-gguf -q -t q8_0 --set general.name=Other --set x.count=7 --set x.share=0.5 --set x.on=true --set x.text=str:7 \
	    --set general.file_type= -o x.gguf "$K/in.gguf"
	grep -qaP 'general\.name\x08\0\0\0\x05\0{7}Other' x.gguf
	grep -qaP 'x\.count\x04\0\0\0\x07\0\0\0' x.gguf
	grep -qaP 'x\.share\x06\0\0\0\0\0\0\?' x.gguf
	grep -qaP 'x\.on\x07\0\0\0\x01' x.gguf
	grep -qaP 'x\.text\x08\0\0\0\x01\0{7}7' x.gguf
	[ "$(grep -ca 'general.file_type' x.gguf)" -eq 0 ]
	qz-gguf -q -t q8_0 --name Another -o y.gguf "$SHARED/models/stories260k"
	grep -qaP 'general\.name\x08\0\0\0\x07\0{7}Another' y.gguf
	rm y.gguf
	for s in x =1 x=u32:-1 x=u32:a x=bool:7; do
		run qz-gguf -q -t q8_0 --set $s -o y.gguf "$K/in.gguf"
		[ "$status" -eq 2 ] || { echo "$s: $status $output"; false; }
	done
}

@test "--set leaves a key its type, and no file that cannot be read" {
	M=$SHARED/models/stories260k
	qz-gguf -q -t q8_0 --set llama.rope.freq_base=20000 --set general.name=7 --set tokenizer.chat_template= -o x.gguf "$M"
	qz-show x.gguf >keys
	grep -q 'f32 *llama.rope.freq_base = 20000$' keys
	grep -q 'string *general.name = "7"$' keys
	while IFS='|' read -r setting text; do
		run qz-gguf -q -t q8_0 --set "$setting" -o y.gguf "$M"
		[ "$status" -eq 2 ] || { echo "$setting: $status $output"; false; }
		[[ $output == *"--set ${setting%%=*}: $text"* ]] || { echo "$setting: $output"; false; }
		[ ! -e y.gguf ]
	done <<-END
		general.alignment=64|says how this file is
		general.architecture=|says how this file is
		split.count=3|says how this file is
		qz.data.xxh3_128=x|says how this file is
		tokenizer.ggml.tokens=x|is a list in this file
		llama.context_length=str:long|is u32 in this file, not str
		llama.context_length=long|
	END
	args=()
	for t in u8 i8 u16 i16 u32 i32 u64 i64 f32 f64; do
		args+=(--set "x.$t=$t:1")
	done
	qz-gguf -q -t q8_0 "${args[@]}" -o typed.gguf "$M"
	for t in u8 i8 u16 i16 u32 i32 u64 i64 f32 f64; do
		qz-gguf -q -t q8_0 --set x.$t=100 -o x.gguf typed.gguf
		qz-show x.gguf | grep -q "$t *x\.$t = 100\$" || { echo $t; false; }
	done
	while IFS='|' read -r setting text; do
		run qz-gguf -q -t q8_0 --set "$setting" -o y.gguf typed.gguf
		[ "$status" -eq 2 ] || { echo "$setting: $status $output"; false; }
		[[ $output == *"--set ${setting%%=*}: $text"* ]] || { echo "$setting: $output"; false; }
	done <<-END
		x.u8=256|256 is not within 0..255
		x.i8=-129|-129 is not within -128..127
		x.u16=65536|65536 is not within 0..65535
		x.i16=32768|32768 is not within -32768..32767
		x.u64=-1|-1 is not within 0..9223372036854775807
		x.i64=1.5|
		x.f64=much|
		x.u64=u32:1|is u64 in this file, not u32
	END
	run qz-gguf -q -t q8_0 --set "$(printf 'x\377=1')" -o y.gguf "$M"
	[ "$status" -eq 2 ]
	[[ $output == *UTF-8* ]]
}

@test "mistakes on the command line" {
	while IFS='|' read -r args text; do
		# shellcheck disable=SC2086 # words
		run qz-gguf $args "$K/in.gguf"
		[ "$status" -eq 2 ] || { echo "$args: $status $output"; false; }
		[[ $output == *"$text"* ]] || { echo "$args: $output"; false; }
	done <<-END
		-t q9_k|'q9_k' is none of
		--output-type nf4|'nf4' is no type of a GGUF matrix
		--tensor-type =q8_0|PATTERN=TYPE
		--tensor-type attn_v|PATTERN=TYPE
		--like ollama|none of llama-quantize
	END
	model m layers=1
	run qz-gguf -q --like llama-quantize -o y.gguf m
	[ "$status" -eq 2 ]
	[[ $output == *"is no GGUF file"* ]]
}
