/* bench - the commands of qz-bench.  Each is one file and one row of the table in qz-bench.c. */
#ifndef QZ_BENCH_H
#define QZ_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "libcore/base/err.h"

struct bench_options {
	bool json;
	const char *adapter; /* ppl, sample: apply this adapter */
	double adapter_scale;
	const char *shape; /* ops: shapes of this model */
	int64_t tokens;    /* ops: rows of activations; sample: at most this many new tokens */
	const char *only;  /* ops: rows whose name and shape have this in them, NULL: all */
	double seconds;    /* ops: about this long an op */
	double temperature, top_p;
	int64_t seed;
	int64_t rows, rank, steps, warmup; /* train */
	const char *length;                /* a number, or max */
	double dropout;
	const char *optim;
	uint64_t memory;
	bool any_order, dry_run, optim_offload;
	const char *output; /* imatrix: where it goes, NULL: standard output */
	const char *form;   /* imatrix: gguf or dat */
	int64_t chunks;     /* imatrix: of the first so many rows, 0: all */
	bool trace;         /* train: where the time goes */
	bool raw;           /* sample: the prompt as it is, no chat template */
};

int bench_diff(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e);
int bench_imatrix(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e);
int bench_ops(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e);
int bench_ppl(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e);
int bench_train(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e);
int bench_sample(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e);

#endif
