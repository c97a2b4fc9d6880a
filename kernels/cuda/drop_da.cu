/* drop_da: da += p^T drop(x).  Blocks have runs of tokens of 64 columns; a second kernel adds their shares up in order. */
#include "kernels/cuda/drop_back.cuh"

ACT_BEGIN

enum { STAGES = 4, SLOTS = 3 /* blocks a multiprocessor */ };

template <int N, int TILES>
struct da_shared {
	union {
		struct {
			uint4 x[STAGES][4][THREADS]; /* what a thread has put there it reads itself */
			uint32_t bits[STAGES][N][THREADS];
			uint16_t p[STAGES][WARPS][TILE * pitch<N, TILES>::LD];
		};
		float sum[WARPS / 2][32 * N * TILES][32];
	};
};

/* The warp's tile of tokens at t0, and its words of the masks. */
template <int N, int TILES>
static __device__ inline void
fetch(struct da_shared<N, TILES> *m, int slot, const struct job &g, int64_t t0, int64_t end, int64_t c)
{
	int64_t word = word_of(g, t0, c);

	const uint16_t *x = g.x + (t0 + token_of(0)) * g.cols + c;
	int left = end - t0 < TILE ? static_cast<int>(end - t0) : TILE, row = threadIdx.x % 32 / 2;

#pragma unroll
	for (int v = 0; v < 4; v++)
		copy16(reinterpret_cast<uint16_t *>(&m->x[slot][v][threadIdx.x]),
		    x + (v % 2 + v / 2 * 8) * g.cols, token_of(v) < left && c < g.cols);
#pragma unroll
	for (int l = 0; l < N; l++)
		copy4(&m->bits[slot][l][threadIdx.x], g.l[l].bits + (c < g.cols ? word : 0), c < g.cols);
	fetch_p<N, TILES>(m->p[slot][threadIdx.x / 32], g, row, threadIdx.x % 2, g.p + (t0 + row) * g.ldp,
	    row < left);
}

/* c += p^T drop(x) of a tile: rows of ranks, columns 8 n + j in tile j. */
template <int N, int TILES>
static __device__ inline void
tile_da(float c[N][TILES][8][4], const struct da_shared<N, TILES> *m, int slot)
{
	int lane = threadIdx.x % 32, i = lane / 8, j = lane % 8;
	const uint16_t *p = m->p[slot][threadIdx.x / 32] + (i / 2 * 8 + j) * pitch<N, TILES>::LD + i % 2 * 8;

#pragma unroll
	for (int l = 0; l < N; l++) {
		uint32_t x[4][4], a[TILES][4];

		dropped(x, m->bits[slot][l][threadIdx.x]);
#pragma unroll
		for (int v = 0; v < 4; v++) {
			uint4 u = m->x[slot][v][threadIdx.x];

			x[v][0] = u.x & ~x[v][0];
			x[v][1] = u.y & ~x[v][1];
			x[v][2] = u.z & ~x[v][2];
			x[v][3] = u.w & ~x[v][3];
		}
#pragma unroll
		for (int k = 0; k < TILES; k++)
			ldmatrix_trans(a[k], p + (l * TILES + k) * 16);
#pragma unroll
		for (int k = 0; k < 8; k++) {
			uint32_t which = k % 2 ? 0x7632 : 0x5410;
			uint32_t b0 = bytes_of(x[0][k / 2], x[1][k / 2], which);
			uint32_t b1 = bytes_of(x[2][k / 2], x[3][k / 2], which);

#pragma unroll
			for (int r = 0; r < TILES; r++)
				mma(c[l][r][k], a[r], b0, b1);
		}
	}
}

/* The sum over the block's warps, in order, to warp 0: halves that add to halves. */
template <int N, int TILES>
static __device__ inline void
sum_warps(float c[32 * N * TILES], struct da_shared<N, TILES> *m)
{
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

#pragma unroll
	for (int half = WARPS / 2; half > 0; half /= 2) {
		__syncthreads();
		if (warp >= half && warp < 2 * half)
#pragma unroll
			for (int i = 0; i < 32 * N * TILES; i++)
				m->sum[warp - half][i][lane] = c[i];
		__syncthreads();
		if (warp < half)
#pragma unroll
			for (int i = 0; i < 32 * N * TILES; i++)
				c[i] += m->sum[warp][i][lane];
	}
}

template <int N, int TILES>
static __device__ inline void
put_da(const float c[N][TILES][8][4], const struct job &g, int64_t c0)
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int l = 0; l < N; l++)
#pragma unroll
		for (int r = 0; r < TILES; r++)
