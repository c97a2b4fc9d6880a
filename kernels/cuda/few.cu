/* few: a block takes a group of rows of a weight after another; its warps share out the columns, 256 at a time, and add up
 * in order.  While a warp computes, the codes that it takes next are on their way, those of the next group too.  Groups are
 * of R times 16 rows: 16 for up to 16 tokens, so that there are many warps, 32 for more, so that x is read less often.
 *
 * A byte of codes becomes a pair of activations by one lookup in a table that has a copy in each bank.  The
 * table holds the map alone: the block constant multiplies what 64 columns of a row give.  A product runs over
 * columns, whose order is free: of 64 columns lane 4 g + t has 16 t .. 16 t + 16, eight bytes of codes of the
 * rows g, g + 8, ... and 32 bytes of x of the tokens g, g + 8, ... */
#include <cstring>

#include "kernels/cuda/few.cuh"
#include "kernels/cuda/mma.cuh"

ACT_BEGIN

enum { ROWS = 16, BLOCK = 64, BLOCKS = 4, TILE = 8 /* tokens */, WARPS = 8 };

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
	int rank, begin; /* the first of its groups of rows */
};

struct job {
	struct part l[FEW_GROUP];
	const uint16_t *x;
	int64_t cols;
	int n, t, groups, blocks; /* of rows, of all; of 64 columns */
};

