/* Products for Hopper, of a large pair and a narrow one in one pass: c = plus + alpha2 a2 op(b2) + a op(b), which is a
 * projection with its adapter (a2 = s, b2 = B) and its gradient (a2 = p, b2 = A).
 *
 * Blocks stay and take tile after tile of 128 x 256.  One warp brings 64 numbers of a tile's rows and columns at a time into
 * one of STAGES places; two warpgroups multiply 64 rows each.  The narrow pair is the first tile of the sum: what it gives is
 * multiplied with alpha2 in registers.  Two blocks form a cluster: their tiles lie below each other, each brings half of the
 * columns for both.  Tiles go down GROUP clusters, then to the next columns, so that what is read again is in the L2 cache.
 * Per tile and 64 numbers: 48 KB for 4.2 MFLOP, 32 KB of them out of L2.  The sums are those of one block, in order. */
#include "kernels/cuda/gemm_90.cuh"
#include "kernels/cuda/tensor_map.cuh"
#include "kernels/cuda/wgmma.cuh"

enum { WARPGROUPS = 2, ROWS = 64 * WARPGROUPS, COLS = 256, DEPTH = PANEL, STEPS = DEPTH / 16, STAGES = 4, BLOCKS = 2, GROUP = 8 };
enum { A_BYTES = ROWS * PANEL_ROW, B_BYTES = COLS * PANEL_ROW, STAGE = A_BYTES + B_BYTES };
enum { SHARED_ALIGN = 1024, SHARED = STAGES * STAGE + 2 * STAGES * 8 + SHARED_ALIGN };

struct maps {
	CUtensorMap a, b, a2, b2;
};

struct product {
	int m, n, k, k2; /* k2: 0 without a narrow pair */
	int down, tiles; /* clusters below each other; tiles of a cluster */
	float alpha2;
	const uint16_t *plus; /* or NULL; may be c */
	uint16_t *c;
	int64_t ldc;
};

/* Where the t-th tile of a cluster lies, in clusters down and in tiles to the right. */
static __device__ inline void
place(const struct product &g, int t, int across, int *down, int *right)
{
	int first = t / (GROUP * across) * GROUP, high = min(g.down - first, static_cast<int>(GROUP));
	int i = t - first * across;

	*down = first + i % high;
	*right = i / high;
}

/* 64 numbers of the rows and of this block's half of the columns, from number k on. */
template <bool ALONG>
static __device__ inline void
bring(char *stage, const CUtensorMap *a, const CUtensorMap *b, int k, int row, int col, int rank, uint64_t *full)
{
	constexpr int HALF = COLS / BLOCKS;
	char *to = stage + A_BYTES + rank * HALF * PANEL_ROW;

	copy_panel(stage, a, k, 0, row, full);
	if (ALONG)
		for (int i = 0; i < HALF; i += PANEL)
			copy_panel_to(to + i * PANEL_ROW, b, col + rank * HALF + i, 0, k, full, (1 << BLOCKS) - 1);
	else
		copy_panel_to(to, b, k, 0, col + rank * HALF, full, (1 << BLOCKS) - 1);
}

/* Where this warpgroup's 64 rows and the columns of a stage begin. */
template <bool ALONG>
struct factors {
	static constexpr int STEP = ALONG ? 16 * PANEL_ROW : 32; /* bytes from 16 numbers of the columns to the next */
	uint64_t a, b;

	__device__
	factors(const char *stage, int wg)
	    : a(panel_over(stage + wg * 64 * PANEL_ROW)),
	      b(ALONG ? panel_along(stage + A_BYTES, DEPTH * PANEL_ROW) : panel_over(stage + A_BYTES))
	{
	}
};

/* c += rows times columns over the first N times 16 numbers of a stage. */
template <bool ALONG, int N>
static __device__ inline void
add_stage(float c[COLS / 8][4], const char *stage, int wg)
{
	const struct factors<ALONG> f(stage, wg);

	wgmma_fence();
#pragma unroll
	for (int i = 0; i < N; i++)
		wgmma_wide<ALONG>(c, further(f.a, 32 * i), further(f.b, f.STEP * i));
	wgmma_commit();
}

