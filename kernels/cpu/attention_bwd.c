/* attention_bwd: a part is one head of one document.  It computes the scores again, P = exp(scale q k -
 * lse), and its own share of dk and dv; those of the heads that share keys are then added up in order. */
#include <string.h>

#include "kernels/cpu/attention.h"

struct job {
	const struct qz_attn *a;
	real *dk, *dv; /* (tokens, heads * head_dim) */
	char *scratch;
	size_t per_thread;
	int64_t tokens;
};

/* What one part works on. */
struct part {
	const struct qz_attn *a;
	const real *q, *k, *v, *o, *d_o; /* of the head, at the document's first row */
	const real *k_panels, *v_panels;
	real *dq, *dk, *dv;
	int head;
	int64_t ldd; /* of dk, dv */
};

size_t
CPU(attention_bwd_bytes)(int64_t tokens, int heads, int kv_heads, int head_dim)
{
	return heads == kv_heads ? 0 : 2 * ws_bytes(tokens * heads * head_dim);
}

/* p from the scores; ds = p * (dp - delta) * scale in dp's place, delta = sum(d_o * o). */
static void
score_gradient(real *restrict p, real *restrict dp, int64_t n, real scale, real lse, real delta)
{
	for (int64_t j = 0; j < n; j++) {
		p[j] = exponential(fma_real(p[j], scale, -lse));
		dp[j] = p[j] * (dp[j] - delta) * scale;
	}
}

/* Queries i .. i+m: P and ds from the scores and dp, and dq. */
static void
queries_back(const struct part *w, const struct block *s, int64_t i, int64_t m, real *p, real *dp)
{
	const struct qz_attn *a = w->a;
	int64_t end = seen_by_sub(s, i), n = whole(end);

	p += i * s->ld;
	dp += i * s->ld;
	for (int64_t r = 0; r < m; r++) {
		int64_t t = s->q0 + i + r, at = t * s->ldq;
		real lse = ((const real *)a->lse)[t * a->heads + w->head];
		real delta = dot(w->d_o + at, w->o + at, a->head_dim);

		hide(a, s, i + r, p + r * s->ld, n);
		score_gradient(p + r * s->ld, dp + r * s->ld, n, a->scale, lse, delta);
	}
	CPU(gemm)
	(false, false, m, a->head_dim, end, 1, dp, s->ld, w->k + s->k0 * s->ldk, s->ldk, false,
	    w->dq + (s->q0 + i) * s->ldq, s->ldq);
}

/* dk and dv of the keys that only the queries from i on see, or of all that the first ones see. */
static void
keys_back(const struct part *w, const struct block *s, int64_t i, const real *p, const real *dp)
{
	int64_t from = i ? seen_by_sub(s, i - SUB) : 0, n = seen_by_sub(s, i) - from;
	int64_t q = (s->q0 + i) * s->ldq, at = i * s->ld + from, to = (s->k0 + from) * w->ldd;

	CPU(gemm)
	(true, false, n, w->a->head_dim, s->n - i, 1, dp + at, s->ld, w->q + q, s->ldq, true,
	    w->dk + to, w->ldd);
	CPU(gemm)
	(true, false, n, w->a->head_dim, s->n - i, 1, p + at, s->ld, w->d_o + q, s->ldq, true,
	    w->dv + to, w->ldd);
}

static void
block_back(const struct part *w, const struct block *s, real *p)
{
	const struct qz_attn *a = w->a;
	real *dp = p + BLOCK * s->ld;
	int64_t panel = s->k0 * a->head_dim, q0 = s->q0 * s->ldq;

	for (int64_t i = 0; i < s->n; i += SUB) {
		scores(a, s, i, w->q + q0, w->k_panels + panel, p);
		scores(a, s, i, w->d_o + q0, w->v_panels + panel, dp);
		queries_back(w, s, i, min64(SUB, s->n - i), p, dp);
	}
	for (int64_t i = 0; i < s->n; i += SUB)
		keys_back(w, s, i, p, dp);
}

