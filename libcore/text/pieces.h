/* pieces - the pieces of a text, in order, as the pre-tokenizer cuts it. */
#ifndef QZ_PIECES_H
#define QZ_PIECES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct qz_piece {
	uint32_t at, n; /* bytes */
};

/* Zeroed is empty; growth that fails sets `failed`. */
struct qz_pieces {
	struct qz_piece *v;
	size_t n, cap;
	bool failed;
};

static inline void
qz_pieces_grow(struct qz_pieces *s)
{
	size_t cap = s->cap ? 2 * s->cap : 256;
	struct qz_piece *v = realloc(s->v, cap * sizeof *v);

	if (!v) {
		s->failed = true;
		s->n = 0;
		return;
	}
	s->v = v;
	s->cap = cap;
}

/* An empty piece is no piece. */
static inline void
qz_pieces_add(struct qz_pieces *s, size_t at, size_t end)
{
	if (at == end)
		return;
	if (s->n == s->cap)
		qz_pieces_grow(s);
	if (s->failed)
		return;
	s->v[s->n].at = (uint32_t)at;
	s->v[s->n++].n = (uint32_t)(end - at);
}

#endif
