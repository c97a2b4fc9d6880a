/* Opening a GPU, its memory, its errors, and the table. */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/cuda.cuh"

extern "C" {
#include "kernels/nf4.h"
}

extern "C" __attribute__((visibility("default"))) const struct qz_backend qz_backend_v1, qz_backend_f16_v1;

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

/* "linear 512 x 4096 x 4096" */
static void
name_op(const struct qz_cuda_dev *c, char *text, size_t n)
{
	size_t at = static_cast<size_t>(snprintf(text, n, "%s", c->op ? c->op : "start"));

	for (int i = 0; i < 3 && c->shape[i] && at < n; i++)
		at += static_cast<size_t>(snprintf(text + at, n - at, "%s%lld", i ? " x " : " ",
		    static_cast<long long>(c->shape[i])));
}

void
qz_cuda_rc(struct qz_dev *d, const char *what, cudaError_t rc)
{
	char op[128];

	if (rc == cudaSuccess)
		return;
	(void)cudaGetLastError();
	name_op(cuda_dev(d), op, sizeof op);
	qz_cuda_keep(d, QZ_EDEVICE, "cuda:%d: %s: %s: %s", cuda_dev(d)->index, op, what,
	    cudaGetErrorString(rc));
}

void
qz_cuda_op(struct qz_dev *d, const char *op, int64_t a, int64_t b, int64_t c)
{
	struct qz_cuda_dev *s = cuda_dev(d);

	s->op = op;
	s->shape[0] = a;
	s->shape[1] = b;
	s->shape[2] = c;
	qz_cuda_rc(d, "cudaSetDevice", cudaSetDevice(s->index));
	qz_cuda_part(d, "");
}

bool
qz_cuda_is_plain(enum qz_dtype type)
{
	return type == QZ_F32 || type == QZ_F16 || type == QZ_BF16 || type == QZ_F64;
}

bool
qz_cuda_plain(struct qz_dev *d, enum qz_dtype type)
{
	const struct qz_dtype_info *t = qz_dtype(type);

	if (qz_cuda_is_plain(type))
		return true;
	qz_cuda_keep(d, QZ_EDATA, "%s: type %s is not f32, f16, bf16 or f64", cuda_dev(d)->op,
	    t ? t->name : "?");
	return false;
}

void *
qz_cuda_ws(struct qz_dev *d, size_t *at, size_t nbytes)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	char *p = c->ws + *at, op[128];

	*at += qz_cuda_round(static_cast<int64_t>(nbytes));
	if (c->ws && *at <= c->ws_n)
		return p;
	name_op(c, op, sizeof op);
	qz_cuda_keep(d, QZ_EIO, "cuda:%d: %s: needs %zu bytes of workspace, has %zu", c->index, op, *at,
	    c->ws_n);
	return nullptr;
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

static __global__ void
probe(void)
{
}

/* The tables of 4-bit and 8-bit codes, and no trouble. */
static cudaError_t
fill_own(struct qz_cuda_dev *c)
{
	static const enum qz_dtype types[] = { QZ_NF4, QZ_FP4 };
	struct qz_cuda_own *own = static_cast<struct qz_cuda_own *>(calloc(1, sizeof *own));
	cudaError_t rc;

	if (!own)
		return cudaErrorMemoryAllocation;
	qz_codes4_fill(own->codes4, qz_bounds4(QZ_NF4));
	qz_codes8_fill(&own->codes8[0], true, qz_map8_signed());
	qz_codes8_fill(&own->codes8[1], false, qz_map8_unsigned());
	memcpy(own->map8, qz_map8_signed(), sizeof own->map8);
	for (int i = 0; i < 2; i++) {
		memcpy(own->bounds4[i], qz_bounds4(types[i]), 15 * sizeof(float));
		memcpy(own->order4[i], qz_order4(types[i]), 16);
	}
	rc = cudaMemcpyAsync(c->own, own, sizeof *own, cudaMemcpyHostToDevice, c->stream);
	if (rc == cudaSuccess)
		rc = cudaStreamSynchronize(c->stream);
	free(own);
	return rc;
}

static cudaError_t
start(struct qz_cuda_dev *c)
{
	struct cudaFuncAttributes kernel;
	int major = 0, minor = 0;
	cudaError_t rc = cudaSetDevice(c->index);

	if (rc == cudaSuccess)
		rc = cudaFuncGetAttributes(&kernel, probe); /* is there code for this GPU? */
	if (rc == cudaSuccess)
		rc = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, c->index);
	if (rc == cudaSuccess)
		rc = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, c->index);
	c->cc = 10 * major + minor;
	if (rc == cudaSuccess)
		rc = cudaDeviceGetAttribute(&c->sms, cudaDevAttrMultiProcessorCount, c->index);
	if (rc == cudaSuccess)
		rc = cudaDeviceGetAttribute(&c->shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, c->index);
	if (rc == cudaSuccess)
		rc = cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking);
	if (rc == cudaSuccess)
		rc = cudaMalloc(&c->own, sizeof *c->own);
	return rc == cudaSuccess ? fill_own(c) : rc;
}

