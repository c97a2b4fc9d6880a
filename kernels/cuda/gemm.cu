/* gemm - products on the tensor cores by cuBLASLt, which is found at run time.
 *
 * cuBLASLt counts columns first: c^T (n, m) = op(b)^T op(a)^T, so that b is its first matrix.
 * A product's algorithm is the first of the library's heuristics whose reductions have a fixed order; it
 * is kept, with the descriptions of the matrices, for the next product of the same shape; or the one that was
 * fastest when a few were timed (gemm_tune.cu).  Shapes for
 * which there is none (some odd ones) go to a plain kernel. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>

#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/gemm_90.cuh"
#include "kernels/cuda/library.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define LIBRARY "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR)

static struct qz_gemm_library the_library;

static void
load_library(void)
{
	struct qz_gemm_library &lib = the_library;

	lib.so = qz_cuda_library(LIBRARY, nullptr, nullptr, lib.why, sizeof lib.why);
	if (!lib.so)
		return;
#define X(name) \
	lib.p_##name = reinterpret_cast<decltype(&name)>(qz_cuda_symbol(lib.so, #name)); \
	if (!lib.p_##name) { \
		snprintf(lib.why, sizeof lib.why, "%s has no %s", LIBRARY, #name); \
		lib.so = nullptr; \
		return; \
	}
	QZ_GEMM_SYMBOLS(X)
#undef X
}

/* Loaded once in a process, by whichever device or thread (ahead.cu) is first. */
static const struct qz_gemm_library *
load(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load_library);
	return &the_library;
}

void
qz_cuda_gemms_load(void)
{
	(void)load();
}

static bool
lt_rc(struct qz_dev *d, const struct qz_gemm_library *lib, const char *what, cublasStatus_t rc)
{
	char text[256];

	if (rc == CUBLAS_STATUS_SUCCESS)
		return true;
	snprintf(text, sizeof text, "%s %lld x %lld x %lld", cuda_dev(d)->op,
	    static_cast<long long>(cuda_dev(d)->shape[0]), static_cast<long long>(cuda_dev(d)->shape[1]),
	    static_cast<long long>(cuda_dev(d)->shape[2]));
	qz_cuda_keep(d, QZ_EDEVICE, "cuda:%d: %s: %s: %s", cuda_dev(d)->index, text, what,
	    lib->p_cublasLtGetStatusString(rc));
	return false;
}

void
qz_cuda_gemms_begin(struct qz_dev *d)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	const struct qz_gemm_library *lib = load();

	if (c->gemms)
		return;
	if (!lib->so) {
		qz_cuda_keep(d, QZ_EDEVICE, "cuda:%d: products need cuBLAS: %s", c->index, lib->why);
		return;
	}
	c->gemms = static_cast<struct qz_cuda_gemms *>(calloc(1, sizeof *c->gemms));
	if (!c->gemms) {
		qz_cuda_keep(d, QZ_EIO, "out of memory: cannot allocate %zu bytes", sizeof *c->gemms);
		return;
	}
	c->gemms->lib = lib;
	if (!lt_rc(d, lib, "cublasLtCreate", lib->p_cublasLtCreate(&c->gemms->handle))) {
		free(c->gemms);
		c->gemms = nullptr;
		return;
	}
	qz_gemm_choices_read(d);
}

void
qz_cuda_gemms_end(struct qz_dev *d)
{
	struct qz_cuda_gemms *g = cuda_dev(d)->gemms;

	if (g)
		g->lib->p_cublasLtDestroy(g->handle);
	free(g);
	cuda_dev(d)->gemms = nullptr;
}

