#!/usr/bin/env python3
"""imatrix.py LLAMA_IMATRIX MODEL.gguf TEXT [CHUNKS]: qz-bench imatrix beside llama-imatrix on the same chunks of 512 tokens,
each number.  MODEL is in f32 or f16, so that llama.cpp rounds nothing to 8 bits; one whose texts begin with no token, or
one chunk.  Needs nothing but Python."""
import os, struct, subprocess, sys, tempfile

imatrix, model, text = sys.argv[1:4]
chunks = sys.argv[4] if len(sys.argv) > 4 else "1"
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bin")


def read(path):
    """name -> mean squares"""
    with open(path, "rb") as f:
        s = f.read()
    n, at, out = struct.unpack_from("<i", s)[0], 4, {}
    for _ in range(n):
        size = struct.unpack_from("<i", s, at)[0]
        name = s[at + 4:at + 4 + size].decode()
        calls, count = struct.unpack_from("<ii", s, at + 4 + size)
        at += 12 + size
        out[name] = [v / calls for v in struct.unpack_from(f"<{count}f", s, at)]
        at += 4 * count
    return out


with tempfile.TemporaryDirectory() as d:
    ours, theirs, tokens = d + "/ours.dat", d + "/theirs.dat", d + "/tokens.qz"
    subprocess.run([imatrix, "-m", model, "-f", text, "-o", theirs, "-c", "512", "--chunks", chunks, "-ctk", "f32", "-ctv", "f32"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([root + "/qz-tokenize", "-q", "-m", model, "-f", "text", "--cut", "split", "-l", "512", "-o", tokens, text], check=True)
    subprocess.run([root + "/qz-bench", "imatrix", "-q", "-d", "cpu", "--to", "dat", "--chunks", chunks, "-o", ours, model, tokens], check=True)
    a, b = read(ours), read(theirs)
    assert a.keys() == b.keys(), (a.keys() - b.keys(), b.keys() - a.keys())
    worst = max((abs(x - y) / max(b[k]), k) for k in a for x, y in zip(a[k], b[k]))
    mean = sum(abs(x - y) / y for k in a for x, y in zip(a[k], b[k]) if y) / sum(map(len, a.values()))
    print(f"{len(a)} matrices, {sum(map(len, a.values()))} numbers: at most {worst[0]:.1e} of a matrix's largest apart ({worst[1]}), {mean:.1e} of "
          "themselves on average")
