/* linear and linear_bwd; head and head_bwd are the same without an adapter.
 *
 * The weight is decoded group of rows by group of rows into the workspace, by all threads, then tiles
 * of the result go to gemm, which adds the adapter's low-rank product and the bias while the tile
 * is in cache.  Tiles and groups depend on the shapes alone.  A few tokens (decoding) are bound by
 * reading the weight: rows are decoded and multiplied at once, without gemm. */
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/lanes.h"

#include <string.h>

enum {
	TOKENS = 256,    /* a tile of the result */
	WIDTH = 192,     /* its columns */
	FEW = 8,         /* tokens that are multiplied without gemm */
	GROUP = 4 << 20, /* elements of the weight decoded at a time */
	SPAN = 512 * 576 /* scratch of a thread: the largest tile */
};

/* Tiles of the large products, best first: the larger, the less gemm copies to lay out its operands. */
static const struct tile {
	int64_t tokens, width;
} tiles[] = { { 512, 576 }, { 512, 288 }, { TOKENS, WIDTH } };
enum { N_TILES = sizeof tiles / sizeof *tiles, PARTS_WANTED = 4 };

/* One projection and one group of its rows. */
struct job {
	const struct qz_linear *l;
	const real *x;
	real *dx;
	int64_t t;
	bool keep_dx;                /* add to dx */
	bool first, last;            /* group */
	int64_t row0, rows;          /* of the group */
	const real *w;               /* (rows, cols): decoded, or the weight itself */
	real *decoded, *p, *scratch; /* workspace; p (T, rank) = dy B */
	struct tile tile;            /* of the product at hand */
	int decode_parts, t_tiles, c_tiles, dx_parts, da_parts;
};

/* Distance of the rows of s. */
static int64_t
lds(const struct qz_linear *l)
{
	return l->lds ? l->lds : l->rank;
}

static int64_t
group_rows(const struct qz_mat *w)
{
	return max64(1, min64(w->rows, GROUP / w->cols));
}

static size_t
linear_bytes(int threads, int64_t weight, int64_t tokens_rank)
{
	return ws_bytes(weight) + ws_bytes(tokens_rank) + (size_t)threads * ws_bytes(SPAN);
}

size_t
CPU(linear_need)(int threads, const struct qz_need *need)
{
	int64_t largest = max64(max64(need->weight, need->group), need->vocab * need->width);
	int64_t tokens = max64(need->tokens, need->head_rows);

	return linear_bytes(
	    threads, max64(need->width, min64(GROUP, largest)), tokens * need->rank_sum);
}

/* Is a weight used as it stands? */
static bool
is_real(const struct qz_mat *w)
{
	return w->type == QZ_F32 && sizeof(real) == sizeof(float);
}

/* Workspace of one call; false and a failure when it is too small. */
static bool
prepare(
    struct qz_dev *d, struct job *j, const struct qz_linear *l, int n_l, int64_t t, const char *op)
{
	int64_t weight = 0, rank = 0;
	char *ws;

	for (int i = 0; i < n_l; i++) {
		if (!CPU(can_decode)(d, &l[i].w, op))
			return false;
		if (!is_real(&l[i].w))
			weight = max64(weight, group_rows(&l[i].w) * l[i].w.cols);
		rank = max64(rank, l[i].rank);
	}
	ws = CPU(ws)(d, linear_bytes(CPU(threads)(d), weight, t * rank), op);
	if (!ws)
		return false;
	j->decoded = (real *)(void *)ws;
	j->p = (real *)(void *)(ws + ws_bytes(weight));
	j->scratch = (real *)(void *)(ws + ws_bytes(weight) + ws_bytes(t * rank));
	j->t_tiles = n_parts(t, TOKENS);
	return true;
}

static real *
scratch(const struct job *j, int thread)
{
	return j->scratch + (size_t)thread * (ws_bytes(SPAN) / sizeof(real));
}

static void
decode_part(const struct job *j, int part)
{
	int64_t i = (int64_t)part * QZ_CPU_GRAIN, n = j->rows * j->l->w.cols;

	CPU(decode_real)
	(j->decoded + i, &j->l->w, j->row0 * j->l->w.cols + i, min64(QZ_CPU_GRAIN, n - i));
}

