#!/bin/bash -eu
# one-pass.sh FOLDER TOKENIZER LLAMA_QUANTIZE [CONVERTER]: from a model and an adapter to q4_k_m, the way of three programs
# (merge to disk, convert to f16, quantize) beside qz-merge | qz-gguf and qz-gguf --merge: time, and bytes on the disk
# beside the model.  TOKENIZER is a folder with the files of a tokenizer of 32000 tokens; CONVERTER is llama.cpp's
# convert_hf_to_gguf.py, run by ${PYTHON:-python3}; qz-gguf -t f16 stands in for it.  Then the same with f32 all along: the
# tensors of the three ways are the same.  FOLDER needs 8 GB.
here=$(cd "$(dirname "$0")" && pwd)
export PATH="$here/../../build/bin:$PATH"
folder=$1 tokenizer=$2 quantize=$3 converter=${4:-}
model=$folder/model
mkdir -p "$folder"
if [ ! -e "$model" ]; then
	python3 "$here/big-model.py" "$model.part" 2l
	cp "$tokenizer"/token* "$model.part"
	mv "$model.part" "$model"
fi
cat "$model"/*.safetensors >/dev/null # into the page cache
work=$folder/work

fresh() { rm -rf "$work" && mkdir "$work"; }
# way NAME COMMAND: what it took; the disk that all files of the way take
way() {
	printf '%-34s ' "$1"
	python3 "$here/watch.py" bash -euc "$2" 2>"$work/said" || { cat "$work/said" "$work/log"; exit 1; }
	tail -1 "$work/said" | tr '\n' ' '
	echo "disk $(($(du -sb --apparent-size "$work" | cut -f1) / 1000000)) MB"
}
convert() {
	if [ "$converter" ]; then
		echo "${PYTHON:-python3} $converter --outtype $1 --outfile $work/plain.gguf $work/merged >$work/log 2>&1"
	else
		echo "qz-gguf -q -t $1 -o $work/plain.gguf $work/merged"
	fi
}
three() { # the type that is merged to, the type that is converted to
	echo "qz-merge -q -t $1 --to hf -o $work/merged $model $model/adapter; $(convert "$2"); $quantize $work/plain.gguf $work/out.gguf Q4_K_M 2 >$work/log 2>&1"
}

fresh
way 'merge, convert, llama-quantize' "$(three bf16 f16)"
fresh
way 'qz-merge | qz-gguf' "qz-merge -q -t f32 $model $model/adapter | qz-gguf -q --name x -t q4_k_m -o $work/out.gguf -"
mv "$work/out.gguf" "$folder/pipe.gguf"
fresh
way 'qz-gguf --merge' "qz-gguf -q --name x -t q4_k_m --merge $model/adapter -o $work/out.gguf $model"
mv "$work/out.gguf" "$folder/merge.gguf"
fresh
way 'the first way, f32 all along' "$(three f32 f32)"
for f in pipe merge; do
	perl "$here/../cli/tensors.pl" "$folder/$f.gguf" | cmp - <(perl "$here/../cli/tensors.pl" "$work/out.gguf") &&
	    echo "$f: all tensors have the bytes of the first way in f32"
done
rm -rf "$work" "$folder/pipe.gguf" "$folder/merge.gguf"
