/* timing - how long a call takes that a device queues, and the row that says so. */
#ifndef QZ_BENCH_TIMING_H
#define QZ_BENCH_TIMING_H

#include "tools/bench/bench.h"

/* Median seconds of op(arg, i), i = 0, 1, 2, ..., over about `seconds`.  Short calls are queued many at a
 * time, so that neither starting nor waiting counts. */
int bench_time(struct qz_dev *d, double seconds, void (*op)(void *arg, int64_t i), void *arg,
    double *median, struct qz_err *e);

struct bench_row {
	const char *op, *shape;
	double seconds;
	double rate;      /* a second: bytes, or operations */
	const char *unit; /* of 1e9 of them */
	double ceiling;   /* a second */
};
/* Is it one that --only asks for? */
bool bench_wanted(const struct bench_options *o, const char *op, const char *shape);
void bench_row_print(const struct bench_options *o, const struct bench_row *r);

#endif
