/* side - copies beside the ops: one stream each way, since a GPU has a copy engine each way.  Host memory is
 * pinned, and mapped so that a kernel can read it; managed memory is not used.  Any thread may ask for it, while
 * another one queues ops: so nothing is noted in the device. */
#include "kernels/cuda/cuda.cuh"

void *
qz_cuda_host_alloc(struct qz_dev *d, size_t nbytes, struct qz_err *e)
{
	void *p = nullptr;
	cudaError_t rc = cudaSetDevice(cuda_dev(d)->index);

	if (rc == cudaSuccess)
		rc = cudaHostAlloc(&p, nbytes ? nbytes : 1, cudaHostAllocPortable | cudaHostAllocMapped);
	if (rc == cudaSuccess)
		return p;
	(void)cudaGetLastError();
	qz_cuda_fail(e, QZ_EIO, "cuda:%d: cannot allocate %zu bytes of pinned host memory: %s",
	    cuda_dev(d)->index, nbytes, cudaGetErrorString(rc));
	return nullptr;
}

void
qz_cuda_host_free(struct qz_dev *d, void *p)
{
	if (p && cudaSetDevice(cuda_dev(d)->index) == cudaSuccess)
		cudaFreeHost(p);
	(void)cudaGetLastError();
}

static bool
begin(struct qz_dev *d)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	cudaError_t rc = cudaSuccess;

	if (c->main_done)
		return true;
	for (int i = 0; i < 2 && rc == cudaSuccess; i++) {
		rc = cudaStreamCreateWithFlags(&c->side[i], cudaStreamNonBlocking);
		if (rc == cudaSuccess)
			rc = cudaEventCreateWithFlags(&c->side_done[i], cudaEventDisableTiming);
	}
	if (rc == cudaSuccess)
		rc = cudaEventCreateWithFlags(&c->main_done, cudaEventDisableTiming);
	qz_cuda_rc(d, "a stream for copies", rc);
	return rc == cudaSuccess;
}

void
qz_cuda_side_copy(struct qz_dev *d, int lane, void *to, const void *from, size_t nbytes)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	cudaError_t rc;

	qz_cuda_op(d, "side_copy", static_cast<int64_t>(nbytes));
	if (!begin(d))
		return;
	rc = cudaEventRecord(c->main_done, c->stream);
	if (rc == cudaSuccess)
		rc = cudaStreamWaitEvent(c->side[lane], c->main_done, 0);
	if (rc == cudaSuccess)
		rc = cudaMemcpyAsync(to, from, nbytes, cudaMemcpyDefault, c->side[lane]);
	if (rc == cudaSuccess)
		rc = cudaEventRecord(c->side_done[lane], c->side[lane]);
	qz_cuda_rc(d, "copy beside the ops", rc);
}

void
qz_cuda_side_wait(struct qz_dev *d, int lane)
{
	struct qz_cuda_dev *c = cuda_dev(d);

	qz_cuda_op(d, "side_wait", 0);
	if (c->main_done)
		qz_cuda_rc(d, "waiting for a copy", cudaStreamWaitEvent(c->stream, c->side_done[lane], 0));
}

void
qz_cuda_side_end(struct qz_dev *d)
{
	struct qz_cuda_dev *c = cuda_dev(d);

	for (int i = 0; i < 2; i++) {
		if (c->side[i])
			cudaStreamDestroy(c->side[i]);
		if (c->side_done[i])
			cudaEventDestroy(c->side_done[i]);
		c->side[i] = nullptr;
		c->side_done[i] = nullptr;
	}
	if (c->main_done)
		cudaEventDestroy(c->main_done);
	c->main_done = nullptr;
}
