/* swiglu_adapted - the forward pass: h, and s = drop(h) A^T of down_proj, whose input h is. */
#include <cstring>

#include "kernels/cuda/swiglu_adapted.cuh"

ACT_BEGIN

using namespace adapted;

enum { STAGES = 2, SLOTS = 2 /* blocks a multiprocessor */ };

struct job {
	const uint16_t *x[2], *a; /* gate and up (t, cols); A (rank, cols) */
	uint16_t *h, *s;
	float *share; /* (stripes, t, rank) */
	int64_t t, cols, lds, first;
	struct sharing part;
	struct mask mask;
	float keep;
	int rank, stripes;
};

struct shared {
	uint16_t x[STAGES][2][TILE * PITCH]; /* h comes where gate was */
	float sum[WARPS][TILE * SUM_LD<1>];
};

/* A thread's vectors of the tile that begins at token t0. */
static __device__ inline void
fetch(struct shared *m, int slot, const struct job &g, int64_t t0, int64_t col)
{
	int row = row_of_thread();

#pragma unroll
	for (int v = 0; v < 2; v++)
#pragma unroll
		for (int i = 0; i < 2; i++) {
			bool there = t0 + row + v < g.t && col < g.cols;

			copy16(m->x[slot][i] + (row + v) * PITCH + col_of_thread(),
			    g.x[i] + (there ? (t0 + row + v) * g.cols + col : 0), there);
		}
}

/* h of a thread's vectors: to memory, and dropped to the tile. */
template <bool DROP>
static __device__ inline void
make_h(struct shared *m, int slot, const struct job &g, int64_t t0, int64_t col)
{
	int row = row_of_thread(), o = row * PITCH + col_of_thread();
	uint32_t w[4];

	if (DROP)
		philox(w, g.mask, static_cast<uint64_t>((g.first + t0 + row) / 2 * (g.cols / VECTOR) + col / VECTOR));
#pragma unroll
	for (int v = 0; v < 2; v++, o += PITCH) {
		float a[VECTOR], b[VECTOR];
		uint4 h;

		load8(a, m->x[slot][0] + o);
		load8(b, m->x[slot][1] + o);
#pragma unroll
		for (int j = 0; j < VECTOR; j++)
			a[j] = swiglu_of(a[j], b[j]);
		h = pack8(a);
		if (t0 + row + v < g.t && col < g.cols)
			*reinterpret_cast<uint4 *>(g.h + (t0 + row + v) * g.cols + col) = h;
		if (DROP) {
			uint32_t drop[4];

			dropped8(drop, g.mask, w, v);
			h = make_uint4(h.x & ~drop[0], h.y & ~drop[1], h.z & ~drop[2], h.w & ~drop[3]);
		}
		*reinterpret_cast<uint4 *>(m->x[slot][0] + o) = h;
	}
}

/* A^T of this warp's columns as fragments. */
static __device__ inline void
load_a(uint32_t b[K][1][4], const struct job &g, int64_t c0)
{
	int lane = threadIdx.x % 32;

#pragma unroll
	for (int k = 0; k < K; k++)
#pragma unroll
		for (int i = 0; i < 4; i++) {
			int row = i / 2 * 8 + lane / 4;
			int64_t col = c0 + threadIdx.x / 32 * COLUMNS + 16 * k + i % 2 * 8 + lane % 4 * 2;

			b[k][0][i] = row < g.rank && col < g.cols
			    ? *reinterpret_cast<const uint32_t *>(g.a + row * g.cols + col)
			    : 0;
		}
}

static __device__ inline void
put_s(const struct shared *m, const struct job &g, int64_t stripe, int64_t t0)
{
	int row = threadIdx.x / 16, col = threadIdx.x % 16;

	if (row < TILE && t0 + row < g.t && col < g.rank)
		g.share[(stripe * g.t + t0 + row) * g.rank + col] = sum_of_warps<1, WARPS>(m->sum, row, col);
}

/* Tiles first .. first + n of a stripe. */
template <bool DROP>
static __device__ inline void
run(struct shared *m, const struct job &g, int64_t stripe, int64_t first, int64_t n)
{
	int64_t col = stripe * STRIPE + col_of_thread(), t0 = first * TILE, end = t0 + n * TILE;
	int warp = threadIdx.x / 32, slot = 0;
	uint32_t b[K][1][4];

	fetch(m, 0, g, t0, col);
	copy_group();
	load_a(b, g, stripe * STRIPE);
	for (; t0 < end; t0 += TILE, slot ^= 1) {
		if (t0 + TILE < end)
			fetch(m, slot ^ 1, g, t0 + TILE, col);
		copy_group();
		copy_wait<1>();
		make_h<DROP>(m, slot, g, t0, col);
		__syncthreads(); /* the tile of h is there, and the sums before have been read */
		tile_times<K, 1>(m->sum[warp], m->x[slot][0] + warp * COLUMNS, b);
		__syncthreads();
		put_s(m, g, stripe, t0);
	}
	copy_wait<0>();
}