#pragma unroll
			for (int h = 0; h < 4; h++) {
				int rank = 16 * r + lane / 4 + h / 2 * 8;
				int64_t col = c0 + lane % 4 * 16 + h % 2 * 8;
				float *to = g.share +
				    (static_cast<int64_t>(blockIdx.y) * g.ranks + g.l[l].at + rank) * g.cols + col;

				if (rank >= g.l[l].rank || col >= g.cols)
					continue;
				reinterpret_cast<float4 *>(to)[0] =
				    make_float4(c[l][r][0][h], c[l][r][1][h], c[l][r][2][h], c[l][r][3][h]);
				reinterpret_cast<float4 *>(to)[1] =
				    make_float4(c[l][r][4][h], c[l][r][5][h], c[l][r][6][h], c[l][r][7][h]);
			}
}

/* blockIdx.x: 64 columns; blockIdx.y: a run of tokens, of which the warps take tiles in turn. */
template <int N, int TILES>
static __global__ void __launch_bounds__(THREADS, N *TILES > 3 ? 2 : SLOTS)
da_shares(const __grid_constant__ struct job g)
{
	extern __shared__ __align__(16) char memory[];
	struct da_shared<N, TILES> *m = reinterpret_cast<struct da_shared<N, TILES> *>(memory);
	int64_t c0 = static_cast<int64_t>(blockIdx.x) * COLUMNS, col = c0 + threadIdx.x % 32 / 4 * VECTOR;
	const int step = WARPS * TILE;
	int64_t t0 = static_cast<int64_t>(blockIdx.y) * g.run, end = t0 + g.run < g.t ? t0 + g.run : g.t;
	float c[N][TILES][8][4] = {};
	int slot = 0;

	t0 += threadIdx.x / 32 * TILE;
	for (int i = 0; i < STAGES - 1; i++) {
		if (t0 + i * step < end)
			fetch(m, i, g, t0 + i * step, end, col);
		copy_group();
	}
	for (; t0 < end; t0 += step) {
		copy_wait<STAGES - 2>();
		__syncwarp();
		if (t0 + (STAGES - 1) * step < end)
			fetch(m, slot ? slot - 1 : STAGES - 1, g, t0 + (STAGES - 1) * step, end, col);
		copy_group();
		tile_da<N, TILES>(c, m, slot);
		slot = slot < STAGES - 1 ? slot + 1 : 0;
	}
	copy_wait<0>();
	sum_warps<N, TILES>(&c[0][0][0][0], m);
	if (threadIdx.x < 32)
		put_da<N, TILES>(c, g, c0);
}

/* da += keep times the sum of the shares.  A thread four elements. */
static __global__ void
add_up_da(const __grid_constant__ struct job g)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4, n = g.ranks * g.cols;
	float4 sum;
	int p = 0;

	if (i >= n)
		return;
	sum = sum4(g.share + i, n, g.runs);
	while (i >= (g.l[p].at + g.l[p].rank) * g.cols)
		p++;
	if (g.w) {
		const float *w = g.w + i % g.cols;

		sum = make_float4(sum.x * w[0], sum.y * w[1], sum.z * w[2], sum.w * w[3]);
	}
	add4(g.l[p].da + i - g.l[p].at * g.cols, 1, sum, g.l[p].keep);
}

template <int N, int TILES>
static void
start(struct qz_dev *d, const struct job &g)
{
	dim3 blocks(static_cast<unsigned>(ceil_div(g.cols, COLUMNS)), static_cast<unsigned>(g.runs));

	static_assert(sizeof(struct da_shared<N, TILES>) <= DROP_SHARED, "shared memory");
	launch_large(d, da_shares<N, TILES>, blocks, THREADS, sizeof(struct da_shared<N, TILES>), g);
}

static void
one_pass_da(struct qz_dev *d, struct job g, int n, const qz_act *x, size_t used)
{
	static void (*const kernels[])(struct qz_dev *, const struct job &) = { start<1, 1>, start<2, 1>, start<3, 1>,
		start<1, 2>, start<1, 4> };
	int64_t groups = ceil_div(g.cols, COLUMNS), tiles = ceil_div(g.t, WARPS * TILE);

	g.x = static_cast<const uint16_t *>(x);
	g.run = ceil_div(tiles, split_of(groups, SLOTS * cuda_dev(d)->sms, DROP_DA_RUNS)) * WARPS * TILE;
	g.runs = static_cast<int>(ceil_div(g.t, g.run));
	g.share =
	    static_cast<float *>(qz_cuda_ws(d, &used, static_cast<size_t>(g.runs * g.ranks * g.cols) * 4));
	if (!g.share)
		return;
	start_for(d, kernels, g, n);
	launch_flat(d, add_up_da, g.ranks * g.cols, 4, g);
}

void
qz_cuda_drop_da(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, const uint16_t *p,
    const uint32_t *bits, const float *w, int64_t t, size_t used)
{
	int64_t ldp = ranks_of(l, n), words = drop_words(t, l->w.cols);
	int each = together(l, n) ? n : 1;

	qz_cuda_part(d, "dA");
	for (int i = 0; i < n; i += each) {
		struct job g = job_of(&l[i], each, p + ranks_of(l, i), ldp, bits + i * words, t);

		g.w = w;
		one_pass_da(d, g, each, x, used);
	}
}

ACT_END
