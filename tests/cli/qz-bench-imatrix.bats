#!/usr/bin/env bats
# qz-bench imatrix: what it counts, its two formats, and that qz-gguf takes both.
load helper

setup() {
	need_shared models/stories260k
	MODEL=$SHARED/models/stories260k
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf '%s\n' '{"text":"Once upon a time there was a cat. The cat saw a big dog and ran."}' \
	    '{"text":"Lily and Tom went to the park. They played all day."}' >text.jsonl
	qz-tokenize -q -m "$MODEL" -f text -o tokens.qz text.jsonl
}

# dat FILE: "name calls columns first-value" of each entry, then "chunks dataset"
dat() {
	perl -0777 -ne 'my $at = 4; my $n = unpack "l<";
		for my $i (1 .. $n) { my $l = unpack "l<", substr $_, $at; my $name = substr $_, $at + 4, $l; $at += 4 + $l;
			my ($c, $k, $v) = unpack "l<l<f<", substr $_, $at; printf "%s %d %d %.4g\n", $name, $c, $k, $v; $at += 8 + 4 * $k }
		my ($c, $l) = unpack "l<l<", substr $_, $at; print "$c ", substr($_, $at + 8, $l), "\n"' "$1"
}

@test "every matrix of a layer has an entry with its columns" {
	qz-bench imatrix --to dat -o m.dat "$MODEL" tokens.qz
	dat m.dat >list
	[ "$(grep -c '^blk' list)" -eq 35 ]
	[ "$(tail -1 list)" = "2 tokens.qz" ]
	grep -q '^blk.3.ffn_down.weight 2 172 ' list
	[ "$(grep -c ' 2 64 ' list)" -eq 30 ]
	# q, k and v see the same input, gate and up another
	[ "$(sed -n 's/^blk.0.attn_[qkv].weight //p' list | sort -u | wc -l)" -eq 1 ]
	[ "$(sed -n 's/^blk.0.\(attn_q\|ffn_gate\|attn_output\|ffn_down\).weight //p' list | sort -u | wc -l)" -eq 4 ]
}

# The first layer's input is the embedding times 1 / rms times the norm's weights: computed here from the file.
@test "the first matrix's values are the mean squares of the normed embeddings" {
	qz-bench imatrix --to dat -o m.dat "$MODEL" tokens.qz
	qz-show --json --rows all tokens.qz >rows
	perl -MJSON::PP -0777 -e '
		my ($model, $dat, $rows) = @ARGV;
		sub slurp { open my $f, "<:raw", $_[0] or die; local $/; <$f> }
		my $s = slurp $model; my $n = unpack "Q<", $s; my $h = JSON::PP->new->utf8->decode(substr $s, 8, $n);
		my $get = sub { my ($a, $b) = @{$h->{$_[0]}{data_offsets}}; my $d = substr $s, 8 + $n + $a, $b - $a;
			$h->{$_[0]}{dtype} eq "F32" ? unpack "f<*", $d : unpack "f<*", pack "L<*", map { $_ << 16 } unpack "S<*", $d };
		my @e = $get->("model.embed_tokens.weight"); my @g = $get->("model.layers.0.input_layernorm.weight");
		my (@sum, $t);
		for (split /\n/, slurp $rows) { for my $id (@{decode_json($_)->{ids}}) {
			my @x = @e[64 * $id .. 64 * $id + 63]; my $q = 0; $q += $_ ** 2 for @x; my $r = 1 / sqrt($q / 64 + 1e-5);
			$sum[$_] += ($x[$_] * $r * $g[$_]) ** 2 for 0 .. 63; $t++ } }
		my $d = slurp $dat; my $at = index($d, "blk.0.attn_k.weight") + 19; my ($c, $k, @v) = unpack "l<l<f<64", substr $d, $at;
		for (0 .. 63) { my $want = $sum[$_] / $t * $c; abs($v[$_] / $want - 1) < 1e-5 or die "column $_: $v[$_], $want expected\n" }
	' "$MODEL/model.safetensors" m.dat rows
}

@test "both formats say the same to qz-gguf" {
	qz-bench imatrix --to dat -o m.dat "$MODEL" tokens.qz
	qz-bench imatrix "$MODEL" tokens.qz >m.gguf
	qz-gguf -q -t q4_1 --imatrix m.dat --set quantize.imatrix.file= -o dat.gguf "$MODEL"
	qz-gguf -q -t q4_1 --imatrix m.gguf --set quantize.imatrix.file= -o gguf.gguf "$MODEL"
	qz-gguf -q -t q4_1 -o none.gguf "$MODEL"
	# a last bit of a mean may differ, and move a code here and there
	qz-bench diff dat.gguf gguf.gguf | awk '/^all/ { print $2 }' >near
	qz-bench diff dat.gguf none.gguf | awk '/^all/ { print $2 }' >far
	paste near far | awk '{ exit !($1 < $2 / 10) }'
}

@test "one row, any number of threads" {
	qz-bench imatrix -j 1 --chunks 1 -o 1.gguf "$MODEL" tokens.qz
	qz-bench imatrix -j 2 --chunks 1 -o 2.gguf "$MODEL" tokens.qz
	cmp 1.gguf 2.gguf
	qz-show 1.gguf | grep -q 'imatrix.chunk_count = 1$'
	qz-bench imatrix -o all.gguf "$MODEL" tokens.qz
	if cmp -s 1.gguf all.gguf; then false; fi
}

@test "a GGUF file that is no importance matrix, and damaged ones" {
	qz-gguf -q -t q8_0 -o model.gguf "$MODEL"
	run qz-gguf -q -t q4_0 --imatrix model.gguf -o x.gguf "$MODEL"
	[ "$status" -eq 3 ]
	[[ $output == *"model.gguf: a GGUF file without importance"* ]]
	qz-bench imatrix -o m.gguf "$MODEL" tokens.qz
	head -c 3000 m.gguf >cut.gguf
	run qz-gguf -q -t q4_0 --imatrix cut.gguf -o x.gguf "$MODEL"
	[ "$status" -eq 3 ]
	[ ! -e x.gguf ]
}
