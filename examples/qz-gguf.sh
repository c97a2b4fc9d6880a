#!/bin/sh -eu
# The examples of qz-gguf(1): they run in a folder with model/, base.qz, merged.qz, adapter.qz and heldout.qz.

# For llama.cpp, in about 4.8 bits a weight:
qz-gguf -t q4_k_m -o model.gguf merged.qz
# With more bits for the values, in all layers:
qz-gguf -t q4_k_m --tensor-type attn_v=q8_0 -o better.gguf merged.qz
# Merge and export in one pipe:
qz-merge -q model/ adapter.qz | qz-gguf -t f16 -o piped.gguf -
# The same without rounding in between, and without a pipe:
qz-gguf -t q4_k_m --merge adapter.qz -o direct.gguf model/
# The adapter alone, to load beside the GGUF file of the base:
qz-gguf --base base.qz -o adapter.gguf adapter.qz
# Columns that matter are kept more exact:
qz-bench imatrix -o importance.gguf merged.qz heldout.qz
qz-gguf -t q4_k_m --imatrix importance.gguf -o weighed.gguf merged.qz
# As good as can be in 4 GB:
qz-gguf --max-size 4G --imatrix importance.gguf -o planned.gguf merged.qz
