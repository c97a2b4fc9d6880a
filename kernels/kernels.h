/* kernels - the op table: everything that computes, on any device.
 *
 * A backend is one struct of function pointers, made from ops.def.  "cpu" is linked into every tool,
 * compiled for several instruction sets; "cuda" is a plugin.  "cpu-f64" is the CPU's code in float64,
 * the oracle of the tests.
 *
 * Rules for all ops:
 * - Pointers are device memory of the device that is passed first (on the CPU: ordinary memory), but
 *   for `host` arguments and the structs themselves, which are read during the call.
 * - Calls are queued in order and return nothing; sync() waits and tells what went wrong.
 * - Ops allocate nothing.  What they need as scratch is set once with set_workspace().
 * - act: an activation element, backend->act_size bytes (cpu 4, cpu-f64 8, cuda 2).
 *   par: an element of adapters, gradients, optimizer states and logits, par_size bytes (4, 8, 4).
 * - Matrices are row-major.  T is the number of tokens (rows of activations).
 * - Sums have a fixed order: the same call gives the same bits, for any number of threads. */
#ifndef QZ_KERNELS_H
#define QZ_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/dtype.h"
#include "libcore/base/err.h"

typedef void qz_act;
typedef void qz_par;

struct qz_backend;

/* One open device.  Backends put their own members behind. */
struct qz_dev {
	const struct qz_backend *k;
};

/* A weight matrix (rows = outputs, cols = inputs) as it is stored.
 * Plain types and ggml blocks: data alone.
 * NF4, FP4: data holds ceil(rows*cols/2) bytes, element 2i in the high nibble; blocks of `block`
 * elements run over the flattened matrix.  nested_block 0: absmax is float32[n_blocks].
 * nested_block > 0: absmax is uint8[n_blocks] and the block constant is
 * nested_map[absmax[i]] * nested_absmax[i / nested_block] + offset (QLoRA's double quantization).
 * INT8: int8 codes, absmax float32[rows], value code * absmax / 127. */
struct qz_mat {
	enum qz_dtype type;
	int64_t rows, cols;
	uint32_t block, nested_block;
	float offset;
	const void *data;
	const void *absmax;
	const float *nested_absmax; /* [ceil(n_blocks / nested_block)] */
	const float *nested_map;    /* [256] */
	const float *map;           /* [16]: the 4-bit code book */
};

/* A norm whose output is the input of projections, for their backward pass, which is given the norm's input
 * instead: x * rstd * w. */
struct qz_norm {
	const float *w; /* [cols] */
	qz_par *rstd;   /* [T], of the forward pass */
	float eps;
	qz_act *room; /* (T, cols): for the output, where a device wants it again */
};

/* One adapted projection: y = plus + x W^T + bias + scale * (drop(x) A^T) B^T.
 * rank 0: no adapter; a, b, da, db, s are then unused.  Projections of one call whose a, da and s lie
 * side by side may be computed as one. */
struct qz_linear {
	struct qz_mat w;
	const float *bias; /* [rows], or NULL */
	int rank;
	float scale;           /* alpha / rank, or what the adapter says */
	float dropout;         /* probability that an input element of the adapter is zero, 0..1 */
	uint64_t seed, stream; /* dropout's key: kernels/dropout.h has the rule */
	int64_t
	    first; /* token t of the call is token first + t of the mask; even ones may be faster */
	const qz_act *a;    /* (rank, cols) */
	const qz_act *b;    /* (rows, rank) */
	qz_par *da, *db;    /* gradients, added to */
	qz_act *y;          /* (T, rows) */
	const qz_act *plus; /* (T, rows), added to y; or NULL.  It may be y itself */
	qz_act *s;          /* (T, rank), rows lds apart: drop(x) A^T, kept for the backward pass */
	int64_t lds;        /* 0: rank */
	const qz_act *dy;   /* (T, rows): gradient of y, backward only */
	void *
	    left; /* qz_left_bytes(): what linear_bwd without x leaves for linear_da; or, of those begun by
		     * swiglu_adapted_bwd, (T, rank) activations each, one behind the other */
	const struct qz_norm *norm; /* backward: of the x of all projections of the call, or NULL */
	bool begun; /* the adapter's first product is there: s, or backward p, in `left`, and db */
};

/* Up to which rank swiglu_adapted() and its backward pass take a GPU no more time than swiglu()'s. */
enum { QZ_ADAPTED_RANK = 16 };