/* Everybody here has read the stage: to the barriers of all blocks that write to it. */
static __device__ inline void
release(uint64_t *empty)
{
	__syncwarp();
	if (threadIdx.x % 32 < BLOCKS)
		barrier_arrive_at(empty, threadIdx.x % 32);
}

/* Four lanes have two numbers each of four times eight columns: now each lane has eight columns, in order. */
static __device__ inline void
gather_columns(uint32_t u[4])
{
	bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
	uint32_t low[2], up[2];

	for (int i = 0; i < 2; i++) {
		uint32_t mine = odd ? u[2 * i + 1] : u[2 * i], other = odd ? u[2 * i] : u[2 * i + 1];

		other = __shfl_xor_sync(0xffffffff, other, 1);
		low[i] = odd ? other : mine;
		up[i] = odd ? mine : other;
	}
	for (int i = 0; i < 2; i++) {
		uint32_t a = i ? up[0] : low[0], b = i ? up[1] : low[1], other = high ? a : b;

		other = __shfl_xor_sync(0xffffffff, other, 2);
		u[i] = high ? other : a;
		u[2 + i] = high ? b : other;
	}
}

/* c += plus, of rows `row` and row + 8 of the columns from `col` on: half of what is read is on its way at once. */
static __device__ inline void
add_plus(const struct product &g, float c[COLS / 8][4], int row, int col)
{
	uint32_t old[COLS / 16][2];

#pragma unroll
	for (int half = 0; half < COLS / 8; half += COLS / 16) {
#pragma unroll
		for (int i = 0; i < COLS / 16; i++)
#pragma unroll
			for (int h = 0; h < 2; h++) {
				int r = row + 8 * h, at = col + 8 * (half + i);

				old[i][h] = r < g.m && at < g.n
				    ? *reinterpret_cast<const uint32_t *>(g.plus + r * g.ldc + at + threadIdx.x % 4 * 2)
				    : 0;
			}
#pragma unroll
		for (int i = 0; i < COLS / 16; i++)
#pragma unroll
			for (int h = 0; h < 2; h++) {
				c[half + i][2 * h] += __uint_as_float(old[i][h] << 16);
				c[half + i][2 * h + 1] += __uint_as_float(old[i][h] & 0xffff0000);
			}
	}
}

/* The sums of this thread's first row, or of its second, of 32 columns: rounded, eight columns a lane. */
static __device__ inline uint4
eight_of(const float c[4][4], int h)
{
	uint32_t u[4];

#pragma unroll
	for (int i = 0; i < 4; i++)
		u[i] = pack2(c[i][2 * h], c[i][2 * h + 1]);
	gather_columns(u);
	return make_uint4(u[0], u[1], u[2], u[3]);
}

/* What a thread has of a tile: rows `row` and row + 8 of the columns from `col` on. */
static __device__ inline void
store_tile(const struct product &g, float c[COLS / 8][4], int row, int col)
{
	if (g.plus)
		add_plus(g, c, row, col);
#pragma unroll
	for (int i = 0; i < COLS / 32; i++)
#pragma unroll
		for (int h = 0; h < 2; h++) {
			int r = row + 8 * h, at = col + 32 * i + threadIdx.x % 4 * 8;
			uint4 eight = eight_of(c + 4 * i, h);

			if (r < g.m && at < g.n)
				*reinterpret_cast<uint4 *>(g.c + r * g.ldc + at) = eight;
		}
}

template <bool ALONG>
static __device__ inline void
feed(const struct maps &m, const struct product &g, char *stages, uint64_t *full, uint64_t *empty, int rank)
{
	int across = (g.n + COLS - 1) / COLS, narrow = (g.k2 + DEPTH - 1) / DEPTH, wide = (g.k + DEPTH - 1) / DEPTH;
	struct turn<STAGES> t = {};

	for (int tile = blockIdx.x / BLOCKS; tile < g.tiles; tile += gridDim.x / BLOCKS) {
		int down, right;

		place(g, tile, across, &down, &right);
		for (int i = 0; i < narrow + wide; i++, t.next()) {
			bool second = i < narrow;

			barrier_wait(empty + t.stage, t.parity ^ 1);
			barrier_expect(full + t.stage, STAGE);
			bring<ALONG>(stages + t.stage * STAGE, second ? &m.a2 : &m.a, second ? &m.b2 : &m.b,
			    (second ? i : i - narrow) * DEPTH, (down * BLOCKS + rank) * ROWS, right * COLS, rank,
			    full + t.stage);
		}
	}
}