/* s = drop(x) A^T for a tile of tokens; with dropout, the columns in turn. */
static void
s_part(const struct job *j, int tile, int thread)
{
	const struct qz_linear *l = j->l;
	int64_t t0 = (int64_t)tile * TOKENS, n = min64(TOKENS, j->t - t0), cols = l->w.cols;
	real *s = (real *)l->s + t0 * lds(l), *dropped = scratch(j, thread);

	if (l->dropout <= 0) {
		CPU(gemm)
		(false, true, n, l->rank, cols, 1, j->x + t0 * cols, cols, l->a, cols, 0, s,
		    lds(l));
		return;
	}
	for (int64_t c = 0; c < cols; c += WIDTH) {
		int64_t len = min64(WIDTH, cols - c);

		CPU(drop)(l, dropped, j->x, t0, n, c, len);
		CPU(gemm)
		(false, true, n, l->rank, len, 1, dropped, len, (const real *)l->a + c, cols, c > 0,
		    s, lds(l));
	}
}

static void
add_bias(real *y, int64_t ldy, const float *bias, int64_t rows, int64_t n)
{
	for (int64_t t = 0; t < rows; t++)
		for (int64_t c = 0; c < n; c++)
			y[t * ldy + c] += bias[c];
}

/* The first tile that gives every thread of a small machine work.  Shapes alone decide. */
static int
choose_tile(struct job *j, int64_t cols)
{
	int n = 0;

	for (int i = 0; i < N_TILES && n < PARTS_WANTED; i++) {
		j->tile = tiles[i];
		n = n_parts(j->t, (int)j->tile.tokens) * n_parts(cols, (int)j->tile.width);
	}
	return n;
}

/* The corner and the size of a part's tile. */
static void
corner(
    const struct job *j, int part, int64_t cols, int64_t *t0, int64_t *n, int64_t *c0, int64_t *len)
{
	int down = n_parts(j->t, (int)j->tile.tokens);

	*t0 = part % down * j->tile.tokens;
	*c0 = part / down * j->tile.width;
	*n = min64(j->tile.tokens, j->t - *t0);
	*len = min64(j->tile.width, cols - *c0);
}

/* A tile of y begins as what is added to it. */
static void
begin_tile(const struct qz_linear *l, real *y, int64_t t0, int64_t n, int64_t row, int64_t rows)
{
	const real *plus = (const real *)l->plus + t0 * l->w.rows + row;

	for (int64_t t = 0; plus != y && t < n; t++)
		memcpy(y + t * l->w.rows, plus + t * l->w.rows, (size_t)rows * sizeof *y);
}

static void
y_part(const struct job *j, int part)
{
	const struct qz_linear *l = j->l;
	int64_t t0, n, r0, rows, row, ldy = l->w.rows, cols = l->w.cols;
	real *y;

	corner(j, part, j->rows, &t0, &n, &r0, &rows);
	row = j->row0 + r0;
	y = (real *)l->y + t0 * ldy + row;
	if (l->plus)
		begin_tile(l, y, t0, n, row, rows);
	CPU(gemm)
	(false, true, n, rows, cols, 1, j->x + t0 * cols, cols, j->w + r0 * cols, cols,
	    l->plus != NULL, y, ldy);
	if (l->rank)
		CPU(gemm)
	(false, true, n, rows, l->rank, l->scale, (const real *)l->s + t0 * lds(l), lds(l),
	    (const real *)l->b + row * l->rank, l->rank, 1, y, ldy);
	if (l->bias)
		add_bias(y, ldy, l->bias + row, n, rows);
}

/* y[t][r] = the adapter's and the bias's share, to which the products are added. */
static void
begin_row(const struct job *j, int64_t r)
{
	const struct qz_linear *l = j->l;
	const real *b = l->rank ? (const real *)l->b + r * l->rank : NULL;

	for (int64_t t = 0; t < j->t; t++) {
		real sum = l->rank ? dot((const real *)l->s + t * lds(l), b, l->rank) * l->scale
				   : 0;

		if (l->bias)
			sum += l->bias[r];
		if (l->plus)
			sum += ((const real *)l->plus)[t * l->w.rows + r];
		((real *)l->y)[t * l->w.rows + r] = sum;
	}
}

