/* The micro-kernel and its loops.
 *
 * It holds a tile of c in registers and reads, for each step in k, one number of each of the tile's rows
 * of a, where it stands, and one row of a panel of b.  a's tile then serves all panels from the first
 * cache, a chunk of panels serves all tiles from the second. */
#include "kernels/cpu/gemm.h"

#include <string.h>

enum {
	CHUNK = 768, /* longest chunk of k in gemm_panels: a tile of a, 24 kB */
	COPIED = 256 /* rows of a panel that gemm lays out at a time, on the stack */
};

struct tile {
	int64_t k;
	real alpha;
	const real *a, *b;
	int64_t lda, ldb;
	bool add;
	real *c;
	int64_t ldc;
};

/* rows, vecs and ta are constants where this is called. */
static inline __attribute__((always_inline)) void
compute(const struct tile *t, const int rows, const int vecs, const bool ta)
{
	const real *a = t->a, *b = t->b;
	int64_t lda = t->lda, ldb = t->ldb;
	vec s[STEP][2];

#pragma GCC unroll 8
	for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
		for (int j = 0; j < vecs; j++)
			s[i][j] = (vec){ 0 };
#pragma GCC unroll 4
	for (int64_t p = 0; p < t->k; p++, b += ldb) {
		vec bv[2];

#pragma GCC unroll 2
		for (int j = 0; j < vecs; j++)
			bv[j] = load(b + j * VL);
#pragma GCC unroll 8
		for (int i = 0; i < rows; i++) {
			vec av = spread(ta ? a[p * lda + i] : a[i * lda + p]);

#pragma GCC unroll 2
			for (int j = 0; j < vecs; j++)
				s[i][j] = fma_vec(av, bv[j], s[i][j]);
		}
	}
#pragma GCC unroll 8
	for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
		for (int j = 0; j < vecs; j++) {
			real *c = t->c + i * t->ldc + j * VL;
			vec v = s[i][j] * spread(t->alpha);

			if (t->add)
				v += load(c);
			store(c, v);
		}
	}
}

typedef void tile_fn(const struct tile *t);

#define KERNEL(rows, vecs, ta)                                                                     \
	static void kernel_##rows##_##vecs##_##ta(const struct tile *t)                            \
	{                                                                                          \
		compute(t, rows, vecs, ta);                                                        \
	}
#define KERNELS(rows)                                                                              \
	KERNEL(rows, 1, 0)                                                                         \
	KERNEL(rows, 2, 0)                                                                         \
	KERNEL(rows, 1, 1)                                                                         \
	KERNEL(rows, 2, 1)
#define ENTRY(rows)                                                                                \
	{                                                                                          \
		{ kernel_##rows##_1_0, kernel_##rows##_2_0 },                                      \
		{                                                                                  \
			kernel_##rows##_1_1, kernel_##rows##_2_1                                   \
		}                                                                                  \
	}

KERNELS(1)
KERNELS(2)
KERNELS(3)
KERNELS(4)
KERNELS(5)
KERNELS(6)
#if VEC_BYTES == 64
KERNELS(7)
KERNELS(8)
#endif

/* By rows - 1, ta, vecs - 1. */
static tile_fn *const kernels[STEP][2][2] = {
	ENTRY(1),
	ENTRY(2),
	ENTRY(3),
	ENTRY(4),
	ENTRY(5),
	ENTRY(6),
#if VEC_BYTES == 64
	ENTRY(7),
	ENTRY(8),
#endif
};

/* A tile whose last vector hangs over c's edge goes through a tile of its own. */
static void
compute_edge(struct tile t, int rows, int n, bool ta)
{
	real own[STEP * PANEL], *c = t.c;
	int64_t ldc = t.ldc;
	bool add = t.add;

	t.c = own;
	t.ldc = PANEL;
	t.add = false;
	kernels[rows - 1][ta][(n - 1) / VL](&t);
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < n; j++)
			c[i * ldc + j] = own[i * PANEL + j] + (add ? c[i * ldc + j] : 0);
}

/* t's corner and a's rows are those of a row of tiles: all its panels, `stride` apart, n columns. */
static void
row_of_tiles(struct tile t, int rows, int64_t n, int64_t stride, bool ta)
{
	for (; n >= PANEL; n -= PANEL, t.b += stride, t.c += PANEL)
		kernels[rows - 1][ta][1](&t);
	if (n % VL)
		compute_edge(t, rows, (int)n, ta);
	else if (n)
		kernels[rows - 1][ta][0](&t);
}

static void
all_tiles(struct tile t, int64_t m, int64_t n, int64_t stride, bool ta)
{
	for (int64_t i = 0; i < m; i += STEP) {
		int rows = (int)min64(STEP, m - i);

		row_of_tiles(t, rows, n, stride, ta);
		t.a += ta ? STEP : STEP * t.lda;
		t.c += STEP * t.ldc;
	}
}

void
CPU(gemm_panels)(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
    int64_t height, bool add, real *c, int64_t ldc)
{
	int64_t chunks = max64(1, n_parts(k, CHUNK)), per = (k + chunks - 1) / chunks;

	for (int64_t p = 0; p == 0 || p < k; p += per) {
		struct tile t = { .k = min64(per, k - p),
			.alpha = 1,
			.a = a + p,
			.lda = lda,
			.b = b + p * PANEL,
			.ldb = PANEL,
			.add = add || p > 0,
			.c = c,
			.ldc = ldc };

		all_tiles(t, m, n, height * PANEL, false);
	}
}

void
CPU(gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, real alpha, const real *a, int64_t lda,
    const real *b, int64_t ldb, bool add, real *c, int64_t ldc)
{
	real copy[COPIED * PANEL] __attribute__((aligned(VEC_BYTES)));

	for (int64_t j = 0; j < n; j += PANEL) {
		int64_t len = min64(PANEL, n - j);

		for (int64_t p = 0; p == 0 || p < k; p += COPIED) {
			struct tile t = { .k = min64(COPIED, k - p),
				.alpha = alpha,
				.a = a + (ta ? p * lda : p),
				.lda = lda,
				.b = copy,
				.ldb = PANEL,
				.add = add || p > 0,
				.c = c + j,
				.ldc = ldc };

			if (tb)
				CPU(panel_turn)(copy, b + j * ldb + p, ldb, len, t.k);
			else if (len % VL)
				CPU(panel_copy)(copy, b + p * ldb + j, ldb, len, t.k);
			else {
				t.b = b + p * ldb + j;
				t.ldb = ldb;
			}
			all_tiles(t, m, len, 0, ta);
		}
	}
}
