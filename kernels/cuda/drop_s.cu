/* drop_s - s = drop(x) A^T of up to three projections in one pass over x.
 *
 * A block takes 128 tokens, 16 a warp, and a run of columns, which it multiplies with all A's; the runs' sums
 * go to the workspace and are added up in order.  The product runs over columns, whose order is free: lane
 * 4 g + t has columns 8 t .. 8 t + 8 of 32 for the tokens 2 g and 2 g + 1, which is a vector each and one call of
 * Philox for both; they are rows g and g + 8 of the product. */
#include <cstring>

#include "kernels/cuda/drop.cuh"

ACT_BEGIN

enum { WARPS = 8, THREADS = 32 * WARPS, TOKENS = 16 * WARPS, COLUMNS = 64, STAGES = 3, RUNS = 16 };
enum { SLOTS = 2 /* blocks a multiprocessor */ };

struct part {
	const uint16_t *a;
	uint16_t *s;
	int64_t lds;
	struct mask mask;
	int rank, at; /* ranks of the projections before it */
};

struct job {
	struct part l[DROP_GROUP];
	const uint16_t *x;
	float *share; /* (runs, t, ranks) */
	int64_t t, cols, run, first;
	int ranks, runs;
};

/* A: rows of the projections, each with 16 TILES of them, as two halves of 32 columns. */
template <int N, int TILES>
struct shared {
	uint4 x[STAGES][4][THREADS]; /* what a thread has put there it reads itself */
	uint16_t a[STAGES][2][N * 16 * TILES][32];
};

/* What a thread fetches of each chunk: vectors of two tokens in two halves of the columns, and of A's rows. */
template <int N, int TILES>
struct source {
	static constexpr int EACH = (N * TILES + 1) / 2;
	const uint16_t *x[2], *a[EACH];
	bool x_there[2], a_there[EACH];
};

template <int N, int TILES>
static __device__ inline void
begin(struct source<N, TILES> *s, const struct job &g, int64_t t0, int64_t c0)
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int v = 0; v < 2; v++) {
		int64_t row = t0 + lane / 4 * 2 + v;

		s->x_there[v] = row < g.t;
		s->x[v] = g.x + (row < g.t ? row : 0) * g.cols + c0 + lane % 4 * VECTOR;
	}
#pragma unroll
	for (int i = 0; i < s->EACH; i++) {
		int row = (threadIdx.x + i * THREADS) / (COLUMNS / VECTOR), p = row / (16 * TILES);
		const struct part &l = g.l[p < N ? p : 0];

		row %= 16 * TILES;
		s->a_there[i] = p < N && row < l.rank;
		s->a[i] = l.a + (s->a_there[i] ? row : 0) * g.cols + c0 + threadIdx.x % (COLUMNS / VECTOR) * VECTOR;
	}
}

/* The next COLUMNS, of which `left` are there, zeros beyond the ends. */
template <int N, int TILES>
static __device__ inline void
fetch(struct shared<N, TILES> *m, int slot, struct source<N, TILES> *s, int64_t left)
{
	int lane = threadIdx.x % 32, piece = threadIdx.x % (COLUMNS / VECTOR);

#pragma unroll
	for (int v = 0; v < 4; v++)
		copy16(reinterpret_cast<uint16_t *>(&m->x[slot][v][threadIdx.x]), s->x[v % 2] + v / 2 * 32,
		    s->x_there[v % 2] && v / 2 * 32 + lane % 4 * VECTOR < left);
#pragma unroll
	for (int i = 0; i < s->EACH; i++) {
		int row = (threadIdx.x + i * THREADS) / (COLUMNS / VECTOR);

		if (row < N * 16 * TILES)
			copy16(&m->a[slot][piece / 4][row][piece % 4 * VECTOR], s->a[i],
			    s->a_there[i] && piece * VECTOR < left);
		s->a[i] += COLUMNS;
	}
	s->x[0] += COLUMNS;
	s->x[1] += COLUMNS;
}

