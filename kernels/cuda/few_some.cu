/* few_some: 3 to 16 tokens.  A block takes rounds of up to four groups of 16 rows, groups a grid apart; its warps share out the
 * columns, 256 at a time (few_ring.cuh), and add up in order at the end of a round.  Of a round's groups a warp takes the same
 * columns one after the other, so that x stays in registers. */
#include "kernels/cuda/few_ring.cuh"

ACT_BEGIN

enum { ROUND = 4 };

/* A warp's unit: columns from `block` on of group r of the n of the block's round, first and those a grid apart. */
struct unit {
	int which, first, n, r, block;
};

/* A round never has groups of two projections. */
static __device__ inline void
find_round(struct unit &u, const struct few_job &g)
{
	while (u.which + 1 < g.n && u.first >= g.l[u.which + 1].begin)
		u.which++;

	int grid = static_cast<int>(gridDim.x), end = u.which + 1 < g.n ? g.l[u.which + 1].begin : g.groups;

	u.n = 0;
#pragma unroll
	for (int r = 0; r < ROUND; r++)
		u.n += u.first + r * grid < end;
}

static __device__ inline void
go_on(struct unit &u, const struct few_job &g)
{
	if (++u.r < u.n)
		return;
	u.r = 0;
	u.block += static_cast<int>(blockDim.x) / 32 * BLOCKS;
	if (u.block < g.blocks)
		return;
	u.block = first_block();
	u.first += u.n * static_cast<int>(gridDim.x);
	find_round(u, g);
}

/* The first row of group r of a round; beyond the last one when there is no such round. */
static __device__ inline int
row_of(const struct unit &u, const struct few_part &l, int r)
{
	return (u.first + r * static_cast<int>(gridDim.x) - l.begin) * ROWS;
}

static __device__ inline void
expect_unit(const struct unit &u, const struct few_job &g)
{
	const struct few_part &l = g.l[u.which];

	expect(l, row_of(u, l, u.r), u.block, g);
}

/* Its codes are on their way, and what makes its constants. */
static __device__ inline void
bring_unit(struct hands &h, uint8_t *slot, struct raw &c, const struct unit &u, const struct few_job &g)
{
	const struct few_part &l = g.l[u.which];
	int row = row_of(u, l, u.r);

	bring(h, slot, l, row, u.block, g);
	read_raw(c, l, row, u.block, g);
}

/* The lane's codes of block j of the unit. */
static __device__ inline void
read_codes(uint2 codes[2], const uint8_t *unit, int j)
{
	int lane = threadIdx.x % 32, row = lane / 4;

	unit += row * ROW + ((2 * j + lane % 4 / 2) ^ swizzle(row)) * 16 + lane % 2 * 8;
	codes[0] = *reinterpret_cast<const uint2 *>(unit);
	codes[1] = *reinterpret_cast<const uint2 *>(unit + 8 * ROW);
}

/* x at a warp's 256 columns, at the lane's of them: of token g. */
template <int TILES>
struct input {
	uint4 low[BLOCKS][TILES], high[BLOCKS][TILES];
};

template <int TILES>
static __device__ inline void
read_input(struct input<TILES> &x, const struct few_job &g, int block)
{
	int lane = threadIdx.x % 32, token = lane / 4;

#pragma unroll
	for (int n = 0; n < TILES; n++, token += TILE)
#pragma unroll
		for (int j = 0; j < BLOCKS; j++) {
			const uint16_t *at = g.x + token * g.cols + (block + j) * BLOCK + lane % 4 * 16;

			x.low[j][n] = x.high[j][n] = make_uint4(0, 0, 0, 0);
			if (token < g.t && block + j < g.blocks) {
				x.low[j][n] = reinterpret_cast<const uint4 *>(at)[0];
				x.high[j][n] = reinterpret_cast<const uint4 *>(at)[1];
			}
		}
}

/* y += a unit's share; constants: the lane's.  Of blocks that are not there x is 0. */
template <int TILES>
static __device__ inline void
multiply_unit(float y[TILES][4], const uint8_t *unit, uint32_t table, const float constants[2], const struct input<TILES> &x)
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int j = 0; j < BLOCKS; j++) {
		uint2 codes[2];
		uint32_t a[4][4];
		float constant[2];

		read_codes(codes, unit, j);
		decode(a, table, codes);
#pragma unroll
		for (int i = 0; i < 2; i++)
			constant[i] = __shfl_sync(0xffffffff, constants[i], (lane & ~3) + j);
#pragma unroll
		for (int n = 0; n < TILES; n++) {
			float c[4] = {};

			product(c, a, x.low[j][n], x.high[j][n]);
			add(y[n], constant, c);
		}
	}
}

