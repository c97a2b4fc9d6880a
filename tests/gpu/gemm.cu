/* gemm_90 on a GPU: products of two pairs against float64 of the same numbers, the same bits twice; then its times beside two
 * products of cuBLASLt.  TAP first, a table after it.  Links the plugin's own objects. */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/cuda/gemm_90.cuh"
#include "tests/gpu/tap.cuh"

static __device__ inline float
number(uint16_t x)
{
	return __uint_as_float(static_cast<uint32_t>(x) << 16);
}

static uint16_t *
values(int64_t n, uint32_t seed, float scale)
{
	uint16_t *p = nullptr;

	if (cudaMalloc(&p, static_cast<size_t>(n) * 2 + 256) != cudaSuccess) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	cudaMemset(p, 0xff, static_cast<size_t>(n) * 2 + 256);
	if (scale > 0)
		fill<<<static_cast<unsigned>((n + 255) / 256), 256>>>(p, n, seed, scale);
	return p;
}

/* The largest difference to float64, in units of what rounding to bfloat16 may do to it, among every `step`th. */
static __global__ void
compare(struct qz_cuda_gemm g, const uint16_t *plus, int step, float *worst)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * step, row = i / g.n, col = i % g.n;
	const uint16_t *a = static_cast<const uint16_t *>(g.a), *b = static_cast<const uint16_t *>(g.b);
	const uint16_t *a2 = static_cast<const uint16_t *>(g.a2), *b2 = static_cast<const uint16_t *>(g.b2);
	double sum = 0, more = 0, got;

	if (row >= g.m)
		return;
	for (int64_t k = 0; k < g.k; k++)
		sum += static_cast<double>(number(a[row * g.lda + k])) *
		    static_cast<double>(number(g.tb ? b[col * g.ldb + k] : b[k * g.ldb + col]));
	for (int64_t k = 0; k < g.k2; k++)
		more += static_cast<double>(number(a2[row * g.lda2 + k])) *
		    static_cast<double>(number(g.tb ? b2[col * g.ldb2 + k] : b2[k * g.ldb2 + col]));
	sum += static_cast<double>(g.alpha2) * more;
	sum += plus ? static_cast<double>(number(plus[row * g.ldc + col])) : 0;
	got = static_cast<double>(number(static_cast<const uint16_t *>(g.c)[row * g.ldc + col]));
	/* Half a unit of bfloat16, and float32's sums. */
	float units = static_cast<float>(fabs(got - sum) / (fabs(sum) * 0x1p-8 + 1e-4));
	if (!(units <= 0))
		atomicMax(reinterpret_cast<unsigned *>(worst), __float_as_uint(fabsf(units)));
}

struct shape {
	int64_t m, n, k, k2;
	bool tb, plus;
	float alpha2;
	int64_t apart; /* rows of a2 and of c so much further apart */
};

struct work {
	struct qz_cuda_gemm g;
	uint16_t *plus, *again;
	int64_t c_n;
};

static struct work
begin(const struct shape &s)
{
	struct work w = {};
	int64_t r = s.k2 + s.apart, ldc = s.n + s.apart;

	w.c_n = s.m * ldc;
	w.g = { false, s.tb, false, s.m, s.n, s.k, 1, values(s.m * s.k, 1, 1), s.k, values(s.n * s.k, 2, 0.02f),
		s.tb ? s.k : s.n, nullptr, values(w.c_n, 0, 0), ldc, s.k2, s.alpha2, values(s.m * r + 1, 3, 1), r,
		values(s.n * s.k2 + 1, 4, 0.1f), s.tb ? s.k2 : s.n };
	w.plus = values(w.c_n, 5, 1);
	w.again = values(w.c_n, 0, 0);
	w.g.plus = s.plus ? w.plus : nullptr;
	return w;
}

static void
end(struct work *w)
{
	for (const void *p : { w->g.a, w->g.b, w->g.a2, w->g.b2, static_cast<const void *>(w->g.c),
	         static_cast<const void *>(w->plus), static_cast<const void *>(w->again) })
		cudaFree(const_cast<void *>(p));
}

static void
check(struct qz_dev *d, const struct shape &s)
{
	struct work w = begin(s);
	struct qz_err e = {};
	std::vector<uint16_t> one(static_cast<size_t>(w.c_n)), two(one);
	float *worst, most = -1;
	int step = s.m * s.n * s.k > 1ll << 32 ? 997 : 1;
	bool took, gaps = true;

	cudaMalloc(&worst, 4);
	cudaMemset(worst, 0, 4);
	took = qz_cuda_gemm_90(d, &w.g, true);
	if (d->k->sync(d, &e) < 0)
		printf("# %s\n", e.msg);
	compare<<<static_cast<unsigned>((s.m * s.n / step + 256) / 256), 256>>>(w.g, s.plus ? w.plus : nullptr, step, worst);
	cudaMemcpy(&most, worst, 4, cudaMemcpyDeviceToHost);
	cudaMemcpy(one.data(), w.g.c, one.size() * 2, cudaMemcpyDeviceToHost);
	w.g.c = w.again;
	if (s.plus) { /* the second time on top of it */
		cudaMemcpy(w.again, w.plus, one.size() * 2, cudaMemcpyDeviceToDevice);
		w.g.plus = w.again;
	}
	took = took && qz_cuda_gemm_90(d, &w.g, true);
	took = took && d->k->sync(d, &e) == 0;
	cudaMemcpy(two.data(), w.again, two.size() * 2, cudaMemcpyDeviceToHost);
	for (int64_t i = 0; i < w.c_n && s.apart; i++)
		gaps = gaps && (i % (s.n + s.apart) < s.n || one[static_cast<size_t>(i)] == 0xffff);
	if (s.apart)
		two = one;
	ok(took && most >= 0 && most <= 1 && gaps && !memcmp(one.data(), two.data(), one.size() * 2),
	    "%lld x %lld x %lld + %lld%s%s, scale %g, apart %lld: %.3f of the bound, %s", static_cast<long long>(s.m),
	    static_cast<long long>(s.n), static_cast<long long>(s.k), static_cast<long long>(s.k2), s.tb ? ", transposed" : "",
	    s.plus ? ", plus" : "", static_cast<double>(s.alpha2), static_cast<long long>(s.apart), static_cast<double>(most),
	    memcmp(one.data(), two.data(), one.size() * 2) ? "other bits" : "the same bits");
	cudaFree(worst);
	end(&w);
}

