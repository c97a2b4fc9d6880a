/* mirror - a GPU as a device that takes the host's pointers, so that tests written for the CPU run on it.
 *
 * Around each op everything that its arguments point to is copied to the GPU, what it may write is
 * copied back, and a band of bytes behind each piece must come back as it went.  With mirror_skew 8
 * every pointer is on 8 bytes but not on 16. */
#ifndef QZ_TEST_MIRROR_H
#define QZ_TEST_MIRROR_H

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/backend.h"

enum { MIRROR_SIZE = 512 << 20, MIRROR_BAND = 256, MIRROR_PIECES = 64 };

static struct mirror {
	struct qz_dev dev;
	struct qz_backend k;
	struct qz_dev *gpu;
	char *memory;
	size_t used;
	struct {
		void *host;
		size_t n, at;
		bool out;
	} piece[MIRROR_PIECES];
	int n_pieces, spilled;
} mirror;
static size_t mirror_skew;

/* Where the n bytes at p will lie on the GPU.  What lies within a piece is part of it. */
static void *
lend(const void *p, size_t n, bool out)
{
	size_t at = mirror.used + mirror_skew;

	if (!p)
		return NULL;
	for (int i = 0; i < mirror.n_pieces; i++) {
		const char *host = mirror.piece[i].host, *from = p;

		if (from < host || from >= host + mirror.piece[i].n)
			continue;
		if (from + n > host + mirror.piece[i].n)
			abort();
		mirror.piece[i].out |= out;
		return mirror.memory + mirror.piece[i].at + (from - host);
	}
	mirror.used = (at + n + MIRROR_BAND + 255) / 256 * 256;
	if (mirror.n_pieces == MIRROR_PIECES || mirror.used > MIRROR_SIZE)
		abort();
	mirror.piece[mirror.n_pieces].host = (void *)p;
	mirror.piece[mirror.n_pieces].n = n;
	mirror.piece[mirror.n_pieces].at = at;
	mirror.piece[mirror.n_pieces++].out = out;
	return mirror.memory + at;
}

static void *
in(const void *p, size_t n)
{
	return lend(p, n, false);
}

static void *
out(const void *p, size_t n)
{
	return lend(p, n, true);
}

static void
mirror_before(void)
{
	const struct qz_backend *k = mirror.gpu->k;

	for (int i = 0; i < mirror.n_pieces; i++) {
		char *to = mirror.memory + mirror.piece[i].at;

		k->copy_in(mirror.gpu, to, mirror.piece[i].host, mirror.piece[i].n);
		k->fill(mirror.gpu, to + mirror.piece[i].n, 0xa5, MIRROR_BAND);
	}
}

static void
mirror_after(void)
{
	const struct qz_backend *k = mirror.gpu->k;
	uint8_t band[MIRROR_BAND];

	for (int i = 0; i < mirror.n_pieces; i++) {
		char *from = mirror.memory + mirror.piece[i].at;

		if (mirror.piece[i].out)
			k->copy_out(mirror.gpu, mirror.piece[i].host, from, mirror.piece[i].n);
		k->copy_out(mirror.gpu, band, from + mirror.piece[i].n, MIRROR_BAND);
		for (int j = 0; j < MIRROR_BAND; j++)
			mirror.spilled += band[j] != 0xa5;
	}
	mirror.n_pieces = 0;
	mirror.used = 0;
}

static size_t
act(int64_t n)
{
	return (size_t)n * mirror.k.act_size;
}

static size_t
par(int64_t n)
{
	return (size_t)n * mirror.k.par_size;
}

static size_t
plain(enum qz_dtype type, int64_t n)
{
	return (size_t)n * qz_dtype((unsigned)type)->bytes;
}

