/* adapter - the two products of a backward pass that read dy (T, rows), in one pass over it:
 *
 *   p = scale dy B  (T, rank)      db += scale dy^T s  (rows, rank)
 *
 * dy is by far the largest of the matrices, so that the pass is bound by reading it.  A block takes STRIPE
 * columns of dy and a run of tokens, TILE at a time through shared memory: each warp multiplies a part of the
 * columns with B, for p, and keeps its own columns' rows of db in registers.  What the stripes give for p and
 * the runs give for db goes to the workspace and is added up in order by a second kernel.
 * Ranks that are multiples of 8 up to 32, all on 16 bytes; others are left to gemm. */
#include <cstring>

#include "kernels/cuda/adapter.cuh"
#include "kernels/cuda/adapter_tile.cuh"

ACT_BEGIN

enum { STAGES = 4, WARPS = 8, THREADS = 32 * WARPS };
enum { COLUMNS = STRIPE / WARPS, RANK_MAX = 32, BLOCKS_WANTED = 256, RUN_MAX = 1024, RUN_MIN = 128 };
enum { GROUP_MAX = 3 };

/* One projection, and where its shares lie: p (stripes, T, rank), db (runs, rows, rank). */
struct part {
	const uint16_t *dy, *b, *s;
	float *p, *db;
	float *db_to;
	float scale;
	int64_t rows, lds;
	int rank, stripes;
};

struct job {
	struct part l[GROUP_MAX];
	int n, runs, rank_sum;
	int64_t t, run; /* tokens, and those of a run */
	uint16_t *p_to; /* (T, rank_sum) */
};

template <int PAIRS>
struct shared {
	uint16_t dy[STAGES][TILE * PITCH];
	uint16_t s[STAGES][TILE * 16 * PAIRS];
	uint16_t b[STRIPE * 16 * PAIRS];
	float sum[WARPS][TILE * SUM_LD<PAIRS>];
};

/* What a thread brings of each tile: 16 bytes of every fourth token's stripe, and some threads of s. */
template <int PAIRS>
struct source {
	static constexpr int EVERY = THREADS / (STRIPE / 8);
	const uint16_t *dy, *s;
	int64_t dy_step, s_step; /* to the next token that this thread brings; to the next tile's of s */
	int row, col, s_row, s_col;
	bool has, has_s;

	__device__
	source(const struct part &l, int64_t t0, int64_t r0)
	    : dy_step(EVERY * l.rows), s_step(TILE * l.lds), row(threadIdx.x / (STRIPE / 8)),
	      col(threadIdx.x % (STRIPE / 8) * 8), s_row(threadIdx.x / (2 * PAIRS)), s_col(threadIdx.x % (2 * PAIRS) * 8)
	{
		has = r0 + col < l.rows;
		has_s = s_row < TILE && s_col < l.rank;
		dy = l.dy + (has ? (t0 + row) * l.rows + r0 + col : 0);
		s = l.s + (has_s ? (t0 + s_row) * l.lds + s_col : 0);
	}
};

/* The next TILE tokens, of which `left` are there: dy's stripe and s, zeros beyond the ends. */
template <int PAIRS>
static __device__ inline void
fetch(struct shared<PAIRS> *m, int slot, struct source<PAIRS> *f, int left)
{
	uint16_t *to = m->dy[slot] + f->row * PITCH + f->col;

#pragma unroll
	for (int i = 0; i < TILE; i += f->EVERY, to += f->EVERY * PITCH) {
		bool there = f->has && f->row + i < left;

		copy16(to, f->dy, there);
		f->dy += there ? f->dy_step : 0;
	}
	if (f->s_row < TILE) {
		bool there = f->has_s && f->s_row < left;

		copy16(m->s[slot] + f->s_row * 16 * PAIRS + f->s_col, f->s, there);
		f->s += there ? f->s_step : 0;
	}
}

template <int PAIRS>
static __device__ inline void
fetch_b(struct shared<PAIRS> *m, const struct part &l, int64_t r0)
{
	for (int i = threadIdx.x; i < STRIPE * 2 * PAIRS; i += THREADS) {
		int64_t row = r0 + i / (2 * PAIRS);
		int col = i % (2 * PAIRS) * 8;
		bool there = row < l.rows && col < l.rank;

		copy16(m->b + i * 8, there ? l.b + row * l.rank + col : l.b, there);
	}
}

/* This warp's rows of B, as it multiplies with them again and again. */
template <int PAIRS>
static __device__ inline void
keep_b(uint32_t b[COLUMNS / 16][PAIRS][4], const struct shared<PAIRS> *m)
{
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32, i = lane / 8, j = lane % 8;

#pragma unroll
	for (int k = 0; k < COLUMNS / 16; k++)
#pragma unroll
		for (int q = 0; q < PAIRS; q++)
			ldmatrix_trans(b[k][q],
			    m->b + (warp * COLUMNS + 16 * k + i % 2 * 8 + j) * 16 * PAIRS + 16 * q + i / 2 * 8);
}

