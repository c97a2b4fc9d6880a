/* upload - host memory to the device, each thread by a stream of its own: a window is filled while the other one is on
 * its way.  Nothing of the device's other state is touched, so that threads need no lock. */
#include <cstdlib>

#include "kernels/cuda/cuda.cuh"

struct qz_upload {
	int index;
	cudaStream_t stream;
	cudaEvent_t free[2]; /* the window's last copy is done */
	char *window[2];
	int turn;
};

static int
tell(const struct qz_upload *u, const char *what, cudaError_t rc, struct qz_err *e)
{
	if (rc == cudaSuccess)
		return 0;
	(void)cudaGetLastError();
	return qz_cuda_fail(e, rc == cudaErrorMemoryAllocation ? QZ_EIO : QZ_EDEVICE, "cuda:%d: upload: %s: %s",
	    u->index, what, cudaGetErrorString(rc));
}

struct qz_upload *
qz_cuda_upload_open(struct qz_dev *d, size_t window, struct qz_err *e)
{
	struct qz_upload *u = static_cast<struct qz_upload *>(calloc(1, sizeof *u));
	cudaError_t rc;

	if (!u) {
		qz_cuda_fail(e, QZ_EIO, "out of memory: cannot allocate %zu bytes", sizeof *u);
		return nullptr;
	}
	u->index = cuda_dev(d)->index;
	rc = cudaSetDevice(u->index);
	if (rc == cudaSuccess)
		rc = cudaStreamCreateWithFlags(&u->stream, cudaStreamNonBlocking);
	for (int i = 0; i < 2 && rc == cudaSuccess; i++) {
		void *p = nullptr;

		rc = cudaHostAlloc(&p, window, cudaHostAllocPortable);
		u->window[i] = static_cast<char *>(p);
		if (rc == cudaSuccess)
			rc = cudaEventCreateWithFlags(&u->free[i], cudaEventDisableTiming | cudaEventBlockingSync);
	}
	if (tell(u, "two windows of pinned host memory", rc, e) == 0)
		return u;
	qz_cuda_upload_close(u);
	return nullptr;
}

void *
qz_cuda_upload_window(struct qz_upload *u, struct qz_err *e)
{
	cudaError_t rc = cudaSetDevice(u->index);

	if (rc == cudaSuccess)
		rc = cudaEventSynchronize(u->free[u->turn]); /* at once where nothing was sent */
	return tell(u, "waiting for a window", rc, e) < 0 ? nullptr : u->window[u->turn];
}

int
qz_cuda_upload_send(struct qz_upload *u, void *device, size_t n, struct qz_err *e)
{
	cudaError_t rc = cudaSetDevice(u->index);

	if (rc == cudaSuccess)
		rc = cudaMemcpyAsync(device, u->window[u->turn], n, cudaMemcpyDefault, u->stream);
	if (rc == cudaSuccess)
		rc = cudaEventRecord(u->free[u->turn], u->stream);
	u->turn = !u->turn;
	return tell(u, "a copy", rc, e);
}

int
qz_cuda_upload_wait(struct qz_upload *u, struct qz_err *e)
{
	cudaError_t rc = cudaSetDevice(u->index);

	if (rc == cudaSuccess)
		rc = cudaStreamSynchronize(u->stream);
	return tell(u, "the end of the copies", rc, e);
}

void
qz_cuda_upload_close(struct qz_upload *u)
{
	if (!u)
		return;
	(void)cudaSetDevice(u->index);
	if (u->stream) {
		(void)cudaStreamSynchronize(u->stream);
		cudaStreamDestroy(u->stream);
	}
	for (int i = 0; i < 2; i++) {
		if (u->free[i])
			cudaEventDestroy(u->free[i]);
		if (u->window[i])
			cudaFreeHost(u->window[i]);
	}
	(void)cudaGetLastError();
	free(u);
}