static struct qz_mat
lend_mat(const struct qz_mat *w)
{
	struct qz_mat m = *w;
	int64_t n = w->rows * w->cols, blocks = w->block ? (n + w->block - 1) / w->block : 0;
	uint64_t nbytes = 0;

	if (qz_dtype((unsigned)w->type)->ggml < 0 && !w->absmax)
		return m; /* no weight: it will be refused */
	if (!qz_dtype_nbytes(w->type, (uint64_t)n, &nbytes))
		m.data = in(w->data, nbytes);
	m.absmax = in(w->absmax,
	    w->type == QZ_INT8 ? (size_t)w->rows * 4 : (size_t)blocks * (w->nested_block ? 1 : 4));
	if (w->nested_block)
		m.nested_absmax = in(w->nested_absmax,
		    (size_t)((blocks + w->nested_block - 1) / w->nested_block) * 4);
	m.nested_map = in(w->nested_map, 1024);
	m.map = in(w->map, 64);
	return m;
}

/* One at a time: it is read during the call. */
static const struct qz_norm *
lend_norm(const struct qz_norm *norm, int64_t t, int64_t cols)
{
	static struct qz_norm m;

	m = (struct qz_norm){ .w = in(norm->w, (size_t)cols * 4),
		.rstd = out(norm->rstd, par(t)),
		.eps = norm->eps,
		.room = out(norm->room, act(t * cols)) };
	return &m;
}

static struct qz_linear
lend_linear(const struct qz_linear *l, int64_t t, bool back)
{
	struct qz_linear m = *l;

	m.w = lend_mat(&l->w);
	m.bias = in(l->bias, (size_t)l->w.rows * 4);
	m.y = back ? NULL : out(l->y, act(t * l->w.rows));
	m.dy = back ? in(l->dy, act(t * l->w.rows)) : NULL;
	m.plus = back || !l->plus ? NULL : in(l->plus, act(t * l->w.rows));
	m.a = in(l->rank ? l->a : NULL, act(l->rank * l->w.cols));
	m.b = in(l->rank ? l->b : NULL, act(l->rank * l->w.rows));
	m.da = out(l->rank && back ? l->da : NULL, par(l->rank * l->w.cols));
	m.db = out(l->rank && back ? l->db : NULL, par(l->rank * l->w.rows));
	m.s = lend(
	    l->rank ? l->s : NULL, act(l->lds ? (t - 1) * l->lds + l->rank : t * l->rank), !back);
	m.norm = back && l->norm ? lend_norm(l->norm, t, l->w.cols) : NULL;
	m.left = lend(back && l->rank ? l->left : NULL,
	    l->begun ? act(t * l->rank) : qz_left_bytes(mirror.k.act_size, t, l->rank, l->w.cols),
	    back);
	return m;
}

/* What is left of projections begun together is one piece. */
static void
lend_begun(const struct qz_linear *l, int n_l, int64_t t)
{
	int64_t rank = 0;

	for (int i = 0; i < n_l; i++)
		rank += l[i].rank;
	out(rank ? l->left : NULL, act(t * rank));
}

/* Adapters that lie side by side lie so on the GPU too. */
static void
lend_side_by_side(const struct qz_linear *l, int n_l, int64_t t, bool back)
{
	int64_t rank = 0, cols = l->w.cols;

	if (n_l < 2 || !l->lds)
		return;
	for (int i = 0; i < n_l; i++)
		rank += l[i].rank;
	in(l->a, act(rank * cols));
	lend(l->s, act(t * l->lds), !back);
	if (back)
		out(l->da, par(rank * cols));
}

static struct qz_attn
lend_attn(const struct qz_attn *a, bool back)
{
	struct qz_attn m = *a;
	size_t nq = act((int64_t)a->q_start[a->n_docs] * a->heads * a->head_dim);
	size_t nk = act((int64_t)a->k_start[a->n_docs] * a->kv_heads * a->head_dim);

	m.q_host = a->q_start;
	m.k_host = a->k_start;
	m.q_start = in(a->q_start, (size_t)(a->n_docs + 1) * 4);
	m.k_start = in(a->k_start, (size_t)(a->n_docs + 1) * 4);
	m.q = in(a->q, nq);
	m.k = in(a->k, nk);
	m.v = in(a->v, nk);
	m.o = lend(a->o, nq, !back);
	m.lse = lend(a->lse, par((int64_t)a->q_start[a->n_docs] * a->heads), !back);
	m.d_o = back ? in(a->d_o, nq) : NULL;
	m.dq = back ? out(a->dq, nq) : NULL;
	m.dk = back ? out(a->dk, nk) : NULL;
	m.dv = back ? out(a->dv, nk) : NULL;
	return m;
}

