/* dequantize: plain types, NF4, FP4 and INT8.  A thread takes eight elements of the flattened matrix,
 * so that it reads four bytes of codes and mostly one block constant. */
#include "kernels/cuda/plain.cuh"

enum { EACH = 8 };

static __device__ inline float
block_constant(const struct qz_mat &w, int64_t block)
{
	if (!w.nested_block)
		return static_cast<const float *>(w.absmax)[block];
	return w.nested_map[static_cast<const uint8_t *>(w.absmax)[block]] *
	        w.nested_absmax[block / w.nested_block] +
	    w.offset;
}

/* Elements first .. first + n of w go to y[0] .. y[n]. */
static __global__ void
dequantize4(void *y, enum qz_dtype y_type, struct qz_mat w, int64_t first, int64_t n)
{
	int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * EACH;
	int64_t end = i + EACH < n ? i + EACH : n, block = -1;
	float c = 0;

	for (; i < end; i++) {
		int64_t at = first + i;
		uint8_t byte = static_cast<const uint8_t *>(w.data)[at / 2];

		if (at / w.block != block) {
			block = at / w.block;
			c = block_constant(w, block);
		}
		plain_store(y, y_type, i, w.map[at % 2 ? byte & 15 : byte >> 4] * c);
	}
}

static __global__ void
dequantize8(void *y, enum qz_dtype y_type, struct qz_mat w, int64_t first, int64_t n)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;

	if (i < n) {
		float code = static_cast<const int8_t *>(w.data)[first + i];
		float absmax = static_cast<const float *>(w.absmax)[(first + i) / w.cols];

		plain_store(y, y_type, i, code * absmax / 127.0f);
	}
}

static __global__ void
dequantize_plain(void *y, enum qz_dtype y_type, struct qz_mat w, int64_t first, int64_t n)
{
	int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;

	if (i < n)
		plain_store(y, y_type, i, plain_load(w.data, w.type, first + i));
}

void
qz_cuda_dequantize(struct qz_dev *d, void *y, enum qz_dtype y_type, const struct qz_mat *w,
    int64_t row0, int64_t n_rows)
{
	cudaStream_t s = qz_cuda_stream(d);
	int64_t first = row0 * w->cols, n = n_rows * w->cols;
	unsigned blocks = static_cast<unsigned>((n + 255) / 256);
	unsigned blocks4 = static_cast<unsigned>((n + 256 * EACH - 1) / (256 * EACH));
	bool four = (w->type == QZ_NF4 || w->type == QZ_FP4) && w->block > 0;

	if (!qz_cuda_is_plain(y_type) || (!four && w->type != QZ_INT8 && !qz_cuda_is_plain(w->type))) {
		qz_cuda_keep(d, QZ_EDATA, "cuda: dequantize from type %d to %d is not there yet", w->type, y_type);
		return;
	}
	if (n < 1)
		return;
	if (four)
		dequantize4<<<blocks4, 256, 0, s>>>(y, y_type, *w, first, n);
	else if (w->type == QZ_INT8)
		dequantize8<<<blocks, 256, 0, s>>>(y, y_type, *w, first, n);
	else
		dequantize_plain<<<blocks, 256, 0, s>>>(y, y_type, *w, first, n);
	qz_cuda_launched(d, "dequantize");
}
