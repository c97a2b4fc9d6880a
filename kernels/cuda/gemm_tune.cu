/* gemm_tune - which algorithm of cuBLASLt is fastest for a product: timed once, kept in a file.
 *
 * The file is $XDG_CACHE_HOME/qz/products-HASH (or ~/.cache/qz/...), HASH of the GPU's name, the driver and the
 * library's version: the same machine chooses the same again, so that a run repeats itself to the bit.
 * Where there is no such folder nothing is timed.  QZ_TUNE=0: nothing is timed or read. */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/gemm.cuh"
#include "libcore/base/cache.h"

static const char MAGIC[8] = { 'q', 'z', 'p', 'r', 'o', 'd', '1', '\n' };
enum { RUNS = 5 };
static const double SMALLEST = 1 << 24; /* products of fewer multiplications are not worth it */

/* False when there is no place for it. */
static bool
file_name(struct qz_dev *d, char path[QZ_CACHE_PATH])
{
	size_t version = cuda_dev(d)->gemms->lib->p_cublasLtGetVersion();
	uint64_t h = QZ_FNV_START;
	struct cudaDeviceProp p;
	int driver = 0;

	if (cudaGetDeviceProperties(&p, cuda_dev(d)->index) != cudaSuccess ||
	    cudaDriverGetVersion(&driver) != cudaSuccess)
		return false;
	h = qz_fnv(h, p.name, strlen(p.name));
	h = qz_fnv(h, &driver, sizeof driver);
	h = qz_fnv(h, &version, sizeof version);
	return qz_cache_path(path, "products", h);
}

/* Anything odd about the file means that there is none: it is only a cache. */
void
qz_gemm_choices_read(struct qz_dev *d)
{
	struct qz_cuda_gemms *s = cuda_dev(d)->gemms;
	char path[QZ_CACHE_PATH], magic[sizeof MAGIC];
	uint64_t n = 0, sum = 0, want;
	FILE *f;

	s->n_choices = 0;
	if (!file_name(d, path) || !(f = fopen(path, "rbe")))
		return;
	if (fread(magic, sizeof magic, 1, f) == 1 && !memcmp(magic, MAGIC, sizeof magic) &&
	    fread(&n, sizeof n, 1, f) == 1 && n <= QZ_GEMM_CHOICES &&
	    fread(s->choices, sizeof *s->choices, static_cast<size_t>(n), f) == n &&
	    fread(&sum, sizeof sum, 1, f) == 1) {
		want = qz_fnv(QZ_FNV_START, s->choices, static_cast<size_t>(n) * sizeof *s->choices);
		s->n_choices = sum == want ? static_cast<int>(n) : 0;
	}
	fclose(f);
}

static void
write_choices(struct qz_dev *d)
{
	const struct qz_cuda_gemms *s = cuda_dev(d)->gemms;
	size_t n = static_cast<size_t>(s->n_choices);
	uint64_t count = n, sum = qz_fnv(QZ_FNV_START, s->choices, n * sizeof *s->choices);
	char path[QZ_CACHE_PATH];
	struct qz_cache_file c;

	if (!file_name(d, path) || !qz_cache_create(&c, path))
		return;
	fwrite(MAGIC, sizeof MAGIC, 1, c.f);
	fwrite(&count, sizeof count, 1, c.f);
	fwrite(s->choices, sizeof *s->choices, n, c.f);
	fwrite(&sum, sizeof sum, 1, c.f);
	qz_cache_close(&c);
}

/* The best of a few runs, in ms; negative when it does not run. */
static float
time_one(struct qz_dev *d, const struct qz_cuda_gemm *g, const struct qz_gemm_entry *e,
    const cublasLtMatmulAlgo_t *algorithm, cudaEvent_t from, cudaEvent_t to)
{
	cudaStream_t stream = cuda_dev(d)->stream;
	float best = -1, ms;

	for (int i = 0; i < RUNS; i++) {
		cudaEventRecord(from, stream);
		if (qz_gemm_run(d, g, e, algorithm) != CUBLAS_STATUS_SUCCESS)
			return -1;
		cudaEventRecord(to, stream);
		if (cudaStreamSynchronize(stream) != cudaSuccess ||
		    cudaEventElapsedTime(&ms, from, to) != cudaSuccess)
			return -1;
		if (best < 0 || ms < best)
			best = ms;
	}
	return best;
}

