/* Laying out columns side by side for the micro-kernel. */
#include <string.h>

#include "kernels/cpu/gemm.h"

#ifndef QZ_ORACLE
typedef real four __attribute__((vector_size(16), may_alias, aligned(sizeof(real))));

/* y (4, PANEL) = the transpose of x (4, ldx). */
static inline void
turn_4x4(real *y, const real *x, int64_t ldx)
{
	four a = *(const four *)x, b = *(const four *)(x + ldx);
	four c = *(const four *)(x + 2 * ldx), d = *(const four *)(x + 3 * ldx);
	four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
	four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
	four ef = __builtin_shufflevector(a, b, 2, 6, 3, 7);
	four gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);

	*(four *)y = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
	*(four *)(y + PANEL) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
	*(four *)(y + 2 * PANEL) = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
	*(four *)(y + 3 * PANEL) = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
}

/* Whole blocks of 4 x 4; returns how many of the n columns are done. */
static int64_t
turn_blocks(real *y, const real *x, int64_t ldx, int64_t n, int64_t k)
{
	for (int64_t p = 0; p + 4 <= k; p += 4)
		for (int64_t j = 0; j + 4 <= n; j += 4)
			turn_4x4(y + p * PANEL + j, x + j * ldx + p, ldx);
	return n / 4 * 4;
}
#else
static int64_t
turn_blocks(real *y, const real *x, int64_t ldx, int64_t n, int64_t k)
{
	for (int64_t p = 0; p < k / 4 * 4; p++)
		for (int64_t j = 0; j < n; j++)
			y[p * PANEL + j] = x[j * ldx + p];
	return n;
}
#endif

static void
clear_behind(real *y, int64_t n, int64_t k)
{
	if (n < PANEL)
		for (int64_t p = 0; p < k; p++)
			memset(y + p * PANEL + n, 0, (size_t)(PANEL - n) * sizeof *y);
}

void
CPU(panel_turn)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k)
{
	int64_t done = turn_blocks(y, x, ldx, n, k);

	for (int64_t p = 0; p < k; p++)
		for (int64_t j = p < k / 4 * 4 ? done : 0; j < n; j++)
			y[p * PANEL + j] = x[j * ldx + p];
	clear_behind(y, n, k);
}

void
CPU(panel_copy)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k)
{
	for (int64_t p = 0; n == PANEL && p < k; p++)
		memcpy(y + p * PANEL, x + p * ldx, PANEL * sizeof *y);
	for (int64_t p = 0; n < PANEL && p < k; p++)
		memcpy(y + p * PANEL, x + p * ldx, (size_t)n * sizeof *y);
	clear_behind(y, n, k);
}
