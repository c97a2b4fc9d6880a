/* align - text on its way to the model, with where each byte comes from: the offset in the text as it
 * was given, just past what the byte stands for. */
#ifndef QZ_ALIGN_H
#define QZ_ALIGN_H

#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"

struct qz_text {
	const char *s;
	size_t n;
	const uint32_t *end; /* (n); NULL: bytes stand for themselves, end[i] is base + i + 1 */
	uint32_t base;       /* where the text starts in the given one */
};

static inline uint32_t
qz_text_end(const struct qz_text *t, size_t i)
{
	return t->end ? t->end[i] : t->base + (uint32_t)i + 1;
}

static inline uint32_t
qz_text_start(const struct qz_text *t, size_t i)
{
	return i ? qz_text_end(t, i - 1) : t->base;
}

/* Where a mark ends that is put before byte i and stands for none: with that byte, so that it is
 * trained when the byte is. */
static inline uint32_t
qz_text_mark(const struct qz_text *t, size_t i)
{
	return i < t->n ? qz_text_end(t, i) : qz_text_start(t, i);
}

struct qz_text qz_text_part(const struct qz_text *t, size_t at, size_t n);

/* A text that is being written.  Zeroed is empty. */
struct qz_textbuf {
	struct qz_buf s; /* its `failed` tells of both */
	uint32_t *end;
	size_t cap;
};
void qz_textbuf_copy(struct qz_textbuf *b, const struct qz_text *t, size_t at, size_t n);
/* n bytes that all stand for what ends at end. */
void qz_textbuf_put(struct qz_textbuf *b, const char *s, size_t n, uint32_t end);
void qz_textbuf_clear(struct qz_textbuf *b);
void qz_textbuf_free(struct qz_textbuf *b);
/* The text that was written, which starts where t did; at most 4 GiB. */
int qz_textbuf_text(const struct qz_textbuf *b, struct qz_text *t, struct qz_err *e);

#endif