/* 32 columns of this warp's tokens; group: the call of this lane's vectors. */
template <int N, int TILES>
static __device__ inline void
multiply(float c[N][2 * TILES][4], const struct shared<N, TILES> *m, int slot, int half, const struct job &g,
    uint64_t group)
{
	int lane = threadIdx.x % 32;
	uint4 low = m->x[slot][2 * half][threadIdx.x], high = m->x[slot][2 * half + 1][threadIdx.x];

#pragma unroll
	for (int p = 0; p < N; p++) {
		uint32_t w[4], u[4], v[4];

		philox(w, g.l[p].mask, group);
		dropped8(u, g.l[p].mask, w, false);
		dropped8(v, g.l[p].mask, w, true);
		uint32_t a[2][4] = { { low.x & ~u[0], high.x & ~v[0], low.y & ~u[1], high.y & ~v[1] },
			{ low.z & ~u[2], high.z & ~v[2], low.w & ~u[3], high.w & ~v[3] } };
#pragma unroll
		for (int q = 0; q < 2 * TILES; q++) {
			uint4 b = *reinterpret_cast<const uint4 *>(
			    &m->a[slot][half][p * 16 * TILES + 8 * q + lane / 4][lane % 4 * VECTOR]);

			mma(c[p][q], a[0], b.x, b.y);
			mma(c[p][q], a[1], b.z, b.w);
		}
	}
}

template <int N, int TILES>
static __device__ inline void
put(const float c[N][2 * TILES][4], const struct job &g, int64_t t0)
{
	int lane = threadIdx.x % 32;
	float *to = g.share + blockIdx.y * g.t * g.ranks;

#pragma unroll
	for (int p = 0; p < N; p++)
#pragma unroll
		for (int q = 0; q < 2 * TILES; q++)
#pragma unroll
			for (int h = 0; h < 2; h++) {
				int64_t row = t0 + lane / 4 * 2 + h;

				if (row < g.t && 8 * q < g.l[p].rank)
					*reinterpret_cast<float2 *>(
					    to + row * g.ranks + g.l[p].at + 8 * q + lane % 4 * 2) =
					    make_float2(c[p][q][2 * h], c[p][q][2 * h + 1]);
			}
}

/* blockIdx.x: tokens; blockIdx.y: a run of columns. */
template <int N, int TILES>
static __global__ void __launch_bounds__(THREADS, SLOTS)
shares(const __grid_constant__ struct job g)
{
	extern __shared__ __align__(16) char memory[];
	struct shared<N, TILES> *m = reinterpret_cast<struct shared<N, TILES> *>(memory);
	int lane = threadIdx.x % 32, slot = 0;
	int64_t t0 = static_cast<int64_t>(blockIdx.x) * TOKENS + threadIdx.x / 32 * 16;
	int64_t c0 = static_cast<int64_t>(blockIdx.y) * g.run, end = c0 + g.run < g.cols ? c0 + g.run : g.cols;
	uint64_t words = static_cast<uint64_t>(g.cols / VECTOR);
	uint64_t row = static_cast<uint64_t>((g.first + t0) / 2 + lane / 4) * words + lane % 4;
	float c[N][2 * TILES][4] = {};
	struct source<N, TILES> from;

	begin(&from, g, t0, c0);
	for (int i = 0; i < STAGES - 1; i++) {
		if (c0 + i * COLUMNS < end)
			fetch(m, i, &from, g.cols - c0 - i * COLUMNS);
		copy_group();
	}
	row += static_cast<uint64_t>(c0 / VECTOR);
	for (; c0 < end; c0 += COLUMNS) {
		copy_wait<STAGES - 2>();
		__syncthreads();
		if (c0 + (STAGES - 1) * COLUMNS < end)
			fetch(m, slot ? slot - 1 : STAGES - 1, &from, g.cols - c0 - (STAGES - 1) * COLUMNS);
		copy_group();
#pragma unroll 1
		for (int half = 0; half < 2; half++, row += 4)
			multiply<N, TILES>(c, m, slot, half, g, row);
		slot = slot < STAGES - 1 ? slot + 1 : 0;
	}
	put<N, TILES>(c, g, t0);
}

