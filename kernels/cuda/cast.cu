/* cast: a thread an element. */
#include "kernels/cuda/plain.cuh"

static __global__ void
cast(void *y, enum qz_dtype y_type, const void *x, enum qz_dtype x_type, int64_t n)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;

	if (i < n)
		plain_store(y, y_type, i, plain_load(x, x_type, i));
}

void
qz_cuda_cast(struct qz_dev *d, void *y, enum qz_dtype y_type, const void *x, enum qz_dtype x_type,
    int64_t n)
{
	cudaStream_t s = qz_cuda_stream(d);

	if (!qz_cuda_is_plain(y_type) || !qz_cuda_is_plain(x_type)) {
		qz_cuda_keep(d, QZ_EDATA, "cast: type %d to %d, not f32, f16, bf16 or f64", x_type, y_type);
		return;
	}
	if (n < 1)
		return;
	cast<<<static_cast<unsigned>((n + 255) / 256), 256, 0, s>>>(y, y_type, x, x_type, n);
	qz_cuda_launched(d, "cast");
}
