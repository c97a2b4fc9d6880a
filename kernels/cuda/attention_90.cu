/* attention_bwd for Hopper, by the products of wgmma.cuh: P = exp(scale q k - lse), dS = P * (dP - delta).
 *
 * Two kernels, so that nothing is added to from two places: one in which a tile of keys stays and the queries
 * of all heads that share them pass (dk, dv), one in which queries stay and keys pass (dq); the scores are
 * computed in both, seven products where five would do.  In each the rows that stay are the rows of the score
 * tile, 64 a warpgroup, so that P and dS go from one product's result into the next one's factor in registers.
 * One warp more brings the tiles that pass, ahead by `stages` of them.
 * Before them a pass over o and d_o makes delta, and lse in powers of two, in tables of a row a head in which
 * documents begin on tiles: what pads a document there makes P zero.  Tiles themselves may hold rows of
 * the next document, which P and dS multiply with zero.
 * What a tile sees: attention_tiles.h. */
#include <cmath>

#include "kernels/cuda/attention_90.cuh"
#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/tensor_map.cuh"
#include "kernels/cuda/wgmma.cuh"

static constexpr float LOG2E = 1.44269504f;

enum { ROWS = QZ_TILE_ROWS, PREPARE_THREADS = 256, SHARED_ALIGN = 1024, LONG = 4096 /* queries of a document */ };

/* Arrays of heads as the copying unit sees them. */
struct maps {
	CUtensorMap q, k, v, d_o;
};

/* lse and delta as the kernels read them: row `head` of each, `ld` apart. */
struct stats {
	float *lse, *delta;
	int64_t ld;
};

/* Half a warp a query and head; blockIdx.x: 64 rows of a document, blockIdx.y: two heads. */
static __global__ void
__launch_bounds__(PREPARE_THREADS) prepare(struct qz_attn a, struct stats to, int tiles)
{
	start_early();

	__shared__ float lse[2][ROWS], delta[2][ROWS];
	struct doc r = find_doc(a, static_cast<int>(blockIdx.x / tiles));
	int row0 = static_cast<int>(blockIdx.x % tiles) * ROWS, half = threadIdx.x / 16 % 2, c = threadIdx.x % 16 * VECTOR;
	int head = 2 * blockIdx.y + half;
	int64_t pad = qz_padded_row(r.q0, blockIdx.x / tiles) + row0;

	if (row0 >= r.nq)
		return;
	for (int i = threadIdx.x / 32; i < ROWS; i += PREPARE_THREADS / 32) {
		bool in = row0 + i < r.nq && head < a.heads;
		int64_t row = (r.q0 + row0 + i) * a.heads + head;
		float x[VECTOR] = {}, y[VECTOR] = {}, sum = 0;

		if (in && c < a.head_dim) {
			load8(x, static_cast<const uint16_t *>(a.d_o) + row * a.head_dim + c);
			load8(y, static_cast<const uint16_t *>(a.o) + row * a.head_dim + c);
		}
#pragma unroll
		for (int e = 0; e < VECTOR; e++)
			sum = fmaf(x[e], y[e], sum);
		for (int s = 8; s > 0; s /= 2)
			sum += __shfl_xor_sync(0xffffffff, sum, s);
		if (c == 0) {
			lse[half][i] = in ? static_cast<const float *>(a.lse)[row] * LOG2E : INFINITY;
			delta[half][i] = sum;
		}
	}
	__syncthreads();
	half = threadIdx.x / ROWS % 2;
	head = 2 * blockIdx.y + half;
	pad += head * to.ld + threadIdx.x % ROWS;
	if (head < a.heads && threadIdx.x < 2 * ROWS)
		to.lse[pad] = lse[half][threadIdx.x % ROWS];
	else if (head < a.heads)
		to.delta[pad] = delta[half][threadIdx.x % ROWS];
}

/* `rows` rows of a head from `row` on to `panels` panels, all rows of a panel together. */
static __device__ inline void
copy_tile(char *to, const CUtensorMap *from, int panels, int rows, int head, int row, uint64_t *b)
{
	for (int p = 0; p < panels; p++)
		for (int i = 0; i < rows; i += ROWS)
			copy_panel(to + (p * rows + i) * PANEL_ROW, from, p * PANEL, head, row + i, b);
}

