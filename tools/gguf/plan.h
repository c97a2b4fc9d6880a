/* plan - which tensor becomes which type, before any data is read: names, shapes and types decide. */
#ifndef QZ_GGUF_PLAN_H
#define QZ_GGUF_PLAN_H

#include "libcore/format/gguf_write.h"
#include "libcore/model/config.h"

/* What -t names: a type for matrices, and what general.file_type then says. */
struct target {
	const char *name;
	enum qz_dtype type;
	int ftype;
};
/* By its name, or NULL. */
const struct target *target_find(const char *name);

struct planned {
	char name[QZ_GGUF_NAME_MAX + 1];
	enum qz_dtype type;
	uint64_t row_nbytes;
	bool permuted;     /* rows change places within heads */
	uint64_t overflow; /* finite values that became infinite, counted while it is written */
};

struct plan {
	const struct qz_config *config;
	struct planned *tensors; /* in the source's order */
	size_t n;
	uint64_t n_params;
	bool rope_factors;  /* rope_freqs.weight stands first */
	size_t n_fallback;  /* matrices that are not of the target's type ... */
	char fallback[256]; /* ... and why: the first of them */
};

/* manifest: the source's n tensors, in order. */
int plan_make(struct plan *p, const struct qz_config *c, const struct qz_tensor *manifest, size_t n,
    const struct target *t, struct qz_err *e);
void plan_free(struct plan *p);
/* Adds the tensors to g. */
int plan_put(
    const struct plan *p, const struct qz_tensor *manifest, struct qz_ggufw *g, struct qz_err *e);

#endif