static void
stop(struct qz_cuda_dev *c)
{
	qz_cuda_ahead_end(c);
	cudaFree(c->own);
	if (c->stream)
		cudaStreamDestroy(c->stream);
	(void)cudaGetLastError();
	free(c);
}

static struct qz_dev *
open_as(int index, bool f16, struct qz_err *e)
{
	struct qz_cuda_dev *c = static_cast<struct qz_cuda_dev *>(calloc(1, sizeof *c));
	cudaError_t rc;

	if (!c) {
		qz_cuda_fail(e, QZ_EIO, "out of memory: cannot allocate %zu bytes", sizeof *c);
		return nullptr;
	}
	c->index = index;
	qz_cuda_ahead_begin(c);
	rc = start(c);
	c->dev.k = f16 || c->cc < 80 ? &qz_backend_f16_v1 : &qz_backend_v1;
	if (rc == cudaSuccess)
		return &c->dev;
	qz_cuda_fail(e, QZ_EDEVICE, "cuda:%d: %s", index, cudaGetErrorString(rc));
	stop(c);
	return nullptr;
}

/* With activations in bfloat16, where the GPU has it. */
static struct qz_dev *
open_device(int index, int n_threads, struct qz_err *e)
{
	(void)n_threads;
	return open_as(index, false, e);
}

static struct qz_dev *
open_f16(int index, int n_threads, struct qz_err *e)
{
	(void)n_threads;
	return open_as(index, true, e);
}

static void
close_device(struct qz_dev *d)
{
	if (!d)
		return;
	qz_cuda_op(d, "close", 0);
	qz_cuda_trace_on(d, false);
	qz_cuda_side_end(d);
	qz_cuda_gemms_end(d);
	qz_cuda_sdpa_end(d);
	stop(cuda_dev(d));
}

static void
describe(struct qz_dev *d, char *text, size_t n)
{
	struct cudaDeviceProp p;
	int driver = 0, runtime = 0;
	char blas[128], dnn[128];

	if (cudaGetDeviceProperties(&p, cuda_dev(d)->index) != cudaSuccess ||
	    cudaDriverGetVersion(&driver) != cudaSuccess ||
	    cudaRuntimeGetVersion(&runtime) != cudaSuccess) {
		snprintf(text, n, "cuda:%d", cuda_dev(d)->index);
		return;
	}
	qz_cuda_gemms_name(d, blas, sizeof blas);
	qz_cuda_sdpa_name(dnn, sizeof dnn);
	snprintf(text, n, "%s: %s, sm_%d%d, %.1f GB, driver for CUDA %d.%d, runtime %d.%d, %s, %s", d->k->name,
	    p.name, p.major, p.minor, static_cast<double>(p.totalGlobalMem) / 1e9, driver / 1000,
	    driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, blas, dnn);
}

static uint64_t
memory(struct qz_dev *d)
{
	size_t left = 0, all = 0;

	qz_cuda_op(d, "memory", 0);
	qz_cuda_rc(d, "cudaMemGetInfo", cudaMemGetInfo(&left, &all));
	return left;
}

static uint64_t
used(struct qz_dev *d)
{
	size_t left = 0, all = 0;

	qz_cuda_op(d, "memory", 0);
	qz_cuda_rc(d, "cudaMemGetInfo", cudaMemGetInfo(&left, &all));
	return all - left;
}

static void *
alloc(struct qz_dev *d, size_t nbytes, struct qz_err *e)
{
	void *p = nullptr;
	cudaError_t rc;

	qz_cuda_op(d, "alloc", static_cast<int64_t>(nbytes));
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
	qz_cuda_op(d, "free", 0);
	qz_cuda_rc(d, "cudaFree", cudaFree(p)); /* waits for what still uses it */
}

/* What the host gives may change as soon as this returns: pageable memory is staged by the driver.  The device's
 * side may be pinned host memory, where an optimizer's states lie. */
static void
copy_in(struct qz_dev *d, void *device, const void *host, size_t nbytes)
{
	qz_cuda_op(d, "copy to the device", static_cast<int64_t>(nbytes));
	if (nbytes)
		qz_cuda_rc(d, "cudaMemcpyAsync",
		    cudaMemcpyAsync(device, host, nbytes, cudaMemcpyDefault, cuda_dev(d)->stream));
}

static void
copy_out(struct qz_dev *d, void *host, const void *device, size_t nbytes)
{
	cudaStream_t s = cuda_dev(d)->stream;
	cudaError_t rc = cudaSetDevice(cuda_dev(d)->index);

	if (rc == cudaSuccess && nbytes)
		rc = cudaMemcpyAsync(host, device, nbytes, cudaMemcpyDefault, s);
	if (rc == cudaSuccess)
		rc = cudaStreamSynchronize(s);
	qz_cuda_rc(d, "copy to the host", rc); /* most often the op before it */
}

