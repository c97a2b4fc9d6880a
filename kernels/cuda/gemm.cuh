/* gemm - what the files about products share: the library, the shape of a product, its algorithm. */
#ifndef QZ_CUDA_GEMM_CUH
#define QZ_CUDA_GEMM_CUH

#include <cublasLt.h>

#include "kernels/cuda/plain.cuh"

#define QZ_GEMM_SYMBOLS(X) \
	X(cublasLtCreate) \
	X(cublasLtDestroy) \
	X(cublasLtGetVersion) \
	X(cublasLtGetStatusString) \
	X(cublasLtMatmul) \
	X(cublasLtMatmulAlgoCheck) \
	X(cublasLtMatmulAlgoGetHeuristic) \
	X(cublasLtMatmulDescInit_internal) \
	X(cublasLtMatmulDescSetAttribute) \
	X(cublasLtMatrixLayoutInit_internal) \
	X(cublasLtMatmulPreferenceInit_internal) \
	X(cublasLtMatmulPreferenceSetAttribute)

struct qz_gemm_library {
	void *so;
	char why[512];
#define X(name) decltype(&name) p_##name;
	QZ_GEMM_SYMBOLS(X)
#undef X
};

/* Everything that decides the algorithm. */
struct qz_gemm_key {
	int64_t m, n, k, lda, ldb, ldc;
	uint8_t ta, tb, wide, plus, align_a, align_b, align_c, align_plus, used, f16, none[6];
};

struct qz_gemm_entry {
	struct qz_gemm_key key;
	bool plain; /* no algorithm */
	cublasLtMatmulDescOpaque_t product;
	cublasLtMatrixLayoutOpaque_t a, b, c;
	cublasLtMatmulAlgo_t algorithm;
};

/* The algorithms that were timed, as a file keeps them.  With key.used PASSED: all products of a pass were, whose key is
 * key.m; the rest is 0. */
enum { QZ_GEMM_PASSED = 2 };
struct qz_gemm_choice {
	struct qz_gemm_key key;
	cublasLtMatmulAlgo_t algorithm;
	float ms;
};

enum { QZ_GEMM_ENTRIES = 1024, QZ_GEMM_CHOICES = 512, QZ_GEMM_TRIED = 8 };

struct qz_cuda_gemms {
	const struct qz_gemm_library *lib;
	cublasLtHandle_t handle;
	bool tuning, changed;
	uint64_t tuned; /* the key while tuning */
	int n_choices;
	struct qz_gemm_choice choices[QZ_GEMM_CHOICES];
	struct qz_gemm_entry entries[QZ_GEMM_ENTRIES];
};

/* FNV-1a; a first h is QZ_FNV_START. */
static const uint64_t QZ_FNV_START = 0xcbf29ce484222325;

static inline uint64_t
qz_fnv(uint64_t h, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ static_cast<const unsigned char *>(p)[i]) * 0x100000001b3;
	return h;
}

/* Runs a product by an algorithm. */
cublasStatus_t qz_gemm_run(struct qz_dev *d, const struct qz_cuda_gemm *g, const struct qz_gemm_entry *e,
    const cublasLtMatmulAlgo_t *algorithm);

/* gemm_tune.cu: sets e's algorithm to the one that was chosen before or, while tuning, to the fastest of
 * those found, which it times; what g's c holds is lost.  Else it stays as it is. */
void qz_gemm_choose(struct qz_dev *d, const struct qz_cuda_gemm *g, struct qz_gemm_entry *e,
    const cublasLtMatmulHeuristicResult_t *found, int n);
/* Choices of earlier runs on such a GPU with such a library. */
void qz_gemm_choices_read(struct qz_dev *d);

#endif
