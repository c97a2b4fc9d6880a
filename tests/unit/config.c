/* config.json in many forms: what is read from it, what is refused; roles, shapes, frequencies. */
#include <math.h>

#include "libcore/model/config.h"
#include "tests/unit/tap.h"

#define SIZES                                                                                      \
	"\"hidden_size\":64,\"intermediate_size\":172,\"num_hidden_layers\":5,\"num_attention_"    \
	"heads\":8,"                                                                               \
	"\"vocab_size\":512"
#define LLAMA "\"model_type\":\"llama\"," SIZES

static void
show(const struct qz_config *c, char *out, size_t n)
{
	snprintf(out, n,
	    "%s %lldx%lld/%lld heads %lld/%lld/%lld vocab %lld ctx %lld eps %.9g theta %g rope %d "
	    "%g %g %g %g win %lld tied %d bias %d%d%d ids %lld %lld %lld dtype %d",
	    c->family->model_type, (long long)c->layers, (long long)c->hidden, (long long)c->ffn,
	    (long long)c->heads, (long long)c->kv_heads, (long long)c->head_dim,
	    (long long)c->vocab, (long long)c->context, (double)c->norm_eps, c->rope_theta,
	    (int)c->rope_kind, c->rope_factor, c->rope_low, c->rope_high, c->rope_original,
	    (long long)c->window, c->tied, c->qkv_bias, c->o_bias, c->mlp_bias, (long long)c->bos,
	    (long long)c->eos, (long long)c->pad, (int)c->dtype);
}

/* Members of the object; what the result's description must contain. */
static const struct {
	const char *members, *has;
} good[] = {
	{ LLAMA,
	    "llama 5x64/172 heads 8/8/8 vocab 512 ctx 2048 eps 9.99999997e-07 theta 10000 rope 0 "
	    "0 0 0 0 win 0 tied 0 bias 000 ids 1 2 -1 dtype 0" },
	{ LLAMA ",\"num_key_value_heads\":4,\"head_dim\":32", "heads 8/4/32" },
	{ LLAMA ",\"num_key_value_heads\":null,\"head_dim\":null", "heads 8/8/8" },
	{ LLAMA ",\"rope_theta\":500000.0", "theta 500000 rope 0" },
	{ LLAMA ",\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":\"default\"}",
	    "theta 500000 rope 0" },
	{ LLAMA ",\"rope_scaling\":null", "rope 0" },
	{ LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}", "rope 1 2.5" },
	{ LLAMA ",\"rope_scaling\":{\"type\":\"llama3\",\"rope_type\":\"llama3\",\"factor\":8.0,"
		"\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
		"\"original_max_position_embeddings\":8192}",
	    "rope 2 8 1 4 8192" },
	{ LLAMA ",\"rope_parameters\":{\"rope_type\":\"llama3\",\"rope_theta\":5e5,\"factor\":32,"
		"\"low_freq_factor\":1,\"high_freq_factor\":4,"
		"\"original_max_position_embeddings\":8192}",
	    "theta 500000 rope 2 32 1 4 8192" },
	{ LLAMA ",\"tie_word_embeddings\":true", "tied 1" },
	{ LLAMA ",\"attention_bias\":true", "bias 110" },
	{ LLAMA ",\"mlp_bias\":true", "bias 001" },
	{ LLAMA ",\"eos_token_id\":[7,8,9],\"bos_token_id\":6,\"pad_token_id\":5", "ids 6 7 5" },
	{ LLAMA ",\"eos_token_id\":null,\"bos_token_id\":null", "ids -1 -1 -1" },
	{ LLAMA ",\"torch_dtype\":\"bfloat16\"", "dtype 3" },
	{ LLAMA ",\"dtype\":\"float16\"", "dtype 2" },
	{ LLAMA ",\"rms_norm_eps\":1e-05", "eps 9.99999975e-06" },
	{ LLAMA ",\"architectures\":[\"LLaMAForCausalLM\"]", "llama" },
	{ LLAMA ",\"attention_dropout\":0.0,\"hidden_act\":\"silu\",\"num_local_experts\":null",
	    "llama" },
	{ LLAMA
	    ",\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}",
	    "llama" },
	{ LLAMA ",\"sliding_window\":99",
	    "win 0" }, /* no such key in a llama: transformers drops it */
	{ "\"model_type\":\"mistral\"," SIZES, "heads 8/8/8 vocab 512 ctx 131072" },
	{ "\"model_type\":\"mistral\"," SIZES, "win 4096" },
	{ "\"model_type\":\"mistral\",\"sliding_window\":1024," SIZES, "win 1024" },
	{ "\"model_type\":\"mistral\",\"sliding_window\":null," SIZES, "win 0" },
	{ "\"model_type\":\"qwen2\",\"num_key_value_heads\":2," SIZES,
	    "heads 8/2/8 vocab 512 ctx 32768" },
	{ "\"model_type\":\"qwen2\",\"num_key_value_heads\":2," SIZES,
	    "win 0 tied 0 bias 100 ids -1" },
	{ "\"model_type\":\"qwen2\",\"num_key_value_heads\":2,\"use_sliding_window\":true,"
	  "\"sliding_window\":64,\"max_window_layers\":0," SIZES,
	    "win 64" },
	{ "\"model_type\":\"qwen2\",\"num_key_value_heads\":2,\"use_sliding_window\":true,"
	  "\"sliding_window\":64,\"max_window_layers\":5," SIZES,
	    "win 0" },
	{ "\"model_type\":\"qwen2\",\"num_key_value_heads\":2,\"layer_types\":[\"full_attention\","
	  "\"full_attention\"],\"sliding_window\":null," SIZES,
	    "win 0" },
	{ "\"model_type\":\"qwen3\",\"num_key_value_heads\":2," SIZES, "heads 8/2/128" },
	{ "\"model_type\":\"qwen3\",\"num_key_value_heads\":2,\"attention_bias\":true," SIZES,
	    "bias 110" },
};

