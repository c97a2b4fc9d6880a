#!/usr/bin/env bats
# qz-tokenize on a vocabulary of bytes made here: what comes in in which form, what is refused and how,
# what the report counts, how rows are made.

# shellcheck disable=SC2154,SC2030,SC2031,SC2016 # bats sets stderr, output and status; templates have dollars
bats_require_minimum_version 1.5.0
load helper

# A byte is its own id; 256 is <s>, 257 </s>, 258 <|x|>.
setup_file() {
	export QZ_T=$BATS_FILE_TMPDIR
	cd "$QZ_T" || return
	mkdir model
	perl -MJSON::PP -e '
		my ($n, %vocab) = 0x100;
		for my $b (0 .. 255) {
			my $prints = $b >= 0x21 && $b <= 0x7e || $b >= 0xa1 && $b <= 0xff && $b != 0xad;
			$vocab{$prints ? chr $b : chr $n++} = $b;
		}
		my @added = map +{ id => $_->[0], content => $_->[1], special => JSON::PP::true, normalized => JSON::PP::false,
			single_word => JSON::PP::false, lstrip => JSON::PP::false, rstrip => JSON::PP::false },
			[256, "<s>"], [257, "</s>"], [258, "<|x|>"];
		my $level = { type => "ByteLevel", add_prefix_space => JSON::PP::false, use_regex => JSON::PP::false };
		my $template = { type => "TemplateProcessing", single => [{ SpecialToken => { id => "<s>" } }, { Sequence => { id => "A" } }],
			special_tokens => { "<s>" => { ids => [256] } } };
		print JSON::PP->new->utf8->canonical->encode({ added_tokens => \@added, normalizer => undef, pre_tokenizer => $level,
			post_processor => $template, decoder => $level, model => { type => "BPE", vocab => \%vocab, merges => [] } })' >model/tokenizer.json
	echo '{"bos_token":"<s>","eos_token":"</s>","chat_template":"{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{{ m.content }}{{ eos_token }}{% endfor %}"}' >model/tokenizer_config.json
	printf '%s\n' '{"text":"one"}' '{"text":"two"}' '{"text":"three"}' >texts.jsonl
}

setup() { cd "$QZ_T" || return; }

# rows ARGS...: the rows that come out, as JSON lines.
rows() { qz-tokenize -q -m model "$@" | qz-show --json --rows all -; }

# text ARGS...: the same as text, trained text in brackets, a row a line; <s> and </s> are ^ and $.
text() {
	rows "$@" | perl -MJSON::PP -ne '
		my $r = decode_json $_;
		my $s = join "", map { ($r->{mask}[$_] ? "[" : "") . ({ 256 => "^", 257 => "\$", 258 => "X" }->{$r->{ids}[$_]} // chr $r->{ids}[$_]) .
			($r->{mask}[$_] ? "]" : "") } 0 .. $#{$r->{ids}};
		$s =~ s/\]\[//g;
		print "$s\n"'
}

@test "the formats: text, chat, ShareGPT, prompt, fields by name" {
	[ "$(text -f text texts.jsonl)" = $'^[one$]\n^[two$]\n^[three$]' ]
	[ "$(text - <<<'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yo"}]}')" = '^u:Hi$a:[Yo$]' ]
	[ "$(text - <<<'{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Yo"}]}')" = '^u:Hi$a:[Yo$]' ]
	[ "$(text - <<<'{"prompt":"Q","completion":"A"}')" = '^Q[A$]' ]
	[ "$(text -p ask -r say - <<<'{"ask":"Q","say":"A"}')" = '^Q[A$]' ]
	[ "$(text --train-on all - <<<'{"prompt":"Q","completion":"A"}')" = '^[QA$]' ]
}

