#!/usr/bin/env bats
# qz-bench ops: which ops are timed.

ops() {
	run qz-bench ops -d cpu --shape smollm2-135m --tokens 8 --seconds .001 "$@"
}

@test "--only times the ops that have a text in them, and what they are compared with" {
	ops --only 'swiglu 16 el'
	[ "$status" = 0 ]
	[ "$(grep -c elements <<<"$output")" = 1 ]
	[ "$(grep -c ' %$' <<<"$output")" = 1 ]
	grep -q '^ceilings: copy [0-9.]* GB/s (read + write)$' <<<"$output"
	ops --only 'rope' --json
	[ "$(grep -c '"op":"rope"' <<<"$output")" = 1 ]
	[ "$(wc -l <<<"$output")" = 1 ]
}

@test "a product is compared with a product" {
	ops --only 'merge'
	grep -q '^ceilings: .*, product [0-9.]* GFLOP/s$' <<<"$output"
	grep -q '^merge .* %$' <<<"$output"
}

@test "--only that no op has in it is refused" {
	ops --only 'what is not there'
	[ "$status" = 2 ]
	grep -q "^qz-bench: --only: no op has 'what is not there'" <<<"$output"
}
