/* attention on a GPU: every implementation against float32 and against each other, the same bits twice, replayed
 * from a CUDA graph; then times.  TAP first, a table after it.  Links the plugin's own objects.
 *
 *	attention [fast | times]	without the longest document; times alone */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_90.cuh"
#include "kernels/cuda/cudnn.h"
#include "tests/gpu/tap.cuh"

static void
must(struct qz_dev *d, const char *what)
{
	struct qz_err e = {};

	if (d->k->sync(d, &e) == 0)
		return;
	printf("# %s: %s\n", what, e.msg);
	ok(false, "%s", what);
}

struct pack {
	const char *name;
	std::vector<int> len;
	int heads, kv_heads, dim;
	int64_t window;
};

/* Device memory of one pack. */
struct work {
	struct pack p;
	struct qz_attn a;
	std::vector<int32_t> starts;
	int64_t rows, nq, nk, nl; /* rows, elements of q, of k, of lse */
	std::vector<void *> owned;
};

static void *
room(struct work *w, size_t n)
{
	void *p = nullptr;

	if (cudaMalloc(&p, n + 256) != cudaSuccess) {
		printf("Bail out! no memory\n");
		exit(1);
	}
	cudaMemset(p, 0xff, n + 256);
	w->owned.push_back(p);
	return p;
}

static uint16_t *
values(struct work *w, int64_t n, uint32_t seed, float scale)
{
	uint16_t *p = static_cast<uint16_t *>(room(w, n * 2));

	fill<<<static_cast<unsigned>((n + 255) / 256), 256>>>(p, n, seed, scale);
	return p;
}

static void
start(struct work *w, const struct pack &p)
{
	int longest = 0;
	int32_t *device;

	w->p = p;
	w->starts.assign(1, 0);
	for (int n : p.len) {
		w->starts.push_back(w->starts.back() + n);
		longest = n > longest ? n : longest;
	}
	w->rows = w->starts.back();
	w->nq = w->rows * p.heads * p.dim;
	w->nk = w->rows * p.kv_heads * p.dim;
	w->nl = w->rows * p.heads;
	device = static_cast<int32_t *>(room(w, w->starts.size() * 4));
	cudaMemcpy(device, w->starts.data(), w->starts.size() * 4, cudaMemcpyHostToDevice);
	w->a = {};
	w->a.n_docs = static_cast<int>(p.len.size());
	w->a.max_q = w->a.max_k = longest;
	w->a.q_start = w->a.k_start = device;
	w->a.q_host = w->a.k_host = w->starts.data();
	w->a.heads = p.heads;
	w->a.kv_heads = p.kv_heads;
	w->a.head_dim = p.dim;
	w->a.window = p.window;
	w->a.scale = 1 / sqrtf(static_cast<float>(p.dim));
	w->a.q = values(w, w->nq, 1, 2);
	w->a.k = values(w, w->nk, 2, 1);
	w->a.v = values(w, w->nk, 3, 1);
	w->a.d_o = values(w, w->nq, 4, 1);
	w->a.o = room(w, w->nq * 2);
	w->a.lse = room(w, w->nl * 4);
	w->a.dq = room(w, w->nq * 2);
	w->a.dk = room(w, w->nk * 2);
	w->a.dv = room(w, w->nk * 2);
	cudaDeviceSynchronize();
}

static void
stop(struct work *w)
{
	cudaDeviceSynchronize();
	for (void *p : w->owned)
		cudaFree(p);
	w->owned.clear();
}

/* Workspace as a plan would have it, with a band behind it that must stay. */
struct space {
	char *p;
	size_t n;
};

struct kind {
	const char *name, *wish;
	bool any_order;
	int parts;
};
static const struct kind kinds[] = {
	{ "qz", "own", false, 0 },
	{ "qz, for any GPU", "plain", false, 0 },
	{ "cuDNN forward, qz backward", "", false, 0 },
	{ "cuDNN, any order", "cudnn", true, 0 },
	{ "cuDNN, all heads", "cudnn", false, 1 },
	{ "cuDNN, 2 parts", "cudnn", false, 2 },
	{ "cuDNN, 4 parts", "cudnn", false, 4 },
	{ "cuDNN, 8 parts", "cudnn", false, 8 },
};

