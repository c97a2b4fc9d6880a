/* ahead - libraries of hundreds of megabytes are loaded while the driver makes a context, which takes as long.  Whoever
 * needs one waits for it in its own loading function. */
#include "kernels/cuda/cuda.cuh"

extern "C" {
#include "kernels/cuda/cudnn.h"
}

static void *
load(void *none)
{
	(void)none;
	qz_cuda_gemms_load();
	(void)qz_cudnn_load();
	return nullptr;
}

void
qz_cuda_ahead_begin(struct qz_cuda_dev *c)
{
	c->is_ahead = pthread_create(&c->ahead, nullptr, load, nullptr) == 0;
}

void
qz_cuda_ahead_end(struct qz_cuda_dev *c)
{
	if (c->is_ahead)
		pthread_join(c->ahead, nullptr);
	c->is_ahead = false;
}
