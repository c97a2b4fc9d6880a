/* few_one: one or two tokens.  A block takes groups of 16 rows that lie together, a share of all; its warps share out the
 * units of these, 256 columns of a group each (few_ring.cuh), one behind the other, so that a warp's share begins and ends
 * anywhere.  What a warp has of a group it leaves in shared memory; at the end all of them are added, in order.
 *
 * Of a unit, lane 4 g + t has block t of the rows g and g + 8.  A product sums over the lanes, of four blocks at once, whose
 * constants differ; but it has room for eight tokens.  So its columns 2 j and 2 j + 1 are the tokens at block j, and x is 0
 * at the other blocks: what lane 4 g + t gets is of block t, and it has the constants for that.
 *
 * A byte of codes is looked up with one instruction for its address where the entries of the table lie 256 bytes apart: it is
 * a byte of the address. */
#include "kernels/cuda/few_ring.cuh"

ACT_BEGIN

enum { MOST = 64 /* groups at a time */, TOKENS = 2, WORDS = BLOCK / 2 /* pairs of x in a block */ };

/* N warps; the table's entries lie STRIDE bytes apart. */
template <int N, int STRIDE>
struct one_shared {
	uint32_t table[256][STRIDE / 4];
	float nested[FEW_GROUP][256];
	float sum[MOST + N][ROWS][TOKENS]; /* of each group, of each warp that has some of it */
	uint8_t ring[N][RING * UNIT];
};

/* Eight lanes write an entry, four copies each.  value: that of code lane % 16. */
template <int N, int STRIDE>
static __device__ inline void
fill_table(struct one_shared<N, STRIDE> *m, float value)
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int i = threadIdx.x / 32 * 4; i < 256; i += N * 4) {
		int entry = i + lane / 8;
		float even = __shfl_sync(0xffffffff, value, entry >> 4), odd = __shfl_sync(0xffffffff, value, entry & 15);
		uint32_t pair = pack2(even, odd);

		*reinterpret_cast<uint4 *>(&m->table[entry][lane % 8 * 4]) = make_uint4(pair, pair, pair, pair);
	}
}

/* Byte i of codes as two numbers; lane: where the lane's copy of an entry lies. */
template <int STRIDE>
static __device__ inline uint32_t
look_up(const uint32_t (*table)[STRIDE / 4], uint32_t lane, uint32_t codes, int i)
{
	uint32_t at = STRIDE == 256 ? __byte_perm(codes, lane, 0x7604 | i << 4)
	                            : __byte_perm(codes, 0, 0x4440 | i) * STRIDE + lane;

	return *reinterpret_cast<const uint32_t *>(reinterpret_cast<const uint8_t *>(table) + at);
}

/* A warp's unit: four blocks of 16 rows.  `left` units from this one on are the warp's. */
struct spot {
	int which, row, block, left;
};

static __device__ inline struct spot
spot_of(const struct few_job &g, int group, int unit, int left)
{
	struct spot s = { 0, 0, unit * BLOCKS, left };

	while (s.which + 1 < g.n && group >= g.l[s.which + 1].begin)
		s.which++;
	s.row = (group - g.l[s.which].begin) * ROWS;
	return s;
}

/* The next unit; is it of another group? */
static __device__ inline bool
go_on(struct spot &s, const struct few_job &g)
{
	s.left--;
	s.block += BLOCKS;
	if (s.block < g.blocks)
		return false;
	s.block = 0;
	s.row += ROWS;
	if (s.row >= g.l[s.which].rows && s.which + 1 < g.n) {
		s.which++;
		s.row = 0;
	}
	return true;
}

/* Where a lane reads a unit: 16 bytes of each fourth row, the first one's and how far the others are from it; and of
 * the constants of block t those of the rows g and g + 8.  For a row that is not there it is the last one. */
struct reader {
	struct spot s;
	const uint8_t *codes;
	uint32_t far[PIECES - 1], at[2];
};