/* c = a b^T over D numbers: 64 rows of a tile of `a_rows`, N rows of a tile of N. */
template <int D, int N>
static __device__ inline void
all_over(float c[N / 8][4], const char *a, int a_rows, const char *b)
{
	uint64_t pa = panel_over(a), pb = panel_over(b);

#pragma unroll
	for (int k = 0; k < D; k += 16) {
		int p = k / PANEL, at = k % PANEL * 2;

		uint64_t ka = further(pa, p * a_rows * PANEL_ROW + at), kb = further(pb, p * N * PANEL_ROW + at);

		if (k == 0)
			wgmma_over<N, false>(c, ka, kb);
		else
			wgmma_over<N, true>(c, ka, kb);
	}
}

/* c (64 x D) += a b: a 64 x N in registers, b a tile of N rows. */
template <int D, int N>
static __device__ inline void
all_along(float c[D / 8][4], const uint32_t a[N / 16][4], const char *b)
{
	uint64_t pb = panel_along(b, N * PANEL_ROW);

#pragma unroll
	for (int k = 0; k < N / 16; k++)
		wgmma_along<D>(c, a[k], further(pb, 16 * k * PANEL_ROW));
}

/* Numbers of a tile of scores, rounded, as a first factor. */
template <int N>
static __device__ inline void
to_factor(uint32_t a[N / 16][4], const float c[N / 8][4])
{
#pragma unroll
	for (int k = 0; k < N / 16; k++) {
		a[k][0] = pack2(c[2 * k][0], c[2 * k][1]);
		a[k][1] = pack2(c[2 * k][2], c[2 * k][3]);
		a[k][2] = pack2(c[2 * k + 1][0], c[2 * k + 1][1]);
		a[k][3] = pack2(c[2 * k + 1][2], c[2 * k + 1][3]);
	}
}

/* Shared memory: what stays, what passes, barriers; then for keys lse and delta of the queries. */
template <int D, int STAY, int PASS, int STAGES>
struct room {
	static constexpr int PANELS = D / PANEL;
	static constexpr int STAY_BYTES = STAY * D * 2, PASS_BYTES = PASS * D * 2;
	static constexpr int STAGE = 2 * PASS_BYTES;
	static constexpr int STATS = 2 * STAY_BYTES + STAGES * STAGE, BARRIERS = STATS + STAGES * 2 * ROWS * 4;
	static constexpr int SIZE = BARRIERS + (2 * STAGES + 1) * 8 + SHARED_ALIGN;
};

template <int STAGES>
static __device__ inline void
set_barriers(uint64_t *there, uint64_t *full, uint64_t *empty, int warps)
{
	if (threadIdx.x == 0) {
		barrier_set(there, 1);
		for (int i = 0; i < STAGES; i++) {
			barrier_set(full + i, 1);
			barrier_set(empty + i, warps);
		}
		barrier_publish();
	}
	__syncthreads();
}

/* This warp has read the stage. */
static __device__ inline void
release(uint64_t *empty)
{
	__syncwarp();
	if (threadIdx.x % 32 == 0)
		barrier_arrive(empty);
}

/* Rows of c to global memory, times f. */
template <int D>
static __device__ inline void
store_tile(void *to, int64_t at, int64_t ld, const float c[D / 8][4], float f, int there, int dim)
{
	store_rows<D>(static_cast<uint16_t *>(to) + at, ld, c, f, f, there, dim, threadIdx.x % 32);
}

