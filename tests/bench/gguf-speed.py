#!/usr/bin/env python3
"""gguf-speed.py FOLDER LLAMA_QUANTIZE [TYPE...]: qz-gguf beside llama-quantize, whole programs.

Makes a GGUF file of two layers in the shape of Mistral 7B (1.4 GB of f16) in FOLDER, once; then quantizes it with
both programs to each type, with 1 and with 2 threads, and prints seconds, MB of input a second, peak memory and
whether the files are the same.  QZ_BENCH_THREADS="1 2", QZ_BENCH_RUNS=1: the best of so many.  Needs nothing but
Python, build/bin/qz-gguf and a build of llama.cpp."""
import os, random, struct, subprocess, sys, time

folder, peer = sys.argv[1:3]
types = sys.argv[3:] or ["Q4_K_M", "Q6_K", "Q2_K", "Q3_K_M", "Q5_K_M", "IQ4_NL", "IQ4_XS", "Q4_0", "Q4_1", "Q5_0", "Q5_1",
                         "Q8_0", "F16"]
threads = os.environ.get("QZ_BENCH_THREADS", "1 2").split()
runs = int(os.environ.get("QZ_BENCH_RUNS", "1"))
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
hidden, ffn, layers, heads, kv, vocab = 4096, 14336, 2, 32, 8, 32000
model = os.path.join(folder, "mistral-2-layers-f16.gguf")


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def make():
    keys = [("general.architecture", 8, "llama"), ("llama.block_count", 4, layers), ("llama.context_length", 4, 4096),
            ("llama.embedding_length", 4, hidden), ("llama.feed_forward_length", 4, ffn),
            ("llama.attention.head_count", 4, heads), ("llama.attention.head_count_kv", 4, kv),
            ("llama.attention.layer_norm_rms_epsilon", 6, 1e-5), ("llama.vocab_size", 4, vocab),
            ("llama.rope.dimension_count", 4, hidden // heads), ("tokenizer.ggml.model", 8, "no_vocab"),
            ("general.file_type", 4, 1)]
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
        infos += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, len(dims) > 1, at)
        at += n
        sizes.append((n, len(dims) > 1))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + kvs + infos
    rng = random.Random(1234)
    noise = b"".join(struct.pack("<e", rng.gauss(0, 0.02)) for _ in range((1 << 22) + 77))
    with open(model + ".part", "wb") as f:
        f.write(head + bytes(-len(head) % 32))
        for n, matrix in sizes:
            while n:
                part = min(n, len(noise)) if matrix else n
                f.write(noise[:part] if matrix else struct.pack("<f", 1.0) * (n // 4))
                n -= part
    os.rename(model + ".part", model)


def run(args):
    best, peak = 1e9, 0
    for _ in range(runs):
        start = time.monotonic()
        p = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, use = os.wait4(p.pid, 0)
        best = min(best, time.monotonic() - start)
        peak = max(peak, use.ru_maxrss * 1024)
        if status:
            sys.exit(f"{' '.join(args)}: status {status}")
    return best, peak


os.makedirs(folder, exist_ok=True)
if not os.path.exists(model):
    make()
size = os.path.getsize(model)
with open(model, "rb") as f:  # into the page cache
    while f.read(1 << 24):
        pass
ours, theirs = os.path.join(folder, "ours.gguf"), os.path.join(folder, "theirs.gguf")
print(f"{'type':8} {'threads':>7} {'qz s':>7} {'MB/s':>6} {'peak MB':>7}   {'peer s':>7} {'MB/s':>6} {'peak MB':>7}   ratio  bytes")
for t in types:
    for j in threads:
        a, a_peak = run([root + "/build/bin/qz-gguf", "-q", "-d", "cpu", "-j", j, "--like", "llama-quantize", "-t", t, "-o", ours, model])
        b, b_peak = run([peer, model, theirs, t, j])
        same = subprocess.run(["cmp", "-s", ours, theirs]).returncode == 0
        print(f"{t:8} {j:>7} {a:7.2f} {size / a / 1e6:6.0f} {a_peak / 1e6:7.0f}   {b:7.2f} {size / b / 1e6:6.0f} "
              f"{b_peak / 1e6:7.0f}   {b / a:5.2f}  {'equal' if same else 'DIFFERENT'}", flush=True)
for f in (ours, theirs):
    os.path.exists(f) and os.remove(f)
