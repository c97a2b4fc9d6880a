#!/usr/bin/env python3
"""bf16-lag.py MODEL.gguf TOKENS.qz [STEPS]: how far LoRA training in bfloat16 falls behind float32 in PyTorch and PEFT.

Both runs have the same rows, order and first adapter: rank 16 on all linear layers, 8 documents a step, 20 steps of warm-up to
1e-4.  In bfloat16 the base is bfloat16 and products are autocast; the adapter and AdamW stay in float32.  Prints loss and
gradient norm in float32 and by how much bfloat16's differ.  Needs torch, transformers, peft, gguf; qz-show on the PATH."""
import json, os, subprocess, sys
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

ROWS, WARMUP, LR = 8, 20, 1e-4


def train(model, docs, steps, dtype):
    torch.manual_seed(0)
    net = AutoModelForCausalLM.from_pretrained(os.path.dirname(model), gguf_file=os.path.basename(model), dtype=dtype)
    net = get_peft_model(net, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    params = [p for p in net.parameters() if p.requires_grad]
    for p in params:
        p.data = p.data.float()
    opt = torch.optim.AdamW(params, lr=LR, weight_decay=0.01)
    for step in range(steps):
        opt.param_groups[0]["lr"] = LR * min(1, (step + 1) / WARMUP)
        batch = [docs[(ROWS * step + i) % len(docs)] for i in range(ROWS)]
        trained, total = sum(sum(d["mask"][1:]) for d in batch), 0
        for d in batch:
            ids = torch.tensor([d["ids"]])
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                logits = net(input_ids=ids).logits
            each = torch.nn.functional.cross_entropy(logits.float()[0, :-1], ids[0, 1:], reduction="none")
            loss = (each * torch.tensor(d["mask"][1:]).float()).sum() / trained
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0).item()
        opt.step()
        opt.zero_grad()
        yield total, norm


def main(model, tokens, steps=14):
    shown = subprocess.run(["qz-show", "--json", "--rows", "all", tokens], check=True, capture_output=True, text=True).stdout
    docs = [d for d in map(json.loads, shown.splitlines()) if "ids" in d]
    model = os.path.abspath(model)
    wide = list(train(model, docs, int(steps), torch.float32))
    for step, ((loss, norm), (l16, n16)) in enumerate(zip(wide, train(model, docs, int(steps), torch.bfloat16))):
        print("%3d  loss %.4f %+.4f  norm %.4f %+.2f %%" % (step, loss, l16 - loss, norm, 100 * (n16 / norm - 1)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