/* False: not for this device, or no memory. */
static bool
give_space(struct qz_dev *d, struct work *w, const struct kind &k, struct space *s)
{
	struct qz_need need = {};

	setenv("QZ_ATTENTION", k.wish, 1);
	w->a.any_order = k.any_order;
	w->a.parts = k.parts;
	need.tokens = w->rows;
	need.docs = w->a.n_docs;
	need.max_len = w->a.max_q;
	need.heads = w->p.heads;
	need.kv_heads = w->p.kv_heads;
	need.head_dim = w->p.dim;
	need.any_order = k.any_order;
	need.attention_parts = k.parts;
	if (k.parts && !d->k->attention_parts(d, &need, k.parts))
		return false;
	s->n = qz_cuda_attention_need(d, &need);
	if (cudaMalloc(&s->p, s->n + 4096) != cudaSuccess) {
		printf("# %s: %s: no memory for a workspace of %.0f MB\n", w->p.name, k.name, s->n * 1e-6);
		cudaGetLastError();
		return false;
	}
	cudaMemset(s->p, 0xff, s->n + 4096);
	cudaDeviceSynchronize();
	d->k->set_workspace(d, s->p, s->n);
	return true;
}

static void
take_space(struct qz_dev *d, struct space *s, const char *name)
{
	static uint8_t band[4096];
	int spilled = 0;

	cudaDeviceSynchronize();
	cudaMemcpy(band, s->p + s->n, 4096, cudaMemcpyDeviceToHost);
	for (int i = 0; i < 4096; i++)
		spilled += band[i] != 0xff;
	if (spilled)
		ok(false, "%s: %d bytes were written behind the workspace", name, spilled);
	d->k->set_workspace(d, nullptr, 0);
	cudaFree(s->p);
}

/* From the definition, a warp a row and head, in float32; naive: scores, probabilities and their gradients are
 * rounded to bfloat16, as a program that stores them would. */
static __device__ float
rnd(float v, bool naive)
{
	return naive ? bf16_load(bf16_round(v)) : v;
}

static __device__ float
dot(const uint16_t *a, const uint16_t *b, int dim, int lane)
{
	float s = 0;

	for (int c = lane; c < dim; c += 32)
		s = fmaf(bf16_load(a[c]), bf16_load(b[c]), s);
	for (int i = 16; i > 0; i /= 2)
		s += __shfl_xor_sync(0xffffffff, s, i);
	return s;
}

static __global__ void
naive_forward(struct qz_attn a, float *o, float *lse, bool naive)
{
	int lane = threadIdx.x, head = blockIdx.y, dim = a.head_dim, i = blockIdx.x;
	struct doc r = find_doc(a, blockIdx.z);
	int64_t at = ((r.q0 + i) * a.heads + head) * dim;
	const uint16_t *q = static_cast<const uint16_t *>(a.q) + at;
	int kv = head / (a.heads / a.kv_heads);
	float top = -INFINITY, sum = 0, out[4] = {};

	if (i >= r.nq)
		return;
	for (int pass = 0; pass < 3; pass++)
		for (int j = first_key(a, r, i); j <= i; j++) {
			int64_t kat = ((r.k0 + j) * a.kv_heads + kv) * dim;
			float s = rnd(dot(q, static_cast<const uint16_t *>(a.k) + kat, dim, lane) * a.scale, naive);

			if (pass == 0) {
				top = fmaxf(top, s);
			} else if (pass == 1) {
				sum += expf(s - top);
			} else {
				float p = rnd(expf(s - top) / sum, naive);

				for (int c = 0; c < 4 && lane + 32 * c < dim; c++)
					out[c] = fmaf(p, bf16_load(static_cast<const uint16_t *>(a.v)[kat + lane + 32 * c]), out[c]);
			}
		}
	for (int c = 0; c < 4 && lane + 32 * c < dim; c++)
		o[at + lane + 32 * c] = rnd(out[c], naive);
	if (lane == 0)
		lse[(r.q0 + i) * a.heads + head] = top + logf(sum);
}

