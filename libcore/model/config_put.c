#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/model/config.h"

/* Members are written in the order of their names, as transformers does. */
static void
put_key(struct qz_buf *b, const char *key)
{
	qz_buf_fmt(b, "%s  \"%s\": ", b->n > 2 ? ",\n" : "", key);
}

static void
put_number(struct qz_buf *b, const char *key, double v)
{
	put_key(b, key);
	qz_json_put_number(b, v);
}

static void
put_string(struct qz_buf *b, const char *key, const char *v)
{
	put_key(b, key);
	qz_json_put_string(b, v, strlen(v));
}

static void
put_bool(struct qz_buf *b, const char *key, bool v)
{
	put_key(b, key);
	qz_buf_str(b, v ? "true" : "false");
}

static void
put_id(struct qz_buf *b, const char *key, int64_t id)
{
	put_key(b, key);
	if (id < 0)
		qz_buf_str(b, "null");
	else
		qz_json_put_number(b, (double)id);
}

/* A float as the shortest decimal that gives the same float: 1e-05, not 9.9999997473787516e-06. */
static void
put_float(struct qz_buf *b, const char *key, float v)
{
	char s[40];

	for (int digits = 1; digits <= 9; digits++) {
		snprintf(s, sizeof s, "%.*g", digits, (double)v);
		if ((float)strtod(s, NULL) == v)
			break;
	}
	put_key(b, key);
	qz_buf_str(b, s);
}

/* With a point in it: transformers 4 complains about a factor that is an integer. */
static void
put_real(struct qz_buf *b, double v)
{
	size_t at = b->n;

	qz_json_put_number(b, v);
	if (!b->failed && !strpbrk(b->data + at, ".e"))
		qz_buf_str(b, ".0");
}

static void
put_rope(const struct qz_config *c, struct qz_buf *b)
{
	put_key(b, "rope_scaling");
	if (c->rope_kind == QZ_ROPE_NONE) {
		qz_buf_str(b, "null");
		return;
	}
	qz_buf_str(b, "{\n    \"factor\": ");
	put_real(b, c->rope_factor);
	if (c->rope_kind == QZ_ROPE_LLAMA3) {
		qz_buf_str(b, ",\n    \"high_freq_factor\": ");
		put_real(b, c->rope_high);
		qz_buf_str(b, ",\n    \"low_freq_factor\": ");
		put_real(b, c->rope_low);
		qz_buf_str(b, ",\n    \"original_max_position_embeddings\": ");
		qz_json_put_number(b, c->rope_original);
	}
	qz_buf_fmt(b, ",\n    \"rope_type\": \"%s\"\n  }",
	    c->rope_kind == QZ_ROPE_LLAMA3 ? "llama3" : "linear");
}

static void
put_window(const struct qz_config *c, struct qz_buf *b)
{
	put_key(b, "sliding_window");
	if (c->window)
		qz_buf_fmt(b, "%lld", (long long)c->window);
	else
		qz_buf_str(b, "null");
}

/* rope_theta, rope_scaling and torch_dtype are transformers 4's names; 5 reads them too. */
void
qz_config_put(const struct qz_config *c, struct qz_buf *out)
{
	static const char *const torch[] = { [QZ_F32] = "float32",
		[QZ_F16] = "float16",
		[QZ_BF16] = "bfloat16",
		[QZ_F64] = "float64" };
	const char *type = c->family->model_type;
	bool qwen = !strncmp(type, "qwen", 4);
	struct qz_buf b = { 0 };

	qz_buf_str(&b, "{\n");
	qz_buf_fmt(&b, "  \"architectures\": [\n    \"%s\"\n  ]", c->family->architecture);
	if (!c->family->qkv_bias)
		put_bool(&b, "attention_bias", c->qkv_bias);
	put_id(&b, "bos_token_id", c->bos);
	put_id(&b, "eos_token_id", c->eos);
	put_number(&b, "head_dim", (double)c->head_dim);
	put_string(&b, "hidden_act", "silu");
	put_number(&b, "hidden_size", (double)c->hidden);
	put_number(&b, "intermediate_size", (double)c->ffn);
	put_number(&b, "max_position_embeddings", (double)c->context);
	if (qwen)
		put_number(&b, "max_window_layers", c->window ? 0 : (double)c->layers);
	if (!strcmp(type, "llama"))
		put_bool(&b, "mlp_bias", c->mlp_bias);
	put_string(&b, "model_type", type);
	put_number(&b, "num_attention_heads", (double)c->heads);
	put_number(&b, "num_hidden_layers", (double)c->layers);
	put_number(&b, "num_key_value_heads", (double)c->kv_heads);
	put_id(&b, "pad_token_id", c->pad);
	put_float(&b, "rms_norm_eps", c->norm_eps);
	put_rope(c, &b);
	put_key(&b, "rope_theta");
	put_real(&b, c->rope_theta);
	if (qwen || !strcmp(type, "mistral"))
		put_window(c, &b);
	put_bool(&b, "tie_word_embeddings", c->tied);
	if (c->dtype)
		put_string(&b, "torch_dtype", torch[c->dtype]);
	if (qwen)
		put_bool(&b, "use_sliding_window", c->window != 0);
	put_number(&b, "vocab_size", (double)c->vocab);
	qz_buf_str(&b, "\n}\n");
	qz_buf_add(out, b.data ? b.data : "", b.n);
	out->failed |= b.failed;
	qz_buf_free(&b);
}