@test "any field by another name, and any word for a role" {
	[ "$(text -f text --field text=body --special none - <<<'{"body":"abc"}')" = 'a[bc]' ]
	[[ "$(text --field instruction=task --field input=about --field output=done - <<<'{"task":"Do","about":"It","done":"A"}')" == *"Do"*"### Input:"*"It"*"### Response:"*"[A\$]" ]]
	[[ "$(text --field instruction=task --field context=about --field response=done - <<<'{"task":"Do","about":"It","done":"A"}')" == "^[INST]"*"### Context:"*"It"*"[/INST] [A\$]" ]]
	[ "$(text --field question=ask --field answer=say - <<<'{"ask":"Q","say":"A"}')" = '^Q[A$]' ]
	[ "$(text --field prompt=ask --field completion=say - <<<'{"ask":"Q","say":"A"}')" = '^Q[A$]' ]
	[ "$(text --field messages=talk --field role=who --field content=says - <<<'{"talk":[{"who":"user","says":"Hi"},{"who":"assistant","says":"Yo"}]}')" = '^u:Hi$a:[Yo$]' ]
	[ "$(text --field conversations=talk --field from=who --field value=says - <<<'{"talk":[{"who":"human","says":"Hi"},{"who":"gpt","says":"Yo"}]}')" = '^u:Hi$a:[Yo$]' ]
	[ "$(text --role bot=assistant --role me=user - <<<'{"messages":[{"role":"me","content":"Hi"},{"role":"bot","content":"Yo"}]}')" = '^u:Hi$a:[Yo$]' ]
	[ "$(text --role bot=assistant - <<<'{"conversations":[{"from":"human","value":"Hi"},{"from":"bot","value":"Yo"}]}')" = '^u:Hi$a:[Yo$]' ]
	printf '%s' 'Q {{ q }} A {{ say }}.' >own2.jinja
	[ "$(text -f own2.jinja --field answer=say - <<<'{"q":"1","say":"2"}')" = '^Q 1 A [2].' ]
	qz-tokenize -q -m model -o named.qz --field question=ask --field answer=say -r say - <<<'{"ask":"Q","say":"A"}'
	[[ "$(qz-show named.qz)" == *"field"*"question=ask answer=say"* ]]
}

@test "a field that is not there is missed by the data's name; wrong names are refused" {
	run --separate-stderr qz-tokenize -q -m model -f alpaca --field instruction=task -o x.qz - <<<'{"instruction":"Do","output":"A"}'
	[ "$status" -eq 3 ]
	[[ $stderr == *'line 1: the field "task" is missing among "instruction", "output"'* ]]
	run --separate-stderr qz-tokenize -q -m model --field messages=talk --field content=says -o x.qz - <<<'{"talk":[{"role":"user","says":"Hi"},{"role":"assistant","content":"Yo"}]}'
	[ "$status" -eq 3 ]
	[[ $stderr == *'message 2: the field "content" is missing'* ]]
	run --separate-stderr qz-tokenize -m model --field colour=x texts.jsonl
	[ "$status" -eq 2 ]
	[[ $stderr == *"--field: 'colour=x' does not begin with one of messages, "* ]]
	for bad in text text= =x; do
		run --separate-stderr qz-tokenize -m model --field "$bad" texts.jsonl
		[ "$status" -eq 2 ]
		[[ $stderr == *"--field: '$bad' is not of the form NAME=FIELD"* ]]
	done
	run --separate-stderr qz-tokenize -m model --role bot texts.jsonl
	[ "$status" -eq 2 ]
}

@test "a model with a list of templates: tool_use for conversations with tools, else default" {
	rm -rf listed && cp -r model listed
	echo '{"bos_token":"<s>","eos_token":"</s>","chat_template":[{"name":"tool_use","template":"{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}{{ tools[0].name }}"},{"name":"default","template":"{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{{ m.content }}{{ eos_token }}{% endfor %}"}]}' >listed/tokenizer_config.json
	turns='"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yo"}]'
	printf '%s\n' "{$turns}" "{$turns,\"tools\":[]}" "{$turns,\"tools\":[{\"name\":\"f\"}]}" >turns.jsonl
	[ "$(qz-tokenize -q -m listed turns.jsonl | qz-show --rows all - | grep -v '^row\|^$')" = $'<s>u:Hi</s>a:[[Yo]][[</s>]]\n<s>u:Hi</s>a:[[Yo]][[</s>]]\nHi</s>[[Yo]][[</s>]]f' ]
}

@test "chat_template.json, and additional_chat_templates/tool_use.jinja" {
	rm -rf apart && mkdir -p apart/additional_chat_templates && cp model/tokenizer.json apart
	echo '{"bos_token":"<s>","eos_token":"</s>"}' >apart/tokenizer_config.json
	turns='"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yo"}]'
	printf '%s\n' "{$turns}" "{$turns,\"tools\":[{\"name\":\"f\"}]}" >turns.jsonl
	shown() { qz-tokenize -q -m "$1" turns.jsonl | qz-show --rows all - | grep -v '^row\|^$'; }
	echo '{"chat_template":"{% for m in messages %}{{ m.role[0] }}:{{ m.content }}{{ eos_token }}{% endfor %}"}' >apart/chat_template.json
	[ "$(shown apart)" = $'u:Hi</s>a:[[Yo]][[</s>]]\nu:Hi</s>a:[[Yo]][[</s>]]' ]
	printf '%s' '{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}{{ tools[0].name }}' >apart/additional_chat_templates/tool_use.jinja
	[ "$(shown apart)" = $'u:Hi</s>a:[[Yo]][[</s>]]\nHi</s>[[Yo]][[</s>]]f' ]
}

