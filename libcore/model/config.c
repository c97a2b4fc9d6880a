#include "libcore/model/config.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MISSING = -2 }; /* a default that is none: the key must be there */

/* A family, and what transformers' configuration class assumes for a key that is not there. */
struct row {
	struct qz_family family;
	int64_t kv_heads, head_dim, context, window, bos, eos; /* 0: from heads and hidden size */
	bool attention_bias, mlp_bias;                         /* the config may ask for them */
	bool o_bias;     /* attention_bias means the output projection too */
	bool use_window; /* sliding_window counts only with use_sliding_window */
};

/* Defaults: configuration_{llama,mistral,qwen2,qwen3}.py of transformers 4.57 and 5.23. */
static const struct row rows[] = {
	{ { "llama", "LlamaForCausalLM", "llama", true, false, false, 10000 }, 0, 0, 2048, 0, 1, 2,
	    true, true, true, false },
	{ { "mistral", "MistralForCausalLM", "llama", true, false, false, 10000 }, 8, 0, 131072,
	    4096, 1, 2, false, false, false, false },
	{ { "qwen2", "Qwen2ForCausalLM", "qwen2", false, true, false, 10000 }, 32, 0, 32768, 4096,
	    -1, -1, false, false, false, true },
	{ { "qwen3", "Qwen3ForCausalLM", "qwen3", false, false, true, 10000 }, 32, 128, 32768, 4096,
	    -1, -1, true, false, true, true },
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* Keys that change what the model computes, with the one value that this code computes. */
static const struct {
	const char *key;
	double value;
} fixed[] = {
	{ "attention_dropout", 0 },
	{ "partial_rotary_factor", 1 },
	{ "num_local_experts", 0 },
	{ "num_experts", 0 },
	{ "n_routed_experts", 0 },
	{ "use_qk_norm", 0 },
	{ "qk_layernorm", 0 },
	{ "use_mrope", 0 },
	{ "attn_logit_softcapping", 0 },
	{ "final_logit_softcapping", 0 },
	{ "logit_scale", 1 },
	{ "embedding_multiplier", 1 },
	{ "residual_multiplier", 1 },
	{ "attention_multiplier", 1 },
};

/* Whole numbers, each within 1 and a bound that keeps all products of two of them far from 2^63. */
static const struct {
	const char *key;
	size_t at;
	int64_t most;
} sizes[] = {
	{ "hidden_size", offsetof(struct qz_config, hidden), 1 << 20 },
	{ "intermediate_size", offsetof(struct qz_config, ffn), 1 << 22 },
	{ "num_hidden_layers", offsetof(struct qz_config, layers), 1 << 14 },
	{ "num_attention_heads", offsetof(struct qz_config, heads), 1 << 12 },
	{ "vocab_size", offsetof(struct qz_config, vocab), 1 << 24 },
};

const struct qz_family *
qz_family_by_type(const char *model_type)
{
	for (int i = 0; i < N_ROWS; i++)
		if (!strcmp(rows[i].family.model_type, model_type))
			return &rows[i].family;
	return NULL;
}

/* The first of several rows: GGUF writes a Mistral model as a llama. */
const struct qz_family *
qz_family_by_gguf(const char *architecture)
{
	for (int i = 0; i < N_ROWS; i++)
		if (!strcmp(rows[i].family.gguf, architecture))
			return &rows[i].family;
	return NULL;
}

/* The member, or NULL when it is missing or null. */
static const struct qz_json *
get(const struct qz_json *object, const char *key)
{
	const struct qz_json *j = qz_json_get(object, key);

	return qz_json_is(j, QZ_JSON_NULL) ? NULL : j;
}

static int
get_int(const struct qz_json *object, const char *key, int64_t lo, int64_t hi, int64_t otherwise,
    int64_t *v, struct qz_err *e)
{
	const struct qz_json *j = get(object, key);

	if (!j && otherwise != MISSING) {
		*v = otherwise;
		return 0;
	}
	return qz_json_int(j, lo, hi, v, e) < 0 ? qz_at(e, "%s", key) : 0;
}

/* A positive number; a missing one is `otherwise`, which is an error when it is 0. */
static int
get_real(
    const struct qz_json *object, const char *key, double otherwise, double *v, struct qz_err *e)
{
	const struct qz_json *j = get(object, key);

	if (!j && otherwise > 0) {
		*v = otherwise;
		return 0;
	}
	if (!qz_json_is(j, QZ_JSON_NUMBER))
		return qz_fail(e, QZ_EDATA, "%s: is %s, not a number", key,
		    j ? qz_json_kind_name(qz_json_kind(j)) : "missing");
	*v = qz_json_number(j, 0);
	if (!(*v > 0) || *v > 1e30)
		return qz_fail(e, QZ_EDATA, "%s: is %g, a number above 0 is expected", key, *v);
	return 0;
}

static int
get_bool(const struct qz_json *object, const char *key, bool otherwise, bool *v, struct qz_err *e)
{
	const struct qz_json *j = get(object, key);

	if (j && !qz_json_is(j, QZ_JSON_BOOL))
		return qz_fail(e, QZ_EDATA, "%s: is %s, not true or false", key,
		    qz_json_kind_name(qz_json_kind(j)));
	*v = qz_json_bool(j, otherwise);
	return 0;
}

/* A token id, the first of a list, or none. */
static int
get_id(
    const struct qz_json *object, const char *key, int64_t otherwise, int64_t *v, struct qz_err *e)
{
	const struct qz_json *j = qz_json_get(object, key);

	*v = j ? -1 : otherwise;
	if (qz_json_is(j, QZ_JSON_ARRAY))
		j = qz_json_first(j);
	if (!j || qz_json_is(j, QZ_JSON_NULL))
		return 0;
	return qz_json_int(j, -1, INT32_MAX, v, e) < 0 ? qz_at(e, "%s", key) : 0;
}

static int
find_family(const struct qz_json *j, struct qz_config *c, struct qz_err *e)
{
	const char *type = qz_json_string(get(j, "model_type"), NULL), *arch;

	if (!type)
		return qz_fail(e, QZ_EDATA, "model_type: is missing");
	c->family = qz_family_by_type(type);
	if (!c->family) {
		qz_fail(e, QZ_EDATA, "model_type: '%.60s' is not known; known are", type);
		for (int i = 0; i < N_ROWS; i++)
			snprintf(e->msg + strlen(e->msg), sizeof e->msg - strlen(e->msg), "%s %s",
			    i ? "," : "", rows[i].family.model_type);
		return -1;
	}
	arch = qz_json_string(qz_json_first(get(j, "architectures")), NULL);
	if (arch && strcasecmp(arch, c->family->architecture))
		return qz_fail(e, QZ_EDATA, "architectures: '%.60s' is not supported, %s is", arch,
		    c->family->architecture);
	return 0;
}

static int
check_fixed(const struct qz_json *j, struct qz_err *e)
{
	const char *act = qz_json_string(get(j, "hidden_act"), "silu");

	if (strcmp(act, "silu") && strcmp(act, "swish"))
		return qz_fail(e, QZ_EDATA, "hidden_act: '%.60s' is not supported, silu is", act);
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
		const struct qz_json *v = get(j, fixed[i].key);
		double is = qz_json_is(v, QZ_JSON_BOOL) ? qz_json_bool(v, false)
							: qz_json_number(v, -1);

		if (v && is != fixed[i].value)
			return qz_fail(
			    e, QZ_EDATA, "%s: only %g is supported", fixed[i].key, fixed[i].value);
	}
	return 0;
}