static void
head_back(void *arg, int part, int thread)
{
	const struct job *j = arg;
	const struct qz_attn *a = j->a;
	int doc = part / a->heads, head = part % a->heads,
	    kv_head = head / (a->heads / a->kv_heads);
	int64_t n = a->k_start[doc + 1] - a->k_start[doc], row = a->k_start[doc];
	int64_t at = (int64_t)head * a->head_dim;
	int64_t ldk = (int64_t)a->kv_heads * a->head_dim, ldd = (int64_t)a->heads * a->head_dim;
	int64_t kv = row * ldk + (int64_t)kv_head * a->head_dim;
	real *panels = (real *)(void *)(j->scratch + (size_t)thread * j->per_thread);
	real *more = panels + whole(n) * a->head_dim;
	struct part w = { .a = a,
		.q = (const real *)a->q + at,
		.k = (const real *)a->k + kv,
		.v = (const real *)a->v + kv,
		.o = (const real *)a->o + at,
		.d_o = (const real *)a->d_o + at,
		.k_panels = panels,
		.v_panels = more,
		.dq = (real *)a->dq + at,
		.dk = j->dk + row * ldd + at,
		.dv = j->dv + row * ldd + at,
		.head = head,
		.ldd = ldd };
	struct block s;

	for (int64_t t = 0; t < n; t++) {
		memset(w.dk + t * ldd, 0, (size_t)a->head_dim * sizeof(real));
		memset(w.dv + t * ldd, 0, (size_t)a->head_dim * sizeof(real));
	}
	turn_rows(a, panels, w.k, ldk, n);
	turn_rows(a, more, w.v, ldk, n);
	for (int b = 0; find_block(a, doc, b, &s); b++)
		block_back(&w, &s, more + whole(n) * a->head_dim);
}

/* y (kv_heads * head_dim) = the sum of x's heads that share each. */
static void
add_up(const struct qz_attn *a, real *y, const real *x)
{
	int group = a->heads / a->kv_heads, dim = a->head_dim;

	for (int h = 0; h < a->kv_heads; h++, y += dim, x += group * dim) {
		for (int c = 0; c < dim; c++)
			y[c] = x[c];
		for (int g = 1; g < group; g++)
			for (int c = 0; c < dim; c++)
				y[c] += x[g * dim + c];
	}
}

static void
add_up_part(void *arg, int part, int thread)
{
	const struct job *j = arg;
	const struct qz_attn *a = j->a;
	int64_t wide = (int64_t)a->heads * a->head_dim, narrow = (int64_t)a->kv_heads * a->head_dim;
	int64_t per = rows_a_part(wide), end = min64((part + 1) * per, j->tokens);

	(void)thread;
	for (int64_t t = part * per; t < end; t++) {
		add_up(a, (real *)a->dk + t * narrow, j->dk + t * wide);
		add_up(a, (real *)a->dv + t * narrow, j->dv + t * wide);
	}
}

void
CPU(attention_bwd)(struct qz_dev *d, const struct qz_attn *a)
{
	struct job j = { .a = a, .dk = a->dk, .dv = a->dv, .tokens = a->k_start[a->n_docs] };
	size_t shared = CPU(attention_bwd_bytes)(j.tokens, a->heads, a->kv_heads, a->head_dim);
	char *ws;

	j.per_thread = attention_bytes(a->max_k, a->head_dim, 2);
	ws = CPU(ws)(d, shared + (size_t)CPU(threads)(d) * j.per_thread, "attention_bwd");
	if (!ws)
		return;
	if (shared) {
		j.dk = (real *)(void *)ws;
		j.dv = (real *)(void *)(ws + shared / 2);
	}
	j.scratch = ws + shared;
	CPU(run)(d, a->n_docs * a->heads, head_back, &j);
	if (shared)
		CPU(run)
	(d, n_parts(j.tokens, rows_a_part((int64_t)a->heads * a->head_dim)), add_up_part, &j);
}
