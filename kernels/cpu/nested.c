/* nest_absmax: the 8-bit codes of block constants (QLoRA's double quantization).  A block without spread
 * has absmax 0, gives 0 * inf, and that is code 0. */
#include "kernels/cpu/search8.h"
#include "kernels/nf4.h"

struct nest {
	uint8_t *codes;
	float *nested_absmax;
	const float *absmax;
	float offset;
	int64_t n;
	int block;
	struct qz_codes8 of;
};

static void
nest_part(void *arg, int part, int thread)
{
	const struct nest *s = arg;
	int64_t i = (int64_t)part * s->block, end = min64(i + s->block, s->n);
	float max = 0, inverse;

	(void)thread;
	for (int64_t j = i; j < end; j++) {
		float v = s->absmax[j] - s->offset, a = v < 0 ? -v : v;

		max = a > max ? a : max;
	}
	s->nested_absmax[part] = max;
	inverse = 1.0f / max;
	for (int64_t j = i; j < end; j++)
		s->codes[j] = nearest8(&s->of, true, (s->absmax[j] - s->offset) * inverse);
}

void
CPU(nest_absmax)(struct qz_dev *d, uint8_t *codes, float *nested_absmax, const float *absmax,
    float offset, int64_t n, int block)
{
	struct nest s = { .codes = codes,
		.nested_absmax = nested_absmax,
		.absmax = absmax,
		.offset = offset,
		.n = n,
		.block = block };

	if (block < 1) {
		CPU(fail)(d, QZ_EUSAGE, "nest_absmax: blocks of %d", block);
		return;
	}
	qz_codes8_fill(&s.of, true, qz_map8_signed());
	CPU(run)(d, n_parts(n, block), nest_part, &s);
}