static const struct {
	const char *members, *message;
} bad[] = {
	{ SIZES, "model_type: is missing" },
	{ "\"model_type\":\"gpt2\"," SIZES,
	    "model_type: 'gpt2' is not known; known are llama, mistral, qwen2, qwen3" },
	{ LLAMA ",\"architectures\":[\"LlamaForSequenceClassification\"]",
	    "architectures: 'LlamaForSequenceClassification' is not supported, LlamaForCausalLM "
	    "is" },
	{ "\"model_type\":\"llama\"", "hidden_size: is missing, not a number" },
	{ LLAMA ",\"hidden_act\":\"gelu\"", "hidden_act: 'gelu' is not supported, silu is" },
	{ LLAMA ",\"attention_dropout\":0.1", "attention_dropout: only 0 is supported" },
	{ LLAMA ",\"num_local_experts\":8", "num_local_experts: only 0 is supported" },
	{ LLAMA ",\"partial_rotary_factor\":0.5", "partial_rotary_factor: only 1 is supported" },
	{ LLAMA ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0}",
	    "rope_scaling: rope_type 'yarn' is not supported; default, linear and llama3 are" },
	{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4.0}",
	    "rope_scaling: rope_type 'dynamic' is not supported; default, linear and llama3 are" },
	{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"yarn\",\"factor\":4.0}",
	    "rope_scaling: rope_type 'linear' and type 'yarn' are not the same" },
	{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"linear\"}",
	    "rope_scaling: factor: is missing, not a number" },
	{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":0}",
	    "rope_scaling: factor: is 0, a number above 0 is expected" },
	{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"default\",\"mscale\":1}",
	    "rope_scaling: the key mscale is not known" },
	{ LLAMA ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
		"\"high_freq_factor\":1,\"original_max_position_embeddings\":8192}",
	    "rope_scaling: high_freq_factor 1 is not above low_freq_factor 4" },
	{ LLAMA ",\"rope_scaling\":[1]", "rope_scaling: is an array, not an object" },
	{ LLAMA ",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1}}",
	    "rope_parameters: the key full_attention is not known" },
	{ LLAMA ",\"num_key_value_heads\":3",
	    "num_key_value_heads: 3 does not divide 8 attention heads" },
	{ LLAMA ",\"num_key_value_heads\":1.5",
	    "num_key_value_heads: is 1.5, not a whole number within 1..8" },
	{ LLAMA ",\"head_dim\":7", "head_dim: is 7, an even number is expected" },
	{ LLAMA ",\"mlp_bias\":1", "mlp_bias: is a number, not true or false" },
	{ LLAMA ",\"torch_dtype\":\"int4\"", "torch_dtype: 'int4' is not known" },
	{ LLAMA ",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}",
	    "quantization_config: quant_method 'gptq' is not supported, bitsandbytes is" },
	{ LLAMA
	    ",\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}",
	    "quantization_config: bitsandbytes without load_in_4bit is not supported" },
	{ LLAMA ",\"eos_token_id\":\"x\"", "eos_token_id: is a string, not a number" },
	{ "\"model_type\":\"mistral\",\"attention_bias\":true," SIZES,
	    "attention_bias: a mistral model has none" },
	{ "\"model_type\":\"qwen2\",\"num_key_value_heads\":2,\"mlp_bias\":true," SIZES,
	    "mlp_bias: a qwen2 model has none" },
	{ "\"model_type\":\"qwen2\",\"num_key_value_heads\":2,\"use_sliding_window\":true,"
	  "\"sliding_window\":64,\"max_window_layers\":3," SIZES,
	    "max_window_layers: is 3 of 5 layers; a sliding window in some layers only is not "
	    "supported" },
	{ "\"model_type\":\"qwen3\",\"num_key_value_heads\":2,\"layer_types\":[\"full_attention\","
	  "\"sliding_attention\"]," SIZES,
	    "layer_types: different layers (full_attention, sliding_attention) are not supported" },
	{ "\"model_type\":\"qwen3\",\"num_key_value_heads\":2,\"layer_types\":[\"chunked_"
	  "attention\"]," SIZES,
	    "layer_types: 'chunked_attention' is not supported" },
};