/* Rows of the weight against a few tokens, in pieces of rows that fit the scratch. */
static void
few_part(const struct job *j, int part, int thread)
{
	const struct qz_linear *l = j->l;
	int64_t cols = l->w.cols, per = rows_a_part(cols), from = part * per;
	int64_t end = min64(from + per, l->w.rows), piece = min64(SPAN, cols), rows = end - from;
	real *w = scratch(j, thread);

	if (rows * cols > SPAN)
		rows = 1;
	for (int64_t r = from; r < end; r++)
		begin_row(j, r);
	for (int64_t i = from * cols; i < end * cols;) {
		int64_t r = i / cols, c = i % cols,
			n = rows > 1 ? rows * cols : min64(piece, cols - c);

		CPU(decode_real)(w, &l->w, i, n);
		for (int64_t k = 0; k < n; k += piece, r++)
			for (int64_t t = 0; t < j->t; t++)
				((real *)l->y)[t * l->w.rows + r] += dot(
				    j->x + t * cols + c, w + k, min64(piece, n - k));
		i += n;
	}
}

static void
before_y(void *arg, int part, int thread)
{
	const struct job *j = arg;

	if (part < j->decode_parts)
		decode_part(j, part);
	else
		s_part(j, part - j->decode_parts, thread);
}

static void
during_y(void *arg, int part, int thread)
{
	(void)thread;
	y_part(arg, part);
}

static void
few_y(void *arg, int part, int thread)
{
	few_part(arg, part, thread);
}

/* Sets the group that starts at row0; returns the rows behind it. */
static int64_t
next_group(struct job *j, int64_t row0)
{
	const struct qz_mat *w = &j->l->w;

	j->row0 = row0;
	j->rows = is_real(w) ? w->rows : min64(group_rows(w), w->rows - row0);
	j->first = row0 == 0;
	j->last = row0 + j->rows == w->rows;
	j->w = is_real(w) ? w->data : j->decoded;
	j->decode_parts = is_real(w) ? 0 : n_parts(j->rows * w->cols, QZ_CPU_GRAIN);
	return row0 + j->rows;
}

static void
project(struct qz_dev *d, struct job *j)
{
	const struct qz_mat *w = &j->l->w;
	int s_parts = j->l->rank ? j->t_tiles : 0;

	if (j->t <= FEW) {
		j->decode_parts = 0;
		CPU(run)(d, s_parts, before_y, j);
		CPU(run)(d, n_parts(w->rows, rows_a_part(w->cols)), few_y, j);
		return;
	}
	for (int64_t row = 0; row < w->rows;) {
		row = next_group(j, row);
		CPU(run)(d, j->decode_parts + (j->first ? s_parts : 0), before_y, j);
		CPU(run)(d, choose_tile(j, j->rows), during_y, j);
	}
}

void
CPU(linear)(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, int64_t t)
{
	struct job j = { .x = x, .t = t };

	if (t < 1 || !prepare(d, &j, l, n_l, t, "linear"))
		return;
	for (int i = 0; i < n_l; i++) {
		j.l = l + i;
		project(d, &j);
	}
}

/* p = dy B for a tile of tokens. */
static void
p_part(const struct job *j, int tile)
{
	const struct qz_linear *l = j->l;
	int64_t t0 = (int64_t)tile * TOKENS, n = min64(TOKENS, j->t - t0), rows = l->w.rows;

	CPU(gemm)
	(false, false, n, l->rank, rows, 1, (const real *)l->dy + t0 * rows, rows, l->b, l->rank, 0,
	    j->p + t0 * l->rank, l->rank);
}

/* dx (+)= dy W over the group's rows, and with the last group the adapter's share. */
static void
dx_part(const struct job *j, int part, int thread)
{
	const struct qz_linear *l = j->l;
	int64_t cols = l->w.cols, t0, n, c0, len;
	const real *dy, *a, *p;
	real *dx, *tile = scratch(j, thread);

	corner(j, part, cols, &t0, &n, &c0, &len);
	dy = (const real *)l->dy + t0 * l->w.rows + j->row0;
	a = (const real *)l->a + c0;
	p = j->p + t0 * l->rank;
	dx = j->dx + t0 * cols + c0;
	CPU(gemm)
	(false, false, n, len, j->rows, 1, dy, l->w.rows, j->w + c0, cols, j->keep_dx || !j->first,
	    dx, cols);
	if (!l->rank || !j->last)
		return;
	if (l->dropout <= 0) {
		CPU(gemm)
		(false, false, n, len, l->rank, l->scale, p, l->rank, a, cols, 1, dx, cols);
		return;
	}
	CPU(gemm)(false, false, n, len, l->rank, 1, p, l->rank, a, cols, 0, tile, len);
	CPU(drop_add)(l, dx, cols, tile, l->scale, t0, n, c0, len);
}