/* dk and dv of 64 WG keys.  blockIdx.x: kv head, then document, then tile of keys, the longest columns first. */
template <int D, int WG, int STAGES>
static __global__ void
__launch_bounds__((WG + 1) * WARPGROUP, WG == 1 ? 2 : 1)
    back_keys(const __grid_constant__ struct maps m, struct qz_attn a, struct stats st)
{
	start_early();

	constexpr int KEYS = ROWS * WG;
	using R = room<D, KEYS, ROWS, STAGES>;
	extern __shared__ char raw[];
	char *base = raw + (-shared_address(raw) & (SHARED_ALIGN - 1));
	char *k_s = base, *v_s = k_s + R::STAY_BYTES, *pass = v_s + R::STAY_BYTES;
	float *stats_s = reinterpret_cast<float *>(base + R::STATS);
	uint64_t *there = reinterpret_cast<uint64_t *>(base + R::BARRIERS), *full = there + 1, *empty = full + STAGES;
	int group = a.heads / a.kv_heads, kv = static_cast<int>(blockIdx.x % a.kv_heads), x = blockIdx.x / a.kv_heads;
	int document = x % a.n_docs, k0 = x / a.n_docs * KEYS, wg = __shfl_sync(0xffffffff, threadIdx.x / WARPGROUP, 0);
	struct doc r = find_doc(a, document);
	int q0 = static_cast<int>(r.q0);
	struct qz_span span;
	struct turn<STAGES> t = {};

	if (k0 >= r.nk)
		return;
	set_barriers<STAGES>(there, full, empty, 4 * WG);
	span = qz_tile_queries(k0, KEYS, r.nq, a.window, ROWS);
	if (wg == WG) {
		registers_down<WG == 1 ? 40 : 24>();
		if (threadIdx.x != WG * WARPGROUP)
			return;
		barrier_expect(there, 2 * R::STAY_BYTES);
		copy_tile(k_s, &m.k, R::PANELS, KEYS, kv, q0 + k0, there);
		copy_tile(v_s, &m.v, R::PANELS, KEYS, kv, q0 + k0, there);
		for (int head = kv * group; head < (kv + 1) * group; head++) {
			int64_t row = head * st.ld + qz_padded_row(r.q0, document);

			for (int i = span.lo; i < span.hi; i += ROWS, t.next()) {
				char *to = pass + t.stage * R::STAGE;
				uint64_t *b = full + t.stage;

				barrier_wait(empty + t.stage, t.parity ^ 1);
				barrier_expect(b, R::STAGE + 2 * ROWS * 4);
				copy_tile(to, &m.q, R::PANELS, ROWS, head, q0 + i, b);
				copy_tile(to + R::PASS_BYTES, &m.d_o, R::PANELS, ROWS, head, q0 + i, b);
				copy_bytes(stats_s + t.stage * 2 * ROWS, st.lse + row + i, ROWS * 4, b);
				copy_bytes(stats_s + t.stage * 2 * ROWS + ROWS, st.delta + row + i, ROWS * 4, b);
			}
		}
		return;
	}
	registers_up<WG == 1 ? 216 : 240>();

	float dk[D / 8][4] = {}, dv[D / 8][4] = {}, s[ROWS / 8][4], g[ROWS / 8][4], scale = a.scale * LOG2E;
	uint32_t p[ROWS / 16][4] = {}, ds[ROWS / 16][4] = {};
	int lane = threadIdx.x % 32, mine = k0 + ROWS * wg, row = mine + threadIdx.x % WARPGROUP / 32 * 16 + lane / 4;

	barrier_wait(there, 0);
	for (int head = 0; head < group; head++)
		for (int i0 = span.lo; i0 < span.hi; i0 += ROWS, t.next()) {
			const char *q_s = pass + t.stage * R::STAGE, *g_s = q_s + R::PASS_BYTES;
			const float *lse = stats_s + t.stage * 2 * ROWS, *delta = lse + ROWS;
			enum qz_seen seen = qz_tile_seen(i0, ROWS, mine, ROWS, a.window);

			barrier_wait(full + t.stage, t.parity);
			if (seen == QZ_SEES_NONE || mine >= r.nk) {
				release(empty + t.stage);
				continue;
			}
			wgmma_fence();
			all_over<D, ROWS>(s, k_s + wg * ROWS * PANEL_ROW, KEYS, q_s);
			wgmma_commit();
			wgmma_fence();
			all_over<D, ROWS>(g, v_s + wg * ROWS * PANEL_ROW, KEYS, g_s);
			wgmma_commit();
			wgmma_wait<1>();
			pin<ROWS / 8>(s);
#pragma unroll
			for (int n = 0; n < ROWS / 8; n++) {
				float2 top = *reinterpret_cast<const float2 *>(lse + 8 * n + 2 * (lane % 4));

#pragma unroll
				for (int e = 0; e < 4; e++)
					s[n][e] = exp2_fast(fmaf(s[n][e], scale, e % 2 ? -top.y : -top.x));
			}
			if (seen == QZ_SEES_SOME) {
#pragma unroll
				for (int n = 0; n < ROWS / 8; n++)
#pragma unroll
					for (int e = 0; e < 4; e++) {
						int i = i0 + 8 * n + 2 * (lane % 4) + e % 2, j = row + e / 2 * 8;

						if (j > i || (a.window > 0 && j <= i - a.window))
							s[n][e] = 0;
					}
			}
			to_factor<ROWS>(p, s);
			pin<ROWS / 16>(p);
			wgmma_fence();
			all_along<D, ROWS>(dv, p, g_s);
			wgmma_commit();
			wgmma_wait<1>();
			pin<ROWS / 8>(g);
#pragma unroll
			for (int n = 0; n < ROWS / 8; n++) {
				float2 mean = *reinterpret_cast<const float2 *>(delta + 8 * n + 2 * (lane % 4));

#pragma unroll
				for (int e = 0; e < 4; e++)
					s[n][e] *= g[n][e] - (e % 2 ? mean.y : mean.x);
			}
			to_factor<ROWS>(ds, s);
			pin<ROWS / 16>(ds);
			wgmma_fence();
			all_along<D, ROWS>(dk, ds, q_s);
			wgmma_commit();
			wgmma_wait<0>();
			pin<ROWS / 16>(p);
			pin<ROWS / 16>(ds);
			release(empty + t.stage);
		}
	wgmma_wait<0>();
	pin<D / 8>(dk);
	pin<D / 8>(dv);
	if (mine >= r.nk)
		return;
	int there_rows = r.nk - mine - threadIdx.x % WARPGROUP / 32 * 16;
	int64_t ld = static_cast<int64_t>(a.kv_heads) * a.head_dim;
	int64_t at = (r.k0 + r.nk - there_rows) * ld + static_cast<int64_t>(kv) * a.head_dim;

	store_tile<D>(a.dk, at, ld, dk, a.scale, there_rows, a.head_dim);
	store_tile<D>(a.dv, at, ld, dv, 1, there_rows, a.head_dim);
}

