/* adapter - a LoRA adapter in memory, from and into a shard (kind "adapter") or a PEFT folder.
 *
 * Tensors of a shard have PEFT's names without its prefix ("model.layers.0.self_attn.q_proj.lora_A.weight"),
 * float32, for each projection A then B; the `source` of each is the digest of the base tensor that it
 * adapts (0: not known).  The head's meta has "base" and "lora" {"r", "alpha", "dropout", "rslora",
 * "targets", "scales"}: scales {"model.layers.0.self_attn.q_proj": 1.5} where they are not alpha / rank. */
#ifndef QZ_ADAPTER_H
#define QZ_ADAPTER_H

#include "libcore/io/out.h"
#include "libcore/model/lora.h"
#include "libcore/shard/reader.h"
#include "libcore/shard/writer.h"

struct qz_adapter { /* zeroed: empty */
	struct qz_lora lora;
	float *values;    /* [lora.n_par] */
	uint64_t *source; /* [lora.n]: XXH3-64 of the base tensor in its 16- or 32-bit form, or 0 */
	char *base;       /* what the adapter calls its base, "" when it does not say */
	char *provenance; /* JSON array text */
	struct qz_digest digest; /* of the shard, or of the folder's two files */
};

/* path: a shard, "-", or a PEFT folder.  What would change the mathematics and is not known here (DoRA,
 * modules_to_save, biases, ...) is QZ_EDATA that names it. */
int qz_adapter_read(struct qz_adapter *a, const char *path, struct qz_err *e);
void qz_adapter_free(struct qz_adapter *a);

/* Every tensor's shape fits the model, or QZ_EDATA that names the first that does not. */
int qz_adapter_fits(const struct qz_adapter *a, const struct qz_config *c, struct qz_err *e);

/* The shard.  chain: provenance, JSON array text.  The output is not yet committed. */
int qz_adapter_write(
    const struct qz_adapter *a, struct qz_out *o, const char *chain, struct qz_err *e);
/* adapter_config.json and adapter_model.safetensors, float32, into a folder that is not yet committed. */
int qz_adapter_write_peft(const struct qz_adapter *a, struct qz_outdir *d, struct qz_err *e);

/* Putting one together: tensors in any order, then the whole.  The part takes data (malloc, float32). */
struct qz_adapter_part {
	int layer;
	enum qz_proj proj;
	char half; /* 'A' or 'B' */
	uint64_t rows, cols, source;
	float *data;
};
struct qz_adapter_parts {
	struct qz_adapter_part *p;
	size_t n;
};
/* t: name and shape (float32).  The memory that the caller fills, or NULL. */
float *qz_adapter_part(struct qz_adapter_parts *parts, const struct qz_tensor *t, struct qz_err *e);
void qz_adapter_parts_free(struct qz_adapter_parts *parts);
/* Pairs the halves.  a->lora says rank, alpha, rslora; scale(arg, module, rank, e) gives each tensor's
 * scale into *s ("model.layers.0.self_attn.q_proj"). */
int qz_adapter_build(struct qz_adapter *a, struct qz_adapter_parts *parts,
    int (*scale)(void *arg, const char *module, int rank, float *s, struct qz_err *e), void *arg,
    struct qz_err *e);
/* The name without ".lora_A.weight". */
void qz_adapter_module(int layer, enum qz_proj p, char *out, size_t n);

#endif
