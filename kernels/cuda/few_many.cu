/* few_many: 17 to 64 tokens.  A block takes a group of 32 rows of a weight after another; its warps share out the columns,
 * 256 at a time, and add up in order.  While a warp computes, the codes that it takes next are on their way, those of the
 * next group too. */
#include "kernels/cuda/few_part.cuh"

ACT_BEGIN

enum { LANE_ROWS = 2 * PAIR };

/* Codes are read once: they do not push x out of the cache. */
static __device__ inline uint2
load_codes(const uint8_t *p)
{
	uint2 v;

	asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
	return v;
}

/* What a lane reads of a chunk of columns: codes of its rows in each block; and what makes the constants of block t of
 * the chunk for these rows, which it hands to its neighbours. */
struct chunk {
	uint2 codes[BLOCKS][LANE_ROWS];
	float scale[LANE_ROWS]; /* the constant, or of the nested block */
	uint8_t code[LANE_ROWS];
};

/* A warp's chunk, and where a lane reads it: rows g + 8 i of the group, or the last one there is. */
struct place {
	int group, which, block;
	const uint8_t *codes[LANE_ROWS]; /* of the chunk's first block */
	uint32_t first[LANE_ROWS];       /* 64 columns of the weight before the row */
};

static __device__ inline void
find_rows(struct place &p, const struct few_job &g)
{
	int lane = threadIdx.x % 32;

	while (p.which + 1 < g.n && p.group >= g.l[p.which + 1].begin)
		p.which++;
	const struct few_part &l = g.l[p.which];
#pragma unroll
	for (int i = 0; i < LANE_ROWS; i++) {
		int64_t row = static_cast<int64_t>(p.group - l.begin) * PAIR * ROWS + lane / 4 + 8 * i;

		row = row < l.rows ? row : l.rows - 1;
		p.first[i] = static_cast<uint32_t>(row * g.blocks);
		p.codes[i] = l.codes + (row * g.blocks + p.block) * (BLOCK / 2) + lane % 4 * 8;
	}
}

/* The warp's next chunk of the row, or its first of the block's next group. */
static __device__ inline void
go_on(struct place &p, const struct few_job &g)
{
	int step = static_cast<int>(blockDim.x) / 32 * BLOCKS;

	p.block += step;
	if (p.block < g.blocks) {
#pragma unroll
		for (int i = 0; i < LANE_ROWS; i++)
			p.codes[i] += step * (BLOCK / 2);
		return;
	}
	p.group += static_cast<int>(gridDim.x);
	p.block = first_block();
	if (p.group < g.groups)
		find_rows(p, g);
}

/* Block j of the chunk, when it is one of the row's. */
static __device__ inline void
read_block(uint2 codes[LANE_ROWS], const struct place &p, const struct few_job &g, int j)
{
	bool there = p.group < g.groups && p.block + j < g.blocks;

#pragma unroll
	for (int i = 0; i < LANE_ROWS; i++)
		if (there)
			codes[i] = load_codes(p.codes[i] + j * (BLOCK / 2));
}

static __device__ inline void
read_constants(float scale[LANE_ROWS], uint8_t code[LANE_ROWS], const struct place &p, const struct few_job &g)
{
	int block = p.block + static_cast<int>(threadIdx.x) % 4;

#pragma unroll
	for (int i = 0; i < LANE_ROWS; i++)
		if (p.group < g.groups && block < g.blocks)
			read_constant(&scale[i], &code[i], g.l[p.which], p.first[i] + static_cast<uint32_t>(block));
}

/* y += what block j of the chunk gives, whose codes the next chunk's replace; x, tile by tile, at the lane's columns of
 * token g. */
template <int TILES>
static __device__ inline void
multiply_block(float y[PAIR][TILES][4], uint32_t table, uint2 codes[LANE_ROWS], const struct place &next,
    const struct few_job &g, int j, bool there, const float constant[LANE_ROWS], const uint16_t *x)
{
	int token = threadIdx.x % 32 / 4;
	uint32_t a[PAIR][4][4];

#pragma unroll
	for (int r = 0; r < PAIR; r++)
		decode(a[r], table, codes + 2 * r);
	read_block(codes, next, g, j);
	if (!there)
		return;
#pragma unroll
	for (int n = 0; n < TILES; n++, token += TILE, x += TILE * g.cols) {
		uint4 low = {}, high = {};

		if (token < g.t) {
			low = reinterpret_cast<const uint4 *>(x)[0];
			high = reinterpret_cast<const uint4 *>(x)[1];
		}
#pragma unroll
		for (int r = 0; r < PAIR; r++) {
			float c[4] = {};

			product(c, a[r], low, high);
			add(y[r][n], constant + 2 * r, c);
		}
	}
}

