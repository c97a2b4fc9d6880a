/* linear_bwd and linear_da, and head_bwd, which is the first without an adapter. */
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/linear.h"

/* p = dy B for a tile of tokens. */
static void
p_part(const struct job *j, const struct slice *s, int tile)
{
	const struct qz_linear *l = s->l;
	int64_t t0 = (int64_t)tile * TOKENS, n = min64(TOKENS, j->t - t0), rows = l->w.rows;

	CPU(gemm)
	(false, false, n, l->rank, rows, 1, (const real *)l->dy + t0 * rows, rows, l->b, l->rank,
	    false, s->p + t0 * l->rank, l->rank);
}

/* dx (+)= dy W over a slice's rows, and the adapter's share: tokens from t0 on, the columns in panels. */
static void
dx_tile(const struct job *j, const struct slice *s, bool add, int64_t t0, const struct place *in,
    real *tile)
{
	const struct qz_linear *l = s->l;
	const real *panels = in->panels + in->at * PANEL, *p = s->p + t0 * l->rank;
	int64_t n = min64(TOKENS, j->t - t0), c0 = in->from, len = in->to - c0;
	real *dx = j->dx + t0 * j->cols + c0;

	CPU(product)
	(n, len, s->rows, (const real *)l->dy + t0 * l->w.rows + s->row0, l->w.rows, panels,
	    in->height, add, dx, j->cols, tile);
	if (s->tail) {
		CPU(product)
		(n, len, s->tail, p, l->rank, panels + slots(s->rows) * PANEL, in->height, true, dx,
		    j->cols, tile);
	} else if (l->rank && s->last) {
		CPU(gemm)
		(false, false, n, len, l->rank, 1, p, l->rank, (const real *)l->a + c0, j->cols,
		    false, tile, len);
		CPU(drop_add)(l, dx, j->cols, tile, l->scale, t0, n, c0, len);
	}
}

static void
dx_part(const struct job *j, int part, int thread)
{
	int64_t width = tile_width(j, j->cols);
	int down = n_parts(j->t, TOKENS);
	int64_t c0 = part / down * width;

	for (int i = 0; i < j->n_slices; i++) {
		struct place in = { j->panels + c0 * j->height, j->height, j->slices[i].at, c0,
			min64(c0 + width, j->cols) };

		dx_tile(j, &j->slices[i], j->add || i > 0, (int64_t)(part % down) * TOKENS, &in,
		    scratch(j, thread));
	}
}

/* OWN columns of all tokens, slice by slice. */
static void
dx_own(const struct job *j, int part, int thread)
{
	int64_t c0 = (int64_t)part * OWN;

	for (int i = 0; i < j->n_slices; i++) {
		const struct slice *s = &j->slices[i];
		struct place own = { own_panels(j, thread), slots(s->rows) + slots(s->tail), 0, c0,
			min64(c0 + OWN, j->cols) };

		for (int r = 0; r < n_parts(s->rows, ROWS_PACKED); r++)
			CPU(pack_backward)(s, r, &own);
		CPU(pack_adapter)(j, s, &own);
		for (int64_t t = 0; t < j->t; t += TOKENS)
			dx_tile(j, s, j->add || i > 0, t, &own, scratch(j, thread));
	}
}

/* da += scale p^T drop(x), a range of columns. */
static void
da_part(const struct job *j, const struct slice *s, int part, int thread)
{
	const struct qz_linear *l = s->l;
	int64_t cols = j->cols, c0 = (int64_t)part * WIDTH, len = min64(WIDTH, cols - c0);
	real *da = (real *)l->da + c0, *dropped = scratch(j, thread);

	if (l->dropout <= 0) {
		CPU(gemm)
		(true, false, l->rank, len, j->t, l->scale, s->p, l->rank, j->x + c0, cols, true,
		    da, cols);
		return;
	}
	for (int64_t t = 0; t < j->t; t += TOKENS) {
		int64_t n = min64(TOKENS, j->t - t);

		CPU(drop)(l, dropped, j->x, t, n, c0, len);
		CPU(gemm)
		(true, false, l->rank, len, n, l->scale, s->p + t * l->rank, l->rank, dropped, len,
		    true, da, cols);
	}
}

/* db += scale dy^T s, a range of rows. */
static void
db_part(const struct job *j, const struct slice *s, int part)
{
	const struct qz_linear *l = s->l;
	int64_t r0 = (int64_t)part * WIDTH, n = min64(WIDTH, l->w.rows - r0);

	CPU(gemm)
	(true, false, n, l->rank, j->t, l->scale, (const real *)l->dy + r0, l->w.rows, l->s,
	    qz_linear_lds(l), true, (real *)l->db + r0 * l->rank, l->rank);
}

/* Kinds of parts: rows of each slice, p of each, the adapter of each. */
static void
before_dx(void *arg, int part, int thread)
{
	const struct job *j = arg;
	int kind = CPU(linear_kind)(j, &part);
	const struct slice *s = &j->slices[kind % j->n_slices];
	struct place to = { j->panels, j->height, s->at, 0, j->cols };

	(void)thread;
	if (kind < j->n_slices)
		CPU(pack_backward)(s, part, &to);
	else if (kind < 2 * j->n_slices)
		p_part(j, s, part);
	else
		CPU(pack_adapter)(j, s, &to);
}

/* Kinds: tiles of dx, then columns of each slice's da, rows of its db. */
static void
during_dx(void *arg, int part, int thread)
{
	const struct job *j = arg;
	int kind = CPU(linear_kind)(j, &part), n = j->n_slices;

	if (kind == 0)
		(j->own ? dx_own : dx_part)(j, part, thread);
	else if (kind <= n)
		da_part(j, &j->slices[kind - 1], part, thread);
	else
		db_part(j, &j->slices[kind - 1 - n], part);
}