static void
fill(struct qz_dev *d, void *device, int byte, size_t nbytes)
{
	qz_cuda_op(d, "fill", static_cast<int64_t>(nbytes));
	if (nbytes)
		qz_cuda_rc(d, "cudaMemsetAsync",
		    cudaMemsetAsync(device, byte, nbytes, cuda_dev(d)->stream));
}

/* What kernels noted down becomes the failure, unless there is one already. */
static void
read_note(struct qz_dev *d)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	decltype(c->own->note) note = {};
	cudaError_t rc;

	rc = cudaMemcpyAsync(&note, &c->own->note, sizeof note, cudaMemcpyDeviceToHost, c->stream);
	if (rc == cudaSuccess)
		rc = cudaStreamSynchronize(c->stream);
	qz_cuda_rc(d, "sync", rc);
	if (rc != cudaSuccess || note.trouble == QZ_CUDA_FINE)
		return;
	if (note.trouble == QZ_CUDA_BAD_ID)
		qz_cuda_keep(d, QZ_EDATA, "embed: token id %u, the table has %lld rows", note.value,
		    note.limit);
	else if (note.trouble == QZ_CUDA_BAD_TARGET)
		qz_cuda_keep(d, QZ_EDATA, "cross_entropy: target %u, there are %lld logits", note.value,
		    note.limit);
	else
		qz_cuda_keep(d, QZ_EIO, "attention_bwd: row %u, the workspace has room for %lld rows",
		    note.value, note.limit);
	qz_cuda_rc(d, "sync", cudaMemsetAsync(&c->own->note, 0, sizeof note, c->stream));
}

static int
sync_device(struct qz_dev *d, struct qz_err *e)
{
	struct qz_cuda_dev *c = cuda_dev(d);

	qz_cuda_rc(d, "cudaSetDevice", cudaSetDevice(c->index));
	read_note(d);
	if (c->err.code == QZ_OK)
		return 0;
	*e = c->err;
	c->err.code = QZ_OK;
	return -1;
}

/* Ops run one after another, so that they share the same bytes. */
static size_t
workspace(struct qz_dev *d, const struct qz_need *need)
{
	size_t linear = qz_cuda_linear_need(d, need), attention = qz_cuda_attention_need(d, need);

	return linear > attention ? linear : attention;
}

static void
set_workspace(struct qz_dev *d, void *device, size_t nbytes)
{
	qz_cuda_op(d, "set_workspace", static_cast<int64_t>(nbytes));
	cuda_dev(d)->ws = static_cast<char *>(device);
	cuda_dev(d)->ws_n = nbytes;
	if (device)
		qz_cuda_gemms_begin(d);
}

static constexpr struct qz_backend
table(void)
{
	struct qz_backend k = {};

	k.abi = QZ_KERNELS_ABI;
	k.size = sizeof k;
	k.name = "cuda";
	k.complete = true;
	k.act_size = 2;
	k.par_size = 4;
	k.act_type = QZ_BF16;
	k.par_type = QZ_F32;
	k.count = count;
	k.open = open_device;
	k.close = close_device;
	k.describe = describe;
	k.memory = memory;
	k.used = used;
	k.alloc = alloc;
	k.free = free_memory;
	k.copy_in = copy_in;
	k.copy_out = copy_out;
	k.fill = fill;
	k.sync = sync_device;
	k.host_alloc = qz_cuda_host_alloc;
	k.host_free = qz_cuda_host_free;
	k.side_copy = qz_cuda_side_copy;
	k.side_wait = qz_cuda_side_wait;
	k.upload_open = qz_cuda_upload_open;
	k.upload_window = qz_cuda_upload_window;
	k.upload_send = qz_cuda_upload_send;
	k.upload_wait = qz_cuda_upload_wait;
	k.upload_close = qz_cuda_upload_close;
	k.tune = qz_cuda_tune;
	k.trace = qz_cuda_trace_on;
	k.trace_read = qz_cuda_trace_read;
	k.workspace = workspace;
	k.set_workspace = set_workspace;
	k.attention_parts = qz_cuda_attention_parts;
	k.attention_name = qz_cuda_attention_name;
#define QZ_OP(name, args) k.name = qz_cuda_##name;
#include "kernels/ops.def"
#undef QZ_OP
	return k;
}

/* Ops that have nothing to do with activations. */
static constexpr bool
for_both(const char *op)
{
	constexpr const char *names[] = { "quantize4", "nest_absmax", "quantize8", "dequantize", "cast", "merge",
		"quantize_ggml", "find_nonfinite", "sum_squares" };

	for (const char *name : names) {
		int i = 0;

		while (name[i] && name[i] == op[i])
			i++;
		if (name[i] == op[i])
			return true;
	}
	return false;
}

static constexpr struct qz_backend
table_f16(void)
{
	struct qz_backend k = table();

	k.name = "cuda-fp16";
	k.act_type = QZ_F16;
	k.open = open_f16;
#define QZ_OP(name, args) \
	if constexpr (!for_both(#name)) \
		k.name = f16::qz_cuda_##name;
#include "kernels/ops.def"
#undef QZ_OP
	return k;
}

const struct qz_backend qz_backend_v1 = table(), qz_backend_f16_v1 = table_f16();
