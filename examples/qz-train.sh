#!/bin/sh -eu
# The examples of qz-train(1): they run in a folder with base.qz, train.qz and heldout.qz.

# What will it take?
qz-train -b base.qz --epochs 2 --dry-run train.qz
# Two passes over the data, with the loss on other tokens:
qz-train -b base.qz --epochs 2 --eval heldout.qz --log run.jsonl -o adapter.qz train.qz
# Rank 4 on two projections only, for five steps:
qz-train -b base.qz -r 4 -a 8 --targets q_proj,v_proj --steps 5 -o small.qz train.qz
# Tokens from a pipe, the adapter as a folder for PEFT:
qz-tokenize -q -m base.qz train.jsonl | qz-train -b base.qz --steps 5 --to peft -o adapter-peft -