/* The next rows, as many as there is room for; false behind the last. */
static bool
next_batch(struct job *j)
{
	int64_t room = j->room / panels_width(j->cols);

	j->height = 0;
	for (j->n_slices = 0; j->n_slices < SLICES && j->next_l < j->n_l; j->n_slices++) {
		struct slice *s = &j->slices[j->n_slices];
		const struct qz_linear *l = &j->l[j->next_l];
		int64_t row0 = j->next_row;
		int64_t rows = min64(l->w.rows - row0, (room - j->height - slots(l->rank)) * PAIR);

		if (rows < 1)
			break;
		*s = (struct slice){ .l = l, .row0 = row0, .rows = rows, .at = j->height };
		s->first = row0 == 0;
		s->last = row0 + rows == l->w.rows;
		s->tail = s->last && l->dropout <= 0 ? l->rank : 0;
		s->p = j->x && !l->begun ? j->p : (real *)l->left;
		j->height += slots(rows) + slots(s->tail);
		j->next_row = s->last ? 0 : row0 + rows;
		j->next_l += s->last;
		j->p += s->last && j->x && !l->begun ? j->t * l->rank : 0;
	}
	return j->n_slices > 0;
}

/* A block that is wider than OWN columns would be decoded for each of them. */
static bool
can_own(const struct job *j)
{
	for (int i = 0; OWN > 0 && i < j->n_slices; i++)
		if (qz_dtype(j->slices[i].l->w.type)->block > OWN)
			return false;
	return own(j, n_parts(j->cols, max64(OWN, 1)), j->height);
}

static void
set_before(struct job *j)
{
	int n = j->n_slices;

	j->n_kinds = 3 * n;
	for (int i = 0; i < n; i++) {
		const struct slice *s = &j->slices[i];

		j->parts[i] = j->dx && !j->own ? n_parts(s->rows, ROWS_PACKED) : 0;
		j->parts[n + i] = begins(s) ? n_parts(j->t, TOKENS) : 0;
		j->parts[2 * n + i] = j->dx && !j->own && s->tail;
	}
}

static void
set_during(struct job *j)
{
	int n = j->n_slices;

	j->n_kinds = 1 + 2 * n;
	if (!j->dx)
		j->parts[0] = 0;
	else if (j->own)
		j->parts[0] = n_parts(j->cols, OWN);
	else
		j->parts[0] = n_parts(j->t, TOKENS) * n_parts(j->cols, tile_width(j, j->cols));
	for (int i = 0; i < n; i++) {
		const struct slice *s = &j->slices[i];
		bool done = s->last && s->l->rank;

		j->parts[1 + i] = done && j->x ? n_parts(j->cols, WIDTH) : 0;
		j->parts[1 + n + i] = done && !s->l->begun ? n_parts(s->l->w.rows, WIDTH) : 0;
	}
}

void
CPU(linear_bwd)(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, qz_act *dx,
    int64_t t, bool add)
{
	struct job j = {
		.l = l, .n_l = n_l, .x = x, .dx = dx, .t = t, .backward = true, .add = add
	};
	const struct qz_norm *norm = x ? l->norm : NULL;

	if (t < 1 || !CPU(linear_prepare)(d, &j, "linear_bwd"))
		return;
	if (norm) {
		CPU(rmsnorm)(d, norm->room, norm->rstd, x, norm->w, t, j.cols, norm->eps);
		j.x = norm->room;
	}
	while (next_batch(&j)) {
		j.own = can_own(&j);
		set_before(&j);
		CPU(linear_run)(d, &j, before_dx);
		set_during(&j);
		CPU(linear_run)(d, &j, during_dx);
		j.add = true;
	}
}

static void
only_da(void *arg, int part, int thread)
{
	const struct job *j = arg;

	da_part(j, &j->slices[0], part, thread);
}

void
CPU(linear_da)(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	struct job j = { .l = l, .n_l = n_l, .x = x, .t = t, .backward = true };

	if (t < 1 || !CPU(linear_prepare)(d, &j, "linear_da"))
		return;
	for (int i = 0; i < n_l; i++) {
		j.slices[0] = (struct slice){ .l = &l[i], .p = l[i].left };
		if (l[i].rank)
			CPU(run)(d, n_parts(j.cols, WIDTH), only_da, &j);
	}
}

/* Kinds: p of each tile, rows of db. */
static void
only_p(void *arg, int part, int thread)
{
	const struct job *j = arg;

	(void)thread;
	if (CPU(linear_kind)(j, &part) == 0)
		p_part(j, &j->slices[0], part);
	else
		db_part(j, &j->slices[0], part);
}

void
CPU(linear_p)(struct qz_dev *d, const struct qz_linear *l, int64_t t)
{
	struct job j = { .l = l, .n_l = 1, .t = t, .backward = true, .n_kinds = 2 };

	if (t < 1 || !l->rank || !CPU(linear_prepare)(d, &j, "swiglu_adapted_bwd"))
		return;
	j.slices[0] = (struct slice){ .l = l, .p = l->left };
	j.parts[0] = n_parts(t, TOKENS);
	j.parts[1] = n_parts(l->w.rows, WIDTH);
	CPU(linear_run)(d, &j, only_p);
}

void
CPU(head_bwd)(
    struct qz_dev *d, qz_act *dx, const qz_act *dlogits, const struct qz_mat *w, int64_t n)
{
	struct qz_linear l = { .w = *w, .dy = dlogits };

	CPU(linear_bwd)(d, &l, 1, NULL, dx, n, false);
}