/* What the warps have of a group of rows; y begins again. */
template <int TILES>
static __device__ inline void
add_up(float y[PAIR][TILES][4], struct few_shared *m, const struct few_part &l, int64_t row0, int t)
{
#pragma unroll
	for (int n = 0; n < TILES; n++) {
		if (n * TILE >= t)
			break;
		__syncthreads();
#pragma unroll
		for (int r = 0; r < PAIR; r++)
			put_sums(m, r, y[r][n]);
		__syncthreads();
#pragma unroll 1
		for (int i = threadIdx.x; i < PAIR * ROWS * TILE; i += blockDim.x) {
			int row = i % (PAIR * ROWS), token = n * TILE + i / (PAIR * ROWS);

			if (row0 + row < l.rows && token < t)
				put(m, l, row0 + row, row, token);
		}
	}
#pragma unroll
	for (int i = 0; i < PAIR * TILES * 4; i++)
		y[i / 4 / TILES][i / 4 % TILES][i % 4] = 0;
}

template <int TILES>
static __global__ void __launch_bounds__(32 * WARPS, 1)
few_many(const __grid_constant__ struct few_job g)
{
	start_early();

	__shared__ struct few_shared memory;
	struct few_shared *m = &memory;
	int lane = threadIdx.x % 32, which = 0;
	float y[PAIR][TILES][4] = {};
	struct place p = { static_cast<int>(blockIdx.x), 0, first_block(), {}, {} };
	struct chunk c = {};
	uint32_t table = shared_address(&m->table[0][lane]);

	find_rows(p, g);
#pragma unroll
	for (int j = 0; j < BLOCKS; j++)
		read_block(c.codes[j], p, g, j);
	read_constants(c.scale, c.code, p, g);
	which = p.which;
	fill_tables(m, g.l[which]);
	__syncthreads();
	while (p.group < g.groups) {
		const struct few_part &l = g.l[which];
		int group = p.group, block = p.block;
		const uint16_t *x = g.x + lane / 4 * g.cols + block * BLOCK + lane % 4 * 16;
		float constants[LANE_ROWS];

#pragma unroll
		for (int i = 0; i < LANE_ROWS; i++)
			constants[i] = constant_of(m->nested, l, c.scale[i], c.code[i]);
		go_on(p, g);
		read_constants(c.scale, c.code, p, g);
#pragma unroll
		for (int j = 0; j < BLOCKS; j++) {
			float constant[LANE_ROWS];

#pragma unroll
			for (int i = 0; i < LANE_ROWS; i++)
				constant[i] = __shfl_sync(0xffffffff, constants[i], (lane & ~3) + j);
			multiply_block<TILES>(y, table, c.codes[j], p, g, j, block + j < g.blocks, constant, x + j * BLOCK);
			__syncwarp(); /* the next block's x waits: there are not the registers */
		}
		if (p.group == group)
			continue;
		add_up<TILES>(y, m, l, static_cast<int64_t>(group - l.begin) * PAIR * ROWS, g.t);
		if (p.which != which && p.group < g.groups) {
			which = p.which;
			fill_tables(m, g.l[which]);
			__syncthreads();
		}
	}
}

template <int TILES>
static void
start(struct qz_dev *d, const struct few_job *g)
{
	int threads = count_threads(g);
	auto kernel = few_many<TILES>;

	launch<EARLY>(d, kernel, qz_cuda_grid(d, kernel, threads, g->groups), static_cast<unsigned>(threads), 0, *g);
}

void
qz_cuda_few_many(struct qz_dev *d, struct few_job *g)
{
	count_groups(g, PAIR * ROWS);
	if (g->t <= 4 * TILE)
		start<4>(d, g);
	else
		start<8>(d, g);
}

ACT_END
