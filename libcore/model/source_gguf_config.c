#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "libcore/model/source_gguf.h"

/* Keys "ARCH.NAME" that are read here; any other key of the architecture is refused by name. */
static const struct {
	const char *name;
	size_t at; /* in struct qz_config, of an int64_t; 0: read elsewhere */
	bool needed;
} keys[] = {
	{ "block_count", offsetof(struct qz_config, layers), true },
	{ "context_length", offsetof(struct qz_config, context), true },
	{ "embedding_length", offsetof(struct qz_config, hidden), true },
	{ "feed_forward_length", offsetof(struct qz_config, ffn), true },
	{ "attention.head_count", offsetof(struct qz_config, heads), true },
	{ "attention.head_count_kv", offsetof(struct qz_config, kv_heads), false },
	{ "attention.key_length", offsetof(struct qz_config, head_dim), false },
	{ "attention.sliding_window", offsetof(struct qz_config, window), false },
	{ "vocab_size", offsetof(struct qz_config, vocab), false },
	{ "attention.value_length", 0, false },
	{ "attention.layer_norm_rms_epsilon", 0, false },
	{ "rope.dimension_count", 0, false },
	{ "rope.freq_base", 0, false },
	{ "rope.scaling.type", 0, false },
	{ "rope.scaling.factor", 0, false },
	{ "rope.scale_linear", 0, false },
	{ "rope.scaling.original_context_length", 0, false },
	{ "rope.scaling.finetuned", 0, false },
	{ "expert_count", 0, false },
	{ "expert_used_count", 0, false },
	{ "tensor_data_layout", 0, false },
	{ "attention.causal", 0, false },
};

static const char *
full(const struct qz_config *c, const char *name, char out[128])
{
	snprintf(out, 128, "%s.%s", c->family->gguf, name);
	return out;
}

static int
check_keys(const struct qz_config *c, const struct qz_gguf *g, struct qz_err *e)
{
	size_t n = strlen(c->family->gguf);

	for (size_t i = 0; i < g->n_kv; i++) {
		const char *key = g->kv[i].key;
		size_t k = 0;

		if (strncmp(key, c->family->gguf, n) || key[n] != '.')
			continue;
		while (k < sizeof keys / sizeof *keys && strcmp(keys[k].name, key + n + 1))
			k++;
		if (k == sizeof keys / sizeof *keys)
			return qz_fail(e, QZ_EDATA, "GGUF: the key %.200s is not supported", key);
	}
	return 0;
}

static int
read_sizes(struct qz_config *c, const struct qz_gguf *g, struct qz_err *e)
{
	char key[128];

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		int got;

		if (!keys[i].at)
			continue;
		got = qz_gguf_int(g, full(c, keys[i].name, key), 0, 1 << 30,
		    (int64_t *)(void *)((char *)c + keys[i].at), e);
		if (got < 0)
			return -1;
		if (got == 0 && keys[i].needed)
			return qz_fail(e, QZ_EDATA, "GGUF: the key %s is missing", key);
	}
	if (!c->kv_heads)
		c->kv_heads = c->heads;
	if (!c->head_dim && c->heads && c->hidden % c->heads == 0)
		c->head_dim = c->hidden / c->heads;
	return 0;
}

/* Keys with the one value that can be computed here. */
static int
check_values(const struct qz_config *c, const struct qz_gguf *g, struct qz_err *e)
{
	const struct {
		const char *name;
		int64_t value;
	} only[] = {
		{ "attention.value_length", c->head_dim },
		{ "rope.dimension_count", c->head_dim },
		{ "expert_count", 0 },
		{ "expert_used_count", 0 },
	};
	char key[128];
	bool causal = true;

	for (size_t i = 0; i < sizeof only / sizeof *only; i++) {
		int64_t v = only[i].value;

		if (qz_gguf_int(g, full(c, only[i].name, key), 0, 1 << 30, &v, e) < 0)
			return -1;
		if (v != only[i].value)
			return qz_fail(e, QZ_EDATA, "GGUF: %s is %lld, only %lld is supported", key,
			    (long long)v, (long long)only[i].value);
	}
	if (qz_gguf_bool(g, full(c, "attention.causal", key), &causal, e) < 0)
		return -1;
	return causal ? 0 : qz_fail(e, QZ_EDATA, "GGUF: %s is false, which is not supported", key);
}

static int
read_scaling(struct qz_config *c, const struct qz_gguf *g, struct qz_err *e)
{
	const char *type = "none";
	double factor = 0;
	char key[128];

	if (qz_gguf_real(g, full(c, "rope.scale_linear", key), &factor, e) < 0)
		return -1;
	if (factor > 0 && factor != 1)
		type = "linear";
	if (qz_gguf_real(g, full(c, "rope.scaling.factor", key), &factor, e) < 0 ||
	    qz_gguf_string(g, full(c, "rope.scaling.type", key), &type, e) < 0)
		return -1;
	if (!strcmp(type, "none"))
		return 0;
	if (strcmp(type, "linear"))
		return qz_fail(e, QZ_EDATA,
		    "GGUF: %s is %.60s, which is not supported; none and linear are", key, type);
	if (!(factor > 0))
		return qz_fail(e, QZ_EDATA, "GGUF: rope.scaling.factor is %g", factor);
	c->rope_kind = QZ_ROPE_LINEAR;
	c->rope_factor = factor;
	return 0;
}

