#!/usr/bin/env python3
"""gguf-speed.py FOLDER LLAMA_QUANTIZE [TYPE[@INPUT]...]: qz-gguf beside llama-quantize, whole programs.

Makes a GGUF file of two layers in the shape of Mistral 7B (1.4 GB of f16 or bf16) in FOLDER, once; then quantizes it
with both programs to each type, in turns, and prints the medians: seconds, MB of input a second, seconds of CPU; the peaks of memory
(all, and what is no mapped file); how many times as fast, and whether the files are the same.  qz-gguf has its file on the disk when
it ends, llama-quantize syncs nothing: "+sync" is its time with a sync behind it, and the second ratio is to that.
F16 of the f16 file is a copy; F16@bf16 is made from the bf16 file.  Before each run the output is removed and all is synced: a file
that is cut to nothing gives its pages to the next writer, a new one has to find some.
QZ_BENCH_THREADS="1 2", QZ_BENCH_RUNS=5: 2 and 3 otherwise.  Needs nothing but Python, build/bin/qz-gguf and a build of llama.cpp."""
import os, random, statistics, struct, subprocess, sys, time
import watch

folder, peer = sys.argv[1:3]
types = sys.argv[3:] or ["F32", "F16", "F16@bf16", "BF16", "BF16@bf16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_S", "Q3_K_M",
                         "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"]
threads = os.environ.get("QZ_BENCH_THREADS", "2").split()
runs = int(os.environ.get("QZ_BENCH_RUNS", "3"))
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
hidden, ffn, layers, heads, kv, vocab = 4096, 14336, 2, 32, 8, 32000


def model_of(kind):
    return os.path.join(folder, f"mistral-2-layers-{kind}.gguf")


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def make(kind):
    model, number, ftype = model_of(kind), *{"f16": (1, 1), "bf16": (30, 32)}[kind]
    keys = [("general.architecture", 8, "llama"), ("llama.block_count", 4, layers), ("llama.context_length", 4, 4096),
            ("llama.embedding_length", 4, hidden), ("llama.feed_forward_length", 4, ffn),
            ("llama.attention.head_count", 4, heads), ("llama.attention.head_count_kv", 4, kv),
            ("llama.attention.layer_norm_rms_epsilon", 6, 1e-5), ("llama.vocab_size", 4, vocab),
            ("llama.rope.dimension_count", 4, hidden // heads), ("tokenizer.ggml.model", 8, "no_vocab"),
            ("general.file_type", 4, ftype)]
    one = lambda t, v: text(v) if t == 8 else struct.pack("<I" if t == 4 else "<f", v)
    kvs = b"".join(text(k) + struct.pack("<I", t) + one(t, v) for k, t, v in keys)
    tensors = [("token_embd.weight", [hidden, vocab]), ("output.weight", [hidden, vocab]), ("output_norm.weight", [hidden])]
    for i in range(layers):
        p = f"blk.{i}."
        tensors += [(p + "attn_q.weight", [hidden, hidden]), (p + "attn_k.weight", [hidden, hidden * kv // heads]),
                    (p + "attn_v.weight", [hidden, hidden * kv // heads]), (p + "attn_output.weight", [hidden, hidden]),
                    (p + "ffn_gate.weight", [hidden, ffn]), (p + "ffn_up.weight", [hidden, ffn]),
                    (p + "ffn_down.weight", [ffn, hidden]), (p + "attn_norm.weight", [hidden]),
                    (p + "ffn_norm.weight", [hidden])]
    infos, at, sizes = b"", 0, []
    for name, dims in tensors:
        n = dims[0] * (dims[1] if len(dims) > 1 else 2) * 2  # f16, vectors f32
        infos += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number if len(dims) > 1 else 0, at)
        at += n
        sizes.append((n, len(dims) > 1))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + kvs + infos
    rng = random.Random(1234)
    one = (lambda v: struct.pack("<e", v)) if kind == "f16" else (lambda v: struct.pack("<f", v)[2:])
    noise = b"".join(one(rng.gauss(0, 0.02)) for _ in range((1 << 22) + 77))
    with open(model + ".part", "wb") as f:
        f.write(head + bytes(-len(head) % 32))
        for n, matrix in sizes:
            while n:
                part = min(n, len(noise)) if matrix else n
                f.write(noise[:part] if matrix else struct.pack("<f", 1.0) * (n // 4))
                n -= part
    os.rename(model + ".part", model)


def run(args, out):
    if os.path.exists(out):
        os.remove(out)
    os.sync()
    r = watch.watch(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if r.status:
        sys.exit(f"{' '.join(args)}: status {r.status}")
    start = time.monotonic()
    os.sync()
    r.synced = r.seconds + time.monotonic() - start
    return r


def median(runs, what):
    return statistics.median(getattr(r, what) for r in runs)


def row(runs, size):
    seconds = median(runs, "seconds")
    return "%7.2f %6.0f %6.2f %7.0f %6.0f" % (seconds, size / seconds / 1e6, median(runs, "cpu"), max(r.peak for r in runs) / 1e6,
                                              max(r.anon for r in runs) / 1e6)


def report(t, j):
    kind = t.split("@")[1] if "@" in t else "f16"
    model, name = model_of(kind), t.split("@")[0]
    if not os.path.exists(model):
        make(kind)
    with open(model, "rb") as f:  # into the page cache
        while f.read(1 << 24):
            pass
    ours, theirs = os.path.join(folder, "ours.gguf"), os.path.join(folder, "theirs.gguf")
    a, b, size = [], [], os.path.getsize(model)
    for _ in range(runs):
        a.append(run([root + "/build/bin/qz-gguf", "-q", "-d", "cpu", "-j", j, "--like", "llama-quantize", "-t", name, "-o",
                      ours, model], ours))
        b.append(run([peer, "--allow-requantize", model, theirs, name, j], theirs))
    same = subprocess.run(["cmp", "-s", ours, theirs]).returncode == 0
    fast = median(a, "seconds")
    print(f"{t:9} {j:>7} {row(a, size)}   {row(b, size)} {median(b, 'synced'):7.2f}   {median(b, 'seconds') / fast:5.2f} "
          f"{median(b, 'synced') / fast:5.2f}  {'equal' if same else 'DIFFERENT'}", flush=True)
    os.remove(ours)
    os.remove(theirs)


os.makedirs(folder, exist_ok=True)
columns = f"{'s':>7} {'MB/s':>6} {'CPU s':>6} {'peak MB':>7} {'anon':>6}"
print(f"{'type':9} {'threads':>7} {columns}   {columns} {'+sync':>7}   ratio +sync  bytes")
for t in types:
    for j in threads:
        report(t, j)