/* s = keep times the sum of the shares.  A thread an element. */
static __global__ void
add_up(const __grid_constant__ struct job g)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, row = i / g.ranks;
	int col = static_cast<int>(i % g.ranks), p = 0;
	float sum = 0;

	if (row >= g.t)
		return;
	for (int r = 0; r < g.runs; r++)
		sum += g.share[r * g.t * g.ranks + i];
	while (col >= g.l[p].at + g.l[p].rank)
		p++;
	g.l[p].s[row * g.l[p].lds + col - g.l[p].at] = act_round(g.l[p].mask.keep * sum);
}

template <int N, int TILES>
static void
start(struct qz_dev *d, const struct job &g)
{
	dim3 blocks(static_cast<unsigned>(ceil_div(g.t, TOKENS)), static_cast<unsigned>(g.runs));

	static_assert(sizeof(struct shared<N, TILES>) <= DROP_SHARED, "shared memory");
	launch_large(d, shares<N, TILES>, blocks, THREADS, sizeof(struct shared<N, TILES>), g);
}

bool
qz_cuda_drop_fits(struct qz_dev *d, const struct qz_linear *l, int n)
{
	/* Shared memory: what the kernels of this file and of drop_back.cu want at most. */
	if (n < 1 || n > DROP_GROUP || l->w.cols % VECTOR ||
	    cuda_dev(d)->shared < DROP_SHARED)
		return false;
	for (int i = 0; i < n; i++)
		if (l[i].rank % 8 || l[i].rank > DROP_RANK || l[i].first % 2 || !aligned(l[i].a, 16))
			return false;
	return true;
}

/* One pass over x for n projections, of ranks up to 16 when there are several. */
static void
one_pass(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, int64_t t, size_t used)
{
	int64_t tiles = ceil_div(t, TOKENS), chunks = ceil_div(l->w.cols, COLUMNS);
	struct job g;

	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++) {
		g.l[i] = { static_cast<const uint16_t *>(l[i].a), static_cast<uint16_t *>(l[i].s),
			qz_linear_lds(&l[i]), mask_of(&l[i]), l[i].rank, g.ranks };
		g.ranks += l[i].rank;
	}
	g.x = static_cast<const uint16_t *>(x);
	g.t = t;
	g.cols = l->w.cols;
	g.first = l->first;
	g.run = ceil_div(chunks, split_of(tiles, SLOTS * cuda_dev(d)->sms, RUNS)) * COLUMNS;
	g.runs = static_cast<int>(ceil_div(g.cols, g.run));
	g.share = static_cast<float *>(qz_cuda_ws(d, &used, static_cast<size_t>(g.runs * t * g.ranks) * 4));
	if (!g.share)
		return;
	qz_cuda_part(d, "s");
	if (n == 3)
		start<3, 1>(d, g);
	else if (n == 2)
		start<2, 1>(d, g);
	else if (l->rank <= 16)
		start<1, 1>(d, g);
	else if (l->rank <= 32)
		start<1, 2>(d, g);
	else
		start<1, 4>(d, g);
	launch_flat(d, add_up, t * g.ranks, 1, g);
}

void
qz_cuda_drop_s(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, int64_t t, size_t used)
{
	bool together = true;

	for (int i = 0; i < n; i++)
		together = together && l[i].rank <= 16;
	if (together)
		one_pass(d, l, n, x, t, used);
	for (int i = 0; i < n && !together; i++)
		one_pass(d, &l[i], 1, x, t, used);
}

size_t
qz_cuda_drop_need(const struct qz_need *need)
{
	/* The shares of s; or the bits of a group, and the shares of da. */
	size_t s = qz_cuda_round(RUNS * need->tokens * need->rank_sum * 4);
	size_t da = DROP_GROUP * qz_cuda_round(drop_words(need->tokens, need->width) * 4) +
	    qz_cuda_round(DROP_DA_RUNS * need->rank_sum * need->width * 4);

	return !need->dropout ? 0 : s > da ? s : da;
}

ACT_END
