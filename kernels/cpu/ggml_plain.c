/* The search for scales, the definition: one sub-block after another. */
#ifdef QZ_ORACLE
#include <string.h>

#include "kernels/cpu/ggml_quant.h"
#include "kernels/ggml_one.h"

void
CPU(search)(const struct search *s, const float *x, const float *w, int n, struct found *f)
{
	float weights[32];

	for (int j = 0; j < n; j++) {
		struct scales one;

		if (s->weight == BY_GIVEN)
			memcpy(weights, w + j * s->len, (size_t)s->len * sizeof *w);
		one = search_one(s, x + j * s->len, weights, f->codes + j * s->len);
		f->scale[j] = one.scale;
		f->min[j] = one.min;
		f->sum[j] = one.sum;
	}
}
#endif