@test "Alpaca and Dolly" {
	[[ "$(text - <<<'{"instruction":"Do","input":"","output":"A"}')" == *"Do"*"### Response:"*"[A\$]" ]]
	[[ "$(text - <<<'{"instruction":"Do","context":"","response":"A"}')" == "^[INST] Below is an instruction"*"### Response: [/INST] [A\$]" ]]
}

@test "a template of one's own" {
	printf '%s' 'Q {{ q }} A {% generation %}{{ a }}{% endgeneration %}.' >own.jinja
	[ "$(text -f own.jinja - <<<'{"q":"1","a":"2"}')" = '^Q 1 A [2].' ]
}

@test "the date of a template is that of --date, never today's" {
	printf '%s' "{{ strftime_now('%d %b %Y') }} {{ a }}" >dated.jinja
	[ "$(text -f dated.jinja --train-on all - <<<'{"a":"x"}')" = '^[26 Jul 2024 x$]' ]
	[ "$(text -f dated.jinja --train-on all --date 2025-02-28 - <<<'{"a":"x"}')" = '^[28 Feb 2025 x$]' ]
	for bad in 2025-02-30 2025-2-3 yesterday 2025-02-28x ''; do
		run --separate-stderr qz-tokenize -m model -f dated.jinja --date "$bad" texts.jsonl
		[ "$status" -eq 2 ]
		[[ $stderr == *"--date: '$bad' is no date like 2024-12-31"* ]]
	done
}

@test "documents as they are: --special none adds nothing" {
	[ "$(text -f text --special none texts.jsonl)" = $'o[ne]\nt[wo]\nt[hree]' ]
}

@test "each text is a row, one token or not; what has none is counted" {
	printf '%s\n' '{"text":"a"}' '{"text":""}' '{"text":"bc"}' '{"text":"d"}' >short.jsonl
	[ "$(text -f text --special none short.jsonl)" = $'a\nb[c]\nd' ]
	[ "$(text -f text --special none -l 2 --cut split - <<<'{"text":"efg"}')" = $'e[f]\ng' ]
	[ "$(text -f text --special none -l 4 --pack short.jsonl)" = 'ab[c]d' ]
	run --separate-stderr qz-tokenize -m model -f text --special none -o short.qz short.jsonl
	[[ $stderr == *"1 documents left out: there is no token in them"* ]]
	run --separate-stderr qz-tokenize -q --json -m model -f text --special none -o short.qz short.jsonl
	[[ $stderr == *'"documents":4,"rows":3,"tokens":4,"trained":1,'*'"untrained":0,"empty":1,'* ]]
	[ "$(qz-show --rows all short.qz | grep -c '^row')" -eq 3 ]
	# A prompt without an answer is none.
	run --separate-stderr qz-tokenize -m model --special none -o x.qz - <<<'{"prompt":"Q","completion":""}'
	[ "$status" -eq 3 ]
}

@test "compressed data is the same data" {
	qz-tokenize -q -m model -o plain.qz texts.jsonl
	gzip -c texts.jsonl >t.gz
	zstd -q -f texts.jsonl -o t.zst
	{ head -n 1 texts.jsonl | gzip && tail -n +2 texts.jsonl | gzip; } >two.gz
	for f in t.gz t.zst two.gz; do
		qz-tokenize -q -m model -o "$f.qz" "$f"
		cmp plain.qz "$f.qz"
		qz-tokenize -q -m model <"$f" | cmp plain.qz -
	done
}

@test "compressed data that is cut: status 3, the file is named" {
	perl -e 'print "{\"text\":\"", (map chr(97 + rand 26), 1 .. 9000), "\"}\n"' | gzip | head -c 3000 >cut.gz
	run --separate-stderr qz-tokenize -q -m model -o cut.qz cut.gz
	[ "$status" -eq 3 ]
	[[ $stderr == "qz-tokenize: cut.gz: archive: truncated gzip input" ]]
	[ ! -e cut.qz ]
}

@test "several files, an array and lines" {
	printf '[{"text":"a"},\n{"text":"b"}]' >array.json
	run --separate-stderr qz-tokenize -m model -o several.qz array.json texts.jsonl
	[ "$status" -eq 0 ]
	[[ $stderr == *"array.json          2         2           6           4"* ]]
	[[ $stderr == *"texts.jsonl         3         3          17          14"* ]]
	[ "$(qz-show --json --rows all several.qz | wc -l)" -eq 5 ]
}

