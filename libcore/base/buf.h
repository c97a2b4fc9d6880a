/* buf - a byte buffer that grows.  A zeroed struct is empty and valid; data is always followed by
 * a NUL that does not count.  Growth that fails sets `failed` and drops the bytes: check once at
 * the end with qz_buf_ok(). */
#ifndef QZ_BUF_H
#define QZ_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/err.h"

struct qz_buf {
	char *data;
	size_t n, cap;
	bool failed;
};

void qz_buf_add(struct qz_buf *b, const void *data, size_t n);
void qz_buf_str(struct qz_buf *b, const char *s);
void qz_buf_chr(struct qz_buf *b, char c);
/* The lowest byte first. */
void qz_buf_le32(struct qz_buf *b, uint32_t v);
void qz_buf_le64(struct qz_buf *b, uint64_t v);
void qz_buf_fmt(struct qz_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* n more bytes, uninitialised, or NULL. */
void *qz_buf_room(struct qz_buf *b, size_t n);
void qz_buf_clear(struct qz_buf *b); /* empties it, keeps the memory */
void qz_buf_free(struct qz_buf *b);
/* 0, or -1 with "out of memory" when any addition failed. */
int qz_buf_ok(const struct qz_buf *b, struct qz_err *e);

/* Asks for large pages in the middle of p[0..n), as far as they fit: a hint. */
void qz_huge(void *p, size_t n);
/* n bytes for free(), uninitialised, or NULL: a table that is about to be filled.  Where it is large, on large
 * pages if the system has them: a tenth of the time to touch it for the first time. */
void *qz_big(size_t n);

#endif
