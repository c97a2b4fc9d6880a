/* adapter_da - da += p^T x: x is by far the largest of the matrices, so that the pass is bound by reading it.
 *
 * A block takes WIDTH columns of x and a run of tokens, TOKENS at a time through shared memory; each warp keeps its own 16
 * columns' part of da in registers.  What the runs give goes to the workspace and is added up in order by a second
 * kernel.  Ranks that are multiples of 8, up to 64 in all; columns multiples of 8; all on 16 bytes. */
#include <cstring>

#include "kernels/cuda/adapter_da.cuh"
#include "kernels/cuda/adapter_tile.cuh"

ACT_BEGIN

enum { WIDTH = 128, TOKENS = 2 * TILE, STAGES = 6, WARPS = 8, THREADS = 32 * WARPS, SLOTS = 2 /* blocks a multiprocessor */ };
enum { RANKS_MAX = 64, GROUP_MAX = 3, RUNS_MAX = 32, X_LD = WIDTH + 8 };

struct job {
	const uint16_t *x, *p;
	const float *w;
	float *share; /* (runs, ranks, cols) */
	float *da[GROUP_MAX];
	int at[GROUP_MAX]; /* the first rank of each */
	int64_t t, cols, run;
	int n, ranks, runs;
};

template <int PAIRS>
struct shared {
	static constexpr int P_LD = 16 * PAIRS + 8; /* eight rows in different banks */
	uint16_t x[STAGES][TOKENS * X_LD];
	uint16_t p[STAGES][TOKENS * P_LD];
};

/* The TOKENS at t0. */
template <int PAIRS>
static __device__ inline void
fetch(struct shared<PAIRS> *m, int slot, const struct job &g, int64_t t0, int64_t end, int64_t c0)
{
	constexpr int EACH = WIDTH / VECTOR, ROWS = THREADS / EACH;
	int row = threadIdx.x / EACH, col = threadIdx.x % EACH * VECTOR;

#pragma unroll
	for (int i = 0; i < TOKENS; i += ROWS) {
		bool there = t0 + row + i < end && c0 + col < g.cols;

		copy16(m->x[slot] + (row + i) * X_LD + col, g.x + (there ? (t0 + row + i) * g.cols + c0 + col : 0), there);
	}
	row = threadIdx.x / (2 * PAIRS);
	col = threadIdx.x % (2 * PAIRS) * VECTOR;
	if (row < TOKENS) {
		bool there = t0 + row < end && col < g.ranks;

		copy16(m->p[slot] + row * m->P_LD + col, g.p + (there ? (t0 + row) * g.ranks + col : 0), there);
	}
}

template <int PAIRS>
static __device__ inline void
put(const float c[1][2 * PAIRS][4], const struct job &g, int64_t c0)
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int q = 0; q < 2 * PAIRS; q++)
#pragma unroll
		for (int h = 0; h < 4; h++) {
			int64_t col = c0 + threadIdx.x / 32 * 16 + lane / 4 + h / 2 * 8;
			int rank = 8 * q + lane % 4 * 2 + h % 2;

			if (col < g.cols && rank < g.ranks)
				g.share[(static_cast<int64_t>(blockIdx.y) * g.ranks + rank) * g.cols + col] = c[0][q][h];
		}
}

/* blockIdx.x: columns; blockIdx.y: a run of tokens. */
template <int PAIRS>
static __global__ void __launch_bounds__(THREADS, SLOTS)
da_of_runs(const __grid_constant__ struct job g)
{
	start_early();

	extern __shared__ __align__(16) char memory[];
	struct shared<PAIRS> *m = reinterpret_cast<struct shared<PAIRS> *>(memory);
	int64_t t0 = blockIdx.y * g.run, end = t0 + g.run < g.t ? t0 + g.run : g.t;
	int64_t c0 = static_cast<int64_t>(blockIdx.x) * WIDTH;
	int warp = threadIdx.x / 32, slot = 0;
	float c[1][2 * PAIRS][4] = {};

	for (int i = 0; i < STAGES - 1; i++) {
		if (t0 + i * TOKENS < end)
			fetch(m, i, g, t0 + i * TOKENS, end, c0);
		copy_group();
	}
	for (; t0 < end; t0 += TOKENS, slot = slot < STAGES - 1 ? slot + 1 : 0) {
		copy_wait<STAGES - 2>();
		__syncthreads(); /* they are there, and nobody reads those before any more */
		if (t0 + (STAGES - 1) * TOKENS < end)
			fetch(m, slot ? slot - 1 : STAGES - 1, g, t0 + (STAGES - 1) * TOKENS, end, c0);
		copy_group();
#pragma unroll
		for (int i = 0; i < TOKENS; i += TILE)
			tile_transposed_times<1, PAIRS, X_LD, m->P_LD>(c, m->x[slot] + i * X_LD + warp * 16,
			    m->p[slot] + i * m->P_LD);
	}
	put<PAIRS>(c, g, c0);
}

