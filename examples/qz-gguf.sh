#!/bin/sh -eu
# The examples of qz-gguf(1): they run in a folder with model/, base.qz, merged.qz and adapter.qz.

# For llama.cpp, in 8.5 bits a weight:
qz-gguf -t q8_0 -o model.gguf merged.qz
# Merge and export in one pipe:
qz-merge -q model/ adapter.qz | qz-gguf -t f16 -o piped.gguf -
# The adapter alone, to load beside the GGUF file of the base:
qz-gguf --base base.qz -o adapter.gguf adapter.qz
