/* attention: a part is a block of queries of the heads that share a key/value head. */
#include "kernels/cpu/attention.h"

enum { ONE_BY_ONE = 4 }; /* up to so many queries, panels do not pay */

struct job {
	const struct qz_attn *a;
	char *scratch;
	size_t per_thread;
	int blocks; /* a document */
};

size_t
CPU(attention_need)(int threads, const struct qz_need *need)
{
	return CPU(attention_bwd_bytes)(need->tokens, need->heads, need->kv_heads, need->head_dim) +
	       (size_t)threads * attention_bytes(need->max_len, need->head_dim, 2);
}

/* Scores become exp(scale * (score - largest)); returns their sum and sets lse.  n: a multiple of LANES. */
static real
soften(real *restrict p, real scale, int64_t n, real *lse)
{
	real s[LANES], top, sum;

	for (int j = 0; j < LANES; j++)
		s[j] = p[j];
	for (int64_t i = LANES; i < n; i += LANES)
		for (int j = 0; j < LANES; j++)
			s[j] = p[i + j] > s[j] ? p[i + j] : s[j];
	top = fold_largest(s) * scale;
	*lse = top;
	if (top == -(real)INFINITY) /* no keys */
		return 0;
	for (int j = 0; j < LANES; j++)
		s[j] = 0;
	for (int64_t i = 0; i < n; i += LANES) {
		for (int j = 0; j < LANES; j++) {
			real e = exponential(fma_real(p[i + j], scale, -top));

			p[i + j] = e;
			s[j] += e;
		}
	}
	sum = fold(s);
	*lse = top + (real)log(sum);
	return sum;
}

static void
scores_one_by_one(
    const struct qz_attn *a, const struct block *s, const real *q, const real *k, real *p)
{
	for (int64_t i = 0; i < s->n; i++)
		for (int64_t j = 0; j < s->nk; j++)
			p[i * s->ld + j] = dot(q + i * s->ldq, k + j * s->ldk, a->head_dim);
}

/* Queries i .. i+m of one head, whose scores are in p. */
static void
attend_sub(const struct qz_attn *a, const struct block *s, int64_t i, int64_t m, int head, real *p,
    const real *v)
{
	real *o = (real *)a->o + (s->q0 + i) * s->ldq + (int64_t)head * a->head_dim, sum[SUB];
	int64_t end = seen_by_sub(s, i), n = whole(end);

	p += i * s->ld;
	for (int64_t r = 0; r < m; r++) {
		real *row = p + r * s->ld;

		hide(a, s, i + r, row, n);
		sum[r] = soften(
		    row, a->scale, n, (real *)a->lse + (s->q0 + i + r) * a->heads + head);
	}
	CPU(gemm)(false, false, m, a->head_dim, end, 1, p, s->ld, v, s->ldk, false, o, s->ldq);
	for (int64_t r = 0; r < m; r++)
		for (int c = 0; c < a->head_dim; c++)
			o[r * s->ldq + c] = sum[r] == 0 ? 0 : o[r * s->ldq + c] / sum[r];
}

/* Blocks that see most come first. */
static void
attend(void *arg, int part, int thread)
{
	const struct job *j = arg;
	const struct qz_attn *a = j->a;
	int group = a->heads / a->kv_heads, kv_head = part % a->kv_heads;
	int block = j->blocks - 1 - part / a->kv_heads % j->blocks;
	int doc = part / a->kv_heads / j->blocks;
	real *panels = (real *)(void *)(j->scratch + (size_t)thread * j->per_thread), *p;
	const real *k, *v;
	struct block s;

	if (!find_block(a, doc, block, &s))
		return;
	k = (const real *)a->k + (a->k_start[doc] + s.k0) * s.ldk + (int64_t)kv_head * a->head_dim;
	v = (const real *)a->v + (k - (const real *)a->k);
	p = panels + s.ld * a->head_dim;
	if (s.n > ONE_BY_ONE)
		turn_rows(a, panels, k, s.ldk, s.nk);
	for (int head = kv_head * group; head < (kv_head + 1) * group; head++) {
		const real *q = (const real *)a->q + s.q0 * s.ldq + (int64_t)head * a->head_dim;

		if (s.n <= ONE_BY_ONE)
			scores_one_by_one(a, &s, q, k, p);
		for (int64_t i = 0; i < s.n; i += SUB) {
			if (s.n > ONE_BY_ONE)
				scores(a, &s, i, q, panels, p);
			attend_sub(a, &s, i, min64(SUB, s.n - i), head, p, v);
		}
	}
}

void
CPU(attention)(struct qz_dev *d, const struct qz_attn *a)
{
	struct job j = { .a = a,
		.per_thread = attention_bytes(a->max_k, a->head_dim, 1),
		.blocks = n_parts(a->max_q, BLOCK) };

	j.scratch = CPU(ws)(d, (size_t)CPU(threads)(d) * j.per_thread, "attention");
	if (j.scratch)
		CPU(run)(d, a->n_docs * j.blocks * a->kv_heads, attend, &j);
}
