/* linear, and head, which is the same without an adapter. */
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/linear.h"

#include <string.h>

/* A batch holds one panel of output columns, or one row of the weight and the adapter, whatever GROUP says. */
static int64_t
room_forward(int64_t cols, int64_t rank)
{
	return max64(GROUP, PANEL * (slots(cols) + slots(rank)));
}

static int64_t
room_backward(int64_t cols, int64_t rank)
{
	return max64(GROUP, panels_width(cols) * (1 + slots(rank)));
}

static size_t
linear_bytes(int threads, int64_t room, int64_t tokens_rank)
{
	return ws_bytes(room) + ws_bytes(tokens_rank) + (size_t)threads * ws_bytes(SPAN);
}

size_t
CPU(linear_need)(int threads, const struct qz_need *need)
{
	int64_t tokens = max64(need->tokens, need->head_rows), rank = need->rank_sum;
	int64_t room = max64(room_forward(need->width, rank), room_backward(need->width, rank));

	return linear_bytes(threads, room, tokens * rank);
}

/* Forward, the few tokens of decoding use no panels. */
static int64_t
room_for(const struct job *j, int64_t rank)
{
	if (j->backward)
		return room_backward(j->cols, rank);
	return j->t <= FEW ? 0 : room_forward(j->cols, rank);
}

bool
CPU(linear_prepare)(struct qz_dev *d, struct job *j, const char *op)
{
	int64_t ranks = 0;
	char *ws;

	j->cols = j->l->w.cols;
	j->threads = CPU(threads)(d);
	for (int i = 0; i < j->n_l; i++) {
		if (!CPU(can_decode)(d, &j->l[i].w, op))
			return false;
		j->room = max64(j->room, room_for(j, j->l[i].rank));
		ranks += j->backward ? j->l[i].rank : 0;
	}
	ws = CPU(ws)(d, linear_bytes(j->threads, j->room, j->t * ranks), op);
	if (!ws)
		return false;
	j->panels = (real *)(void *)ws;
	j->p = (real *)(void *)(ws + ws_bytes(j->room));
	j->scratch = (real *)(void *)(ws + ws_bytes(j->room) + ws_bytes(j->t * ranks));
	return true;
}

void
CPU(linear_run)(struct qz_dev *d, struct job *j, void (*fn)(void *, int, int))
{
	int n = 0;

	for (int i = 0; i < j->n_kinds; i++)
		n += j->parts[i];
	CPU(run)(d, n, fn, j);
}

int
CPU(linear_kind)(const struct job *j, int *part)
{
	int kind = 0;

	while (*part >= j->parts[kind])
		*part -= j->parts[kind++];
	return kind;
}

/* s = drop(x) A^T for a tile of tokens; with dropout, the columns in turn. */
static void
s_part(const struct job *j, const struct qz_linear *l, int tile, int thread)
{
	int64_t t0 = (int64_t)tile * TOKENS, n = min64(TOKENS, j->t - t0), cols = j->cols;
	real *s = (real *)l->s + t0 * qz_linear_lds(l), *dropped = scratch(j, thread);

	if (l->dropout <= 0) {
		CPU(gemm)
		(false, true, n, l->rank, cols, 1, j->x + t0 * cols, cols, l->a, cols, false, s,
		    qz_linear_lds(l));
		return;
	}
	for (int64_t c = 0; c < cols; c += WIDTH) {
		int64_t len = min64(WIDTH, cols - c);

		CPU(drop)(l, dropped, j->x, t0, n, c, len);
		CPU(gemm)
		(false, true, n, l->rank, len, 1, dropped, len, (const real *)l->a + c, cols, c > 0,
		    s, qz_linear_lds(l));
	}
}

static void
add_bias(real *y, int64_t ldy, const float *bias, int64_t rows, int64_t n)
{
	for (int64_t t = 0; t < rows; t++)
		for (int64_t c = 0; c < n; c++)
			y[t * ldy + c] += bias[c];
}

/* A tile of y begins as what is added to it. */
static void
begin_tile(real *y, const real *plus, int64_t ld, int64_t t, int64_t n)
{
	for (int64_t i = 0; plus != y && i < t; i++)
		memcpy(y + i * ld, plus + i * ld, (size_t)n * sizeof *y);
}

/* Tokens from t0 on, columns c0 .. c0+len of a slice, which are in panels at w. */
static void
y_tile(const struct job *j, const struct slice *s, int64_t t0, int64_t c0, int64_t len,
    const real *w, int thread)
{
	const struct qz_linear *l = s->l;
	int64_t ldy = l->w.rows, n = min64(TOKENS, j->t - t0);
	real *y = (real *)l->y + t0 * ldy + s->row0 + c0;

	if (l->plus)
		begin_tile(y, (const real *)l->plus + t0 * ldy + s->row0 + c0, ldy, n, len);
	CPU(product)
	(n, len, j->cols, j->x + t0 * j->cols, j->cols, w, s->height, l->plus != NULL, y, ldy,
	    scratch(j, thread));
	if (s->tail)
		CPU(product)
	(n, len, s->tail, (const real *)l->s + t0 * qz_linear_lds(l), qz_linear_lds(l),
	    w + slots(j->cols) * PANEL, s->height, true, y, ldy, scratch(j, thread));
	if (l->bias)
		add_bias(y, ldy, l->bias + s->row0 + c0, n, len);
}