/* delta (rows, heads) = sum of d_o o */
static __global__ void
naive_delta(struct qz_attn a, const float *o, float *delta)
{
	int64_t at = static_cast<int64_t>(blockIdx.x) * a.head_dim;
	float s = 0;

	for (int c = threadIdx.x; c < a.head_dim; c += 32)
		s = fmaf(bf16_load(static_cast<const uint16_t *>(a.d_o)[at + c]), o[at + c], s);
	for (int i = 16; i > 0; i /= 2)
		s += __shfl_xor_sync(0xffffffff, s, i);
	if (threadIdx.x == 0)
		delta[blockIdx.x] = s;
}

/* keys: dk, dv of a key, else dq of a query. */
static __global__ void
naive_backward(struct qz_attn a, const float *lse, const float *delta, float *g1, float *g2, bool keys, bool naive)
{
	int lane = threadIdx.x, dim = a.head_dim, x = blockIdx.x, group = a.heads / a.kv_heads;
	struct doc r = find_doc(a, blockIdx.z);
	const uint16_t *q = static_cast<const uint16_t *>(a.q), *k = static_cast<const uint16_t *>(a.k);
	const uint16_t *v = static_cast<const uint16_t *>(a.v), *g = static_cast<const uint16_t *>(a.d_o);
	float out1[4] = {}, out2[4] = {};
	int64_t to = ((r.q0 + x) * (keys ? a.kv_heads : a.heads) + blockIdx.y) * dim;

	if (x >= r.nq)
		return;
	for (int h = 0; h < (keys ? group : 1); h++) {
		int head = keys ? blockIdx.y * group + h : blockIdx.y, kv = head / group;
		float sum1[4] = {}, sum2[4] = {};

		for (int y = 0; y < r.nq; y++) {
			int i = keys ? y : x, j = keys ? x : y;
			int64_t qa = ((r.q0 + i) * a.heads + head) * dim, ka = ((r.k0 + j) * a.kv_heads + kv) * dim;
			float s, p, ds;

			if (!sees(a, r, i, j))
				continue;
			s = rnd(dot(q + qa, k + ka, dim, lane) * a.scale, naive);
			p = rnd(expf(s - lse[(r.q0 + i) * a.heads + head]), naive);
			ds = rnd(dot(g + qa, v + ka, dim, lane), naive) - delta[(r.q0 + i) * a.heads + head];
			ds = rnd(p * ds, naive);
			for (int c = 0; c < 4 && lane + 32 * c < dim; c++) {
				int n = lane + 32 * c;

				sum1[c] = fmaf(ds * a.scale, bf16_load(keys ? q[qa + n] : k[ka + n]), sum1[c]);
				sum2[c] = fmaf(p, bf16_load(g[qa + n]), sum2[c]);
			}
		}
		for (int c = 0; c < 4; c++) { /* a head's gradient is stored before the heads are summed */
			out1[c] += rnd(sum1[c], naive);
			out2[c] += rnd(sum2[c], naive);
		}
	}
	for (int c = 0; c < 4 && lane + 32 * c < dim; c++) {
		g1[to + lane + 32 * c] = rnd(out1[c], naive);
		if (keys)
			g2[to + lane + 32 * c] = rnd(out2[c], naive);
	}
}

enum { O, LSE, DQ, DK, DV, OUTPUTS };
static const char *const names[] = { "o", "lse", "dq", "dk", "dv" };

struct result {
	std::vector<float> v[OUTPUTS];
	std::vector<uint8_t> bits;
};

static int64_t
count(const struct work *w, int k)
{
	return k == LSE ? w->nl : k == O || k == DQ ? w->nq : w->nk;
}

