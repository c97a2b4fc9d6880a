#!/usr/bin/env bats
# qz-gguf --plan and --max-size: the size is kept, bits go where errors are, and what cannot be.
load helper

setup() {
	need_shared golden/kquant
	K=$SHARED/golden/kquant
	cd "$BATS_TEST_TMPDIR" || exit 1
}

# bits FILE: a weight, of what the tensors take
bits() { qz-show --json "$1" | perl -ne '/"bytes":(\d+),"dims":\[([\d,]+)\]/ or next; my $n = 1; $n *= $_ for split /,/, $2; $b += 8 * $1; $w += $n; END { printf "%.3f\n", $b / $w }'; }

@test "the size is kept, nearly all of it is used, and errors fall with it" {
	for b in 2.9 4.5 6 8; do
		qz-gguf -q --plan ${b}bpw --imatrix "$K/imatrix.dat" -o "$b.gguf" "$K/in.gguf"
		bits "$b.gguf" | awk -v b=$b '{ exit !($1 <= b && $1 > b - 0.15) }'
	done
	for b in 2.9 4.5 6 8; do qz-bench diff "$b.gguf" "$K/in.gguf" | awk '/^all/ { print $2 }'; done >errors
	sort -rgc errors
	for n in 250000 301k 400k; do
		qz-gguf -q --max-size $n -o x.gguf "$K/in.gguf"
		size=$(stat -c %s x.gguf)
		[ "$size" -le "${n/k/000}" ] && [ "$size" -gt $((${n/k/000} * 97 / 100)) ]
	done
}

# Outputs of a matrix are wrong by the importance of its columns; that is what a plan keeps small.
@test "at the size of a mixture the matrices of a layer are less wrong" {
	for t in Q4_K_M Q3_K_M; do
		qz-gguf -q --no-digest --max-size "$(stat -c %s "$K/plain/$t.gguf")" -o x.gguf "$K/in.gguf"
		for f in x.gguf "$K/plain/$t.gguf"; do
			qz-bench diff --json "$f" "$K/in.gguf" | grep 'proj' |
			    perl -ne '/"cosine":([\d.]+)/ and $s += 1 - $1; END { print "$s\n" }'
		done >wrong
		sort -gc wrong || { cat wrong; false; }
	done
}

@test "the choice is the same for any number of threads" {
	qz-gguf -q -j 1 --plan 5bpw -o 1.gguf "$K/in.gguf"
	qz-gguf -q -j 3 --plan 5bpw -o 3.gguf "$K/in.gguf"
	cmp 1.gguf 3.gguf
}

@test "types that are fixed, and types to choose among" {
	qz-gguf -q --plan 5bpw --types q4_k,q6_k --tensor-type attn_v=q8_0 --token-embedding-type q5_0 -o x.gguf "$K/in.gguf"
	qz-show --json x.gguf | sed -n 's/.*"tensor":"\(.*\)","dtype":"\([a-z0-9_]*\)".*/\1 \2/p' >types
	grep -qx 'blk.0.attn_v.weight q8_0' types
	grep -qx 'token_embd.weight q5_0' types
	[ "$(grep -v 'norm\|attn_v\|token_embd' types | sed 's/.* //' | sort -u | tr '\n' ' ')" = "q4_k q6_k " ]
}

@test "more bits than any type needs are told" {
	run qz-gguf --plan 99bpw -o x.gguf "$K/in.gguf"
	[ "$status" -eq 0 ]
	[[ $output == *" bits a weight:"*"; more would change nothing"* ]]
	run qz-gguf --max-size 10G -o x.gguf "$K/in.gguf"
	[[ $output == *"; more would change nothing"* ]]
	run qz-gguf --plan 5bpw -o x.gguf "$K/in.gguf"
	[[ $output == *" bits a weight:"* && $output != *"; more would"* ]]
}

@test "what cannot be" {
	while IFS="|" read -r want args text; do
		# shellcheck disable=SC2086 # words
		run qz-gguf $args
		[ "$status" -eq "$want" ] && [[ $output == *"$text"* ]] || { echo "$args: $status $output"; false; }
		[ ! -e y.gguf ]
	done <<-END
		2|--plan 1bpw -o y.gguf $K/in.gguf|bytes are too few: the smallest types take
		2|--max-size 9k -o y.gguf $K/in.gguf|bytes are too few
		2|--plan 4.5 -o y.gguf $K/in.gguf|4.5bpw is how it looks
		2|--plan xbpw -o y.gguf $K/in.gguf|not so many bits
		2|--plan -1bpw -o y.gguf $K/in.gguf|not so many bits
		2|--plan 5bpw --types q4_k,nf4 -o y.gguf $K/in.gguf|'nf4' is no type to choose
		2|--plan 5bpw --max-size 1M -o y.gguf $K/in.gguf|both say how large
		2|--types q4_k -o y.gguf $K/in.gguf|--types is for --plan
	END
	run qz-gguf -q --plan 5bpw -o y.gguf <"$K/in.gguf"
	[ "$status" -eq 2 ]
	[[ $output == *"cannot be a pipe"* ]]
	need_shared golden/gguf
	run qz-gguf -q --plan 5bpw --types q4_k -o y.gguf "$SHARED/golden/gguf/stories260k-f32.gguf"
	[ "$status" -eq 2 ]
	[[ $output == *"none of the types fits rows of 64 elements"* ]]
}
