#include "kernels/cpu/product.h"

#include <string.h>

#include "libcore/base/half.h"

#ifndef __AVX512BF16__

void
CPU(product)(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
    int64_t height, bool add, real *c, int64_t ldc, real *scratch)
{
	(void)scratch;
	CPU(gemm_panels)(m, n, k, a, lda, b, height, add, c, ldc);
}

void
CPU(product_turn)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k)
{
	CPU(panel_turn)(y, x, ldx, n, k);
}

void
CPU(product_copy)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k)
{
	CPU(panel_copy)(y, x, ldx, n, k);
}

#else

/* y (slots(n)) = pairs of neighbours of x (n). */
static void
pair_neighbours(real *y, const real *x, int64_t n)
{
	real rest[2 * VL] = { 0 };

	for (; n >= 2 * VL; n -= 2 * VL, x += 2 * VL, y += VL)
		store(y, (vec)_mm512_cvtne2ps_pbh((__m512)load(x + VL), (__m512)load(x)));
	if (n < 1)
		return;
	memcpy(rest, x, (size_t)n * sizeof *x);
	store(rest, (vec)_mm512_cvtne2ps_pbh((__m512)load(rest + VL), (__m512)load(rest)));
	memcpy(y, rest, (size_t)slots(n) * sizeof *y);
}

/* y (n) = pairs of a[i], b[i]. */
static void
pair_rows(real *y, const real *a, const real *b, int64_t n)
{
	for (int64_t i = 0; i < n; i++) {
		uint32_t pair = qz_f32_to_bf16(a[i]) | (uint32_t)qz_f32_to_bf16(b[i]) << 16;

		y[i] = qz_f32_from_bits(pair);
	}
}

void
CPU(product)(int64_t m, int64_t n, int64_t k, const real *a, int64_t lda, const real *b,
    int64_t height, bool add, real *c, int64_t ldc, real *scratch)
{
	for (int64_t p = 0; p == 0 || p < k; p += PRODUCT_CHUNK) {
		int64_t len = min64(PRODUCT_CHUNK, k - p), ld = slots(len);

		for (int64_t i = 0; i < m; i++)
			pair_neighbours(scratch + i * ld, a + i * lda + p, len);
		CPU(gemm_pairs)
		(m, n, ld, scratch, ld, b + p / PAIR * PANEL, height, add || p > 0, c, ldc);
	}
}

void
CPU(product_turn)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k)
{
	real pairs[PANEL * PRODUCT_PIECE / PAIR];

	for (int64_t j = 0; j < n; j++)
		pair_neighbours(pairs + j * PRODUCT_PIECE / PAIR, x + j * ldx, k);
	CPU(panel_turn)(y, pairs, PRODUCT_PIECE / PAIR, n, slots(k));
}

void
CPU(product_copy)(real *y, const real *x, int64_t ldx, int64_t n, int64_t k)
{
	static const real none[PANEL];

	for (int64_t p = 0; p < k; p += 2, y += PANEL) {
		memset(y, 0, PANEL * sizeof *y);
		pair_rows(y, x + p * ldx, p + 1 < k ? x + (p + 1) * ldx : none, n);
	}
}

#endif
