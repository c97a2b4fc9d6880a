/* attention_bwd: the scores are computed again, P = exp(scale q k - lse), dS = P * (dP - sum(d_o * o)).
 *
 * Two kernels of one shape, so that nothing is added to from two places: 64 rows stay, the others pass
 * by in tiles of PASS.  For dq queries stay and keys pass; for dk and dv keys stay and the queries of all
 * heads that share them pass.  The rows that stay are the rows of each score tile, so that it is at once
 * the first operand of the next product. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_90.cuh"

ACT_BEGIN

static constexpr float LOG2E = 1.44269504f;

enum { PASS = ACT_TYPE == QZ_F16 ? 16 : 32 /* as KEYS of attention.cu */ };

size_t
qz_cuda_attention_need(struct qz_dev *d, const struct qz_need *need)
{
	size_t most = qz_cuda_round(need->tokens * need->heads * 4), other = qz_cuda_sdpa_need(d, need);
	int64_t docs = need->docs > 0 ? need->docs : need->tokens;
	size_t hopper = qz_cuda_back_90_need(d, need->tokens, docs, need->heads);

	most = other > most ? other : most;
	return hopper > most ? hopper : most;
}

/* delta (n_q, heads) = sum of d_o * o over a head: a warp a query and head. */
static __global__ void
dots(struct qz_attn a, float *delta, int64_t room, struct qz_cuda_own *own)
{
	int lane = threadIdx.x % 32, head = blockIdx.y;
	int64_t n = a.q_start[a.n_docs], row = static_cast<int64_t>(blockIdx.x) * ATT_WARPS + threadIdx.x / 32;
	int64_t at = (row * a.heads + head) * a.head_dim;
	float sum = 0;

	if (row >= n)
		return;
	if (row >= room) {
		if (lane == 0 &&
		    atomicCAS(&own->note.trouble, QZ_CUDA_FINE, QZ_CUDA_NO_ROOM) == QZ_CUDA_FINE) {
			own->note.value = static_cast<unsigned>(row);
			own->note.limit = room;
		}
		return;
	}
	for (int c = lane; c < a.head_dim; c += 32)
		sum = fmaf(act_load(static_cast<const uint16_t *>(a.d_o)[at + c]),
		    act_load(static_cast<const uint16_t *>(a.o)[at + c]), sum);
	for (int i = 16; i > 0; i /= 2)
		sum += __shfl_xor_sync(0xffffffff, sum, i);
	if (lane == 0)
		delta[row * a.heads + head] = sum;
}

/* Of PASS rows that go by: lse in powers of two and delta, for keys that stay. */
static __device__ inline void
load_stats(float *lse, float *delta, const struct qz_attn &a, const float *all, const struct doc &r, int i0,
    int head)
{
	int i = i0 + static_cast<int>(threadIdx.x);

	if (threadIdx.x >= PASS || i >= r.nq)
		return;
	lse[threadIdx.x] = static_cast<const float *>(a.lse)[(r.q0 + i) * a.heads + head] * LOG2E;
	delta[threadIdx.x] = all[(r.q0 + i) * a.heads + head];
}

