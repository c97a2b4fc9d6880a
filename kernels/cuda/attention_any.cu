/* attention for heads that the tensor cores do not take (odd ones, more than 128 numbers): a warp a query, or a key, of one head; float32 throughout. */
#include "kernels/cuda/attention.cuh"

ACT_BEGIN

enum { PART = 16, LONGEST = 32 * PART }; /* numbers of a head in a lane, in a warp */

static __device__ inline float
warp_sum(float v)
{
	for (int i = 16; i > 0; i /= 2)
		v += __shfl_xor_sync(0xffffffff, v, i);
	return v;
}

/* The lane's share of a head: numbers lane, lane + 32, ... */
static __device__ inline void
take(float f[PART], const void *from, int64_t at, int dim, int lane)
{
#pragma unroll
	for (int i = 0; i < PART; i++)
		f[i] = lane + 32 * i < dim ? act_load(static_cast<const uint16_t *>(from)[at + lane + 32 * i])
					   : 0;
}

static __device__ inline void
give(void *to, int64_t at, const float f[PART], float scale, int dim, int lane)
{
#pragma unroll
	for (int i = 0; i < PART; i++)
		if (lane + 32 * i < dim)
			static_cast<uint16_t *>(to)[at + lane + 32 * i] = act_round(f[i] * scale);
}

static __device__ inline float
dot(const float a[PART], const float b[PART])
{
	float sum = 0;

#pragma unroll
	for (int i = 0; i < PART; i++)
		sum = fmaf(a[i], b[i], sum);
	return warp_sum(sum);
}

/* y += c * x */
static __device__ inline void
add_times(float y[PART], float c, const float x[PART])
{
#pragma unroll
	for (int i = 0; i < PART; i++)
		y[i] = fmaf(c, x[i], y[i]);
}

static __device__ inline int64_t
head_at(const struct qz_attn &a, int64_t row, int head, int heads)
{
	return (row * heads + head) * a.head_dim;
}

/* Which of a document's rows this warp has; false: none. */
static __device__ inline bool
find_row(const struct qz_attn &a, int most, struct doc *r, int *i)
{
	int64_t at = static_cast<int64_t>(blockIdx.x) * ATT_WARPS + threadIdx.x / 32;

	if (at >= static_cast<int64_t>(a.n_docs) * most)
		return false;
	*r = find_doc(a, static_cast<int>(at / most));
	*i = static_cast<int>(at % most);
	return true;
}

static __global__ void
attend(struct qz_attn a)
{
	int lane = threadIdx.x % 32, head = blockIdx.y, kv_head = head / (a.heads / a.kv_heads), i, end;
	float q[PART], x[PART], o[PART] = {}, top = -INFINITY, sum = 0;
	struct doc r;

	if (!find_row(a, a.max_q, &r, &i) || i >= r.nq)
		return;
	take(q, a.q, head_at(a, r.q0 + i, head, a.heads), a.head_dim, lane);
	end = end_key(r, i);
	for (int j = first_key(a, r, i); j < end; j++) {
		int64_t at = head_at(a, r.k0 + j, kv_head, a.kv_heads);
		float s, down;

		take(x, a.k, at, a.head_dim, lane);
		s = dot(q, x) * a.scale;
		down = s > top ? expf(top - s) : 1;
		top = s > top ? s : top;
		s = expf(s - top);
		sum = fmaf(sum, down, s);
		take(x, a.v, at, a.head_dim, lane);
#pragma unroll
		for (int c = 0; c < PART; c++)
			o[c] = fmaf(o[c], down, s * x[c]);
	}
	give(a.o, head_at(a, r.q0 + i, head, a.heads), o, sum > 0 ? 1 / sum : 0, a.head_dim, lane);
	if (lane == 0)
		static_cast<float *>(a.lse)[(r.q0 + i) * a.heads + head] =
		    sum > 0 ? top + logf(sum) : -INFINITY;
}