static struct result
reference(struct work *w, bool naive)
{
	struct result r;
	float *p[OUTPUTS], *delta = static_cast<float *>(room(w, w->nl * 4));
	dim3 rows(w->a.max_q, w->a.heads, w->a.n_docs), keys(w->a.max_q, w->a.kv_heads, w->a.n_docs);

	for (int k = 0; k < OUTPUTS; k++)
		p[k] = static_cast<float *>(room(w, count(w, k) * 4));
	naive_forward<<<rows, 32>>>(w->a, p[O], p[LSE], naive);
	naive_delta<<<static_cast<unsigned>(w->nl), 32>>>(w->a, p[O], delta);
	naive_backward<<<rows, 32>>>(w->a, p[LSE], delta, p[DQ], nullptr, false, naive);
	naive_backward<<<keys, 32>>>(w->a, p[LSE], delta, p[DK], p[DV], true, naive);
	cudaDeviceSynchronize();
	for (int k = 0; k < OUTPUTS; k++) {
		r.v[k].resize(count(w, k));
		cudaMemcpy(r.v[k].data(), p[k], count(w, k) * 4, cudaMemcpyDeviceToHost);
	}
	return r;
}

static struct result
read(struct work *w)
{
	const void *p[] = { w->a.o, w->a.lse, w->a.dq, w->a.dk, w->a.dv };
	struct result r;

	for (int k = 0; k < OUTPUTS; k++) {
		size_t n = count(w, k), size = k == LSE ? 4 : 2, at = r.bits.size();

		r.bits.resize(at + n * size);
		cudaMemcpy(&r.bits[at], p[k], n * size, cudaMemcpyDeviceToHost);
		r.v[k].resize(n);
		for (size_t i = 0; i < n; i++) {
			uint16_t h;

			if (size == 4) {
				memcpy(&r.v[k][i], &r.bits[at + 4 * i], 4);
			} else {
				memcpy(&h, &r.bits[at + 2 * i], 2);
				uint32_t u = static_cast<uint32_t>(h) << 16;
				memcpy(&r.v[k][i], &u, 4);
			}
		}
	}
	return r;
}

static double
far_off(const std::vector<float> &a, const std::vector<float> &b)
{
	double diff = 0, size = 0;

	for (size_t i = 0; i < a.size(); i++) {
		diff += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
		size += static_cast<double>(b[i]) * b[i];
	}
	return sqrt(diff / size);
}

static void
poison(struct work *w)
{
	cudaMemset(w->a.o, 0xff, w->nq * 2);
	cudaMemset(w->a.lse, 0xff, w->nl * 4);
	cudaMemset(w->a.dq, 0xff, w->nq * 2);
	cudaMemset(w->a.dk, 0xff, w->nk * 2);
	cudaMemset(w->a.dv, 0xff, w->nk * 2);
	cudaDeviceSynchronize();
}

static struct result
both(struct qz_dev *d, struct work *w, const struct kind &k)
{
	poison(w);
	d->k->attention(d, &w->a);
	d->k->attention_bwd(d, &w->a);
	must(d, k.name);
	return read(w);
}

static void
check(struct qz_dev *d, const struct pack &p, bool against)
{
	struct work w;
	struct result truth, bad, got, again, whole;

	start(&w, p);
	if (against) {
		truth = reference(&w, false);
		bad = reference(&w, true);
	}
	for (const struct kind &k : kinds) {
		struct space s;
		bool same, good = true;
		char text[512] = "";

		if (!give_space(d, &w, k, &s))
			continue;
		got = both(d, &w, k);
		again = both(d, &w, k);
		same = got.bits == again.bits;
		if (!against && &k == &kinds[0])
			truth = got;
		for (int o = 0; o < OUTPUTS; o++) {
			double far = far_off(got.v[o], truth.v[o]), naive = against ? far_off(bad.v[o], truth.v[o]) : 0;
			double most = o == LSE ? 1e-4 : o == O ? 5e-3 : 1e-2;
			size_t n = strlen(text);

			if (against && o != LSE && most > 2 * naive + 2e-3)
				most = 2 * naive + 2e-3; /* and the rounding of the result, which naive has too */
			good = good && far <= most;
			snprintf(text + n, sizeof text - n, " %s %.1e (naive %.1e)", names[o], far, naive);
		}
		ok(good && (same || k.any_order), "%s: %s:%s%s", p.name, k.name, text,
		    same ? "" : k.any_order ? ", bits differ between runs" : ", BITS DIFFER");
		if (k.parts == 1)
			whole = got;
		else if (k.parts > 1 && !whole.bits.empty() && got.bits != whole.bits)
			printf("# other bits than all heads at once: dq %.1e dk %.1e\n", far_off(got.v[DQ], whole.v[DQ]),
			    far_off(got.v[DK], whole.v[DK]));
		take_space(d, &s, p.name);
	}
	stop(&w);
}

