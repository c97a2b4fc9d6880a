/* errors - what each type would take from each matrix, measured on some of its rows.
 *
 * The error of a matrix in a type is the sum of w (x - q)^2 over the sum of w x^2, with the importance of its columns
 * for w: how wrong its outputs become, relative to themselves. */
#ifndef QZ_GGUF_TOOL_ERRORS_H
#define QZ_GGUF_TOOL_ERRORS_H

#include "libcore/model/feed.h"
#include "libcore/model/merge.h"
#include "tools/gguf/plan.h"

enum { ERROR_TYPES = 13 };
extern const enum qz_dtype error_types[ERROR_TYPES];

struct errors {                        /* of one matrix */
	double lost[ERROR_TYPES], all; /* sums of w (x - q)^2, and of w x^2 */
	double weight;                 /* of the relative error */
};

/* May this type be chosen, and do rows of cols elements fit it? */
bool error_fits(const bool types[QZ_DTYPE_END], int k, uint64_t cols);
double error_in(const struct errors *x, int k);
/* out: of each of p's tensors, zeroed; those that are not open stay so.  feed: the model from its start; m: adapters
 * that are added first. */
int errors_measure(struct errors *out, const struct plan *p, const bool types[QZ_DTYPE_END],
    const struct qz_feed *feed, const struct qz_merge *m, struct qz_err *e);

#endif
