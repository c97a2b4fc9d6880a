/* few_90: 9 to 64 tokens, on Hopper, of weights with rows for all multiprocessors.  A block has 256 rows of a weight.
 *
 * One warp brings codes and x of 256 columns at a time into one of STAGES places; the warpgroups decode their rows as the first factor of a product, which
 * is in registers, and x is the second one, out of shared memory.  A product of 64 columns has a sum of its own, which the
 * blocks' constants are multiplied with; while it is under way the next 64 are decoded.
 *
 * Of 16 columns, eight bytes of a row, a lane has bytes t and t + 4: four lanes read the same bytes, and each takes its
 * own out of them when it makes the address of an entry (few_one.cu). */
#include "kernels/cuda/few_part.cuh"
#include "kernels/cuda/tensor_map.cuh"
#include "kernels/cuda/wgmma.cuh"

enum { HIGH = 256 /* rows of a block */, CODES = HIGH * 128, SHARED_ALIGN = 1024 };

/* N tokens at most; each warpgroup has M times 64 rows. */
template <int N>
struct size {
	static constexpr int M = N > 16 ? 2 : 1, WARPGROUPS = HIGH / 64 / M, THREADS = (WARPGROUPS + 1) * WARPGROUP;
	static constexpr int PANEL_X = N * PANEL_ROW, STAGE = CODES + BLOCKS * PANEL_X, STAGES = N > 32 ? 2 : 3;
	static constexpr int SUM_LD = N + 1; /* of a row of the sums */
	static constexpr int FEW_REGISTERS = M > 1 ? 40 : 24, REGISTERS = M > 1 ? 232 : 112;
};

template <int N>
struct memory {
	uint8_t stage[size<N>::STAGES][size<N>::STAGE]; /* then the sums */
	uint32_t table[256][64];                        /* the first half of each entry, a copy a bank */
	float nested[256];
	uint64_t full[size<N>::STAGES], empty[size<N>::STAGES];

	static_assert(sizeof(float) * HIGH * size<N>::SUM_LD <= sizeof stage);
};

struct maps {
	CUtensorMap codes[FEW_GROUP], x;
};

/* What a block does: rows row0 .. row0 + 256 of a projection, `chunks` times 256 columns. */
struct task {
	int which, row0, chunks;
};

static __device__ inline struct task
task_of(const struct few_job &g)
{
	int tile = static_cast<int>(blockIdx.x);
	struct task t = { 0, 0, (g.blocks + BLOCKS - 1) / BLOCKS };

	while (t.which + 1 < g.n && tile >= g.l[t.which + 1].begin)
		t.which++;
	t.row0 = (tile - g.l[t.which].begin) * HIGH;
	return t;
}

template <int N>
static __device__ inline void
feed(struct memory<N> *m, const struct maps &maps, const struct task &k)
{
	struct turn<size<N>::STAGES> t = {};

	for (int i = 0; i < k.chunks; i++, t.next()) {
		uint8_t *to = m->stage[t.stage];

		barrier_wait(m->empty + t.stage, t.parity ^ 1);
		barrier_expect(m->full + t.stage, size<N>::STAGE);
		copy_panel(to, &maps.codes[k.which], i * 64, 0, k.row0, m->full + t.stage);
		for (int j = 0; j < BLOCKS; j++)
			copy_panel(to + CODES + j * size<N>::PANEL_X, &maps.x, (i * BLOCKS + j) * BLOCK, 0, 0,
			    m->full + t.stage);
	}
}

/* Eight lanes write an entry, four copies each. */
template <int N>
static __device__ inline void
fill_table(struct memory<N> *m, const struct few_part &l)
{
	int lane = threadIdx.x % 32, warps = size<N>::THREADS / 32;
	float value = l.map[lane % 16];

	for (int i = threadIdx.x / 32 * 4; i < 256; i += warps * 4) {
		int entry = i + lane / 8;
		float even = __shfl_sync(0xffffffff, value, entry >> 4), odd = __shfl_sync(0xffffffff, value, entry & 15);
		uint32_t pair = pack2(even, odd);

		*reinterpret_cast<uint4 *>(&m->table[entry][lane % 8 * 4]) = make_uint4(pair, pair, pair, pair);
	}
	for (int i = threadIdx.x; l.nested_block >= 0 && i < 256; i += size<N>::THREADS)
		m->nested[i] = l.nested_map[i];
}

