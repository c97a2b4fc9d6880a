/* rope: rotates the pairs (i, i + head_dim/2) of every head by the angle of the token's position. */
#include "kernels/cuda/vector.cuh"

/* A thread takes up to eight pairs of one head. */
static __global__ void
rotate(uint16_t *x, const float *table, const int32_t *positions, int64_t n, int pieces, int heads, int half,
    float sign, bool vector)
{
	int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, head = at / pieces;
	int first = static_cast<int>(at % pieces) * VECTOR;
	float a[VECTOR], b[VECTOR];
	const float *cs;
	uint16_t *lo, *hi;

	if (at >= n)
		return;
	cs = table + (static_cast<int64_t>(positions[head / heads]) * half + first) * 2;
	lo = x + head * 2 * half;
	hi = lo + half;
	load_at(a, lo, first, half, vector);
	load_at(b, hi, first, half, vector);
#pragma unroll
	for (int i = 0; i < VECTOR; i++) {
		float c, s, p = a[i], q = b[i];

		if (first + i >= half)
			continue;
		c = cs[2 * i];
		s = cs[2 * i + 1] * sign;
		a[i] = p * c - q * s;
		b[i] = q * c + p * s;
	}
	store_at(lo, a, first, half, vector);
	store_at(hi, b, first, half, vector);
}

void
qz_cuda_rope(struct qz_dev *d, qz_act *x, const qz_par *table, const int32_t *positions, int64_t t,
    int heads, int head_dim, bool inverse)
{
	int half = head_dim / 2, pieces = (half + VECTOR - 1) / VECTOR;
	int64_t n = t * heads * pieces;

	qz_cuda_op(d, "rope", t, heads, head_dim);
	if (n > 0)
		launch_flat(d, rotate, n, 1, x, table, positions, n, pieces, heads, half,
		    inverse ? -1.0f : 1.0f, half % VECTOR == 0 && aligned(x, 16));
}