static int64_t
largest_row(const int32_t *rows, int64_t n)
{
	int64_t most = 0;

	for (int64_t i = 0; i < n; i++)
		most = rows[i] + 1 > most ? rows[i] + 1 : most;
	return most;
}

#define MIRROR(name, args, ...)                                                                    \
	static void mirror_##name args                                                             \
	{                                                                                          \
		(void)d;                                                                           \
		__VA_ARGS__                                                                        \
		mirror_after();                                                                    \
	}
#define ON_GPU(name, ...) (mirror_before(), mirror.gpu->k->name(mirror.gpu, __VA_ARGS__))

MIRROR(quantize4,
       (struct qz_dev * d, enum qz_dtype type, uint8_t *codes, float *absmax, const void *x,
	   enum qz_dtype x_type, int64_t n, int block),
       bool plain_x = qz_dtype((unsigned)x_type)->plain;
       int64_t blocks = block > 0 ? (n + block - 1) / block : 0;
       codes = out(codes, (size_t)(n + 1) / 2); absmax = out(absmax, (size_t)blocks * 4);
       x = plain_x ? in(x, plain(x_type, n)) : NULL;
       ON_GPU(quantize4, type, codes, absmax, x, x_type, n, block);)

MIRROR(nest_absmax,
       (struct qz_dev * d, uint8_t *codes, float *nested, const float *absmax, float offset,
	   int64_t n, int block),
       codes = out(codes, (size_t)n);
       nested = out(nested, (size_t)(block > 0 ? (n + block - 1) / block : 0) * 4);
       absmax = in(absmax, (size_t)n * 4);
       ON_GPU(nest_absmax, codes, nested, absmax, offset, n, block);)

MIRROR(quantize8,
       (struct qz_dev * d, int8_t *codes, float *absmax, const void *x, enum qz_dtype x_type,
	   int64_t rows, int64_t cols),
       codes = out(codes, (size_t)(rows *cols));
       absmax = out(absmax, (size_t)rows * 4); x = in(x, plain(x_type, rows *cols));
       ON_GPU(quantize8, codes, absmax, x, x_type, rows, cols);)

MIRROR(dequantize,
       (struct qz_dev * d, void *y, enum qz_dtype y_type, const struct qz_mat *w, int64_t row0,
	   int64_t n_rows),
       struct qz_mat m = lend_mat(w);
       y = out(y, plain(y_type, n_rows * w->cols));
       ON_GPU(dequantize, y, y_type, &m, row0, n_rows);)

MIRROR(cast,
       (struct qz_dev * d, void *y, enum qz_dtype y_type, const void *x, enum qz_dtype x_type,
	   int64_t n),
       y = out(y, plain(y_type, n));
       x = in(x, plain(x_type, n)); ON_GPU(cast, y, y_type, x, x_type, n);)

MIRROR(merge,
       (struct qz_dev * d, float *w, const float *a, const float *b, float scale, int64_t rows,
	   int64_t cols, int rank),
       w = out(w, (size_t)(rows *cols) * 4);
       a = in(a, (size_t)(rank *cols) * 4); b = in(b, (size_t)(rank *rows) * 4);
       ON_GPU(merge, w, a, b, scale, rows, cols, rank);)

MIRROR(quantize_ggml,
       (struct qz_dev * d, enum qz_dtype type, void *y, const float *x, int64_t rows, int64_t cols,
	   const float *importance),
       uint64_t nbytes = 0;
       if (!qz_dtype_nbytes(type, (uint64_t)(rows *cols), &nbytes)) y = out(y, nbytes);
       x = in(x, (size_t)(rows *cols) * 4); importance = in(importance, (size_t)cols * 4);
       ON_GPU(quantize_ggml, type, y, x, rows, cols, importance);)

MIRROR(find_nonfinite,
       (struct qz_dev * d, int64_t *first, const void *x, enum qz_dtype x_type, int64_t n),
       x = in(x, plain(x_type, n));
       ON_GPU(find_nonfinite, first, x, x_type, n);)

