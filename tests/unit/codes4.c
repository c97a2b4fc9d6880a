/* The one lookup of codes4.h gives the number of thresholds below, for every float of -1..1. */
#include "kernels/codes4.h"
#include "kernels/nf4.h"
#include "tests/unit/tap.h"

static uint32_t
by_lookup(const struct qz_codes4 *c, float v)
{
	const struct qz_codes4 *b = &c[qz_codes4_bucket(v) - QZ_CODES4_FIRST];

	return b->rank + (v > b->above);
}

static void
every(float sign)
{
	const float *bounds = qz_bounds4(QZ_NF4);
	struct qz_codes4 c[QZ_CODES4_BUCKETS];
	long bad = 0, n = 0;

	qz_codes4_fill(c, bounds);
	for (uint32_t bits = 0; bits <= 0x3f800000; bits += bits < 0x3b000000 ? 997 : 1, n++) {
		uint32_t rank = 0;
		float v;

		memcpy(&v, &bits, sizeof v);
		v *= sign;
		for (int i = 0; i < 15; i++)
			rank += v > bounds[i];
		bad += by_lookup(c, v) != rank;
	}
	ok(bad == 0, "%s numbers: %ld of %ld differ", sign < 0 ? "negative" : "positive", bad, n);
}

int
main(void)
{
	every(1);
	every(-1);
	return done();
}
