#!/usr/bin/env python3
"""copies.py FOLDER LLAMA_QUANTIZE [TURNS [f16|bf16|f32...]]: files of the type that they have already, 7 turns, two threads.

qz-gguf --no-sync beside llama-quantize, which leaves its file to the system, too; qz-gguf beside llama-quantize with `sync -f` of its
file behind it; cp of the input without and with that.  FOLDER has the files that gguf-speed.py makes (F16 and BF16@bf16 make them); the f32 file is made here.
All in turns, in another order each (a file that was just removed leaves its pages to the next), the input in the page cache, before each the outputs removed and all synced.  Prints the median of the seconds, the
least and the most; the ratios of the medians and of the least; whether the bytes are the same."""
import os, random, statistics, subprocess, sys, time

folder, peer = sys.argv[1:3]
turns = int(sys.argv[3]) if len(sys.argv) > 3 else 7
qz = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bin", "qz-gguf")
rng = random.Random(1234)
out = {who: os.path.join(folder, who + ".gguf") for who in ("qz", "peer", "cp")}


def once(args, target, sync):
    for path in out.values():
        if os.path.exists(path):
            os.remove(path)
    os.sync()
    start = time.monotonic()
    subprocess.run(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    if sync:
        subprocess.run(["sync", "-f", target], check=True)
    return time.monotonic() - start


def compare(kind):
    model, name = os.path.join(folder, f"mistral-2-layers-{kind}.gguf"), kind.upper()
    if not os.path.exists(model):
        subprocess.run([qz, "-q", "--no-digest", "-t", kind, "-o", model, model.replace(kind, "f16")], check=True)
    ours = [qz, "-q", "-d", "cpu", "-j", "2", "--like", "llama-quantize", "-t", name, "-o", out["qz"], model]
    theirs = [peer, "--allow-requantize", model, out["peer"], name, "2"]
    ways = {"qz-gguf --no-sync": (ours + ["--no-sync"], out["qz"], False), "llama-quantize": (theirs, out["peer"], False),
            "qz-gguf": (ours, out["qz"], False), "llama-quantize, sync -f": (theirs, out["peer"], True),
            "cp": (["cp", model, out["cp"]], out["cp"], False), "cp, sync -f": (["cp", model, out["cp"]], out["cp"], True)}
    took = {way: [] for way in ways}
    with open(model, "rb") as f:  # into the page cache
        while f.read(1 << 24):
            pass
    for _ in range(turns):
        for way in rng.sample(list(ways), len(ways)):
            took[way].append(once(*ways[way]))
    print(f"{name} of {os.path.getsize(model) / 1e6:.0f} MB")
    for way, t in took.items():
        print(f"  {way:24} {statistics.median(t):6.3f}  ({min(t):.3f} to {max(t):.3f})")
    for a, b in (("llama-quantize", "qz-gguf --no-sync"), ("llama-quantize, sync -f", "qz-gguf")):
        print(f"  {a} / {b}: {statistics.median(took[a]) / statistics.median(took[b]):.2f}, "
              f"of the least {min(took[a]) / min(took[b]):.2f}")
    subprocess.run(theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    subprocess.run(ours, check=True)
    print("  bytes " + ("equal" if subprocess.run(["cmp", "-s", out["qz"], out["peer"]]).returncode == 0 else "DIFFERENT"), flush=True)


for kind in sys.argv[4:] or ["f16", "bf16", "f32"]:
    compare(kind)
for path in out.values():
    if os.path.exists(path):
        os.remove(path)
