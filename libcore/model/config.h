/* config - what a model's config.json says, as the rest of qz uses it.
 *
 * Families are rows of a table (config.c).  What the config says is honoured or refused by name,
 * never ignored.  Both ways of writing it are read: transformers 4 (rope_theta, torch_dtype) and
 * 5 (rope_parameters, dtype). */
#ifndef QZ_CONFIG_H
#define QZ_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "libcore/base/arena.h"
#include "libcore/base/json.h"
#include "libcore/shard/shard.h"

enum qz_rope_kind { QZ_ROPE_NONE, QZ_ROPE_LINEAR, QZ_ROPE_LLAMA3 };

struct qz_family {
	const char *model_type;   /* "llama" */
	const char *architecture; /* "LlamaForCausalLM" */
	const char *gguf;         /* general.architecture */
	bool gguf_permuted;       /* q and k rows are permuted in GGUF (interleaved RoPE) */
	bool qkv_bias;            /* always has q, k, v biases */
	bool qk_norm;             /* RMSNorm of each head of q and k */
	double rope_theta;        /* when the config has none */
};

struct qz_config {
	const struct qz_family *family;
	int64_t hidden, ffn, layers, heads, kv_heads, head_dim, vocab, context;
	float norm_eps;
	double rope_theta;
	enum qz_rope_kind rope_kind;
	double rope_factor, rope_low, rope_high; /* llama3: low_freq_factor, high_freq_factor */
	double rope_original;                    /* llama3: original_max_position_embeddings */
	int64_t window;                          /* sliding_window in force, 0: none */
	bool tied;                               /* the head is the embedding */
	bool qkv_bias, o_bias, mlp_bias;
	int64_t bos, eos, pad; /* first of a list; -1: none */
	enum qz_dtype dtype;   /* torch_dtype, 0 when not said */
};

/* text: config.json.  QZ_EDATA names the key and what was found. */
int qz_config_parse(struct qz_config *c, const char *text, size_t n, struct qz_err *e);
const struct qz_family *qz_family_by_type(const char *model_type);
const struct qz_family *qz_family_by_gguf(const char *architecture);

/* A config.json that transformers 4 and 5 both read: for models that came without one (GGUF). */
void qz_config_put(const struct qz_config *c, struct qz_buf *out);

/* The tensors of a model: one row a kind; %d is the layer. */
enum qz_role {
	QZ_EMBED,
	QZ_HEAD,
	QZ_NORM, /* not in a layer */
	QZ_ATTN_NORM,
	QZ_Q,
	QZ_K,
	QZ_V,
	QZ_O,
	QZ_Q_BIAS,
	QZ_K_BIAS,
	QZ_V_BIAS,
	QZ_O_BIAS,
	QZ_Q_NORM,
	QZ_K_NORM,
	QZ_FFN_NORM,
	QZ_GATE,
	QZ_UP,
	QZ_DOWN,
	QZ_GATE_BIAS,
	QZ_UP_BIAS,
	QZ_DOWN_BIAS,
	QZ_ROLE_END
};
struct qz_role_info {
	const char *hf;   /* "model.layers.%d.self_attn.q_proj.weight" */
	const char *gguf; /* "blk.%d.attn_q.weight" */
	bool linear;      /* one of the seven projections: quantized, adaptable */
	bool in_layer;
};
const struct qz_role_info *qz_role(enum qz_role r);
/* Which tensor a Hugging Face name is: role and layer (0 outside layers), or -1. */
int qz_role_of(const char *hf_name, int *layer);
int qz_role_of_gguf(const char *gguf_name, int *layer);
/* The name of a role in a layer. */
void qz_role_name(enum qz_role r, int layer, char *out, size_t n);
void qz_role_gguf_name(enum qz_role r, int layer, char *out, size_t n);
/* Does this model have it, and its shape (n_dims 1 or 2)? */
bool qz_config_has(const struct qz_config *c, enum qz_role r);
void qz_config_shape(const struct qz_config *c, enum qz_role r, uint64_t dims[2], int *n_dims);
/* name is a tensor of this model and has this shape, or QZ_EDATA that says what was expected. */
int qz_config_check(const struct qz_config *c, const struct qz_tensor *t, struct qz_err *e);

/* rope: the angle's frequency of each pair i < head_dim/2, in float64, with scaling applied. */
void qz_config_rope(const struct qz_config *c, double *freq);

#endif
