/* The two lookups of codes8.h give the code of the search in seven halvings, for every float of -1..1. */
#include "kernels/codes8.h"
#include "tests/unit/tap.h"

#define QZ_ISA base
#include "kernels/cpu/search8.h"
#include "kernels/nf4.h"

static struct qz_codes8 codes;

static float
of_bits(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof x);
	return x;
}

/* Below 2^-31 all numbers have 0's code, and a part of them will do. */
static void
every(bool is_signed, const float *map, uint32_t sign)
{
	long bad = 0, n = 0;
	uint32_t first = 0;

	qz_codes8_fill(&codes, is_signed, map);
	for (uint32_t b = 0; b <= 0x3f800000; b += b < 0x30000000 ? 997 : 1, n++) {
		float x = of_bits(b | sign);

		if (qz_codes8_code(&codes, is_signed, x) != search8(map, x) && bad++ == 0)
			first = b | sign;
	}
	ok(bad == 0, "%s map, %s numbers: %ld of %ld differ, first %08x",
	    is_signed ? "signed" : "unsigned", sign ? "negative" : "positive", bad, n, first);
}

int
main(void)
{
	every(false, qz_map8_unsigned(), 0);
	ok(qz_codes8_code(&codes, false, NAN) == search8(qz_map8_unsigned(), NAN), "a NaN");
	every(true, qz_map8_signed(), 0);
	every(true, qz_map8_signed(), 0x80000000);
	ok(qz_codes8_code(&codes, true, NAN) == search8(qz_map8_signed(), NAN), "a NaN");
	ok(qz_codes8_code(&codes, true, INFINITY) == 255 &&
		qz_codes8_code(&codes, true, -INFINITY) == 0,
	    "infinities");
	return done();
}