/* What the warps have of a round; y begins again. */
template <int TILES>
static __device__ inline void
add_up(float y[ROUND][TILES][4], struct few_shared *m, const struct unit &u, const struct few_job &g)
{
	const struct few_part &l = g.l[u.which];

#pragma unroll
	for (int n = 0; n < TILES; n++)
#pragma unroll
		for (int r = 0; r < ROUND; r += PAIR) {
			if (r >= u.n || n * TILE >= g.t)
				break;
			__syncthreads();
#pragma unroll
			for (int i = 0; i < PAIR; i++)
				put_sums(m, i, y[r + i][n]);
			__syncthreads();
#pragma unroll 1
			for (int i = threadIdx.x; i < PAIR * ROWS * TILE; i += blockDim.x) {
				int row = i % (PAIR * ROWS), token = n * TILE + i / (PAIR * ROWS), group = r + row / ROWS;
				int at = row_of(u, l, group) + row % ROWS;

				if (group < u.n && at < l.rows && token < g.t)
					put(m, l, at, row, token);
			}
		}
#pragma unroll
	for (int i = 0; i < ROUND * TILES * 4; i++)
		y[i / 4 / TILES][i / 4 % TILES][i % 4] = 0;
}

/* TILES: how often eight tokens; SM: blocks on a multiprocessor, at least.  What is read
 * before start_early() is a hint alone. */
template <int TILES, int SM>
static __global__ void __launch_bounds__(32 * WARPS, SM)
few_some(const __grid_constant__ struct few_job g)
{
	extern __shared__ uint4 memory[];
	struct few_shared *m = reinterpret_cast<struct few_shared *>(memory);
	uint8_t *ring = reinterpret_cast<uint8_t *>(m + 1) + threadIdx.x / 32 * (RING * UNIT);
	uint32_t table = shared_address(&m->table[0][threadIdx.x % 32]);
	float y[ROUND][TILES][4] = {};
	struct unit u = { 0, static_cast<int>(blockIdx.x), 0, 0, first_block() }, ahead;
	struct raw c[AHEAD + 1];
	struct input<TILES> x;
	struct hands h;
	int slot = 0;

	find_round(u, g);
	ahead = u;
#pragma unroll
	for (int i = 0; i < AHEAD; i++) {
		expect_unit(ahead, g);
		go_on(ahead, g);
	}
	start_early();
	ahead = u;
#pragma unroll
	for (int i = 0; i < AHEAD; i++) {
		bring_unit(h, ring + i * UNIT, c[i], ahead, g);
		go_on(ahead, g);
	}
	fill_tables(m, g.l[u.which]);
	__syncthreads();
	while (u.first < g.groups) {
		float sum[TILES][4] = {}, constants[2];
		struct unit now = u;

		settle(h, ring + slot * UNIT);
		bring_unit(h, ring + (slot ? slot - 1 : RING - 1) * UNIT, c[AHEAD], ahead, g);
		go_on(ahead, g);
		if (!u.r)
			read_input(x, g, u.block);
#pragma unroll
		for (int i = 0; i < 2; i++)
			constants[i] = constant_of(m->nested, g.l[u.which], c[0].scale[i], c[0].code[i]);
#pragma unroll
		for (int i = 0; i < AHEAD; i++)
			c[i] = c[i + 1];
		multiply_unit<TILES>(sum, ring + slot * UNIT, table, constants, x);
#pragma unroll
		for (int i = 0; i < ROUND * TILES * 4; i++)
			if (u.r == i / 4 / TILES)
				y[i / 4 / TILES][i / 4 % TILES][i % 4] += sum[i / 4 % TILES][i % 4];
		slot = slot + 1 < RING ? slot + 1 : 0;
		go_on(u, g);
		if (u.first == now.first)
			continue;
		add_up<TILES>(y, m, now, g);
		if (u.which != now.which && u.first < g.groups) {
			fill_tables(m, g.l[u.which]);
			__syncthreads();
		}
	}
}

template <int TILES, int SM>
static void
start(struct qz_dev *d, const struct few_job *g)
{
	int threads = count_threads(g);
	size_t shared = sizeof(struct few_shared) + static_cast<size_t>(threads) / 32 * RING * UNIT;
	auto kernel = few_some<TILES, SM>;

	qz_cuda_rc(d, "shared memory",
	    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
	launch<EARLY>(d, kernel, qz_cuda_grid(d, kernel, threads, g->groups, shared), static_cast<unsigned>(threads), shared,
	    *g);
}

void
qz_cuda_few_some(struct qz_dev *d, struct few_job *g)
{
	count_groups(g, ROWS);
	if (g->t <= TILE)
		start<1, 2>(d, g);
	else
		start<2, 1>(d, g);
}

ACT_END