template <bool DROP>
static __global__ void __launch_bounds__(THREADS, SLOTS)
forward(const __grid_constant__ struct job g)
{
	start_early();

	extern __shared__ __align__(16) char memory[];
	struct shared *m = reinterpret_cast<struct shared *>(memory);

	each_stripe(g.part, [&](int64_t stripe, int64_t first, int64_t n) { run<DROP>(m, g, stripe, first, n); });
}

/* s = keep times the sum of the stripes' shares.  A thread four ranks of a token. */
static __global__ void
add_up_s(const __grid_constant__ struct job g)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 4, n = g.t * g.rank;

	if (i < n)
		store4(g.s + i / g.rank * g.lds + i % g.rank, sum4(g.share + i, n, g.stripes), g.keep);
}

bool
qz_cuda_swiglu_s(struct qz_dev *d, qz_act *h, const qz_act *g, const qz_act *u, const struct qz_linear *down,
    int64_t t, size_t used)
{
	bool drop = down->dropout > 0;
	struct job j;

	if (!rank_fits(down) || down->w.cols % VECTOR || !aligned(h, 16) || !aligned(g, 16) || !aligned(u, 16) ||
	    (drop && down->first % 2) || static_cast<size_t>(cuda_dev(d)->shared) < sizeof(struct shared))
		return false;
	memset(&j, 0, sizeof j);
	j.x[0] = static_cast<const uint16_t *>(g);
	j.x[1] = static_cast<const uint16_t *>(u);
	j.a = static_cast<const uint16_t *>(down->a);
	j.h = static_cast<uint16_t *>(h);
	j.s = static_cast<uint16_t *>(down->s);
	j.t = t;
	j.cols = down->w.cols;
	j.lds = qz_linear_lds(down);
	j.first = down->first;
	j.rank = down->rank;
	j.stripes = static_cast<int>(ceil_div(j.cols, STRIPE));
	j.part = share_among(t, j.cols, SLOTS * cuda_dev(d)->sms);
	j.keep = 1;
	if (drop) {
		j.mask = mask_of(down);
		j.keep = j.mask.keep;
	}
	size_t nbytes = static_cast<size_t>(j.stripes * t * j.rank) * 4;

	if (used + qz_cuda_round(static_cast<int64_t>(nbytes)) > cuda_dev(d)->ws_n)
		return false;
	j.share = static_cast<float *>(qz_cuda_ws(d, &used, nbytes));
	if (drop)
		launch_large<EARLY>(d, forward<true>, dim3(blocks_of(j.part)), THREADS, sizeof(struct shared), j);
	else
		launch_large<EARLY>(d, forward<false>, dim3(blocks_of(j.part)), THREADS, sizeof(struct shared), j);
	qz_cuda_part(d, "adding up s");
	launch_flat<EARLY>(d, add_up_s, t * j.rank, 4, j);
	return true;
}

void
qz_cuda_swiglu_adapted(struct qz_dev *d, qz_act *h, const qz_act *g, const qz_act *u, const struct qz_linear *down,
    int64_t t)
{
	qz_cuda_op(d, "swiglu_adapted", t, down->w.cols);
	if (t < 1 || qz_cuda_swiglu_s(d, h, g, u, down, t, QZ_CUDA_GEMM_WS))
		return;
	ACT_OP(swiglu)(d, h, g, u, t * down->w.cols);
	qz_cuda_linear_s(d, down, h, t);
}

void
qz_cuda_swiglu_adapted_bwd(struct qz_dev *d, qz_act *g, qz_act *u, qz_act *dh, const struct qz_linear *down,
    const struct qz_linear *gate_up, int64_t t)
{
	qz_cuda_op(d, "swiglu_adapted_bwd", t, down->w.cols);
	if (t < 1 || qz_cuda_swiglu_p(d, g, u, dh, down, gate_up, t, QZ_CUDA_GEMM_WS))
		return;
	ACT_OP(swiglu_bwd)(d, g, u, dh, down->rank ? dh : nullptr, t * down->w.cols);
	if (down->rank)
		ACT_OP(linear_da)(d, down, 1, dh, t);
	qz_cuda_linear_p(d, gate_up, 2, t);
}

ACT_END
