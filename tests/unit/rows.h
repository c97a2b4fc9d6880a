/* rows - rows of numbers of every kind, for the tests of quantize_ggml. */
#ifndef QZ_TEST_ROWS_H
#define QZ_TEST_ROWS_H

#include "tests/unit/device.h"

/* Row r of n elements: rows of every awkward kind, then normal ones. */
__attribute__((unused)) static void
make_row(float *x, int r, int n, uint64_t seed)
{
	static const float sizes[] = { 1, 0.02f, 1e-4f, 1e5f, 6e-8f, 1e-14f, 1e-30f, 1e15f };
	uint64_t stream = (uint64_t)r + seed;

	for (int i = 0; i < n; i++) {
		float v = (float)normal(stream, (uint64_t)i);

		switch (r) {
		case 0: /* nothing */
			v = 0;
			break;
		case 1: /* one value, of either sign */
			v = 0.3f;
			break;
		case 2:
			v = -0.3f;
			break;
		case 3: /* one sign */
			v = fabsf(v);
			break;
		case 4:
			v = -fabsf(v);
			break;
		case 5: /* far from zero, close together */
			v = -1 - 1e-3f * fabsf(v);
			break;
		case 6: /* outliers */
			v *= i % 37 == 5 ? 1000.0f : 0.01f;
			break;
		case 7: /* sparse */
			v = i % 19 ? 0 : v;
			break;
		case 8: /* heavy tails */
			v = v * v * v * v * v;
			break;
		case 9: /* zeros of either sign, and whole blocks of them */
			v = i / 32 % 2 ? v : i % 2 ? -0.0f : 0;
			break;
		case 10: /* equal magnitudes: ties */
			v = i % 2 ? 1 : -1;
			break;
		case 11: /* on a grid: halves to round */
			v = (float)(int)(v * 4) / 8;
			break;
		case 12: /* blocks of very different size */
			v *= (float)ldexp(1, -(i / 32 % 60));
			break;
		case 13: /* denormals, whose range has no inverse, and some that just have one */
			v *= (float)ldexp(1, -126 - i / 32 % 20) * (i / 32 % 3 ? 1 : 64);
			break;
		case 14: /* one denormal among zeros */
			v = i % 32 == 7 ? 1e-44f : 0;
			break;
		case 15: /* of one sign, far apart: mins that move */
			v = -1e-3f - fabsf(v) * (i % 16 ? 1e-4f : 10);
			break;
		case 16: /* more than float16 holds, in blocks of their own */
			v *= i / 32 % 5 ? 1 : 1e6f;
			break;
		case 17: /* next to nothing */
			v *= 3e-15f;
			break;
		default:
			v *= sizes[r % 8];
		}
		x[i] = v;
	}
}

/* kind 0: none; 1: as activations have them; 2: with columns that never were anything. */
__attribute__((unused)) static const float *
make_importance(float *w, int kind, int n)
{
	for (int i = 0; i < n; i++) {
		double v = normal(7, (uint64_t)i);

		w[i] = (float)(v * v * v * v);
		if (kind == 2 && i / 64 % 2)
			w[i] = 0;
	}
	return kind ? w : NULL;
}

#endif
