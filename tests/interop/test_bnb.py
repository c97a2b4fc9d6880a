#!/usr/bin/env python3
"""Folders of qz-quantize --to bnb: transformers with bitsandbytes opens them and has the very weights that
qz has; qz reads what bitsandbytes saved, in every storage type."""
import os, subprocess, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap
sys.path.pop(0)
torch, transformers, bnb, st, np = tap.need('torch', 'transformers', 'bitsandbytes', 'safetensors.torch', 'numpy')
torch.set_num_threads(1)

model = tap.shared('models', 'stories260k')


def load(folder, **more):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, device_map='cpu', **more)


def linears(m):
    return {n + '.weight': l.weight for n, l in m.named_modules() if isinstance(l, bnb.nn.Linear4bit)}


def dequantized(w):
    return bnb.functional.dequantize_4bit(w.data, w.quant_state).float().numpy()


def of_shard(path, name, shape):
    raw = subprocess.run(['qz-show', '--extract', name, path], stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(raw, '<f4').reshape(shape)


def same_as_shard(m, shard):
    return all(np.array_equal(dequantized(w), of_shard(shard, n, tuple(w.quant_state.shape))) for n, w in linears(m).items())


# Blocks are no longer than a row here: for those bitsandbytes' CPU code takes wrong block constants.
with tempfile.TemporaryDirectory() as d:
    for name, options, n in [('nf4', [], 35), ('plain', ['--no-double-quant'], 35), ('fp4', ['-t', 'fp4'], 35),
                             ('block 32', ['--block', '32'], 35), ('one left', ['--skip', '*.2.mlp.up_proj.*'], 34)]:
        out, f32 = os.path.join(d, name), os.path.join(d, name + '.qz')
        if not tap.qz('qz-quantize', '-q', '--to', 'bnb', '-o', out, *options, model):
            continue
        if not tap.qz('qz-quantize', '-q', '-t', 'f32', '-o', f32, out):
            continue
        m = load(out)
        tap.ok(len(linears(m)) == n, '%s: transformers has %d 4-bit weights' % (name, n))
        tap.ok(same_as_shard(m, f32), '%s: dequantized they are the same, to the bit' % name)
    for storage in 'float16', 'bfloat16', 'float32':
        saved, back = os.path.join(d, storage), os.path.join(d, storage + '.qz')
        q = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True,
                                            bnb_4bit_quant_storage=getattr(torch, storage), bnb_4bit_compute_dtype=torch.float32)
        m = load(model, quantization_config=q)
        m.save_pretrained(saved)
        types = {t.dtype for k, t in st.load_file(os.path.join(saved, 'model.safetensors')).items() if k.endswith('_proj.weight')}
        tap.ok(types == {getattr(torch, storage)}, 'bitsandbytes stores its codes as ' + storage)
        if tap.qz('qz-quantize', '-q', '-t', 'f32', '-o', back, saved):
            tap.ok(same_as_shard(m, back), 'stored as %s: the same weights' % storage)
    # The golden folder is bitsandbytes' own; its weights with qz's bytes.
    golden = tap.shared('golden', 'nf4')
    want = st.load_file(os.path.join(golden, 'stories260k-dequant.safetensors'))
    shard = os.path.join(d, 'golden.qz')
    if tap.qz('qz-quantize', '-q', '-t', 'f32', '-o', shard, os.path.join(golden, 'stories260k-bnb4')):
        tap.ok(all(np.array_equal(t.numpy(), of_shard(shard, n, t.shape)) for n, t in want.items()),
               'the golden folder dequantizes to its %d golden weights' % len(want))
tap.done()
