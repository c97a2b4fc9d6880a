/* few_part - what the kernels for a few tokens share: projections, the table of codes, the products of a block of 64
 * columns, the sums over the warps.
 *
 * A byte of codes becomes a pair of activations by one lookup in a table that has a copy in each bank.  The
 * table holds the map alone: the block constant multiplies what 64 columns of a row give.  A product runs over
 * columns, whose order is free: of 64 columns lane 4 g + t has 16 t .. 16 t + 16, eight bytes of codes of the
 * rows g, g + 8, ... and 32 bytes of x of the tokens g, g + 8, ... */
#ifndef QZ_CUDA_FEW_PART_CUH
#define QZ_CUDA_FEW_PART_CUH

#include "kernels/cuda/few.cuh"
#include "kernels/cuda/mma.cuh"

ACT_BEGIN

enum { ROWS = 16, BLOCK = 64, BLOCKS = 4, TILE = 8 /* tokens */, WARPS = 8, PAIR = 2 /* groups of rows */ };

/* One projection. */
struct few_part {
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

struct few_job {
	struct few_part l[FEW_GROUP];
	const uint16_t *x;
	int64_t cols;
	int n, t, groups, blocks; /* of rows, of all; of 64 columns */
};

/* Queues one of the kernels: up to FEW_ONE tokens, up to FEW_SOME, and more. */
void qz_cuda_few_one(struct qz_dev *d, struct few_job *g);
void qz_cuda_few_some(struct qz_dev *d, struct few_job *g);
void qz_cuda_few_many(struct qz_dev *d, struct few_job *g);
#ifndef QZ_CUDA_F16
/* From 9 tokens on, of many rows, in bfloat16 on Hopper; false: it is not for this job. */
bool qz_cuda_few_90(struct qz_dev *d, struct few_job *g);
#endif

/* Groups of n rows, numbered through all projections. */
static inline void
count_groups(struct few_job *g, int n)
{
	for (int i = 0; i < g->n; i++) {
		g->l[i].begin = g->groups;
		g->groups += static_cast<int>(ceil_div(g->l[i].rows, n));
	}
}

/* Threads of a block: no more rounds than WARPS warps would need, and no warp idle in the last one if it can be. */
static inline int
count_threads(const struct few_job *g)
{
	int64_t chunks = ceil_div(g->blocks, BLOCKS);

	return static_cast<int>(32 * ceil_div(chunks, ceil_div(chunks, WARPS)));
}

struct few_shared {
	uint32_t table[256][32];
	float sum[WARPS][PAIR * ROWS][TILE + 1];
	float nested[256];
};

static __device__ inline int
first_block(void)
{
	return static_cast<int>(threadIdx.x) / 32 * BLOCKS;
}

/* What makes the constant of block `at` of the weight's blocks of 64. */
static __device__ inline void
read_constant(float *scale, uint8_t *code, const struct few_part &l, uint32_t at)
{
	at >>= l.block;
	if (l.nested_block < 0) {
		*scale = static_cast<const float *>(l.absmax)[at];
	} else {
		*code = static_cast<const uint8_t *>(l.absmax)[at];
		*scale = l.nested[at >> l.nested_block];
	}
}

static __device__ inline float
constant_of(const float nested[256], const struct few_part &l, float scale, uint8_t code)
{
	return l.nested_block < 0 ? scale : fmaf(nested[code], scale, l.offset);
}

/* Byte i of a lane's codes as two numbers; at: the address of the lane's first entry in the table. */
static __device__ inline uint32_t
pair_of(uint32_t at, uint2 codes, int i)
{
	return shared_load(at + __byte_perm(i < 4 ? codes.x : codes.y, 0, 0x4440 + i % 4) * sizeof(uint32_t[32]));
}

/* Codes of the rows g and g + 8. */
static __device__ inline void
decode(uint32_t a[4][4], uint32_t at, const uint2 codes[2])
{
#pragma unroll
	for (int k = 0; k < 4; k++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			a[k][i] = pair_of(at, codes[i % 2], 2 * k + i / 2);
}

/* a x of a block of columns and eight tokens. */
static __device__ inline void
product(float c[4], const uint32_t a[4][4], uint4 low, uint4 high)
{
	mma(c, a[0], low.x, low.y);
	mma(c, a[1], low.z, low.w);
	mma(c, a[2], high.x, high.y);
	mma(c, a[3], high.z, high.w);
}

/* y += constants times c. */
static __device__ inline void
add(float y[4], const float constant[2], const float c[4])
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		y[i] = fmaf(constant[i / 2], c[i], y[i]);
}

static __device__ inline void
fill_tables(struct few_shared *m, const struct few_part &l)
{
	float value = l.map[threadIdx.x % 16];

	for (unsigned i = threadIdx.x / 32; i < 256; i += blockDim.x / 32) {
		float even = __shfl_sync(0xffffffff, value, i >> 4), odd = __shfl_sync(0xffffffff, value, i & 15);

		m->table[i][threadIdx.x % 32] = pack2(even, odd);
	}
	for (int i = threadIdx.x; l.nested_block >= 0 && i < 256; i += blockDim.x)
		m->nested[i] = l.nested_map[i];
}

/* What a lane has of rows 16 r .. 16 r + 16 of the sums. */
static __device__ inline void
put_sums(struct few_shared *m, int r, const float y[4])
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int i = 0; i < 4; i++)
		m->sum[threadIdx.x / 32][16 * r + lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = y[i];
}

/* y of a row and a token: `sum`, and what is added to it. */
static __device__ inline void
put_sum(const struct few_part &l, float sum, int64_t row, int token)
{
	float low = 0;

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

/* The same of row i of the sums over the warps. */
static __device__ inline void
put(const struct few_shared *m, const struct few_part &l, int64_t row, int i, int token)
{
	float sum = 0;

#pragma unroll
	for (unsigned w = 0; w < WARPS; w++)
		sum += w < blockDim.x / 32 ? m->sum[w][i][token % TILE] : 0;
	put_sum(l, sum, row, token);
}

ACT_END

#endif
