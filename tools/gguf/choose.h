/* choose - a type for each matrix so that the whole has a size and the errors are least.
 *
 * What an error is: errors.h.  Each matrix starts with the smallest type; then bits go where they take away the
 * most error a byte, until the size is reached (the greedy way along each matrix's convex hull). */
#ifndef QZ_GGUF_TOOL_CHOOSE_H
#define QZ_GGUF_TOOL_CHOOSE_H

#include "libcore/model/feed.h"
#include "libcore/model/merge.h"
#include "tools/gguf/plan.h"

struct choice {
	double bits;       /* a weight, all tensors together; 0: */
	uint64_t max_size; /* of the file */
	bool types[QZ_DTYPE_END];
};

/* plan: "4.5bpw" or NULL; types: "q4_k,q6_k" or NULL for all.  QZ_EUSAGE. */
int choice_parse(struct choice *c, const char *plan, const char *types, struct qz_err *e);
/* The types of p's open tensors and its ftype.  feed: the model from its start; m: adapters that are added,
 * on the CPU.  keys: of the file, for its size.  summary: a line for people. */
int choice_make(const struct choice *c, struct plan *p, const struct qz_tensor *manifest,
    const struct qz_feed *feed, const struct qz_merge *m, const struct qz_ggufw *keys,
    char summary[512], struct qz_err *e);

#endif
