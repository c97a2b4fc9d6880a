/* cuda - what the files of the plugin share.
 *
 * Calls are queued on one stream a device.  The first failure, of a launch or of an op that is not
 * there yet, is kept and told by sync().  The plugin exports qz_backend_v1 and nothing else. */
#ifndef QZ_CUDA_CUH
#define QZ_CUDA_CUH

#include <cstdarg>
#include <cstdbool>
#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>

extern "C" {
#include "kernels/kernels.h"
}

struct qz_cuda_dev {
	struct qz_dev dev;
	int index;
	cudaStream_t stream;
	struct qz_err err; /* the first failure since the last sync() */
};

#define QZ_OP(name, args) void qz_cuda_##name args;
#include "kernels/ops.def"
#undef QZ_OP

static inline struct qz_cuda_dev *
cuda_dev(struct qz_dev *d)
{
	return reinterpret_cast<struct qz_cuda_dev *>(d);
}

/* -1 and a description, as qz_fail(), which lives in the tools. */
int qz_cuda_fail(struct qz_err *e, enum qz_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Keeps the first failure for sync(). */
void qz_cuda_keep(struct qz_dev *d, enum qz_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* After a launch: keeps what went wrong with it. */
void qz_cuda_launched(struct qz_dev *d, const char *op);
/* The device is the current one of this thread; its stream. */
cudaStream_t qz_cuda_stream(struct qz_dev *d);
bool qz_cuda_is_plain(enum qz_dtype type);

#endif
