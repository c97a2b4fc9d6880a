#!/usr/bin/env python3
"""Ids, ends and decoded text of qz against the tokenizers package, on random Unicode strings.

usage: test_tokenizers.py [-n STRINGS] [--seed N] [--driver build/tests/interop/encode]
Every tokenizer under QZ_SHARED is tried, and small ones made here, a row a part of tokenizer.json."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

sys.path = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
try:
    import tokenizers
except ImportError:
    print("ok 1 # SKIP no tokenizers package\n1..1")
    sys.exit(0)

ap = argparse.ArgumentParser()
ap.add_argument("-n", type=int, default=int(os.environ.get("QZ_STRINGS", "400")))
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--driver", default="build/tests/interop/encode")
ap.add_argument("--only", help="run the rows whose name has this in it")
args = ap.parse_args()
shared = os.environ.get("QZ_SHARED", "../shared")

sys.path.append(os.path.dirname(os.path.abspath(__file__)))
from unicode_strings import RANGES, texts

# Characters whose place among marks the package does not know: its tables of normalization are older than
# Unicode 12 (U+0EBA has no class there).  They say nothing about either side.
NFD = tokenizers.normalizers.NFD()
OLD = {chr(c) for lo, hi in RANGES for c in range(lo, hi + 1) if NFD.normalize_str("a\u0304" + chr(c) + "\u0334")
       != unicodedata.normalize("NFD", "a\u0304" + chr(c) + "\u0334")}


def run_driver(path, lines):
    p = subprocess.run([args.driver, path], input="".join(lines).encode(), capture_output=True)
    return p.stdout.decode().splitlines()


def ends_agree(text, enc, ends):
    """Where the reference says a token ends, in characters: ours is in or at the end of that character."""
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [(o[1], e) for o, e in zip(enc.offsets, ends) if e > at[o[1]] or (o[1] and e <= at[o[1] - 1])]


def moves(ref, text):
    """Whether a normalization form changes the text: what was composed ends with all of its parts, here."""
    return any(f in str(ref.normalizer) for f in FORMS) and ref.normalizer.normalize_str(text) != text


FORMS = "NFC", "NFD", "NFKC", "NFKD"
MADE = 1000  # strings for each of the small ones at most: there are many
number = failed = 0


def check(name, path, flags=(0, 1, 2, 3), decode=True, ends=True, oldest=False, n=args.n):
    global number, failed
    if args.only and args.only not in name:
        return
    rng = random.Random(args.seed)
    ref = tokenizers.Tokenizer.from_file(path)
    all_texts = list(texts(rng, n, OLD))
    if oldest:  # PCRE2 may have older tables than the reference: characters of Unicode 14 (Python 3.11) at most
        all_texts = ["".join(c for c in t if unicodedata.category(c) != "Cn") for t in all_texts]
    jobs = [(f, t) for t in all_texts for f in flags]
    got = run_driver(path, ["%d %s\n" % (f, t.encode().hex()) for f, t in jobs])
    bad, shown = 0, []
    if len(got) != len(jobs):
        bad, shown = 1, ["%d answers to %d texts: %s" % (len(got), len(jobs), got[-1:])]
    for (f, t), line in zip(jobs, got):
        ref.encode_special_tokens = not f & 2
        try:
            enc = ref.encode(t, add_special_tokens=bool(f & 1))
        except BaseException as e:  # the reference itself panics where widened tokens overlap the wrong way round
            if "bad split" not in str(e):
                raise
            continue
        try:
            ids, where, out = line.split("\t")
        except ValueError:
            bad += 1
            shown.append("%r: %s" % (t, line))
            continue
        ids = [int(i) for i in ids.split()]
        where = [int(i) for i in where.split()]
        why = None
        if ids != enc.ids:
            why = "%s not %s" % (ids, enc.ids)
        elif ends and not f & 1 and not (ref.normalizer and moves(ref, t)) and ends_agree(t, enc, where):
            why = "ends %s %s" % (ends_agree(t, enc, where), where)
        elif decode and bytes.fromhex(out).decode() != ref.decode(enc.ids, skip_special_tokens=False):
            why = "%r not %r" % (bytes.fromhex(out).decode(), ref.decode(enc.ids, skip_special_tokens=False))
        if why:
            bad += 1
            shown.append("flags %d %r: %s" % (f, t, why))
    number += 1
    failed += bad > 0
    print("%sok %d - %s: %d texts, %d differ" % ("not " if bad else "", number, name, len(jobs), bad), flush=True)
    for s in shown[:5]:
        print("#  ", s[:400])


def made(name, **parts):
    """A small BPE tokenizer with these parts."""
    ends, decode = parts.pop("ends", True), parts.pop("decode", True)
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "tokenizer.json")
        j = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
             "pre_tokenizer": None, "post_processor": None, "decoder": None}
        model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                 "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
        model.update(parts.pop("model", {}))
        j.update(parts)
        for i, token in enumerate(j["added_tokens"]):  # the reference numbers them so, whatever the file says
            new = [t["content"] for t in j["added_tokens"] if t["content"] not in model["vocab"]]
            token["id"] = model["vocab"].get(token["content"], len(model["vocab"]) + (new.index(token["content"]) if token["content"] in new else 0))
        j["model"] = model
        json.dump(j, open(path, "w"), ensure_ascii=False)
        check(name, path, decode=decode, ends=ends, oldest="Regex" in str(j), n=min(args.n, MADE))


def vocab_of(texts, extra=()):
    v = {}
    for t in list(texts) + list(extra):
        v.setdefault(t, len(v))
    return v


for m in "stories260k", "mistral-v1-tokenizer", "qwen2-tokenizer", "llama3-like-tokenizer":
    path = os.path.join(shared, "models", m, "tokenizer.json")
    if os.path.exists(path):
        check(m, path, ends=m != "llama3-like-tokenizer")  # its post-processor trims white space off the ends
    else:
        number += 1
        print("ok %d # SKIP no %s" % (number, path))

CHARS = [chr(c) for c in range(0x20, 0x7f)] + list("\u2581\u00e9\u0301\u4e00\u0430\u00a0\n\t")
MERGES = ["t h", "th e", "a b", "ab ab", "\u2581 t", "\u2581 the", "1 2", "12 3", "! !", "\u2581 \u2581", "' s", "e \u0301"]
PLAIN = vocab_of(CHARS, ["<unk>"] + [m.replace(" ", "") for m in MERGES])
BASE = {"vocab": PLAIN, "merges": MERGES, "unk_token": "<unk>"}
BYTES = vocab_of(["<0x%02X>" % b for b in range(256)] + CHARS, ["<unk>"] + [m.replace(" ", "") for m in MERGES])
FALL = {"vocab": BYTES, "merges": MERGES, "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True}
SOME = {k: v for k, v in BYTES.items() if k not in ("<0xC3>", "<0xE4>")}

made("bpe unk", model=BASE)
made("bpe fused unk", model={**BASE, "fuse_unk": True})
# Where characters are dropped or bytes come out of order, the reference's own ends are off.
made("bpe no unk", model={**BASE, "unk_token": None}, ends=False)
made("bpe merges as pairs", model={**BASE, "merges": [m.split() for m in MERGES]})
made("bpe byte fallback", model=FALL, decoder={"type": "ByteFallback"})
made("bpe byte fallback with bytes missing", model={**FALL, "vocab": SOME}, ends=False)
made("bpe byte fallback with bytes missing, unfused", model={**FALL, "vocab": SOME, "fuse_unk": False}, ends=False)
made("bpe ignore_merges", model={**BASE, "ignore_merges": True}, pre_tokenizer={"type": "WhitespaceSplit"})

for norm in ({"type": "NFC"}, {"type": "NFD"}, {"type": "NFKC"}, {"type": "NFKD"}, {"type": "Lowercase"},
             {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Strip", "strip_left": False, "strip_right": True},
             {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": "the"}, "content": "e"},
             {"type": "Replace", "pattern": {"Regex": "\\s{2,}"}, "content": " "}, {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "-"},
             {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Prepend", "prepend": "\u2581"},
                                                  {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}):
    made("normalizer " + json.dumps(norm)[:70], model=FALL, normalizer=norm)

LLAMA3 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
splits = [({"String": s}, b, i) for s in ("the", "ab", " ") for b in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous") for i in (False, True)]
splits += [({"Regex": r}, b, i) for r in ("\\p{L}+", "\\s", "[^\\s\\w]|\\d+", "\\h+", "\\w+", "a*", "^.|$", "\\p{Han}+")
           for b in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous") for i in (False, True)]
splits += [({"Regex": LLAMA3}, "Removed", True), ({"Regex": LLAMA3}, "Isolated", False), ({"Regex": LLAMA3}, "MergedWithNext", False)]
for pattern, behaviour, invert in splits:
    made("split %s %s %s" % (json.dumps(pattern)[:30], behaviour, invert), model=FALL,
         pre_tokenizer={"type": "Split", "pattern": pattern, "behavior": behaviour, "invert": invert})

ALPHABET = vocab_of(sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()), ["th", "the", "\u0120the", "ab", "abab", "\u0120\u0120", "\u00c3\u00a9", "12"])
BL = {"vocab": ALPHABET, "merges": ["t h", "th e", "\u0120 the", "a b", "ab ab", "\u0120 \u0120", "\u00c3 \u00a9", "1 2"]}


def byte_level(prefix, regex):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": False, "use_regex": regex}


def seq(*p):
    return {"type": "Sequence", "pretokenizers": list(p)}


DEEPSEEK = ("\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
DIGITS = {"type": "Digits", "individual_digits": True}
for name, pre in (("byte-level", byte_level(False, True)), ("byte-level prefix", byte_level(True, True)), ("byte-level whole", byte_level(False, False)),
                  ("smollm", seq(DIGITS, byte_level(False, True))), ("digits, prefix", seq(DIGITS, byte_level(True, True))),
                  ("byte-level first", seq(byte_level(False, True), DIGITS)), ("byte-level twice", seq(byte_level(True, True), byte_level(False, False))),
                  ("deepseek", seq(*({"type": "Split", "pattern": {"Regex": r}, "behavior": "Isolated", "invert": False} for r in DEEPSEEK), byte_level(False, False))),
                  ("falcon", seq({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(False, True), {"type": "Digits", "individual_digits": False},
                                 {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": False}))):
    twice = name == "byte-level twice"
    made(name, model=BL, pre_tokenizer=pre, decoder=None if twice else byte_level(True, True))
made("byte-level with bytes missing", model={"vocab": {k: v for k, v in ALPHABET.items() if k != "x" and k != "\u00c3"}, "merges": ["t h", "th e"]}, pre_tokenizer=byte_level(False, True), ends=False)
made("byte-level with unk", model={"vocab": {"<unk>": 999, **{k: v for k, v in ALPHABET.items() if k != "x"}}, "merges": ["t h", "th e"], "unk_token": "<unk>"}, pre_tokenizer=byte_level(False, True))
made("byte-level ignore_merges", model={**BL, "vocab": {**ALPHABET, "don": 800, "\u0120quick": 801}, "ignore_merges": True}, pre_tokenizer=byte_level(False, True))

for scheme in "first", "always", "never":
    for split in True, False:
        meta = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}
        made("metaspace %s %s" % (scheme, split), model=FALL, pre_tokenizer=meta, decoder=meta,
             added_tokens=[{"content": "[A]", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}])
for pre in ({"type": "Digits", "individual_digits": False}, DIGITS, {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Punctuation", "behavior": "MergedWithPrevious"},
            {"type": "WhitespaceSplit"}, seq({"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True})):
    made("pre_tokenizer " + json.dumps(pre)[:60], model=FALL, pre_tokenizer=pre)

# The reference decodes a normalized added token to its normalized form (0.23), we to its own text.
SPM = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
for bits in range(32):
    flags = {k: bool(bits >> i & 1) for i, k in enumerate(("single_word", "lstrip", "rstrip", "normalized", "special"))}
    added = [{"content": c, **flags} for i, c in enumerate(("[A]", "the", " <mask>", "[A][B]", "\n"))]
    added += [{"content": "Hello", "single_word": False, "lstrip": False, "rstrip": True, "normalized": True, "special": False},
              {"content": "</s>", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False, "special": True}]
    made("added " + " ".join(k for k in flags if flags[k]), decode=False, model=FALL, added_tokens=added, normalizer=SPM if bits % 3 else {"type": "Lowercase"})

template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[B]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}, "[B]": {"id": "[B]", "ids": [6, 7], "tokens": ["a", "b"]}}}
made("template", model=FALL, post_processor=template)
made("template in a sequence", model=FALL, post_processor={"type": "Sequence", "processors": [byte_level(True, True), template]})
spm_decoder = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
made("spm decoder", model=FALL, normalizer=SPM, decoder=spm_decoder)
made("strip decoder", model=FALL, normalizer=SPM, decoder={"type": "Strip", "content": "t", "start": 2, "stop": 0})
made("regex decoder", model=FALL, decoder={"type": "Replace", "pattern": {"Regex": "[a-f]"}, "content": "<>"})
print("1..%d" % number)
sys.exit(failed > 0)