/* dq of 64 WG queries of a head.  blockIdx.x: head, then document, then tile of queries, the last ones first. */
template <int D, int WG, int PASS, int STAGES>
static __global__ void
__launch_bounds__((WG + 1) * WARPGROUP, WG == 1 ? 2 : 1)
    back_queries(const __grid_constant__ struct maps m, struct qz_attn a, struct stats st, int tiles)
{
	start_early();

	constexpr int QUERIES = ROWS * WG;
	using R = room<D, QUERIES, PASS, STAGES>;
	extern __shared__ char raw[];
	char *base = raw + (-shared_address(raw) & (SHARED_ALIGN - 1));
	char *q_s = base, *g_s = q_s + R::STAY_BYTES, *pass = g_s + R::STAY_BYTES;
	uint64_t *there = reinterpret_cast<uint64_t *>(base + R::BARRIERS), *full = there + 1, *empty = full + STAGES;
	int head = static_cast<int>(blockIdx.x % a.heads), x = blockIdx.x / a.heads, kv = head / (a.heads / a.kv_heads);
	int document = x % a.n_docs, i0 = (tiles - 1 - x / a.n_docs) * QUERIES;
	int wg = __shfl_sync(0xffffffff, threadIdx.x / WARPGROUP, 0);
	struct doc r = find_doc(a, document);
	int row0 = static_cast<int>(r.q0);
	struct qz_span span;
	struct turn<STAGES> t = {};

	if (i0 >= r.nq)
		return;
	set_barriers<STAGES>(there, full, empty, 4 * WG);
	span = qz_tile_keys(i0, QUERIES, r.nk, a.window, PASS);
	if (wg == WG) {
		registers_down<WG == 1 ? 40 : 24>();
		if (threadIdx.x != WG * WARPGROUP)
			return;
		barrier_expect(there, 2 * R::STAY_BYTES);
		copy_tile(q_s, &m.q, R::PANELS, QUERIES, head, row0 + i0, there);
		copy_tile(g_s, &m.d_o, R::PANELS, QUERIES, head, row0 + i0, there);
		for (int j = span.lo; j < span.hi; j += PASS, t.next()) {
			char *to = pass + t.stage * R::STAGE;
			uint64_t *b = full + t.stage;

			barrier_wait(empty + t.stage, t.parity ^ 1);
			barrier_expect(b, R::STAGE);
			copy_tile(to, &m.k, R::PANELS, PASS, kv, row0 + j, b);
			copy_tile(to + R::PASS_BYTES, &m.v, R::PANELS, PASS, kv, row0 + j, b);
		}
		return;
	}
	registers_up<WG == 1 ? 216 : 240>();

	float dq[D / 8][4] = {}, s[PASS / 8][4], g[PASS / 8][4], scale = a.scale * LOG2E, top[2], mean[2];
	uint32_t ds[PASS / 16][4] = {};
	int lane = threadIdx.x % 32, mine = i0 + ROWS * wg, row = mine + threadIdx.x % WARPGROUP / 32 * 16 + lane / 4;

	for (int h = 0; h < 2; h++) {
		int64_t at = head * st.ld + qz_padded_row(r.q0, document) + row + 8 * h;

		top[h] = row + 8 * h < r.nq ? st.lse[at] : INFINITY;
		mean[h] = row + 8 * h < r.nq ? st.delta[at] : 0;
	}
	barrier_wait(there, 0);
	for (int j0 = span.lo; j0 < span.hi; j0 += PASS, t.next()) {
		const char *k_s = pass + t.stage * R::STAGE, *v_s = k_s + R::PASS_BYTES;
		enum qz_seen seen = qz_tile_seen(mine, ROWS, j0, PASS, a.window);

		barrier_wait(full + t.stage, t.parity);
		if (seen == QZ_SEES_NONE || mine >= r.nq) {
			release(empty + t.stage);
			continue;
		}
		wgmma_fence();
		all_over<D, PASS>(s, q_s + wg * ROWS * PANEL_ROW, QUERIES, k_s);
		wgmma_commit();
		wgmma_fence();
		all_over<D, PASS>(g, g_s + wg * ROWS * PANEL_ROW, QUERIES, v_s);
		wgmma_commit();
		wgmma_wait<1>();
		pin<PASS / 8>(s);
#pragma unroll
		for (int n = 0; n < PASS / 8; n++)
#pragma unroll
			for (int e = 0; e < 4; e++)
				s[n][e] = exp2_fast(fmaf(s[n][e], scale, -top[e / 2]));
		if (seen == QZ_SEES_SOME) {
#pragma unroll
			for (int n = 0; n < PASS / 8; n++)
#pragma unroll
				for (int e = 0; e < 4; e++) {
					int i = row + e / 2 * 8, j = j0 + 8 * n + 2 * (lane % 4) + e % 2;

					if (j > i || (a.window > 0 && j <= i - a.window))
						s[n][e] = 0;
				}
		}
		wgmma_wait<0>();
		pin<PASS / 8>(g);
#pragma unroll
		for (int n = 0; n < PASS / 8; n++)
#pragma unroll
			for (int e = 0; e < 4; e++)
				s[n][e] *= g[n][e] - mean[e / 2];
		to_factor<PASS>(ds, s);
		pin<PASS / 16>(ds);
		wgmma_fence();
		all_along<D, PASS>(dq, ds, k_s);
		wgmma_commit();
		wgmma_wait<0>();
		pin<PASS / 16>(ds);
		release(empty + t.stage);
	}
	wgmma_wait<0>();
	pin<D / 8>(dq);
	if (mine >= r.nq)
		return;
	int there_rows = r.nq - mine - threadIdx.x % WARPGROUP / 32 * 16;
	int64_t ld = static_cast<int64_t>(a.heads) * a.head_dim;

	store_tile<D>(a.dq, (r.q0 + r.nq - there_rows) * ld + static_cast<int64_t>(head) * a.head_dim, ld, dq, a.scale,
	    there_rows, a.head_dim);
}

