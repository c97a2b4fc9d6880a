/* drop_dx: dx (+)= sum of drop'(p A). */
#include "kernels/cuda/drop_back.cuh"

ACT_BEGIN

enum { RUN = 128 /* tokens of a block */ };

/* A^T of this warp's columns as fragments: rows 8 g + 2 j and 8 g + 2 j + 1 of 16 in fragment j. */
template <int N, int TILES>
static __device__ inline void
load_a(uint32_t a[N][TILES][4][4], const struct job &g, int64_t col)
{
#pragma unroll
	for (int l = 0; l < N; l++)
#pragma unroll
		for (int r = 0; r < TILES; r++) {
			uint32_t w[4][4];

#pragma unroll
			for (int v = 0; v < 4; v++) { /* ranks 2 t, 2 t + 1, 2 t + 8, 2 t + 9 */
				int rank = 16 * r + token_of(v);
				uint4 u = make_uint4(0, 0, 0, 0);

				if (rank < g.l[l].rank && col < g.cols)
					u = *reinterpret_cast<const uint4 *>(g.l[l].a + rank * g.cols + col);
				w[v][0] = u.x;
				w[v][1] = u.y;
				w[v][2] = u.z;
				w[v][3] = u.w;
			}
#pragma unroll
			for (int j = 0; j < 4; j++) {
				a[l][r][j][0] = bytes_of(w[0][j], w[1][j], 0x5410);
				a[l][r][j][1] = bytes_of(w[0][j], w[1][j], 0x7632);
				a[l][r][j][2] = bytes_of(w[2][j], w[3][j], 0x5410);
				a[l][r][j][3] = bytes_of(w[2][j], w[3][j], 0x7632);
			}
		}
}

/* y (four tokens, eight columns) += drop'(p A) of a tile of tokens. */
template <int N, int TILES>
static __device__ inline void
tile_dx(float y[4][VECTOR], const uint32_t a[N][TILES][4][4], const uint16_t *p, const struct job &g,
    const uint32_t bits[N])
{
#pragma unroll
	for (int l = 0; l < N; l++) {
		uint32_t m[4][4], b[TILES][4];
		float keep = g.l[l].keep;

		dropped(m, bits[l]);
#pragma unroll
		for (int r = 0; r < TILES; r++)
			ldmatrix(b[r], p + (l * TILES + r) * 16);
#pragma unroll
		for (int j = 0; j < 4; j++) {
			float c[2][4] = {};

#pragma unroll
			for (int r = 0; r < TILES; r++) {
				mma(c[0], a[l][r][j], b[r][0], b[r][1]);
				mma(c[1], a[l][r][j], b[r][2], b[r][3]);
			}
#pragma unroll
			for (int v = 0; v < 4; v++) {
				float lo = unless(keep, mask_low(m[v][j])), hi = unless(keep, mask_high(m[v][j]));

				y[v][2 * j] = fmaf(c[v / 2][v % 2], lo, y[v][2 * j]);
				y[v][2 * j + 1] = fmaf(c[v / 2][2 + v % 2], hi, y[v][2 * j + 1]);
			}
		}
	}
}

/* blockIdx.x: 64 columns for each warp; blockIdx.y: a run of tokens. */
template <int N, int TILES>
static __global__ void __launch_bounds__(THREADS)
dx_share(const __grid_constant__ struct job g)
{
	__shared__ __align__(16) uint16_t shared[RUN * pitch<N, TILES>::LD];
	int lane = threadIdx.x % 32, i = lane / 8;
	int64_t col = static_cast<int64_t>(blockIdx.x) * COLUMNS * WARPS + threadIdx.x / 4 * VECTOR;
	int64_t t0 = static_cast<int64_t>(blockIdx.y) * RUN, end = t0 + RUN < g.t ? t0 + RUN : g.t;
	const uint16_t *p = shared + (i / 2 * 8 + lane % 8) * pitch<N, TILES>::LD + i % 2 * 8;
	int64_t word = word_of(g, t0, col), down = 4 * (g.cols / VECTOR);
	uint32_t a[N][TILES][4][4], bits[N];

#pragma unroll
	for (int row = threadIdx.x / 2; row < RUN; row += THREADS / 2)
		fetch_p<N, TILES>(shared, g, row, threadIdx.x % 2, g.p + (t0 + row) * g.ldp, t0 + row < end);
	copy_group();
	read_bits<N>(bits, g, word, col < g.cols);
	load_a<N, TILES>(a, g, col);
	copy_wait<0>();
	__syncthreads();
	for (; t0 < end; t0 += TILE, p += TILE * pitch<N, TILES>::LD) {
		uint16_t *dx = g.dx + (t0 + token_of(0)) * g.cols + col;
		int left = col < g.cols ? static_cast<int>(end - t0) : 0;
		float y[4][VECTOR] = {};
		uint32_t now[N];

#pragma unroll
		for (int l = 0; l < N; l++)
			now[l] = bits[l];
		read_bits<N>(bits, g, word + down, left > TILE);
#pragma unroll
		for (int v = 0; v < 4; v++)
			if (g.add && token_of(v) < left)
				load8(y[v], dx + (v % 2 + v / 2 * 8) * g.cols);
		word += down;
		tile_dx<N, TILES>(y, a, p, g, now);
#pragma unroll
		for (int v = 0; v < 4; v++)
			if (token_of(v) < left)
				store8(dx + (v % 2 + v / 2 * 8) * g.cols, y[v]);
	}
}

template <int N, int TILES>
static void
start(struct qz_dev *d, const struct job &g)
{
	dim3 blocks(static_cast<unsigned>(ceil_div(g.cols, COLUMNS * WARPS)),
	    static_cast<unsigned>(ceil_div(g.t, RUN)));

	launch(d, dx_share<N, TILES>, blocks, THREADS, 0, g);
}

void
qz_cuda_drop_dx(struct qz_dev *d, const struct qz_linear *l, int n, const uint16_t *p, const uint32_t *bits,
    qz_act *dx, int64_t t, bool add)
{
	static void (*const kernels[])(struct qz_dev *, const struct job &) = { start<1, 1>, start<2, 1>, start<3, 1>,
		start<1, 2>, start<1, 4> };
	int64_t ldp = ranks_of(l, n), words = drop_words(t, l->w.cols);
	int each = together(l, n) ? n : 1;

	qz_cuda_part(d, "p A");
	for (int i = 0; i < n; i += each, add = true) {
		struct job g = job_of(&l[i], each, p + ranks_of(l, i), ldp, bits + i * words, t);

		g.dx = static_cast<uint16_t *>(dx);
		g.add = add;
		start_for(d, kernels, g, each);
	}
}

ACT_END
