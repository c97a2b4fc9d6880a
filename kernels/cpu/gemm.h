/* gemm - dense products of row-major matrices on one thread; the pool calls them on tiles.
 *
 * A sum over k runs in index order in chunks whose borders depend on k alone, so that an element has the
 * same bits whatever tile it is computed in.
 *
 * Panels are how the right operand b (k, n) is laid out for the micro-kernel: PANEL columns side by
 * side, row after row, panel after panel; the last one is padded with zeros.  */
#ifndef QZ_CPU_GEMM_H
#define QZ_CPU_GEMM_H

#include "kernels/cpu/vec.h"

/* The micro-kernel's tile: STEP rows of c, PANEL columns.  Its sums take STEP * PANEL / VL registers,
 * of 32 with AVX-512 and of 16 without. */
#if VEC_BYTES == 64
enum { STEP = 8, PANEL = 2 * VL };
#else
enum { STEP = 6, PANEL = 2 * VL };
#endif

/* Rows or columns of panels that hold n. */
static inline int64_t
panels_width(int64_t n)
{
	return (n + PANEL - 1) / PANEL * PANEL;
}

/* c (m, n) = alpha * op(a) op(b), or added to c.  op(a) (m, k), op(b) (k, n); ta, tb: the matrix in memory
 * is the transpose. */
void CPU(gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, real alpha, const real *a,
    int64_t lda, const real *b, int64_t ldb, bool add, real *c, int64_t ldc);

/* c (m, n) = a (m, k) b, or added to c; b in panels of `height` rows each, from the row that b points to. */
void CPU(gemm_panels)(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
    int64_t height, bool add, real *c, int64_t ldc);

#ifdef __AVX512BF16__
/* The same where each number of a and of b is a pair of bfloat16 numbers, of which the sums are float32. */
void CPU(gemm_pairs)(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
    int64_t height, bool add, real *c, int64_t ldc);
#endif

/* y[p * PANEL + j] = x[j * ldx + p], p < k, j < n <= PANEL; the columns behind n are zeros. */
void CPU(panel_turn)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k);
/* y[p * PANEL + j] = x[p * ldx + j], the same otherwise. */
void CPU(panel_copy)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k);

#endif
