#!/usr/bin/env python3
"""GGUF files as qz reads them, against the gguf package's own values with q and k rows put back."""
import os, subprocess, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap
sys.path.pop(0)
gguf, np = tap.need('gguf', 'numpy')

NAMES = {'token_embd': 'model.embed_tokens', 'output': 'lm_head', 'output_norm': 'model.norm',
         'attn_norm': 'input_layernorm', 'attn_q': 'self_attn.q_proj', 'attn_k': 'self_attn.k_proj',
         'attn_v': 'self_attn.v_proj', 'attn_output': 'self_attn.o_proj', 'ffn_norm': 'post_attention_layernorm',
         'ffn_gate': 'mlp.gate_proj', 'ffn_up': 'mlp.up_proj', 'ffn_down': 'mlp.down_proj'}


def hf(name):
    p = name.split('.')
    return NAMES[p[0]] + '.' + p[1] if p[0] != 'blk' else 'model.layers.%s.%s.%s' % (p[1], NAMES[p[2]], p[3])


def unpermute(x, heads):
    return x.reshape(heads, x.shape[0] // heads // 2, 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def check(path, d):
    r = gguf.GGUFReader(path)
    heads = int(r.fields['llama.attention.head_count'].contents())
    kv = int(r.fields['llama.attention.head_count_kv'].contents())
    shard = os.path.join(d, 'x.qz')
    if not tap.qz('qz-quantize', '-q', '-t', 'f32', '-o', shard, path):
        return
    bad = []
    for t in r.tensors:
        want = gguf.quants.dequantize(t.data, t.tensor_type).astype('<f4')
        if 'attn_q.' in t.name or 'attn_k.' in t.name:
            want = unpermute(want, heads if 'attn_q.' in t.name else kv)
        raw = subprocess.run(['qz-show', '--extract', hf(t.name), shard], stdout=subprocess.PIPE, check=True).stdout
        got = np.frombuffer(raw, '<f4')
        if got.size != want.size or not np.array_equal(got, want.ravel()):
            bad.append(t.name)
    tap.ok(not bad, '%s: all %d tensors have the same values %s' % (os.path.basename(path), len(r.tensors), bad[:3] or ''))


with tempfile.TemporaryDirectory() as d:
    for t in 'f32', 'f16', 'bf16', 'q8_0', 'q4_k_m':
        check(tap.shared('golden', 'gguf', 'stories260k-%s.gguf' % t), d)
    for t in 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q2_K', 'Q3_K_M', 'Q4_K_M', 'Q5_K_M', 'Q6_K', 'IQ4_NL', 'IQ4_XS':
        check(tap.shared('golden', 'kquant', 'plain', t + '.gguf'), d)
tap.done()
