#!/usr/bin/env bats
# qz-gguf against files that llama.cpp's own tools made.
load helper

setup() {
	need_shared models/stories260k
	MODEL=$SHARED/models/stories260k
	GOLDEN=$SHARED/golden/gguf
	ADAPTER=$SHARED/golden/lora/plain-final
	cd "$BATS_TEST_TMPDIR" || exit 1
}

tensors() { perl "$ROOT/tests/cli/tensors.pl" "$@"; }

own_model() { # a copy that can be changed
	mkdir -p "$1"
	cp "$MODEL"/* "$1" && chmod -R u+w "$1"
}

# patch FILE TENSOR HEX: the first bytes of a tensor in a safetensors file.
patch_tensor() {
	perl -MJSON::PP -e '
		my ($file, $name, $hex) = @ARGV;
		open my $f, "+<:raw", $file or die;
		read $f, my $n, 8;
		$n = unpack "Q<", $n;
		read $f, my $h, $n;
		my $at = JSON::PP->new->utf8->decode($h)->{$name}{data_offsets}[0];
		seek $f, 8 + $n + $at, 0;
		print $f pack "H*", $hex;' "$@"
}

@test "keys and tensors are those of llama.cpp's converter" {
	for t in f32 f16 bf16 q8_0; do
		qz-gguf -q --no-digest -t $t -o $t.gguf "$MODEL"
		[ "$(stat -c %s $t.gguf)" -eq "$(stat -c %s "$GOLDEN/stories260k-$t.gguf")" ]
		cmp -n 11735 $t.gguf "$GOLDEN/stories260k-$t.gguf"
		diff <(tensors $t.gguf) <(tensors "$GOLDEN/stories260k-$t.gguf")
	done
}

@test "rows that are no whole number of blocks are named" {
	run qz-gguf -t q8_0 -o x.gguf "$MODEL"
	[ "$status" -eq 0 ]
	[[ $output == *"5 matrices do not fit q8_0: blk.0.ffn_down.weight is f16: rows of 172 elements are no multiple of 32"* ]]
	run qz-gguf --tensor-type attn_v=q4_k -o x.gguf "$MODEL"
	[[ $output == *"5 matrices do not fit q4_k: blk.0.attn_v.weight is q5_0: rows of 64 elements are no multiple of 256"* ]]
}

@test "a LoRA is what llama.cpp's converter writes, byte for byte" {
	qz-gguf -q --base "$MODEL" -o lora.gguf "$ADAPTER"
	cmp lora.gguf "$GOLDEN/lora.gguf"
}

@test "threads, pipes and where it comes from change no byte" {
	qz-gguf -q -j 1 --name x -t q8_0 -o 1.gguf "$MODEL"
	qz-gguf -q -j 2 --name x -t q8_0 "$MODEL" >2.gguf
	cmp 1.gguf 2.gguf
	tar -C "$(dirname "$MODEL")" -cf model.tar stories260k
	qz-gguf -q --name x -t q8_0 -o 3.gguf - <model.tar
	diff <(tensors 1.gguf) <(tensors 3.gguf)
	# shellcheck disable=SC2002 # a pipe is what is tested
	cat model.tar | qz-gguf --name x -t q8_0 2>said >4.gguf
	grep -q 'temporary file' said
	diff <(tensors 1.gguf) <(tensors 4.gguf)
}

@test "a GGUF file comes back as it was" {
	qz-gguf -q -t q8_0 -o again.gguf "$GOLDEN/stories260k-q8_0.gguf"
	diff <(tensors again.gguf) <(tensors "$GOLDEN/stories260k-q8_0.gguf")
}

@test "values too large for f16 are counted, and fatal with --strict" {
	own_model big
	patch_tensor big/model.safetensors model.layers.1.mlp.up_proj.weight 00247449002474c9 # 1e6, -1e6
	run qz-gguf -q -o big.gguf big
	[ "$status" -eq 0 ]
	[ "$output" = "qz-gguf: 2 values of 1 tensors are too large for f16 and became infinite, the first in blk.1.ffn_up.weight; bf16 holds them" ]
	run qz-gguf -q --strict -o strict.gguf big
	[ "$status" -eq 3 ]
	[[ $output == *"too large for f16"* ]]
	[ ! -e strict.gguf ]
	run qz-gguf -q --strict -t bf16 -o bf16.gguf big
	[ "$status" -eq 0 ]
}

@test "a weight that is not finite is named" {
	own_model nan
	for hex in 0000c07f 000080ff; do
		patch_tensor nan/model.safetensors model.layers.3.self_attn.q_proj.weight $hex
		for t in f32 f16 q8_0; do
			run qz-gguf -q -t $t -o nan.gguf nan
			[ "$status" -eq 3 ]
			[[ $output == *"tensor model.layers.3.self_attn.q_proj.weight: row 0, column 0 is not finite"* ]]
			[ ! -e nan.gguf ]
		done
	done
}

@test "a weight that is too large for the scale of its block is named" {
	own_model huge
	patch_tensor huge/model.safetensors model.layers.3.self_attn.q_proj.weight 20bcbe4c # 1e8
	for t in q8_0 q4_0 q4_1 q5_0 q5_1 iq4_nl; do
		run qz-gguf -q -t $t -o huge.gguf huge
		[ "$status" -eq 3 ]
		[ "$output" = "qz-gguf: tensor model.layers.3.self_attn.q_proj.weight: row 0, columns 0 to 31: the scale of this block of $t is too large for float16; bf16 holds the values" ]
		[ ! -e huge.gguf ]
	done
	qz-gguf -q -t bf16 -o huge.gguf huge
}

@test "what GGUF cannot say is refused by name" {
	cp -r "$ADAPTER" dora && chmod -R u+w dora
	sed -i 's/"use_dora": false/"use_dora": true/' dora/adapter_config.json
	run qz-gguf -q --base "$MODEL" -o x.gguf dora
	[ "$status" -eq 3 ]
	[[ ${output,,} == *dora* ]]
	cp -r "$ADAPTER" saved && chmod -R u+w saved
	sed -i 's/"modules_to_save": null/"modules_to_save": ["lm_head"]/' saved/adapter_config.json
	run qz-gguf -q --base "$MODEL" -o x.gguf saved
	[ "$status" -eq 3 ]
	[[ $output == *modules_to_save* ]]
	[ ! -e x.gguf ]
}

# alpha of a GGUF LoRA, as hex
alpha() { perl -0777 -ne '/adapter\.lora\.alpha\x06\0\0\0(....)/s and print unpack "H*", $1' "$1"; }

@test "rsLoRA: alpha carries the root of the rank" {
	cp -r "$ADAPTER" rs && chmod -R u+w rs
	sed -i 's/"use_rslora": false/"use_rslora": true/' rs/adapter_config.json
	qz-gguf -q --base "$MODEL" -o rs.gguf rs
	[ "$(alpha rs.gguf)" = "$(perl -e 'print unpack "H*", pack "f<", 8 * unpack "f", pack "f", 16 / sqrt 8')" ]
}

@test "alpha_pattern: B carries what the one alpha cannot" {
	cp -r "$ADAPTER" pattern && chmod -R u+w pattern
	sed -i 's/"alpha_pattern": {}/"alpha_pattern": {"v_proj": 32}/' pattern/adapter_config.json
	qz-gguf -q --base "$MODEL" --name "Plain Final" -o pattern.gguf pattern
	run diff <(tensors pattern.gguf) <(tensors "$GOLDEN/lora.gguf")
	[ "$(grep -c '^<' <<<"$output")" -eq 5 ]
	[ "$(grep -c '^<.*attn_v.weight.lora_b' <<<"$output")" -eq 5 ]
}

@test "--merge: what qz-merge in f32 and a pipe give, in one pass" {
	if ! command -v qz-merge >/dev/null; then skip "no qz-merge"; fi
	for t in f32 q8_0 q4_0 q5_1; do
		qz-merge -q -t f32 "$MODEL" "$ADAPTER" | qz-gguf -q --name x -t $t -o two.gguf -
		qz-gguf -q --name x -t $t --merge "$ADAPTER" -o one.gguf "$MODEL"
		diff <(tensors one.gguf) <(tensors two.gguf)
	done
	qz-merge -q -t f32 "$MODEL" "$ADAPTER" "$ADAPTER" | qz-gguf -q --name x -t q8_0 -o two.gguf -
	qz-gguf -q --name x -t q8_0 --merge "$ADAPTER" --merge "$ADAPTER" -o one.gguf "$MODEL"
	diff <(tensors one.gguf) <(tensors two.gguf)
}

@test "--merge into another model, and onto blocks" {
	own_model other
	sed -i 's/"num_hidden_layers": 5/"num_hidden_layers": 4/' other/config.json
	run qz-gguf -q --merge "$ADAPTER" -o x.gguf other
	[ "$status" -eq 3 ]
	run qz-gguf -q --merge /nowhere -o x.gguf "$MODEL"
	[ "$status" -eq 1 ]
	[ ! -e x.gguf ]
	run qz-gguf -q -t q8_0 --merge "$ADAPTER" -o x.gguf "$GOLDEN/stories260k-q8_0.gguf"
	[ "$status" -eq 0 ]
	[[ $output == *"quantized a second time"*"blk.0.attn_q.weight from q8_0 to q8_0 is the first"* ]]
}

@test "a LoRA without its base says what is missing" {
	run qz-gguf -q -o x.gguf "$ADAPTER"
	[ "$status" -eq 2 ]
	[[ $output == *"--base MODEL"* ]]
}

@test "the base that an adapter names is found beside it" {
	mkdir folder && cp -r "$ADAPTER" folder/adapter && chmod -R u+w folder
	cp -r "$MODEL" folder/stories260k
	qz-gguf -q --name "Plain Final" -o lora.gguf folder/adapter
	cmp lora.gguf "$GOLDEN/lora.gguf"
}

@test "an adapter for another model is refused" {
	own_model other
	sed -i 's/"num_hidden_layers": 5/"num_hidden_layers": 4/' other/config.json
	run qz-gguf -q --base other -o x.gguf "$ADAPTER"
	[ "$status" -eq 3 ]
	[ ! -e x.gguf ]
}

@test "a tokenizer that llama.cpp does not know is refused by its structure" {
	own_model odd
	rm odd/tokenizer.model
	printf '{"model":{"type":"BPE","vocab":{},"merges":[]},"pre_tokenizer":{"type":"Whitespace"}}' >odd/tokenizer.json
	run qz-gguf -q -o x.gguf odd
	[ "$status" -eq 3 ]
	[[ $output == *"Whitespace"* ]]
}

# edit FOLDER CODE: changes tokenizer.json, which is $_
edit() {
	perl -MJSON::PP -0777 -e 'my ($file, $code) = @ARGV; open my $f, "<:raw", $file or die; $_ = JSON::PP->new->utf8->decode(<$f>);
		eval $code; die $@ if $@; open $f, ">:raw", $file or die; print $f JSON::PP->new->utf8->canonical->encode($_)' \
	    "$1/tokenizer.json" "$2"
}

@test "what llama.cpp's tokenizer does otherwise is said, where the model can meet it" {
	run qz-gguf -o x.gguf "$MODEL"
	[[ $output != *"llama.cpp's tokenizer"* ]]
	while IFS='|' read -r code text; do
		rm -rf own && own_model own
		edit own "$code"
		run qz-gguf -o x.gguf own
		[ "$status" -eq 0 ] || { echo "$code: $output"; false; }
		[[ $output == *"qz-gguf: llama.cpp's tokenizer: $text"* ]] || { echo "$code: $output"; false; }
		[ "$(grep -c "llama.cpp's tokenizer" <<<"$output")" -eq 1 ] || { echo "$code: $output"; false; }
	done <<-'END'
		unshift @{$_->{normalizer}{normalizers}}, {type => "NFKC"}|text is taken as it is, here it goes through NFKC first
		$_->{added_tokens}[1]{rstrip} = JSON::PP::true|rstrip of the token <s> is not looked at
		$_->{pre_tokenizer} = {type => "Metaspace", prepend_scheme => "first"}|a space is put before text that follows a special token
		$_->{added_tokens}[1]{content} = "<ab>"; $_->{added_tokens}[2]{content} = "b>cdef"|where special tokens lie over each other, as <ab> and b>cdef can
	END
}

# keys FILE START: qz-show's "key = value" of the keys that begin so
keys() { qz-show "$1" | sed -n "s/^  key  *[a-z0-9]*  *\\($2.*\\)/\\1/p"; }

@test "what the model's card says is in the file" {
	own_model Cat-7B-v0.2
	cat >Cat-7B-v0.2/README.md <<-'END'
		---
		license: apache-2.0
		base_model: mistralai/Mistral-7B-v0.1 # where it comes from
		language:
		- en
		- no
		tags: [chat, "a, b"]
		model_creator: Anna
		---
		# A cat
	END
	run qz-gguf -q -t q8_0 -o x.gguf Cat-7B-v0.2
	[ "$output" = "" ]
	keys x.gguf general >said
	for want in 'general.name = "Cat 7B v0.2"' 'general.author = "Anna"' 'general.version = "v0.2"' 'general.license = "apache-2.0"' \
	    'general.base_model.count = 1' 'general.base_model.0.name = "Mistral 7B v0.1"' \
	    'general.base_model.0.repo_url = "https://huggingface.co/mistralai/Mistral-7B-v0.1"' \
	    'general.tags = ["chat","a, b"]' 'general.languages = ["en","no"]'; do
		grep -qxF "$want" said || { echo "no $want"; cat said; false; }
	done
	qz-gguf -q -t q8_0 --name Tom --set general.license=mit --set general.tags= -o x.gguf Cat-7B-v0.2
	keys x.gguf general >said
	grep -qx 'general.name = "Tom"' said
	[ "$(grep -c general.version said)" -eq 0 ]
	grep -qx 'general.license = "mit"' said
	[ "$(grep -c general.tags said)" -eq 0 ]
}

@test "a card that cannot be read is left out, and that is said" {
	own_model cat
	printf -- '---\nlicense: mit\ntags: &x a\n---\n' >cat/README.md
	run qz-gguf -q -t q8_0 -o x.gguf cat
	[ "$status" -eq 0 ]
	[ "$output" = "qz-gguf: README.md: its front matter, after ---: line 2: anchors, aliases, tags and directives are not read here: what the card says of the model is left out" ]
	[ "$(keys x.gguf general | grep -c license)" -eq 0 ]
}

@test "chat templates in all their places" {
	own_model chat
	set_template() { perl -MJSON::PP -0777 -e 'my ($f, $t) = @ARGV; open my $i, "<", $f; my $j = decode_json(<$i>); $j->{chat_template} = decode_json("[$t]")->[0];
		open my $o, ">", $f; print $o encode_json($j)' chat/tokenizer_config.json "$1"; }
	template() {
		qz-gguf -q -t q8_0 -o x.gguf chat
		keys x.gguf tokenizer.chat_template | tr '\n' '|'
	}
	printf '{"chat_template": "of json"}' >chat/chat_template.json
	[ "$(template)" = 'tokenizer.chat_template = "of json"|' ]
	set_template '"of config"'
	[ "$(template)" = 'tokenizer.chat_template = "of config"|' ]
	set_template '[{"name":"default","template":"one"},{"name":"tool use","template":"two"}]'
	[ "$(template)" = 'tokenizer.chat_template.tool_use = "two"|tokenizer.chat_templates = ["tool_use"]|tokenizer.chat_template = "one"|' ]
	printf 'of jinja' >chat/chat_template.jinja
	[ "$(template)" = 'tokenizer.chat_template = "of jinja"|' ]
	mkdir chat/additional_chat_templates
	for name in rag plain-text .hidden; do printf 'more of %s' $name >chat/additional_chat_templates/$name.jinja; done
	echo note >chat/additional_chat_templates/README.md
	more='tokenizer.chat_template.plain_text = "more of plain-text"|tokenizer.chat_template.rag = "more of rag"|tokenizer.chat_templates = ['
	[ "$(template)" = "$more"'"plain_text","rag"]|tokenizer.chat_template = "of jinja"|' ]
	rm chat/chat_template.jinja
	[ "$(template)" = 'tokenizer.chat_template.tool_use = "two"|'"$more"'"tool_use","plain_text","rag"]|tokenizer.chat_template = "one"|' ]
	printf 'not two' >'chat/additional_chat_templates/tool use.jinja'
	[[ $(template) == 'tokenizer.chat_template.tool_use = "not two"|'* ]]
	for ((i = 0; i < 65; i++)); do : >chat/additional_chat_templates/$i.jinja; done
	run qz-gguf -q -t q8_0 -o x.gguf chat
	[ "$status" -eq 3 ]
	[ "$output" = "qz-gguf: chat/additional_chat_templates: more than 64 templates" ]
}

@test "additional chat templates go through archives, shards, folders and GGUF files" {
	own_model named
	printf 'of jinja' >named/chat_template.jinja
	mkdir named/additional_chat_templates
	for name in rag tool_use; do printf 'more of %s' $name >named/additional_chat_templates/$name.jinja; done
	all='tokenizer.chat_template.rag = "more of rag"|tokenizer.chat_template.tool_use = "more of tool_use"|tokenizer.chat_templates = ["rag","tool_use"]|tokenizer.chat_template = "of jinja"|'
	templates() { qz-gguf -q -t q8_0 -o x.gguf "$1" && keys x.gguf tokenizer.chat_template | tr '\n' '|'; }
	[ "$(templates named)" = "$all" ]
	tar -cf named.tar named
	[ "$(templates named.tar)" = "$all" ]
	(cd named && tar -cf ../late.tar config.json model.safetensors additional_chat_templates -- *emplate.jinja tok*)
	[ "$(templates - <late.tar)" = "$all" ]
	qz-quantize -q -t bf16 -o named.qz named
	[ "$(templates named.qz)" = "$all" ]
	cp -r named many
	for ((i = 0; i < 100; i++)); do : >many/additional_chat_templates/$i.jinja; done
	tar -cf many.tar many
	run qz-gguf -q -t q8_0 -o x.gguf many.tar
	[ "$status" -eq 3 ]
	[[ $output == "qz-gguf: many.tar: archive: many/additional_chat_templates/"*".jinja: more than 81 files beside the weights" ]]
	qz-quantize -q --to bnb -o bnb named
	diff -r bnb/additional_chat_templates named/additional_chat_templates
	qz-gguf -q -t q8_0 -o one.gguf named
	[ "$(templates one.gguf)" = "$all" ]
}

@test "more tokens than rows of the embedding, and fewer" {
	own_model more # one that tokenizer.model does not have
	perl -MJSON::PP -0777 -e 'my $f = "more/tokenizer_config.json"; open my $i, "<", $f; my $j = decode_json(<$i>);
		$j->{added_tokens_decoder}{512} = {content => "<x>", special => JSON::PP::true}; open my $o, ">", $f; print $o encode_json($j)'
	run qz-gguf -q -t q8_0 -o x.gguf more
	[ "$status" -eq 3 ]
	[[ $output == *"512"* ]] || { echo "$output"; false; }
	[ ! -e x.gguf ]
	perl "$ROOT/tests/cli/tiny-llama.pl" fewer layers=1 vocab=520
	cp "$MODEL/tokenizer.model" fewer
	run qz-gguf -t q8_0 -o x.gguf fewer
	[ "$status" -eq 0 ]
	[[ $output == *"the embedding has 8 rows without a token: they are named [PAD...]"* ]]
}

@test "a disk that is too small is refused with what is missing" {
	mkdir small
	mount -t tmpfs -o size=64k none small 2>/dev/null || skip "cannot mount a small disk here"
	run qz-gguf -q -t q8_0 -o small/x.gguf "$MODEL"
	left=$(ls -A small)
	said=$output
	[ "$status" -eq 1 ]
	run bash -c 'qz-gguf -q -t q8_0 "$1" >small/y.gguf' - "$MODEL"
	[ ! -s small/y.gguf ]
	umount small
	[ "$status" -eq 1 ]
	[[ $output == *"<stdout>: the disk has "*" are missing" ]] || { echo "$output"; false; }
	output=$said
	[[ $output == *"small/x.gguf: the disk has "*" bytes free, the output takes 344"*" are missing" ]] || { echo "$output"; false; }
	[ -z "$left" ]
}

@test "a killed run leaves nothing, of several files too" {
	qz-merge -q -t f32 -o merged.qz "$MODEL" "$ADAPTER"
	for signal in KILL TERM; do
		for args in "" "--split-max-size 200k"; do
			mkdir out && mkfifo feed
			# shellcheck disable=SC2086 # words
			qz-gguf -q -t f32 $args -o out/x.gguf - <feed 3>&- &
			pid=$!
			exec 9>feed
			head -c 800000 merged.qz >&9
			sleep 0.3
			kill -$signal $pid
			exec 9>&-
			wait $pid || true
			[ -z "$(ls -A out)" ] || { ls -lA out; false; }
			rm -r out feed
		done
	done
}

@test "options that only a model has are refused for an adapter, and --base for a model" {
	for o in "-t q4_k_m" "--merge $ADAPTER" --any-base "--plan 4bpw" "--max-size 1G" "--imatrix x" "--tensor-type attn_v=q8_0" \
	    "--output-type q8_0" "--token-embedding-type q8_0" --pure "--like llama-quantize" "--split-max-size 1M" --strict --no-digest; do
		# shellcheck disable=SC2086 # words
		run qz-gguf $o --base "$MODEL" -o x.gguf "$ADAPTER"
		[ "$status" -eq 2 ] || { echo "$o: $status $output"; false; }
		[[ $output == *"is an adapter"*": --"*" is for a model"* ]] || { echo "$o: $output"; false; }
		[ ! -e x.gguf ]
	done
	qz-gguf -q -t f32 --set general.author=Ada --base "$MODEL" -o x.gguf "$ADAPTER"
	qz-show x.gguf | grep -q 'general.author = "Ada"'
	run qz-gguf --set adapter.lora.alpha=3 --base "$MODEL" -o y.gguf "$ADAPTER"
	[ "$status" -eq 2 ]
	run qz-gguf --base "$MODEL" -o y.gguf "$MODEL"
	[ "$status" -eq 2 ]
	[[ $output == *"--base is for an adapter"* ]]
}

@test "mistakes on the command line" {
	while IFS='|' read -r want args text; do
		# shellcheck disable=SC2086 # words
		run qz-gguf $args
		[ "$status" -eq "$want" ] || { echo "$args: $status $output"; false; }
		[[ $output == *"$text"* ]] || { echo "$args: $output"; false; }
	done <<-END
		2|-t q9 $MODEL|q9
		2|$MODEL $MODEL|one model
		2|--colour $MODEL|colour
		1|/nowhere/model|nowhere
		1|-o /nowhere/x.gguf $MODEL|qz-gguf: /nowhere/x.gguf: cannot create
		2|--plan 4.5 $MODEL|qz-gguf: --plan 4.5: 4.5bpw is how it looks
		2|--plan 4bpw --types q9 $MODEL|qz-gguf: --types: 'q9' is no type
		2|--plan 4bpw -|it cannot be a pipe
		2|--like llama-quantize $MODEL|qz-gguf: $MODEL: is no GGUF file
	END
}

@test "a shard of another kind is refused" {
	if ! command -v qz-tokenize >/dev/null; then skip "no qz-tokenize"; fi
	printf '{"prompt":"Once upon a time","completion":" there was a cat."}\n' >data.jsonl
	qz-tokenize -q -m "$MODEL" -o tokens.qz data.jsonl
	run qz-gguf -q -o x.gguf tokens.qz
	[ "$status" -eq 3 ]
	[[ $output == *tokens* ]]
	[ ! -e x.gguf ]
}
