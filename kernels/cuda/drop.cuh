/* drop - the adapters' products with dropout, without a dropped copy of their input: masks are drawn where the
 * forward pass has x in registers, sixteen elements a call of Philox, and drawn again as bits for the two passes
 * of the backward pass.
 *
 *   s = drop(x) A^T      da += p^T drop(x)      dx (+)= sum of drop'(p A)
 *
 * Up to three projections of one x share a pass over it, each with its own mask.  Ranks are multiples of 8 up
 * to 64, columns multiples of 8, the first token even, x, dx, A and p on 16 bytes; others are left to drop_copy.cu. */
#ifndef QZ_CUDA_DROP_CUH
#define QZ_CUDA_DROP_CUH

#include "kernels/cuda/mma.cuh"
#include "kernels/dropout.h"

enum { DROP_GROUP = 3, DROP_RANK = 64, DROP_DA_RUNS = 8, DROP_SHARED = 99 << 10 };

ACT_BEGIN

/* Are projections l[0..n) of one x, all with dropout, for it? */
bool qz_cuda_drop_fits(struct qz_dev *d, const struct qz_linear *l, int n);

/* Of such projections.  p (t, sum of the ranks) is that of all of them; x, dx and p are on 16 bytes, bits on 4; w not NULL:
 * da's column c is multiplied by w[c].
 * The workspace is free from `used` on. */
void qz_cuda_drop_s(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, int64_t t,
    size_t used);
void qz_cuda_drop_bits(struct qz_dev *d, const struct qz_linear *l, int n, uint32_t *bits, int64_t t);
void qz_cuda_drop_da(struct qz_dev *d, const struct qz_linear *l, int n, const qz_act *x, const uint16_t *p,
    const uint32_t *bits, const float *w, int64_t t, size_t used);
void qz_cuda_drop_dx(struct qz_dev *d, const struct qz_linear *l, int n, const uint16_t *p,
    const uint32_t *bits, qz_act *dx, int64_t t, bool add);
size_t qz_cuda_drop_need(const struct qz_need *need);

ACT_END

/* Words of the bits of one projection's mask: four for each 16 tokens and eight columns.  Word t has those of the
 * tokens 2 t, 2 t + 8 (bytes 0 and 1) and 2 t + 1, 2 t + 9 (bytes 2 and 3); bit k of the lower byte is column
 * 2 (k % 4) of the k / 4-th of the two, bit k of the upper one the column behind it.  Set: dropped. */
static inline int64_t
drop_words(int64_t t, int64_t cols)
{
	return ceil_div(t, 16) * (cols / VECTOR) * 4;
}

/* A mask's key as Philox uses it: the keys of the rounds, of which the first is done as far as the stream
 * decides it. */
struct mask {
	uint32_t key[QZ_DROPOUT_ROUNDS - 1][2], begin[3];
	uint32_t below; /* draws below it are dropped */
	float keep;
};

static inline struct mask
mask_of(const struct qz_linear *l)
{
	uint32_t k0 = static_cast<uint32_t>(l->seed), k1 = static_cast<uint32_t>(l->seed >> 32);
	uint64_t p = static_cast<uint64_t>(0xCD9E8D57) * static_cast<uint32_t>(l->stream);
	struct mask m;

	m.begin[0] = static_cast<uint32_t>(p >> 32) ^ k0;
	m.begin[1] = static_cast<uint32_t>(p);
	m.begin[2] = static_cast<uint32_t>(l->stream >> 32) ^ k1;
	for (int i = 0; i < QZ_DROPOUT_ROUNDS - 1; i++) {
		m.key[i][0] = k0 += 0x9E3779B9;
		m.key[i][1] = k1 += 0xBB67AE85;
	}
	m.below = qz_dropout_below(l->dropout);
	m.keep = static_cast<float>(qz_dropout_keep(l->dropout));
	return m;
}

/* The four words of qz_philox_rounds() at an index. */
static __device__ inline void
philox(uint32_t w[4], const struct mask &m, uint64_t index)
{
	uint64_t p0 = static_cast<uint64_t>(0xD2511F53) * static_cast<uint32_t>(index), p1;

	w[0] = m.begin[0] ^ static_cast<uint32_t>(index >> 32);
	w[1] = m.begin[1];
	w[2] = m.begin[2] ^ static_cast<uint32_t>(p0 >> 32);
	w[3] = static_cast<uint32_t>(p0);
#pragma unroll
	for (int i = 0; i < QZ_DROPOUT_ROUNDS - 1; i++) {
		p0 = static_cast<uint64_t>(0xD2511F53) * w[0];
		p1 = static_cast<uint64_t>(0xCD9E8D57) * w[2];
		w[0] = static_cast<uint32_t>(p1 >> 32) ^ w[1] ^ m.key[i][0];
		w[2] = static_cast<uint32_t>(p0 >> 32) ^ w[3] ^ m.key[i][1];
		w[1] = static_cast<uint32_t>(p1);
		w[3] = static_cast<uint32_t>(p0);
	}
}

/* The bytes of the pair a, b that the digits of `which` name, from the right: 0-3 of a, 4-7 of b; 8 more
 * stands for eight times the byte's sign. */
static __device__ inline uint32_t
bytes_of(uint32_t a, uint32_t b, uint32_t which)
{
	uint32_t r;

	asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(which));
	return r;
}

/* For each of eight elements of a call's words: all bits of its half-word where it is dropped.  odd: of the odd
 * token. */
static __device__ inline void
dropped8(uint32_t m[4], const struct mask &k, const uint32_t w[4], bool odd)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		m[i] = bytes_of(bytes_of(w[i], 0, odd ? 0x4401 : 0x4410) - k.below,
		    bytes_of(w[i], 0, odd ? 0x4423 : 0x4432) - k.below, 0xffbb);
}

/* The same as 32 bits: of the low half-word of m, of the high one. */
static __device__ inline uint32_t
mask_low(uint32_t m)
{
	return bytes_of(m, m, 0x9999);
}

static __device__ inline uint32_t
mask_high(uint32_t m)
{
	return bytes_of(m, m, 0xbbbb);
}

static __device__ inline float
unless(float f, uint32_t mask)
{
	return __uint_as_float(__float_as_uint(f) & ~mask);
}

/* Into how many parts work that fills `tiles` blocks is split, where `slots` of them run at once: few parts
 * are little to add up, and a last wave that is not full is lost. */
static inline int
split_of(int64_t tiles, int64_t slots, int most)
{
	double best = 0;
	int n = 0;

	for (int i = 1; i <= most; i++) {
		double time = static_cast<double>(ceil_div(tiles * i, slots)) / i + 0.01 * i;

		if (!n || time < best) {
			n = i;
			best = time;
		}
	}
	return n;
}

#endif