template <int R>
struct shared {
	uint32_t table[256][32];
	float sum[WARPS][R * ROWS][TILE + 1];
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

/* What a lane reads of a chunk of columns: codes of 2 R rows in each block; and what makes the constants of block t of the
 * chunk for these rows, which it hands to its neighbours. */
template <int R>
struct chunk {
	uint2 codes[BLOCKS][2 * R];
	float scale[2 * R]; /* the constant, or of the nested block */
	uint8_t code[2 * R];
};

/* A warp's chunk, and where a lane reads it: rows g + 8 i of the group, or the last one there is. */
template <int R>
struct place {
	int group, which, block;
	const uint8_t *codes[2 * R]; /* of the chunk's first block */
	uint32_t first[2 * R];       /* 64 columns of the weight before the row */
};

template <int R>
static __device__ inline void
find_rows(struct place<R> &p, const struct job &g)
{
	int lane = threadIdx.x % 32;

	while (p.which + 1 < g.n && p.group >= g.l[p.which + 1].begin)
		p.which++;
	const struct part &l = g.l[p.which];
#pragma unroll
	for (int i = 0; i < 2 * R; i++) {
		int64_t row = static_cast<int64_t>(p.group - l.begin) * R * ROWS + lane / 4 + 8 * i;

		row = row < l.rows ? row : l.rows - 1;
		p.first[i] = static_cast<uint32_t>(row * g.blocks);
		p.codes[i] = l.codes + (row * g.blocks + p.block) * (BLOCK / 2) + lane % 4 * 8;
	}
}

static __device__ inline int
first_block(void)
{
	return static_cast<int>(threadIdx.x) / 32 * BLOCKS;
}

/* The warp's next chunk of the row, or its first of the block's next group. */
template <int R>
static __device__ inline void
go_on(struct place<R> &p, const struct job &g)
{
	int step = static_cast<int>(blockDim.x) / 32 * BLOCKS;

	p.block += step;
	if (p.block < g.blocks) {
#pragma unroll
		for (int i = 0; i < 2 * R; i++)
			p.codes[i] += step * (BLOCK / 2);
		return;
	}
	p.group += static_cast<int>(gridDim.x);
	p.block = first_block();
	if (p.group < g.groups)
		find_rows(p, g);
}

/* Block j of the chunk, when it is one of the row's. */
template <int R>
static __device__ inline void
read_block(uint2 codes[2 * R], const struct place<R> &p, const struct job &g, int j)
{
	bool there = p.group < g.groups && p.block + j < g.blocks;

#pragma unroll
	for (int i = 0; i < 2 * R; i++)
		if (there)
			codes[i] = load_codes(p.codes[i] + j * (BLOCK / 2));
}

template <int R>
static __device__ inline void
read_constants(float scale[2 * R], uint8_t code[2 * R], const struct place<R> &p, const struct job &g)
{
	const struct part &l = g.l[p.which];
	int block = p.block + static_cast<int>(threadIdx.x) % 4;

#pragma unroll
	for (int i = 0; i < 2 * R; i++) {
		uint32_t at = (p.first[i] + static_cast<uint32_t>(block)) >> l.block;

		if (p.group >= g.groups || block >= g.blocks)
			continue;
		if (l.nested_block < 0) {
			scale[i] = static_cast<const float *>(l.absmax)[at];
		} else {
			code[i] = static_cast<const uint8_t *>(l.absmax)[at];
			scale[i] = l.nested[at >> l.nested_block];
		}
	}
}

static __device__ inline float
constant_of(const float nested[256], const struct part &l, float scale, uint8_t code)
{
	return l.nested_block < 0 ? scale : fmaf(nested[code], scale, l.offset);
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

template <int R>
static __device__ inline void
decode(uint32_t a[R][4][4], uint32_t at, const uint2 codes[2 * R])
{
#pragma unroll
	for (int r = 0; r < R; r++)
#pragma unroll
		for (int k = 0; k < 4; k++)
#pragma unroll
			for (int i = 0; i < 4; i++)
				a[r][k][i] = pair_of(at, codes[2 * r + i % 2], 2 * k + i / 2);
}

/* A lane's columns of a block of x, of each eighth token. */
template <int TILES>
struct numbers {
	uint4 low[TILES], high[TILES];
};

/* x at the lane's columns of token g. */
template <int TILES>
static __device__ inline void
read_numbers(struct numbers<TILES> &x, const uint16_t *at, int64_t cols, int t)
{
	int token = threadIdx.x % 32 / 4;

#pragma unroll
	for (int n = 0; n < TILES; n++, token += TILE, at += TILE * cols) {
		x.low[n] = x.high[n] = make_uint4(0, 0, 0, 0);
		if (token < t) {
			x.low[n] = reinterpret_cast<const uint4 *>(at)[0];
			x.high[n] = reinterpret_cast<const uint4 *>(at)[1];
		}
	}
}

/* y += constants times a x of a block of columns and eight tokens. */
static __device__ inline void
multiply(float y[4], const uint32_t a[4][4], const float constant[2], uint4 low, uint4 high)
{
	float c[4] = {};

	mma(c, a[0], low.x, low.y);
	mma(c, a[1], low.z, low.w);
	mma(c, a[2], high.x, high.y);
	mma(c, a[3], high.z, high.w);
#pragma unroll
	for (int i = 0; i < 4; i++)
		y[i] = fmaf(constant[i / 2], c[i], y[i]);
}

/* The same of all tokens: of few x is read before the codes become numbers, of many, for which there are not the registers,
 * tile by tile after that. */
template <int TILES, int R>
static __device__ inline void
multiply_block(float y[R][TILES][4], uint32_t table, uint2 codes[2 * R], const struct place<R> &next, const struct job &g,
    int j, bool there, const float constant[2 * R], const uint16_t *x)
{
	constexpr int EARLIER = TILES <= 2 ? TILES : 1;
	struct numbers<EARLIER> v;
	uint32_t a[R][4][4];

	if (TILES == EARLIER)
		read_numbers(v, x, g.cols, there ? g.t : 0);
	decode<R>(a, table, codes);
	read_block(codes, next, g, j);
	if (!there)
		return;
#pragma unroll
	for (int n = 0; n < TILES; n++) {
		int at = TILES == EARLIER ? n : 0;

		if (TILES != EARLIER)
			read_numbers(v, x + n * TILE * g.cols, g.cols, g.t - n * TILE);
#pragma unroll
		for (int r = 0; r < R; r++)
			multiply(y[r][n], a[r], constant + 2 * r, v.low[at], v.high[at]);
	}
}

template <int R>
static __device__ inline void
fill_tables(struct shared<R> *m, const struct part &l)
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
template <int R>
static __device__ inline void
put(const struct shared<R> *m, const struct part &l, int64_t row0, int i, int first, int t)
{
	int token = first + i / (R * ROWS);
	int64_t row = row0 + i % (R * ROWS);
	float sum = 0, low = 0;

	if (row >= l.rows || token >= t)
		return;
#pragma unroll
	for (unsigned w = 0; w < WARPS; w++)
		sum += w < blockDim.x / 32 ? m->sum[w][i % (R * ROWS)][i / (R * ROWS)] : 0;
#pragma unroll 8
	for (int k = 0; k < l.rank; k++)
		low = fmaf(act_load(l.s[token * l.lds + k]), act_load(l.b[row * l.rank + k]), low);
	sum = fmaf(l.scale, low, sum);
	if (l.bias)
		sum += l.bias[row];
	if (l.plus)
		sum += act_load(l.plus[token * l.rows + row]);
	l.y[token * l.rows + row] = act_round(sum);
}

/* What the warps have of a group of rows; y begins again. */
template <int TILES, int R>
static __device__ inline void
add_up(float y[R][TILES][4], struct shared<R> *m, const struct part &l, int64_t row0, int t)
{
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

#pragma unroll
	for (int n = 0; n < TILES; n++) {
		if (n * TILE >= t)
			break;
		__syncthreads();
#pragma unroll
		for (int r = 0; r < R; r++)
#pragma unroll
			for (int i = 0; i < 4; i++) {
				m->sum[warp][16 * r + lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = y[r][n][i];
				y[r][n][i] = 0;
			}
		__syncthreads();
#pragma unroll 1
		for (int i = threadIdx.x; i < R * ROWS * TILE; i += blockDim.x)
			put(m, l, row0, i, n * TILE, t);
	}
}

template <int TILES, int R, int EACH>
static __global__ void __launch_bounds__(32 * WARPS, EACH)
few(const __grid_constant__ struct job g)
{
	start_early();

	__shared__ struct shared<R> memory;
	struct shared<R> *m = &memory;
	int lane = threadIdx.x % 32, which = 0;
	float y[R][TILES][4] = {};
	struct place<R> p = { static_cast<int>(blockIdx.x), 0, first_block(), {}, {} };
	struct chunk<R> c = {};
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
		const struct part &l = g.l[which];
		int group = p.group, block = p.block;
		const uint16_t *x = g.x + lane / 4 * g.cols + block * BLOCK + lane % 4 * 16;
		float constants[2 * R];

#pragma unroll
		for (int i = 0; i < 2 * R; i++)
			constants[i] = constant_of(m->nested, l, c.scale[i], c.code[i]);
		go_on(p, g);
		read_constants(c.scale, c.code, p, g);
#pragma unroll
		for (int j = 0; j < BLOCKS; j++) {
			float constant[2 * R];

#pragma unroll
			for (int i = 0; i < 2 * R; i++)
				constant[i] = __shfl_sync(0xffffffff, constants[i], (lane & ~3) + j);
			multiply_block<TILES, R>(y, table, c.codes[j], p, g, j, block + j < g.blocks, constant, x + j * BLOCK);
			if (TILES > 2) /* the next block's x waits, or there are not the registers */
				__syncwarp();
		}
		if (p.group == group)
			continue;
		add_up<TILES, R>(y, m, l, static_cast<int64_t>(group - l.begin) * R * ROWS, g.t);
		if (p.which != which && p.group < g.groups) {
			which = p.which;
			fill_tables(m, g.l[which]);
			__syncthreads();
		}
	}
}

/* Warps of a block: no more rounds than WARPS would need, and no warp idle in the last one if it can be.  EACH: blocks on a
 * multiprocessor, at least. */
template <int TILES, int R, int EACH>
static void
start(struct qz_dev *d, struct job *g)
{
	int64_t chunks = ceil_div(g->blocks, BLOCKS), warps = ceil_div(chunks, ceil_div(chunks, WARPS));
	int threads = static_cast<int>(32 * warps);
	auto kernel = few<TILES, R, EACH>;

	for (int i = 0; i < g->n; i++) {
		g->l[i].begin = g->groups;
		g->groups += static_cast<int>(ceil_div(g->l[i].rows, R * ROWS));
	}
	launch<EARLY>(d, kernel, qz_cuda_grid(d, kernel, threads, g->groups), static_cast<unsigned>(threads), 0, *g);
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
	struct job g;

	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++) {
		const struct qz_mat *w = &l[i].w;

		g.l[i] = { static_cast<const uint8_t *>(w->data), w->absmax, w->nested_absmax, w->nested_map,
			w->map, l[i].bias, w->offset, l[i].scale, shift_of(w->block) - 6,
			w->nested_block ? shift_of(w->nested_block) : -1, static_cast<const uint16_t *>(l[i].plus),
			static_cast<const uint16_t *>(l[i].s), static_cast<const uint16_t *>(l[i].b),
			static_cast<uint16_t *>(l[i].y), w->rows, l[i].lds ? l[i].lds : l[i].rank, l[i].rank, 0 };
	}
	g.n = n;
	g.x = static_cast<const uint16_t *>(x);
	g.cols = l->w.cols;
	g.blocks = static_cast<int>(g.cols / BLOCK);
	g.t = static_cast<int>(t);
	qz_cuda_part(d, "x W from codes");
	if (t <= TILE)
		start<1, 1, 3>(d, &g);
	else if (t <= 2 * TILE)
		start<2, 1, 2>(d, &g);
	else if (t <= 4 * TILE)
		start<4, 2, 1>(d, &g);
	else
		start<8, 2, 1>(d, &g);
}

ACT_END