static const struct {
	const char *hf, *gguf;
	int role, layer;
} names[] = {
	{ "model.embed_tokens.weight", "token_embd.weight", QZ_EMBED, 0 },
	{ "lm_head.weight", "output.weight", QZ_HEAD, 0 },
	{ "model.norm.weight", "output_norm.weight", QZ_NORM, 0 },
	{ "model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", QZ_ATTN_NORM, 0 },
	{ "model.layers.31.self_attn.q_proj.weight", "blk.31.attn_q.weight", QZ_Q, 31 },
	{ "model.layers.7.self_attn.o_proj.bias", "blk.7.attn_output.bias", QZ_O_BIAS, 7 },
	{ "model.layers.7.self_attn.k_norm.weight", "blk.7.attn_k_norm.weight", QZ_K_NORM, 7 },
	{ "model.layers.126.mlp.down_proj.weight", "blk.126.ffn_down.weight", QZ_DOWN, 126 },
	{ "model.layers.01.mlp.down_proj.weight", "blk.01.ffn_down.weight", -1, 0 },
	{ "model.layers.-1.mlp.down_proj.weight", "blk.-1.ffn_down.weight", -1, 0 },
	{ "model.layers.99999999999999999999.mlp.up_proj.weight",
	    "blk.99999999999999999999.ffn_up.weight", -1, 0 },
	{ "model.layers.1.mlp.experts.0.w1.weight", "blk.1.ffn_gate_exps.weight", -1, 0 },
	{ "model.layers.1.self_attn.q_proj.weightx", "blk.1.attn_q.weightx", -1, 0 },
};

static int
read_config(struct qz_config *c, const char *members, struct qz_err *e)
{
	char text[2000];

	snprintf(text, sizeof text, "{%s}", members);
	return qz_config_parse(c, text, strlen(text), e);
}

static void
test_names(void)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char hf[200] = "", gguf[200] = "";
		int a, b, role = names[i].role;
		int r = qz_role_of(names[i].hf, &a), g = qz_role_of_gguf(names[i].gguf, &b);
		int good_name = r == role && g == role;

		if (role >= 0) {
			qz_role_name((enum qz_role)role, names[i].layer, hf, sizeof hf);
			qz_role_gguf_name((enum qz_role)role, names[i].layer, gguf, sizeof gguf);
			good_name = good_name && a == names[i].layer && b == names[i].layer &&
				    !strcmp(hf, names[i].hf) && !strcmp(gguf, names[i].gguf);
		}
		ok(good_name, "%s is role %d", names[i].hf, role);
	}
}