@test "any number of threads: the same bytes" {
	for i in $(seq 3000); do echo "{\"prompt\":\"question $i\",\"completion\":\"answer $((i * i))\"}"; done >many.jsonl
	for how in '' '--pack -l 64' '--by-length' '--cut split -l 16'; do
		# shellcheck disable=SC2086 # words
		qz-tokenize -q -m model $how -j 1 -o one.qz many.jsonl
		# shellcheck disable=SC2086
		qz-tokenize -q -m model $how -j 4 many.jsonl | cmp one.qz -
	done
}

@test "a broken line: file and line are named; --skip-bad passes over so many" {
	printf '%s\n' '{"text":"a"}' '{"text":' '{"text":7}' '{"text":"b"}' >broken.jsonl
	run --separate-stderr qz-tokenize -m model -o b.qz broken.jsonl
	[ "$status" -eq 3 ]
	[ "$stderr" = "qz-tokenize: broken.jsonl: line 2: JSON: not well-formed at byte 8 of 8" ]
	run --separate-stderr qz-tokenize -m model --skip-bad 1 -o b.qz broken.jsonl
	[ "$status" -eq 3 ]
	[[ $stderr == *'broken.jsonl: line 2: '*': passed over'*'line 3: the field "text" is a number, expected a string' ]]
	run --separate-stderr qz-tokenize -m model --skip-bad 2 -o b.qz broken.jsonl
	[ "$status" -eq 0 ]
	[[ $stderr == *"  2 broken records passed over"* ]]
	[ "$(qz-show --json --rows all b.qz | wc -l)" -eq 2 ]
}

@test "a broken first line does not tell the format" {
	printf '%s\n' '{"x":1}' '{"text":"a"}' >first.jsonl
	run --separate-stderr qz-tokenize -m model -o f.qz first.jsonl
	[ "$status" -eq 3 ]
	[[ $stderr == *'line 1: the fields "x" fit no known format'* ]]
	[ "$(text --skip-bad 1 first.jsonl 2>/dev/null)" = '^[a$]' ]
}

@test "bytes that are no text: refused with their place, or replaced" {
	printf '{"text":"ok"}\n{"text":"a\xffb"}\n{"text":"c\\ud800"}\n' >bad.jsonl
	run --separate-stderr qz-tokenize -m model -o bad.qz bad.jsonl
	[ "$status" -eq 3 ]
	[ "$stderr" = "qz-tokenize: bad.jsonl: line 2: JSON: byte 10 is not valid UTF-8" ]
	run --separate-stderr qz-tokenize -m model --invalid replace -o bad.qz bad.jsonl
	[ "$status" -eq 0 ]
	[[ $stderr == *"2 records with bytes that were no text: now U+FFFD"* ]]
	[ "$(text -f text --special none --invalid replace bad.jsonl | tail -n 1)" = $'c[\xef\xbf\xbd]' ]
	printf 'a\0b' >nul.txt
	run --separate-stderr qz-tokenize -m model -f text -o nul.qz nul.txt
	[ "$status" -eq 3 ]
	[ "$stderr" = "qz-tokenize: nul.txt: line 1: byte 1 is NUL, expected text" ]
}

@test "special tokens that a user typed are text, and counted" {
	echo '{"prompt":"<|x|></s>","completion":"A"}' >typed.jsonl
	run --separate-stderr qz-tokenize -m model -o typed.qz typed.jsonl
	[[ $stderr == *"1 documents with the text of a special token in a field: taken as plain text"* ]]
	[ "$(text typed.jsonl)" = '^<|x|></s>[A$]' ]
	run --separate-stderr qz-tokenize -m model --parse-special -o typed.qz typed.jsonl
	[[ $stderr == *"1 documents with the text of a special token in a field: taken for that token"* ]]
	[ "$(text --parse-special typed.jsonl)" = '^X$[A$]' ]
	run --separate-stderr qz-tokenize -m model -o typed.qz <<<'{"prompt":"Q","completion":"A"}'
	[[ $stderr != *"special token"* ]]
	[ "$(text -f text --special none - <<<'a<|x|>')" = $'a[X\n]' ]
}

@test "two BOS tokens, no end token, nothing to learn: counted" {
	printf '%s' '{{ bos_token }}{{ bos_token }}{{ a }}' >twice.jinja
	run --separate-stderr qz-tokenize -m model -f twice.jinja -r a -o x.qz - <<<'{"a":"x"}'
	[[ $stderr == *"1 documents that begin with two BOS tokens"* ]]
	run --separate-stderr qz-tokenize -m model --special none -o x.qz - <<<'{"prompt":"Q","completion":"A"}'
	[[ $stderr == *"1 documents without a trained end token"* ]]
	printf '%s\n' '{"prompt":"Q","completion":"A"}' '{"prompt":"Q","completion":""}' >none.jsonl
	run --separate-stderr qz-tokenize -m model --special none -o x.qz none.jsonl
	[[ $stderr == *"1 rows left out: no token in them is to be learnt"* ]]
}

