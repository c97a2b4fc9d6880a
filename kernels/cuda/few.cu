/* few: a block takes 32 rows of a weight, its warps share out the columns, 256 at a time, and add up in order.
 *
 * A byte of codes becomes a pair of activations by one lookup in a table that has a copy in each bank.  The
 * table holds the map alone: the block constant multiplies what 64 columns of a row give.  A product runs over
 * columns, whose order is free: of 64 columns lane 4 g + t has 16 t .. 16 t + 16, eight bytes of codes of the
 * rows g, g + 8, g + 16 and g + 24 and 32 bytes of x of the tokens g, g + 8, ... */
#include <cstring>

#include "kernels/cuda/few.cuh"
#include "kernels/cuda/mma.cuh"

ACT_BEGIN

enum { ROWS = 32, BLOCK = 64, BLOCKS = 4, TILE = 8 /* tokens */ };

/* One projection. */
struct part {
	const uint8_t *codes;
	const void *absmax;
	const float *nested, *nested_map, *map, *bias;
	float offset, scale;
	int block, nested_block; /* shifts: 64-column blocks to one of the weight's, and it to a nested one, or -1 */
	const uint16_t *plus, *s, *b;
	uint16_t *y;
	int64_t rows, lds;
	int rank, begin; /* the first of its blocks of threads */
};

struct job {
	struct part l[FEW_GROUP];
	const uint16_t *x;
	int64_t cols;
	int n, t;
};

struct shared {
	union {
		uint32_t table[256][32];
		float sum[16][ROWS][TILE + 1]; /* of the warps, when the table has done its work */
	};
	float nested[256];
};

/* Codes are read once: they do not push x out of the cache. */
static __device__ inline uint2
load_codes(const uint8_t *p)
{
	uint2 v;

	asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
	return v;
}

/* What a lane reads of a chunk of columns: codes of four rows in each block; and the constants of block t of the
 * chunk for these rows, which it hands to its neighbours. */
struct chunk {
	uint2 codes[BLOCKS][4];
	float constant[4];
};

/* Where a lane reads: rows g + 8 i, or the last one there is. */
struct place {
	const uint8_t *codes[4]; /* of the chunk's first block */
	uint32_t first[4];       /* 64 columns of the weight before the row */
	int blocks;              /* of a row */
};

static __device__ inline struct place
place_of(const struct part &l, int64_t row0, int64_t cols, int block)
{
	int lane = threadIdx.x % 32;
	struct place p;

	p.blocks = static_cast<int>(cols / BLOCK);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		int64_t row = row0 + lane / 4 + 8 * i < l.rows ? row0 + lane / 4 + 8 * i : l.rows - 1;

		p.first[i] = static_cast<uint32_t>(row * p.blocks);
		p.codes[i] = l.codes + (row * p.blocks + block) * (BLOCK / 2) + lane % 4 * 8;
	}
	return p;
}

/* Block j of the chunk, when it is one of the row's. */
static __device__ inline void
read_block(uint2 codes[4], const struct place &p, int j, bool there)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		if (there)
			codes[i] = load_codes(p.codes[i] + j * (BLOCK / 2));
}

static __device__ inline void
read_constants(float constant[4], const struct shared *m, const struct part &l, const struct place &p,
    int block)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		uint32_t at = (p.first[i] + static_cast<uint32_t>(block)) >> l.block;

		constant[i] = 0;
		if (block >= p.blocks)
			continue;
		if (l.nested_block < 0)
			constant[i] = static_cast<const float *>(l.absmax)[at];
		else
			constant[i] = fmaf(m->nested[static_cast<const uint8_t *>(l.absmax)[at]],
			    l.nested[at >> l.nested_block], l.offset);
	}
}

/* Byte i of a lane's codes as two numbers; at: the address of the lane's first entry in the table. */
static __device__ inline uint32_t
pair_of(uint32_t at, uint2 codes, int i)
{
	uint32_t r;

	at += __byte_perm(i < 4 ? codes.x : codes.y, 0, 0x4440 + i % 4) * sizeof(uint32_t[32]);
	asm volatile("ld.shared.u32 %0, [%1];" : "=r"(r) : "r"(at));
	return r;
}

