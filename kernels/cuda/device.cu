/* Opening a GPU, its memory, its errors, and the table. */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/cuda.cuh"
#include "kernels/cuda/ops.h"

extern "C" __attribute__((visibility("default"))) const struct qz_backend qz_backend_v1;

/* Ops that are not there yet. */
#define THERE(name, args)
#define LATER(name, args) \
	void qz_cuda_##name args \
	{ \
		qz_cuda_keep(d, QZ_EDEVICE, "cuda: op %s is not there yet", #name); \
	}
#define EXPAND(state, name, args) state(name, args)
#define QZ_OP(name, args) EXPAND(QZ_CUDA_##name, name, args)
#include "kernels/ops.def"
#undef QZ_OP
#undef THERE
#undef LATER

#define THERE(name, args) +0
#define LATER(name, args) +1
#define QZ_OP(name, args) EXPAND(QZ_CUDA_##name, name, args)
enum { OPS_LATER = 0
#include "kernels/ops.def"
};
#undef QZ_OP

int
qz_cuda_fail(struct qz_err *e, enum qz_code code, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	return -1;
}

void
qz_cuda_keep(struct qz_dev *d, enum qz_code code, const char *fmt, ...)
{
	struct qz_err *e = &cuda_dev(d)->err;
	va_list ap;

	if (e->code != QZ_OK)
		return;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
}

static void
keep_rc(struct qz_dev *d, const char *what, cudaError_t rc)
{
	if (rc != cudaSuccess)
		qz_cuda_keep(d, QZ_EDEVICE, "cuda: %s: %s", what, cudaGetErrorString(rc));
}

void
qz_cuda_launched(struct qz_dev *d, const char *op)
{
	keep_rc(d, op, cudaGetLastError());
}

cudaStream_t
qz_cuda_stream(struct qz_dev *d)
{
	keep_rc(d, "cudaSetDevice", cudaSetDevice(cuda_dev(d)->index));
	return cuda_dev(d)->stream;
}

bool
qz_cuda_is_plain(enum qz_dtype type)
{
	return type == QZ_F32 || type == QZ_F16 || type == QZ_BF16 || type == QZ_F64;
}

/* Without a driver, or with one too old, there are none. */
static int
count(void)
{
	int n = 0;

	if (cudaGetDeviceCount(&n) == cudaSuccess)
		return n;
	(void)cudaGetLastError();
	return 0;
}

__global__ void
probe(void)
{
}

static struct qz_dev *
open_device(int index, int n_threads, struct qz_err *e)
{
	struct qz_cuda_dev *c = static_cast<struct qz_cuda_dev *>(calloc(1, sizeof *c));
	struct cudaFuncAttributes kernel;
	cudaError_t rc;

	(void)n_threads;
	if (!c) {
		qz_cuda_fail(e, QZ_EIO, "out of memory: cannot allocate %zu bytes", sizeof *c);
		return nullptr;
	}
	rc = cudaSetDevice(index);
	if (rc == cudaSuccess)
		rc = cudaFuncGetAttributes(&kernel, probe); /* is there code for this GPU? */
	if (rc == cudaSuccess)
		rc = cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking);
	if (rc != cudaSuccess) {
		qz_cuda_fail(e, QZ_EDEVICE, "cuda:%d: %s", index, cudaGetErrorString(rc));
		free(c);
		return nullptr;
	}
	c->dev.k = &qz_backend_v1;
	c->index = index;
	return &c->dev;
}

static void
close_device(struct qz_dev *d)
{
	if (!d)
		return;
	cudaStreamDestroy(qz_cuda_stream(d));
	free(d);
}

static void
describe(struct qz_dev *d, char *text, size_t n)
{
	struct cudaDeviceProp p;
	int driver = 0;

	if (cudaGetDeviceProperties(&p, cuda_dev(d)->index) != cudaSuccess ||
	    cudaDriverGetVersion(&driver) != cudaSuccess) {
		snprintf(text, n, "cuda:%d", cuda_dev(d)->index);
		return;
	}
	snprintf(text, n, "cuda: %s, sm_%d%d, %.1f GiB, driver for CUDA %d.%d", p.name, p.major, p.minor,
	    static_cast<double>(p.totalGlobalMem) / (1 << 30), driver / 1000, driver % 1000 / 10);
}