/* Distance of the rows of l->s. */
static inline int64_t
qz_linear_lds(const struct qz_linear *l)
{
	return l->lds ? l->lds : l->rank;
}

/* Room for what a projection leaves between linear_bwd without x and linear_da: (T, rank) activations, and a bit
 * for each element of x. */
static inline size_t
qz_left_bytes(size_t act_size, int64_t t, int rank, int64_t cols)
{
	return ((size_t)t * (size_t)rank * act_size + 255) / 256 * 256 +
	       (size_t)((t + 15) / 16 * 16) * (size_t)((cols + 7) / 8);
}

/* Causal attention over documents packed one after another.  Document d has queries
 * q_start[d]..q_start[d+1] and keys k_start[d]..k_start[d+1]; query i of nq sees the keys j with
 * j <= i + nk - nq, and j > i + nk - nq - window when window > 0.  Training has q_start == k_start;
 * decoding with a cache has nk > nq.  Head h reads key/value head h / (heads / kv_heads). */
struct qz_attn {
	int n_docs, max_q, max_k;         /* largest nq and nk */
	const int32_t *q_start, *k_start; /* [n_docs + 1] */
	const int32_t *q_host, *k_host;   /* the same in host memory, or NULL: may be faster */
	int heads, kv_heads, head_dim;
	int64_t window;       /* 0: none */
	float scale;          /* 1 / sqrt(head_dim) */
	const qz_act *q;      /* (n_q, heads * head_dim) */
	const qz_act *k, *v;  /* (n_k, kv_heads * head_dim) */
	qz_act *o;            /* (n_q, heads * head_dim) */
	qz_par *lse;          /* (n_q, heads): log of the sum of exp of the scaled scores */
	const qz_act *d_o;    /* backward: gradient of o; q_start == k_start */
	qz_act *dq, *dk, *dv; /* backward: written, not added to */
	bool any_order;       /* dq may be summed in any order: faster, bits differ between runs */
	int parts;            /* backward: as in struct qz_need, which gives the workspace for it */
};

/* Device memory, so that a captured step can be replayed with other values. */
struct qz_adamw {
	double lr, beta1, beta2, eps, weight_decay;
	double clip;  /* largest gradient norm, 0: no clipping */
	double step;  /* 1 at the first update */
	double scale; /* gradients are so many times too large, a power of two; 0: they are not */
};
enum { QZ_ADAMW8_BLOCK = 256 };

/* The largest of everything that will be asked for, for set_workspace(). */
struct qz_need {
	int64_t tokens;   /* rows of activations in a linear */
	int64_t weight;   /* elements of the largest weight matrix */
	int64_t group;    /* elements of the largest sum of weights in one linear() call */
	int64_t width;    /* widest row: max of all rows and cols of weights without the head */
	int64_t rank_sum; /* sum of the ranks in one linear() call */
	bool dropout;     /* some adapter's input is dropped */
	int64_t max_len;  /* longest document */
	int64_t docs;     /* most documents in a batch */
	int heads, kv_heads, head_dim;
	bool any_order; /* of struct qz_attn */
	/* The backward pass of attention, unless in any order: 0: without the gradients of all scores;
	 * n > 0: with those of 1 / n of the heads at a time, 2 len^2 bytes for each head of a document.  A call
	 * takes the fewest parts of 1, 2, 4 .. QZ_PARTS_MAX whose memory is in the workspace; with none it does
	 * without. */
	int attention_parts;
	int64_t head_rows, vocab; /* rows of logits at a time, and their width */
};

/* What ran, and how long: the sum over the calls of an op, or of a part of it, with one shape. */
struct qz_trace {
	char what[64]; /* "linear: product 4096 x 4096 x 14336" */
	int64_t calls;
	double seconds;
};

enum { QZ_PARTS_MAX = 8 };

struct qz_upload;

#define QZ_KERNELS_ABI 7

struct qz_backend {
	uint32_t abi,
	    size; /* QZ_KERNELS_ABI and sizeof(struct qz_backend): tools and plugin match or not at all */
	const char *name; /* "cpu-avx2": what provenance records */
	bool complete;    /* has every op; `auto` does not take a backend that lacks some */
	size_t act_size, par_size;
	enum qz_dtype act_type, par_type;