@test "nothing to learn in all of the data: refused, and why" {
	refuse() {
		run --separate-stderr qz-tokenize -m model -o x.qz "${@:2}"
		[ "$status" -eq 3 ]
		[ "$stderr" = "qz-tokenize: $1" ] || { echo "$stderr"; false; }
		[ ! -e x.qz ]
	}
	rm -f x.qz
	printf '%s\n' '{"prompt":"Question","completion":"Answer"}' '{"prompt":"Questions","completion":"Answers"}' >two.jsonl
	refuse 'two.jsonl: each of 2 documents is longer than the 8 tokens of --length' -l 8 --cut drop two.jsonl
	refuse 'two.jsonl: none of 2 documents has a token to learn: --length 8 cuts their answers off, or they are empty' -l 8 two.jsonl
	echo '{"messages":[{"role":"user","content":"Hi"}]}' >asked.jsonl
	refuse 'asked.jsonl: none of 1 documents has a token to learn: they have no answer, or an empty one' asked.jsonl
	: >empty.jsonl
	refuse 'empty.jsonl: there is no document in the data' empty.jsonl
}

@test "too long: the end, the start, all of it, or further rows" {
	local long='{"text":"abcdefgh"}'
	[ "$(text -l 4 - <<<"$long")" = '^[abc]' ]
	[ "$(text -l 4 --cut start - <<<"$long")" = 'f[gh$]' ]
	[ "$(text -l 4 --cut split - <<<"$long")" = $'^[abc]\nd[efg]\nh[$]' ]
	run --separate-stderr qz-tokenize -m model -l 4 --cut drop -o x.qz - <<<"$long"
	[ "$status" -eq 3 ]
	run --separate-stderr qz-tokenize -m model -l 4 -o x.qz - <<<"$long"
	[[ $stderr == *"1 documents cut at --length: their end is gone"*"1 documents without a trained end"* ]]
	run --separate-stderr qz-tokenize -m model -l 4 --cut start -o x.qz - <<<"$long"
	[[ $stderr == *"1 documents cut to --length: their start is gone"* ]]
	[[ $stderr != *"end token"* ]]
}

@test "packing: no row is too long, no document is lost or torn, the seed shuffles" {
	for i in $(seq 500); do printf '{"text":"%*d"}\n' $((i * 7 % 50 + 1)) "$i"; done >lengths.jsonl
	rows -l 64 --pack lengths.jsonl >packed
	rows lengths.jsonl >plain
	perl -MJSON::PP -e '
		my ($packed, $plain) = map { open my $f, "<", $_; [map decode_json($_), <$f>] } @ARGV;
		my (%want, $tokens);
		$want{"@{$_->{ids}} | @{$_->{mask}}"}++ for @$plain;
		for my $r (@$packed) {
			@{$r->{ids}} <= 64 or die "a row of " . @{$r->{ids}};
			$tokens += @{$r->{ids}};
			my $at = 0;
			for my $end (@{$r->{docs}}) {
				$want{"@{$r->{ids}}[$at .. $end - 1] | @{$r->{mask}}[$at .. $end - 1]"}--;
				$at = $end;
			}
		}
		for (values %want) { die "a document is lost or torn" if $_ }
		die "rows are not full: $tokens of " . 64 * @$packed if $tokens < 0.97 * 64 * @$packed' packed plain
	rows -l 64 --pack lengths.jsonl | cmp packed -
	rows -l 64 --pack --seed 43 lengths.jsonl >other
	run ! cmp -s packed other
	cmp <(sort packed) <(sort other)
}

@test "by length: the longest row first" {
	[ "$(text --by-length texts.jsonl)" = $'^[three$]\n^[one$]\n^[two$]' ]
}

@test "a histogram of lengths, for people and as data" {
	run --separate-stderr qz-tokenize -m model --stats -o x.qz texts.jsonl
	[[ $stderr == *"tokens a row: 5 to 7, mean 5.7, median 5, 90 % up to 7"*"4..5                2 ####"*"6..7                1 ####"* ]]
	qz-tokenize -m model --stats --json -o x.qz texts.jsonl 2>report.json
	perl -MJSON::PP -e '
		my $r = decode_json(<>);
		$r->{files}[0]{documents} == 3 && $r->{files}[0]{broken} == 0 && $r->{lengths}{most} == 7 &&
			$r->{lengths}{bins}[1]{rows} == 1 or die' report.json
}

