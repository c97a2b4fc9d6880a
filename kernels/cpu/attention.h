/* attention - what the forward and the backward pass share: a block of queries against all the keys it
 * sees, so that memory grows with the length, not with its square.
 *
 * Keys (and backward, values) are laid out in panels for the products that need their transpose.  Of a
 * block's scores only those are computed that some query of the same SUB queries sees; what stands
 * before or behind a query's own keys there is hidden. */
#ifndef QZ_CPU_ATTENTION_H
#define QZ_CPU_ATTENTION_H

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/lanes.h"

enum {
	SUB = 2 * STEP,        /* queries whose keys end together */
	BLOCK = 64 / SUB * SUB /* queries */
};

/* The keys that a block of queries of a document sees. */
struct block {
	int64_t q0, n;        /* rows of q, count */
	int64_t k0, nk;       /* rows of k and v that any of them sees */
	int64_t first, last;  /* of the first query, relative to k0; one more with each query */
	int64_t ldq, ldk, ld; /* ld: of the scores */
};

/* Scores of a row are worked on up to a multiple of LANES, which is one of PANEL too. */
static inline int64_t
whole(int64_t n)
{
	return (n + LANES - 1) / LANES * LANES;
}

/* Block b of document d; false when the document is shorter. */
static inline bool
find_block(const struct qz_attn *a, int d, int b, struct block *s)
{
	int64_t nq = a->q_start[d + 1] - a->q_start[d], nk = a->k_start[d + 1] - a->k_start[d];
	int64_t i = (int64_t)b * BLOCK, lo, hi;

	if (i >= nq)
		return false;
	s->n = min64(BLOCK, nq - i);
	s->q0 = a->q_start[d] + i;
	hi = i + nk - nq; /* the last key of the first query */
	lo = a->window > 0 ? hi - a->window + 1 : 0;
	s->k0 = max64(lo, 0) / PANEL * PANEL;
	s->nk = max64(hi + s->n - s->k0, 0);
	s->first = a->window > 0 ? lo - s->k0 : -nk;
	s->last = hi - s->k0;
	s->ldq = (int64_t)a->heads * a->head_dim;
	s->ldk = (int64_t)a->kv_heads * a->head_dim;
	s->ld = whole(s->nk);
	return true;
}

/* Keys that any of the queries i .. i+SUB sees: 0 .. this. */
static inline int64_t
seen_by_sub(const struct block *s, int64_t i)
{
	return min64(s->nk, max64(s->last + i + SUB, 0));
}

/* p (m, ld) = x (m, head_dim) y^T for the queries from i on, y in panels from the block's first key on. */
static inline void
scores(const struct qz_attn *a, const struct block *s, int64_t i, const real *x, const real *panels,
    real *p)
{
	int64_t width = (seen_by_sub(s, i) + VL - 1) / VL * VL;

	CPU(gemm_panels)
	(min64(SUB, s->n - i), width, a->head_dim, x + i * s->ldq, s->ldq, panels, a->head_dim,
	    false, p + i * s->ld, s->ld);
}

/* n rows of head_dim columns, ldx apart, as the columns of panels. */
static inline void
turn_rows(const struct qz_attn *a, real *panels, const real *x, int64_t ldx, int64_t n)
{
	for (int64_t j = 0; j < n; j += PANEL)
		CPU(panel_turn)
	(panels + j * a->head_dim, x + j * ldx, ldx, min64(PANEL, n - j), a->head_dim);
}

/* Query i of a row of n scores sees nothing before or behind its keys: exp(-infinity) is 0. */
static inline void
hide(const struct qz_attn *a, const struct block *s, int64_t i, real *row, int64_t n)
{
	int64_t lo = a->window > 0 ? max64(s->first + i, 0) : 0, hi = max64(s->last + i + 1, lo);

	for (int64_t j = 0; j < lo; j++)
		row[j] = -(real)INFINITY;
	for (int64_t j = hi; j < n; j++)
		row[j] = -(real)INFINITY;
}

/* Scratch of a thread: what is in panels, and the scores, `times` over. */
static inline size_t
attention_bytes(int64_t max_k, int head_dim, int times)
{
	int64_t keys = whole(max_k + PANEL);

	return ws_bytes(times * keys * (head_dim + BLOCK));
}

/* attention_bwd.c: shared by all threads, for `tokens` keys. */
size_t CPU(attention_bwd_bytes)(int64_t tokens, int heads, int kv_heads, int head_dim);

#endif