/* KV: keys stay, blockIdx.y is a key/value head; else queries stay and it is a head. */
template <int D, bool KV>
static __global__ void
__launch_bounds__(ATT_THREADS) attend_back(struct qz_attn a, const float *all, int blocks)
{
	constexpr int LD = tile<D>::LD;
	extern __shared__ __align__(16) uint16_t shared[];
	uint16_t *x1 = shared, *x2 = x1 + ATT_ROWS * LD, *y1 = x2 + ATT_ROWS * LD, *y2 = y1 + 2 * PASS * LD;
	float *stats = reinterpret_cast<float *>(y2 + 2 * PASS * LD); /* lse[2][PASS], delta[2][PASS] */
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = a.heads / a.kv_heads;
	int kv_head = KV ? blockIdx.y : blockIdx.y / group, head = KV ? blockIdx.y * group : blockIdx.y;
	int tile0 = static_cast<int>(blockIdx.x % blocks), x0 = (KV ? tile0 : blocks - 1 - tile0) * ATT_ROWS;
	struct doc r = find_doc(a, static_cast<int>(blockIdx.x / blocks));
	int64_t ldq = static_cast<int64_t>(a.heads) * a.head_dim, ldk = static_cast<int64_t>(a.kv_heads) * a.head_dim;
	int64_t atq = r.q0 * ldq + static_cast<int64_t>(head) * a.head_dim;
	int64_t atk = r.k0 * ldk + static_cast<int64_t>(kv_head) * a.head_dim;
	int64_t ldx = KV ? ldk : ldq, ldy = KV ? ldq : ldk, dim = a.head_dim;
	const uint16_t *q = static_cast<const uint16_t *>(a.q) + atq, *k = static_cast<const uint16_t *>(a.k) + atk;
	const uint16_t *g = static_cast<const uint16_t *>(a.d_o) + atq, *v = static_cast<const uint16_t *>(a.v) + atk;
	const uint16_t *from1 = KV ? q : k, *from2 = KV ? g : v;
	int there = (KV ? r.nk : r.nq) - x0, lo, hi, steps, n_y = KV ? r.nq : r.nk;
	float c1[D / 8][4] = {}, c2[KV ? D / 8 : 1][4] = {}, p[PASS / 8][4], ds[PASS / 8][4];
	float scale = a.scale * LOG2E, lse[2] = {}, delta[2] = {};
	int row = x0 + 16 * warp + lane / 4;

	if (there < 1)
		return;
	if (KV) {
		int last = x0 + ATT_ROWS < r.nk ? x0 + ATT_ROWS - 1 : r.nk - 1;
		int64_t end = a.window > 0 ? last - r.ahead + a.window : r.nq; /* behind the last query */

		lo = x0 - r.ahead > 0 ? (x0 - r.ahead) / PASS * PASS : 0;
		hi = end < r.nq ? static_cast<int>(end) : r.nq;
	} else {
		int last = x0 + ATT_ROWS < r.nq ? x0 + ATT_ROWS - 1 : r.nq - 1;

		lo = first_key(a, r, x0) / PASS * PASS;
		hi = end_key(r, last);
		for (int h = 0; h < 2; h++)
			if (row + 8 * h < r.nq) {
				int64_t at = (r.q0 + row + 8 * h) * a.heads + head;

				lse[h] = static_cast<const float *>(a.lse)[at] * LOG2E;
				delta[h] = all[at];
			}
	}
	steps = hi > lo ? (hi - lo + PASS - 1) / PASS : 0;
	load_tile<D, ATT_ROWS>(x1, (KV ? k : q) + x0 * ldx, ldx, there, a.head_dim);
	load_tile<D, ATT_ROWS>(x2, (KV ? v : g) + x0 * ldx, ldx, there, a.head_dim);
	for (int i = 0; i <= steps * (KV ? group : 1); i++) {
		/* Step i is loaded while step i - 1 is worked on. */
		if (i < steps * (KV ? group : 1)) {
			int y0 = lo + i % steps * PASS, to = i % 2 * PASS * LD;
			int64_t at = y0 * ldy + (KV ? i / steps * dim : 0);

			load_tile<D, PASS>(y1 + to, from1 + at, ldy, n_y - y0, a.head_dim);
			load_tile<D, PASS>(y2 + to, from2 + at, ldy, n_y - y0, a.head_dim);
			if (KV)
				load_stats(stats + i % 2 * PASS, stats + (2 + i % 2) * PASS, a, all, r, y0,
				    head + i / steps);
		}
		copy_group();
		if (i == 0)
			continue;
		copy_wait<1>();
		__syncthreads();
		int stage = (i - 1) % 2, y0 = lo + (i - 1) % steps * PASS;
		const uint16_t *s1 = y1 + stage * PASS * LD, *s2 = y2 + stage * PASS * LD;

		rows_by_rows<D, PASS>(p, x1 + 16 * warp * LD, s1, lane);
		rows_by_rows<D, PASS>(ds, x2 + 16 * warp * LD, s2, lane);
#pragma unroll
		for (int n = 0; n < PASS / 8; n++)
#pragma unroll
			for (int e = 0; e < 4; e++) {
				int x = row + e / 2 * 8, c = 8 * n + 2 * (lane % 4) + e % 2, y = y0 + c;
				bool in = KV ? sees(a, r, y, x) : sees(a, r, x, y);
				float top = KV ? stats[stage * PASS + c] : lse[e / 2];
				float mean = KV ? stats[(2 + stage) * PASS + c] : delta[e / 2];

				p[n][e] = in ? exp2_fast(p[n][e] * scale - top) : 0;
				ds[n][e] = in ? p[n][e] * (ds[n][e] - mean) : 0;
			}
		scores_by_rows<D, PASS>(c1, ds, s1, lane);
		if constexpr (KV)
			scores_by_rows<D, PASS>(c2, p, s2, lane);
		__syncthreads();
	}
	copy_wait<0>();
	there -= 16 * warp;
	if constexpr (KV) {
		int64_t at = atk + (x0 + 16 * warp) * ldk;

		store_rows<D>(static_cast<uint16_t *>(a.dk) + at, ldk, c1, a.scale, a.scale, there, a.head_dim, lane);
		store_rows<D>(static_cast<uint16_t *>(a.dv) + at, ldk, c2, 1, 1, there, a.head_dim, lane);
	} else {
		store_rows<D>(static_cast<uint16_t *>(a.dq) + atq + (x0 + 16 * warp) * ldq, ldq, c1, a.scale, a.scale,
		    there, a.head_dim, lane);
	}
}

