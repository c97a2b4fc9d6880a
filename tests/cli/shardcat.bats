#!/usr/bin/env bats
# examples/shardcat.c, which knows the format from its page alone, on the shard that the page shows.

load helper

setup() {
	shardcat=$BUILD/examples/shardcat
	small=$BATS_TEST_TMPDIR/small.qz
	# The bytes of the hexdump in the page; '*' repeats the line before.
	awk '/HEXDUMP/ { on = 1; next } /^\.Ed/ { on = 0 } on' "$ROOT/man/qz-shard.5" | perl -ne '
		next unless /^([0-9a-f]{8})((?: +[0-9a-f]{2}){0,16})/;
		$out .= substr($out, -16) while $out ne "" && length $out < hex $1;
		$out .= pack "C*", map { hex } split " ", $2;
		END { print $out }' >"$small"
}

# Replaces bytes at an offset: poke OFFSET 'PERL STRING'.
poke() {
	perl -e '
		local $/; binmode STDIN; binmode STDOUT; $_ = <STDIN>;
		substr($_, $ARGV[0], length $ARGV[1]) = $ARGV[1]; print' "$1" "$(printf '%b' "$2")" <"$small"
}

@test "lists the smallest shard" {
	run "$shardcat" <"$small"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = '0 64 HEAD {"kind":"tokens"} 0 bytes' ]
	[ "${lines[1]}" = '1 320 INDX 0 entries 0 bytes' ]
	[[ "${lines[2]}" == '2 512 END  digest '*' 0 bytes' ]]
}

@test "lists two shards in one file" {
	run bash -c "cat '$small' '$small' | '$shardcat'"
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -eq 6 ]
}

@test "cut at any byte it is refused" {
	size=$(wc -c <"$small")
	for ((n = 0; n < size; n += 7)); do
		run "$shardcat" < <(head -c "$n" "$small")
		[ "$status" -eq 3 ]
	done
	[[ "$output" == *truncated* ]]
}

@test "what is wrong is refused with its reason" {
	while IFS='|' read -r offset bytes why; do
		run "$shardcat" < <(poke "$offset" "$bytes")
		[ "$status" -eq 3 ]
		[[ "$output" == *"$why"* ]] || { echo "$offset: $output"; false; }
	done <<-'END'
		0|X|the magic is missing
		8|\x02|format version 2
		12|x|a byte is 0x78
		64|TAIL|the HEAD comes first
		68|\x08|flags 0x8008
		72|\x07|padding: a byte is 0xff
		75|\x7f|a table of
		128|\x01\x02|table of 8 bytes
		196|x|does not say the kind
		209|x|padding
		352|\x02|numbered 2
		512|TENS|between INDX and END
		576|\x03|3 records, 2 were there
		624|\x01|769 bytes, 768 were there
		80|\x01|1 bytes stored
	END
}
