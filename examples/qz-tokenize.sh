#!/bin/sh -eu
# The examples of qz-tokenize(1): they run in a folder with base.qz, train.jsonl, heldout.jsonl, faq.jsonl and
# story.txt.

# Conversations; what the assistant says is learned:
qz-tokenize -m base.qz -o train.qz train.jsonl
qz-tokenize -m base.qz -o heldout.qz heldout.jsonl
# See two rows, with what is learned in colour, before anything is trained:
qz-tokenize -m base.qz --show 2 train.jsonl > /dev/null
# Fields of your own, several documents in a row of 256 tokens:
qz-tokenize -m base.qz -p ask -r say -l 256 --pack -o packed.qz faq.jsonl
# Plain text, all of it learned:
qz-tokenize -m base.qz -f text -l 256 -o text.qz story.txt
# A book as rows of 256 tokens, with a histogram of lengths:
qz-tokenize -m base.qz -f text -l 256 --cut split --stats -o book.qz story.txt