template <int D>
static void
both(struct qz_dev *d, const struct qz_attn *a, const float *delta)
{
	size_t shared = (2 * ATT_ROWS + 4 * PASS) * tile<D>::LD * 2 + 4 * PASS * sizeof(float);
	int blocks = (a->max_q + ATT_ROWS - 1) / ATT_ROWS;
	unsigned x = static_cast<unsigned>(a->n_docs) * static_cast<unsigned>(blocks);

	launch_large(d, attend_back<D, true>, dim3(x, static_cast<unsigned>(a->kv_heads)), ATT_THREADS, shared,
	    *a, delta, blocks);
	launch_large(d, attend_back<D, false>, dim3(x, static_cast<unsigned>(a->heads)), ATT_THREADS, shared,
	    *a, delta, blocks);
}

/* Are the kernels for Hopper to be tried before cuDNN, which was not asked for?  They are as fast in order as cuDNN
 * is in any. */
static bool
hopper_first(const struct qz_attn *a)
{
	enum qz_cuda_wish wish = qz_cuda_attention_wish();

	return wish == QZ_WISH_OWN || (wish == QZ_WISH_FASTEST && !a->any_order && a->parts < 1);
}

void
qz_cuda_attention_bwd(struct qz_dev *d, const struct qz_attn *a)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	int64_t rows = static_cast<int64_t>(a->n_docs) * a->max_q, room = static_cast<int64_t>(c->ws_n / 4) / a->heads;
	float *delta = reinterpret_cast<float *>(c->ws);

	qz_cuda_op(d, "attention_bwd", a->max_q, a->max_k, a->head_dim);
	if (rows < 1 || (hopper_first(a) && qz_cuda_back_90(d, a)) || qz_cuda_sdpa(d, a, true))
		return;
	if (!by_tiles(a)) {
		qz_cuda_attention_any_bwd(d, a);
		return;
	}
	if (!c->ws || room < a->max_q) {
		qz_cuda_keep(d, QZ_EIO, "attention_bwd: %d queries, the workspace has room for %lld", a->max_q,
		    static_cast<long long>(c->ws ? room : 0));
		return;
	}
	launch(d, dots, dim3(static_cast<unsigned>(ceil_div(rows, ATT_WARPS)), static_cast<unsigned>(a->heads)),
	    ATT_THREADS, 0, *a, delta, room, c->own);
	if (a->head_dim <= 64)
		both<64>(d, a, delta);
	else
		both<128>(d, a, delta);
}

ACT_END