template <bool ALONG, int NARROW>
static __device__ inline void
multiply_tiles(const struct product &g, const char *stages, uint64_t *full, uint64_t *empty, int rank, int wg)
{
	int across = (g.n + COLS - 1) / COLS, wide = (g.k + DEPTH - 1) / DEPTH;
	struct turn<STAGES> t = {};
	float c[COLS / 8][4];

	for (int tile = blockIdx.x / BLOCKS; tile < g.tiles; tile += gridDim.x / BLOCKS) {
		int down, right, row, before;

		place(g, tile, across, &down, &right);
#pragma unroll
		for (int i = 0; i < COLS / 8; i++)
#pragma unroll
			for (int e = 0; e < 4; e++)
				c[i][e] = 0;
		for (int k = 0; k < g.k2; k += DEPTH) {
			barrier_wait(full + t.stage, t.parity);
			add_stage<ALONG, NARROW>(c, stages + t.stage * STAGE, wg);
			wgmma_wait<0>();
			pin<COLS / 8>(c);
			release(empty + t.stage);
			t.next();
		}
		if (g.k2 && g.alpha2 != 1) {
#pragma unroll
			for (int i = 0; i < COLS / 8; i++)
#pragma unroll
				for (int e = 0; e < 4; e++)
					c[i][e] *= g.alpha2;
			pin<COLS / 8>(c);
		}
		/* The first is apart: with one loop for all ptxas waits for each product before the next. */
		before = t.stage;
		barrier_wait(full + t.stage, t.parity);
		add_stage<ALONG, STEPS>(c, stages + t.stage * STAGE, wg);
		t.next();
		for (int i = 1; i < wide; i++) {
			barrier_wait(full + t.stage, t.parity);
			add_stage<ALONG, STEPS>(c, stages + t.stage * STAGE, wg);
			wgmma_wait<1>();
			release(empty + before);
			before = t.stage;
			t.next();
		}
		wgmma_wait<0>();
		release(empty + before);
		pin<COLS / 8>(c);
		row = (down * BLOCKS + rank) * ROWS + wg * 64 + threadIdx.x % WARPGROUP / 32 * 16 + threadIdx.x % 32 / 4;
		store_tile(g, c, row, right * COLS);
	}
}

/* a (m, k) rows of numbers; b (n, k) likewise, or with ALONG (k, n).  NARROW: steps of 16 over a stage of the narrow pair. */
template <bool ALONG, int NARROW>
static __global__ void
__cluster_dims__(BLOCKS) __launch_bounds__((WARPGROUPS + 1) * WARPGROUP, 1)
    multiply(const __grid_constant__ struct maps m, const __grid_constant__ struct product g)
{
	extern __shared__ char raw[];
	char *stages = raw + (-shared_address(raw) & (SHARED_ALIGN - 1));
	uint64_t *full = reinterpret_cast<uint64_t *>(stages + STAGES * STAGE), *empty = full + STAGES;
	int wg = __shfl_sync(0xffffffff, threadIdx.x / WARPGROUP, 0), rank = cluster_rank();

	if (threadIdx.x == 0) {
		for (int i = 0; i < STAGES; i++) {
			barrier_set(full + i, 1);
			barrier_set(empty + i, BLOCKS * WARPGROUPS * WARPGROUP / 32);
		}
		barrier_publish();
	}
	cluster_sync();
	start_early();
	if (wg == WARPGROUPS) {
		registers_down<40>();
		if (threadIdx.x == WARPGROUPS * WARPGROUP)
			feed<ALONG>(m, g, stages, full, empty, rank);
		__syncwarp();
	} else {
		registers_up<232>();
		multiply_tiles<ALONG, NARROW>(g, stages, full, empty, rank, wg);
	}
	/* Nobody leaves while another block still writes to its memory or its barriers. */
	cluster_sync();
}

/* ---- the host's side ---- */

