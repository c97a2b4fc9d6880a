/* swiglu and its backward pass, eight elements a thread. */
#include "kernels/cuda/swiglu.cuh"
#include "kernels/cuda/vector.cuh"

ACT_BEGIN

static __global__ void
forward(uint16_t *h, const uint16_t *g, const uint16_t *u, int64_t n, bool vector)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float a[VECTOR], b[VECTOR];

	if (i >= n)
		return;
	load_at(a, g, i, n, vector);
	load_at(b, u, i, n, vector);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		a[j] = swiglu_of(a[j], b[j]);
	store_at(h, a, i, n, vector);
}

void
qz_cuda_swiglu(struct qz_dev *d, qz_act *h, const qz_act *g, const qz_act *u, int64_t n)
{
	qz_cuda_op(d, "swiglu", n);
	if (n > 0)
		launch_flat<EARLY>(d, forward, n, VECTOR, h, g, u, n,
		    aligned(h, 16) && aligned(g, 16) && aligned(u, 16));
}

/* h may be dh's memory: each thread has read its dh when it writes h. */
static __global__ void
backward(uint16_t *g, uint16_t *u, const uint16_t *dh, uint16_t *h, int64_t n, bool vector)
{
	start_early();

	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * VECTOR;
	float a[VECTOR], b[VECTOR], d[VECTOR];

	if (i >= n)
		return;
	load_at(a, g, i, n, vector);
	load_at(b, u, i, n, vector);
	load_at(d, dh, i, n, vector);
#pragma unroll
	for (int j = 0; j < VECTOR; j++)
		swiglu_back(&a[j], &b[j], &d[j]);
	store_at(g, a, i, n, vector);
	store_at(u, b, i, n, vector);
	if (h)
		store_at(h, d, i, n, vector);
}

void
qz_cuda_swiglu_bwd(struct qz_dev *d, qz_act *g, qz_act *u, const qz_act *dh, qz_act *h, int64_t n)
{
	qz_cuda_op(d, "swiglu_bwd", n);
	if (n > 0)
		launch_flat<EARLY>(d, backward, n, VECTOR, g, u, dh, h, n,
		    aligned(g, 16) && aligned(u, 16) && aligned(dh, 16) && (!h || aligned(h, 16)));
}

ACT_END
