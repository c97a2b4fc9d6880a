#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/model/config.h"

#define LAYER "model.layers.%d."
#define BLK "blk.%d."
static const struct qz_role_info roles[QZ_ROLE_END] = {
	[QZ_EMBED] = { "model.embed_tokens.weight", "token_embd.weight", false, false },
	[QZ_HEAD] = { "lm_head.weight", "output.weight", false, false },
	[QZ_NORM] = { "model.norm.weight", "output_norm.weight", false, false },
	[QZ_ATTN_NORM] = { LAYER "input_layernorm.weight", BLK "attn_norm.weight", false, true },
	[QZ_Q] = { LAYER "self_attn.q_proj.weight", BLK "attn_q.weight", true, true },
	[QZ_K] = { LAYER "self_attn.k_proj.weight", BLK "attn_k.weight", true, true },
	[QZ_V] = { LAYER "self_attn.v_proj.weight", BLK "attn_v.weight", true, true },
	[QZ_O] = { LAYER "self_attn.o_proj.weight", BLK "attn_output.weight", true, true },
	[QZ_Q_BIAS] = { LAYER "self_attn.q_proj.bias", BLK "attn_q.bias", false, true },
	[QZ_K_BIAS] = { LAYER "self_attn.k_proj.bias", BLK "attn_k.bias", false, true },
	[QZ_V_BIAS] = { LAYER "self_attn.v_proj.bias", BLK "attn_v.bias", false, true },
	[QZ_O_BIAS] = { LAYER "self_attn.o_proj.bias", BLK "attn_output.bias", false, true },
	[QZ_Q_NORM] = { LAYER "self_attn.q_norm.weight", BLK "attn_q_norm.weight", false, true },
	[QZ_K_NORM] = { LAYER "self_attn.k_norm.weight", BLK "attn_k_norm.weight", false, true },
	[QZ_FFN_NORM] = { LAYER "post_attention_layernorm.weight", BLK "ffn_norm.weight", false,
	    true },
	[QZ_GATE] = { LAYER "mlp.gate_proj.weight", BLK "ffn_gate.weight", true, true },
	[QZ_UP] = { LAYER "mlp.up_proj.weight", BLK "ffn_up.weight", true, true },
	[QZ_DOWN] = { LAYER "mlp.down_proj.weight", BLK "ffn_down.weight", true, true },
	[QZ_GATE_BIAS] = { LAYER "mlp.gate_proj.bias", BLK "ffn_gate.bias", false, true },
	[QZ_UP_BIAS] = { LAYER "mlp.up_proj.bias", BLK "ffn_up.bias", false, true },
	[QZ_DOWN_BIAS] = { LAYER "mlp.down_proj.bias", BLK "ffn_down.bias", false, true },
};

const struct qz_role_info *
qz_role(enum qz_role r)
{
	return &roles[r];
}

/* Does name have the pattern's form?  A layer is a decimal number without leading zeros. */
static bool
match(const char *pattern, const char *name, int *layer)
{
	const char *hole = strstr(pattern, "%d");
	size_t before = hole ? (size_t)(hole - pattern) : 0;
	long v;
	char *end;

	*layer = 0;
	if (!hole)
		return !strcmp(pattern, name);
	if (strncmp(name, pattern, before))
		return false;
	name += before;
	if (*name < '0' || *name > '9' || (*name == '0' && name[1] >= '0' && name[1] <= '9'))
		return false;
	v = strtol(name, &end, 10);
	if (end - name > 6)
		return false;
	*layer = (int)v;
	return !strcmp(hole + 2, end);
}

int
qz_role_of(const char *hf_name, int *layer)
{
	for (int r = 0; r < QZ_ROLE_END; r++)
		if (match(roles[r].hf, hf_name, layer))
			return r;
	return -1;
}

int
qz_role_of_gguf(const char *gguf_name, int *layer)
{
	for (int r = 0; r < QZ_ROLE_END; r++)
		if (match(roles[r].gguf, gguf_name, layer))
			return r;
	return -1;
}

static void
fill(const char *pattern, int layer, char *out, size_t n)
{
	const char *hole = strstr(pattern, "%d");

	if (hole)
		snprintf(out, n, "%.*s%d%s", (int)(hole - pattern), pattern, layer, hole + 2);
	else
		snprintf(out, n, "%s", pattern);
}

void
qz_role_name(enum qz_role r, int layer, char *out, size_t n)
{
	fill(roles[r].hf, layer, out, n);
}

void
qz_role_gguf_name(enum qz_role r, int layer, char *out, size_t n)
{
	fill(roles[r].gguf, layer, out, n);
}

