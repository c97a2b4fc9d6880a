/* stream - ops that move memory and compute little, at a model's shapes: bytes a second beside a copy's.
 *
 * A call's arguments are one of several sets, taken in turn, which together are larger than any cache; so
 * what is measured is memory.  Bytes count once for each read and each write that the op cannot do without. */
#ifndef QZ_BENCH_STREAM_H
#define QZ_BENCH_STREAM_H

#include "libcore/model/config.h"
#include "tools/bench/bench.h"

enum { STREAM_RANK = 16, STREAM_PARTS = 10 };

/* What an argument holds at first. */
enum stream_fill {
	STREAM_VALUES, /* random, -1..1 */
	STREAM_ZEROS,
	STREAM_CODES,  /* random bytes */
	STREAM_PLACES, /* 0, 1, 2, ... */
	STREAM_MIXED,  /* whole numbers below `below`, in no order */
	STREAM_ANGLES  /* cosine, sine */
};

struct stream_part {
	enum stream_fill fill;
	enum qz_dtype type;
	int64_t n, below;
	double passes; /* times that it is read or written */
};

struct stream_op;

/* What all ops of a run share. */
struct stream {
	struct qz_dev *d;
	const struct qz_backend *k;
	const struct bench_options *o;
	const struct qz_config *c;
	int64_t t, adapter;         /* tokens; elements of an adapter of all projections */
	float *source;              /* [SOURCE] random values, device memory */
	const struct stream_op *op; /* the one at hand */
	struct qz_adamw *args;
	double *sum;
	int64_t first; /* of find_nonfinite */
};

/* One op: its arguments in order (returns how many), and the call. */
struct stream_op {
	const char *name, *shape;
	int64_t
	    arg; /* linear of few tokens: how many; quantize_ggml: the type, with importance its negative */
	int (*parts)(const struct stream *s, struct stream_part *p);
	void (*run)(struct stream *s, void **at);
};

/* Ops in the order in which they are printed; stream_weights.c, stream_tokens.c. */
struct stream_table {
	const struct stream_op *ops;
	int n;
};
extern const struct stream_table bench_stream_weights, bench_stream_tokens;
extern const struct stream_op bench_stream_copy_op;

/* Bytes a second of a copy, read and written. */
int bench_stream_copy(struct qz_dev *d, const struct bench_options *o, const struct qz_config *c,
    double *rate, struct qz_err *e);
/* Is one of its ops among those that --only asks for? */
bool bench_stream_wanted(const struct bench_options *o);
/* Prints a row for each op. */
int bench_stream(struct qz_dev *d, const struct bench_options *o, const struct qz_config *c,
    double copy, struct qz_err *e);

#endif
