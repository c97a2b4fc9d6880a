#!/usr/bin/env bats
# qz-quantize: bytes against bitsandbytes' own, every kind of source, every type, and what it refuses.
bats_require_minimum_version 1.5.0
load helper

setup() {
	need_shared models/stories260k
	MODEL=$SHARED/models/stories260k
	BNB=$SHARED/golden/nf4/stories260k-bnb4
	cd "$BATS_TEST_TMPDIR" || exit 1
}

tensors() { perl "$ROOT/tests/cli/tensors.pl" "$1"; }
# name, type, shape and digest of a shard's tensors, sorted
listed() { qz-show "$1" | awk '$1 == "tensor" { print $7, $4, $5, $6 }' | sort; }
# A copy of the model that may be changed.
copy() { cp -r "$MODEL" "$1" && chmod -R u+w "$1"; }
# poke FILE TENSOR INDEX HEX: overwrites the bytes of an f32 element of a safetensors file.
poke() {
	perl -MJSON::PP -e '
		my ($file, $name, $i, $hex) = @ARGV;
		open my $f, "+<:raw", $file or die; read $f, my $n, 8; $n = unpack "Q<", $n; read $f, my $h, $n;
		seek $f, 8 + $n + decode_json($h)->{$name}{data_offsets}[0] + 4 * $i, 0; print $f pack "H*", $hex;
	' "$@"
}

@test "codes and scales are those of bitsandbytes" {
	qz-quantize -q --to bnb -o out "$MODEL"
	tensors out/model.safetensors | sort >got
	tensors "$BNB/model.safetensors" | sort >want
	[ "$(wc -l <got)" -eq 222 ]
	# The offset is a mean whose last bit depends on the order of summation; nested_absmax hangs on it.
	diff <(grep -v 'nested_absmax\|quant_state' got) <(grep -v 'nested_absmax\|quant_state' want)
	[ "$(grep -c 'weight U8' got)" -eq 35 ]
	diff <(awk '/nested_absmax/ { print $1, $2, $3 }' got) <(awk '/nested_absmax/ { print $1, $2, $3 }' want)
}

@test "a bitsandbytes folder comes out as it went in, straight and through a shard" {
	qz-quantize -q -t keep --to bnb -o straight "$BNB"
	qz-quantize -q -o base.qz "$BNB"
	qz-quantize -q --to bnb -o through - <base.qz
	tensors "$BNB/model.safetensors" | sort >want
	diff <(tensors straight/model.safetensors | sort) want
	diff <(tensors through/model.safetensors | sort) want
	qz-show --extract config.json base.qz >config.out
	run ! grep -q quantization_config config.out
	grep -q '"bnb_4bit_quant_type": "nf4"' straight/config.json
}

