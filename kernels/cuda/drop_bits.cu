/* drop_bits: masks drawn once more as bits, for both passes of the backward pass. */
#include "kernels/cuda/drop_back.cuh"

ACT_BEGIN

/* The masks of a group, and where their bits go: drop_words() for each. */
struct masks {
	struct mask l[DROP_GROUP];
	uint32_t *bits;
	int64_t first, words;
};

/* The masks' bits.  blockIdx.y: 16 tokens; blockIdx.z: a mask.  A thread a word. */
static __global__ void
draw(const __grid_constant__ struct masks g)
{
	int64_t word = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
	int64_t row = g.first + blockIdx.y * TILE + token_of(0);
	uint32_t half[2] = {}, w[4];

	if (word >= 4 * g.words)
		return;
#pragma unroll
	for (int v = 0; v < 4; v++) {
		uint32_t m[4];

		if (v % 2 == 0)
			philox(w, g.l[blockIdx.z], static_cast<uint64_t>((row / 2 + v / 2 * 4) * g.words + word / 4));
		dropped8(m, g.l[blockIdx.z], w, v % 2);
#pragma unroll
		for (int k = 0; k < 4; k++)
			half[v % 2] |= m[k] & (0x00010001u << (v / 2 * 4 + k));
	}
	g.bits[(static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y) * 4 * g.words + word] =
	    bytes_of(half[0], half[1], 0x6420);
}

void
qz_cuda_drop_bits(struct qz_dev *d, const struct qz_linear *l, int n, uint32_t *bits, int64_t t)
{
	struct masks g;

	memset(&g, 0, sizeof g);
	for (int i = 0; i < n; i++)
		g.l[i] = mask_of(&l[i]);
	g.bits = bits;
	g.first = l->first;
	g.words = l->w.cols / VECTOR;
	qz_cuda_part(d, "masks");
	launch(d, draw, dim3(static_cast<unsigned>(ceil_div(4 * g.words, 256)),
	    static_cast<unsigned>(ceil_div(t, TILE)), static_cast<unsigned>(n)), 256, 0, g);
}

ACT_END