	int (*count)(void); /* devices here, 0 when there are none */
	/* NULL with QZ_EDEVICE when the device cannot be used.  n_threads: CPU only, 0 takes all. */
	struct qz_dev *(*open)(int index, int n_threads, struct qz_err *e);
	void (*close)(struct qz_dev *d);
	/* One line for people: model, memory, driver. */
	void (*describe)(struct qz_dev *d, char *text, size_t n);
	uint64_t (*memory)(struct qz_dev *d); /* bytes that a run may plan with */
	/* Bytes of the device's memory that are taken, as its driver counts them: contexts and libraries
	 * too.  0: the device does not tell (the CPU). */
	uint64_t (*used)(struct qz_dev *d);

	void *(*alloc)(
	    struct qz_dev *d, size_t nbytes, struct qz_err *e); /* aligned to 256; NULL: EIO */
	void (*free)(struct qz_dev *d, void *p);
	void (*copy_in)(struct qz_dev *d, void *device, const void *host, size_t nbytes);
	void (*copy_out)(
	    struct qz_dev *d, void *host, const void *device, size_t nbytes); /* waits */
	void (*fill)(struct qz_dev *d, void *device, int byte, size_t nbytes);
	int (*sync)(struct qz_dev *d, struct qz_err *e);

	/* Host memory that side copies reach, and a kernel too, and that copy_in() takes its bytes from only after
	 * it has returned: they stay until sync().  On the CPU ordinary memory.  Any thread may call these. */
	void *(*host_alloc)(struct qz_dev *d, size_t nbytes, struct qz_err *e);
	void (*host_free)(struct qz_dev *d, void *p);
	/* A copy beside the ops, from or to such memory: begins when what was queued before it is done.
	 * lane 0: to the host, 1: from it; copies of a lane follow each other.  wait: ops queued from here
	 * on start after the lane's copies up to now. */
	void (*side_copy)(struct qz_dev *d, int lane, void *to, const void *from, size_t nbytes);
	void (*side_wait)(struct qz_dev *d, int lane);

	/* Filling device memory beside the ops, for a thread of its own, a few of which may do so at a time:
	 * through two windows of `window` bytes of pinned memory that take turns.  upload_open is NULL where device
	 * memory is the host's: any thread may write there.  window: the next one, once it is free; send: its
	 * first n bytes go to the device; wait: all that was sent is there.  The first two are refused with a
	 * message (NULL), or -1. */
	struct qz_upload *(*upload_open)(struct qz_dev *d, size_t window, struct qz_err *e);
	void *(*upload_window)(struct qz_upload *u, struct qz_err *e);
	int (*upload_send)(struct qz_upload *u, void *device, size_t n, struct qz_err *e);
	int (*upload_wait)(struct qz_upload *u, struct qz_err *e);
	void (*upload_close)(struct qz_upload *u);

	/* on: ops may try several ways of computing the shapes that they meet, time them, and keep the fastest
	 * for this run and later ones on this machine; what they compute meanwhile is of no use; false:
	 * this machine keeps nothing, or knows what the shapes of this key are best computed by, and nothing
	 * is tried.  off: no longer.  NULL where nothing is to choose. */
	bool (*tune)(struct qz_dev *d, bool on, uint64_t key);

	/* on: from now on each op is timed; off: no longer.  NULL where that is not built. */
	void (*trace)(struct qz_dev *d, bool on);
	/* Waits; fills rows[0..max) with what ran since, most time first; returns how many there are. */
	size_t (*trace_read)(struct qz_dev *d, struct qz_trace *rows, size_t max);

	size_t (*workspace)(struct qz_dev *d, const struct qz_need *need);
	void (*set_workspace)(struct qz_dev *d, void *device, size_t nbytes);
	/* Can attention's gradients be computed with those of the scores of 1 / parts of the heads at a time? */
	bool (*attention_parts)(struct qz_dev *d, const struct qz_need *need, int parts);
	/* Whose attention a run with such a workspace takes, forward and backward, for people. */
	void (*attention_name)(struct qz_dev *d, const struct qz_need *need, char *text, size_t n);

#define QZ_OP(name, args) void(*name) args;
#include "kernels/ops.def"
#undef QZ_OP
};

/* Device memory is ordinary memory: nothing has to be copied. */
static inline bool
qz_on_host(const struct qz_dev *d)
{
	const char *name = d->k->name;

	return name[0] == 'c' && name[1] == 'p' && name[2] == 'u';
}

#endif