/* dq of one query. */
static __global__ void
queries(struct qz_attn a)
{
	int lane = threadIdx.x % 32, head = blockIdx.y, kv_head = head / (a.heads / a.kv_heads), i, end;
	float q[PART], g[PART], x[PART], y[PART], dq[PART] = {}, delta, lse;
	int64_t at;
	struct doc r;

	if (!find_row(a, a.max_q, &r, &i) || i >= r.nq)
		return;
	at = head_at(a, r.q0 + i, head, a.heads);
	take(q, a.q, at, a.head_dim, lane);
	take(g, a.d_o, at, a.head_dim, lane);
	take(x, a.o, at, a.head_dim, lane);
	delta = dot(g, x);
	lse = static_cast<const float *>(a.lse)[(r.q0 + i) * a.heads + head];
	end = end_key(r, i);
	for (int j = first_key(a, r, i); j < end; j++) {
		int64_t kv = head_at(a, r.k0 + j, kv_head, a.kv_heads);

		take(x, a.k, kv, a.head_dim, lane);
		take(y, a.v, kv, a.head_dim, lane);
		add_times(dq, expf(dot(q, x) * a.scale - lse) * (dot(g, y) - delta), x);
	}
	give(a.dq, at, dq, a.scale, a.head_dim, lane);
}

/* dk and dv of one key, from the queries of all heads that share it. */
static __global__ void
keys(struct qz_attn a)
{
	int lane = threadIdx.x % 32, kv_head = blockIdx.y, group = a.heads / a.kv_heads, j;
	float k[PART], v[PART], q[PART], g[PART], o[PART], dk[PART] = {}, dv[PART] = {};
	int64_t at;
	struct doc r;

	if (!find_row(a, a.max_k, &r, &j) || j >= r.nk)
		return;
	at = head_at(a, r.k0 + j, kv_head, a.kv_heads);
	take(k, a.k, at, a.head_dim, lane);
	take(v, a.v, at, a.head_dim, lane);
	for (int n = 0; n < group * r.nq; n++) {
		int head = kv_head * group + n / r.nq, i = n % r.nq;
		int64_t row = head_at(a, r.q0 + i, head, a.heads);
		float p;

		if (!sees(a, r, i, j))
			continue;
		take(q, a.q, row, a.head_dim, lane);
		take(g, a.d_o, row, a.head_dim, lane);
		take(o, a.o, row, a.head_dim, lane);
		p = expf(dot(q, k) * a.scale -
		    static_cast<const float *>(a.lse)[(r.q0 + i) * a.heads + head]);
		add_times(dv, p, g);
		add_times(dk, p * (dot(g, v) - dot(g, o)), q);
	}
	give(a.dk, at, dk, a.scale, a.head_dim, lane);
	give(a.dv, at, dv, 1, a.head_dim, lane);
}

static bool
fits(struct qz_dev *d, const struct qz_attn *a)
{
	if (a->head_dim <= LONGEST)
		return true;
	qz_cuda_keep(d, QZ_EDATA, "%s: heads of %d, at most %d", cuda_dev(d)->op, a->head_dim, LONGEST);
	return false;
}

static dim3
grid(const struct qz_attn *a, int most, int heads)
{
	return dim3(static_cast<unsigned>(ceil_div(static_cast<int64_t>(a->n_docs) * most, ATT_WARPS)),
	    static_cast<unsigned>(heads));
}

void
qz_cuda_attention_any(struct qz_dev *d, const struct qz_attn *a)
{
	if (fits(d, a))
		launch(d, attend, grid(a, a->max_q, a->heads), ATT_THREADS, 0, *a);
}

void
qz_cuda_attention_any_bwd(struct qz_dev *d, const struct qz_attn *a)
{
	if (!fits(d, a))
		return;
	launch(d, queries, grid(a, a->max_q, a->heads), ATT_THREADS, 0, *a);
	launch(d, keys, grid(a, a->max_k, a->kv_heads), ATT_THREADS, 0, *a);
}

ACT_END
