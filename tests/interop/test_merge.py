#!/usr/bin/env python3
"""Folders of qz-merge: transformers opens them, and they are what PEFT's merge_and_unload gives."""
import json, os, shutil, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap
sys.path.pop(0)
torch, transformers, peft, st = tap.need('torch', 'transformers', 'peft', 'safetensors.torch')
torch.set_num_threads(1)

model = tap.shared('models', 'stories260k')
adapter = tap.shared('golden', 'lora', 'plain-final')
ids = torch.tensor([[1, 403, 407, 261, 378, 432, 383, 286, 261, 262]])


def logits(m):
    with torch.no_grad():
        return m(ids).logits


def of_peft(base, folder, **changes):
    """base with the adapter merged by PEFT; changes to adapter_config.json."""
    with tempfile.TemporaryDirectory() as d:
        config = json.load(open(os.path.join(folder, 'adapter_config.json')))
        config.update(changes)
        json.dump(config, open(os.path.join(d, 'adapter_config.json'), 'w'))
        shutil.copy(os.path.join(folder, 'adapter_model.safetensors'), d)
        m = transformers.AutoModelForCausalLM.from_pretrained(base, dtype='auto')
        return peft.PeftModel.from_pretrained(m, d).merge_and_unload()


def farthest(a, b):
    """Largest difference in roundings of the type: |a - b| over the distance of neighbours at that size."""
    worst = 0.0
    for k, x in a.items():
        y = b[k]
        big = torch.maximum(x.abs(), y.abs()).double().clamp(min=torch.finfo(x.dtype).tiny)
        ulp = torch.exp2(torch.floor(torch.log2(big))) * torch.finfo(x.dtype).eps
        worst = max(worst, ((x.double() - y.double()).abs() / ulp).max().item())
    return worst


with tempfile.TemporaryDirectory() as d:
    # A base in 16 bits, written by transformers itself (whose config.json is of its own generation).
    half = os.path.join(d, 'half')
    transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).save_pretrained(half)
    for f in 'tokenizer.json', 'tokenizer_config.json', 'tokenizer.model':
        shutil.copy(os.path.join(model, f), half)
    cases = [('f32', torch.float32, {}), ('bf16', torch.bfloat16, {}), ('f32', torch.float32, {'use_rslora': True}),
             ('f32', torch.float32, {'alpha_pattern': {'q_proj': 4}})]
    for i, (t, dtype, changes) in enumerate(cases):
        out, own = os.path.join(d, 'merged%d' % i), os.path.join(d, 'adapter%d' % i)
        shutil.copytree(adapter, own)
        os.chmod(own, 0o755)
        config = json.load(open(os.path.join(own, 'adapter_config.json')))
        config.update(changes)
        os.chmod(os.path.join(own, 'adapter_config.json'), 0o644)
        json.dump(config, open(os.path.join(own, 'adapter_config.json'), 'w'))
        base = half if t == 'bf16' else model
        if not tap.qz('qz-merge', '-q', '--to', 'hf', '-o', out, base, own):
            continue
        what = '%s %s' % (t, changes or '')
        got = transformers.AutoModelForCausalLM.from_pretrained(out, dtype='auto')
        want = of_peft(base, adapter, **changes)
        a, b = got.state_dict(), want.state_dict()
        tap.ok(got.dtype == dtype and a.keys() == b.keys(), what + ': transformers opens it, with its own type')
        # A sum near zero is small beside what was added: its last bit is that of the larger part.
        small = max((a[k].float() - b[k].float()).abs().max().item() for k in a)
        roundings = farthest(a, b)
        if t == 'f32':
            tap.ok(small <= 1.3e-7, '%s: weights differ by %.2g at most' % (what, small))
        if t == 'f32':
            far = (logits(got) - logits(want)).abs().max().item()
            tap.ok(far < 1e-4, '%s: logits differ by %.2g at most' % (what, far))
        else:
            equal = sum((a[k] == b[k]).sum().item() for k in a) / sum(x.numel() for x in a.values())
            tap.ok(equal > 0.9999 and roundings <= 1, '%s: %.5f of the elements equal, none more than one rounding off' % (what, equal))
        tok = transformers.AutoTokenizer.from_pretrained(out)
        tap.ok(tok('Once upon a time').input_ids == transformers.AutoTokenizer.from_pretrained(model)('Once upon a time').input_ids,
               what + ': its tokenizer is the model\'s')
    index = os.path.join(out, 'model.safetensors.index.json')
    tap.ok(not os.path.exists(index), 'a small model is one file')
    split = os.path.join(d, 'split')
    if tap.qz('qz-merge', '-q', '--file-size', '200k', '--to', 'hf', '-o', split, model, adapter):
        weights = [f for f in os.listdir(split) if f.endswith('.safetensors')]
        tap.ok(len(weights) > 3 and all(os.path.getsize(os.path.join(split, f)) < 210000 for f in weights),
               'split into %d files' % len(weights))
        a = transformers.AutoModelForCausalLM.from_pretrained(split, dtype='auto').state_dict()
        b = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(d, 'merged0'), dtype='auto').state_dict()
        tap.ok(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a), 'transformers reads the same from them')
tap.done()