static void
time_all(struct qz_dev *d, const struct qz_cuda_gemm *g, struct qz_gemm_entry *e,
    const cublasLtMatmulHeuristicResult_t *found, int n)
{
	struct qz_cuda_gemms *s = cuda_dev(d)->gemms;
	struct qz_gemm_choice *to = &s->choices[s->n_choices];
	cudaEvent_t from = nullptr, until = nullptr;
	float best = -1;

	if (cudaEventCreate(&from) == cudaSuccess && cudaEventCreate(&until) == cudaSuccess)
		for (int i = 0; i < n; i++) {
			float ms = time_one(d, g, e, &found[i].algo, from, until);

			if (ms < 0 || (best >= 0 && ms >= best))
				continue;
			best = ms;
			e->algorithm = found[i].algo;
		}
	cudaEventDestroy(from);
	cudaEventDestroy(until);
	qz_cuda_rc(d, "timing a product", cudaGetLastError());
	if (best < 0)
		return;
	memset(to, 0, sizeof *to);
	to->key = e->key;
	to->algorithm = e->algorithm;
	to->ms = best;
	s->n_choices++;
	s->changed = true;
}

void
qz_gemm_choose(struct qz_dev *d, const struct qz_cuda_gemm *g, struct qz_gemm_entry *e,
    const cublasLtMatmulHeuristicResult_t *found, int n)
{
	struct qz_cuda_gemms *s = cuda_dev(d)->gemms;
	cublasLtMatmulHeuristicResult_t checked;
	double work = static_cast<double>(g->m) * static_cast<double>(g->n) * static_cast<double>(g->k);

	for (int i = 0; i < s->n_choices; i++) {
		if (memcmp(&s->choices[i].key, &e->key, sizeof e->key))
			continue;
		/* The file may say anything: the library must take it for this product. */
		if (s->lib->p_cublasLtMatmulAlgoCheck(s->handle, &e->product, &e->a, &e->b, &e->c, &e->c,
			&s->choices[i].algorithm, &checked) == CUBLAS_STATUS_SUCCESS &&
		    checked.workspaceSize <= QZ_CUDA_GEMM_WS)
			e->algorithm = s->choices[i].algorithm;
		return;
	}
	if (s->tuning && work >= SMALLEST && s->n_choices < QZ_GEMM_CHOICES)
		time_all(d, g, e, found, n);
}

static struct qz_gemm_key
pass_key(uint64_t key)
{
	struct qz_gemm_key k;

	memset(&k, 0, sizeof k);
	k.m = static_cast<int64_t>(key);
	k.used = QZ_GEMM_PASSED;
	return k;
}

static bool
passed(const struct qz_cuda_gemms *s, uint64_t key)
{
	struct qz_gemm_key k = pass_key(key);

	for (int i = 0; i < s->n_choices; i++)
		if (!memcmp(&s->choices[i].key, &k, sizeof k))
			return true;
	return false;
}

/* A pass in which something failed is not one. */
static void
note_pass(struct qz_dev *d)
{
	struct qz_cuda_gemms *s = cuda_dev(d)->gemms;

	if (cuda_dev(d)->err.code != QZ_OK || s->n_choices == QZ_GEMM_CHOICES || passed(s, s->tuned))
		return;
	memset(&s->choices[s->n_choices], 0, sizeof *s->choices);
	s->choices[s->n_choices++].key = pass_key(s->tuned);
	s->changed = true;
}

bool
qz_cuda_tune(struct qz_dev *d, bool on, uint64_t key)
{
	struct qz_cuda_gemms *s = cuda_dev(d)->gemms;
	char path[QZ_CACHE_PATH];

	if (!s)
		return false;
	if (on) {
		s->tuning = file_name(d, path) && !passed(s, key);
		s->tuned = key;
		if (s->tuning)
			memset(s->entries, 0, sizeof s->entries); /* those that were not timed are looked at again */
		return s->tuning;
	}
	if (s->tuning)
		note_pass(d);
	s->tuning = false;
	if (s->changed)
		write_choices(d);
	s->changed = false;
	return false;
}