bool
qz_config_has(const struct qz_config *c, enum qz_role r)
{
	switch (r) {
	case QZ_HEAD:
		return !c->tied;
	case QZ_Q_BIAS:
	case QZ_K_BIAS:
	case QZ_V_BIAS:
		return c->qkv_bias;
	case QZ_O_BIAS:
		return c->o_bias;
	case QZ_Q_NORM:
	case QZ_K_NORM:
		return c->family->qk_norm;
	case QZ_GATE_BIAS:
	case QZ_UP_BIAS:
	case QZ_DOWN_BIAS:
		return c->mlp_bias;
	default:
		return r < QZ_ROLE_END;
	}
}

void
qz_config_shape(const struct qz_config *c, enum qz_role r, uint64_t dims[2], int *n_dims)
{
	const int64_t q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
	const int64_t shapes[QZ_ROLE_END][2] = {
		[QZ_EMBED] = { c->vocab, c->hidden },
		[QZ_HEAD] = { c->vocab, c->hidden },
		[QZ_NORM] = { c->hidden },
		[QZ_ATTN_NORM] = { c->hidden },
		[QZ_Q] = { q, c->hidden },
		[QZ_K] = { kv, c->hidden },
		[QZ_V] = { kv, c->hidden },
		[QZ_O] = { c->hidden, q },
		[QZ_Q_BIAS] = { q },
		[QZ_K_BIAS] = { kv },
		[QZ_V_BIAS] = { kv },
		[QZ_O_BIAS] = { c->hidden },
		[QZ_Q_NORM] = { c->head_dim },
		[QZ_K_NORM] = { c->head_dim },
		[QZ_FFN_NORM] = { c->hidden },
		[QZ_GATE] = { c->ffn, c->hidden },
		[QZ_UP] = { c->ffn, c->hidden },
		[QZ_DOWN] = { c->hidden, c->ffn },
		[QZ_GATE_BIAS] = { c->ffn },
		[QZ_UP_BIAS] = { c->ffn },
		[QZ_DOWN_BIAS] = { c->hidden },
	};

	dims[0] = (uint64_t)shapes[r][0];
	dims[1] = (uint64_t)shapes[r][1];
	*n_dims = shapes[r][1] ? 2 : 1;
}

static void
shape_text(const uint64_t *dims, int n, char *out, size_t room)
{
	size_t at = 0;

	*out = '\0';
	for (int i = 0; i < n && at < room; i++)
		at += (size_t)snprintf(
		    out + at, room - at, "%s%llu", i ? " x " : "", (unsigned long long)dims[i]);
}

int
qz_config_check(const struct qz_config *c, const struct qz_tensor *t, struct qz_err *e)
{
	char found[100], expected[100];
	int layer, n_dims, r = qz_role_of(t->name, &layer);
	uint64_t dims[2];

	if (r < 0 || !qz_config_has(c, (enum qz_role)r) ||
	    (roles[r].in_layer && layer >= c->layers))
		return qz_fail(e, QZ_EDATA,
		    "tensor %.200s: a %s model of this config has no such tensor", t->name,
		    c->family->model_type);
	qz_config_shape(c, (enum qz_role)r, dims, &n_dims);
	if (n_dims == t->n_dims && !memcmp(dims, t->dims, (size_t)n_dims * sizeof *dims))
		return 0;
	shape_text(t->dims, t->n_dims, found, sizeof found);
	shape_text(dims, n_dims, expected, sizeof expected);
	return qz_fail(e, QZ_EDATA, "tensor %.200s: its shape is %s, the config says %s", t->name,
	    found, expected);
}

/* freq_i = theta^(-2i/head_dim).  linear: over factor.  llama3: by the wavelength 2 pi / freq against
 * original / high and original / low; between the two a straight mix (transformers,
 * modeling_rope_utils.py, _compute_llama3_parameters). */
void
qz_config_rope(const struct qz_config *c, double *freq)
{
	const double pi = 3.14159265358979323846;

	for (int64_t i = 0; i < c->head_dim / 2; i++) {
		double f = pow(c->rope_theta, -2.0 * (double)i / (double)c->head_dim);
		double wave = 2 * pi / f, mix;

		if (c->rope_kind == QZ_ROPE_LINEAR) {
			f /= c->rope_factor;
		} else if (c->rope_kind == QZ_ROPE_LLAMA3 &&
			   wave > c->rope_original / c->rope_low) {
			f /= c->rope_factor;
		} else if (c->rope_kind == QZ_ROPE_LLAMA3 &&
			   wave >= c->rope_original / c->rope_high) {
			mix = (c->rope_original / wave - c->rope_low) /
			      (c->rope_high - c->rope_low);
			f = (1 - mix) * f / c->rope_factor + mix * f;
		}
		freq[i] = f;
	}
}