/* da += w times the sum of the runs' shares.  A thread four columns of a rank. */
static __global__ void
add_up_da(const __grid_constant__ struct job g)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4, n = g.ranks * g.cols, col;
	float4 sum;
	int which = 0;

	if (i >= n)
		return;
	sum = sum4(g.share + i, n, g.runs);
	col = i % g.cols;
	if (g.w) {
		sum.x *= g.w[col];
		sum.y *= g.w[col + 1];
		sum.z *= g.w[col + 2];
		sum.w *= g.w[col + 3];
	}
	while (which + 1 < g.n && i >= g.at[which + 1] * g.cols)
		which++;
	add4(g.da[which] + i - g.at[which] * g.cols, 1, sum, 1);
}

template <int PAIRS>
static void
start(struct qz_dev *d, const struct job &g)
{
	dim3 blocks(static_cast<unsigned>(ceil_div(g.cols, WIDTH)), static_cast<unsigned>(g.runs));

	launch_large<EARLY>(d, da_of_runs<PAIRS>, blocks, THREADS, sizeof(struct shared<PAIRS>), g);
}

bool
qz_cuda_adapter_da_fits(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x)
{
	int ranks = 0;

	for (int i = 0; i < n; i++) {
		if (l[i].rank % 8)
			return false;
		ranks += l[i].rank;
	}
	return n <= GROUP_MAX && ranks > 0 && ranks <= RANKS_MAX && l->w.cols % VECTOR == 0 && aligned(x, 16) &&
	    static_cast<size_t>(cuda_dev(d)->shared) >= sizeof(struct shared<RANKS_MAX / 16>);
}

size_t
qz_cuda_adapter_da_need(struct qz_dev *d, const struct qz_need *need)
{
	/* choose_run() makes several runs only where the blocks are no more than multiprocessors. */
	int64_t ranks = need->rank_sum < RANKS_MAX ? need->rank_sum : RANKS_MAX;
	int64_t cols = static_cast<int64_t>(SLOTS * cuda_dev(d)->sms) * WIDTH;

	return qz_cuda_round(ranks * (need->width > cols ? need->width : cols) * 4);
}

/* Tokens of a run: so that about all multiprocessors have SLOTS blocks, but no fewer than 4 times TOKENS. */
static int64_t
choose_run(struct qz_dev *d, int64_t t, int64_t cols)
{
	int64_t runs = SLOTS * cuda_dev(d)->sms / ceil_div(cols, WIDTH), run;

	runs = runs < 1 ? 1 : runs > RUNS_MAX ? RUNS_MAX : runs;
	run = ceil_div(ceil_div(t, runs), TOKENS) * TOKENS;
	return run < 4 * TOKENS ? 4 * TOKENS : run;
}

bool
qz_cuda_adapter_da(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, const uint16_t *p,
    const float *w, int64_t t, size_t used)
{
	static void (*const kernels[])(struct qz_dev *, const struct job &) = { start<1>, start<2>, start<3>, start<4> };
	size_t nbytes;
	struct job g;

	if (!qz_cuda_adapter_da_fits(d, l, n, x) || !aligned(p, 16))
		return false;
	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++) {
		g.at[i] = g.ranks;
		g.da[i] = static_cast<float *>(l[i].da);
		g.ranks += l[i].rank;
	}
	g.n = n;
	g.x = static_cast<const uint16_t *>(x);
	g.p = p;
	g.w = w;
	g.t = t;
	g.cols = l->w.cols;
	g.run = choose_run(d, t, g.cols);
	g.runs = static_cast<int>(ceil_div(t, g.run));
	nbytes = static_cast<size_t>(g.runs * g.ranks * g.cols) * 4;
	g.share = static_cast<float *>(qz_cuda_ws(d, &used, nbytes));
	if (!g.share)
		return true;
	qz_cuda_part(d, "dA");
	kernels[(g.ranks - 1) / 16](d, g);
	launch_flat<EARLY>(d, add_up_da, g.ranks * g.cols, 4, g);
	return true;
}

ACT_END