@test "-q is silent, but --json is an answer" {
	run --separate-stderr qz-tokenize -q -m model -o x.qz texts.jsonl
	[ "$stderr" = "" ]
	run --separate-stderr qz-tokenize -q --json -m model -o x.qz texts.jsonl
	[[ $stderr == '{"files":[{"name":"texts.jsonl",'* ]]
}

@test "qz-show --rows takes a count or all" {
	qz-tokenize -q -m model -o x.qz texts.jsonl
	[ "$(qz-show --json --rows 2 x.qz | wc -l)" -eq 2 ]
	[ "$(qz-show --json --rows 9 x.qz | wc -l)" -eq 3 ]
	[ "$(qz-show --rows 0 x.qz)" = "" ]
	for bad in x -1 '' 1.5; do
		run --separate-stderr qz-show --rows "$bad" x.qz
		[ "$status" -eq 2 ]
		[[ $stderr == "qz-show: --rows: '$bad' is neither a count of rows nor 'all'"* ]]
	done
	run --separate-stderr qz-show --rows 1 --extract tokenizer.json x.qz
	[ "$status" -eq 2 ]
	[[ $stderr == *"--rows and --extract"* ]]
}

@test "--show draws rows for any width" {
	qz-tokenize -q -m model --show 1 -o x.qz - 2>seen <<<'{"prompt":"Q","completion":"Answer"}'
	[ "$(cat seen)" = $'row 0: 9 tokens, 7 trained\n<s>Q[[Answer]][[</s>]]' ]
}

