/* attention and its backward pass: blocks of queries against all the keys they see, so that memory
 * grows with the length, not with its square.
 *
 * Forward, a part is a block of queries of one head.  Backward, a part is one key/value head of one
 * document: it owns dk and dv, and runs over the query blocks of the heads that share them.  There
 * the scores are computed again; P = exp(scale q k - lse). */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/lanes.h"

enum { BLOCK = 64 }; /* queries */

struct job {
	const struct qz_attn *a;
	real *scratch;
	int64_t per_thread; /* reals */
	int blocks;         /* a document */
};

/* The keys that a block of queries of a document sees. */
struct block {
	int64_t q0, n;       /* rows of q, count */
	int64_t k0, nk;      /* rows of k and v that any of them sees */
	int64_t first, last; /* of the first query, relative to k0; one more with each query */
	int64_t ldq, ldk;
};

static size_t
attention_reals(int64_t max_k, int rows)
{
	return ws_bytes(rows * BLOCK * max_k + BLOCK) / sizeof(real);
}

size_t
CPU(attention_need)(int threads, const struct qz_need *need)
{
	return (size_t)threads * attention_reals(need->max_len, 2) * sizeof(real);
}

static bool
prepare(struct qz_dev *d, struct job *j, const struct qz_attn *a, int rows, const char *op)
{
	j->a = a;
	j->per_thread = (int64_t)attention_reals(a->max_k, rows);
	j->scratch = CPU(ws)(d, (size_t)(CPU(threads)(d) * j->per_thread) * sizeof(real), op);
	j->blocks = n_parts(a->max_q, BLOCK);
	return j->scratch != NULL;
}

/* Block b of document d; false when the document is shorter. */
static bool
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
	s->k0 = max64(lo, 0);
	s->nk = max64(hi + s->n - s->k0, 0);
	s->first = a->window > 0 ? lo - s->k0 : -nk;
	s->last = hi - s->k0;
	s->k0 += a->k_start[d];
	s->ldq = (int64_t)a->heads * a->head_dim;
	s->ldk = (int64_t)a->kv_heads * a->head_dim;
	return true;
}

/* The keys from *lo to *hi (behind the last) of the block's query i. */
static void
seen(const struct qz_attn *a, const struct block *s, int64_t i, int64_t *lo, int64_t *hi)
{
	*lo = a->window > 0 ? max64(s->first + i, 0) : 0;
	*hi = max64(s->last + i + 1, *lo);
}

static void
exp_row(real *restrict p, int64_t n, real scale, real shift)
{
	for (int64_t j = 0; j < n; j++)
		p[j] = exponential(p[j] * scale - shift);
}

static void
clear(real *p, int64_t n)
{
	for (int64_t j = 0; j < n; j++)
		p[j] = 0;
}

/* Scores become probabilities times their sum; returns the sum and sets lse. */
static real
soften(real *p, const struct qz_attn *a, int64_t n, real *lse)
{
	real top, sum;

	if (n <= 0) {
		*lse = -(real)INFINITY;
		return 0;
	}
	top = largest(p, n) * a->scale;
	exp_row(p, n, a->scale, top);
	sum = total(p, n);
	*lse = top + (real)log(sum);
	return sum;
}

static void
attend(void *arg, int part, int thread)
{
	const struct job *j = arg;
	const struct qz_attn *a = j->a;
	int head = part % a->heads, block = part / a->heads % j->blocks;
	real *p = j->scratch + thread * j->per_thread, *sums = p + BLOCK * (int64_t)a->max_k, *o;
	const real *k, *v;
	struct block s;

	if (!find_block(a, part / a->heads / j->blocks, block, &s))
		return;
	k = (const real *)a->k + s.k0 * s.ldk +
	    (int64_t)(head / (a->heads / a->kv_heads)) * a->head_dim;
	v = (const real *)a->v + (k - (const real *)a->k);
	o = (real *)a->o + s.q0 * s.ldq + (int64_t)head * a->head_dim;
	CPU(gemm)
	(false, true, s.n, s.nk, a->head_dim, 1, (const real *)a->q + (o - (real *)a->o), s.ldq, k,
	    s.ldk, false, p, s.nk);
	for (int64_t i = 0; i < s.n; i++) {
		real *row = p + i * s.nk;
		int64_t lo, hi;

		seen(a, &s, i, &lo, &hi);
		sums[i] = soften(
		    row + lo, a, hi - lo, (real *)a->lse + (s.q0 + i) * a->heads + head);
		clear(row, lo);
		clear(row + hi, s.nk - hi);
	}
	CPU(gemm)(false, false, s.n, a->head_dim, s.nk, 1, p, s.nk, v, s.ldk, false, o, s.ldq);
	for (int64_t i = 0; i < s.n; i++)
		for (int c = 0; c < a->head_dim; c++)
			o[i * s.ldq + c] = sums[i] > 0 ? o[i * s.ldq + c] / sums[i] : 0;
}