static __device__ inline void
decode(uint32_t a[2][4][4], uint32_t at, const uint2 codes[4])
{
#pragma unroll
	for (int r = 0; r < 2; r++)
#pragma unroll
		for (int k = 0; k < 4; k++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				a[r][k][i] = pair_of(at, codes[2 * r + i % 2], 2 * k + i / 2);
}

/* y += constants times a x of a block of columns; x at the lane's columns of token g. */
template <int TILES>
static __device__ inline void
multiply(float y[2][TILES][4], const uint32_t a[2][4][4], const float constant[4], const uint16_t *x,
    int64_t cols, int t)
{
	int token = threadIdx.x % 32 / 4;

#pragma unroll
	for (int n = 0; n < TILES; n++, token += TILE, x += TILE * cols) {
		uint4 u = make_uint4(0, 0, 0, 0), v = u;
		float c[2][4] = {};

		if (token < t) {
			u = reinterpret_cast<const uint4 *>(x)[0];
			v = reinterpret_cast<const uint4 *>(x)[1];
		}
#pragma unroll
		for (int r = 0; r < 2; r++) {
			mma(c[r], a[r][0], u.x, u.y);
			mma(c[r], a[r][1], u.z, u.w);
			mma(c[r], a[r][2], v.x, v.y);
			mma(c[r], a[r][3], v.z, v.w);
#pragma unroll
			for (int i = 0; i < 4; i++)
				y[r][n][i] = fmaf(constant[2 * r + i / 2], c[r][i], y[r][n][i]);
		}
	}
}

static __device__ inline void
fill_tables(struct shared *m, const struct part &l)
{
	float value = l.map[threadIdx.x % 16];

	for (unsigned i = threadIdx.x / 32; i < 256; i += blockDim.x / 32) {
		float even = __shfl_sync(0xffffffff, value, i >> 4), odd = __shfl_sync(0xffffffff, value, i & 15);

		m->table[i][threadIdx.x % 32] = pack2(even, odd);
	}
	for (int i = threadIdx.x; l.nested_block >= 0 && i < 256; i += blockDim.x)
		m->nested[i] = l.nested_map[i];
}

/* The sum over the warps, and what is added to it; i counts rows, then tokens. */
static __device__ inline void
put(const struct shared *m, const struct part &l, int64_t row0, int i, int first, int t)
{
	int token = first + i / ROWS;
	int64_t row = row0 + i % ROWS;
	float sum = 0, low = 0;

	if (row >= l.rows || token >= t)
		return;
#pragma unroll 1
	for (unsigned w = 0; w < blockDim.x / 32; w++)
		sum += m->sum[w][i % ROWS][i / ROWS];
#pragma unroll 1
	for (int k = 0; k < l.rank; k++)
		low = fmaf(act_load(l.s[token * l.lds + k]), act_load(l.b[row * l.rank + k]), low);
	sum = fmaf(l.scale, low, sum);
	if (l.bias)
		sum += l.bias[row];
	if (l.plus)
		sum += act_load(l.plus[token * l.rows + row]);
	l.y[token * l.rows + row] = act_round(sum);
}

template <int TILES>
static __device__ inline void
add_up(const float y[2][TILES][4], struct shared *m, const struct part &l, int64_t row0, int t)
{
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

#pragma unroll
	for (int n = 0; n < TILES; n++) {
		if (n * TILE >= t)
			return;
		__syncthreads();
#pragma unroll
		for (int r = 0; r < 2; r++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				m->sum[warp][16 * r + lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = y[r][n][i];
		__syncthreads();
#pragma unroll 1
		for (int i = threadIdx.x; i < ROWS * TILE; i += blockDim.x)
			put(m, l, row0, i, n * TILE, t);
	}
}

template <int TILES, int WARPS>
static __global__ void __launch_bounds__(32 * WARPS)
few(const __grid_constant__ struct job g)
{
	__shared__ struct shared memory;
	struct shared *m = &memory;
	int lane = threadIdx.x % 32, which = 0;
	int step = static_cast<int>(blockDim.x) / 32 * BLOCKS, block = static_cast<int>(threadIdx.x) / 32 * BLOCKS;
	float y[2][TILES][4] = {};
	struct chunk c = {};

	while (which + 1 < g.n && static_cast<int>(blockIdx.x) >= g.l[which + 1].begin)
		which++;
	const struct part &l = g.l[which];
	int64_t row0 = (static_cast<int64_t>(blockIdx.x) - l.begin) * ROWS;
	struct place p = place_of(l, row0, g.cols, block);
	uint32_t table = shared_address(&m->table[0][lane]);
	const uint16_t *x = g.x + lane / 4 * g.cols + block * BLOCK + lane % 4 * 16;

#pragma unroll
	for (int j = 0; j < BLOCKS; j++)
		read_block(c.codes[j], p, j, block + j < p.blocks);
	fill_tables(m, l);
	__syncthreads();
	read_constants(c.constant, m, l, p, block + lane % 4);
#pragma unroll 1
	for (; block < p.blocks; block += step, x += step * BLOCK) {
		float next[4];

		read_constants(next, m, l, p, block + step + lane % 4);
#pragma unroll
		for (int i = 0; i < 4; i++)
			p.codes[i] += step * (BLOCK / 2);
#pragma unroll
		for (int j = 0; j < BLOCKS; j++) {
			float constant[4];
			uint32_t a[2][4][4];

			if (block + j >= p.blocks)
				break;
			decode(a, table, c.codes[j]);
			read_block(c.codes[j], p, j, block + step + j < p.blocks);
#pragma unroll
			for (int i = 0; i < 4; i++)
				constant[i] = __shfl_sync(0xffffffff, c.constant[i], (lane & ~3) + j);
			multiply<TILES>(y, a, constant, x + j * BLOCK, g.cols, g.t);
			if (TILES > 2) /* the next block's x waits, or there are not the registers */
				__syncwarp();
		}
#pragma unroll
		for (int i = 0; i < 4; i++)
			c.constant[i] = next[i];
	}
	add_up<TILES>(y, m, l, row0, g.t);
}

/* Warps of a block: no more rounds than WARPS would need, and no warp idle in the last one if it can be. */
template <int TILES, int WARPS>
static void
start(struct qz_dev *d, const struct job &g, int blocks)
{
	int64_t chunks = ceil_div(g.cols, BLOCK * BLOCKS), warps = ceil_div(chunks, ceil_div(chunks, WARPS));

	launch(d, few<TILES, WARPS>, dim3(static_cast<unsigned>(blocks)), static_cast<unsigned>(32 * warps), 0, g);
}

static int
shift_of(uint32_t n)
{
	return n && !(n & (n - 1)) ? __builtin_ctz(n) : -1;
}

bool
qz_cuda_few_fits(struct qz_dev *d, const struct qz_linear *l, const qz_act *x, int64_t t)
{
	const struct qz_mat *w = &l->w;

	return t <= FEW_TOKENS && (w->type == QZ_NF4 || w->type == QZ_FP4) &&
	    shift_of(w->block) >= 6 && (!w->nested_block || shift_of(w->nested_block) >= 0) &&
	    w->cols % BLOCK == 0 && w->rows * (w->cols / BLOCK) < INT32_MAX && aligned(w->data, 8) && aligned(x, 16);
}

void
qz_cuda_few(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, int64_t t)
{
	int blocks = 0;
	struct job g;

	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++) {
		const struct qz_mat *w = &l[i].w;

		g.l[i] = { static_cast<const uint8_t *>(w->data), w->absmax, w->nested_absmax, w->nested_map,
			w->map, l[i].bias, w->offset, l[i].scale, shift_of(w->block) - 6,
			w->nested_block ? shift_of(w->nested_block) : -1, static_cast<const uint16_t *>(l[i].plus),
			static_cast<const uint16_t *>(l[i].s), static_cast<const uint16_t *>(l[i].b),
			static_cast<uint16_t *>(l[i].y), w->rows, l[i].lds ? l[i].lds : l[i].rank, l[i].rank,
			blocks };
		blocks += static_cast<int>(ceil_div(w->rows, ROWS));
	}
	g.n = n;
	g.x = static_cast<const uint16_t *>(x);
	g.cols = l->w.cols;
	g.t = static_cast<int>(t);
	qz_cuda_part(d, "x W from codes");
	if (t <= TILE)
		start<1, 16>(d, g, blocks);
	else if (t <= 2 * TILE)
		start<2, 8>(d, g, blocks);
	else if (t <= 4 * TILE)
		start<4, 8>(d, g, blocks);
	else
		start<8, 8>(d, g, blocks);
}

ACT_END
