/* tensor_map - arrays as Hopper's copying unit sees them. */
#ifndef QZ_CUDA_TENSOR_MAP_CUH
#define QZ_CUDA_TENSOR_MAP_CUH

#include <cstdint>
#include <cuda.h>

/* x: rows, `ld` bfloat16 apart, of `heads` times `cols` side by side, for copies of box_rows rows of box_cols numbers of one
 * head, which lie in shared memory as wgmma.cuh says; what is not there becomes zeros.  x is on 16 bytes, ld and cols * 2
 * bytes likewise.  False: the driver has no such thing, or does not take it. */
bool qz_cuda_map(CUtensorMap *m, const void *x, int64_t cols, int64_t heads, int64_t rows, int64_t ld, int box_cols,
    int box_rows);

#endif
