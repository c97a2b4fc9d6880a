/* lora - which tensors an adapter has, and where they stand in one flat buffer.
 *
 * y = x W^T + scale (x A^T) B^T.  All A and B lie in one buffer of n_par elements, and so do their
 * gradients and optimizer states: a tensor's place is an offset in elements.  Within a layer the A's of
 * projections with the same input follow each other, then their B's; each starts at a multiple of
 * QZ_LORA_ALIGN elements, the gaps stay zero.  A block of the 8-bit optimizer has as many, so none has elements
 * of two tensors: the blocks are those that bitsandbytes makes tensor by tensor.  It leaves tensors of fewer
 * than 4096 elements in 32 bits; here all are in 8.
 * Formulas: Hu et al., "LoRA", 2021; rsLoRA: Kalajdzievski 2023, scale alpha / sqrt(rank). */
#ifndef QZ_LORA_H
#define QZ_LORA_H

#include "libcore/model/proj.h"

enum { QZ_LORA_ALIGN = 256, QZ_RANK_MAX = 4096 };

struct qz_lora_tensor {
	int layer;
	enum qz_proj proj;
	int64_t rows, cols; /* of the weight: a is (rank, cols), b is (rows, rank) */
	int rank;
	float scale;
	uint64_t a, b; /* offsets */
};

struct qz_lora {
	int rank; /* what the adapter says of itself; a tensor may have its own */
	double alpha, dropout;
	bool rslora;
	unsigned targets; /* projections, as bits */
	int n;
	struct qz_lora_tensor *t; /* [n], by layer, then projection */
	uint64_t n_par;           /* elements of the buffer */
	uint64_t n_params;        /* without the gaps */
};

/* The same rank on `targets` of every layer. */
int qz_lora_uniform(struct qz_lora *l, const struct qz_config *c, int rank, double alpha,
    double dropout, unsigned targets, struct qz_err *e);
/* Sorts l->t (n tensors with layer, proj, shape, rank, scale) and gives places; the same tensor twice is
 * QZ_EDATA. */
int qz_lora_place(struct qz_lora *l, struct qz_err *e);
int qz_lora_copy(struct qz_lora *to, const struct qz_lora *from, struct qz_err *e);
void qz_lora_free(struct qz_lora *l);

/* alpha / rank, or alpha / sqrt(rank), rounded to float32 once. */
float qz_lora_scale(double alpha, int rank, bool rslora);
const struct qz_lora_tensor *qz_lora_find(const struct qz_lora *l, int layer, enum qz_proj p);
/* "model.layers.0.self_attn.q_proj.lora_A.weight"; half 'A' or 'B'. */
void qz_lora_name(int layer, enum qz_proj p, char half, char *out, size_t n);
/* The other way round: 0, or -1 when name is no such tensor. */
int qz_lora_name_parse(const char *name, int *layer, enum qz_proj *p, char *half);

/* A uniform in +-1/sqrt(cols) (kaiming_uniform with a = sqrt 5, as PEFT), element i from word i % 4 of
 * Philox(seed, XXH3-64 of the tensor's name, i / 4); B zero.  values: [n_par]. */
void qz_lora_init(const struct qz_lora *l, uint64_t seed, float *values);

#endif