/* ---- the host's side ---- */

static bool
map_heads(CUtensorMap *m, const void *x, int heads, int dim, int64_t rows)
{
	return qz_cuda_map(m, x, dim, heads, rows, static_cast<int64_t>(dim) * heads, PANEL, ROWS);
}

struct call {
	struct qz_dev *d;
	const struct qz_attn *a;
	struct maps m;
	struct stats st;
};

template <int D>
static void
keys(const struct call &c)
{
	constexpr int WG = 2, STAGES = 2;
	int64_t tiles = ceil_div(c.a->max_k, ROWS * WG);

	launch_large<EARLY>(c.d, back_keys<D, WG, STAGES>, dim3(static_cast<unsigned>(tiles * c.a->n_docs * c.a->kv_heads)),
	    (WG + 1) * WARPGROUP, room<D, ROWS * WG, ROWS, STAGES>::SIZE, c.m, *c.a, c.st);
}

/* WG warpgroups a block: two read less, one leaves less over of short documents. */
template <int D, int WG>
static void
queries(const struct call &c)
{
	constexpr int PASS = 64, STAGES = 2 * WG;
	int64_t tiles = ceil_div(c.a->max_q, ROWS * WG);

	launch_large<EARLY>(c.d, back_queries<D, WG, PASS, STAGES>,
	    dim3(static_cast<unsigned>(tiles * c.a->n_docs * c.a->heads)), (WG + 1) * WARPGROUP,
	    room<D, ROWS * WG, PASS, STAGES>::SIZE, c.m, *c.a, c.st, static_cast<int>(tiles));
}

