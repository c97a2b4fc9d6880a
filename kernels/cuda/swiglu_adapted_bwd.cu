/* swiglu_adapted_bwd - one pass over gate, up and dh: dg and du in their place, h nowhere but in shared memory, and
 *
 *   p = scale dy B  (T, rank)   db += scale dy^T s  (cols, rank)   of gate and up, dy being dg and du
 *   da += p^T drop(h)  (rank, cols)                                of down
 *
 * A block keeps its stripe's share of db and da in registers, and puts away what its tiles give for p.  A second kernel
 * adds the shares up in order. */
#include <cstring>

#include "kernels/cuda/swiglu_adapted.cuh"

ACT_BEGIN

using namespace adapted;

enum { STAGES = 3, GATE = 0, UP = 1, DOWN = 2, RANK = 16 };

struct job {
	uint16_t *x[3];            /* gate, up, dh (t, cols) */
	const uint16_t *narrow[3]; /* s of gate, s of up, p of down; (t, rank), rows ld apart */
	int64_t ld[3];
	const uint16_t *b[2];
	const uint32_t *bits; /* masks of down's input */
	float *p[2];          /* (stripes, t, rank) */
	float *wide;          /* for each run of tiles of one stripe (3, STRIPE, RANK) */
	uint16_t *p_to[2];
	int64_t ldp[2];
	float *to[3]; /* db, db, da */
	float scale[3];
	int64_t t, cols;
	struct sharing part;
	int rank[3], stripes;
};

/* p is a product over columns: half of the warps have gate's, half up's. */
enum { P_WARPS = WARPS / 2, P_COLUMNS = STRIPE / P_WARPS, P_K = P_COLUMNS / 16 };

struct shared {
	uint16_t x[STAGES][3][TILE * PITCH];
	uint16_t narrow[STAGES][3][TILE * RANK];
	float sum[2][2][P_WARPS][TILE * SUM_LD<1>]; /* of this tile, and of the one before */
};

/* Where a thread is in the matrices. */
struct place {
	int64_t at; /* its first vector of the next tile to fetch */
	int left;   /* tokens from there on */
	bool has;   /* its columns are there */
};

/* A thread's vectors of the next tile; some threads bring the narrow matrices, of token t0 on. */
static __device__ inline void
fetch(struct shared *m, int slot, const struct job &g, struct place *p, int64_t t0)
{
	uint16_t *to = m->x[slot][0] + row_of_thread() * PITCH + col_of_thread();
	int which = threadIdx.x / 32;

#pragma unroll
	for (int v = 0; v < 2; v++) {
		bool there = p->has && v < p->left;
		int64_t at = there ? p->at + v * g.cols : 0;

#pragma unroll
		for (int i = 0; i < 3; i++)
			copy16(to + i * (TILE * PITCH) + v * PITCH, g.x[i] + at, there);
	}
	p->at += TILE * g.cols;
	p->left -= TILE;
	if (which < 3) {
		int half = threadIdx.x % 2 * VECTOR, row = threadIdx.x % 32 / 2;
		bool there = t0 + row < g.t && half < g.rank[which];

		copy16(m->narrow[slot][which] + row * RANK + half,
		    g.narrow[which] + (there ? (t0 + row) * g.ld[which] + half : 0), there);
	}
}

/* Which of a thread's h are dropped, of token `row`: all bits of a half-word.  drop_words() has the order. */
static __device__ inline uint4
kept(uint4 h, uint32_t bits, int row)
{
	uint32_t m[4];

#pragma unroll
	for (int j = 0; j < 4; j++) {
		uint32_t b = bits << (7 - row / 8 * 4 - j);

		m[j] = ~bytes_of(b, b, row % 2 ? 0xbbaa : 0x9988);
	}
	return make_uint4(h.x & m[0], h.y & m[1], h.z & m[2], h.w & m[3]);
}

