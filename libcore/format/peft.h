/* peft - adapter_config.json of Hugging Face's PEFT: what it says about a LoRA adapter.
 *
 * Keys that only select or describe are passed over; every other key that is not known here must be
 * empty (null, false, [], {}), else it is refused by name: it may change what the adapter computes.
 * Written are the keys that every PEFT knows.  Format: PEFT, src/peft/tuners/lora/config.py. */
#ifndef QZ_PEFT_H
#define QZ_PEFT_H

#include "libcore/base/json.h"

#define QZ_PEFT_CONFIG "adapter_config.json"
#define QZ_PEFT_WEIGHTS "adapter_model.safetensors"
#define QZ_PEFT_PREFIX "base_model.model." /* of every tensor's name */

struct qz_peft {
	struct qz_json *json; /* owned */
	int64_t r;
	double alpha, dropout;
	bool rslora;
	const char *base; /* base_model_name_or_path, or "" */
};

int qz_peft_parse(struct qz_peft *p, const char *text, size_t n, struct qz_err *e);
void qz_peft_free(struct qz_peft *p);
/* Of a module ("model.layers.0.self_attn.q_proj"): rank_pattern and alpha_pattern hold suffixes of names. */
int64_t qz_peft_rank(const struct qz_peft *p, const char *module);
double qz_peft_alpha(const struct qz_peft *p, const char *module);

struct qz_peft_out {
	const char *base;
	int r;
	double alpha, dropout;
	bool rslora;
	const char *const *targets; /* [n_targets] */
	int n_targets;
	const struct qz_buf *ranks, *alphas; /* members of rank_pattern, alpha_pattern, or NULL */
};
void qz_peft_put(const struct qz_peft_out *c, struct qz_buf *out);

#endif
