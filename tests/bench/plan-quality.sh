#!/bin/bash -eu
# plan-quality.sh MODEL CALIBRATION HELDOUT [TYPES]: perplexity on held-out text of llama-quantize's mixtures, with an
# importance matrix, and of qz-gguf --max-size at the same sizes.  MODEL is a model; the others are data for
# qz-tokenize (JSONL with prompt and completion, or text).  TYPES: what --types may choose.
root=$(cd "$(dirname "$0")/../.." && pwd)
export PATH="$root/build/bin:$PATH"
model=$1 types=${4:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for f in calibration heldout; do
	data=$2 && [ $f = calibration ] || data=$3
	qz-tokenize -q -m "$model" --train-on all -l 512 --pack -o "$work/$f.qz" "$data"
done
ppl() { qz-bench ppl -q --json "$1" "$work/heldout.qz" | sed 's/.*"perplexity":\([0-9.]*\).*/\1/'; }
qz-bench imatrix -q -o "$work/importance.gguf" "$model" "$work/calibration.qz"
printf '%-10s %12s %12s %12s\n' mixture bytes perplexity planned
printf '%-10s %12s %12s\n' model - "$(ppl "$model")"
for t in q4_k_m q5_k_m iq4_xs; do
	qz-gguf -q -t $t --imatrix "$work/importance.gguf" -o "$work/mixture.gguf" "$model" 2>/dev/null
	size=$(stat -c %s "$work/mixture.gguf")
	qz-gguf -q --max-size "$size" ${types:+--types "$types"} --imatrix "$work/importance.gguf" -o "$work/planned.gguf" \
	    "$model" 2>/dev/null
	printf '%-10s %12d %12s %12s\n' $t "$size" "$(ppl "$work/mixture.gguf")" "$(ppl "$work/planned.gguf")"
done
