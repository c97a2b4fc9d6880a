/* drop_back - what both passes of the backward pass of s = drop(x) A^T share, of up to three projections at a time:
 *
 *   da += p^T drop(x), one pass over x      dx (+)= sum of drop'(p A), one pass over dx
 *
 * A warp takes 64 columns and 16 tokens at a time.  Lane 4 g + t has columns 8 g .. 8 g + 8 of the tokens
 * 2 t, 2 t + 1, 2 t + 8, 2 t + 9: four vectors, and one word of the mask's bits.  A fragment of a product over tokens
 * wants pairs of tokens of one column, which are pairs of its own vectors, taken apart.  So that it has whole
 * vectors of dx too, those of the second product are computed as columns of A^T p^T. */
#ifndef QZ_CUDA_DROP_BACK_CUH
#define QZ_CUDA_DROP_BACK_CUH

#include <cstring>

#include "kernels/cuda/drop.cuh"

ACT_BEGIN

enum { WARPS = 4, THREADS = 32 * WARPS, COLUMNS = 64, TILE = 16 };

struct part {
	const uint16_t *a;
	float *da;
	const uint32_t *bits;
	float keep;
	int rank, at; /* ranks of the projections before it */
};

struct job {
	struct part l[DROP_GROUP];
	const uint16_t *x, *p; /* p (t, ldp) */
	uint16_t *dx;
	float *share; /* (runs, ranks, cols) */
	const float *w;
	int64_t t, cols, ldp, run;
	int ranks, runs;
	bool add;
};

/* Elements from one token's row of p to the next: an odd number of vectors, so that ldmatrix finds eight rows
 * in eight banks. */
template <int N, int TILES>
struct pitch {
	static constexpr int LD = (2 * N * TILES + 1) * VECTOR;
};

/* A vector of p of each 16 ranks: half `half` of row `row`, zeros beyond the ranks and where it is not there. */
template <int N, int TILES>
static __device__ inline void
fetch_p(uint16_t *to, const struct job &g, int row, int half, const uint16_t *from, bool there)
{
	to += row * pitch<N, TILES>::LD + half * VECTOR;
#pragma unroll
	for (int l = 0; l < N; l++)
#pragma unroll
		for (int r = 0; r < TILES; r++)
			copy16(to + (l * TILES + r) * 16, from + g.l[l].at + r * 16 + half * VECTOR,
			    there && r * 16 + half * VECTOR < g.l[l].rank);
}

/* The token of a lane's vector v within a tile. */
static __device__ inline int
token_of(int v)
{
	return threadIdx.x % 4 * 2 + v % 2 + v / 2 * 8;
}

/* A word of bits as what dropped8() gives of the four vectors. */
static __device__ inline void
dropped(uint32_t m[4][4], uint32_t bits)
{
#pragma unroll
	for (int k = 0; k < 8; k++) {
		uint32_t b = bits << (7 - k);

		m[k / 4 * 2][k % 4] = bytes_of(b, b, 0x9988);
		m[k / 4 * 2 + 1][k % 4] = bytes_of(b, b, 0xbbaa);
	}
}

/* Where a lane's word of the tile at t0 is, behind each projection's start. */
static __device__ inline int64_t
word_of(const struct job &g, int64_t t0, int64_t col)
{
	return (t0 / TILE * (g.cols / VECTOR) + col / VECTOR) * 4 + threadIdx.x % 4;
}

template <int N>
static __device__ inline void
read_bits(uint32_t bits[N], const struct job &g, int64_t word, bool there)
{
#pragma unroll
	for (int l = 0; l < N; l++)
		bits[l] = there ? g.l[l].bits[word] : 0;
}

static inline bool
together(const struct qz_linear *l, int n)
{
	for (int i = 0; i < n; i++)
		if (l[i].rank > 16)
			return n == 1;
	return true;
}

static inline struct job
job_of(const struct qz_linear *l, int n, const uint16_t *p, int64_t ldp, const uint32_t *bits, int64_t t)
{
	struct job g;

	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++) {
		g.l[i] = { static_cast<const uint16_t *>(l[i].a), static_cast<float *>(l[i].da),
			bits + i * drop_words(t, l->w.cols), static_cast<float>(qz_dropout_keep(l[i].dropout)),
			l[i].rank, g.ranks };
		g.ranks += l[i].rank;
	}
	g.p = p;
	g.ldp = ldp;
	g.t = t;
	g.cols = l->w.cols;
	return g;
}

static inline int64_t
ranks_of(const struct qz_linear *l, int n)
{
	int64_t ranks = 0;

	for (int i = 0; i < n; i++)
		ranks += l[i].rank;
	return ranks;
}

/* Queues the kernel for n projections, of ranks up to 16 when there are several, out of those for one, two and three of them
 * and for one of ranks up to 32 and 64. */
static inline void
start_for(struct qz_dev *d, void (*const kernels[5])(struct qz_dev *, const struct job &), const struct job &g, int n)
{
	kernels[n > 1 || g.ranks <= 16 ? n - 1 : g.ranks <= 32 ? 3 : 4](d, g);
}

ACT_END

#endif