/* da += scale p^T drop(x), a range of columns. */
static void
da_part(const struct job *j, int part, int thread)
{
	const struct qz_linear *l = j->l;
	int64_t cols = l->w.cols, c0 = (int64_t)part * WIDTH, len = min64(WIDTH, cols - c0);
	real *da = (real *)l->da + c0, *dropped = scratch(j, thread);

	if (l->dropout <= 0) {
		CPU(gemm)
		(true, false, l->rank, len, j->t, l->scale, j->p, l->rank, j->x + c0, cols, 1, da,
		    cols);
		return;
	}
	for (int64_t t = 0; t < j->t; t += TOKENS) {
		int64_t n = min64(TOKENS, j->t - t);

		CPU(drop)(l, dropped, j->x, t, n, c0, len);
		CPU(gemm)
		(true, false, l->rank, len, n, l->scale, j->p + t * l->rank, l->rank, dropped, len,
		    1, da, cols);
	}
}

/* db += scale dy^T s, a range of rows. */
static void
db_part(const struct job *j, int part)
{
	const struct qz_linear *l = j->l;
	int64_t r0 = (int64_t)part * WIDTH, n = min64(WIDTH, l->w.rows - r0);

	CPU(gemm)
	(true, false, n, l->rank, j->t, l->scale, (const real *)l->dy + r0, l->w.rows, l->s, lds(l),
	    1, (real *)l->db + r0 * l->rank, l->rank);
}

static void
before_dx(void *arg, int part, int thread)
{
	const struct job *j = arg;

	(void)thread;
	if (part < j->decode_parts)
		decode_part(j, part);
	else
		p_part(j, part - j->decode_parts);
}

static void
during_dx(void *arg, int part, int thread)
{
	const struct job *j = arg;

	if (part < j->dx_parts)
		dx_part(j, part, thread);
	else if (part - j->dx_parts < j->da_parts)
		da_part(j, part - j->dx_parts, thread);
	else
		db_part(j, part - j->dx_parts - j->da_parts);
}

static void
project_back(struct qz_dev *d, struct job *j)
{
	const struct qz_mat *w = &j->l->w;
	bool adapted = j->l->rank > 0;

	for (int64_t row = 0; row < w->rows;) {
		int db_parts = 0;

		row = next_group(j, row);
		if (!j->dx)
			j->decode_parts = 0;
		j->dx_parts = j->dx ? choose_tile(j, w->cols) : 0;
		j->da_parts = adapted && j->last ? n_parts(w->cols, WIDTH) : 0;
		db_parts = adapted && j->last ? n_parts(w->rows, WIDTH) : 0;
		CPU(run)(d, j->decode_parts + (adapted && j->first ? j->t_tiles : 0), before_dx, j);
		CPU(run)(d, j->dx_parts + j->da_parts + db_parts, during_dx, j);
	}
	j->keep_dx = true;
}

void
CPU(linear_bwd)(struct qz_dev *d, const struct qz_linear *l, int n_l, const qz_act *x, qz_act *dx,
    int64_t t, bool add)
{
	struct job j = { .x = x, .dx = dx, .t = t, .keep_dx = add };

	if (t < 1 || !prepare(d, &j, l, n_l, t, "linear_bwd"))
		return;
	for (int i = 0; i < n_l; i++) {
		j.l = l + i;
		project_back(d, &j);
	}
}

void
CPU(head)(struct qz_dev *d, qz_par *logits, const qz_act *x, const struct qz_mat *w, int64_t n)
{
	struct qz_linear l = { .w = *w, .y = logits };

	CPU(linear)(d, &l, 1, x, n);
}

void
CPU(head_bwd)(
    struct qz_dev *d, qz_act *dx, const qz_act *dlogits, const struct qz_mat *w, int64_t n)
{
	struct qz_linear l = { .w = *w, .dy = dlogits };

	CPU(linear_bwd)(d, &l, 1, NULL, dx, n, false);
}