/* The same bits out of a captured graph, replayed on other numbers in between. */
static void
replay(struct qz_dev *d, const struct pack &p)
{
	for (const struct kind &k : kinds) {
		struct work w;
		struct space s;
		struct result want, got;
		cudaGraph_t graph = nullptr;
		cudaGraphExec_t exec = nullptr;
		cudaStream_t stream = cuda_dev(d)->stream;
		cudaError_t rc;

		start(&w, p);
		if (!give_space(d, &w, k, &s)) {
			stop(&w);
			continue;
		}
		want = both(d, &w, k);
		rc = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
		if (rc == cudaSuccess) {
			d->k->attention(d, &w.a);
			d->k->attention_bwd(d, &w.a);
			rc = cudaStreamEndCapture(stream, &graph);
		}
		if (rc == cudaSuccess)
			rc = cudaGraphInstantiate(&exec, graph, 0);
		poison(&w);
		for (int i = 0; i < 2 && rc == cudaSuccess; i++)
			rc = cudaGraphLaunch(exec, stream);
		if (rc == cudaSuccess)
			rc = cudaStreamSynchronize(stream);
		must(d, "replay");
		got = read(&w);
		ok(rc == cudaSuccess && (got.bits == want.bits || k.any_order) && far_off(got.v[DQ], want.v[DQ]) < 5e-3,
		    "%s: %s: from a graph: %s, dq %.1e off", p.name, k.name, cudaGetErrorString(rc),
		    far_off(got.v[DQ], want.v[DQ]));
		if (exec)
			cudaGraphExecDestroy(exec);
		if (graph)
			cudaGraphDestroy(graph);
		take_space(d, &s, p.name);
		stop(&w);
	}
}

/* Milliseconds of one call, the median of runs of a few. */
template <typename F>
static double
time_it(struct qz_dev *d, F call)
{
	cudaStream_t stream = cuda_dev(d)->stream;
	cudaEvent_t a, b;
	std::vector<float> ms;
	float once = 1;
	int each;

	cudaEventCreate(&a);
	cudaEventCreate(&b);
	for (int i = -2; i < 7; i++) {
		each = i < 0 ? 1 : static_cast<int>(10 / once) + 1;
		each = each > 50 ? 50 : each;
		cudaEventRecord(a, stream);
		for (int j = 0; j < each; j++)
			call();
		cudaEventRecord(b, stream);
		cudaEventSynchronize(b);
		cudaEventElapsedTime(&once, a, b);
		once /= static_cast<float>(each);
		if (i >= 0)
			ms.push_back(once);
	}
	cudaEventDestroy(a);
	cudaEventDestroy(b);
	for (size_t i = 0; i < ms.size(); i++)
		for (size_t j = i + 1; j < ms.size(); j++)
			if (ms[j] < ms[i])
				std::swap(ms[i], ms[j]);
	return ms[ms.size() / 2];
}

static double
flops(const struct pack &p)
{
	double sum = 0;

	for (int n : p.len) {
		double pairs = p.window > 0 && p.window < n ? static_cast<double>(n) * p.window : 0.5 * n * n;

		sum += 4 * pairs * p.heads * p.dim;
	}
	return sum;
}

static void
tell(const struct pack &p, const char *name, double ms, double flop, size_t nbytes)
{
	printf("# %-28s %-34s %9.3f ms %7.1f TFLOP/s  %.0f MB\n", p.name, name, ms, flop / ms * 1e-9,
	    static_cast<double>(nbytes) * 1e-6);
	fflush(stdout);
}