/* dg, du and h of a thread's vectors to the tile, the first two to memory too. */
template <bool DROP>
static __device__ inline void
turn(struct shared *m, int slot, const struct job &g, struct place *p, uint32_t bits)
{
	uint16_t *tile = m->x[slot][0] + row_of_thread() * PITCH + col_of_thread();

#pragma unroll
	for (int v = 0; v < 2; v++, tile += PITCH) {
		float x[3][VECTOR];
		uint4 y[3];

#pragma unroll
		for (int i = 0; i < 3; i++)
			load8(x[i], tile + i * (TILE * PITCH));
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			swiglu_back(&x[GATE][j], &x[UP][j], &x[DOWN][j]);
#pragma unroll
		for (int i = 0; i < 3; i++)
			y[i] = pack8(x[i]);
		if (p->has && v < p->left) {
			*reinterpret_cast<uint4 *>(g.x[GATE] + p->at + v * g.cols) = y[GATE];
			*reinterpret_cast<uint4 *>(g.x[UP] + p->at + v * g.cols) = y[UP];
		}
		if (DROP)
			y[DOWN] = kept(y[DOWN], bits, row_of_thread() + v);
#pragma unroll
		for (int i = 0; i < 3; i++)
			*reinterpret_cast<uint4 *>(tile + i * (TILE * PITCH)) = y[i];
	}
	p->at += TILE * g.cols;
	p->left -= TILE;
}

/* Rows of B of gate or up from row r0 on, as fragments. */
static __device__ inline void
load_b(uint32_t f[P_K][1][4], const struct job &g, int which, int64_t r0)
{
	int lane = threadIdx.x % 32, rank = g.rank[which];

#pragma unroll
	for (int k = 0; k < P_K; k++)
#pragma unroll
		for (int i = 0; i < 4; i++) {
			int64_t row = r0 + 16 * k + i % 2 * 8 + lane % 4 * 2;
			int col = i / 2 * 8 + lane / 4;
			const uint16_t *from = g.b[which] + row * rank + col;

			f[k][0][i] = row < g.cols && col < rank ? from[0] | static_cast<uint32_t>(from[rank]) << 16 : 0;
		}
}

/* The stripe's share of p of the tile at t0. */
static __device__ inline void
put_p(const struct shared *m, int half, const struct job &g, int64_t stripe, int64_t t0)
{
	int which = threadIdx.x / 256, row = threadIdx.x % 256 / 16, col = threadIdx.x % 16, rank = g.rank[which];

	static_assert(THREADS == 2 * TILE * RANK);
	if (t0 + row < g.t && col < rank)
		g.p[which][(stripe * g.t + t0 + row) * rank + col] =
		    sum_of_warps<1, P_WARPS>(m->sum[half][which], row, col);
}

static __device__ inline void
put_wide(float *to, const float c[3][K][2][4])
{
	int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

#pragma unroll
	for (int i = 0; i < 3; i++)
#pragma unroll
		for (int r = 0; r < K; r++)
#pragma unroll
			for (int q = 0; q < 2; q++)
#pragma unroll
				for (int h = 0; h < 4; h += 2) {
					int row = warp * COLUMNS + 16 * r + lane / 4 + h / 2 * 8;

					*reinterpret_cast<float2 *>(
					    to + (i * STRIPE + row) * RANK + 8 * q + lane % 4 * 2) =
					    make_float2(c[i][r][q][h], c[i][r][q][h + 1]);
				}
}

/* The word of the masks for a thread's vectors of the tile at t0. */
template <bool DROP>
static __device__ inline uint32_t
bits_at(const struct job &g, int64_t t0, int64_t col)
{
	return DROP && col < g.cols
	    ? g.bits[(t0 / TILE * (g.cols / VECTOR) + col / VECTOR) * 4 + row_of_thread() % 8 / 2]
	    : 0;
}

/* Tiles first .. first + n of a stripe.  Between two barriers one tile is multiplied, the next one turned, one more fetched
 * and what the one before gave for p put away. */
