/* weights - a model's tensors in device memory, in the types in which they are stored.
 *
 * They stream in: each tensor goes to the device in pieces as it is read, and no host copy remains.
 * When all are known beforehand they share one piece of device memory.  Norms and biases are float32
 * whatever they were; everything else stays as it is.  A tied head is the embedding. */
#ifndef QZ_WEIGHTS_H
#define QZ_WEIGHTS_H

#include "kernels/kernels.h"
#include "libcore/model/proj.h"
#include "libcore/model/source.h"

struct qz_layer_weights {
	struct qz_mat w[QZ_PROJ_N];
	const float *bias[QZ_PROJ_N]; /* or NULL */
	const float *attn_norm, *ffn_norm;
	const float *q_norm, *k_norm; /* [head_dim], or NULL */
};

struct qz_weights {
	struct qz_dev *dev;
	struct qz_config config;
	struct qz_layer_weights *layers;
	struct qz_mat embed, head;
	const float *norm;
	uint64_t (
	    *source)[QZ_PROJ_N]; /* [layers]: digests of what the projections were made from */
	uint64_t identity;       /* XXH3-64 over all tensors' digests in the model's order */
	uint64_t nbytes;         /* of device memory */
	char *host;              /* the embedding, when it lies in host memory */

	/* while loading */
	bool embed_host;
	void **blocks; /* device memory */
	size_t n_blocks;
	uint64_t room, at;  /* of the last block */
	uint64_t *digests;  /* [layers + 1][QZ_ROLE_END], 0: not there yet */
	struct qz_tensor t; /* the current tensor */
	int role, layer;
	char *place; /* where it goes */
	uint64_t filled;
	struct qz_buf small;
};

/* manifest: all tensors that will come, or NULL.  embed_host: an embedding that is not the head as well
 * goes to host memory, from which a step reads a few rows.  Nothing is read yet. */
int qz_weights_begin(struct qz_weights *w, struct qz_dev *dev, const struct qz_config *c,
    const struct qz_tensor *manifest, size_t n, bool embed_host, struct qz_err *e);
/* A tensor (checked against the config), its data in order, and the digest of what it was made from. */
int qz_weights_tensor(struct qz_weights *w, const struct qz_tensor *t, struct qz_err *e);
int qz_weights_data(struct qz_weights *w, const void *data, size_t n, struct qz_err *e);
int qz_weights_tensor_end(struct qz_weights *w, uint64_t source, struct qz_err *e);
/* Instead of data and end, a large tensor may be put aside, for others to fill `to` with its data (device memory, or
 * where host is set the host's); when that is done it is taken up again, and ends with the digest. */
struct qz_weights_aside {
	struct qz_tensor t;
	int role, layer;
	char *to;
	bool host;
};
bool qz_weights_large(const struct qz_weights *w); /* the current one is, and has no data yet */
void qz_weights_put_aside(struct qz_weights *w, struct qz_weights_aside *a);
int qz_weights_take_up(
    struct qz_weights *w, const struct qz_weights_aside *a, uint64_t source, struct qz_err *e);
/* All of the model's tensors were there, and none has a NaN or an infinity. */
int qz_weights_end(struct qz_weights *w, struct qz_err *e);
void qz_weights_free(struct qz_weights *w);

/* All of the above from a source, with up to `threads` that read, check and upload large tensors (0: as many as there
 * are processors, at most 8).  progress, when not NULL, hears of bytes read, in the caller's thread.  What is
 * wrong first in the source is what is told. */
int qz_weights_load(struct qz_weights *w, struct qz_dev *dev, struct qz_source *s, bool embed_host,
    int threads, void (*progress)(void *arg, uint64_t nbytes), void *arg, struct qz_err *e);
/* Device memory that tensors take, for planning before they are read; and of it the embedding's, which is 0
 * where it must stay (a tied head). */
uint64_t qz_weights_size(const struct qz_tensor *manifest, size_t n);
uint64_t qz_weights_embed_size(
    const struct qz_config *c, const struct qz_tensor *manifest, size_t n);

#endif
