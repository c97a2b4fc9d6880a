/* device - the CPU variants that this processor has, or a GPU, opened for a test; and numbers to feed them. */
#ifndef QZ_TEST_DEVICE_H
#define QZ_TEST_DEVICE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "kernels/backend.h"
#include "libcore/base/rng.h"
#include "tests/unit/mirror.h"

/* One of base, avx2, avx512, avx512bf16, f64, NULL when the processor lacks it; or a GPU (mirror.h). */
__attribute__((unused)) static struct qz_dev *
open_variant(const char *name, int n_threads)
{
	struct qz_err e;

	if (!strncmp(name, "cuda", 4))
		return mirror_open(name, &e);
	if (!strcmp(name, "f64"))
		return qz_device_open("cpu-f64", n_threads, &e);
	setenv("QZ_CPU", name, 1);
	return qz_device_open("cpu", n_threads, &e);
}

/* Of a normal distribution (twelve uniforms), the same ones for the same stream. */
__attribute__((unused)) static double
normal(uint64_t stream, uint64_t i)
{
	uint32_t w[12];
	double sum = -6;

	for (unsigned k = 0; k < 3; k++)
		qz_philox(20, stream, 3 * i + k, w + 4 * k);
	for (int k = 0; k < 12; k++)
		sum += qz_unit(w[k]);
	return sum;
}

__attribute__((unused)) static void *
need(size_t nbytes)
{
	void *p = aligned_alloc(256, (nbytes + 511) / 256 * 256);

	if (!p)
		abort();
	return p;
}

#endif
