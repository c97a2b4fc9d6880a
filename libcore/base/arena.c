#include "libcore/base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/buf.h"

enum { BLOCK = 64 * 1024 };

struct qz_arena_block {
	struct qz_arena_block *next;
	size_t used, cap;
	_Alignas(16) char data[];
};

void *
qz_arena_alloc(struct qz_arena *a, size_t nbytes)
{
	struct qz_arena_block *b = a->blocks;
	size_t cap;
	void *p;

	if (nbytes > (size_t)-1 / 2)
		return NULL;
	nbytes = (nbytes + 15) & ~(size_t)15;
	if (!b || b->cap - b->used < nbytes) {
		cap = nbytes > BLOCK ? nbytes : BLOCK;
		b = qz_big(sizeof *b + cap);
		if (!b)
			return NULL;
		memset(b, 0, sizeof *b + cap);
		b->cap = cap;
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->data + b->used;
	b->used += nbytes;
	return p;
}

char *
qz_arena_strndup(struct qz_arena *a, const char *s, size_t n)
{
	char *p = n == (size_t)-1 ? NULL : qz_arena_alloc(a, n + 1);

	if (p && n)
		memcpy(p, s, n);
	return p;
}

char *
qz_arena_strdup(struct qz_arena *a, const char *s)
{
	return qz_arena_strndup(a, s, strlen(s));
}

void
qz_arena_free(struct qz_arena *a)
{
	for (struct qz_arena_block *b = a->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	a->blocks = NULL;
}
