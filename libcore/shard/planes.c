#include "libcore/shard/planes.h"

void
qz_planes_split(uint8_t *restrict out, const uint8_t *restrict in, size_t n)
{
	size_t half = n / 2;

	for (size_t i = 0; i < half; i++) {
		out[i] = in[2 * i];
		out[half + i] = in[2 * i + 1];
	}
}

void
qz_planes_join(uint8_t *restrict out, const uint8_t *restrict in, size_t n)
{
	size_t half = n / 2;

	for (size_t i = 0; i < half; i++) {
		out[2 * i] = in[i];
		out[2 * i + 1] = in[half + i];
	}
}