/* Forward by either, backward by each. */
static void
times(struct qz_dev *d, const struct pack &p)
{
	struct work w;

	start(&w, p);
	for (const struct kind &k : kinds) {
		struct space s;
		char name[64];

		if (!give_space(d, &w, k, &s))
			continue;
		d->k->attention(d, &w.a);
		if (&k == &kinds[0] || &k == &kinds[2])
			tell(p, &k == &kinds[0] ? "forward: qz" : "forward: cuDNN",
			    time_it(d, [&] { d->k->attention(d, &w.a); }), flops(p), s.n);
		if (&k != &kinds[2]) {
			snprintf(name, sizeof name, "backward: %s", k.name);
			tell(p, name, time_it(d, [&] { d->k->attention_bwd(d, &w.a); }), 2.5 * flops(p), s.n);
		}
		must(d, p.name);
		take_space(d, &s, p.name);
	}
	stop(&w);
}

/* Lengths as of short instructions and answers: rows in total. */
static std::vector<int>
short_ones(int rows, uint32_t seed)
{
	std::vector<int> len;

	while (rows > 0) {
		seed = seed * 1664525 + 1013904223;
		int n = 40 + static_cast<int>(seed >> 8) % 300;

		if ((seed >> 28) == 3)
			n += 500;
		n = n > rows ? rows : n;
		len.push_back(n);
		rows -= n;
	}
	return len;
}

int
main(int argc, char **argv)
{
	struct qz_err e = {};
	struct qz_dev *d = qz_backend_v1.count() > 0 ? qz_backend_v1.open(0, 0, &e) : nullptr;
	char text[512];
	bool slow = argc < 2 || strcmp(argv[1], "fast") != 0, only = argc > 1 && !strcmp(argv[1], "times");
	const struct pack small[] = {
		{ "1 63 64 65 2047", { 1, 63, 64, 65, 2047 }, 8, 2, 128, 0 },
		{ "127 1 1 1 300 128 129", { 127, 1, 1, 1, 300, 128, 129 }, 8, 2, 128, 0 },
		{ "1 2 3", { 1, 2, 3 }, 4, 4, 64, 0 },
		{ "300 130, window 65", { 300, 130 }, 4, 2, 128, 65 },
		{ "2047 1000, window 512, d 64", { 2047, 1000 }, 6, 2, 64, 512 },
		{ "4 x 256", { 256, 256, 256, 256 }, 8, 2, 128, 0 },
		{ "2 x 1024, window 300", { 1024, 1024 }, 8, 8, 128, 300 },
		{ "3 x 129", { 129, 129, 129 }, 9, 3, 64, 0 },
		{ "1 x 1984, d 64", { 1984 }, 3, 1, 64, 0 },
		{ "1 x 700, d 96", { 700 }, 4, 2, 96, 0 },
	};
	const struct pack large[] = {
		{ "2 x 2048", { 2048, 2048 }, 32, 8, 128, 0 },
		{ "1 x 4096", { 4096 }, 32, 8, 128, 0 },
		{ "1 x 8192", { 8192 }, 32, 8, 128, 0 },
		{ "4096 in short documents", short_ones(4096, 1), 32, 8, 128, 0 },
		{ "16384 in short documents", short_ones(16384, 2), 32, 8, 128, 0 },
		{ "2047 2049, ragged", { 2047, 2049 }, 32, 8, 128, 0 },
		{ "8 x 512", std::vector<int>(8, 512), 32, 8, 128, 0 },
		{ "1 x 8192, window 1024", { 8192 }, 32, 8, 128, 1024 },
		{ "4 x 1024, 9/3 heads of 64", std::vector<int>(4, 1024), 9, 3, 64, 0 },
		{ "1 x 32768", { 32768 }, 32, 8, 128, 0 },
	};

	if (!d) {
		printf("1..0 # SKIP no GPU %s\n", e.msg);
		return 0;
	}
	d->k->describe(d, text, sizeof text);
	printf("# %s\n", text);
	for (const struct pack &p : small)
		if (!only)
			check(d, p, true);
	for (const struct pack &p : large)
		if (!only && p.len[0] < 32768)
			check(d, p, false);
	for (int i = 0; !only && i < 2; i++)
		replay(d, large[3 * i]);
	printf("1..%d\n", n_tests);
	for (const struct pack &p : large)
		if (slow || p.len[0] < 32768)
			times(d, p);
	d->k->close(d);
	return n_bad > 0;
}
