/* quantize - what the parts of qz-quantize share. */
#ifndef QZ_QUANTIZE_H
#define QZ_QUANTIZE_H

#include "libcore/model/feed.h"
#include "tools/common/meter.h"

/* What is to become of a model's tensors. */
struct plan {
	const char *model;  /* its name, for messages */
	enum qz_dtype type; /* 0: everything stays as it is */
	uint32_t block, nested_block;
	const char *const *skip; /* globs of names that stay as they are */
	size_t n_skip;
};

/* out: in as it will be, planned. */
int plan_tensor(
    const struct plan *p, const struct qz_tensor *in, struct qz_tensor *out, struct qz_err *e);
/* All of them, to free; NULL on failure. */
struct qz_tensor *plan_all(
    const struct plan *p, const struct qz_tensor *in, size_t n, struct qz_err *e);
/* Rows that must stay together, so that a piece of a matrix is whole blocks. */
uint64_t plan_unit(const struct plan *p, const struct qz_config *c);

/* What happened, a row for each pair of types. */
struct report_row {
	enum qz_dtype from, to;
	uint64_t tensors, elements, before, after;
};
struct report {
	struct report_row rows[32];
	int n;
};
void report_add(struct report *r, const struct qz_tensor *in, const struct qz_tensor *out);
void report_print(const struct report *r, const char *name, double seconds);

/* Where the tensors go.  In this order: begin; for each tensor first, then the bytes of each section in
 * order, in any portions, then last; end completes the output.  close without end leaves nothing. */
struct sink {
	/* manifest: as planned, or NULL when it is not known; in: as they come. */
	int (*begin)(struct sink *k, const struct qz_tensor *manifest, const struct qz_tensor *in,
	    size_t n, struct qz_err *e);
	int (*first)(struct sink *k, const struct qz_tensor *t, struct qz_err *e);
	int (*put)(struct sink *k, enum qz_section_kind kind, const void *data, size_t n,
	    struct qz_err *e);
	int (*last)(struct sink *k, uint64_t source, struct qz_err *e);
	int (*end)(struct sink *k, const char *chain, struct qz_err *e); /* JSON array text */
	void (*close)(struct sink *k);
	bool needs_manifest;
};
/* s is borrowed until close.  NULL on failure. */
struct sink *sink_shard(const char *output, const struct qz_source *s, struct qz_err *e);
struct sink *sink_bnb(const char *output, const struct qz_source *s, struct qz_err *e);

/* All tensors of the feed into the sink. */
int quantize_all(const struct plan *p, struct qz_dev *d, const struct qz_feed *feed, uint64_t unit,
    struct sink *k, struct report *r, struct qz_meter *meter, struct qz_err *e);

#endif