/* Only bitsandbytes' 4-bit layout can be read; the tensors say which of them are stored so. */
static int
check_quantization(const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *q = get(j, "quantization_config");
	const char *method = qz_json_string(get(q, "quant_method"), NULL);
	bool four = qz_json_bool(get(q, "load_in_4bit"), false);

	if (!q)
		return 0;
	if (!method)
		method = four ? "bitsandbytes" : "(none)";
	if (strcmp(method, "bitsandbytes"))
		return qz_fail(e, QZ_EDATA,
		    "quantization_config: quant_method '%.60s' is not supported, bitsandbytes is",
		    method);
	if (!four)
		return qz_fail(e, QZ_EDATA,
		    "quantization_config: bitsandbytes without load_in_4bit is not supported");
	return 0;
}

static int
parse_rope_kind(struct qz_config *c, const struct qz_json *rope, struct qz_err *e)
{
	const char *a = qz_json_string(get(rope, "rope_type"), NULL);
	const char *b = qz_json_string(get(rope, "type"), NULL);
	const char *kind = a ? a : b ? b : "default";

	if (a && b && strcmp(a, b))
		return qz_fail(
		    e, QZ_EDATA, "rope_type '%.60s' and type '%.60s' are not the same", a, b);
	if (!strcmp(kind, "default"))
		return 0;
	if (!strcmp(kind, "linear")) {
		c->rope_kind = QZ_ROPE_LINEAR;
		return get_real(rope, "factor", 0, &c->rope_factor, e);
	}
	if (strcmp(kind, "llama3"))
		return qz_fail(e, QZ_EDATA,
		    "rope_type '%.60s' is not supported; default, linear and llama3 are", kind);
	c->rope_kind = QZ_ROPE_LLAMA3;
	if (get_real(rope, "factor", 0, &c->rope_factor, e) < 0 ||
	    get_real(rope, "low_freq_factor", 0, &c->rope_low, e) < 0 ||
	    get_real(rope, "high_freq_factor", 0, &c->rope_high, e) < 0 ||
	    get_real(rope, "original_max_position_embeddings", 0, &c->rope_original, e) < 0)
		return -1;
	if (c->rope_high <= c->rope_low)
		return qz_fail(e, QZ_EDATA, "high_freq_factor %g is not above low_freq_factor %g",
		    c->rope_high, c->rope_low);
	return 0;
}