static __device__ inline void
find_rows(struct reader &r, const struct few_job &g)
{
	const struct few_part &l = g.l[r.s.which];
	int lane = threadIdx.x % 32, last = static_cast<int>(l.rows) - 1, row = min(r.s.row + lane / 8, last);

	r.codes = l.codes + (static_cast<uint64_t>(row) * g.blocks + r.s.block) * (BLOCK / 2) + lane % 8 * 16;
#pragma unroll
	for (int i = 1; i < PIECES; i++)
		r.far[i - 1] = static_cast<uint32_t>(min(4 * i, last - row) * g.blocks * (BLOCK / 2));
#pragma unroll
	for (int i = 0; i < 2; i++)
		r.at[i] = static_cast<uint32_t>(min(r.s.row + lane / 4 + 8 * i, last)) * g.blocks + r.s.block + lane % 4;
}

static __device__ inline void
go_on(struct reader &r, const struct few_job &g)
{
	r.codes += ROW;
	r.at[0] += BLOCKS;
	r.at[1] += BLOCKS;
	if (go_on(r.s, g) && r.s.left > 0)
		find_rows(r, g);
}

/* The unit is on its way, if it is one; blocks that are not there are 0. */
static __device__ inline void
bring_unit(struct hands &h, uint8_t *slot, struct raw &c, const struct reader &r, const struct few_job &g)
{
	if (r.s.left > 0) {
		const struct few_part &l = g.l[r.s.which];
		int lane = threadIdx.x % 32, blocks = g.blocks - r.s.block;

#pragma unroll
		for (int i = 0; i < PIECES; i++)
			bring_piece(h, slot, i, r.codes + (i ? r.far[i - 1] : 0), lane % 8 / 2 < blocks);
		if (lane % 4 < blocks)
#pragma unroll
			for (int i = 0; i < 2; i++)
				read_constant(&c.scale[i], &c.code[i], l, r.at[i]);
	}
	copy_group();
}

/* The lane's constants of the unit at hand, 0 for a block that is not there. */
static __device__ inline void
find_constants(float constant[2], const float nested[][256], const struct raw &c, const struct spot &s, const struct few_job &g)
{
	bool there = s.block + static_cast<int>(threadIdx.x) % 4 < g.blocks;

#pragma unroll
	for (int i = 0; i < 2; i++) {
		float f = constant_of(nested[s.which], g.l[s.which], c.scale[i], c.code[i]);

		constant[i] = there ? f : 0;
	}
}

/* x of the unit: token g % 2 at block g / 2, in the lane that has this block; the other lanes' stays 0. */
static __device__ inline void
read_input(uint32_t x[WORDS], const struct few_job &g, int block)
{
	int lane = threadIdx.x % 32, token = lane / 4 % TOKENS;
	const uint4 *from = reinterpret_cast<const uint4 *>(g.x + token * g.cols + (block + lane % 4) * BLOCK);

	if (lane / 8 == lane % 4 && token < g.t && block + lane % 4 < g.blocks)
#pragma unroll
		for (int i = 0; i < WORDS / 4; i++) {
			x[4 * i] = from[i].x;
			x[4 * i + 1] = from[i].y;
			x[4 * i + 2] = from[i].z;
			x[4 * i + 3] = from[i].w;
		}
}

/* The lane's block of a row: at: its first 16 bytes. */
static __device__ inline void
read_block(uint32_t codes[8], const uint8_t *unit, int at)
{
	uint4 low = *reinterpret_cast<const uint4 *>(unit + at), high = *reinterpret_cast<const uint4 *>(unit + (at ^ 16));

	codes[0] = low.x;
	codes[1] = low.y;
	codes[2] = low.z;
	codes[3] = low.w;
	codes[4] = high.x;
	codes[5] = high.y;
	codes[6] = high.z;
	codes[7] = high.w;
}

