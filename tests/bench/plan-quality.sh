#!/bin/bash -eu
# plan-quality.sh MODEL CALIBRATION HELDOUT...: perplexity on held-out texts of llama-quantize's mixtures, with an importance
# matrix of the calibration text, and of qz-gguf --max-size at the same sizes with the same matrix.  MODEL is a model; the
# others are data for qz-tokenize (JSONL with prompt and completion, or text).  MIXTURES="q4_k_m ...".  TYPES: what --types
# may choose; a model that was in blocks before keeps nearly all in that type, so leave it out.
root=$(cd "$(dirname "$0")/../.." && pwd)
export PATH="$root/build/bin:$PATH"
model=$1 calibration=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tokens() { qz-tokenize -q -m "$model" --train-on all -l 512 --cut split --pack -o "$2" "$1"; }
# ppl MODEL: on each held-out text
ppl() {
	for i in $(seq $n); do
		printf ' %10s' "$(qz-bench ppl -q --json "$1" "$work/$i.qz" | sed 's/.*"perplexity":\([0-9.]*\).*/\1/')"
	done
	echo
}

tokens "$calibration" "$work/calibration.qz"
n=0
for text; do
	tokens "$text" "$work/$((++n)).qz"
done
printf '%-20s %12s' 'importance of' "$(basename "$calibration")"
printf '\n%-20s %12s' '' bytes
for text; do printf ' %10.10s' "$(basename "$text")"; done
qz-bench imatrix -q -o "$work/importance.gguf" "$model" "$work/calibration.qz"
printf '\n%-20s %12s%s\n' model - "$(ppl "$model")"
for t in ${MIXTURES:-q4_k_m q5_k_m iq4_xs}; do
	qz-gguf -q -t "$t" --imatrix "$work/importance.gguf" -o "$work/mixture.gguf" "$model" 2>/dev/null
	size=$(stat -c %s "$work/mixture.gguf")
	qz-gguf -q --max-size "$size" ${TYPES:+--types "$TYPES"} --imatrix "$work/importance.gguf" -o "$work/planned.gguf" \
	    "$model" 2>/dev/null
	printf '%-20s %12d%s\n' "$t" "$size" "$(ppl "$work/mixture.gguf")"
	printf '%-20s %12d%s\n' "planned at its size" "$(stat -c %s "$work/planned.gguf")" "$(ppl "$work/planned.gguf")"
done