/* transformers 4: rope_theta and rope_scaling; 5: rope_parameters that holds both. */
static int
parse_rope(struct qz_config *c, const struct qz_json *j, struct qz_err *e)
{
	static const char *const known[] = { "type", "rope_type", "rope_theta", "factor",
		"low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
		"partial_rotary_factor" };
	const char *key = get(j, "rope_parameters") ? "rope_parameters" : "rope_scaling";
	const struct qz_json *rope = get(j, key);

	if (get_real(j, "rope_theta", c->family->rope_theta, &c->rope_theta, e) < 0)
		return -1;
	if (!rope)
		return 0;
	if (!qz_json_is(rope, QZ_JSON_OBJECT))
		return qz_fail(e, QZ_EDATA, "%s: is %s, not an object", key,
		    qz_json_kind_name(qz_json_kind(rope)));
	if (parse_rope_kind(c, rope, e) < 0 || check_fixed(rope, e) < 0 ||
	    get_real(rope, "rope_theta", c->rope_theta, &c->rope_theta, e) < 0)
		return qz_at(e, "%s", key);
	for (const struct qz_json *m = qz_json_first(rope); m; m = qz_json_next(m)) {
		size_t i = 0;

		while (i < sizeof known / sizeof *known && strcmp(known[i], qz_json_key(m)))
			i++;
		if (i == sizeof known / sizeof *known)
			return qz_fail(
			    e, QZ_EDATA, "%s: the key %.60s is not known", key, qz_json_key(m));
	}
	return 0;
}

/* Layers from max_window_layers on have the window, or layer_types says it: all of them or none. */
static int
parse_window(struct qz_config *c, const struct row *row, const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *types = get(j, "layer_types");
	const char *first = qz_json_string(qz_json_first(types), "");
	int64_t from = 0;
	bool use = true;

	if (row->use_window && get_bool(j, "use_sliding_window", false, &use, e) < 0)
		return -1;
	if (row->window && !qz_json_is(qz_json_get(j, "sliding_window"), QZ_JSON_NULL) &&
	    get_int(j, "sliding_window", 1, 1 << 30, row->window, &c->window, e) < 0)
		return -1;
	if (!use)
		c->window = 0;
	if (row->use_window && c->window &&
	    get_int(j, "max_window_layers", 0, 1 << 20, 28, &from, e) < 0)
		return -1;
	if (!types && from >= c->layers)
		c->window = 0;
	else if (!types && from > 0)
		return qz_fail(e, QZ_EDATA,
		    "max_window_layers: is %lld of %lld layers; a sliding window in some layers "
		    "only "
		    "is not supported",
		    (long long)from, (long long)c->layers);
	for (const struct qz_json *t = qz_json_first(types); t; t = qz_json_next(t))
		if (strcmp(qz_json_string(t, "?"), first))
			return qz_fail(e, QZ_EDATA,
			    "layer_types: different layers (%.60s, %.60s) are not supported", first,
			    qz_json_string(t, "?"));
	if (types && !strcmp(first, "full_attention"))
		c->window = 0;
	else if (types && (strcmp(first, "sliding_attention") || !c->window))
		return qz_fail(e, QZ_EDATA, "layer_types: '%.60s' is not supported", first);
	return 0;
}