template <bool DROP>
static __device__ inline void
run(struct shared *m, const struct job &g, int64_t stripe, int64_t first, int64_t n)
{
	int64_t col = stripe * STRIPE + col_of_thread(), t0 = first * TILE, end = t0 + n * TILE;
	int64_t row = t0 + row_of_thread();
	int warp = threadIdx.x / 32, slot = 0, half = 0, mine = warp / P_WARPS, part = warp % P_WARPS;
	struct place from = { row * g.cols + col, static_cast<int>(g.t - row), col < g.cols }, to = from;
	uint32_t b[P_K][1][4], bits;
	float c[3][K][2][4] = {};

	for (int i = 0; i < STAGES - 1; i++) {
		if (i < n)
			fetch(m, i, g, &from, t0 + i * TILE);
		copy_group();
	}
	load_b(b, g, mine, stripe * STRIPE + part * P_COLUMNS);
	copy_wait<STAGES - 2>();
	turn<DROP>(m, 0, g, &to, bits_at<DROP>(g, t0, col));
	bits = n > 1 ? bits_at<DROP>(g, t0 + TILE, col) : 0;
	__syncthreads();
	for (; t0 < end; t0 += TILE) {
		int next = slot < STAGES - 1 ? slot + 1 : 0, after = slot ? slot - 1 : STAGES - 1;
		uint32_t now = bits;

		static_assert(STAGES == 3);
		if (t0 + 2 * TILE < end)
			fetch(m, after, g, &from, t0 + 2 * TILE);
		copy_group();
		bits = t0 + 2 * TILE < end ? bits_at<DROP>(g, t0 + 2 * TILE, col) : 0;
		copy_wait<1>();
		if (t0 + TILE < end)
			turn<DROP>(m, next, g, &to, now);
		tile_times<P_K, 1>(m->sum[half][mine][part], m->x[slot][mine] + part * P_COLUMNS, b);
#pragma unroll
		for (int i = 0; i < 3; i++)
			tile_transposed_times<K, 1>(c[i], m->x[slot][i] + warp * COLUMNS, m->narrow[slot][i]);
		if (t0 > first * TILE)
			put_p(m, half ^ 1, g, stripe, t0 - TILE);
		__syncthreads();
		slot = next;
		half ^= 1;
	}
	put_p(m, half ^ 1, g, stripe, t0 - TILE);
	put_wide(g.wide + (blockIdx.x + stripe) * (3 * STRIPE * RANK), c);
	__syncthreads(); /* the next run has these sums as its own */
}

template <bool DROP>
static __global__ void __launch_bounds__(THREADS, 1)
backward(const __grid_constant__ struct job g)
{
	start_early();

	extern __shared__ __align__(16) char memory[];
	struct shared *m = reinterpret_cast<struct shared *>(memory);

	each_stripe(g.part, [&](int64_t stripe, int64_t first, int64_t n) { run<DROP>(m, g, stripe, first, n); });
}

/* Adds up the shares of p. */
static __device__ inline void
add_p(const struct job &g, int which, int64_t i)
{
	int64_t row = i / g.rank[which];

	store4(g.p_to[which] + row * g.ldp[which] + i % g.rank[which],
	    sum4(g.p[which] + i, g.t * g.rank[which], g.stripes), g.scale[which]);
}

/* And those of db and da: the runs of a stripe are those of the blocks that have tiles of it. */
static __device__ inline void
add_wide(const struct job &g, int which, int64_t i)
{
	int64_t col = i / g.rank[which], stripe = col / STRIPE;
	int r = static_cast<int>(i % g.rank[which]);
	int64_t from = stripe * g.part.tiles / g.part.per, to = ((stripe + 1) * g.part.tiles - 1) / g.part.per;
	const float *share = g.wide + ((from + stripe) * 3 + which) * STRIPE * RANK + col % STRIPE * RANK + r;
	float4 sum = sum4(share, 3 * STRIPE * RANK, static_cast<int>(to - from + 1));

	if (which == DOWN)
		add4(g.to[DOWN] + r * g.cols + col, g.cols, sum, g.scale[DOWN]);
	else
		add4(g.to[which] + i, 1, sum, g.scale[which]);
}

/* A thread four ranks of a token or a column. */
static __global__ void
add_up(const __grid_constant__ struct job g)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4;

	for (int which = 0; which < 2; which++) {
		if (i < g.t * g.rank[which]) {
			add_p(g, which, i);
			return;
		}
		i -= g.t * g.rank[which];
	}
	for (int which = 0; which < 3; which++) {
		if (i < g.cols * g.rank[which]) {
			add_wide(g, which, i);
			return;
		}
		i -= g.cols * g.rank[which];
	}
}

static bool
fits(struct qz_dev *d, const void *const x[3], const struct qz_linear *const l[3], const uint32_t *bits)
{
	for (int i = 0; i < 3; i++)
		if (!rank_fits(l[i]) || !aligned(x[i], 16) || !aligned(l[i]->left, 16))
			return false;
	return l[DOWN]->w.cols % VECTOR == 0 && (l[DOWN]->dropout <= 0 || bits) &&
	    static_cast<size_t>(cuda_dev(d)->shared) >= sizeof(struct shared);
}

