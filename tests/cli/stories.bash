# stories - a small real model with a chat template, and data that fits it: for tests of whole pipelines.
#
#	stories DIR N	DIR/model, DIR/train.jsonl of N pairs, DIR/heldout.jsonl of 3
stories() {
	need_shared models/stories260k
	mkdir -p "$1"
	cp -r "$SHARED/models/stories260k" "$1/model" && chmod -R u+w "$1/model"
	printf '%s' '{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}' >"$1/model/chat_template.jinja"
	head -n "$2" "$ROOT/examples/data/qz-manual.jsonl" >"$1/train.jsonl"
	head -n 3 "$ROOT/examples/data/qz-manual-heldout.jsonl" >"$1/heldout.jsonl"
}
