/* tap - what the programs of tests/gpu share: lines of TAP, and random numbers. */
#ifndef QZ_TESTS_GPU_TAP_CUH
#define QZ_TESTS_GPU_TAP_CUH

#include <cstdarg>
#include <cstdio>

#include "kernels/cuda/plain.cuh"

extern "C" const struct qz_backend qz_backend_v1;

static int n_tests, n_bad;

static void
ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++n_tests);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	n_bad += !good;
}

/* About normal, in bfloat16. */
static __global__ void
fill(uint16_t *x, int64_t n, uint32_t seed, float scale)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
	float sum = -6;
	uint64_t h = (static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15ull ^ static_cast<uint64_t>(seed) << 40;

	if (i >= n)
		return;
	for (int k = 0; k < 12; k++) {
		h ^= h >> 27;
		h *= 0x94d049bb133111ebull;
		h ^= h >> 31;
		sum += static_cast<float>(h >> 40) * 0x1p-24f;
	}
	x[i] = bf16_round(sum * scale);
}

#endif
