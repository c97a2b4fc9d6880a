#!/usr/bin/env python3
"""big-model.py FOLDER [1b|7b|2l]: a llama of 1.1 or 7.2 billion bf16 parameters (2.2 or 14.5 GB; the second has
Mistral-7B's shapes; 2l are two layers of it, 1.4 GB) with random weights, for measuring how fast weights go through a tool;
and in FOLDER/adapter a LoRA of rank 16 for it.  Needs nothing but Python."""
import json, os, random, struct, sys

folder = sys.argv[1]
sizes = {"1b": (2048, 5632, 22, 32, 4, 32000), "7b": (4096, 14336, 32, 32, 8, 32000),
         "2l": (4096, 14336, 2, 32, 8, 32000)}
hidden, ffn, layers, heads, kv, vocab = sizes[sys.argv[2] if len(sys.argv) > 2 else "1b"]
head = hidden // heads
os.makedirs(folder)
config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=hidden, intermediate_size=ffn,
              num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, vocab_size=vocab,
              max_position_embeddings=2048, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
              tie_word_embeddings=False, torch_dtype="bfloat16", bos_token_id=1, eos_token_id=2)
with open(folder + "/config.json", "w") as f:
    json.dump(config, f, indent=2)

shapes = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden], "lm_head.weight": [vocab, hidden]}
for i in range(layers):
    p = f"model.layers.{i}."
    shapes |= {p + "input_layernorm.weight": [hidden], p + "post_attention_layernorm.weight": [hidden],
               p + "self_attn.q_proj.weight": [heads * head, hidden], p + "self_attn.k_proj.weight": [kv * head, hidden],
               p + "self_attn.v_proj.weight": [kv * head, hidden], p + "self_attn.o_proj.weight": [hidden, heads * head],
               p + "mlp.gate_proj.weight": [ffn, hidden], p + "mlp.up_proj.weight": [ffn, hidden],
               p + "mlp.down_proj.weight": [hidden, ffn]}

rng = random.Random(1)
words = [struct.unpack("<I", struct.pack("<f", rng.gauss(0, 0.02)))[0] >> 16 for _ in range(1 << 20)]
noise = struct.pack(f"<{len(words)}H", *words)


def write(path, shapes):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        n = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        while at:
            f.write(noise[:at] if at < len(noise) else noise)
            at -= min(at, len(noise))


write(folder + "/model.safetensors", shapes)
os.mkdir(folder + "/adapter")
with open(folder + "/adapter/adapter_config.json", "w") as f:
    json.dump(dict(peft_type="LORA", task_type="CAUSAL_LM", base_model_name_or_path="..", r=16, lora_alpha=32, lora_dropout=0.0, bias="none",
                   target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]), f)
lora = {}
for name, shape in shapes.items():
    if "_proj" in name:
        path = "base_model.model." + name.removesuffix(".weight")
        lora |= {path + ".lora_A.weight": [16, shape[1]], path + ".lora_B.weight": [shape[0], 16]}
write(folder + "/adapter/adapter_model.safetensors", lora)
