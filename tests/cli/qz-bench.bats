#!/usr/bin/env bats
# qz-bench ops: that every op is there.  Times are no test's business.
load helper

@test "ops has a row for every op" {
	cd "$BATS_TEST_TMPDIR"
	qz-bench ops -d cpu -n 16 --seconds 0.001 --json >rows
	# The op is the first word: "dequantize nf4" is dequantize's.  "decoded first" is another way to linear's result.
	sed -n 's/.*"op":"\([a-z0-9_]*\).*/\1/p' rows | sort -u | grep -vx decoded >timed
	sed -n 's/^QZ_OP(\([a-z0-9_]*\),.*/\1/p' "$ROOT/kernels/ops.def" | sort >ops
	[ "$(wc -l <ops)" -gt 20 ]
	diff ops timed
}