void
qz_cuda_gemms_name(struct qz_dev *d, char *text, size_t n)
{
	const struct qz_gemm_library *lib = load();
	size_t v = lib->so ? lib->p_cublasLtGetVersion() : 0;

	(void)d;
	if (lib->so)
		snprintf(text, n, "cuBLASLt %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
	else
		snprintf(text, n, "no cuBLASLt");
}

/* The largest power of two, up to 256, that divides an address. */
static uint32_t
alignment(const void *p)
{
	uintptr_t u = reinterpret_cast<uintptr_t>(p) | 256;

	return static_cast<uint32_t>(u & (~u + 1));
}

static uint8_t
log_alignment(const void *p)
{
	uint8_t n = 0;

	for (uint32_t a = alignment(p); a > 1; a /= 2)
		n++;
	return n;
}

static struct qz_gemm_key
make_key(struct qz_dev *d, const struct qz_cuda_gemm *g)
{
	struct qz_gemm_key k;

	memset(&k, 0, sizeof k); /* keys are compared as bytes */
	k.m = g->m;
	k.n = g->n;
	k.k = g->k;
	k.lda = g->lda;
	k.ldb = g->ldb;
	k.ldc = g->ldc;
	k.ta = g->ta;
	k.tb = g->tb;
	k.wide = g->wide;
	k.plus = !g->plus ? 0 : g->plus == g->c ? 1 : 2;
	k.align_a = log_alignment(g->a);
	k.align_b = log_alignment(g->b);
	k.align_c = log_alignment(g->c);
	k.align_plus = log_alignment(g->plus ? g->plus : g->c);
	k.used = 1;
	k.f16 = d->k->act_type == QZ_F16;
	return k;
}

static size_t
hash(const struct qz_gemm_key *k)
{
	uint64_t h = qz_fnv(QZ_FNV_START, k, sizeof *k);

	return static_cast<size_t>((h >> 32 ^ h) % QZ_GEMM_ENTRIES);
}

static bool
describe(struct qz_dev *d, const struct qz_gemm_library *lib, struct qz_gemm_entry *e, const struct qz_cuda_gemm *g)
{
	cublasOperation_t op_a = g->tb ? CUBLAS_OP_T : CUBLAS_OP_N, op_b = g->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
	uint64_t m = static_cast<uint64_t>(g->m), n = static_cast<uint64_t>(g->n);
	uint64_t k = static_cast<uint64_t>(g->k);
	cudaDataType_t act = d->k->act_type == QZ_F16 ? CUDA_R_16F : CUDA_R_16BF;
	cublasStatus_t rc = lib->p_cublasLtMatmulDescInit_internal(&e->product, sizeof e->product,
	    CUBLAS_COMPUTE_32F, CUDA_R_32F);

	if (rc == CUBLAS_STATUS_SUCCESS)
		rc = lib->p_cublasLtMatmulDescSetAttribute(&e->product, CUBLASLT_MATMUL_DESC_TRANSA, &op_a,
		    sizeof op_a);
	if (rc == CUBLAS_STATUS_SUCCESS)
		rc = lib->p_cublasLtMatmulDescSetAttribute(&e->product, CUBLASLT_MATMUL_DESC_TRANSB, &op_b,
		    sizeof op_b);
	if (rc == CUBLAS_STATUS_SUCCESS)
		rc = lib->p_cublasLtMatrixLayoutInit_internal(&e->a, sizeof e->a, act,
		    g->tb ? k : n, g->tb ? n : k, g->ldb);
	if (rc == CUBLAS_STATUS_SUCCESS)
		rc = lib->p_cublasLtMatrixLayoutInit_internal(&e->b, sizeof e->b, act,
		    g->ta ? m : k, g->ta ? k : m, g->lda);
	if (rc == CUBLAS_STATUS_SUCCESS)
		rc = lib->p_cublasLtMatrixLayoutInit_internal(&e->c, sizeof e->c,
		    g->wide ? CUDA_R_32F : act, n, m, g->ldc);
	return lt_rc(d, lib, "describing a product", rc);
}

/* Reductions only through the workspace: their order is fixed. */
static bool
prefer(struct qz_dev *d, const struct qz_gemm_library *lib, cublasLtMatmulPreferenceOpaque_t *p,
    const struct qz_cuda_gemm *g)
{
	const struct {
		cublasLtMatmulPreferenceAttributes_t name;
		uint64_t value;
		size_t size;
	} rows[] = {
		{ CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, QZ_CUDA_GEMM_WS, 8 },
		{ CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 4 },
		{ CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(g->b), 4 },
		{ CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(g->a), 4 },
		{ CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(g->plus ? g->plus : g->c), 4 },
		{ CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(g->c), 4 },
	};
	cublasStatus_t rc = lib->p_cublasLtMatmulPreferenceInit_internal(p, sizeof *p);

	for (size_t i = 0; rc == CUBLAS_STATUS_SUCCESS && i < sizeof rows / sizeof *rows; i++) {
		uint32_t small = static_cast<uint32_t>(rows[i].value);

		rc = lib->p_cublasLtMatmulPreferenceSetAttribute(p, rows[i].name,
		    rows[i].size == 4 ? static_cast<const void *>(&small) : &rows[i].value, rows[i].size);
	}
	return lt_rc(d, lib, "preferences of a product", rc);
}

static cublasLtMatrixLayout_t
layout(const cublasLtMatrixLayoutOpaque_t *l)
{
	return const_cast<cublasLtMatrixLayoutOpaque_t *>(l);
}

cublasStatus_t
qz_gemm_run(struct qz_dev *d, const struct qz_cuda_gemm *g, const struct qz_gemm_entry *e,
    const cublasLtMatmulAlgo_t *algorithm)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	float beta = g->plus ? 1 : 0;

	return c->gemms->lib->p_cublasLtMatmul(c->gemms->handle,
	    const_cast<cublasLtMatmulDescOpaque_t *>(&e->product),
	    &g->alpha, g->b, layout(&e->a), g->a, layout(&e->b), &beta, g->plus ? g->plus : g->c, layout(&e->c),
	    g->c, layout(&e->c), algorithm, c->ws, QZ_CUDA_GEMM_WS, c->stream);
}

