/* rope: rotates the pairs (i, i + head_dim/2) of every head by the angle of the token's position. */
#include "kernels/cuda/vector.cuh"

ACT_BEGIN

enum { THREADS = 256, HEADS = 4 /* of a token, that a thread turns by the same angles */ };

struct rope {
	uint16_t *x;
	const float *table;
	const int32_t *positions;
	int64_t tokens;
	int heads, half, pieces, groups; /* pieces of eight pairs; groups of heads */
	float sign;
};

/* Eight pairs from `first` on of the heads `head`, head + groups, ..., HEADS of them or fewer. */
static __device__ inline void
turn8(const struct rope &r, uint16_t *x, const float *angles, int head)
{
	float4 cs[4];
	uint4 lo[HEADS], hi[HEADS];
	float a[VECTOR], b[VECTOR];

#pragma unroll
	for (int k = 0; k < HEADS; k++) {
		uint16_t *at = x + static_cast<int64_t>(head + k * r.groups) * 2 * r.half;
		bool in = head + k * r.groups < r.heads;

		lo[k] = in ? *reinterpret_cast<uint4 *>(at) : make_uint4(0, 0, 0, 0);
		hi[k] = in ? *reinterpret_cast<uint4 *>(at + r.half) : make_uint4(0, 0, 0, 0);
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		cs[i] = reinterpret_cast<const float4 *>(angles)[i];
#pragma unroll
	for (int k = 0; k < HEADS; k++) {
		uint16_t *at = x + static_cast<int64_t>(head + k * r.groups) * 2 * r.half;

		if (head + k * r.groups >= r.heads)
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
rotate(struct rope r, int tokens_each)
{
	start_early();

	int items = r.pieces * r.groups;

	for (int i = threadIdx.x; i < items * tokens_each; i += THREADS) {
		int64_t t = static_cast<int64_t>(blockIdx.x) * tokens_each + i / items;
		int item = i % items, first = item % r.pieces * VECTOR;

		if (t >= r.tokens)
			return;
		turn8(r, r.x + t * r.heads * 2 * r.half + first,
		    r.table + (static_cast<int64_t>(r.positions[t]) * r.half + first) * 2, item / r.pieces);
	}
}

/* The same for any head_dim and any place: one pair a thread. */
static __global__ void __launch_bounds__(THREADS)
rotate_any(struct rope r)
{
	start_early();

	int64_t i = static_cast<int64_t>(blockIdx.x) * THREADS + threadIdx.x, head = i / r.half;
	int at = static_cast<int>(i % r.half);
	const float *angle;
	uint16_t *lo;
	float a, b, s;

	if (head >= r.tokens * r.heads)
		return;
	angle = r.table + (static_cast<int64_t>(r.positions[head / r.heads]) * r.half + at) * 2;
	lo = r.x + head * 2 * r.half + at;
	a = act_load(lo[0]);
	b = act_load(lo[r.half]);
	s = angle[1] * r.sign;
	lo[0] = act_round(a * angle[0] - b * s);
	lo[r.half] = act_round(b * angle[0] + a * s);
}

void
qz_cuda_rope(struct qz_dev *d, qz_act *x, const qz_par *table, const int32_t *positions, int64_t t,
    int heads, int head_dim, bool inverse)
{
	struct rope r = {};
	int items, each;

	qz_cuda_op(d, "rope", t, heads, head_dim);
	r.x = static_cast<uint16_t *>(x);
	r.table = static_cast<const float *>(table);
	r.positions = positions;
	r.tokens = t;
	r.heads = heads;
	r.half = head_dim / 2;
	r.pieces = r.half / VECTOR;
	r.groups = (heads + HEADS - 1) / HEADS;
	r.sign = inverse ? -1.0f : 1.0f;
	items = r.pieces * r.groups;
	if (t < 1 || heads < 1 || r.half < 1)
		return;
	if (r.half % VECTOR || !aligned(x, 16) || !aligned(table, 16)) {
		launch_flat<EARLY>(d, rotate_any, t * heads * r.half, 1, r);
		return;
	}
	each = items < THREADS ? THREADS / items : 1;
	launch<EARLY>(d, rotate, dim3(static_cast<unsigned>(ceil_div(t, each))), THREADS, 0, r, each);
}

ACT_END
