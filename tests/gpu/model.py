#!/usr/bin/env python3
"""model.py FOLDER HEADS KV_HEADS HEAD_DIM [FFN]: a small llama with random bf16 weights, a tokenizer of bytes, and
train.jsonl, heldout.jsonl with made-up text: for training on any machine.  Needs nothing but Python."""
import json, os, random, struct, sys

folder, heads, kv, head = sys.argv[1], *map(int, sys.argv[2:5])
hidden, ffn, layers, vocab = 256, int((sys.argv[5:] or [704])[0]), 3, 258
os.makedirs(folder)
rng = random.Random(1)

config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=hidden, intermediate_size=ffn,
              num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, head_dim=head,
              vocab_size=vocab, max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000.0,
              hidden_act="silu", tie_word_embeddings=False, torch_dtype="bfloat16", bos_token_id=256, eos_token_id=257)
with open(folder + "/config.json", "w") as f:
    json.dump(config, f, indent=2)

# Bytes as byte-level tokenizers write them: what prints stands for itself, the others follow from U+0100 on.
printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
names = {b: chr(b) for b in printing}
names |= {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in names)}
special = [dict(id=256 + i, content=s, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
           for i, s in enumerate(["<s>", "</s>"])]
byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
with open(folder + "/tokenizer.json", "w") as f:
    json.dump(dict(version="1.0", truncation=None, padding=None, added_tokens=special, normalizer=None,
                   pre_tokenizer=byte_level, post_processor=None, decoder=byte_level,
                   model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                              end_of_word_suffix=None, fuse_unk=False, byte_fallback=False,
                              vocab={names[b]: b for b in range(256)}, merges=[])), f)
with open(folder + "/tokenizer_config.json", "w") as f:
    json.dump(dict(bos_token="<s>", eos_token="</s>", tokenizer_class="PreTrainedTokenizerFast"), f)

shapes = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden], "lm_head.weight": [vocab, hidden]}
for i in range(layers):
    p = f"model.layers.{i}."
    shapes |= {p + "input_layernorm.weight": [hidden], p + "post_attention_layernorm.weight": [hidden],
               p + "self_attn.q_proj.weight": [heads * head, hidden], p + "self_attn.k_proj.weight": [kv * head, hidden],
               p + "self_attn.v_proj.weight": [kv * head, hidden], p + "self_attn.o_proj.weight": [hidden, heads * head],
               p + "mlp.gate_proj.weight": [ffn, hidden], p + "mlp.up_proj.weight": [ffn, hidden],
               p + "mlp.down_proj.weight": [hidden, ffn]}


def bf16(x):
    return struct.unpack("<I", struct.pack("<f", x))[0] >> 16


header, body = {"__metadata__": {"format": "pt"}}, bytearray()
for name, shape in shapes.items():
    n = shape[0] * (shape[1] if len(shape) > 1 else 1)
    if len(shape) == 1:
        words = [bf16(1 + 0.1 * rng.gauss(0, 1)) for _ in range(n)]
    else:
        words = [bf16(rng.gauss(0, 1) * shape[1] ** -0.5) for _ in range(n)]
    header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(body), len(body) + 2 * n]}
    body += struct.pack(f"<{n}H", *words)
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(folder + "/model.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + body)

words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(1, 9))) for _ in range(60)]
for name, rows in ("train", 60), ("heldout", 5):
    with open(f"{folder}/{name}.jsonl", "w") as f:
        for _ in range(rows):
            line = " ".join(rng.choice(words) for _ in range(rng.choice([1, 12, 25, 60])))
            f.write(json.dumps({"text": line}) + "\n")