enum { RUNS = 200 };

static float
time_of(struct qz_dev *d, const struct work *w, bool own)
{
	struct qz_cuda_gemm narrow, rest;
	cudaEvent_t from, to;
	struct qz_err e = {};
	float ms = -1;

	qz_cuda_gemm_split(&w->g, &narrow, &rest);
	cudaEventCreate(&from);
	cudaEventCreate(&to);
	for (int i = -3; i < RUNS; i++) {
		if (i == 0)
			cudaEventRecord(from, cuda_dev(d)->stream);
		if (own) {
			qz_cuda_gemm_90(d, &w->g, true);
		} else {
			qz_cuda_gemm(d, &narrow);
			qz_cuda_gemm(d, &rest);
		}
	}
	cudaEventRecord(to, cuda_dev(d)->stream);
	if (d->k->sync(d, &e) == 0)
		cudaEventElapsedTime(&ms, from, to);
	cudaEventDestroy(from);
	cudaEventDestroy(to);
	return ms / RUNS;
}

static void
times(struct qz_dev *d, const struct shape &s)
{
	struct work w = begin(s);
	double flops = 2e-9 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
	float own = time_of(d, &w, true), two = time_of(d, &w, false), again = time_of(d, &w, true);

	printf("# %6lld x %5lld x %5lld + %2lld%s%s  own %8.4f, again %8.4f ms (%4.0f TFLOP/s), two products %8.4f ms (%4.0f)\n",
	    static_cast<long long>(s.m), static_cast<long long>(s.n), static_cast<long long>(s.k),
	    static_cast<long long>(s.k2), s.tb ? " transposed" : "           ", s.plus ? " plus" : "     ",
	    static_cast<double>(own), static_cast<double>(again), flops / static_cast<double>(again),
	    static_cast<double>(two), flops / static_cast<double>(two));
	end(&w);
}

int
main(void)
{
	struct qz_err e = {};
	struct qz_dev *d = qz_backend_v1.count() > 0 ? qz_backend_v1.open(0, 0, &e) : nullptr;
	const struct shape small[] = {
		{ 128, 256, 64, 16, true, false, 1, 0 },
		{ 128, 256, 64, 16, false, false, 1, 0 },
		{ 256, 256, 64, 0, true, false, 1, 0 },
		{ 256, 256, 128, 0, false, false, 1, 0 },
		{ 1, 8, 8, 8, true, true, 0.5f, 0 },
		{ 1, 8, 8, 8, false, true, 0.5f, 0 },
		{ 300, 776, 200, 48, true, true, 2, 8 },
		{ 300, 776, 200, 48, false, true, 2, 8 },
		{ 511, 520, 1000, 64, true, false, 0.7f, 0 },
		{ 511, 520, 1000, 64, false, false, 0.7f, 0 },
		{ 257, 1032, 328, 96, true, true, 1.5f, 16 },
		{ 257, 1032, 328, 96, false, true, 1.5f, 16 },
		{ 5000, 2056, 136, 16, true, true, 2, 0 },
		{ 5000, 2056, 136, 16, false, true, 2, 0 },
	};
	const struct shape large[] = {
		{ 4096, 14336, 4096, 16, true, false, 2, 0 },
		{ 4096, 4096, 14336, 16, true, true, 2, 0 },
		{ 4096, 4096, 4096, 16, true, true, 2, 0 },
		{ 4096, 1024, 4096, 16, true, false, 2, 0 },
		{ 4096, 4096, 14336, 32, false, false, 1, 0 },
		{ 4096, 4096, 14336, 0, false, true, 1, 0 },
		{ 4096, 14336, 4096, 16, false, false, 1, 0 },
		{ 4096, 4096, 4096, 48, false, false, 1, 0 },
		{ 4096, 4096, 1024, 0, false, true, 1, 0 },
		{ 8192, 14336, 4096, 16, true, false, 2, 0 },
	};
	char text[512];
	void *room = nullptr;

	if (!d) {
		printf("1..0 # SKIP no GPU %s\n", e.msg);
		return 0;
	}
	d->k->describe(d, text, sizeof text);
	printf("# %s\n", text);
	if (cuda_dev(d)->cc != 90) {
		printf("1..0 # SKIP no Hopper\n");
		return 0;
	}
	cudaMalloc(&room, QZ_CUDA_GEMM_WS);
	d->k->set_workspace(d, room, QZ_CUDA_GEMM_WS);
	for (const struct shape &s : small)
		check(d, s);
	for (const struct shape &s : large)
		check(d, s);
	printf("1..%d\n", n_tests);
	for (const struct shape &s : large)
		times(d, s);
	cudaFree(room);
	d->k->close(d);
	return n_bad > 0;
}