/* What belongs to gate, up or down alone. */
static void
describe(struct job *j, int i, const struct qz_linear *l)
{
	j->rank[i] = l->rank;
	j->scale[i] = l->scale;
	if (i == DOWN) {
		j->narrow[i] = static_cast<const uint16_t *>(l->left);
		j->ld[i] = l->rank;
		j->scale[i] = l->dropout > 0 ? static_cast<float>(qz_dropout_keep(l->dropout)) : 1; /* p has its own */
		j->to[i] = static_cast<float *>(l->da);
		return;
	}
	j->narrow[i] = static_cast<const uint16_t *>(l->s);
	j->ld[i] = qz_linear_lds(l);
	j->b[i] = static_cast<const uint16_t *>(l->b);
	j->to[i] = static_cast<float *>(l->db);
	j->p_to[i] = static_cast<uint16_t *>(l->left);
	j->ldp[i] = l->rank;
}

/* p of gate and up side by side. */
static void
join_p(struct job *j)
{
	j->p_to[UP] = j->p_to[GATE] + j->rank[GATE];
	j->ldp[GATE] = j->ldp[UP] = j->rank[GATE] + j->rank[UP];
}

/* Bytes of a pass's shares of db and da. */
static int64_t
wide_bytes(int64_t blocks, int64_t stripes)
{
	return (blocks + stripes) * (3 * STRIPE * RANK * 4);
}

size_t
qz_cuda_swiglu_need(struct qz_dev *d, const struct qz_need *need)
{
	int64_t stripes = ceil_div(need->width, STRIPE);

	return !need->rank_sum ? 0
			       : 2 * qz_cuda_round(stripes * need->tokens * RANK * 4) +
	        qz_cuda_round(wide_bytes(cuda_dev(d)->sms, stripes));
}

/* Room for the shares; false: there is not so much. */
static bool
place(struct qz_dev *d, struct job *j, size_t used)
{
	int64_t wide = wide_bytes(blocks_of(j->part), j->stripes), p[2];
	size_t all = qz_cuda_round(wide);

	for (int i = 0; i < 2; i++) {
		p[i] = j->stripes * j->t * j->rank[i] * 4;
		all += qz_cuda_round(p[i]);
	}
	if (used + all > cuda_dev(d)->ws_n)
		return false;
	j->wide = static_cast<float *>(qz_cuda_ws(d, &used, static_cast<size_t>(wide)));
	for (int i = 0; i < 2; i++)
		j->p[i] = static_cast<float *>(qz_cuda_ws(d, &used, static_cast<size_t>(p[i])));
	return true;
}

bool
qz_cuda_swiglu_p(struct qz_dev *d, qz_act *g, qz_act *u, const qz_act *dh, const struct qz_linear *down,
    const struct qz_linear *gate_up, int64_t t, size_t used)
{
	const struct qz_linear *l[3] = { &gate_up[0], &gate_up[1], down };
	const void *x[3] = { g, u, dh };
	uint32_t *bits = qz_cuda_left_bits(d, down, t);
	int64_t elements;
	struct job j;

	if (!fits(d, x, l, bits))
		return false;
	memset(&j, 0, sizeof j);
	j.t = t;
	j.cols = down->w.cols;
	j.bits = bits;
	for (int i = 0; i < 3; i++) {
		j.x[i] = static_cast<uint16_t *>(const_cast<void *>(x[i]));
		describe(&j, i, l[i]);
	}
	if (qz_cuda_one_p(gate_up, 2))
		join_p(&j);
	j.stripes = static_cast<int>(ceil_div(j.cols, STRIPE));
	j.part = share_among(t, j.cols, cuda_dev(d)->sms);
	if (!place(d, &j, used))
		return false;
	launch_large<EARLY>(d, bits ? backward<true> : backward<false>, dim3(blocks_of(j.part)), THREADS,
	    sizeof(struct shared), j);
	elements = t * (j.rank[GATE] + j.rank[UP]) + j.cols * (j.rank[GATE] + j.rank[UP] + j.rank[DOWN]);
	qz_cuda_part(d, "adding up p, dB, dA");
	launch_flat<EARLY>(d, add_up, elements, 4, j);
	return true;
}

ACT_END
