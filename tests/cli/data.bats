#!/usr/bin/env bats
# The demo's data: enough of it, each line a question and an answer, nothing in both files.

data=$BATS_TEST_DIRNAME/../../examples/data

# Prints what is wrong with the files and fails: LEAST pairs in the first, 40 in the second.
pairs() {
	perl -MJSON::PP -e '
		my ($least, @bad, %seen) = (shift);
		for my $file (@ARGV) {
			open my $in, "<", $file or die "$file: $!\n";
			my $n = 0;
			while (my $line = <$in>) {
				my $at = "$file:$.";
				my $row = eval { JSON::PP->new->utf8->decode($line) };
				my $m = ref $row eq "HASH" ? $row->{messages} : undef;
				if (!$m || keys %$row != 1 || @$m != 2 || $m->[0]{role} ne "user" || $m->[1]{role} ne "assistant") {
					push @bad, "$at: is not {\"messages\":[user, assistant]}";
					next;
				}
				$n++;
				for (map { $_->{content} } @$m) {
					push @bad, "$at: is also $seen{lc $_}: $_" if $seen{lc $_};
					$seen{lc $_} = $at;
					push @bad, "$at: control character or outer space" if /[\x00-\x1f]|^\s|\s$/;
				}
				my $words = () = $m->[1]{content} =~ /\S+/g;
				push @bad, "$at: an answer of $words words" if $words < 8 || $words > 60;
			}
			push @bad, "$file: $n pairs, at least $least" if $n < $least;
			$least = 40;
		}
		print "$_\n" for @bad;
		exit(@bad ? 1 : 0);
	' "$@"
}

@test "qz-manual has 240 pairs or more, held out are 40, none is in both" {
	run pairs 240 "$data/qz-manual.jsonl" "$data/qz-manual-heldout.jsonl"
	[ "$output" = "" ]
	[ "$status" -eq 0 ]
}

@test "held out are exactly 40" {
	[ "$(wc -l <"$data/qz-manual-heldout.jsonl")" -eq 40 ]
}

@test "the check sees a pair that stands twice" {
	run pairs 240 "$data/qz-manual.jsonl" "$data/qz-manual.jsonl"
	[ "$status" -eq 1 ]
	[[ "$output" == *"is also"* ]]
}

@test "the check sees a line that is not JSON" {
	(cat "$data/qz-manual.jsonl"; echo '{"messages":[') >"$BATS_TEST_TMPDIR/bad"
	run pairs 240 "$BATS_TEST_TMPDIR/bad"
	[ "$status" -eq 1 ]
	[[ "$output" == *"is not {"* ]]
}