/* 64 columns of the rows g and g + 8 of 16: four steps of 16.  at: the lane's byte of a word, as __byte_perm() wants it. */
static __device__ inline void
decode_block(uint32_t a[4][4], const uint32_t (*table)[64], const uint8_t *rows, int block, uint32_t lane, uint32_t at)
{
	int swizzled = threadIdx.x % 32 / 4;

#pragma unroll
	for (int half = 0; half < 2; half++)
#pragma unroll
		for (int low = 0; low < 2; low++) { /* row g, row g + 8 */
			uint4 v = *reinterpret_cast<const uint4 *>(
			    rows + low * (8 * 128) + ((2 * block + half) ^ swizzled) * 16);
			uint32_t w[4] = { v.x, v.y, v.z, v.w };

#pragma unroll
			for (int i = 0; i < 4; i++) /* words 2 s and 2 s + 1 of step s */
				a[2 * half + i / 2][2 * (i % 2) + low] = *reinterpret_cast<const uint32_t *>(
				    reinterpret_cast<const uint8_t *>(table) + __byte_perm(w[i], lane, at));
		}
}

/* What makes a lane's constants of a chunk: of block t of the rows g and g + 8 of each 64. */
template <int M>
struct raw {
	float scale[M][2];
	uint8_t code[M][2];
};

template <int M>
static __device__ inline void
read_raw(struct raw<M> &c, const struct few_job &g, const struct task &k, int row, int chunk)
{
	const struct few_part &l = g.l[k.which];
	int block = min(chunk * BLOCKS + static_cast<int>(threadIdx.x) % 4, g.blocks - 1);

#pragma unroll
	for (int i = 0; i < M; i++)
#pragma unroll
		for (int h = 0; h < 2; h++) {
			int64_t r = min(static_cast<int64_t>(row + 64 * i + 8 * h), l.rows - 1);

			read_constant(&c.scale[i][h], &c.code[i][h], l, static_cast<uint32_t>(r * g.blocks + block));
		}
}

/* y += the constants of block j times c. */
template <int N>
static __device__ inline void
add_scaled(float y[N / 8][4], const float c[N / 8][4], const float constant[2], int j)
{
	float k[2];

#pragma unroll
	for (int h = 0; h < 2; h++)
		k[h] = __shfl_sync(0xffffffff, constant[h], (threadIdx.x % 32 & ~3) + j);
#pragma unroll
	for (int n = 0; n < N / 8; n++)
#pragma unroll
		for (int i = 0; i < 4; i++)
			y[n][i] = fmaf(k[i / 2], c[n][i], y[n][i]);
}

template <int N>
static __device__ inline void
multiply(struct memory<N> *m, const struct few_job &g, const struct task &k, float y[size<N>::M][N / 8][4])
{
	constexpr int M = size<N>::M, STEPS = BLOCKS * M;
	int lane = threadIdx.x % 32, warp = threadIdx.x % WARPGROUP / 32, wg = threadIdx.x / WARPGROUP;
	int row = wg * 64 * M + warp * 16 + lane / 4; /* of the block's; the others are 64 i + 8 h further */
	struct turn<size<N>::STAGES> t = {};
	struct raw<M> raw = {};
	float c[N / 8][4], constant[M][2];
	uint32_t a[2][4][4], at = 0x7604 | lane % 4 << 4;

	read_raw<M>(raw, g, k, k.row0 + row, 0);
	for (int i = 0; i < k.chunks; i++) {
		const uint8_t *codes = m->stage[t.stage] + row * 128, *x = m->stage[t.stage] + CODES;

#pragma unroll
		for (int r = 0; r < 2 * M; r++)
			constant[r / 2][r % 2] =
			    constant_of(m->nested, g.l[k.which], raw.scale[r / 2][r % 2], raw.code[r / 2][r % 2]);
		if (i + 1 < k.chunks)
			read_raw<M>(raw, g, k, k.row0 + row, i + 1);
		barrier_wait(m->full + t.stage, t.parity);
		decode_block(a[0], m->table, codes, 0, lane * 4, at);
#pragma unroll
		for (int q = 0; q < STEPS; q++) {
			uint64_t place = panel_over(x + q / M * size<N>::PANEL_X);

			wgmma_fence();
#pragma unroll
			for (int s = 0; s < 4; s++)
				wgmma_decoded<N>(c, a[q % 2][s], further(place, 32 * s), s > 0);
			wgmma_commit();
			if (q + 1 < STEPS)
				decode_block(a[(q + 1) % 2], m->table, codes + (q + 1) % M * (64 * 128), (q + 1) / M, lane * 4, at);
			wgmma_wait<0>();
			pin<N / 8>(c);
			pin<4>(a[q % 2]);
			add_scaled<N>(y[q % M], c, constant[q % M], q / M);
		}
		__syncwarp();
		if (lane == 0)
			barrier_arrive(m->empty + t.stage);
		t.next();
	}
}