static void
test_shapes(void)
{
	static const struct {
		const char *name;
		int n_dims;
		uint64_t dims[2];
		const char *message; /* NULL: it fits */
	} cases[] = {
		{ "model.embed_tokens.weight", 2, { 512, 64 }, NULL },
		{ "model.layers.4.self_attn.q_proj.weight", 2, { 256, 64 }, NULL },
		{ "model.layers.4.self_attn.k_proj.weight", 2, { 128, 64 }, NULL },
		{ "model.layers.4.self_attn.o_proj.weight", 2, { 64, 256 }, NULL },
		{ "model.layers.0.mlp.down_proj.weight", 2, { 64, 172 }, NULL },
		{ "model.norm.weight", 1, { 64 }, NULL },
		{ "model.norm.weight", 2, { 1, 64 },
		    "tensor model.norm.weight: its shape is 1 x 64, the config says 64" },
		{ "model.embed_tokens.weight", 2, { 500, 64 },
		    "tensor model.embed_tokens.weight: its shape is 500 x 64, the config says 512 "
		    "x 64" },
		{ "model.layers.5.mlp.down_proj.weight", 2, { 64, 172 },
		    "tensor model.layers.5.mlp.down_proj.weight: a llama model of this config has "
		    "no such "
		    "tensor" },
		{ "lm_head.weight", 2, { 512, 64 },
		    "tensor lm_head.weight: a llama model of this config has no such tensor" },
		{ "model.layers.0.self_attn.q_proj.bias", 1, { 256 },
		    "tensor model.layers.0.self_attn.q_proj.bias: a llama model of this config has "
		    "no such "
		    "tensor" },
	};
	struct qz_config c;
	struct qz_err e;

	read_config(&c,
	    LLAMA ",\"head_dim\":32,\"num_key_value_heads\":4,\"tie_word_embeddings\":true", &e);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct qz_tensor t = { .name = cases[i].name, .n_dims = cases[i].n_dims };
		int ret;

		e.msg[0] = '\0';
		memcpy(t.dims, cases[i].dims, sizeof cases[i].dims);
		ret = qz_config_check(&c, &t, &e);
		if (cases[i].message)
			is(e.msg, cases[i].message, cases[i].name);
		else
			ok(ret == 0, "%s fits: %s", cases[i].name, e.msg);
	}
}

/* Llama 3.1 8B: the two ends and the mix between them, worked out by hand in float64. */
static void
test_rope(void)
{
	struct qz_config c;
	struct qz_err e;
	double f[64], plain, wave, mix;

	read_config(&c,
	    LLAMA
	    ",\"head_dim\":128,\"rope_theta\":500000,\"rope_scaling\":{\"rope_type\":\"llama3\","
	    "\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
	    "\"original_max_position_embeddings\":8192}",
	    &e);
	qz_config_rope(&c, f);
	ok(f[0] == 1, "llama3: the first frequency is 1");
	plain = pow(500000, -126.0 / 128);
	ok(fabs(f[63] - plain / 8) < 1e-20, "llama3: the last is divided by the factor");
	plain = pow(500000, -2.0 * 30 / 128);
	wave = 2 * 3.14159265358979323846 / plain;
	mix = (8192 / wave - 1) / 3;
	ok(wave > 2048 && wave < 8192 && fabs(f[30] - plain * ((1 - mix) / 8 + mix)) < 1e-18,
	    "llama3: number 30 lies between (wavelength %.1f)", wave);
	read_config(&c, LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}", &e);
	qz_config_rope(&c, f);
	ok(f[0] == 0.25 && fabs(f[1] - 0.1 / 4) < 1e-17, "linear: all are divided");
}

int
main(void)
{
	struct qz_config c, again;
	struct qz_err e;
	char text[600], text2[600];

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct qz_buf b = { 0 };

		e.msg[0] = '\0';
		if (!ok(read_config(&c, good[i].members, &e) == 0, "reads %s: %s", good[i].members,
			e.msg))
			continue;
		show(&c, text, sizeof text);
		if (!ok(strstr(text, good[i].has) != NULL, "  gives %s", good[i].has))
			printf("#   got: %s\n", text);
		qz_config_put(&c, &b);
		if (!ok(qz_config_parse(&again, b.data, b.n, &e) == 0, "  reads what it writes"))
			printf("# %s\n%s\n", e.msg, b.data);
		show(&again, text2, sizeof text2);
		is(text2, text, "  and it is the same");
		qz_buf_free(&b);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		e.msg[0] = '\0';
		ok(read_config(&c, bad[i].members, &e) < 0 && e.code == QZ_EDATA, "refuses %s",
		    bad[i].members);
		is(e.msg, bad[i].message, "  with its message");
	}
	ok(qz_config_parse(&c, "[]", 2, &e) < 0 && !strcmp(e.msg, "is an array, not a JSON object"),
	    "refuses an array");
	ok(qz_family_by_gguf("qwen3") == qz_family_by_type("qwen3") && !qz_family_by_gguf("bert"),
	    "families by GGUF architecture");
	test_names();
	test_shapes();
	test_rope();
	return done();
}
