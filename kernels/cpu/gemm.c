/* Dense products go to OpenBLAS, on one thread: the pool calls it on tiles. */
#include <cblas.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

#ifdef QZ_ORACLE
#define GEMM cblas_dgemm
#else
#define GEMM cblas_sgemm
#endif

void
CPU(gemm_init)(void)
{
	openblas_set_num_threads(1);
}

void
CPU(gemm_name)(char *text, size_t n)
{
	const char *config = openblas_get_config(); /* "OpenBLAS 0.3.21 NO_LAPACKE ..." */
	size_t name = strcspn(config, " ");
	size_t version = config[name] ? strcspn(config + name + 1, " ") + 1 : 0;

	snprintf(text, n, "%.*s %s", (int)(name + version), config, openblas_get_corename());
}

void
CPU(gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, real alpha, const real *a, int64_t lda,
    const real *b, int64_t ldb, real beta, real *c, int64_t ldc)
{
	GEMM(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
	    (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c,
	    (blasint)ldc);
}
