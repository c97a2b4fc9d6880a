#!/bin/sh -eu
# The examples of qz-merge(1): they run in a folder with model/, base.qz, adapter.qz and small.qz.

# Onto the model as it was before it was quantized:
qz-merge -o merged.qz model/ adapter.qz
# Two adapters, one at half its strength:
qz-merge --scale 1,0.5 -o both.qz model/ adapter.qz small.qz
# Onto the quantized shard, for want of the model:
qz-merge -o merged-nf4.qz base.qz adapter.qz
# A folder for transformers:
qz-merge --to hf -o merged model/ adapter.qz
