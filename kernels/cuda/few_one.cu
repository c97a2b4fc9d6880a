/* few_one: up to 16 tokens.  A block takes rounds of up to four groups of rows (few_ring.cuh); its warps share out the
 * columns, 256 at a time, and add up in order at the end of a round.  Of a round's groups a warp takes the same columns one
 * after the other, so that x stays in registers.
 *
 * One or two tokens: a product has room for eight, so that its columns 2 j and 2 j + 1 are the tokens at the j-th
 * block of x.  The codes of block j make sense there alone: in lanes 4 g + j, which have the constants for it. */
#include "kernels/cuda/few_ring.cuh"

ACT_BEGIN

/* x at a warp's 256 columns, at the lane's of them: of token g and of each block, or, for two tokens, of token g % 2 and
 * block g / 2. */
template <int EACH, int TILES>
struct input {
	enum { SETS = EACH == TILE ? BLOCKS : 1 };
	uint4 low[SETS][TILES], high[SETS][TILES];
};

template <int EACH, int TILES>
static __device__ inline void
read_input(struct input<EACH, TILES> &x, const struct few_job &g, int block)
{
	int lane = threadIdx.x % 32, token = lane / 4 % EACH;

	block += lane / 4 / EACH;
#pragma unroll
	for (int n = 0; n < TILES; n++, token += TILE)
#pragma unroll
		for (int j = 0; j < input<EACH, TILES>::SETS; j++) {
			const uint16_t *at = g.x + token * g.cols + (block + j) * BLOCK + lane % 4 * 16;

			x.low[j][n] = x.high[j][n] = make_uint4(0, 0, 0, 0);
			if (token < g.t && block + j < g.blocks) {
				x.low[j][n] = reinterpret_cast<const uint4 *>(at)[0];
				x.high[j][n] = reinterpret_cast<const uint4 *>(at)[1];
			}
		}
}

/* y += a unit's share; constants: the lane's.  Of blocks that are not there x is 0. */
template <int EACH, int TILES>
static __device__ inline void
multiply_unit(float y[TILES][4], const uint8_t *unit, uint32_t table, const float constants[2],
    const struct input<EACH, TILES> &x)
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int j = 0; j < BLOCKS; j++) {
		uint2 codes[2];
		uint32_t a[4][4];
		float constant[2] = { constants[0], constants[1] };

		read_codes(codes, unit, j);
		decode(a, table, codes);
#pragma unroll
		for (int i = 0; i < 2 && EACH == TILE; i++)
			constant[i] = __shfl_sync(0xffffffff, constants[i], (lane & ~3) + j);
#pragma unroll
		for (int n = 0; n < TILES; n++) {
			float c[4] = {};

			product(c, a, x.low[EACH == TILE ? j : 0][n], x.high[EACH == TILE ? j : 0][n]);
			if (EACH == TILE || lane % 4 == j)
				add(y[n], constant, c);
		}
	}
}

/* What the warps have of a round; y begins again. */
template <int EACH, int TILES>
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
			for (int i = threadIdx.x; i < PAIR * ROWS * EACH; i += blockDim.x) {
				int row = i % (PAIR * ROWS), token = n * TILE + i / (PAIR * ROWS), group = r + row / ROWS;
				int at = row_of(u, l, group) + row % ROWS;

				if (group < u.n && at < l.rows && token < g.t)
					put<EACH>(m, l, at, row, token);
			}
		}
#pragma unroll
	for (int i = 0; i < ROUND * TILES * 4; i++)
		y[i / 4 / TILES][i / 4 % TILES][i % 4] = 0;
}

/* EACH: tokens side by side, 2 or 8; TILES: how often eight tokens; SM: blocks on a multiprocessor, at least.  What is read
 * before start_early() is a hint alone. */
template <int EACH, int TILES, int SM>
static __global__ void __launch_bounds__(32 * WARPS, SM)
few_one(const __grid_constant__ struct few_job g)
{
	extern __shared__ uint4 memory[];
	struct few_shared *m = reinterpret_cast<struct few_shared *>(memory);
	uint8_t *ring = reinterpret_cast<uint8_t *>(m + 1) + threadIdx.x / 32 * (RING * UNIT);
	uint32_t table = shared_address(&m->table[0][threadIdx.x % 32]);
	float y[ROUND][TILES][4] = {};
	struct unit u = { 0, static_cast<int>(blockIdx.x), 0, 0, first_block() }, ahead;
	struct raw c[AHEAD + 1];
	struct input<EACH, TILES> x;
	struct hands h;
	int slot = 0;

	find_round(u, g);
	ahead = u;
#pragma unroll
	for (int i = 0; i < AHEAD; i++) {
		expect(ahead, g);
		go_on(ahead, g);
	}
	start_early();
	ahead = u;
#pragma unroll
	for (int i = 0; i < AHEAD; i++) {
		bring(h, ring + i * UNIT, ahead, g);
		read_raw(c[i], ahead, g);
		go_on(ahead, g);
	}
	fill_tables(m, g.l[u.which]);
	__syncthreads();
	while (u.first < g.groups) {
		float sum[TILES][4] = {}, constants[2];
		struct unit now = u;

		settle(h, ring + slot * UNIT);
		bring(h, ring + (slot ? slot - 1 : RING - 1) * UNIT, ahead, g);
		read_raw(c[AHEAD], ahead, g);
		go_on(ahead, g);
		if (!u.r)
			read_input(x, g, u.block);
#pragma unroll
		for (int i = 0; i < 2; i++)
			constants[i] = constant_of(m->nested, g.l[u.which], c[0].scale[i], c[0].code[i]);
#pragma unroll
		for (int i = 0; i < AHEAD; i++)
			c[i] = c[i + 1];
		multiply_unit<EACH, TILES>(sum, ring + slot * UNIT, table, constants, x);
#pragma unroll
		for (int i = 0; i < ROUND * TILES * 4; i++)
			if (u.r == i / 4 / TILES)
				y[i / 4 / TILES][i / 4 % TILES][i % 4] += sum[i / 4 % TILES][i % 4];
		slot = slot + 1 < RING ? slot + 1 : 0;
		go_on(u, g);
		if (u.first == now.first)
			continue;
		add_up<EACH, TILES>(y, m, now, g);
		if (u.which != now.which && u.first < g.groups) {
			fill_tables(m, g.l[u.which]);
			__syncthreads();
		}
	}
}

template <int EACH, int TILES, int SM>
static void
start(struct qz_dev *d, const struct few_job *g)
{
	int threads = count_threads(g);
	size_t shared = sizeof(struct few_shared) + static_cast<size_t>(threads) / 32 * RING * UNIT;
	auto kernel = few_one<EACH, TILES, SM>;

	qz_cuda_rc(d, "shared memory",
	    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
	launch<EARLY>(d, kernel, qz_cuda_grid(d, kernel, threads, g->groups, shared), static_cast<unsigned>(threads), shared,
	    *g);
}

void
qz_cuda_few_one(struct qz_dev *d, struct few_job *g)
{
	count_groups(g, ROWS);
	if (g->t <= 2)
		start<2, 1, 2>(d, g);
	else if (g->t <= TILE)
		start<TILE, 1, 2>(d, g);
	else
		start<TILE, 2, 1>(d, g);
}

ACT_END
