#!/bin/sh -eu
# The examples of qz-bench(1): they run in a folder with base.qz, merged.qz, model.gguf, adapter.qz and heldout.qz.

# Did it learn?  The loss on tokens that training has not seen:
qz-bench ppl base.qz heldout.qz
qz-bench ppl --adapter adapter.qz base.qz heldout.qz
# Is the exported file as good?
qz-bench ppl model.gguf heldout.qz
# Which inputs of each matrix are large?  For qz-gguf --imatrix:
qz-bench imatrix -o importance.gguf merged.qz heldout.qz
# What does it say?
qz-bench sample --tokens 20 merged.qz "What is a shard?"
# How far is one model from another, tensor by tensor?
qz-bench diff model.qz merged.qz