/* y += a unit's share. */
template <int STRIDE>
static __device__ inline void
multiply_unit(float y[4], const uint8_t *unit, const uint32_t (*table)[STRIDE / 4], const float constant[2],
    const uint32_t x[WORDS])
{
	int lane = threadIdx.x % 32, at = lane / 4 * ROW + (lane % 4 * 2 ^ swizzle(lane / 4)) * 16;
	uint32_t up[8], down[8];
	float c[2][4] = {};

	read_block(up, unit, at);
	read_block(down, unit, at + 8 * ROW);
#pragma unroll
	for (int k = 0; k < WORDS / 2; k++) {
		uint32_t a[4];

#pragma unroll
		for (int i = 0; i < 2; i++) {
			a[2 * i] = look_up<STRIDE>(table, lane * 4, up[k / 2], k % 2 * 2 + i);
			a[2 * i + 1] = look_up<STRIDE>(table, lane * 4, down[k / 2], k % 2 * 2 + i);
		}
		mma(c[k % 2], a, x[2 * k], x[2 * k + 1]);
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		y[i] = fmaf(constant[i / 2], c[0][i] + c[1][i], y[i]);
}

/* What the warp has of a group, over the blocks; y begins again. */
static __device__ inline void
leave_sum(float sum[ROWS][TOKENS], float y[4])
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		y[i] += __shfl_xor_sync(0xffffffff, y[i], 1);
		y[i] += __shfl_xor_sync(0xffffffff, y[i], 2);
		if (lane % 4 == 0)
			sum[lane / 4 + i / 2 * 8][i % 2] = y[i];
		y[i] = 0;
	}
}

/* Groups of a block that are taken at a time: their weights have the same map. */
struct share {
	int first, n;
};

static __device__ inline bool
same_map(const struct few_part &a, const struct few_part &b)
{
	int i = threadIdx.x % 16;

	return a.map == b.map ||
	    __all_sync(0xffffffff, __float_as_uint(a.map[i]) == __float_as_uint(b.map[i]));
}

static __device__ inline struct share
find_share(const struct few_job &g, int first, int end)
{
	struct spot s = spot_of(g, first, 0, 0);
	struct share r = { first, end - first < MOST ? end - first : MOST };

	for (int i = s.which + 1; i < g.n; i++)
		if (g.l[i].begin < first + r.n && !same_map(g.l[s.which], g.l[i]))
			r.n = g.l[i].begin - first;
	return r;
}

/* Unit of the share at which warp w of N begins. */
template <int N>
static __device__ inline int
begin_of(const struct share &r, int units, int w)
{
	return static_cast<int>(static_cast<int64_t>(r.n) * units * w / N);
}

/* Warp w's units of the share, and how many. */
template <int N>
static __device__ inline struct spot
units_of(const struct few_job &g, const struct share &r, int units, int w)
{
	int begin = begin_of<N>(r, units, w);

	return spot_of(g, r.first + begin / units, begin % units, begin_of<N>(r, units, w + 1) - begin);
}