@test "every container holds the same model" {
	qz-quantize -q -t keep -o folder.qz "$MODEL"
	listed folder.qz >want
	[ "$(wc -l <want)" -eq 47 ]
	tar cf a.tar -C "$MODEL/.." stories260k
	tar cf ordered.tar -C "$MODEL" config.json tokenizer.json model.safetensors generation_config.json
	gzip -k a.tar
	xz -k a.tar
	if command -v zstd; then zstd -q a.tar; fi
	if command -v zip; then (cd "$MODEL" && zip -q "$BATS_TEST_TMPDIR/a.zip" ./*); fi
	for f in a.tar* ordered.tar a.zip "$SHARED/golden/gguf/stories260k-f32.gguf" folder.qz; do
		[ -e "$f" ] || continue
		qz-quantize -q -t keep -o file.qz "$f"
		qz-quantize -q -t keep - <"$f" >redirected.qz
		# shellcheck disable=SC2002 # a pipe is what is tested
		cat "$f" | qz-quantize -q -t keep - >pipe.qz
		for got in file redirected pipe; do
			echo "$f $got"
			diff <(listed $got.qz) want
		done
	done
}

@test "a pipe with the config first streams; with the weights first it waits in a file and says so" {
	tar cf first.tar -C "$MODEL" config.json model.safetensors tokenizer.json
	tar cf last.tar -C "$MODEL" model.safetensors tokenizer.json config.json
	# shellcheck disable=SC2002
	cat first.tar | qz-quantize -o 1.qz - 2>err
	run ! grep -q temporary err
	qz-show 1.qz | grep -q tokenizer.json
	# shellcheck disable=SC2002
	cat last.tar | qz-quantize -o 2.qz - 2>err
	grep -q '1044992 bytes of weights had to wait in a temporary file' err
	diff <(listed 1.qz) <(listed 2.qz)
}

@test "the bytes do not depend on threads, processor or where they go" {
	qz-quantize -q -j 1 -o 1.qz "$MODEL"
	qz-quantize -q -j 2 "$MODEL" >2.qz
	cmp 1.qz 2.qz
	QZ_CPU=base qz-quantize -q -o 3.qz "$MODEL"
	diff <(listed 1.qz) <(listed 3.qz)
	for t in fp4 nf4; do
		QZ_CPU=base qz-quantize -q -t $t --no-double-quant --to bnb -o "base-$t" "$MODEL"
		qz-quantize -q -t $t --no-double-quant --to bnb -o "best-$t" "$MODEL"
		cmp "base-$t/model.safetensors" "best-$t/model.safetensors"
	done
}

@test "types, blocks and what is left alone" {
	for t in nf4 fp4 int8 bf16 f16 f32; do
		qz-quantize -q -t $t -o $t.qz "$MODEL"
		[ "$(listed $t.qz | grep -c "_proj.weight $t ")" -eq 35 ]
		[ "$(listed $t.qz | grep -c "norm.weight f32 ")" -eq 11 ]
	done
	listed bf16.qz | grep -q 'embed_tokens.weight bf16'
	listed nf4.qz | grep -q 'embed_tokens.weight f32'
	qz-quantize -q --skip '*.layers.0.*' --skip '*down_proj*' -o skip.qz "$MODEL"
	[ "$(listed skip.qz | grep -c ' nf4 ')" -eq 24 ]
	qz-quantize -q --no-double-quant --block 128 -o plain.qz "$MODEL"
	[ "$(wc -c <plain.qz)" -ne "$(wc -c <nf4.qz)" ]
	# what a type keeps is what it was made from
	diff <(listed nf4.qz | awk '{ print $1, $4 }') <(listed f32.qz | awk '{ print $1, $4 }')
}

@test "what is skipped is named for transformers" {
	qz-quantize -q --skip '*.1.mlp.up_proj.weight' --to bnb -o out "$MODEL"
	grep -q '"llm_int8_skip_modules": \["lm_head", "model.layers.1.mlp.up_proj"\]' out/config.json
}

@test "quantized again: the same stays, another warns" {
	qz-quantize -q -o base.qz "$MODEL"
	qz-quantize -o again.qz base.qz 2>err
	diff <(listed base.qz) <(listed again.qz)
	run ! grep -q 'second error' err
	qz-quantize -q --block 32 -o other.qz base.qz 2>err
	grep -q 'is quantized already (nf4); quantizing it to nf4 again adds a second error' err
	diff <(listed base.qz) <(listed other.qz) # digests are of the first weights
}

@test "GGUF blocks: kept, or made into what is asked for" {
	for t in q8_0 f16 bf16; do
		qz-quantize -q -t keep -o keep.qz "$SHARED/golden/gguf/stories260k-$t.gguf"
		listed keep.qz | grep -q "q_proj.weight $t "
		qz-show --extract tokenizer.json keep.qz | grep -q '"model"'
	done
	qz-quantize -q -o nf4.qz "$SHARED/golden/gguf/stories260k-q8_0.gguf" 2>err
	grep -q 'quantized already (q8_0)' err
	listed nf4.qz | grep -q 'embed_tokens.weight f16'
}

@test "NaN and infinity are named" {
	copy bad
	poke bad/model.safetensors model.layers.2.mlp.up_proj.weight 77 0000c07f
	run qz-quantize -q -o out.qz bad
	[ "$status" -eq 3 ]
	[ "$output" = "qz-quantize: bad: tensor model.layers.2.mlp.up_proj.weight: element 77 (row 1, column 13) is not finite" ]
	[ ! -e out.qz ]
	copy bad2
	poke bad2/model.safetensors model.norm.weight 5 000080ff
	for t in keep nf4 f16; do
		run qz-quantize -q -t $t --to shard -o out.qz bad2
		[ "$status" -eq 3 ]
		[ "$output" = "qz-quantize: bad2: tensor model.norm.weight: element 5 (row 0, column 5) is not finite" ]
	done
	copy bad3
	poke bad3/model.safetensors model.layers.2.mlp.up_proj.weight 77 000080ff
	for t in nf4 fp4 int8; do
		run qz-quantize -q -t $t --to shard -o out.qz bad3
		[ "$status" -eq 3 ]
		[[ "$output" == *"up_proj.weight: element 77 (row 1, column 13) is not finite" ]]
	done
	run qz-quantize -q --to bnb -o out bad
	[ "$status" -eq 3 ]
	[ ! -e out ]
	[ "$(find . -name '.*qz*' | wc -l)" -eq 0 ]
}

@test "usage" {
	refuse() { # STATUS MESSAGE COMMAND...
		local status_wanted=$1 message=$2
		shift 2
		run "$@"
		echo "$status $output"
		[ "$status" -eq "$status_wanted" ] && [[ "$output" == *"$message"* ]]
	}
	refuse 2 'one model is expected' qz-quantize
	refuse 2 "--type: 'q9' is none of" qz-quantize -t q9 "$MODEL"
	refuse 2 '--block: 48 is no power of two' qz-quantize --block 48 "$MODEL"
	refuse 2 '--block: 8192 is not within' qz-quantize --block 8192 "$MODEL"
	refuse 2 '--to bnb makes a folder: -o says which' qz-quantize --to bnb "$MODEL"
	refuse 2 '--to bnb stores nf4 or fp4, not int8' qz-quantize -t int8 --to bnb -o x "$MODEL"
	refuse 1 'No such file or directory' qz-quantize no-such-model
	mkdir full && touch full/file
	refuse 2 'is a folder with files in it' qz-quantize --to bnb -o full "$MODEL"
	refuse 2 'is no option' qz-quantize --nonsense "$MODEL"
}

@test "damaged models: exit 3, the place, nothing left" {
	refuse() { # MODEL MESSAGE
		run qz-quantize -q -o out.qz "$1"
		echo "$status $output"
		[ "$status" -eq 3 ] && [[ "$output" == "qz-quantize: $1"$2 ]] && [ ! -e out.qz ]
	}
	copy a && rm a/config.json
	refuse a ': has no config.json'
	copy b && head -c 500000 "$MODEL/model.safetensors" >b/model.safetensors
	refuse b '/model.safetensors: tensor *: its data end at byte *'
	copy c && printf '\0\0\0\0\0\0\0\200{}' >c/model.safetensors
	refuse c '/model.safetensors: safetensors: a header of 9223372036854775808 bytes in a file of 10 bytes'
	copy d && sed -i 's/"rope_theta"/"rope_scaling": {"type": "yarn", "factor": 4}, "rope_theta"/' d/config.json
	refuse d "/config.json: rope_scaling: rope_type 'yarn' is not supported; default, linear and llama3 are"
	copy e && sed -i 's/"num_hidden_layers": 5/"num_hidden_layers": 6/' e/config.json
	refuse e ': tensor model.layers.5.input_layernorm.weight is missing'
	perl -e 'print "GGUF", pack "L<Q<Q<", 3, 1 << 40, 1 << 40' >f.gguf
	refuse f.gguf ': GGUF: 1099511627776 keys and 1099511627776 tensors in a file of 24 bytes'
	head -c 300000 "$SHARED/golden/gguf/stories260k-f32.gguf" >g.gguf
	refuse g.gguf ': GGUF: tensor *: * bytes at *, the file ends at 300000'
	ln -s /etc/passwd link && tar cf h.tar link
	refuse h.tar ': archive: link: a symbolic link is refused'
	tar cPf i.tar --transform 's,^,../,' -C "$MODEL" config.json
	refuse i.tar ': archive: ../config.json: a name that leaves its folder is refused'
	perl -e 'print "[" x 10000, "]" x 10000' >deep && copy j && cp deep j/config.json
	refuse j '/config.json: JSON: nested deeper than 256 at byte 256'
	qz-quantize -q -o whole.qz "$MODEL" && head -c 200000 whole.qz >k.qz
	run qz-quantize -q -o out.qz k.qz
	[ "$status" -eq 3 ] && [[ "$output" == *'k.qz: truncated: it ends at byte 200000, before the end record' ]]
	refuse "$SHARED/golden/gguf/lora.gguf" ': GGUF: general.type is adapter, a model is expected'
	refuse "$SHARED/golden/lora/plain-final" ': has no config.json: it holds an adapter, not a model'
	[ "$(find . -name '.*qz*' | wc -l)" -eq 0 ]
}

@test "damaged bitsandbytes folders name the key" {
	cp -r "$BNB" x && chmod -R u+w x
	cut() { # KEY: renames it
		perl -0777 -pi -e "s/\Q$1\E\"/substr('$1', 0, -1) . 'X\"'/e" x/model.safetensors
	}
	key=model.layers.0.self_attn.q_proj.weight
	cut $key.nested_absmax
	run qz-quantize -q -o out.qz x
	echo "$output"
	[ "$status" -eq 3 ]
	[ "$output" = "qz-quantize: x/model.safetensors: tensor $key.nested_absmax is missing" ]
	cp "$BNB/model.safetensors" x/ && perl -0777 -pi -e 's/"blocksize": 64/"blocksize": 32/' x/model.safetensors
	run qz-quantize -q -o out.qz x
	[ "$status" -eq 3 ]
	[[ "$output" == "qz-quantize: x/model.safetensors: tensor "*".absmax has "*" bytes of U8, "*" of U8 are expected" ]]
}
