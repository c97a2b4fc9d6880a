/* ggml_scales - are the scales of ggml's blocks numbers?  A weight beyond what float16 holds, times its block's size,
 * makes the scale infinite, and with it the whole block. */
#ifndef QZ_GGML_SCALES_H
#define QZ_GGML_SCALES_H

#include <stdint.h>

#include "libcore/base/dtype.h"

/* Of n blocks the first whose scale or min is NaN or infinite, -1: none.  Other types have no blocks: -1. */
int64_t qz_ggml_bad_block(enum qz_dtype type, const void *blocks, uint64_t n);

#endif
