/* rope: rotates the pairs (i, i + head_dim/2) of every head by the angle of the token's position. */
#include "kernels/cuda/vector.cuh"

ACT_BEGIN

enum { THREADS = 512, HEADS = 4 /* of a token, that a thread turns by the same angles */ };

struct rope {
	uint16_t *x[2]; /* q, k */
	const float *table;
	const int32_t *positions;
	int64_t tokens;
	int heads[2], groups[2]; /* groups of heads */
	int half, pieces;        /* pieces of eight pairs */
	float sign;
};

/* Eight pairs of q (`of` 0) or k, from x on, of the heads `head`, head + groups, ..., HEADS of them or fewer. */
static __device__ inline void
turn8(const struct rope &r, int of, uint16_t *x, const float *angles, int head)
{
	float4 cs[4];
	uint4 lo[HEADS], hi[HEADS];
	float a[VECTOR], b[VECTOR];
	int heads = r.heads[of], groups = r.groups[of];

#pragma unroll
	for (int k = 0; k < HEADS; k++) {
		uint16_t *at = x + static_cast<int64_t>(head + k * groups) * 2 * r.half;
		bool in = head + k * groups < heads;

		lo[k] = in ? *reinterpret_cast<uint4 *>(at) : make_uint4(0, 0, 0, 0);
		hi[k] = in ? *reinterpret_cast<uint4 *>(at + r.half) : make_uint4(0, 0, 0, 0);
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		cs[i] = reinterpret_cast<const float4 *>(angles)[i];
#pragma unroll
	for (int k = 0; k < HEADS; k++) {
		uint16_t *at = x + static_cast<int64_t>(head + k * groups) * 2 * r.half;

		if (head + k * groups >= heads)
			break;
		unpack8(a, lo[k]);
		unpack8(b, hi[k]);
#pragma unroll
		for (int i = 0; i < VECTOR; i++) {
			float c = i % 2 ? cs[i / 2].z : cs[i / 2].x, p = a[i], q = b[i];
			float s = (i % 2 ? cs[i / 2].w : cs[i / 2].y) * r.sign;

			a[i] = p * c - q * s;
			b[i] = q * c + p * s;
		}
		store8(at, a);
		store8(at + r.half, b);
	}
}

/* tokens_each tokens a block: rows of whole vectors on 16 bytes. */
static __global__ void __launch_bounds__(THREADS)
rotate(const __grid_constant__ struct rope r, int tokens_each)
{
	start_early();

	int items = r.pieces * (r.groups[0] + r.groups[1]);

	for (int i = threadIdx.x; i < items * tokens_each; i += static_cast<int>(blockDim.x)) {
		int64_t t = static_cast<int64_t>(blockIdx.x) * tokens_each + i / items;
		int item = i % items, first = item % r.pieces * VECTOR, group = item / r.pieces;
		int of = group >= r.groups[0];

		if (t >= r.tokens)
			return;
		turn8(r, of, r.x[of] + t * r.heads[of] * 2 * r.half + first,
		    r.table + (static_cast<int64_t>(r.positions[t]) * r.half + first) * 2,
		    of ? group - r.groups[0] : group);
	}
}

/* The same for any head_dim and any place: one pair of q or k a thread. */
static __global__ void
rotate_any(const __grid_constant__ struct rope r, int of)
{
	start_early();

	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, head = i / r.half;
	int at = static_cast<int>(i % r.half), heads = r.heads[of];
	const float *angle;
	uint16_t *lo;
	float a, b, s;

	if (head >= r.tokens * heads)
		return;
	angle = r.table + (static_cast<int64_t>(r.positions[head / heads]) * r.half + at) * 2;
	lo = r.x[of] + head * 2 * r.half + at;
	a = act_load(lo[0]);
	b = act_load(lo[r.half]);
	s = angle[1] * r.sign;
	lo[0] = act_round(a * angle[0] - b * s);
	lo[r.half] = act_round(b * angle[0] + a * s);
}

void
qz_cuda_rope(struct qz_dev *d, qz_act *q, qz_act *k, const qz_par *table, const int32_t *positions,
    int64_t t, int heads, int kv_heads, int head_dim, bool inverse)
{
	struct rope r = {};
	int items, each;

	qz_cuda_op(d, "rope", t, heads + kv_heads, head_dim);
	r = { { static_cast<uint16_t *>(q), static_cast<uint16_t *>(k) },
		static_cast<const float *>(table), positions, t, { heads, kv_heads },
		{ (heads + HEADS - 1) / HEADS, (kv_heads + HEADS - 1) / HEADS }, head_dim / 2,
		head_dim / 2 / VECTOR, inverse ? -1.0f : 1.0f };
	if (t < 1 || heads < 1 || r.half < 1)
		return;
	if (r.half % VECTOR || !aligned(q, 16) || !aligned(k, 16) || !aligned(table, 16)) {
		launch_flat<EARLY>(d, rotate_any, t * heads * r.half, 1, r, 0);
		if (kv_heads > 0)
			launch_flat<EARLY>(d, rotate_any, t * kv_heads * r.half, 1, r, 1);
		return;
	}
	items = r.pieces * (r.groups[0] + r.groups[1]);
	each = items < THREADS ? THREADS / items : 1;
	launch<EARLY>(d, rotate, dim3(static_cast<unsigned>(ceil_div(t, each))),
	    static_cast<unsigned>(items < THREADS ? items * each : THREADS), 0, r, each);
}

ACT_END
