#!/usr/bin/env bats
# The manual: its form, that it and the tools speak of the same options, and that its examples run.

load helper
load stories

setup_file() {
	export PAGES=$BATS_FILE_TMPDIR
	cd "$ROOT" || return
	for bin in "$BUILD"/bin/qz-*; do
		[ -x "$bin" ] || continue
		tool=${bin##*/}
		"$bin" --help=table >"$PAGES/$tool.table" || return
		[ ! -e "man/$tool.1" ] || awk -v version=0 -f man/options.awk "$PAGES/$tool.table" "man/$tool.1" >"$PAGES/$tool.1"
	done
}

setup() { cd "$ROOT" || return; }

# The options that a text names, one a line: --name and -x.
named() { grep -oE -e '(^|[^-[:alnum:]])-(-[a-z][-a-z0-9]+|[a-zA-Z]\b)' | sed 's/^[^-]*//' | sort -u; }
# The options that tables have.
there() { awk -F '\t' '{ print "--" $2; if ($1 != "-") print "-" $1 }' "$@" | sort -u; }

@test "every page is well-formed" {
	command -v mandoc >/dev/null || skip "no mandoc"
	run mandoc -Tlint -Wwarning man/*.5 man/*.7 "$PAGES"/*.1
	[ "$output" = "" ]
	[ "$status" -eq 0 ]
}

@test "every tool has a page, a place in qz(7), in README and examples" {
	bad=
	for table in "$PAGES"/*.table; do
		tool=$(basename "$table" .table)
		[ -s "man/$tool.1" ] && grep -q "^\.It Xr $tool 1" man/qz.7 && grep -q "$tool" README.md &&
			[ -x "examples/$tool.sh" ] && grep -q "examples/$tool.sh" "man/$tool.1" || bad+=" $tool"
	done
	[ "$bad" = "" ] || { echo "not for:$bad"; false; }
}

@test "every option of a tool is in its page" {
	for table in "$PAGES"/*.table; do
		page=$PAGES/$(basename "$table" .table).1
		while read -r option; do
			grep -qE "^\.It .*Fl ${option#-}( |$)" "$page" || { echo "$page: no $option"; false; }
		done < <(there "$table")
	done
}

@test "every option that a page's prose names is one of the tool's" {
	for table in "$PAGES"/*.table; do
		tool=$(basename "$table" .table)
		while read -r option; do
			there "$table" | grep -qxe "$option" || { echo "man/$tool.1: $option is no option"; false; }
		done < <(grep -ohE 'Fl -?[a-zA-Z][-a-z0-9]*' "man/$tool.1" | sed 's/^Fl /-/' | sort -u)
	done
}

@test "every long option in README, qz(7) and the demo's data is one of a tool's" {
	while read -r option; do
		there "$PAGES"/*.table | grep -qxe "$option" || { echo "$option is no option"; false; }
	done < <(cat README.md man/qz.7 examples/data/*.jsonl | named | grep -e '^--')
}

@test "the completion offers options, words and files" {
	awk -v tool=qz-quantize -f tools/common/complete.awk "$PAGES/qz-quantize.table" >"$PAGES/complete"
	# shellcheck disable=SC1091
	. "$PAGES/complete"
	COMP_WORDS=(qz-quantize --ver) COMP_CWORD=1 && _qz_quantize
	[ "${COMPREPLY[*]}" = "--verbose --version" ]
	COMP_WORDS=(qz-quantize --type nf) COMP_CWORD=2 && _qz_quantize
	[ "${COMPREPLY[*]}" = nf4 ]
	COMPREPLY=()
	COMP_WORDS=(qz-quantize mo) COMP_CWORD=1 && _qz_quantize
	[ "${COMPREPLY[*]}" = "" ]
}

@test "the examples run" {
	stories "$BATS_TEST_TMPDIR" 12
	cd "$BATS_TEST_TMPDIR"
	printf '{"ask":"What is %s?","say":"It is a number."}\n' one two three >faq.jsonl
	printf 'Once upon a time there was a shard.\n' >story.txt
	for tool in quantize tokenize train merge gguf bench show; do
		run "$ROOT/examples/qz-$tool.sh"
		[ "$status" -eq 0 ] || { echo "qz-$tool.sh: $output"; false; }
	done
	for made in base.qz piped.qz model.qz train.qz packed.qz adapter.qz merged.qz model.gguf adapter.gguf rows.jsonl; do
		[ -s "$made" ] || { echo "no $made"; false; }
	done
}
