/* cast, and the search for what is no number. */
#include "kernels/cuda/plain.cuh"

void
qz_cuda_cast(struct qz_dev *d, void *y, enum qz_dtype y_type, const void *x, enum qz_dtype x_type,
    int64_t n)
{
	struct qz_mat m = {};

	qz_cuda_op(d, "cast", n);
	m.type = x_type;
	m.data = x;
	if (qz_cuda_plain(d, y_type) && qz_cuda_plain(d, x_type))
		qz_cuda_decode(d, y, y_type, &m, 0, n);
}

/* A float64 beyond float32 counts as infinite: every reader goes through float32. */
static __global__ void
search(struct qz_cuda_own *own, const void *x, enum qz_dtype type, int64_t n)
{
	int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;

	for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
		if ((__float_as_uint(plain_load(x, type, i)) & 0x7f800000) == 0x7f800000)
			atomicMin(&own->first, static_cast<unsigned long long>(i));
}

/* Waits: the answer is the host's. */
void
qz_cuda_find_nonfinite(struct qz_dev *d, int64_t *first, const void *x, enum qz_dtype x_type, int64_t n)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	unsigned long long found = ~0ull;
	int64_t blocks = ceil_div(n, 1024);

	*first = -1;
	qz_cuda_op(d, "find_nonfinite", n);
	if (n < 1 || !qz_cuda_plain(d, x_type))
		return;
	qz_cuda_rc(d, "cudaMemsetAsync", cudaMemsetAsync(&c->own->first, 0xff, sizeof found, c->stream));
	launch(d, search, dim3(static_cast<unsigned>(blocks < 4096 ? blocks : 4096)), 256, 0, c->own, x,
	    x_type, n);
	qz_cuda_rc(d, "cudaMemcpyAsync",
	    cudaMemcpyAsync(&found, &c->own->first, sizeof found, cudaMemcpyDeviceToHost, c->stream));
	qz_cuda_rc(d, "waiting", cudaStreamSynchronize(c->stream));
	if (found != ~0ull)
		*first = static_cast<int64_t>(found);
}
