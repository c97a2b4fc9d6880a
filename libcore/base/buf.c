#include "libcore/base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "libcore/base/le.h"

enum { LARGE_PAGE = 1 << 21 };

void
qz_huge(void *p, size_t n)
{
	const uintptr_t page = LARGE_PAGE;
	uintptr_t from = ((uintptr_t)p + page - 1) & ~(page - 1),
		  to = ((uintptr_t)p + n) & ~(page - 1);

	if (n >= 2 * page && to > from)
		madvise((void *)from, to - from, MADV_HUGEPAGE);
}

static bool
grow(struct qz_buf *b, size_t more)
{
	size_t need, cap = b->cap ? b->cap : 64;
	char *p;

	if (b->failed || __builtin_add_overflow(b->n, more, &need) ||
	    __builtin_add_overflow(need, 1, &need)) {
		b->failed = true;
		return false;
	}
	if (need <= b->cap)
		return true;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	p = realloc(b->data, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	qz_huge(p, cap);
	b->data = p;
	b->cap = cap;
	return true;
}

void *
qz_buf_room(struct qz_buf *b, size_t n)
{
	char *p;

	if (!grow(b, n))
		return NULL;
	p = b->data + b->n;
	b->n += n;
	b->data[b->n] = '\0';
	return p;
}

void
qz_buf_add(struct qz_buf *b, const void *data, size_t n)
{
	void *p = qz_buf_room(b, n);

	if (p && n)
		memcpy(p, data, n);
}

void
qz_buf_str(struct qz_buf *b, const char *s)
{
	qz_buf_add(b, s, strlen(s));
}

void
qz_buf_chr(struct qz_buf *b, char c)
{
	qz_buf_add(b, &c, 1);
}

void
qz_buf_le32(struct qz_buf *b, uint32_t v)
{
	uint8_t le[4];

	le32_put(le, v);
	qz_buf_add(b, le, sizeof le);
}

void
qz_buf_le64(struct qz_buf *b, uint64_t v)
{
	uint8_t le[8];

	le64_put(le, v);
	qz_buf_add(b, le, sizeof le);
}

void
qz_buf_fmt(struct qz_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;
	char *p;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && (p = qz_buf_room(b, (size_t)n)))
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
}

void
qz_buf_clear(struct qz_buf *b)
{
	b->n = 0;
	if (b->data)
		b->data[0] = '\0';
}

void
qz_buf_free(struct qz_buf *b)
{
	free(b->data);
	*b = (struct qz_buf){ 0 };
}

int
qz_buf_ok(const struct qz_buf *b, struct qz_err *e)
{
	return b->failed ? qz_nomem(e, b->n) : 0;
}

void *
qz_big(size_t n)
{
	const size_t page = LARGE_PAGE;
	size_t rounded = (n + page - 1) & ~(page - 1);
	void *p;

	if (n < page / 2 || rounded < n)
		return malloc(n);
	p = aligned_alloc(page, rounded);
	if (p)
		madvise(p, rounded, MADV_HUGEPAGE);
	return p;
}
