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

enum kind { PLAIN, TURNED, PAIRS }; /* a as it is, its transpose, pairs of bfloat16 */

static inline vec
accumulate(enum kind kind, vec a, vec b, vec c)
{
#ifdef __AVX512BF16__
	if (kind == PAIRS)
		return (vec)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#endif
	(void)kind;
	return fma_vec(a, b, c);
}

/* rows, vecs and kind are constants where this is called. */
static inline __attribute__((always_inline)) void
compute(const struct tile *t, const int rows, const int vecs, const enum kind kind)
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
			vec av = spread(kind == TURNED ? a[p * lda + i] : a[i * lda + p]);

#pragma GCC unroll 2
			for (int j = 0; j < vecs; j++)
				s[i][j] = accumulate(kind, av, bv[j], s[i][j]);
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

#define KERNEL(rows, vecs, kind)                                                                   \
	static void kernel_##rows##_##vecs##_##kind(const struct tile *t)                          \
	{                                                                                          \
		compute(t, rows, vecs, kind);                                                      \
	}
#define KERNELS(rows, kind) KERNEL(rows, 1, kind) KERNEL(rows, 2, kind)
#define ENTRY(rows, kind)                                                                          \
	{                                                                                          \
		kernel_##rows##_1_##kind, kernel_##rows##_2_##kind                                 \
	}

#if VEC_BYTES == 64
#define FOR_ROWS(f, kind)                                                                          \
	f(1, kind) f(2, kind) f(3, kind) f(4, kind) f(5, kind) f(6, kind) f(7, kind) f(8, kind)
#define LIST(f, kind)                                                                              \
	f(1, kind), f(2, kind), f(3, kind), f(4, kind), f(5, kind), f(6, kind), f(7, kind),        \
	    f(8, kind)
#else
#define FOR_ROWS(f, kind) f(1, kind) f(2, kind) f(3, kind) f(4, kind) f(5, kind) f(6, kind)
#define LIST(f, kind) f(1, kind), f(2, kind), f(3, kind), f(4, kind), f(5, kind), f(6, kind)
#endif

FOR_ROWS(KERNELS, PLAIN)
FOR_ROWS(KERNELS, TURNED)
#ifdef __AVX512BF16__
FOR_ROWS(KERNELS, PAIRS)
#endif

/* By kind, rows - 1, vecs - 1. */
static tile_fn *const kernels[][STEP][2] = {
	[PLAIN] = { LIST(ENTRY, PLAIN) },
	[TURNED] = { LIST(ENTRY, TURNED) },
#ifdef __AVX512BF16__
	[PAIRS] = { LIST(ENTRY, PAIRS) },
#endif
};

/* A tile whose last vector hangs over c's edge goes through a tile of its own. */
static void
compute_edge(struct tile t, int rows, int n, enum kind kind)
{
	real own[STEP * PANEL], *c = t.c;
	int64_t ldc = t.ldc;
	bool add = t.add;

	t.c = own;
	t.ldc = PANEL;
	t.add = false;
	kernels[kind][rows - 1][(n - 1) / VL](&t);
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < n; j++)
			c[i * ldc + j] = own[i * PANEL + j] + (add ? c[i * ldc + j] : 0);
}

/* t's corner and a's rows are those of a row of tiles: all its panels, `stride` apart, n columns. */
static void
row_of_tiles(struct tile t, int rows, int64_t n, int64_t stride, enum kind kind)
{
	for (; n >= PANEL; n -= PANEL, t.b += stride, t.c += PANEL)
		kernels[kind][rows - 1][1](&t);
	if (n % VL)
		compute_edge(t, rows, (int)n, kind);
	else if (n)
		kernels[kind][rows - 1][0](&t);
}

static void
all_tiles(struct tile t, int64_t m, int64_t n, int64_t stride, enum kind kind)
{
	for (int64_t i = 0; i < m; i += STEP) {
		int rows = (int)min64(STEP, m - i);

		row_of_tiles(t, rows, n, stride, kind);
		t.a += kind == TURNED ? STEP : STEP * t.lda;
		t.c += STEP * t.ldc;
	}
}

static void
panels(enum kind kind, int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
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

		all_tiles(t, m, n, height * PANEL, kind);
	}
}

void
CPU(gemm_panels)(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
    int64_t height, bool add, real *c, int64_t ldc)
{
	panels(PLAIN, m, n, k, a, lda, b, height, add, c, ldc);
}

#ifdef __AVX512BF16__
void
CPU(gemm_pairs)(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
    int64_t height, bool add, real *c, int64_t ldc)
{
	panels(PAIRS, m, n, k, a, lda, b, height, add, c, ldc);
}
#endif

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
			all_tiles(t, m, len, 0, ta ? TURNED : PLAIN);
		}
	}
}
