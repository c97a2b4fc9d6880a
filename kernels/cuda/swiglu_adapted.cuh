/* swiglu_adapted - swiglu and its backward pass together with the adapters' products that read what they write: gate,
 * up and h are the largest matrices of a layer, and each pass over one that is saved is 7 % of those.
 *
 * Blocks share the tiles of all stripes evenly, stripe by stripe: a block has a run of tiles, and may end one stripe and
 * begin the next.  Ranks 8 and 16, columns multiples of 8, all on 16 bytes; others are left to the ops one by one. */
#ifndef QZ_CUDA_SWIGLU_ADAPTED_CUH
#define QZ_CUDA_SWIGLU_ADAPTED_CUH

#include "kernels/cuda/adapter_tile.cuh"
#include "kernels/cuda/drop.cuh"
#include "kernels/cuda/linear.cuh"
#include "kernels/cuda/swiglu.cuh"

namespace adapted {

enum { WARPS = 16, THREADS = 32 * WARPS, COLUMNS = STRIPE / WARPS, K = COLUMNS / 16 };

/* How tiles are shared: of each stripe `tiles`, `units` in all, `per` of them a block. */
struct sharing {
	int64_t tiles, units, per;
};

static inline struct sharing
share_among(int64_t t, int64_t cols, int64_t blocks)
{
	struct sharing s;

	s.tiles = ceil_div(t, TILE);
	s.units = s.tiles * ceil_div(cols, STRIPE);
	s.per = ceil_div(s.units, blocks < s.units ? blocks : s.units);
	return s;
}

static inline unsigned
blocks_of(const struct sharing &s)
{
	return static_cast<unsigned>(ceil_div(s.units, s.per));
}

/* run(stripe, first, n) for the tiles first .. first + n of each stripe that this block has some of. */
template <typename F>
static __device__ inline void
each_stripe(const struct sharing &s, F run)
{
	int64_t unit = blockIdx.x * s.per, end = unit + s.per < s.units ? unit + s.per : s.units;

	for (int64_t n; unit < end; unit += n) {
		int64_t stripe = unit / s.tiles, first = unit % s.tiles;

		n = s.tiles - first < end - unit ? s.tiles - first : end - unit;
		run(stripe, first, n);
	}
}

/* What a thread has of each tile: a vector of the tokens row() and row() + 1. */
static __device__ inline int
row_of_thread(void)
{
	int k = threadIdx.x / (STRIPE / VECTOR);

	return k % 4 * 2 + k / 4 * 8;
}

static __device__ inline int
col_of_thread(void)
{
	return threadIdx.x % (STRIPE / VECTOR) * VECTOR;
}

static_assert(THREADS / (STRIPE / VECTOR) * 2 == TILE, "all rows of a tile");

static inline bool
rank_fits(const struct qz_linear *l)
{
	return (l->rank == 8 || l->rank == 16) && qz_linear_lds(l) % 8 == 0 && aligned(l->s, 16) &&
	    aligned(l->a, 4) && aligned(l->b, 4);
}

}

ACT_BEGIN

/* The one pass of each; false: not for these shapes, or no room, and nothing was done.  The workspace is free from
 * `used` on. */
bool qz_cuda_swiglu_s(struct qz_dev *d, qz_act *h, const qz_act *g, const qz_act *u, const struct qz_linear *down,
    int64_t t, size_t used);
bool qz_cuda_swiglu_p(struct qz_dev *d, qz_act *g, qz_act *u, const qz_act *dh, const struct qz_linear *down,
    const struct qz_linear *gate_up, int64_t t, size_t used);
size_t qz_cuda_swiglu_need(struct qz_dev *d, const struct qz_need *need);

ACT_END

#endif
