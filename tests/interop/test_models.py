#!/usr/bin/env python3
"""Files of Mistral's against mistral_common and sentencepiece, tekken.json against tiktoken, Unigram and Precompiled against
tokenizers, on random Unicode strings.

usage: test_models.py [-n STRINGS] [--driver build/tests/interop/encode]
Mistral: every tekken.json and tokenizer.model that mistral_common brings.  tekken.json: a byte-level vocabulary under
QZ_SHARED, written in that form.  Unigram: models that sentencepiece trains here, written as tokenizer.json.  What has no
package is skipped."""
import argparse, base64, io, json, os, random, subprocess, sys, tempfile

from unicode_strings import WORDS, texts

ap = argparse.ArgumentParser()
ap.add_argument("-n", type=int, default=int(os.environ.get("QZ_STRINGS", "400")))
ap.add_argument("--driver", default="build/tests/interop/encode")
args = ap.parse_args()
shared = os.environ.get("QZ_SHARED", "../shared")
number = failed = 0


def check(name, path, want, without=""):
    """want: text to ids, without special tokens."""
    global number, failed
    lines = [t.translate({ord(c): None for c in without}) for t in texts(random.Random(3), args.n)]
    p = subprocess.run([args.driver, path], input="".join("0 %s\n" % t.encode().hex() for t in lines).encode(), capture_output=True)
    got = p.stdout.decode().splitlines()
    bad = [(t, g, w) for t, g, w in ((t, g.split("\t")[0], " ".join(map(str, want(t)))) for t, g in zip(lines, got)) if g != w]
    ok = not bad and len(got) == len(lines)
    number += 1
    failed += not ok
    print("%sok %d - %s: %d texts, %d differ" % ("" if ok else "not ", number, name, len(lines), len(bad) + len(lines) - len(got)), flush=True)
    if len(got) != len(lines):
        print("#  ", got[-1:], p.stderr.decode()[:300])
    for t, g, w in bad[:4]:
        print("#   %r: %s not %s" % (t, g[:150], w[:150]))


def skip(why):
    global number
    number += 1
    print("ok %d # SKIP %s" % (number, why))


def corpus():
    rng = random.Random(5)
    words = [w.strip() for w in WORDS if w.strip()] + ["".join(rng.choice("etaoinshrdlu\u00e9\u4e00\u4e8c\u4e09") for _ in range(rng.randint(1, 7))) for _ in range(600)]
    return [" ".join(words[min(int(rng.expovariate(0.01)), len(words) - 1)] for _ in range(12)) for _ in range(4000)]


TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def with_tiktoken(folder):
    import tiktoken
    for m in "qwen2-tokenizer", "llama3-like-tokenizer":
        path = os.path.join(shared, "models", m, "tokenizer.json")
        if not os.path.exists(path):
            skip("no " + path)
            continue
        j = json.load(open(path))
        printable = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xFF and b != 0xAD]
        byte = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in printable)}
        ranks = {bytes(byte[c] for c in t): i for t, i in j["model"]["vocab"].items()}
        for a in j["added_tokens"]:
            ranks.pop(a["content"].encode(), None)
        ranks = {t: i for i, t in enumerate(sorted(ranks, key=ranks.get))}  # without gaps
        pattern = j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] if m == "qwen2-tokenizer" else TEKKEN
        ref = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        n = 1000
        out = os.path.join(folder, m + ".tekken.json")
        # Older files name no special tokens; newer ones do: here some like pieces of the vocabulary, which stay what plain text becomes.
        like = [t.decode() for t in ranks if t.isalnum() and len(t) > 3][:50]
        names = like + ["[[%d]]" % i for i in range(n - len(like))]
        named = {"special_tokens": [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(names)]} if m == "qwen2-tokenizer" else {}
        json.dump({**named, "config": {"pattern": pattern, "default_vocab_size": n + len(ranks), "default_num_special_tokens": n, "version": "v3"},
                   "vocab": [{"rank": i, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for t, i in ranks.items()]}, open(out, "w"))
        check("tekken.json with the vocabulary of " + m, out, lambda t: [n + i for i in ref.encode_ordinary(t)])


def with_tokenizers(folder):
    import sentencepiece, tokenizers
    from sentencepiece import sentencepiece_model_pb2
    for rule in "nmt_nfkc", "nfkc_cf":
        for fall in False, True:
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=model, model_type="unigram", vocab_size=700,
                normalization_rule_name=rule, byte_fallback=fall, hard_vocab_limit=False, minloglevel=2, num_threads=1)
            m = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
            meta = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
            j = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None, "decoder": meta, "pre_tokenizer": meta,
                 "normalizer": {"type": "Sequence", "normalizers": [
                     {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(m.normalizer_spec.precompiled_charsmap).decode()},
                     {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
                 "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": fall, "vocab": [[p.piece, p.score] for p in m.pieces]}}
            path = os.path.join(folder, "tokenizer.json")
            json.dump(j, open(path, "w"))
            ref = tokenizers.Tokenizer.from_file(path)
            check("tokenizer.json Unigram, Precompiled %s%s" % (rule, " bytes" if fall else ""), path, lambda t: ref.encode(t, add_special_tokens=False).ids)


def with_mistral(folder):
    import mistral_common, sentencepiece
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    data = os.path.join(os.path.dirname(mistral_common.__file__), "data")
    for name in sorted(os.listdir(data)):
        path = os.path.join(data, name)
        kind = "tekken.json" if name.startswith("tekken") else "tokenizer.model" if ".model" in name else None
        if not kind:
            continue
        copy = os.path.join(folder, kind)  # the driver goes by the name
        open(copy, "wb").write(open(path, "rb").read())
        if kind == "tekken.json":
            ref = Tekkenizer.from_file(path)
            check(name, copy, lambda t: ref.encode(t, bos=False, eos=False))
        else:
            spm = sentencepiece.SentencePieceProcessor(model_file=path)
            check(name, copy, spm.encode, without="\0")


with tempfile.TemporaryDirectory() as d:
    for part in with_mistral, with_tiktoken, with_tokenizers:
        try:
            part(d)
        except ImportError as e:
            skip(str(e))
print("1..%d" % number)
sys.exit(failed > 0)
