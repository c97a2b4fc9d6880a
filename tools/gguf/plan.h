/* plan - which tensor becomes which type, before any data is read: names, shapes and types decide. */
#ifndef QZ_GGUF_PLAN_H
#define QZ_GGUF_PLAN_H

#include "libcore/format/gguf_write.h"
#include "libcore/format/imatrix.h"
#include "tools/gguf/mixture.h"

struct override {            /* --tensor-type: the last that matches decides */
	const char *pattern; /* shell pattern, looked for anywhere in a GGUF name */
	size_t len;
	enum qz_dtype type;
	size_t n_used;
};

struct plan_options {
	const struct mixture *mixture;
	bool chosen;  /* types will be chosen by error (choose.h): the mixture is not looked at */
	bool pure;    /* no rules: the mixture's type for all */
	bool merging; /* adapters are added: projections are quantized anew */
	bool like;    /* what is no matrix to quantize keeps its type */
	enum qz_dtype head, embedding; /* 0: as the mixture says */
	struct override *overrides;
	size_t n_overrides;
	const struct qz_imatrix *imatrix; /* NULL: none */
};

struct planned {
	char name[QZ_GGUF_NAME_MAX + 1];
	enum qz_dtype type;
	uint64_t row_nbytes;
	bool open;               /* choose.h may change the type */
	bool permuted;           /* rows change places within heads */
	const float *importance; /* of the columns, or NULL */
	uint64_t overflow; /* finite values that became infinite, counted while it is written */
};

struct plan {
	const struct qz_config *config;
	struct planned *tensors; /* in the source's order */
	size_t n;
	uint64_t n_params;
	int ftype;           /* general.file_type */
	bool rope_factors;   /* rope_freqs.weight is there ... */
	const float *rope;   /* ... with these values, NULL: to be computed; borrowed */
	size_t rope_at;      /* ... before this tensor */
	size_t n_fallback;   /* matrices whose rows don't fit the type they should have ... */
	char fallback[256];  /* ... "TYPE: why", of the first of them */
	size_t n_unweighted; /* quantized matrices that the importance matrix does not have ... */
	char unweighted[64]; /* ... the first */
	size_t n_strays;     /* entries of the importance matrix that name no matrix here ... */
	char stray[64];      /* ... the first */
	size_t n_requant;    /* matrices quantized a second time ... */
	char requant[256];   /* ... the first */
};

/* manifest: the source's n tensors, in order.  QZ_EUSAGE: an override that matches nothing,
 * QZ_EDATA: an importance matrix of which nothing does. */
int plan_make(struct plan *p, const struct qz_config *c, const struct qz_tensor *manifest, size_t n,
    const struct plan_options *o, struct qz_err *e);
void plan_free(struct plan *p);
/* Tensor i, which is of type `from`, becomes this type, whose blocks fit its rows of cols. */
void plan_set_type(struct plan *p, size_t i, enum qz_dtype from, enum qz_dtype type, uint64_t cols);
/* Adds tensors from .. to - 1 to g. */
int plan_put(const struct plan *p, const struct qz_tensor *manifest, size_t from, size_t to,
    struct qz_ggufw *g, struct qz_err *e);

#endif