/* The stripe's share of p for the tile's tokens, of which `left` are there: the sum over the warps. */
template <int PAIRS>
static __device__ inline void
put_p(const struct shared<PAIRS> *m, float *p, int rank, int left)
{
	for (int i = threadIdx.x; i < TILE * 16 * PAIRS; i += THREADS) {
		int row = i / (16 * PAIRS), col = i % (16 * PAIRS);

		if (row < left && col < rank)
			p[row * rank + col] = sum_of_warps<PAIRS, WARPS>(m->sum, row, col);
	}
}

template <int PAIRS>
static __device__ inline void
put_db(const float c[COLUMNS / 16][2 * PAIRS][4], const struct part &l, int64_t r0)
{
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
	float *to = l.db + static_cast<int64_t>(blockIdx.y) * l.rows * l.rank;

#pragma unroll
	for (int r = 0; r < COLUMNS / 16; r++)
#pragma unroll
		for (int q = 0; q < 2 * PAIRS; q++)
#pragma unroll
			for (int h = 0; h < 4; h++) {
				int64_t row = r0 + warp * COLUMNS + 16 * r + lane / 4 + h / 2 * 8;
				int col = 8 * q + lane % 4 * 2 + h % 2;

				if (row < l.rows && col < l.rank)
					to[row * l.rank + col] = c[r][q][h];
			}
}

/* blockIdx.x: a stripe of one of the projections; blockIdx.y: a run of tokens. */
template <int PAIRS>
static __global__ void __launch_bounds__(THREADS)
shares(struct job g)
{
	start_early();

	extern __shared__ __align__(16) char memory[];
	struct shared<PAIRS> *m = reinterpret_cast<struct shared<PAIRS> *>(memory);
	int which = 0, stripe = static_cast<int>(blockIdx.x), warp = threadIdx.x / 32;
	int64_t t0 = static_cast<int64_t>(blockIdx.y) * g.run, t_end = t0 + g.run < g.t ? t0 + g.run : g.t, r0;
	float c[COLUMNS / 16][2 * PAIRS][4] = {};

	while (stripe >= g.l[which].stripes)
		stripe -= g.l[which++].stripes;
	const struct part l = which == 0 ? g.l[0] : which == 1 ? g.l[1] : g.l[2];

	r0 = static_cast<int64_t>(stripe) * STRIPE;
	struct source<PAIRS> f(l, t0, r0);
	int left = static_cast<int>(t_end - t0);
	float *p = l.p + (stripe * g.t + t0) * l.rank;
	uint32_t b[COLUMNS / 16][PAIRS][4];

	fetch_b(m, l, r0);
	for (int i = 0; i < STAGES - 1; i++) {
		fetch(m, i, &f, left - i * TILE);
		copy_group();
	}
	copy_wait<STAGES - 2>();
	__syncthreads();
	keep_b<PAIRS>(b, m);
	for (int slot = 0; left > 0; left -= TILE, slot = (slot + 1) % STAGES, p += TILE * l.rank) {
		copy_wait<STAGES - 2>();
		__syncthreads(); /* the tile is there, and nobody reads the one before any more */
		fetch(m, (slot + STAGES - 1) % STAGES, &f, left - (STAGES - 1) * TILE);
		copy_group();
		tile_times<COLUMNS / 16, PAIRS>(m->sum[warp], m->dy[slot] + warp * COLUMNS, b);
		tile_transposed_times<COLUMNS / 16, PAIRS>(c, m->dy[slot] + warp * COLUMNS, m->s[slot]);
		__syncthreads();
		put_p(m, p, l.rank, left);
	}
	put_db<PAIRS>(c, l, r0);
}

/* Adds up the shares: p rounded, db added to.  A thread four ranks of a token or a row. */
static __global__ void
add_up(struct job g)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4;
	int which = 0, first = 0;

	if (i < g.t * g.rank_sum) {
		int64_t row = i / g.rank_sum;
		int col = static_cast<int>(i % g.rank_sum);

		while (col - first >= g.l[which].rank)
			first += g.l[which++].rank;
		const struct part &l = g.l[which];

		store4(g.p_to + i, sum4(l.p + row * l.rank + col - first, g.t * l.rank, l.stripes), l.scale);
		return;
	}
	i -= g.t * g.rank_sum;
	for (which = 0; which < g.n && i >= g.l[which].rows * g.l[which].rank; which++)
		i -= g.l[which].rows * g.l[which].rank;
	if (which == g.n)
		return;
	const struct part &l = g.l[which];

	add4(l.db_to + i, 1, sum4(l.db + i, l.rows * l.rank, g.runs), l.scale);
}

