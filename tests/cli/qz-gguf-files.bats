#!/usr/bin/env bats
# GGUF files as such: several of a size, the digest of their data, and what qz-show says of them.
load helper

setup() {
	need_shared golden/kquant
	K=$SHARED/golden/kquant
	cd "$BATS_TEST_TMPDIR" || exit 1
}

tensors() { perl "$ROOT/tests/cli/tensors.pl" "$@"; }

@test "several files of a size hold the tensors of one" {
	qz-gguf -q -t q4_k_m -o one.gguf "$K/in.gguf"
	run qz-gguf -t q4_k_m --split-max-size 150k -o many.gguf "$K/in.gguf"
	[ "$status" -eq 0 ]
	[[ $output == *"12 tensors, 402 kB in 3 files"* ]]
	diff <(tensors one.gguf) <(for f in many-*.gguf; do tensors "$f"; done | sort)
	for f in many-*.gguf; do [ "$(stat -c %s "$f")" -le 150000 ]; done
	qz-gguf -q --no-digest -t q4_k_m -o back.gguf many-00001-of-00003.gguf
	diff <(tensors one.gguf) <(tensors back.gguf)
	[ "$(grep -ca 'split\.' back.gguf)" -eq 0 ]
}

@test "a model in several files: the first is named, and all must be there" {
	qz-gguf -q --split-max-size 150k -t q4_k_m -o m "$K/in.gguf"
	run qz-gguf -q -o x.gguf m-00002-of-00003.gguf
	[ "$status" -eq 3 ]
	[[ $output == *"m-00002-of-00003.gguf: GGUF: is file 2 of 3: name the first, which has the keys"* ]]
	cp m-00001-of-00003.gguf other.gguf
	run qz-gguf -q -o x.gguf other.gguf
	[ "$status" -eq 3 ]
	[[ $output == *"its name must end in -00001-of-00003.gguf"* ]]
	cp m-00003-of-00003.gguf keep && cp m-00002-of-00003.gguf m-00003-of-00003.gguf
	run qz-gguf -q -o x.gguf m-00001-of-00003.gguf
	[ "$status" -eq 3 ]
	[[ $output == *"says that it is file 2 of 3, not 3 of 3"* ]]
	rm m-00003-of-00003.gguf
	run qz-gguf -q -o x.gguf m-00001-of-00003.gguf
	[ "$status" -eq 1 ]
	[[ $output == *"m-00003-of-00003.gguf"* ]]
	[ ! -e x.gguf ]
}

@test "sizes that no file can have" {
	run qz-gguf -q --split-max-size 50k -t q4_k_m -o m "$K/in.gguf"
	[ "$status" -eq 2 ]
	[[ $output == *"does not fit a file of 50000"* ]]
	run qz-gguf -q --split-max-size 150k -t q4_k_m "$K/in.gguf"
	[ "$status" -eq 2 ]
	[[ $output == *"-o says how they begin"* ]]
	[ -z "$(ls)" ]
}

@test "a file carries the digest of its data, and qz-show compares it" {
	qz-gguf -q -t q4_k_m -o x.gguf "$K/in.gguf"
	qz-gguf -q -t q4_k_m "$K/in.gguf" >y.gguf # a file, too
	cmp x.gguf y.gguf
	run qz-show --verify x.gguf
	[ "$status" -eq 0 ]
	[[ $output == *"  x.gguf  ok, 12 tensors" ]]
	printf 'X' | dd of=y.gguf bs=1 seek=300000 conv=notrunc status=none
	run qz-show --verify y.gguf
	[ "$status" -eq 3 ]
	[[ $output == "qz-show: y.gguf: the digest of its data is "* ]]
	head -c 300000 x.gguf >z.gguf
	run qz-show --verify z.gguf
	[ "$status" -eq 3 ]
	run qz-show --verify "$K/plain/Q4_K_M.gguf"
	[[ $output == *"carries no digest, 12 tensors" ]]
}

@test "a digest that another program copied is told from damage" {
	qz-gguf -q -t q8_0 -o x.gguf "$K/in.gguf"
	perl -0777 -pe '
		substr($_, 16, 8) = pack "Q<", 1 + unpack "Q<", substr $_, 16, 8;
		/qz\.data\.xxh3_128.{12}.{32}/s or die;
		substr($_, $+[0], 0) = pack "Q</aL<C", "general.of_another_", 0, 7;
		substr($_, -100, 1) ^= "\1"' x.gguf >y.gguf
	run qz-show --verify y.gguf
	[ "$status" -eq 3 ]
	[[ $output == *"general.of_another_ stands behind it: another program has written the file since"* ]] || { echo "$output"; false; }
	[[ $output != *"GGUF:"* ]]
}

@test "a file of qz's own is a model again, its digest its own" {
	qz-gguf -q -t q8_0 -o one.gguf "$K/in.gguf"
	for t in q8_0 f32 q4_0; do
		run qz-gguf -q -t $t -o two.gguf one.gguf
		[ "$status" -eq 0 ] || { echo "$output"; false; }
		[ "$(qz-show two.gguf | grep -c qz.data.xxh3_128)" -eq 1 ]
		qz-show --verify two.gguf
		# numbers in f32 are not quantized a second time
		[ "$(grep -c 'a second time' <<<"$output")" -eq "$([ $t = q4_0 ] && echo 1 || echo 0)" ] || { echo "$t: $output"; false; }
	done
	qz-gguf -q -t q8_0 one.gguf >pipe.gguf # which has none: the old one would be wrong
	qz-gguf -q -t q4_0 one.gguf 2>/dev/null | cat >pipe.gguf
	[ "$(qz-show pipe.gguf | grep -c qz.data.xxh3_128)" -eq 0 ]
}

@test "a pipe has no digest, and what is appended to is not touched" {
	# shellcheck disable=SC2002 # a pipe is what is tested
	qz-gguf -q -t q4_k_m "$K/in.gguf" | cat >x.gguf
	qz-gguf -q --no-digest -t q4_k_m -o y.gguf "$K/in.gguf"
	cmp x.gguf y.gguf
	printf 'before' >z
	qz-gguf -q -t q4_k_m "$K/in.gguf" >>z
	tail -c +7 z | cmp - y.gguf
	(printf 'before' && qz-gguf -q -t q4_k_m "$K/in.gguf") >z
	tail -c +7 z >w.gguf
	qz-show --verify w.gguf | grep -q ' ok, '
}

@test "qz-show lists keys and tensors" {
	run qz-show "$K/plain/Q4_K_M.gguf"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "$K/plain/Q4_K_M.gguf: GGUF version 3, 13 keys, 12 tensors" ]
	[[ $output == *"  key     u32     llama.block_count = 1"* ]]
	[[ $output == *"  tensor     108 kB  q6_k   256x512  blk.0.ffn_down.weight"* ]]
	qz-show --json "$K/plain/Q4_K_M.gguf" | perl -MJSON::PP -ne 'JSON::PP->new->utf8->decode($_)'
	qz-show --json "$K/plain/Q4_K_M.gguf" | grep -qF '{"key":"general.file_type","type":"u32","value":15}'
	run qz-show --extract output.weight "$K/plain/Q4_K_M.gguf"
	[ "$status" -eq 2 ]
}
