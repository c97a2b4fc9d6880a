/* linear - what the forward and the backward pass of linear share.
 *
 * Projections of one input are worked on in batches of whole rows of their weights: a batch is decoded
 * into panels in the workspace by all threads, then tiles of the results are computed from them by all
 * threads.  Or, where threads are few, each decodes OWN columns at a time into panels of its own and
 * multiplies all tokens with them: no panel goes from one processor's cache to another's.
 * The adapter's low-rank product is a few more rows of the panels, behind the weight's: forward, of each
 * panel of output columns, cols + rank rows; backward, of each panel of input columns, for each slice its
 * rows and, with the projection's last rows and without dropout, rank more.
 * (In slots, see product.h: all heights, and a slice's row of the panels.)
 * Batches and the order of sums depend on the shapes alone, so that bits do not depend on the way. */
#ifndef QZ_CPU_LINEAR_H
#define QZ_CPU_LINEAR_H

#include "kernels/cpu/product.h"

enum {
	TOKENS = PRODUCT_ROWS / STEP * STEP, /* of a tile of the result */
	WIDTH = 192,                         /* its columns; a multiple of every PANEL */
	OWN = PAIR == 1 ? WIDTH / 2 : 0,     /* columns that a thread packs for itself; 0: never */
	FEW = 8,                             /* tokens that are multiplied without gemm */
	GROUP = 1 << 20,    /* elements of a batch's panels, if they hold one of the widest */
	SPAN = 256 * WIDTH, /* scratch of a thread, reals */
	SLICES = 8          /* of a batch */
};

/* Rows of one projection. */
struct slice {
	const struct qz_linear *l;
	int64_t row0, rows;
	bool first, last; /* rows of the projection */
	int64_t at;       /* forward: where in `panels`; backward: row of the panels */
	int64_t height;   /* forward: rows of a panel */
	int64_t tail;     /* the adapter's rank, when it is in the panels */
	real *p;          /* (T, rank): dy B */
};

struct job {
	const struct qz_linear *l;
	int n_l;
	const real *x;
	real *dx;
	int64_t t, cols;
	bool backward;
	bool add; /* dx holds something */
	bool own; /* panels are each thread's */

	int next_l; /* behind the batch */
	int64_t next_row;
	struct slice slices[SLICES];
	int n_slices;
	int64_t height; /* backward: rows of a panel */
	int64_t width;  /* columns of a tile */

	int parts[3 * SLICES + 1]; /* of each kind, see run_parts() */
	int n_kinds;

	int threads;
	int64_t room; /* reals in panels */
	real *panels, *p, *scratch;
};

/* linear.c */

/* Workspace of one call; false and a failure when it is too small. */
bool CPU(linear_prepare)(struct qz_dev *d, struct job *j, const char *op);
/* All parts of all kinds; part(j, kind, index, thread) computes one. */
void CPU(linear_run)(struct qz_dev *d, struct job *j, void (*fn)(void *j, int part, int thread));
/* Which kind a part is of; it becomes the index among them. */
int CPU(linear_kind)(const struct job *j, int *part);

/* The adapter's first product alone, for what has `begun` then: s; p to `left`, and db. */
void CPU(linear_s)(struct qz_dev *d, const struct qz_linear *l, const qz_act *x, int64_t t);
void CPU(linear_p)(struct qz_dev *d, const struct qz_linear *l, int64_t t);

/* linear_pack.c */

/* Panels of columns from .. to of dx, height slots each: a slice's begin at slot `at`. */
struct place {
	real *panels;
	int64_t height, at, from, to;
};

/* Panel `index` of a slice to y, forward; rows of index .. of one, backward, and the adapter's. */
void CPU(pack_forward)(const struct job *j, const struct slice *s, int index, real *y);
void CPU(pack_backward)(const struct slice *s, int index, const struct place *to);
void CPU(pack_adapter)(const struct job *j, const struct slice *s, const struct place *to);
enum { ROWS_PACKED = 16 }; /* of a part of pack_backward */

/* linear_few.c: y of one projection of at most FEW tokens, s being there. */
void CPU(linear_few)(struct qz_dev *d, const struct job *j, const struct qz_linear *l);

/* Does the adapter's first product come with this slice? */
static inline bool
begins(const struct slice *s)
{
	return s->first && s->l->rank && !s->l->begun;
}

static inline real *
scratch(const struct job *j, int thread)
{
	return j->scratch + (size_t)thread * (ws_bytes(SPAN) / sizeof(real));
}

/* Are there enough of n blocks of columns for every thread to have its own panels of so many slots? */
static inline bool
own(const struct job *j, int64_t n, int64_t height)
{
	return OWN > 0 && n >= 3 * j->threads && j->threads * OWN * height <= j->room;
}

static inline real *
own_panels(const struct job *j, int thread)
{
	return j->panels + j->room / j->threads / PANEL * PANEL * thread;
}

_Static_assert((int)SPAN >= (int)PRODUCT_SCRATCH && SPAN >= TOKENS * WIDTH, "scratch holds a tile");

/* Columns of the tiles of a result, so that a small one has parts for a few threads. */
static inline int64_t
tile_width(const struct job *j, int64_t n)
{
	return n_parts(j->t, TOKENS) * n_parts(n, WIDTH) < 8 ? WIDTH / 3 : WIDTH * PAIR;
}

#endif
