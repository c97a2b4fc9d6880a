/* swiglu and its backward pass, eight elements a thread. */
#include "kernels/cuda/vector.cuh"

ACT_BEGIN

static __device__ inline float
sigmoid(float g)
{
	return __fdividef(1.0f, 1.0f + __expf(-g));
}

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
		a[j] = a[j] * sigmoid(a[j]) * b[j];
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
	float a[VECTOR], b[VECTOR], d[VECTOR], y[VECTOR];

	if (i >= n)
		return;
	load_at(a, g, i, n, vector);
	load_at(b, u, i, n, vector);
	load_at(d, dh, i, n, vector);
#pragma unroll
	for (int j = 0; j < VECTOR; j++) {
		float sig = sigmoid(a[j]), silu = a[j] * sig;

		y[j] = silu * b[j];
		a[j] = d[j] * b[j] * sig * (1 + a[j] * (1 - sig));
		b[j] = d[j] * silu;
	}
	store_at(g, a, i, n, vector);
	store_at(u, b, i, n, vector);
	if (h)
		store_at(h, y, i, n, vector);
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
