/* adamw8 for test_optim.py: optim N STEPS LR WEIGHT_DECAY, N values and then STEPS gradients of N, float32,
 * from standard input; the values, both block constants and both codes to standard output. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/backend.h"

static void *
zeros(size_t n)
{
	void *p = calloc(n, 1);

	if (!p)
		exit(1);
	return p;
}

int
main(int argc, char **argv)
{
	size_t n = argc == 5 ? strtoul(argv[1], NULL, 10) : 0;
	size_t blocks = (n + QZ_ADAMW8_BLOCK - 1) / QZ_ADAMW8_BLOCK;
	struct qz_adamw a = { .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };
	struct qz_err e;
	struct qz_dev *d = qz_device_open("cpu", 1, &e);
	float *p = zeros(n * 4), *g = zeros(n * 4);
	float *absmax_m = zeros(blocks * 4), *absmax_v = zeros(blocks * 4);
	uint8_t *m = zeros(n), *v = zeros(n);
	double sum = 0;

	if (!d || !n || fread(p, 4, n, stdin) != n)
		return 2;
	a.lr = strtod(argv[3], NULL);
	a.weight_decay = strtod(argv[4], NULL);
	while (a.step < strtod(argv[2], NULL)) {
		if (fread(g, 4, n, stdin) != n)
			return 2;
		a.step++;
		d->k->adamw8(d, &a, &sum, p, m, v, absmax_m, absmax_v, g, NULL, (int64_t)n);
	}
	fwrite(p, 4, n, stdout);
	fwrite(absmax_m, 4, blocks, stdout);
	fwrite(absmax_v, 4, blocks, stdout);
	fwrite(m, 1, n, stdout);
	fwrite(v, 1, n, stdout);
	qz_device_close(d);
	free(p);
	free(g);
	free(absmax_m);
	free(absmax_v);
	free(m);
	free(v);
	return fflush(stdout) == EOF;
}
