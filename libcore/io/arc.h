/* arc - the files in a tar or zip archive, in order, through whatever compression libarchive knows.
 *
 * Only plain files come out.  A name that is absolute, leaves its folder (".."), or is no UTF-8 is
 * refused, and so are links and devices: whoever writes such an archive wants more than to send a
 * model.  What is not read is passed; passing much more than the archive has bytes is refused. */
#ifndef QZ_ARC_H
#define QZ_ARC_H

#include <stdbool.h>

#include "libcore/io/in.h"

struct qz_arc;

struct qz_arc_member {
	const char *name; /* "model/config.json", without leading "./"; lasts until the next call */
	int64_t size;     /* -1: not known before its end (zip from a pipe) */
};

/* Do these first bytes of a file look like an archive, or like compressed data? */
bool qz_arc_is(const void *head, size_t n);
bool qz_arc_is_packed(const void *head, size_t n); /* compressed data only */

/* in stands at the archive's start, is used from here on by the archive alone, and stays the caller's. */
struct qz_arc *qz_arc_open(struct qz_in *in, struct qz_err *e);
/* The same for one compressed file, data.jsonl.gz: its only member is what was compressed. */
struct qz_arc *qz_arc_open_raw(struct qz_in *in, struct qz_err *e);
void qz_arc_close(struct qz_arc *a);
/* 1: a file, 0: there are no more, -1. */
int qz_arc_next(struct qz_arc *a, const struct qz_arc_member **m, struct qz_err *e);
/* Up to n bytes of the current file, 0 at its end. */
int64_t qz_arc_some(struct qz_arc *a, void *data, size_t n, struct qz_err *e);
/* Exactly n bytes. */
int qz_arc_read(struct qz_arc *a, void *data, size_t n, struct qz_err *e);
/* The rest of the current file, at most max bytes. */
int qz_arc_all(struct qz_arc *a, struct qz_buf *b, size_t max, struct qz_err *e);

#endif