@test "on a terminal of 40 and of 120 columns: no row and no bar is longer" {
	command -v script >/dev/null || skip "no script(1)"
	perl -MJSON::PP -e 'print encode_json({ prompt => "Question " x 30, completion => "Answer \x{4e2d}\x{6587} " x 30 }), "\n" for 1 .. 99' >wide.jsonl
	for width in 40 120; do
		script -qec "stty cols $width; qz-tokenize -q -m model --show 1 --stats -o x.qz wide.jsonl" /dev/null </dev/null >typescript
		perl -CSD -ne '
			BEGIN { $w = shift @ARGV }
			s/\e\[[0-9;]*[mK]//g, s/[\r\n]//g;
			s/[\x{4e00}-\x{9fff}]/xx/g;
			$seen++ if /Question/ || /####/;
			die "$w: $_\n" if length > $w;
			END { die "nothing was drawn\n" if $seen < 2 }' "$width" typescript
	done
}

@test "--show: what acts on a terminal, turns text around or cannot be seen is written as an escape" {
	qz-tokenize -q -m model --show 1 -o x.qz - 2>seen <<<'{"prompt":"a\u001b[31m\u009b1mb\u202ec\u200b\ufeff\u00add","completion":"A"}'
	[ "$(cat seen)" = $'row 0: 27 tokens, 2 trained\n<s>a\\x1b[31m\\x9b1mb\\u202ec\\u200b\\ufeff\\xadd[[A]][[</s>]]' ]
}

# On a terminal of 40 columns, without colours: brackets and escapes take room.
@test "on a narrow terminal: marks and escapes wrap, the meter leaves nothing behind" {
	command -v script >/dev/null || skip "no script(1)"
	perl -e 'for my $i (0 .. 9) { print "{\"prompt\":\"", "q" x (30 + $i), "\",\"completion\":\"a\\tb\\n", "z" x 33, "\\tc\"}\n" }' >marks.jsonl
	script -qec "stty cols 40; NO_COLOR=1 qz-tokenize -q -m model --show 10 -o x.qz marks.jsonl" /dev/null </dev/null >typescript
	perl -CSD -ne 's/[\r\n]//g; $seen++ if /q{9}/; die "$_\n" if length > 40; END { die "nothing was drawn\n" if $seen < 10 }' typescript
	script -qec "stty cols 30; qz-tokenize -m model --show 1 -o x.qz marks.jsonl" /dev/null </dev/null >typescript
	perl -ne 'while (/\r(tokenize [^\e]*)\e/g) { $seen++; die "$1\n" if length $1 > 29 } END { die "no meter\n" unless $seen }' typescript
}

@test "a report that is wider than the terminal: a small table for each file, words wrap" {
	command -v script >/dev/null || skip "no script(1)"
	printf '%s\n' '{"prompt":"Q <|x|>","completion":"Answer"}' '{"prompt":"Q","completion":""}' >a-file-with-a-long-name.jsonl
	script -qec "stty cols 40; qz-tokenize -m model -l 12 --stats -o x.qz a-file-with-a-long-name.jsonl texts.jsonl" /dev/null </dev/null | sed 's/\r$//; s/.*\r.*\x1b\[K//' >seen
	cat >want <<-'END'
	a-file-with-a-long-name.jsonl: prompt
	 documents rows tokens trained
	         2    2     15       5  33 %
	  1 documents cut at --length: their end
	  is gone
	  1 documents without a trained end
	  token: the model does not learn to
	  stop there
	  1 documents with the text of a special
	  token in a field: taken as plain text
	texts.jsonl: text
	 documents rows tokens trained
	         3    3     17      14  82 %
	tokens a row: 3 to 12, mean 6.4, median
	5, 90 % up to 12, 99 % up to 12
	END
	head -n 15 seen | diff want -
	cp texts.jsonl a-name-that-leaves-no-room-at-all.jsonl
	script -qec "stty cols 40; qz-tokenize -m model -o x.qz a-name-that-leaves-no-room-at-all.jsonl" /dev/null </dev/null | sed 's/\r$//' >seen
	grep -q '^  text$' seen
	script -qec "stty cols 80; qz-tokenize -m model -o x.qz texts.jsonl" /dev/null </dev/null | grep -q '^texts.jsonl         3         3          17          14  82 %'
}

@test "lengths of packed rows are those of their documents" {
	run --separate-stderr qz-tokenize -m model --stats --pack -l 64 -o x.qz texts.jsonl
	[[ $stderr == *"tokens a document: 5 to 7, "* ]]
	qz-tokenize -m model --stats --json --pack -l 64 -o x.qz texts.jsonl 2>report.json
	perl -MJSON::PP -e 'my $r = decode_json(<>); $r->{files}[0]{rows} == 1 && $r->{lengths}{bins}[1]{documents} == 1 or die' report.json
}

# broken PERL TEXT: the model with its tokenizer.json, $j, changed by PERL; status and message for TEXT.
broken() {
	rm -rf broken && cp -r model broken
	perl -MJSON::PP -e '
		my $code = shift;
		my $j = decode_json(<STDIN>);
		eval "$code; 1" or die $@;
		print JSON::PP->new->utf8->canonical->encode($j)' "$1" <model/tokenizer.json >broken/tokenizer.json
	run --separate-stderr qz-tokenize -q -m broken -f text -o x.qz - <<<"{\"text\":\"$2\"}"
}

@test "broken tokenizers are named" {
	broken '$j->{model}{merges} = ["a b"]' x
	[ "$status" -eq 3 ]
	[[ $stderr == *'tokenizer.json: model: merge 0: "a" and "b" merge to what is not in the vocabulary' ]]
	broken '$j->{model}{merges} = ["a zz"]' x
	[ "$status" -eq 3 ]
	[[ $stderr == *'merge 0: the piece "zz" is not in the vocabulary' ]]
	broken '$j->{model}{vocab}{abc} = 97' x
	[ "$status" -eq 3 ]
	[[ $stderr == *"id 97 is there twice"* ]]
	broken '$j->{model}{vocab}{abc} = 1e9' x
	[ "$status" -eq 3 ]
	[[ $stderr == *'the id of "abc": is 1000000000, not a whole number within 0..16777215' ]]
	broken '$j->{pre_tokenizer} = { type => "Split", pattern => { Regex => "(?:x|xx|x+)+[ab]" }, behavior => "Isolated" }' "$(printf 'x%.0s' {1..48})"
	[ "$status" -eq 3 ]
	[[ $stderr == *"line 1: the split pattern fails at byte 0: match limit exceeded" ]]
	broken '$j->{model}{type} = "WordPiece"' x
	[ "$status" -eq 3 ]
	[[ $stderr == *"model: the type WordPiece is not supported" ]]
}

@test "ids with gaps are ids; ids without a row in the embedding are refused" {
	broken '$j->{model}{vocab}{a} = 5000' banana
	[ "$status" -eq 0 ]
	[ "$(qz-show --json --rows all x.qz)" = '{"ids":[256,98,5000,110,5000,110,5000,257],"mask":[0,1,1,1,1,1,1,1],"docs":[8]}' ]
	echo '{"vocab_size":258}' >broken/config.json
	run --separate-stderr qz-tokenize -q -m broken -f text -o x.qz - <<<'{"text":"ba"}'
	[ "$status" -eq 3 ]
	[[ $stderr == *"line 1: \"a\" is id 5000, the model's embedding has 258 rows" ]]
}

@test "templates that loop or reach out" {
	while IFS='|' read -r template message; do
		printf '%s' "$template" >t.jinja
		run --separate-stderr qz-tokenize -q -m model -f t.jinja -o x.qz - <<<'{"a":"x"}'
		[ "$status" -eq 3 ]
		[[ $stderr == *"$message"* ]] || { echo "$stderr"; false; }
	done <<-'END'
	{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}|more than 1000000 steps
	{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}|macros are called more than 200 deep
	{{ 'xxxxxxxxxx' * 99999999 }}|more than 1000000 steps
	{% include '/etc/passwd' %}|{% include %} is not known here
	{% import 'os' as os %}|{% import %} is not known here
	{{ ''.__class__.__mro__ }}|access to an unsafe attribute
	{{ self.__init__.__globals__ }}|'self' is undefined
	{{ raise_exception('no: stop') }}|no: stop
	END
}

@test "a folder with a tokenizer.model or a tekken.json only" {
	need_shared models/mistral-v1-tokenizer
	mkdir -p spm
	cp "$SHARED/models/mistral-v1-tokenizer/tokenizer.model" spm
	printf '%s\n' '{"prompt":"Hello world","completion":" yes \u4e2d"}' >two.jsonl
	qz-tokenize -q -m "$SHARED/models/mistral-v1-tokenizer" two.jsonl | qz-show --json --rows all - >json.rows
	qz-tokenize -q -m spm -o spm.qz two.jsonl
	qz-show --json --rows all spm.qz | cmp json.rows -
	[[ "$(qz-show --rows all spm.qz)" == *"<s> Hello world"* ]]
	mkdir -p tekken
	perl -MJSON::PP -MMIME::Base64 -e 'print encode_json({ config => { pattern => "[^ ]+| +", default_vocab_size => 360, default_num_special_tokens => 100 },
		vocab => [(map +{ rank => $_, token_bytes => encode_base64(chr $_, ""), token_str => chr $_ }, 0 .. 255), { rank => 256, token_bytes => encode_base64("ab", "") }] })' >tekken/tekken.json
	[ "$(rows -m tekken - <<<'{"text":"abc ab"}')" = '{"ids":[1,356,199,132,356,2],"mask":[0,1,1,1,1,1],"docs":[6]}' ]
}

