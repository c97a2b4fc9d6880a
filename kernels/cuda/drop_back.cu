/* drop_back - the backward pass of s = drop(x) A^T, of up to three projections at a time:
 *
 *   da += p^T drop(x), one pass over x      dx (+)= sum of drop'(p A), one pass over dx
 *
 * A warp takes 64 columns and 16 tokens at a time.  Lane 4 g + t has columns 8 g .. 8 g + 8 of the tokens
 * 2 t, 2 t + 1, 2 t + 8, 2 t + 9: four vectors, and one word of the mask's bits.  A fragment of a product over tokens
 * wants pairs of tokens of one column, which are pairs of its own vectors, taken apart.  So that it has whole
 * vectors of dx too, those of the second product are computed as columns of A^T p^T. */
#include <cstring>

#include "kernels/cuda/drop.cuh"

ACT_BEGIN

enum { WARPS = 4, THREADS = 32 * WARPS, COLUMNS = 64, TILE = 16, STAGES = 4, DX_RUN = 128 };
enum { DA_SLOTS = 3 /* blocks of the pass for da a multiprocessor */ };

struct part {
	const uint16_t *a;
	float *da;
	const uint32_t *bits;
	float keep;
	int rank, at; /* ranks of the projections before it */
};

struct job {
	struct part l[DROP_GROUP];
	const uint16_t *x, *p; /* p (t, ldp) */
	uint16_t *dx;
	float *share; /* (runs, ranks, cols) */
	const float *w;
	int64_t t, cols, ldp, run;
	int ranks, runs;
	bool add;
};

/* Elements from one token's row of p to the next: an odd number of vectors, so that ldmatrix finds eight rows
 * in eight banks. */
template <int N, int TILES>
struct pitch {
	static constexpr int LD = (2 * N * TILES + 1) * VECTOR;
};

/* A vector of p of each 16 ranks: half `half` of row `row`, zeros beyond the ranks and where it is not there. */
template <int N, int TILES>
static __device__ inline void
fetch_p(uint16_t *to, const struct job &g, int row, int half, const uint16_t *from, bool there)
{
	to += row * pitch<N, TILES>::LD + half * VECTOR;
#pragma unroll
	for (int l = 0; l < N; l++)
#pragma unroll
		for (int r = 0; r < TILES; r++)
			copy16(to + (l * TILES + r) * 16, from + g.l[l].at + r * 16 + half * VECTOR,
			    there && r * 16 + half * VECTOR < g.l[l].rank);
}

/* The token of a lane's vector v within a tile. */
static __device__ inline int
token_of(int v)
{
	return threadIdx.x % 4 * 2 + v % 2 + v / 2 * 8;
}

/* The masks of a group, and where their bits go: drop_words() for each. */
struct masks {
	struct mask l[DROP_GROUP];
	uint32_t *bits;
	int64_t first, words;
};

