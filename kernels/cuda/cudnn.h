/* cudnn - attention as graphs of cuDNN's backend interface (CUDNN_BACKEND_*, cuDNN 9), found at run time.
 *
 * What cuDNN's headers would say stands here as far as it is used, so that building needs none of them; a
 * test compares it with the headers where they are.  cuDNN matches patterns: the order of the operations
 * in a graph is part of the interface.
 *
 * Tensors are (documents, heads, length, head_dim).  Dense: documents of one length, one after another.
 * Ragged: of any length up to `len`; where each begins is in device memory, in elements (QZ_SDPA_AT_*). */
#ifndef QZ_CUDA_CUDNN_H
#define QZ_CUDA_CUDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *qz_cudnn_desc;
typedef int (*qz_cudnn_make)(int type, qz_cudnn_desc *d);
typedef int (*qz_cudnn_drop)(qz_cudnn_desc d);
typedef int (*qz_cudnn_set)(qz_cudnn_desc d, int name, int type, int64_t n, const void *v);
typedef int (*qz_cudnn_get)(qz_cudnn_desc d, int name, int type, int64_t room, int64_t *n, void *v);
typedef int (*qz_cudnn_run)(void *handle, qz_cudnn_desc plan, qz_cudnn_desc pack);

/* The library's functions; statuses are 0 when all is well. */
struct qz_cudnn {
	void *so;
	int version; /* 91900: 9.19.0 */
	char why[512];
	size_t (*get_version)(void);
	void (*last_error)(char *text, size_t n);
	int (*create)(void **handle);
	int (*destroy)(void *handle);
	int (*set_stream)(void *handle, void *stream);
	qz_cudnn_make make;
	qz_cudnn_drop drop, finalize;
	qz_cudnn_set set;
	qz_cudnn_get get;
	qz_cudnn_run run;
};

/* Loaded once in a process; so is NULL, and why says why, when it is not there or too old. */
const struct qz_cudnn *qz_cudnn_load(void);

struct qz_sdpa_shape {
	bool back, ragged;
	bool any_order;    /* back: dq is summed by atomics; else dS is kept, len^2 of it */
	int32_t docs, len; /* a batch, and its longest document */
	int32_t heads, kv_heads, dim; /* of this call */
	int32_t row_heads, row_kv;    /* in a row of memory: more when a call does some of them */
	int64_t window;
};

/* What the graph reads and writes; not all of them in every graph. */
enum qz_sdpa_id {
	QZ_SDPA_Q = 1,
	QZ_SDPA_K,
	QZ_SDPA_V,
	QZ_SDPA_O,
	QZ_SDPA_LSE, /* float32, the layout of struct qz_attn */
	QZ_SDPA_DO,
	QZ_SDPA_DQ,
	QZ_SDPA_DK,
	QZ_SDPA_DV,
	QZ_SDPA_DOT,    /* scratch: float32, as many as LSE */
	QZ_SDPA_DQ_SUM, /* scratch: float32, as many as dq; any_order only */
	QZ_SDPA_DK_ALL, /* scratch: bfloat16, as many as dq; ragged, heads > kv_heads only */
	QZ_SDPA_DV_ALL, /* the same */
	QZ_SDPA_AT_Q,   /* ragged: int64[docs + 1], in q, o and their gradients */
	QZ_SDPA_AT_K,
	QZ_SDPA_AT_LSE,
	QZ_SDPA_LENGTH, /* ragged: int32[docs] */
	QZ_SDPA_SCALE,  /* float32 in host memory */
	QZ_SDPA_LOWEST,
	QZ_SDPA_ONE,
	QZ_SDPA_WINDOW,
	QZ_SDPA_IDS
};

/* One shape's plan, and all that it is made of. */
struct qz_sdpa {
	struct qz_sdpa_shape shape;
	int64_t workspace; /* what cuDNN itself wants */
	bool used[QZ_SDPA_IDS];
	qz_cudnn_desc plan; /* NULL: cuDNN has none, why says why */
	qz_cudnn_desc all[320];
	int n_all;
	char why[256];
};

/* handle: a device's; or NULL, and props describes a device in JSON: then there is no plan, but the choice of
 * an engine and its workspace.  False: why says why. */
bool qz_sdpa_build(const struct qz_cudnn *lib, void *handle, const char *props,
    const struct qz_sdpa_shape *shape, struct qz_sdpa *s);
/* Pointers by id; queued on the handle's stream.  False: why says why. */
bool qz_sdpa_run(const struct qz_cudnn *lib, void *handle, struct qz_sdpa *s,
    void *const at[QZ_SDPA_IDS], void *workspace);
void qz_sdpa_free(const struct qz_cudnn *lib, struct qz_sdpa *s);

/* Bytes of the scratch tensors for n rows of one call; NULL or 0 rows are fine. */
size_t qz_sdpa_scratch(const struct qz_sdpa_shape *shape, enum qz_sdpa_id id, int64_t rows);

#ifdef __cplusplus
}
#endif

#endif