MIRROR(embed,
       (struct qz_dev * d, qz_act *y, const struct qz_mat *table, const uint32_t *ids, int64_t t),
       struct qz_mat m = lend_mat(table);
       y = out(y, act(t * table->cols)); ids = in(ids, (size_t)t * 4);
       ON_GPU(embed, y, &m, ids, t);)

MIRROR(rmsnorm,
       (struct qz_dev * d, qz_act *y, qz_par *rstd, const qz_act *x, const float *w, int64_t rows,
	   int64_t cols, float eps),
       y = out(y, act(rows *cols));
       rstd = out(rstd, par(rows)); x = in(x, act(rows *cols)); w = in(w, (size_t)cols * 4);
       ON_GPU(rmsnorm, y, rstd, x, w, rows, cols, eps);)

MIRROR(rmsnorm_bwd,
       (struct qz_dev * d, qz_act *dx, const qz_act *dy, const qz_act *x, const qz_par *rstd,
	   const float *w, int64_t rows, int64_t cols, bool add),
       dx = out(dx, act(rows *cols));
       dy = in(dy, act(rows *cols)); x = in(x, act(rows *cols)); rstd = in(rstd, par(rows));
       w = in(w, (size_t)cols * 4); ON_GPU(rmsnorm_bwd, dx, dy, x, rstd, w, rows, cols, add);)

MIRROR(rope,
       (struct qz_dev * d, qz_act *q, qz_act *k, const qz_par *table, const int32_t *positions,
	   int64_t t, int heads, int kv_heads, int head_dim, bool inverse),
       q = out(q, act(t *heads *head_dim));
       k = out(k, act(t *kv_heads *head_dim));
       table = in(table, par(largest_row(positions, t) * head_dim));
       positions = in(positions, (size_t)t * 4);
       ON_GPU(rope, q, k, table, positions, t, heads, kv_heads, head_dim, inverse);)

MIRROR(linear, (struct qz_dev * d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t),
       struct qz_linear m[4];
       x = in(x, act(t * l->w.cols)); lend_side_by_side(l, n_l, t, false);
       for (int i = 0; i < n_l; i++) m[i] = lend_linear(&l[i], t, false);
       ON_GPU(linear, m, n_l, x, t);)

MIRROR(linear_bwd,
       (struct qz_dev * d, const struct qz_linear *l, int n_l, const qz_act *x, qz_act *dx,
	   int64_t t, bool add),
       struct qz_linear m[4];
       x = x ? in(x, act(t * l->w.cols)) : NULL; dx = out(dx, act(t * l->w.cols));
       lend_side_by_side(l, n_l, t, true); if (l->begun) lend_begun(l, n_l, t);
       for (int i = 0; i < n_l; i++) m[i] = lend_linear(&l[i], t, true);
       ON_GPU(linear_bwd, m, n_l, x, dx, t, add);)

MIRROR(linear_da,
       (struct qz_dev * d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t),
       struct qz_linear m[4];
       x = in(x, act(t * l->w.cols)); lend_side_by_side(l, n_l, t, true);
       for (int i = 0; i < n_l; i++) m[i] = lend_linear(&l[i], t, true);
       ON_GPU(linear_da, m, n_l, x, t);)

MIRROR(
    attention, (struct qz_dev * d, const struct qz_attn *a), struct qz_attn m = lend_attn(a, false);
    ON_GPU(attention, &m);)

MIRROR(attention_bwd, (struct qz_dev * d, const struct qz_attn *a),
       struct qz_attn m = lend_attn(a, true);
       ON_GPU(attention_bwd, &m);)

MIRROR(swiglu, (struct qz_dev * d, qz_act *h, const qz_act *g, const qz_act *u, int64_t n),
       h = out(h, act(n));
       g = in(g, act(n)); u = in(u, act(n)); ON_GPU(swiglu, h, g, u, n);)

MIRROR(swiglu_bwd,
       (struct qz_dev * d, qz_act *g, qz_act *u, const qz_act *dh, qz_act *h, int64_t n),
       g = out(g, act(n));
       u = out(u, act(n)); dh = in(dh, act(n)); h = out(h, act(n));
       ON_GPU(swiglu_bwd, g, u, dh, h, n);)

