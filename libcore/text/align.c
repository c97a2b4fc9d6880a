#include "libcore/text/align.h"

#include <stdlib.h>
#include <string.h>

struct qz_text
qz_text_part(const struct qz_text *t, size_t at, size_t n)
{
	return (struct qz_text){ t->s + at, n, t->end ? t->end + at : NULL, qz_text_start(t, at) };
}

/* Room for the ends of what is in s by now. */
static uint32_t *
room(struct qz_textbuf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 1024;
	uint32_t *end;

	if (b->s.failed)
		return NULL;
	while (cap < b->s.n)
		cap *= 2;
	if (cap != b->cap) {
		end = realloc(b->end, cap * sizeof *end);
		if (!end) {
			b->s.failed = true;
			return NULL;
		}
		b->end = end;
		b->cap = cap;
	}
	return b->end + b->s.n - n;
}

void
qz_textbuf_copy(struct qz_textbuf *b, const struct qz_text *t, size_t at, size_t n)
{
	uint32_t *end;

	if (!n)
		return;
	qz_buf_add(&b->s, t->s + at, n);
	end = room(b, n);
	if (!end)
		return;
	if (t->end) {
		memcpy(end, t->end + at, n * sizeof *end);
		return;
	}
	for (size_t i = 0; i < n; i++)
		end[i] = t->base + (uint32_t)(at + i) + 1;
}

void
qz_textbuf_put(struct qz_textbuf *b, const char *s, size_t n, uint32_t end)
{
	uint32_t *to;

	if (!n)
		return;
	qz_buf_add(&b->s, s, n);
	to = room(b, n);
	for (size_t i = 0; to && i < n; i++)
		to[i] = end;
}

void
qz_textbuf_clear(struct qz_textbuf *b)
{
	qz_buf_clear(&b->s);
}

void
qz_textbuf_free(struct qz_textbuf *b)
{
	qz_buf_free(&b->s);
	free(b->end);
	b->end = NULL;
	b->cap = 0;
}

int
qz_textbuf_text(const struct qz_textbuf *b, struct qz_text *t, struct qz_err *e)
{
	if (qz_buf_ok(&b->s, e) < 0)
		return -1;
	if (b->s.n > UINT32_MAX)
		return qz_fail(
		    e, QZ_EDATA, "a text of %zu bytes on its way to tokens, at most 4 GiB", b->s.n);
	t->s = b->s.data ? b->s.data : "";
	t->n = b->s.n;
	t->end = b->end;
	return 0;
}