/* Tokens of a run: as many blocks as are at work at once, since long runs make fewer shares of db. */
static int64_t
choose_run(int64_t t, int stripes)
{
	int64_t runs = BLOCKS_WANTED / stripes, run;

	run = ceil_div(ceil_div(t, runs > 1 ? runs : 1), TILE) * TILE;
	return run < RUN_MIN ? RUN_MIN : run > RUN_MAX ? RUN_MAX : run;
}

static int
stripes_of(int64_t rows)
{
	return static_cast<int>(ceil_div(rows, STRIPE));
}

/* Bytes of the shares of one projection. */
static int64_t
share_bytes(int64_t t, int64_t rows, int64_t rank, int64_t runs)
{
	return static_cast<int64_t>(qz_cuda_round(stripes_of(rows) * t * rank * 4) +
	    qz_cuda_round(runs * rows * rank * 4));
}

size_t
qz_cuda_adapter_need(const struct qz_need *need)
{
	/* As if every projection of the call were as wide as the widest.  Of db a run's share has rows * rank,
	 * and there are at most BLOCKS_WANTED stripes in all runs, or runs of RUN_MAX tokens. */
	int64_t stripes = stripes_of(need->width), t = need->tokens, rank = need->rank_sum;
	int64_t db = BLOCKS_WANTED * static_cast<int64_t>(STRIPE), most = ceil_div(t, RUN_MAX) * need->width;

	return static_cast<size_t>(stripes * t * rank * 4 + (db > most ? db : most) * rank * 4) +
	    8 * GROUP_MAX * 256;
}

template <int PAIRS>
static void
start(struct qz_dev *d, const struct job &g, int stripes)
{
	qz_cuda_rc(d, "shared memory", cudaFuncSetAttribute(shares<PAIRS>,
	    cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(struct shared<PAIRS>)));
	launch<EARLY>(d, shares<PAIRS>, dim3(static_cast<unsigned>(stripes), static_cast<unsigned>(g.runs)), THREADS,
	    sizeof(struct shared<PAIRS>), g);
}

/* The largest piece of shared memory a block may have. */
static size_t
shared_most(struct qz_dev *d)
{
	int n = 0;

	qz_cuda_rc(d, "cudaDeviceGetAttribute",
	    cudaDeviceGetAttribute(&n, cudaDevAttrMaxSharedMemoryPerBlockOptin, cuda_dev(d)->index));
	return static_cast<size_t>(n);
}

bool
qz_cuda_adapter_back(struct qz_dev *d, const struct qz_linear *l, int n, int64_t t, uint16_t *p, size_t used)
{
	int stripes = 0, rank = 0, most = 0;
	struct job g;

	if (n > GROUP_MAX)
		return false;
	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++) {
		if (l[i].rank > RANK_MAX || l[i].rank % 8 || l[i].lds % 8 || l[i].w.rows % 8 ||
		    !aligned(l[i].dy, 16) || !aligned(l[i].s, 16) || !aligned(l[i].b, 16))
			return false;
		stripes += stripes_of(l[i].w.rows);
		most = l[i].rank > most ? l[i].rank : most;
		rank += l[i].rank;
	}
	if (shared_most(d) < (most > 16 ? sizeof(struct shared<2>) : sizeof(struct shared<1>)))
		return false;
	g.n = n;
	g.t = t;
	g.run = choose_run(t, stripes);
	g.runs = static_cast<int>(ceil_div(t, g.run));
	g.rank_sum = rank;
	g.p_to = p;
	for (int i = 0; i < n; i++) {
		int64_t rows = l[i].w.rows, r = l[i].rank;

		if (used + static_cast<size_t>(share_bytes(t, rows, r, g.runs)) > cuda_dev(d)->ws_n)
			return false;
		g.l[i] = { static_cast<const uint16_t *>(l[i].dy), static_cast<const uint16_t *>(l[i].b),
			static_cast<const uint16_t *>(l[i].s), nullptr, nullptr, static_cast<float *>(l[i].db),
			l[i].scale, rows, qz_linear_lds(&l[i]), l[i].rank, stripes_of(rows) };
		g.l[i].p = static_cast<float *>(
		    qz_cuda_ws(d, &used, static_cast<size_t>(stripes_of(rows) * t * r * 4)));
		g.l[i].db = static_cast<float *>(qz_cuda_ws(d, &used, static_cast<size_t>(g.runs * rows * r * 4)));
		if (!g.l[i].p || !g.l[i].db)
			return true;
	}
	qz_cuda_part(d, "dy B, dB");
	if (most > 16)
		start<2>(d, g, stripes);
	else
		start<1>(d, g, stripes);
	int64_t elements = t * rank;

	for (int i = 0; i < n; i++)
		elements += l[i].w.rows * l[i].rank;
	qz_cuda_part(d, "adding up p, dB");
	launch_flat<EARLY>(d, add_up, elements, 4, g);
	return true;
}

ACT_END