MIRROR(swiglu_adapted,
       (struct qz_dev * d, qz_act *h, const qz_act *g, const qz_act *u,
	   const struct qz_linear *down, int64_t t),
       struct qz_linear m = lend_linear(down, t, false);
       int64_t n = t * down->w.cols; h = out(h, act(n)); g = in(g, act(n)); u = in(u, act(n));
       ON_GPU(swiglu_adapted, h, g, u, &m, t);)

MIRROR(
    swiglu_adapted_bwd,
    (struct qz_dev * d, qz_act *g, qz_act *u, qz_act *dh, const struct qz_linear *down,
	const struct qz_linear *gate_up, int64_t t),
    struct qz_linear m = lend_linear(down, t, true), both[2];
    int64_t n = t * down->w.cols; g = out(g, act(n)); u = out(u, act(n)); dh = out(dh, act(n));
    lend_begun(gate_up, 2, t); lend_side_by_side(gate_up, 2, t, true); for (int i = 0; i < 2; i++) {
	    both[i] = gate_up[i];
	    both[i].begun = true;
	    both[i] = lend_linear(&both[i], t, true);
    } ON_GPU(swiglu_adapted_bwd, g, u, dh, &m, both, t);)

MIRROR(
    gather,
    (struct qz_dev * d, qz_act *y, const qz_act *x, const int32_t *rows, int64_t n, int64_t cols),
    y = out(y, act(n *cols));
    x = in(x, act(largest_row(rows, n) * cols)); rows = in(rows, (size_t)n * 4);
    ON_GPU(gather, y, x, rows, n, cols);)

MIRROR(
    scatter,
    (struct qz_dev * d, qz_act *x, const qz_act *y, const int32_t *rows, int64_t n, int64_t cols),
    x = out(x, act(largest_row(rows, n) * cols));
    y = in(y, act(n *cols)); rows = in(rows, (size_t)n * 4); ON_GPU(scatter, x, y, rows, n, cols);)

MIRROR(head,
       (struct qz_dev * d, qz_par *logits, const qz_act *x, const struct qz_mat *w, int64_t n),
       struct qz_mat m = lend_mat(w);
       logits = out(logits, par(n * w->rows)); x = in(x, act(n * w->cols));
       ON_GPU(head, logits, x, &m, n);)

MIRROR(head_bwd,
       (struct qz_dev * d, qz_act *dx, const qz_act *dlogits, const struct qz_mat *w, int64_t n),
       struct qz_mat m = lend_mat(w);
       dx = out(dx, act(n * w->cols)); dlogits = in(dlogits, par(n * w->rows));
       ON_GPU(head_bwd, dx, dlogits, &m, n);)

MIRROR(cross_entropy,
       (struct qz_dev * d, double *loss, qz_par *logits, const uint32_t *target, int64_t n,
	   int64_t vocab, double scale),
       loss = out(loss, (size_t)n * 8);
       logits = out(logits, par(n *vocab)); target = in(target, (size_t)n * 4);
       ON_GPU(cross_entropy, loss, logits, target, n, vocab, scale);)

MIRROR(sum_squares, (struct qz_dev * d, double *sum, const qz_par *x, int64_t n), sum = out(sum, 8);
       x = in(x, par(n)); ON_GPU(sum_squares, sum, x, n);)

MIRROR(adamw,
       (struct qz_dev * d, const struct qz_adamw *args, const double *sum, qz_par *p, qz_par *m,
	   qz_par *v, const qz_par *g, qz_act *copy, int64_t n),
       args = in(args, sizeof *args);
       sum = in(sum, 8); p = out(p, par(n)); m = out(m, par(n)); v = out(v, par(n));
       g = in(g, par(n)); copy = out(copy, act(n)); ON_GPU(adamw, args, sum, p, m, v, g, copy, n);)

