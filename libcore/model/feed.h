/* feed - tensors one after another, from a source or from a temporary file that a source was put into.
 * The functions mean what those of source.h mean. */
#ifndef QZ_FEED_H
#define QZ_FEED_H

#include "libcore/model/source.h"

struct qz_feed {
	void *arg;
	int (*next)(void *arg, const struct qz_tensor **t, struct qz_err *e);
	int (*read)(void *arg, void *data, size_t n, struct qz_err *e);
	uint64_t (*digest)(void *arg);
};

/* Borrows s. */
struct qz_feed qz_feed_source(struct qz_source *s);

/* A temporary file without a name in $TMPDIR or /tmp, for sources that show their tensors only as they are
 * read: it holds the data of all of them, in order. */
struct qz_spool;
/* Reads all of s. */
struct qz_spool *qz_spool_new(struct qz_source *s, struct qz_err *e);
void qz_spool_free(struct qz_spool *p);
/* Names, shapes and types of all tensors. */
const struct qz_tensor *qz_spool_manifest(const struct qz_spool *p, size_t *n);
uint64_t qz_spool_nbytes(const struct qz_spool *p);
/* From the start; borrows p. */
struct qz_feed qz_feed_spool(struct qz_spool *p);

#endif
