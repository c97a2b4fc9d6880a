/* attention - what the forward and the backward kernels share: tiles of 64 rows in shared memory, four
 * warps that take 16 rows each, heads of up to D numbers (what is missing is zeros). */
#ifndef QZ_CUDA_ATTENTION_CUH
#define QZ_CUDA_ATTENTION_CUH

#include "kernels/cuda/mma.cuh"

enum { ATT_WARPS = 4, ATT_THREADS = 32 * ATT_WARPS, ATT_ROWS = 16 * ATT_WARPS };

/* Elements from one row of a tile to the next: 16 bytes more, so that eight rows lie in eight banks. */
template <int D>
struct tile {
	static constexpr int LD = D + 8;
};

/* ROWS rows of a head of dim numbers, `there` of them present (at least one), to shared memory. */
template <int D, int ROWS>
static __device__ inline void
load_tile(uint16_t *to, const uint16_t *from, int64_t ld, int there, int dim)
{
	constexpr int PIECES = D / VECTOR;

	for (int i = threadIdx.x; i < ROWS * PIECES; i += ATT_THREADS) {
		int row = i / PIECES, c = i % PIECES * VECTOR;
		bool in = row < there && c < dim;

		copy16(to + row * tile<D>::LD + c, in ? from + row * ld + c : from, in);
	}
}

/* Where in a 16 x 16 tile a lane's row of ldmatrix begins: for a, and for b out of rows of k (transposed);
 * and for b out of rows of n. */
template <int D>
static __device__ inline int
lane_by_row(int lane)
{
	return (lane % 16) * tile<D>::LD + lane / 16 * 8;
}

template <int D>
static __device__ inline int
lane_by_column(int lane)
{
	return (lane % 8 + lane / 16 * 8) * tile<D>::LD + lane / 8 % 2 * 8;
}

/* c (16 x N) = x y^T over D: 16 rows of x, N rows of y. */
template <int D, int N>
static __device__ inline void
rows_by_rows(float c[N / 8][4], const uint16_t *x, const uint16_t *y, int lane)
{
	uint32_t a[4], b[4];

#pragma unroll
	for (int n = 0; n < N / 8; n++)
		c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
#pragma unroll
	for (int k = 0; k < D; k += 16) {
		ldmatrix(a, x + lane_by_row<D>(lane) + k);
#pragma unroll
		for (int n = 0; n < N; n += 16) {
			ldmatrix(b, y + n * tile<D>::LD + lane_by_column<D>(lane) + k);
			mma(c[n / 8], a, b[0], b[1]);
			mma(c[n / 8 + 1], a, b[2], b[3]);
		}
	}
}

/* c (16 x D) += p y: p (16 x N) as it came out of rows_by_rows(), rounded; N rows of y. */
template <int D, int N>
static __device__ inline void
scores_by_rows(float c[D / 8][4], const float p[N / 8][4], const uint16_t *y, int lane)
{
	uint32_t a[4], b[4];

#pragma unroll
	for (int n = 0; n < N; n += 16) {
		a[0] = pack2(p[n / 8][0], p[n / 8][1]);
		a[1] = pack2(p[n / 8][2], p[n / 8][3]);
		a[2] = pack2(p[n / 8 + 1][0], p[n / 8 + 1][1]);
		a[3] = pack2(p[n / 8 + 1][2], p[n / 8 + 1][3]);
#pragma unroll
		for (int k = 0; k < D; k += 16) {
			ldmatrix_trans(b, y + n * tile<D>::LD + lane_by_row<D>(lane) + k);
			mma(c[k / 8], a, b[0], b[1]);
			mma(c[k / 8 + 1], a, b[2], b[3]);
		}
	}
}

/* 16 x D numbers times a factor for each half, to rows of global memory: rows g and g + 8 of the warp's 16
 * when they are below `there`. */
template <int D>
static __device__ inline void
store_rows(uint16_t *to, int64_t ld, const float c[D / 8][4], float low, float high, int there, int dim,
    int lane)
{
	int g = lane / 4, t = lane % 4;

#pragma unroll
	for (int k = 0; k < D / 8; k++) {
		int at = 8 * k + 2 * t;

		if (at >= dim)
			continue;
		if (g < there)
			*reinterpret_cast<uint32_t *>(to + g * ld + at) = pack2(c[k][0] * low, c[k][1] * low);
		if (g + 8 < there)
			*reinterpret_cast<uint32_t *>(to + (g + 8) * ld + at) =
			    pack2(c[k][2] * high, c[k][3] * high);
	}
}

/* Sum and maximum over the four lanes that share a row of c. */
static __device__ inline float
quad_sum(float v)
{
	v += __shfl_xor_sync(0xffffffff, v, 1);
	return v + __shfl_xor_sync(0xffffffff, v, 2);
}

static __device__ inline float
quad_max(float v)
{
	v = fmaxf(v, __shfl_xor_sync(0xffffffff, v, 1));
	return fmaxf(v, __shfl_xor_sync(0xffffffff, v, 2));
}

/* One document's queries and keys. */
struct doc {
	int64_t q0, k0;
	int nq, nk, ahead; /* query i sees keys up to i + ahead */
};

static __device__ inline struct doc
find_doc(const struct qz_attn &a, int d)
{
	struct doc r;

	r.q0 = a.q_start[d];
	r.k0 = a.k_start[d];
	r.nq = static_cast<int>(a.q_start[d + 1] - r.q0);
	r.nk = static_cast<int>(a.k_start[d + 1] - r.k0);
	r.ahead = r.nk - r.nq;
	return r;
}

static __device__ inline bool
sees(const struct qz_attn &a, const struct doc &r, int i, int j)
{
	return i < r.nq && j < r.nk && j <= i + r.ahead && (a.window <= 0 || j > i + r.ahead - a.window);
}

/* The first key that query i sees, and the one behind the last. */
static __device__ inline int
first_key(const struct qz_attn &a, const struct doc &r, int i)
{
	int64_t first = a.window > 0 ? i + r.ahead - a.window + 1 : 0;

	return first > 0 ? static_cast<int>(first) : 0;
}

static __device__ inline int
end_key(const struct doc &r, int i)
{
	return i + r.ahead + 1 < r.nk ? i + r.ahead + 1 : r.nk;
}

/* What the tensor cores take: heads of whole vectors up to 128 numbers. */
static inline bool
by_tiles(const struct qz_attn *a)
{
	return a->head_dim % VECTOR == 0 && a->head_dim <= 128 &&
	    aligned(a->q, 16) && aligned(a->k, 16) && aligned(a->v, 16) && aligned(a->o, 16) &&
	    aligned(a->d_o, 16) && aligned(a->dq, 16) && aligned(a->dk, 16) && aligned(a->dv, 16);
}

ACT_BEGIN

/* attention_any.cu: any head_dim up to its limit, slowly. */
void qz_cuda_attention_any(struct qz_dev *d, const struct qz_attn *a);
void qz_cuda_attention_any_bwd(struct qz_dev *d, const struct qz_attn *a);

ACT_END

#endif