/* rope_freqs holds what each frequency is divided by.  Only llama3's scaling makes such a tensor: its
 * factor is the largest value; low 1, high 4 and 8192 are those of every Llama 3 model.  The factors
 * are worked out from that and must be the tensor's. */
static int
read_freqs(struct qz_config *c, const float *freqs, uint64_t n, struct qz_err *e)
{
	double with[2048], without[2048];
	struct qz_config plain = *c;
	float most = 0;

	if (n != (uint64_t)c->head_dim / 2 || n > 2048)
		return qz_fail(e, QZ_EDATA,
		    "GGUF: rope_freqs.weight has %llu values, %lld expected", (unsigned long long)n,
		    (long long)c->head_dim / 2);
	for (uint64_t i = 0; i < n; i++)
		most = freqs[i] > most ? freqs[i] : most;
	if (c->rope_kind != QZ_ROPE_NONE)
		return qz_fail(
		    e, QZ_EDATA, "GGUF: rope_freqs.weight together with rope.scaling.type");
	c->rope_kind = QZ_ROPE_LLAMA3;
	c->rope_factor = (double)most;
	c->rope_low = 1;
	c->rope_high = 4;
	c->rope_original = 8192;
	qz_config_rope(c, with);
	qz_config_rope(&plain, without);
	for (uint64_t i = 0; i < n; i++)
		if (!(fabs(without[i] / with[i] - (double)freqs[i]) <= 1e-4 * (double)freqs[i]))
			return qz_fail(e, QZ_EDATA,
			    "GGUF: rope_freqs.weight is not the llama3 scaling with low factor 1, "
			    "high "
			    "factor 4 and original context 8192: value %llu is %g, not %g",
			    (unsigned long long)i, (double)freqs[i], without[i] / with[i]);
	return 0;
}

/* What only the tensors say. */
static void
read_tensors(struct qz_config *c, const struct gguf_parts *g)
{
	const struct gguf_part *at;
	const struct qz_gguf_tensor *embed = gguf_parts_tensor(g, "token_embd.weight", &at);
	const struct qz_gguf_tensor *q = gguf_parts_tensor(g, "blk.0.attn_q.weight", &at);

	if (embed && embed->n_dims == 2)
		c->vocab = (int64_t)embed->dims[0];
	c->tied = !gguf_parts_tensor(g, "output.weight", &at);
	c->qkv_bias = gguf_parts_tensor(g, "blk.0.attn_q.bias", &at) != NULL;
	c->o_bias = gguf_parts_tensor(g, "blk.0.attn_output.bias", &at) != NULL;
	c->mlp_bias = gguf_parts_tensor(g, "blk.0.ffn_gate.bias", &at) != NULL;
	c->dtype = q && qz_dtype((unsigned)q->dtype)->plain ? q->dtype : QZ_F16;
}

static int
read_ids(struct qz_config *c, const struct qz_gguf *g, struct qz_err *e)
{
	c->bos = c->eos = c->pad = -1;
	if (qz_gguf_int(g, "tokenizer.ggml.bos_token_id", 0, INT32_MAX, &c->bos, e) < 0 ||
	    qz_gguf_int(g, "tokenizer.ggml.eos_token_id", 0, INT32_MAX, &c->eos, e) < 0 ||
	    qz_gguf_int(g, "tokenizer.ggml.padding_token_id", 0, INT32_MAX, &c->pad, e) < 0)
		return -1;
	return 0;
}

static int
find_family(struct qz_config *c, const struct qz_gguf *g, struct qz_err *e)
{
	const char *arch = NULL, *type = "model";

	if (qz_gguf_string(g, "general.architecture", &arch, e) < 0 ||
	    qz_gguf_string(g, "general.type", &type, e) < 0)
		return -1;
	if (!arch)
		return qz_fail(e, QZ_EDATA, "GGUF: the key general.architecture is missing");
	if (strcmp(type, "model"))
		return qz_fail(
		    e, QZ_EDATA, "GGUF: general.type is %.60s, a model is expected", type);
	c->family = qz_family_by_gguf(arch);
	if (!c->family)
		return qz_fail(e, QZ_EDATA,
		    "GGUF: general.architecture '%.60s' is not known; llama, qwen2 and qwen3 are",
		    arch);
	return 0;
}

int
source_gguf_config(struct qz_config *c, const struct gguf_parts *files, const float *rope_freqs,
    uint64_t n_freqs, struct qz_err *e)
{
	const struct qz_gguf *g = &files->parts[0].g;
	double eps = 1e-5;
	char key[128];

	memset(c, 0, sizeof *c);
	if (find_family(c, g, e) < 0 || check_keys(c, g, e) < 0 || read_sizes(c, g, e) < 0 ||
	    check_values(c, g, e) < 0 || read_ids(c, g, e) < 0)
		return -1;
	c->rope_theta = c->family->rope_theta;
	if (qz_gguf_real(g, full(c, "rope.freq_base", key), &c->rope_theta, e) < 0 ||
	    qz_gguf_real(g, full(c, "attention.layer_norm_rms_epsilon", key), &eps, e) < 0 ||
	    read_scaling(c, g, e) < 0)
		return -1;
	c->norm_eps = (float)eps;
	if (c->head_dim < 2 || c->head_dim % 2 || c->head_dim > 4096)
		return qz_fail(e, QZ_EDATA, "GGUF: heads of %lld elements", (long long)c->head_dim);
	read_tensors(c, files);
	return rope_freqs ? read_freqs(c, rope_freqs, n_freqs, e) : 0;
}
