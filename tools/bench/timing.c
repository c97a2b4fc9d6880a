#include "tools/bench/timing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/common/meter.h"

enum { BATCHES_MAX = 1000, CALLS_MAX = 400 };
static const double BATCH = 4e-3; /* seconds */

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Seconds of `calls` calls, *i on. */
static int
batch(struct qz_dev *d, void (*op)(void *, int64_t), void *arg, int64_t *i, int64_t calls,
    double *seconds, struct qz_err *e)
{
	double start;

	if (d->k->sync(d, e) < 0)
		return -1;
	start = qz_clock();
	for (int64_t end = *i + calls; *i < end; ++*i)
		op(arg, *i);
	if (d->k->sync(d, e) < 0)
		return -1;
	*seconds = qz_clock() - start;
	return 0;
}

int
bench_time(struct qz_dev *d, double seconds, void (*op)(void *arg, int64_t i), void *arg,
    double *median, struct qz_err *e)
{
	double runs[BATCHES_MAX], spent = 0, one;
	int64_t i = 0, calls = 1;
	int n = 0;

	if (batch(d, op, arg, &i, 1, &one, e) < 0 || batch(d, op, arg, &i, 1, &one, e) < 0)
		return -1;
	while (one < BATCH && calls < CALLS_MAX) {
		calls *= 2;
		if (batch(d, op, arg, &i, calls, &one, e) < 0)
			return -1;
	}
	while (n < BATCHES_MAX && (n < 3 || spent < seconds)) {
		if (batch(d, op, arg, &i, calls, &runs[n], e) < 0)
			return -1;
		spent += runs[n++];
	}
	qsort(runs, (size_t)n, sizeof *runs, by_value);
	*median = runs[n / 2] / (double)calls;
	return 0;
}

bool
bench_wanted(const struct bench_options *o, const char *op, const char *shape)
{
	char row[128];

	snprintf(row, sizeof row, "%s %s", op, shape);
	return !o->only || strstr(row, o->only);
}

void
bench_row_print(const struct bench_options *o, const struct bench_row *r)
{
	if (o->json)
		printf("{\"op\":\"%s\",\"shape\":\"%s\",\"tokens\":%lld,\"us\":%.1f,\"rate\":%.4g,"
		       "\"unit\":\"%s\",\"share\":%.3f}\n",
		    r->op, r->shape, (long long)o->tokens, r->seconds * 1e6, r->rate * 1e-9,
		    r->unit, r->rate / r->ceiling);
	else
		printf("%-16s %-28s %11.1f %10.1f %-8s %5.0f %%\n", r->op, r->shape,
		    r->seconds * 1e6, r->rate * 1e-9, r->unit, 100 * r->rate / r->ceiling);
	fflush(stdout);
}