void
CPU(attention)(struct qz_dev *d, const struct qz_attn *a)
{
	struct job j;

	if (prepare(d, &j, a, 1, "attention"))
		CPU(run)(d, a->n_docs * j.blocks * a->heads, attend, &j);
}

/* ds = p * (dp - sum(d_o * o)) * scale, in dp's place. */
static void
score_gradient(real *restrict dp, const real *restrict p, int64_t n, real delta, real scale)
{
	for (int64_t j = 0; j < n; j++)
		dp[j] = p[j] * (dp[j] - delta) * scale;
}

/* One query block of one head: dq, and its share of dk and dv. */
static void
attend_back(const struct qz_attn *a, const struct block *s, int head, real *p)
{
	real *dp = p + s->n * s->nk;
	int64_t kv = s->k0 * s->ldk + (int64_t)(head / (a->heads / a->kv_heads)) * a->head_dim;
	int64_t at = s->q0 * s->ldq + (int64_t)head * a->head_dim;
	const real *q = (const real *)a->q + at, *d_o = (const real *)a->d_o + at;
	const real *o = (const real *)a->o + at, *k = (const real *)a->k + kv,
		   *v = (const real *)a->v + kv;

	CPU(gemm)(false, true, s->n, s->nk, a->head_dim, 1, q, s->ldq, k, s->ldk, false, p, s->nk);
	CPU(gemm)
	(false, true, s->n, s->nk, a->head_dim, 1, d_o, s->ldq, v, s->ldk, false, dp, s->nk);
	for (int64_t i = 0; i < s->n; i++) {
		real *row = p + i * s->nk, *drow = dp + i * s->nk;
		real lse = ((const real *)a->lse)[(s->q0 + i) * a->heads + head];
		real delta = dot(d_o + i * s->ldq, o + i * s->ldq, a->head_dim);
		int64_t lo, hi;

		seen(a, s, i, &lo, &hi);
		exp_row(row + lo, hi - lo, a->scale, lse);
		score_gradient(drow + lo, row + lo, hi - lo, delta, a->scale);
		clear(row, lo);
		clear(row + hi, s->nk - hi);
		clear(drow, lo);
		clear(drow + hi, s->nk - hi);
	}
	CPU(gemm)
	(false, false, s->n, a->head_dim, s->nk, 1, dp, s->nk, k, s->ldk, false, (real *)a->dq + at,
	    s->ldq);
	CPU(gemm)
	(true, false, s->nk, a->head_dim, s->n, 1, dp, s->nk, q, s->ldq, true, (real *)a->dk + kv,
	    s->ldk);
	CPU(gemm)
	(true, false, s->nk, a->head_dim, s->n, 1, p, s->nk, d_o, s->ldq, true, (real *)a->dv + kv,
	    s->ldk);
}

static void
head_back(void *arg, int part, int thread)
{
	const struct job *j = arg;
	const struct qz_attn *a = j->a;
	int doc = part / a->kv_heads, kv_head = part % a->kv_heads, group = a->heads / a->kv_heads;
	int64_t ldk = (int64_t)a->kv_heads * a->head_dim;
	struct block s;

	for (int64_t t = a->k_start[doc]; t < a->k_start[doc + 1]; t++) {
		clear((real *)a->dk + t * ldk + (int64_t)kv_head * a->head_dim, a->head_dim);
		clear((real *)a->dv + t * ldk + (int64_t)kv_head * a->head_dim, a->head_dim);
	}
	for (int b = 0; find_block(a, doc, b, &s); b++)
		for (int h = 0; h < group; h++)
			attend_back(
			    a, &s, kv_head * group + h, j->scratch + thread * j->per_thread);
}

void
CPU(attention_bwd)(struct qz_dev *d, const struct qz_attn *a)
{
	struct job j;

	if (prepare(d, &j, a, 2, "attention_bwd"))
		CPU(run)(d, a->n_docs * a->kv_heads, head_back, &j);
}
