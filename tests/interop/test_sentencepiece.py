#!/usr/bin/env python3
"""Ids of qz from tokenizer.model against the sentencepiece package, on random Unicode strings.

usage: test_sentencepiece.py [-n STRINGS] [--seed N] [--driver build/tests/interop/encode]
The models under QZ_SHARED, and small ones trained here: BPE and Unigram, with and without bytes to fall back to, each
normalization that sentencepiece ships, symbols of the user's, spaces kept or trimmed."""
import argparse
import io
import os
import random
import subprocess
import sys
import tempfile

sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
try:
    import sentencepiece
except ImportError:
    print("ok 1 # SKIP no sentencepiece package\n1..1")
    sys.exit(0)
sys.path.append(os.path.dirname(os.path.abspath(__file__)))
from unicode_strings import texts

ap = argparse.ArgumentParser()
ap.add_argument("-n", type=int, default=int(os.environ.get("QZ_STRINGS", "400")))
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--driver", default="build/tests/interop/encode")
ap.add_argument("--only", help="run the rows whose name has this in it")
args = ap.parse_args()
shared = os.environ.get("QZ_SHARED", "../shared")
number = failed = 0


def check(name, path):
    global number, failed
    if args.only and args.only not in name:
        return
    ref = sentencepiece.SentencePieceProcessor(model_file=path)
    # A NUL is no text here.
    all_texts = [t.replace("\0", "") for t in texts(random.Random(args.seed), args.n)]
    p = subprocess.run([args.driver, path], input="".join("0 %s\n" % t.encode().hex() for t in all_texts).encode(), capture_output=True)
    got = p.stdout.decode().splitlines()
    bad = [] if len(got) == len(all_texts) else ["%d answers to %d texts: %s" % (len(got), len(all_texts), got[-1:])]
    for t, line in zip(all_texts, got):
        want = " ".join(map(str, ref.encode(t)))
        if line.split("\t")[0] != want:
            bad.append("%r: %s not %s" % (t, line.split("\t")[0], want))
    number += 1
    failed += bool(bad)
    print("%sok %d - %s: %d texts, %d differ" % ("not " if bad else "", number, name, len(all_texts), len(bad)), flush=True)
    for s in bad[:5]:
        print("#  ", s[:400])


def train(name, change=None, **options):
    """A small model of this repository's own pages and of the strings' words."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    lines = []
    for page in "qz.7", "qz-shard.5", "qz-tokenize.1", "qz-train.1":
        lines += open(os.path.join(root, "man", page)).read().splitlines()
    lines += [t for t in texts(random.Random(99), 300) if "\0" not in t]
    out = io.BytesIO()
    options = {"vocab_size": 1600, "character_coverage": 0.98, "hard_vocab_limit": False, "minloglevel": 2, **options}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, **options)
    model = change(out.getvalue()) if change else out.getvalue()
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "tokenizer.model")
        open(path, "wb").write(model)
        check(name, path)


def fewer_scores(step):
    """Scores in steps, so that many pieces have the same."""
    def change(model):
        from sentencepiece import sentencepiece_model_pb2
        m = sentencepiece_model_pb2.ModelProto.FromString(model)
        for p in m.pieces:
            p.score = p.score // step * step
        return m.SerializeToString()
    return change


for m in "stories260k", "mistral-v1-tokenizer":
    path = os.path.join(shared, "models", m, "tokenizer.model")
    if os.path.exists(path):
        check(m, path)
    else:
        number += 1
        print("ok %d # SKIP no %s" % (number, path))
for kind in "bpe", "unigram":
    for rule in "identity", "nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf":
        train("%s %s" % (kind, rule), model_type=kind, normalization_rule_name=rule)
    train(kind + " bytes", model_type=kind, byte_fallback=True)
    train(kind + " bytes, identity, spaces kept", model_type=kind, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False)
    train(kind + " no dummy prefix", model_type=kind, add_dummy_prefix=False)
    train(kind + " no dummy prefix, spaces kept", model_type=kind, add_dummy_prefix=False, remove_extra_whitespaces=False)
    # Unigram gives symbols like "!!", which their own parts make too, one of two equally good places: not always ours.
    own = ["<mask>", "[A]", "the", "abab", "\uff21"] + ["\u2581", "!!"] * (kind == "bpe")
    train(kind + " symbols of the user's", model_type=kind, user_defined_symbols=own)
    train(kind + " symbols of the user's, bytes", model_type=kind, byte_fallback=True, user_defined_symbols=["world", "Hel", "Hello", "\U0001f469"])
    train(kind + " whitespace pieces", model_type=kind, allow_whitespace_only_pieces=True, remove_extra_whitespaces=False)
    train(kind + " split digits", model_type=kind, split_digits=True)
    train(kind + " over words", model_type=kind, split_by_whitespace=False)
try:
    from sentencepiece import sentencepiece_model_pb2
    for step in 2, 50, 1e6:
        train("bpe, equal scores, steps of %g" % step, fewer_scores(step), model_type="bpe", byte_fallback=True)
        train("bpe, equal scores, steps of %g, no bytes" % step, fewer_scores(step), model_type="bpe")
except ImportError as e:
    number += 1
    print("ok %d # SKIP equal scores: %s" % (number, e))
print("1..%d" % number)
sys.exit(failed > 0)