# A token of the vocabulary may be spelled like a special one: text that is no special token becomes the former.
@test "tekken.json: a piece that is spelled like a special token" {
	mkdir -p tekken
	perl -MJSON::PP -MMIME::Base64 -e 'my $r = 0; print encode_json({ config => { pattern => "[^ ]+| +", default_vocab_size => 359, default_num_special_tokens => 100 },
		vocab => [map +{ rank => $r++, token_bytes => encode_base64($_, "") }, (map chr, 0 .. 255), "<s", "<s>", "ab"] })' >tekken/tekken.json
	[ "$(rows -m tekken -f text - <<<'{"text":"<s>ab"}')" = '{"ids":[1,1,358,2],"mask":[0,1,1,1],"docs":[4]}' ]
	[ "$(rows -m tekken -f prompt - <<<'{"prompt":"<s>","completion":"<s>ab"}')" = '{"ids":[1,357,357,358,2],"mask":[0,0,1,1,1],"docs":[5]}' ]
	perl -pi -e 's/PHM\+/PHM=/' tekken/tekken.json # "<s" stands twice
	run --separate-stderr qz-tokenize -q -m tekken -f text -o x.qz - <<<'{"text":"x"}'
	[ "$status" -eq 3 ]
	[[ $stderr == *'tekken.json: vocab[257]: "<s" is there twice, as id 356 and 357' ]]
}

@test "a model shard: the same rows as from the folder, by its tokenizer.ready, which no folder gets" {
	perl "$ROOT/tests/cli/tiny-llama.pl" small vocab=259 layers=1
	cp model/* small
	qz-quantize -q -o small.qz small
	[[ "$(qz-show small.qz)" == *"tokenizer.json"*"tokenizer.ready"*"tokenizer_config.json"* ]]
	qz-quantize -q --to bnb -o small.bnb small.qz
	[ -e small.bnb/tokenizer.json ]
	[ ! -e small.bnb/tokenizer.ready ]
	qz-quantize -q -o again.qz small.qz
	echo '{"messages":[{"role":"user","content":"Hi <s> \u4e2d"},{"role":"assistant","content":"Yo"}]}' >hi.jsonl
	rows -m small hi.jsonl >want
	for m in small.qz small.bnb again.qz; do
		rows -m "$m" hi.jsonl | cmp want -
	done
}

@test "what does not go together" {
	run --separate-stderr qz-tokenize -m model --pack --by-length -l 8 texts.jsonl
	[ "$status" -eq 2 ]
	run --separate-stderr qz-tokenize -m model --pack texts.jsonl
	[ "$status" -eq 2 ]
	run --separate-stderr qz-tokenize -m model --cut split texts.jsonl
	[ "$status" -eq 2 ]
}