MIRROR(adamw8,
       (struct qz_dev * d, const struct qz_adamw *args, const double *sum, qz_par *p, uint8_t *m,
	   uint8_t *v, float *absmax_m, float *absmax_v, const qz_par *g, qz_act *copy, int64_t n),
       size_t blocks = (size_t)(n + QZ_ADAMW8_BLOCK - 1) / QZ_ADAMW8_BLOCK;
       args = in(args, sizeof *args); sum = in(sum, 8); p = out(p, par(n)); m = out(m, (size_t)n);
       v = out(v, (size_t)n); absmax_m = out(absmax_m, blocks * 4);
       absmax_v = out(absmax_v, blocks * 4); g = in(g, par(n)); copy = out(copy, act(n));
       ON_GPU(adamw8, args, sum, p, m, v, absmax_m, absmax_v, g, copy, n);)

/* What is not an op is the GPU's own: workspace lies there. */
static void
mirror_close(struct qz_dev *d)
{
	(void)d;
	mirror.gpu->k->free(mirror.gpu, mirror.memory);
	mirror.gpu->k->close(mirror.gpu);
	mirror.gpu = NULL;
}

static void
mirror_describe(struct qz_dev *d, char *text, size_t n)
{
	(void)d;
	mirror.gpu->k->describe(mirror.gpu, text, n);
}

static void *
mirror_alloc(struct qz_dev *d, size_t n, struct qz_err *e)
{
	(void)d;
	return mirror.gpu->k->alloc(mirror.gpu, n, e);
}

static void
mirror_free(struct qz_dev *d, void *p)
{
	(void)d;
	mirror.gpu->k->free(mirror.gpu, p);
}

static void
mirror_fill(struct qz_dev *d, void *p, int byte, size_t n)
{
	(void)d;
	mirror.gpu->k->fill(mirror.gpu, p, byte, n);
}

static int
mirror_sync(struct qz_dev *d, struct qz_err *e)
{
	int spilled = mirror.spilled, ret = mirror.gpu->k->sync(mirror.gpu, e);

	(void)d;
	mirror.spilled = 0;
	if (ret == 0 && spilled)
		return qz_fail(
		    e, QZ_EIO, "%d bytes were written behind an op's arguments", spilled);
	return ret;
}

static size_t
mirror_workspace(struct qz_dev *d, const struct qz_need *need)
{
	(void)d;
	return mirror.gpu->k->workspace(mirror.gpu, need);
}

static void
mirror_set_workspace(struct qz_dev *d, void *p, size_t n)
{
	(void)d;
	mirror.gpu->k->set_workspace(mirror.gpu, p, n);
}

static bool
mirror_attention_parts(struct qz_dev *d, const struct qz_need *need, int parts)
{
	(void)d;
	return mirror.gpu->k->attention_parts(mirror.gpu, need, parts);
}

static void
mirror_attention_name(struct qz_dev *d, const struct qz_need *need, char *text, size_t n)
{
	(void)d;
	mirror.gpu->k->attention_name(mirror.gpu, need, text, n);
}

/* A GPU ("cuda" or "cuda-fp16") that the plugin in build/lib opens, one at a time; NULL and why not. */
__attribute__((unused)) static struct qz_dev *
mirror_open(const char *name, struct qz_err *e)
{
	static char exe[4096], path[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	struct mirror *m = &mirror;

	if (n > 0 && !getenv("QZ_PLUGINDIR")) {
		exe[n] = '\0';
		snprintf(path, sizeof path, "%.4000s/lib", dirname(dirname(dirname(exe))));
		setenv("QZ_PLUGINDIR", path, 1);
	}
	m->gpu = qz_device_open(name, 1, e);
	if (!m->gpu)
		return NULL;
	m->memory = m->gpu->k->alloc(m->gpu, MIRROR_SIZE, e);
	if (!m->memory) {
		qz_device_close(m->gpu);
		return NULL;
	}
	m->k = *m->gpu->k;
	m->dev.k = &m->k;
#define QZ_OP(name, args) m->k.name = mirror_##name;
#include "kernels/ops.def"
#undef QZ_OP
	m->k.close = mirror_close;
	m->k.describe = mirror_describe;
	m->k.alloc = mirror_alloc;
	m->k.free = mirror_free;
	m->k.fill = mirror_fill;
	m->k.sync = mirror_sync;
	m->k.workspace = mirror_workspace;
	m->k.set_workspace = mirror_set_workspace;
	m->k.attention_parts = mirror_attention_parts;
	m->k.attention_name = mirror_attention_name;
	return &m->dev;
}

#endif
