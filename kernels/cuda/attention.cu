/* attention: 64 queries of a head against all keys that they see, 64 at a time; the softmax is kept up as
 * the keys go by (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al.,
 * "FlashAttention", 2022).  Scores and sums in float32, probabilities rounded for their
 * product with v.  The next keys are copied while these are worked on. */
#include "kernels/cuda/attention.cuh"

ACT_BEGIN

static constexpr float LOG2E = 1.44269504f, LN2 = 0.693147181f;

/* float16 is for sm_75, whose blocks have 64 KiB of shared memory. */
enum { KEYS = ACT_TYPE == QZ_F16 ? 32 : 64 };

template <int D>
static __global__ void
__launch_bounds__(ATT_THREADS) attend(struct qz_attn a, int blocks)
{
	constexpr int LD = tile<D>::LD;
	extern __shared__ __align__(16) uint16_t shared[];
	uint16_t *q_s = shared, *k_s = q_s + ATT_ROWS * LD, *v_s = k_s + 2 * KEYS * LD;
	int lane = threadIdx.x % 32, warp = threadIdx.x / 32, head = blockIdx.y;
	int q0 = (blocks - 1 - static_cast<int>(blockIdx.x % blocks)) * ATT_ROWS, last, lo, hi;
	struct doc r = find_doc(a, static_cast<int>(blockIdx.x / blocks));
	int64_t ldq = static_cast<int64_t>(a.heads) * a.head_dim, ldk = static_cast<int64_t>(a.kv_heads) * a.head_dim;
	int64_t at = (r.q0 + q0) * ldq + static_cast<int64_t>(head) * a.head_dim;
	int64_t kv = r.k0 * ldk + static_cast<int64_t>(head / (a.heads / a.kv_heads)) * a.head_dim;
	const uint16_t *k = static_cast<const uint16_t *>(a.k) + kv, *v = static_cast<const uint16_t *>(a.v) + kv;
	float o[D / 8][4] = {}, s[KEYS / 8][4], scale = a.scale * LOG2E;
	float top[2] = { -INFINITY, -INFINITY }, sum[2] = {};
	int row = q0 + 16 * warp + lane / 4;

	if (q0 >= r.nq)
		return;
	last = q0 + ATT_ROWS < r.nq ? q0 + ATT_ROWS - 1 : r.nq - 1;
	lo = first_key(a, r, q0) / KEYS * KEYS;
	hi = end_key(r, last);
	load_tile<D, ATT_ROWS>(q_s, static_cast<const uint16_t *>(a.q) + at, ldq, r.nq - q0, a.head_dim);
	if (lo < hi) {
		load_tile<D, KEYS>(k_s, k + lo * ldk, ldk, r.nk - lo, a.head_dim);
		load_tile<D, KEYS>(v_s, v + lo * ldk, ldk, r.nk - lo, a.head_dim);
	}
	copy_group();
	for (int j0 = lo, stage = 0; j0 < hi; j0 += KEYS, stage ^= 1) {
		bool whole = j0 + KEYS <= r.nk && q0 + ATT_ROWS <= r.nq && j0 + KEYS - 1 <= q0 + r.ahead &&
		    (a.window <= 0 || j0 > last + r.ahead - a.window);

		if (j0 + KEYS < hi) {
			int next = j0 + KEYS, to = (stage ^ 1) * KEYS * LD;

			load_tile<D, KEYS>(k_s + to, k + next * ldk, ldk, r.nk - next, a.head_dim);
			load_tile<D, KEYS>(v_s + to, v + next * ldk, ldk, r.nk - next, a.head_dim);
		}
		copy_group();
		copy_wait<1>();
		__syncthreads();
		rows_by_rows<D, KEYS>(s, q_s + 16 * warp * LD, k_s + stage * KEYS * LD, lane);
#pragma unroll
		for (int h = 0; h < 2; h++) {
			float most = top[h], down, shift;

#pragma unroll
			for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
				for (int e = 0; e < 2; e++) {
					float *x = &s[n][2 * h + e];

					*x = whole || sees(a, r, row + 8 * h, j0 + 8 * n + 2 * (lane % 4) + e)
					    ? *x * scale
					    : -INFINITY;
					most = fmaxf(most, *x);
				}
			most = quad_max(most);
			shift = most == -INFINITY ? 0 : most; /* a row that has seen nothing yet */
			down = exp2_fast(top[h] - shift);
			top[h] = most;
			sum[h] *= down;
#pragma unroll
			for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
				for (int e = 0; e < 2; e++) {
					s[n][2 * h + e] = exp2_fast(s[n][2 * h + e] - shift);
					sum[h] += s[n][2 * h + e];
				}
#pragma unroll
			for (int c = 0; c < D / 8; c++) {
				o[c][2 * h] *= down;
				o[c][2 * h + 1] *= down;
			}
		}
		scores_by_rows<D, KEYS>(o, s, v_s + stage * KEYS * LD, lane);
		__syncthreads();
	}
	copy_wait<0>();
	for (int h = 0; h < 2; h++) {
		sum[h] = quad_sum(sum[h]);
		if (row + 8 * h < r.nq && lane % 4 == 0)
			static_cast<float *>(a.lse)[(r.q0 + row + 8 * h) * a.heads + head] =
			    sum[h] > 0 ? (top[h] + log2f(sum[h])) * LN2 : -INFINITY;
	}
	store_rows<D>(static_cast<uint16_t *>(a.o) + at + 16 * warp * ldq, ldq, o, sum[0] > 0 ? 1 / sum[0] : 0,
	    sum[1] > 0 ? 1 / sum[1] : 0, r.nq - q0 - 16 * warp, a.head_dim, lane);
}

void
qz_cuda_attention(struct qz_dev *d, const struct qz_attn *a)
{
	int blocks = (a->max_q + ATT_ROWS - 1) / ATT_ROWS;
	dim3 grid(static_cast<unsigned>(a->n_docs) * static_cast<unsigned>(blocks),
	    static_cast<unsigned>(a->heads));

	qz_cuda_op(d, "attention", a->max_q, a->max_k, a->head_dim);
	if (a->n_docs < 1 || blocks < 1 || qz_cuda_sdpa(d, a, false))
		return;
	if (!by_tiles(a))
		qz_cuda_attention_any(d, a);
	else if (a->head_dim <= 64)
		launch_large(d, attend<64>, grid, ATT_THREADS, (ATT_ROWS + 4 * KEYS) * tile<64>::LD * 2, *a,
		    blocks);
	else
		launch_large(d, attend<128>, grid, ATT_THREADS, (ATT_ROWS + 4 * KEYS) * tile<128>::LD * 2, *a,
		    blocks);
}

ACT_END
