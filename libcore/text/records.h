/* records - a stream of bytes cut into JSON objects, or taken as one text.
 *
 * The first character that is not blank tells: `{` opens JSON Lines, `[` an array of objects, anything
 * else is text (as is all input where that is asked for).  Memory is a window and one record. */
#ifndef QZ_RECORDS_H
#define QZ_RECORDS_H

#include "libcore/base/buf.h"
#include "libcore/text/docs.h"

enum qz_records_kind { QZ_RECORDS_UNKNOWN, QZ_RECORDS_LINES, QZ_RECORDS_ARRAY, QZ_RECORDS_TEXT };

struct qz_records {
	qz_read_fn *read;
	size_t max; /* bytes of a record */
	void *arg;
	struct qz_buf window;
	size_t at;     /* the first byte that is not given out */
	uint64_t line; /* of that byte, from 1 */
	enum qz_records_kind kind;
	uint64_t element; /* of an array, from 1: the one given out last */
	bool eof, closed; /* closed: the array has ended */
};

/* Tells the kind, or sees the first line of text for a caller who wants text: *line is borrowed and
 * may be cut.  1, 0 for an empty input, -1. */
int qz_records_open(struct qz_records *r, const char **line, size_t *n, struct qz_err *e);
/* The next record, borrowed until the next call, and the line it begins in.  1, 0 at the end, -1: the
 * input cannot be read on. */
int qz_records_next(
    struct qz_records *r, const char **s, size_t *n, uint64_t *line, struct qz_err *e);
void qz_records_free(struct qz_records *r);

#endif