/* The share's units are multiplied; a sum of a group and warp lies at the group's number plus the warp's. */
template <int N, int STRIDE>
static __device__ inline void
multiply_share(struct one_shared<N, STRIDE> *m, const struct few_job &g, const struct share &r, int units)
{
	int w = threadIdx.x / 32, slot = 0, at = begin_of<N>(r, units, w) / units + w;
	struct spot s = units_of<N>(g, r, units, w);
	struct reader ahead = { s, NULL, {}, {} };
	uint32_t x[WORDS] = {};
	struct raw c[AHEAD + 1] = {};
	struct hands h;
	float y[4] = {}, value = g.l[s.which].map[threadIdx.x % 16];

	find_rows(ahead, g);
#pragma unroll
	for (int i = 0; i < AHEAD; i++) {
		bring_unit(h, m->ring[w] + i * UNIT, c[i], ahead, g);
		go_on(ahead, g);
	}
	fill_table(m, value);
	for (int i = threadIdx.x; i < g.n * 256; i += N * 32)
		if (g.l[i / 256].nested_block >= 0)
			m->nested[i / 256][i % 256] = g.l[i / 256].nested_map[i % 256];
	__syncthreads();
	while (s.left > 0) {
		float constant[2];
		uint8_t *unit = m->ring[w] + slot * UNIT;

		read_input(x, g, s.block);
		find_constants(constant, m->nested, c[0], s, g);
		settle(h, unit);
		bring_unit(h, m->ring[w] + (slot ? slot - 1 : RING - 1) * UNIT, c[AHEAD], ahead, g);
		go_on(ahead, g);
#pragma unroll
		for (int i = 0; i < AHEAD; i++)
			c[i] = c[i + 1];
		multiply_unit<STRIDE>(y, unit, m->table, constant, x);
		slot = slot + 1 < RING ? slot + 1 : 0;
		if (go_on(s, g) || !s.left)
			leave_sum(m->sum[at++], y);
	}
	copy_wait<0>();
	__syncthreads();
}

/* y of the share's rows: the sums of the warps that had some of a group, in order. */
template <int N, int STRIDE>
static __device__ inline void
put_share(const struct one_shared<N, STRIDE> *m, const struct few_job &g, const struct share &r, int units)
{
	for (int i = threadIdx.x; i < r.n * ROWS * g.t; i += N * 32) {
		int row = i % ROWS, token = i / ROWS % g.t, group = i / ROWS / g.t;
		struct spot s = spot_of(g, r.first + group, 0, 0);
		float sum = 0;

		for (int w = 0; w < N; w++) {
			int begin = max(begin_of<N>(r, units, w), group * units);

			if (begin < min(begin_of<N>(r, units, w + 1), (group + 1) * units))
				sum += m->sum[group + w][row][token];
		}
		if (s.row + row < g.l[s.which].rows)
			put_sum(g.l[s.which], sum, s.row + row, token);
	}
}

/* What is read before start_early() is a hint alone. */
template <int N, int STRIDE>
static __global__ void __launch_bounds__(32 * N, 1)
few_one(const __grid_constant__ struct few_job g)
{
	extern __shared__ uint4 memory[];
	struct one_shared<N, STRIDE> *m = reinterpret_cast<struct one_shared<N, STRIDE> *>(memory);
	int units = (g.blocks + BLOCKS - 1) / BLOCKS;
	int first = static_cast<int>(static_cast<int64_t>(g.groups) * blockIdx.x / gridDim.x);
	int end = static_cast<int>(static_cast<int64_t>(g.groups) * (blockIdx.x + 1) / gridDim.x);
	struct share r = { first, end - first < MOST ? end - first : MOST };
	struct spot s = units_of<N>(g, r, units, threadIdx.x / 32);

	for (int i = 0; i < AHEAD; i++) {
		expect(g.l[s.which], s.left > 0 ? s.row : 1 << 24, s.block, g);
		go_on(s, g);
	}
	start_early();
	for (; first < end; first += r.n) {
		r = find_share(g, first, end);
		multiply_share(m, g, r, units);
		put_share(m, g, r, units);
		__syncthreads();
	}
}

template <int N, int STRIDE>
static void
start(struct qz_dev *d, const struct few_job *g)
{
	size_t shared = sizeof(struct one_shared<N, STRIDE>);
	auto kernel = few_one<N, STRIDE>;

	qz_cuda_rc(d, "shared memory",
	    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
	launch<EARLY>(d, kernel, qz_cuda_grid(d, kernel, 32 * N, g->groups, shared), 32 * N, shared, *g);
}

void
qz_cuda_few_one(struct qz_dev *d, struct few_job *g)
{
	count_groups(g, ROWS);
	if (static_cast<size_t>(cuda_dev(d)->shared) >= sizeof(struct one_shared<16, 256>))
		start<16, 256>(d, g);
	else
		start<8, 128>(d, g);
}

ACT_END