static int
parse_sizes(struct qz_config *c, const struct row *row, const struct qz_json *j, struct qz_err *e)
{
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		int64_t *v = (int64_t *)((char *)c + sizes[i].at);

		if (get_int(j, sizes[i].key, 1, sizes[i].most, MISSING, v, e) < 0)
			return -1;
	}
	if (get_int(j, "max_position_embeddings", 1, 1 << 30, row->context, &c->context, e) < 0)
		return -1;
	if (get_int(j, "num_key_value_heads", 1, c->heads,
		row->kv_heads && !qz_json_get(j, "num_key_value_heads") ? row->kv_heads : c->heads,
		&c->kv_heads, e) < 0)
		return -1;
	if (c->heads % c->kv_heads)
		return qz_fail(e, QZ_EDATA,
		    "num_key_value_heads: %lld does not divide %lld attention heads",
		    (long long)c->kv_heads, (long long)c->heads);
	if (get_int(j, "head_dim", 2, 1 << 12, row->head_dim ? row->head_dim : c->hidden / c->heads,
		&c->head_dim, e) < 0)
		return -1;
	if (!get(j, "head_dim") && !row->head_dim && c->hidden % c->heads)
		return qz_fail(e, QZ_EDATA,
		    "hidden_size: %lld is no multiple of %lld heads, and there is no head_dim",
		    (long long)c->hidden, (long long)c->heads);
	if (c->head_dim % 2 || c->head_dim < 2)
		return qz_fail(e, QZ_EDATA, "head_dim: is %lld, an even number is expected",
		    (long long)c->head_dim);
	return 0;
}

static int
parse_dtype(struct qz_config *c, const struct qz_json *j, struct qz_err *e)
{
	static const struct {
		const char *torch;
		enum qz_dtype dtype;
	} names[] = { { "float32", QZ_F32 }, { "float16", QZ_F16 }, { "bfloat16", QZ_BF16 },
		{ "float64", QZ_F64 }, { "auto", 0 } };
	const char *key = get(j, "dtype") ? "dtype" : "torch_dtype";
	const char *name = qz_json_string(get(j, key), NULL);

	if (!name)
		return 0;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(names[i].torch, name))
			continue;
		c->dtype = names[i].dtype;
		return 0;
	}
	return qz_fail(e, QZ_EDATA, "%s: '%.60s' is not known", key, name);
}

static int
parse_biases(struct qz_config *c, const struct row *row, const struct qz_json *j, struct qz_err *e)
{
	bool attention, mlp;

	if (get_bool(j, "attention_bias", false, &attention, e) < 0 ||
	    get_bool(j, "mlp_bias", false, &mlp, e) < 0)
		return -1;
	if ((attention && !row->attention_bias && !c->family->qkv_bias) || (mlp && !row->mlp_bias))
		return qz_fail(e, QZ_EDATA, "%s: a %s model has none",
		    mlp ? "mlp_bias" : "attention_bias", c->family->model_type);
	c->qkv_bias = c->family->qkv_bias || attention;
	c->o_bias = attention && row->o_bias;
	c->mlp_bias = mlp;
	return 0;
}

static int
parse(struct qz_config *c, const struct qz_json *j, struct qz_err *e)
{
	const struct row *row;
	double eps;

	if (!qz_json_is(j, QZ_JSON_OBJECT))
		return qz_fail(
		    e, QZ_EDATA, "is %s, not a JSON object", qz_json_kind_name(qz_json_kind(j)));
	if (find_family(j, c, e) < 0)
		return -1;
	row = (const struct row *)c->family; /* its first member */
	if (check_fixed(j, e) < 0 || check_quantization(j, e) < 0 ||
	    parse_sizes(c, row, j, e) < 0 || parse_rope(c, j, e) < 0 ||
	    parse_window(c, row, j, e) < 0 || parse_biases(c, row, j, e) < 0 ||
	    parse_dtype(c, j, e) < 0 || get_real(j, "rms_norm_eps", 1e-6, &eps, e) < 0 ||
	    get_bool(j, "tie_word_embeddings", false, &c->tied, e) < 0 ||
	    get_id(j, "bos_token_id", row->bos, &c->bos, e) < 0 ||
	    get_id(j, "eos_token_id", row->eos, &c->eos, e) < 0 ||
	    get_id(j, "pad_token_id", -1, &c->pad, e) < 0)
		return -1;
	c->norm_eps = (float)eps;
	return 0;
}

int
qz_config_parse(struct qz_config *c, const char *text, size_t n, struct qz_err *e)
{
	struct qz_json *j = qz_json_parse(text, n, e);
	int ret;

	memset(c, 0, sizeof *c);
	if (!j)
		return -1;
	ret = parse(c, j, e);
	qz_json_free(j);
	return ret;
}