static void
y_part(const struct job *j, const struct slice *s, int part, int thread)
{
	int64_t width = tile_width(j, s->rows);
	int down = n_parts(j->t, TOKENS);
	int64_t c0 = part / down * width;

	y_tile(j, s, (int64_t)(part % down) * TOKENS, c0, min64(width, s->rows - c0),
	    j->panels + s->at + c0 * s->height, thread);
}

/* OWN columns of all tokens. */
static void
y_own(const struct job *j, const struct slice *s, int part, int thread)
{
	int64_t c0 = (int64_t)part * OWN, len = min64(OWN, s->rows - c0);
	real *w = own_panels(j, thread);

	for (int64_t c = 0; c < len; c += PANEL)
		CPU(pack_forward)(j, s, (int)((c0 + c) / PANEL), w + c * s->height);
	for (int64_t t = 0; t < j->t; t += TOKENS)
		y_tile(j, s, t, c0, len, w, thread);
}

/* Kinds of parts: panels of each slice, then s of each. */
static void
before_y(void *arg, int part, int thread)
{
	const struct job *j = arg;
	int kind = CPU(linear_kind)(j, &part);
	const struct slice *s = &j->slices[kind % j->n_slices];

	if (kind >= j->n_slices)
		s_part(j, s->l, part, thread);
	else
		CPU(pack_forward)
	(j, s, part, j->panels + s->at + (int64_t)part * PANEL * s->height);
}

static void
during_y(void *arg, int part, int thread)
{
	const struct job *j = arg;
	int kind = CPU(linear_kind)(j, &part);

	(j->own ? y_own : y_part)(j, &j->slices[kind], part, thread);
}

/* The next rows, as many as there is room for, all if threads have their own; false behind the last. */
static bool
next_batch(struct job *j)
{
	int64_t at = 0;

	for (j->n_slices = 0; j->n_slices < SLICES && j->next_l < j->n_l; j->n_slices++) {
		struct slice *s = &j->slices[j->n_slices];
		const struct qz_linear *l = &j->l[j->next_l];
		int64_t row0 = j->next_row, height = slots(j->cols) + slots(l->rank);
		int64_t rows = l->w.rows - row0;

		if (!j->own)
			rows = min64(rows, (j->room - at) / (height * PANEL) * PANEL);
		if (rows < 1)
			break;
		*s = (struct slice){
			.l = l, .row0 = row0, .rows = rows, .at = at, .height = height
		};
		s->first = row0 == 0;
		s->last = row0 + rows == l->w.rows;
		s->tail = l->rank;
		at += panels_width(rows) * height;
		j->next_row = s->last ? 0 : row0 + rows;
		j->next_l += s->last;
	}
	return j->n_slices > 0;
}

static void
few(struct qz_dev *d, struct job *j)
{
	for (int i = 0; i < j->n_l; i++) {
		const struct qz_linear *l = &j->l[i];

		if (l->rank && !l->begun)
			s_part(j, l, 0, 0);
		CPU(linear_few)(d, j, l);
	}
}

static void
set_before(struct job *j)
{
	int n = j->n_slices;

	j->n_kinds = 2 * n;
	for (int i = 0; i < n; i++) {
		const struct slice *s = &j->slices[i];

		j->parts[i] = j->own ? 0 : n_parts(s->rows, PANEL);
		j->parts[n + i] = begins(s) ? n_parts(j->t, TOKENS) : 0;
	}
}

static void
set_during(struct job *j)
{
	j->n_kinds = j->n_slices;
	for (int i = 0; i < j->n_slices; i++) {
		int64_t rows = j->slices[i].rows;

		j->parts[i] = j->own ? n_parts(rows, OWN)
				     : n_parts(j->t, TOKENS) * n_parts(rows, tile_width(j, rows));
	}
}

/* Blocks of OWN columns, and the highest panels. */
static bool
can_own(const struct job *j)
{
	int64_t blocks = 0, rank = 0;

	for (int i = 0; OWN > 0 && i < j->n_l; i++) {
		blocks += n_parts(j->l[i].w.rows, OWN);
		rank = max64(rank, j->l[i].rank);
	}
	return own(j, blocks, slots(j->cols) + slots(rank));
}

void
CPU(linear)(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	struct job j = { .l = l, .n_l = n_l, .x = x, .t = t };

	if (t < 1 || !CPU(linear_prepare)(d, &j, "linear"))
		return;
	if (t <= FEW) {
		few(d, &j);
		return;
	}
	j.own = can_own(&j);
	while (next_batch(&j)) {
		set_before(&j);
		CPU(linear_run)(d, &j, before_y);
		set_during(&j);
		CPU(linear_run)(d, &j, during_y);
	}
}

static void
only_s(void *arg, int part, int thread)
{
	const struct job *j = arg;

	s_part(j, j->l, part, thread);
}

void
CPU(linear_s)(struct qz_dev *d, const struct qz_linear *l, const qz_act *x, int64_t t)
{
	struct job j = { .l = l, .n_l = 1, .x = x, .t = t };

	if (t < 1 || !l->rank || !CPU(linear_prepare)(d, &j, "swiglu_adapted"))
		return;
	CPU(run)(d, n_parts(t, TOKENS), only_s, &j);
}

void
CPU(head)(struct qz_dev *d, qz_par *logits, const qz_act *x, const struct qz_mat *w, int64_t n)
{
	struct qz_linear l = { .w = *w, .y = logits };

	CPU(linear)(d, &l, 1, x, n);
}
