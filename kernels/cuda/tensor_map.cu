#include "kernels/cuda/tensor_map.cuh"

#include <cuda_runtime.h>

typedef CUresult encode_fn(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
    const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
    CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's function, NULL when it has none. */
static encode_fn *
find_encode(void)
{
	static void *fn;
	enum cudaDriverEntryPointQueryResult found;

	if (!fn &&
	    (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &fn, 12000, cudaEnableDefault, &found) !=
	            cudaSuccess ||
	        found != cudaDriverEntryPointSuccess))
		fn = nullptr;
	return reinterpret_cast<encode_fn *>(fn);
}

bool
qz_cuda_map(CUtensorMap *m, const void *x, int64_t cols, int64_t heads, int64_t rows, int64_t ld, int box_cols,
    int box_rows)
{
	encode_fn *encode = find_encode();
	cuuint64_t size[3] = { static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(heads),
		static_cast<cuuint64_t>(rows) };
	cuuint64_t stride[2] = { static_cast<cuuint64_t>(cols) * 2, static_cast<cuuint64_t>(ld) * 2 };
	cuuint32_t box[3] = { static_cast<cuuint32_t>(box_cols), 1, static_cast<cuuint32_t>(box_rows) };
	cuuint32_t step[3] = { 1, 1, 1 };

	return encode &&
	    encode(m, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void *>(x), size, stride, box, step,
	        CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
	        CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}