/* A thread's sums to the block's memory, where the stages were. */
template <int N>
static __device__ inline void
leave_sums(float *sum, const float y[size<N>::M][N / 8][4])
{
	int lane = threadIdx.x % 32, warp = threadIdx.x % WARPGROUP / 32, wg = threadIdx.x / WARPGROUP;
	int row = wg * 64 * size<N>::M + warp * 16 + lane / 4;

#pragma unroll
	for (int i = 0; i < size<N>::M; i++)
#pragma unroll
		for (int n = 0; n < N / 8; n++)
#pragma unroll
			for (int e = 0; e < 4; e++)
				sum[(row + 64 * i + e / 2 * 8) * size<N>::SUM_LD + 8 * n + lane % 4 * 2 + e % 2] = y[i][n][e];
}

/* y is the sum and what is added to it. */
template <int N>
static __device__ inline void
put_rows(const float *sum, const struct few_job &g, const struct task &k)
{
	const struct few_part &l = g.l[k.which];

	for (int i = threadIdx.x; i < HIGH * g.t; i += size<N>::THREADS) {
		int row = i % HIGH, token = i / HIGH;

		if (k.row0 + row < l.rows)
			put_sum(l, sum[row * size<N>::SUM_LD + token], k.row0 + row, token);
	}
}

template <int N>
static __global__ void __launch_bounds__(size<N>::THREADS, 1)
few_90(const __grid_constant__ struct maps maps, const __grid_constant__ struct few_job g)
{
	extern __shared__ __align__(SHARED_ALIGN) char raw[];
	struct memory<N> *m = reinterpret_cast<struct memory<N> *>(raw);
	float *sum = reinterpret_cast<float *>(m->stage);
	int wg = __shfl_sync(0xffffffff, threadIdx.x / WARPGROUP, 0);
	struct task k = task_of(g);

	if (threadIdx.x == 0) {
		for (int i = 0; i < size<N>::STAGES; i++) {
			barrier_set(m->full + i, 1);
			barrier_set(m->empty + i, size<N>::WARPGROUPS * WARPGROUP / 32);
		}
		barrier_publish();
	}
	start_early();
	fill_table<N>(m, g.l[k.which]);
	__syncthreads();
	if (wg == size<N>::WARPGROUPS) {
		registers_down<size<N>::FEW_REGISTERS>();
		if (threadIdx.x == size<N>::WARPGROUPS * WARPGROUP)
			feed<N>(m, maps, k);
		__syncthreads();
	} else {
		float y[size<N>::M][N / 8][4] = {};

		registers_up<size<N>::REGISTERS>();
		multiply<N>(m, g, k, y);
		__syncthreads(); /* all have read the stages, and nothing is on its way to them */
		leave_sums<N>(sum, y);
	}
	__syncthreads();
	put_rows<N>(sum, g, k);
}

/* ---- the host's side ---- */

/* Is there work for most multiprocessors until the end?  Columns shared out among clusters of four and eight blocks took twice
 * as long as the other kernels take for such shapes. */
static bool
fills(int64_t blocks, int64_t at_once)
{
	return blocks * 4 >= ceil_div(blocks, at_once) * at_once * 3;
}

template <int N>
static bool
start(struct qz_dev *d, const struct few_job *g)
{
	size_t shared = sizeof(struct memory<N>);
	struct maps m = {};

	if (!qz_cuda_map(&m.x, g->x, g->cols, 1, g->t, g->cols, BLOCK, N))
		return false;
	for (int i = 0; i < g->n; i++)
		if (!qz_cuda_map(&m.codes[i], g->l[i].codes, g->cols / 4, 1, g->l[i].rows, g->cols / 4, 64, HIGH))
			return false;
	launch_large<EARLY>(d, few_90<N>, dim3(static_cast<unsigned>(g->groups)), size<N>::THREADS, shared, m, *g);
	return true;
}

bool
qz_cuda_few_90(struct qz_dev *d, struct few_job *g)
{
	if (cuda_dev(d)->cc != 90 || d->k->act_type != QZ_BF16)
		return false;
	count_groups(g, HIGH);
	if (fills(g->groups, cuda_dev(d)->sms) &&
	    (g->t <= 16 ? start<16>(d, g) : g->t <= 32 ? start<32>(d, g) : start<64>(d, g)))
		return true;
	g->groups = 0; /* they are counted again */
	return false;
}