/* The entry of a product, made when it is new; NULL and a failure. */
static struct qz_gemm_entry *
find(struct qz_dev *d, const struct qz_cuda_gemm *g)
{
	struct qz_cuda_gemms *s = cuda_dev(d)->gemms;
	struct qz_gemm_key key = make_key(d, g);
	struct qz_gemm_entry *e = &s->entries[hash(&key)];
	cublasLtMatmulPreferenceOpaque_t wish;
	cublasLtMatmulHeuristicResult_t found[QZ_GEMM_TRIED];
	int n = 0;
	cublasStatus_t rc;

	if (!memcmp(&e->key, &key, sizeof key))
		return e;
	memset(e, 0, sizeof *e);
	if (!describe(d, s->lib, e, g) || !prefer(d, s->lib, &wish, g))
		return nullptr;
	rc = s->lib->p_cublasLtMatmulAlgoGetHeuristic(s->handle, &e->product, &e->a, &e->b, &e->c, &e->c,
	    &wish, s->tuning ? QZ_GEMM_TRIED : 1, found, &n);
	e->plain = rc == CUBLAS_STATUS_NOT_SUPPORTED || (rc == CUBLAS_STATUS_SUCCESS && n < 1);
	if (!e->plain && !lt_rc(d, s->lib, "choosing an algorithm", rc))
		return nullptr;
	e->key = key;
	if (e->plain)
		return e;
	e->algorithm = found[0].algo;
	qz_gemm_choose(d, g, e, found, n);
	return e;
}

enum { TILE = 16 };

/* A thread an element of c, tiles of op(a) and op(b) in shared memory, the sum in order of k. */
static __global__ void
multiply(struct qz_cuda_gemm g, enum qz_dtype type)
{
	__shared__ float a[TILE][TILE + 1], b[TILE][TILE + 1];
	int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
	int64_t row = static_cast<int64_t>(blockIdx.y) * TILE + y;
	int64_t col = static_cast<int64_t>(blockIdx.x) * TILE + x;
	float sum = 0, old = 0;

	for (int64_t k = 0; k < g.k; k += TILE) {
		a[y][x] = row < g.m && k + x < g.k
		    ? plain_load(g.a, type, g.ta ? (k + x) * g.lda + row : row * g.lda + k + x)
		    : 0;
		b[y][x] = col < g.n && k + y < g.k
		    ? plain_load(g.b, type, g.tb ? col * g.ldb + k + y : (k + y) * g.ldb + col)
		    : 0;
		__syncthreads();
		for (int i = 0; i < TILE; i++)
			sum = fmaf(a[y][i], b[i][x], sum);
		__syncthreads();
	}
	if (row >= g.m || col >= g.n)
		return;
	if (g.plus)
		old = plain_load(g.plus, g.wide ? QZ_F32 : type, row * g.ldc + col);
	sum = fmaf(g.alpha, sum, old);
	plain_store(g.c, g.wide ? QZ_F32 : type, row * g.ldc + col, sum);
}

/* Rows in pieces: a grid has at most 65535 blocks in y. */
static void
multiply_plainly(struct qz_dev *d, const struct qz_cuda_gemm *g)
{
	const int64_t rows = 65535ll * TILE;

	for (int64_t i = 0; i < g->m; i += rows) {
		struct qz_cuda_gemm part = *g;

		part.m = g->m - i < rows ? g->m - i : rows;
		part.a = static_cast<const uint16_t *>(g->a) + (g->ta ? i : i * g->lda);
		part.c = static_cast<char *>(g->c) + i * g->ldc * (g->wide ? 4 : 2);
		if (g->plus)
			part.plus = static_cast<const char *>(g->plus) + i * g->ldc * (g->wide ? 4 : 2);
		launch(d, multiply,
		    dim3(static_cast<unsigned>(ceil_div(g->n, TILE)),
		        static_cast<unsigned>(ceil_div(part.m, TILE))),
		    TILE * TILE, 0, part, d->k->act_type);
	}
}

static void
one_pair(struct qz_dev *d, const struct qz_cuda_gemm *g)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	struct qz_cuda_gemms *s = c->gemms;
	struct qz_gemm_entry *e;

	if (g->m < 1 || g->n < 1 || c->err.code != QZ_OK)
		return;
	if (!s) {
		qz_cuda_keep(d, QZ_EIO, "%s: there is no workspace", c->op);
		return;
	}
	e = find(d, g);
	if (!e)
		return;
	if (e->plain) {
		multiply_plainly(d, g);
		return;
	}
	lt_rc(d, s->lib, "cublasLtMatmul", qz_gemm_run(d, g, e, &e->algorithm));
}

/* Two pairs at once where there is a kernel for it, else the narrow one first and the other on top of it: c is rounded
 * while it holds the narrow one's share. */
void
qz_cuda_gemm(struct qz_dev *d, const struct qz_cuda_gemm *g)
{
	struct qz_cuda_gemm narrow, rest;

	if (g->k2 < 1) {
		one_pair(d, g);
		return;
	}
	if (g->m > 0 && g->n > 0 && qz_cuda_gemm_90(d, g, false))
		return;
	qz_cuda_gemm_split(g, &narrow, &rest);
	one_pair(d, &narrow);
	one_pair(d, &rest);
}
