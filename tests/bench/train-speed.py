#!/usr/bin/env python3
"""train-speed.py MODEL.gguf [STEPS]: tokens a second and peak memory of LoRA training, qz-train beside PyTorch + PEFT.

Both train rank 16 on all linear layers, every token of the same 4 rows of 256 in each step, AdamW, on the same weights
(the GGUF file's, decoded): the first losses are equal.  qz-train runs a second time on an NF4 base.  They take turns on
one machine, each in a process of its own; tokens/s is the median over the steps without the first.  Needs torch,
transformers, peft, gguf; qz's programs are those in build/bin.  THREADS=2 is how many threads each may use."""
import json, os, statistics, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
THREADS = int(os.environ.get("THREADS", "2"))
ROWS, LENGTH, RANK, ALPHA, LR = 4, 256, 16, 32, 2e-4


def torch_side(model, rows_file, steps):
    """The other program: prints a JSON line a step."""
    import time, torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    x = torch.tensor(json.load(open(rows_file)))
    base = AutoModelForCausalLM.from_pretrained(os.path.dirname(model), gguf_file=os.path.basename(model), dtype=torch.float32)
    net = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"))
    net.train()
    params = [p for p in net.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=LR, weight_decay=0.01)
    for s in range(steps):
        t = time.perf_counter()
        loss = net(input_ids=x, labels=x).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad()
        t = time.perf_counter() - t
        print(json.dumps({"step": s + 1, "loss": loss.item(), "tokens_per_second": x.numel() / t}), flush=True)


def run(command, log=None):
    """Steps and peak memory (bytes) of a process."""
    out = tempfile.TemporaryFile("w+")
    p = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)
    err = p.stderr.read()
    _, status, usage = os.wait4(p.pid, 0)
    if status:
        sys.exit("%s\n%s failed" % (err, command[0]))
    out.seek(0)
    lines = open(log) if log else out
    steps = [j for j in (json.loads(l) for l in lines if l.startswith("{")) if "loss" in j and "step" in j]
    return steps, usage.ru_maxrss * 1024


def report(name, result):
    steps, peak = result
    rate = statistics.median(s["tokens_per_second"] for s in steps[1:])
    print("| %-28s | %8.1f | %6.2f GB | %7.4f | %7.4f |" % (name, rate, peak / 1e9, steps[0]["loss"], steps[-1]["loss"]), flush=True)
    return rate, peak


def prepare(model, folder):
    """A token shard of rows of exactly LENGTH tokens, and the same rows as JSON."""
    manual = os.path.join(ROOT, "examples/data/qz-manual.jsonl")
    words = " ".join(m["content"] for l in open(manual) for m in json.loads(l)["messages"]).split()
    data, shard, rows = (os.path.join(folder, f) for f in ("data.jsonl", "rows.qz", "rows.json"))
    with open(data, "w") as f:
        for i in range(ROWS):
            start = i * len(words) // (ROWS + 1)
            f.write(json.dumps({"text": " ".join(words[start:start + 400])}) + "\n")
    subprocess.run(["qz-tokenize", "-q", "-m", model, "-f", "text", "--train-on", "all", "-l", str(LENGTH), "-o", shard, data], check=True)
    lines = subprocess.run(["qz-show", "--json", "--rows", "all", shard], check=True, capture_output=True, text=True).stdout
    ids = [j["ids"] for j in map(json.loads, lines.splitlines()) if "ids" in j]
    assert len(ids) == ROWS and all(len(r) == LENGTH for r in ids), "rows are not all of %d tokens" % LENGTH
    json.dump(ids, open(rows, "w"))
    return shard, rows


def main(model, steps=8):
    model = os.path.abspath(model)
    os.environ["PATH"] = os.path.join(ROOT, "build/bin") + os.pathsep + os.environ["PATH"]
    with tempfile.TemporaryDirectory() as folder:
        shard, rows = prepare(model, folder)
        nf4, log = os.path.join(folder, "nf4.qz"), os.path.join(folder, "log.jsonl")
        subprocess.run(["qz-quantize", "-q", "-o", nf4, model], check=True)

        def qz(base):
            return run(["qz-train", "-q", "-j", str(THREADS), "-b", base, "-r", str(RANK), "-a", str(ALPHA), "--lr", str(LR), "--schedule", "constant",
                        "--batch", str(ROWS), "--steps", str(steps), "--log", log, "-o", os.path.join(folder, "a.qz"), shard], log)

        print("%d steps of %d x %d tokens, rank %d, %d threads, load before: %.2f" % (steps, ROWS, LENGTH, RANK, THREADS, os.getloadavg()[0]))
        print("|                              | tokens/s | peak      | loss, first | last |\n|---|---|---|---|---|")
        mine, my_peak = report("qz-train, the file's weights", qz(model))
        theirs, peak = report("PyTorch + PEFT, float32", run([sys.executable, os.path.abspath(__file__), "--torch", model, rows, str(steps)]))
        nf4_rate, nf4_peak = report("qz-train, NF4", qz(nf4))
    print("qz-train: %.2f and %.2f times the tokens/s, %.2f and %.2f of the memory" % (mine / theirs, nf4_rate / theirs, my_peak / peak, nf4_peak / peak))
    return 0 if min(mine, nf4_rate) >= 1.5 * theirs and max(my_peak, nf4_peak) <= peak / 4 else 1


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "--torch":
        torch_side(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    elif len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    else:
        sys.exit(main(sys.argv[1], *map(int, sys.argv[2:3])))
