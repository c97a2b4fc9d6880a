/* product - the large products of linear, in real, or, in the variant avx512bf16, of operands rounded to
 * bfloat16 with sums in float32.
 *
 * There, a slot of a panel holds two numbers, of rows 2i and 2i + 1 (the last of an odd number of rows with
 * a zero), so that a panel of k rows has slots(k) rows of slots.  Elsewhere a slot is a number. */
#ifndef QZ_CPU_PRODUCT_H
#define QZ_CPU_PRODUCT_H

#include "kernels/cpu/gemm.h"

#ifdef __AVX512BF16__
enum { PAIR = 2 };
#else
enum { PAIR = 1 };
#endif

static inline int64_t
slots(int64_t k)
{
	return (k + PAIR - 1) / PAIR;
}

/* Most columns of product_turn(). */
enum { PRODUCT_PIECE = 256 };
/* Most rows of product(), and the reals of scratch that it takes. */
enum {
	PRODUCT_ROWS = 128,
	PRODUCT_CHUNK = 768,
	PRODUCT_SCRATCH = PRODUCT_ROWS * PRODUCT_CHUNK / 2
};

/* c (m, n) = a (m, k) b, or added to c; b in panels of `height` rows of slots each. */
void CPU(product)(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
    int64_t height, bool add, real *c, int64_t ldc, real *scratch);

/* The rows of x (n, k), n <= PANEL, become the columns of a panel, which has slots(k) rows. */
void CPU(product_turn)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k);
/* The rows of x (k, n), n <= PANEL, become its rows. */
void CPU(product_copy)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k);

#endif
