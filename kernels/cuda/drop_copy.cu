/* drop_copy - dropout for shapes that drop.cuh leaves: the input is dropped into the workspace, in pieces of DROPPED tokens. */
#include "kernels/cuda/linear_parts.cuh"

ACT_BEGIN

/* Once in the code of factors(), which has it for each element. */
static __device__ __noinline__ void
draw(uint32_t w[4], const struct mask &m, uint64_t call)
{
	philox(w, m, call);
}

/* What elements i .. i + 8 of the mask, counted row by row, are multiplied with: of one call of Philox, or one a
 * element where rows are no whole vectors. */
static __device__ inline void
factors(float f[VECTOR], const struct mask &m, int64_t cols, int64_t i)
{
	uint64_t was = ~0ull;
	uint32_t w[4];

#pragma unroll
	for (int k = 0; k < VECTOR; k++) {
		int64_t row = (i + k) / cols;
		uint64_t e = static_cast<uint64_t>(row / 2 * cols + (i + k) % cols);
		uint32_t half;

		if (e / VECTOR != was)
			draw(w, m, was = e / VECTOR);
		half = e & 4 ? e & 2 ? w[3] : w[2] : e & 2 ? w[1] : w[0];
		half = bytes_of(half, 0, e & 1 ? row & 1 ? 0x4423 : 0x4432 : row & 1 ? 0x4401 : 0x4410);
		f[k] = half >= m.below ? m.keep : 0;
	}
}

/* y = mask * x / (1 - p) for n elements, the first of which is element `first` of the mask. */
static __global__ void
drop(uint16_t *y, const uint16_t *x, struct mask m, int64_t cols, int64_t first, int64_t n, bool vector)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float v[VECTOR], f[VECTOR];

	if (i >= n)
		return;
	load_at(v, x, i, n, vector);
	factors(f, m, cols, first + i);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		v[j] *= f[j];
	store_at(y, v, i, n, vector);
}

/* y (+)= mask * x / (1 - p) */
static __global__ void
drop_add(uint16_t *y, const uint16_t *x, struct mask m, bool add, int64_t cols, int64_t first, int64_t n,
    bool vector)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float v[VECTOR], f[VECTOR], old[VECTOR] = {};

	if (i >= n)
		return;
	load_at(v, x, i, n, vector);
	if (add)
		load_at(old, y, i, n, vector);
	factors(f, m, cols, first + i);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		v[j] = old[j] + v[j] * f[j];
	store_at(y, v, i, n, vector);
}

const uint16_t *
qz_cuda_adapter_input(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, const qz_act *x, int64_t t0,
    int64_t t)
{
	struct mask m = mask_of(l);
	int64_t first = (l->first + t0) * l->w.cols, n = t * l->w.cols;
	const uint16_t *from = at(x, t0 * l->w.cols);

	if (l->dropout <= 0)
		return from;
	launch_flat(d, drop, n, VECTOR, s->x, from, m, l->w.cols, first, n, aligned(from, 16));
	return s->x;
}

void
qz_cuda_drop_add(struct qz_dev *d, const struct scratch *s, const struct qz_linear *l, uint16_t *dx, int64_t t0, int64_t t,
    bool add)
{
	int64_t cols = l->w.cols;
	uint16_t *to = dx + t0 * cols;

	launch_flat(d, drop_add, t * cols, VECTOR, to, s->x, mask_of(l), add, cols, (l->first + t0) * cols, t * cols,
	    aligned(to, 16));
}

ACT_END