static uint64_t
memory(struct qz_dev *d)
{
	size_t left = 0, all = 0;

	qz_cuda_stream(d);
	keep_rc(d, "cudaMemGetInfo", cudaMemGetInfo(&left, &all));
	return left;
}

static void *
alloc(struct qz_dev *d, size_t nbytes, struct qz_err *e)
{
	void *p = nullptr;
	cudaError_t rc;

	qz_cuda_stream(d);
	rc = cudaMalloc(&p, nbytes ? nbytes : 1);
	if (rc == cudaSuccess)
		return p;
	(void)cudaGetLastError();
	qz_cuda_fail(e, QZ_EIO, "cuda:%d: cannot allocate %zu bytes: %s", cuda_dev(d)->index, nbytes,
	    cudaGetErrorString(rc));
	return nullptr;
}

static void
free_memory(struct qz_dev *d, void *p)
{
	if (!p)
		return;
	qz_cuda_stream(d);
	keep_rc(d, "cudaFree", cudaFree(p)); /* waits for what still uses it */
}

/* What the host gives may change as soon as this returns: pageable memory is staged by the driver. */
static void
copy_in(struct qz_dev *d, void *device, const void *host, size_t nbytes)
{
	cudaStream_t s = qz_cuda_stream(d);

	if (nbytes)
		keep_rc(d, "copy in", cudaMemcpyAsync(device, host, nbytes, cudaMemcpyHostToDevice, s));
}

static void
copy_out(struct qz_dev *d, void *host, const void *device, size_t nbytes)
{
	cudaStream_t s = qz_cuda_stream(d);

	if (nbytes)
		keep_rc(d, "copy out", cudaMemcpyAsync(host, device, nbytes, cudaMemcpyDeviceToHost, s));
	keep_rc(d, "copy out", cudaStreamSynchronize(s));
}

static void
fill(struct qz_dev *d, void *device, int byte, size_t nbytes)
{
	cudaStream_t s = qz_cuda_stream(d);

	if (nbytes)
		keep_rc(d, "fill", cudaMemsetAsync(device, byte, nbytes, s));
}

static int
sync_device(struct qz_dev *d, struct qz_err *e)
{
	struct qz_cuda_dev *c = cuda_dev(d);

	keep_rc(d, "sync", cudaStreamSynchronize(qz_cuda_stream(d)));
	if (c->err.code == QZ_OK)
		return 0;
	*e = c->err;
	c->err.code = QZ_OK;
	return -1;
}

/* The ops that are here need none. */
static size_t
workspace(struct qz_dev *d, const struct qz_need *need)
{
	(void)d;
	(void)need;
	return 0;
}

static void
set_workspace(struct qz_dev *d, void *device, size_t nbytes)
{
	(void)d;
	(void)device;
	(void)nbytes;
}

static constexpr struct qz_backend
table(void)
{
	struct qz_backend k = {};

	k.abi = QZ_KERNELS_ABI;
	k.size = sizeof k;
	k.name = "cuda";
	k.complete = OPS_LATER == 0;
	k.act_size = 2;
	k.par_size = 4;
	k.act_type = QZ_BF16;
	k.par_type = QZ_F32;
	k.count = count;
	k.open = open_device;
	k.close = close_device;
	k.describe = describe;
	k.memory = memory;
	k.alloc = alloc;
	k.free = free_memory;
	k.copy_in = copy_in;
	k.copy_out = copy_out;
	k.fill = fill;
	k.sync = sync_device;
	k.workspace = workspace;
	k.set_workspace = set_workspace;
#define QZ_OP(name, args) k.name = qz_cuda_##name;
#include "kernels/ops.def"
#undef QZ_OP
	return k;
}

const struct qz_backend qz_backend_v1 = table();