static bool
has_kernels(struct qz_dev *d)
{
	return cuda_dev(d)->cc == 90 && d->k->act_type == QZ_BF16;
}

size_t
qz_cuda_back_90_need(struct qz_dev *d, int64_t rows, int64_t docs, int heads)
{
	return !has_kernels(d) ? 0 : 2 * qz_cuda_round(qz_padded_row(rows, docs) * heads * 4);
}

bool
qz_cuda_back_90_takes(struct qz_dev *d, int head_dim)
{
	return has_kernels(d) && head_dim % VECTOR == 0 && head_dim >= PANEL && head_dim <= 2 * PANEL;
}

bool
qz_cuda_back_90(struct qz_dev *d, const struct qz_attn *a)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	struct call call = {};
	int64_t rows;
	size_t need;
	int tiles;

	if (!qz_cuda_back_90_takes(d, a->head_dim) || !a->q_host || !a->k_host || !by_tiles(a) ||
	    memcmp(a->q_host, a->k_host, (static_cast<size_t>(a->n_docs) + 1) * sizeof *a->q_host) != 0)
		return false;
	rows = a->q_host[a->n_docs];
	need = qz_cuda_back_90_need(d, rows, a->n_docs, a->heads);
	if (!c->ws || c->ws_n < need)
		return false;
	call.d = d;
	call.a = a;
	call.st.ld = qz_padded_row(rows, a->n_docs);
	call.st.lse = reinterpret_cast<float *>(c->ws);
	call.st.delta = reinterpret_cast<float *>(c->ws + need / 2);
	if (!map_heads(&call.m.q, a->q, a->heads, a->head_dim, rows) ||
	    !map_heads(&call.m.k, a->k, a->kv_heads, a->head_dim, rows) ||
	    !map_heads(&call.m.v, a->v, a->kv_heads, a->head_dim, rows) ||
	    !map_heads(&call.m.d_o, a->d_o, a->heads, a->head_dim, rows))
		return false;
	tiles = (a->max_q + ROWS - 1) / ROWS;
	launch<EARLY>(d, prepare, dim3(static_cast<unsigned>(a->n_docs * tiles), static_cast<unsigned>((a->heads + 1) / 2)),
	    PREPARE_THREADS, 0, *a, call.st, tiles);
	if (a->head_dim > PANEL) {
		keys<128>(call);
		(a->max_q >= LONG ? queries<128, 2> : queries<128, 1>)(call);
	} else {
		keys<64>(call);
		(a->max_q >= LONG ? queries<64, 2> : queries<64, 1>)(call);
	}
	return true;
}
