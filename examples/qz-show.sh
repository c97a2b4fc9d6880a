#!/bin/sh -eu
# The examples of qz-show(1): they run in a folder with base.qz, train.qz and adapter.qz.

# What does it hold, and how did it come about?
qz-show adapter.qz
# Is it whole?
qz-show --verify base.qz train.qz
# Rows, with what is learned in colour:
qz-show --rows 2 train.qz
# Rows for another program:
qz-show --json --rows all train.qz > rows.jsonl
# A file that the model carries:
qz-show --extract config.json base.qz