static bool
on16(const void *p)
{
	return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

/* Clusters that are at work at once; 0: none can be.  Asked once a device; from then on the kernel may take its memory. */
template <bool ALONG, int NARROW>
static int
clusters(struct qz_dev *d)
{
	struct cudaLaunchConfig_st c = {};
	int *known = &cuda_dev(d)->clusters[ALONG * 2 + (NARROW > 1)], n = 0;

	if (*known)
		return *known < 0 ? 0 : *known;
	c.gridDim = dim3(static_cast<unsigned>(cuda_dev(d)->sms / BLOCKS * BLOCKS));
	c.blockDim = dim3((WARPGROUPS + 1) * WARPGROUP);
	c.dynamicSmemBytes = SHARED;
	if (cudaFuncSetAttribute(multiply<ALONG, NARROW>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED) != cudaSuccess ||
	    cudaOccupancyMaxActiveClusters(&n, multiply<ALONG, NARROW>, &c) != cudaSuccess)
		n = 0;
	*known = n > 0 ? n : -1;
	return n;
}

/* Shapes of which the last round of tiles is nearly full: others are the library's, which cuts them smaller. */
static bool
fills(int64_t tiles, int64_t at_once)
{
	return tiles * 10 >= ceil_div(tiles, at_once) * at_once * 9;
}

static bool
fits(const struct qz_cuda_gemm *g)
{
	const void *const arrays[] = { g->a, g->b, g->a2, g->b2, g->c, g->plus };
	const int64_t eights[] = { g->n, g->k, g->k2, g->lda, g->ldb, g->lda2, g->ldb2, g->ldc };

	for (const void *p : arrays)
		if (!on16(p))
			return false;
	for (int64_t n : eights)
		if (n % 8 || n > INT32_MAX)
			return false;
	return g->m <= INT32_MAX && !g->ta && !g->wide && g->alpha == 1;
}

template <bool ALONG, int NARROW>
static bool
start(struct qz_dev *d, const struct qz_cuda_gemm *g, bool any_shape)
{
	int64_t down = ceil_div(g->m, BLOCKS * ROWS), tiles = down * ceil_div(g->n, COLS);
	int at_once = clusters<ALONG, NARROW>(d), box = ALONG ? DEPTH : COLS / BLOCKS;
	struct product p = { static_cast<int>(g->m), static_cast<int>(g->n), static_cast<int>(g->k),
		static_cast<int>(g->k2), static_cast<int>(down), static_cast<int>(tiles), g->alpha2,
		static_cast<const uint16_t *>(g->plus), static_cast<uint16_t *>(g->c), g->ldc };
	struct maps m = {};

	if (tiles > INT32_MAX / 2 || at_once < 1 || !(any_shape || fills(tiles, at_once)) ||
	    !qz_cuda_map(&m.a, g->a, g->k, 1, g->m, g->lda, DEPTH, ROWS) ||
	    !qz_cuda_map(&m.b, g->b, ALONG ? g->n : g->k, 1, ALONG ? g->k : g->n, g->ldb, PANEL, box))
		return false;
	if (g->k2 &&
	    (!qz_cuda_map(&m.a2, g->a2, g->k2, 1, g->m, g->lda2, DEPTH, ROWS) ||
	        !qz_cuda_map(&m.b2, g->b2, ALONG ? g->n : g->k2, 1, ALONG ? g->k2 : g->n, g->ldb2, PANEL, box)))
		return false;
	launch<EARLY>(d, multiply<ALONG, NARROW>, dim3(static_cast<unsigned>(BLOCKS * (tiles < at_once ? tiles : at_once))),
	    (WARPGROUPS + 1) * WARPGROUP, SHARED, m, p);
	return true;
}

bool
qz_cuda_gemm_90(struct qz_dev *d, const struct qz_cuda_gemm *g, bool any_shape)
{
	if (cuda_dev(d)->cc != 90 || d->k->act_type != QZ_BF16 || !fits(g))
		return false;
	if (g->k2 > 16)
		return g->tb ? start<false, STEPS>(d, g, any_shape) : start<true, STEPS>(d, g, any_shape);
	return g->tb ? start<false, 1>(d, g, any_shape) : start<true, 1>(d, g, any_shape);
}