/* The masks' bits.  blockIdx.y: 16 tokens; blockIdx.z: a mask.  A thread a word. */
static __global__ void
draw(const __grid_constant__ struct masks g)
{
	int64_t word = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
	int64_t row = g.first + blockIdx.y * TILE + token_of(0);
	uint32_t half[2] = {}, w[4];

	if (word >= 4 * g.words)
		return;
#pragma unroll
	for (int v = 0; v < 4; v++) {
		uint32_t m[4];

		if (v % 2 == 0)
			philox(w, g.l[blockIdx.z], static_cast<uint64_t>((row / 2 + v / 2 * 4) * g.words + word / 4));
		dropped8(m, g.l[blockIdx.z], w, v % 2);
#pragma unroll
		for (int k = 0; k < 4; k++)
			half[v % 2] |= m[k] & (0x00010001u << (v / 2 * 4 + k));
	}
	g.bits[(static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * 4 * g.words + word] =
	    bytes_of(half[0], half[1], 0x6420);
}

/* A word of bits as what dropped8() gives of the four vectors. */
static __device__ inline void
dropped(uint32_t m[4][4], uint32_t bits)
{
#pragma unroll
	for (int k = 0; k < 8; k++) {
		uint32_t b = bits << (7 - k);

		m[k / 4 * 2][k % 4] = bytes_of(b, b, 0x9988);
		m[k / 4 * 2 + 1][k % 4] = bytes_of(b, b, 0xbbaa);
	}
}

/* Where a lane's word of the tile at t0 is, behind each projection's start. */
static __device__ inline int64_t
word_of(const struct job &g, int64_t t0, int64_t col)
{
	return (t0 / TILE * (g.cols / VECTOR) + col / VECTOR) * 4 + threadIdx.x % 4;
}

template <int N>
static __device__ inline void
read_bits(uint32_t bits[N], const struct job &g, int64_t word, bool there)
{
#pragma unroll
	for (int l = 0; l < N; l++)
		bits[l] = there ? g.l[l].bits[word] : 0;
}

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
static __global__ void __launch_bounds__(THREADS, N *TILES > 3 ? 2 : DA_SLOTS)
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
	__shared__ __align__(16) uint16_t shared[DX_RUN * pitch<N, TILES>::LD];
	int lane = threadIdx.x % 32, i = lane / 8;
	int64_t col = static_cast<int64_t>(blockIdx.x) * COLUMNS * WARPS + threadIdx.x / 4 * VECTOR;
	int64_t t0 = static_cast<int64_t>(blockIdx.y) * DX_RUN, end = t0 + DX_RUN < g.t ? t0 + DX_RUN : g.t;
	const uint16_t *p = shared + (i / 2 * 8 + lane % 8) * pitch<N, TILES>::LD + i % 2 * 8;
	int64_t word = word_of(g, t0, col), down = 4 * (g.cols / VECTOR);
	uint32_t a[N][TILES][4][4], bits[N];

#pragma unroll
	for (int row = threadIdx.x / 2; row < DX_RUN; row += THREADS / 2)
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
start_da(struct qz_dev *d, const struct job &g)
{
	dim3 blocks(static_cast<unsigned>(ceil_div(g.cols, COLUMNS)), static_cast<unsigned>(g.runs));

	static_assert(sizeof(struct da_shared<N, TILES>) <= DROP_SHARED, "shared memory");
	launch_large(d, da_shares<N, TILES>, blocks, THREADS, sizeof(struct da_shared<N, TILES>), g);
}

template <int N, int TILES>
static void
start_dx(struct qz_dev *d, const struct job &g)
{
	dim3 blocks(static_cast<unsigned>(ceil_div(g.cols, COLUMNS * WARPS)),
	    static_cast<unsigned>(ceil_div(g.t, DX_RUN)));

	launch(d, dx_share<N, TILES>, blocks, THREADS, 0, g);
}

/* The kernel for n projections, of ranks up to 16 when there are several. */
static void
start(struct qz_dev *d, const struct job &g, int n, bool dx)
{
	static void (*const kernels[][2])(struct qz_dev *, const struct job &) = { { start_da<1, 1>, start_dx<1, 1> },
		{ start_da<2, 1>, start_dx<2, 1> }, { start_da<3, 1>, start_dx<3, 1> },
		{ start_da<1, 2>, start_dx<1, 2> }, { start_da<1, 4>, start_dx<1, 4> } };
	int which = n > 1 || g.ranks <= 16 ? n - 1 : g.ranks <= 32 ? 3 : 4;

	kernels[which][dx](d, g);
}

static bool
together(const struct qz_linear *l, int n)
{
	for (int i = 0; i < n; i++)
		if (l[i].rank > 16)
			return n == 1;
	return true;
}

static struct job
job_of(const struct qz_linear *l, int n, const uint16_t *p, int64_t ldp, const uint32_t *bits, int64_t t)
{
	struct job g;

	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++) {
		g.l[i] = { static_cast<const uint16_t *>(l[i].a), static_cast<float *>(l[i].da),
			bits + i * drop_words(t, l->w.cols), static_cast<float>(qz_dropout_keep(l[i].dropout)),
			l[i].rank, g.ranks };
		g.ranks += l[i].rank;
	}
	g.p = p;
	g.ldp = ldp;
	g.t = t;
	g.cols = l->w.cols;
	return g;
}

static void
one_pass_da(struct qz_dev *d, struct job g, int n, const qz_act *x, size_t used)
{
	int64_t groups = ceil_div(g.cols, COLUMNS), tiles = ceil_div(g.t, WARPS * TILE);

	g.x = static_cast<const uint16_t *>(x);
	g.run = ceil_div(tiles, split_of(groups, DA_SLOTS * cuda_dev(d)->sms, DROP_DA_RUNS)) * WARPS * TILE;
	g.runs = static_cast<int>(ceil_div(g.t, g.run));
	g.share =
	    static_cast<float *>(qz_cuda_ws(d, &used, static_cast<size_t>(g.runs * g.ranks * g.cols) * 4));
	if (!g.share)
		return;
	start(d, g, n, false);
	launch_flat(d, add_up_da, g.ranks * g.cols, 4, g);
}

static int64_t
ranks_of(const struct qz_linear *l, int n)
{
	int64_t ranks = 0;

	for (int i = 0; i < n; i++)
		ranks += l[i].rank;
	return ranks;
}

void
qz_cuda_drop_bits(struct qz_dev *d, const struct qz_linear *l, int n, uint32_t *bits, int64_t t)
{
	struct masks g;

	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++)
		g.l[i] = mask_of(&l[i]);
	g.bits = bits;
	g.first = l->first;
	g.words = l->w.cols / VECTOR;
	qz_cuda_part(d, "masks");
	launch(d, draw, dim3(static_cast<unsigned>(ceil_div(4 * g.words, 256)),
	    static_cast<unsigned>(ceil_div(t, TILE)), static_cast<unsigned>(n)), 256, 0, g);
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

void
qz_cuda_drop_dx(struct qz_dev *d, const struct qz_linear *l, int n, const uint16_t *p, const uint32_t *bits,
    qz_act *dx, int64_t t, bool add)
{
	int64_t ldp = ranks_of(l, n), words = drop_words(t, l->w.cols);
	int each = together(l, n) ? n : 1;

	qz_cuda_part(d, "p A");
	for (int i = 0; i < n; i += each, add = true) {
		struct job g = job_of(&l[i], each, p + ranks_of(l, i), ldp, bits + i * words, t);

		g.dx = static_cast<uint16_t *>(dx);
		g.add = add;
		start(d, g, each, true);
	}
}

ACT_END
