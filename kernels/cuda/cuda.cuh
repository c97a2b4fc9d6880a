/* cuda - what the files of the plugin share.
 *
 * Calls are queued on one stream a device.  The first failure is kept and told by sync(), with the op,
 * its shape and the device.  What a kernel itself finds wrong (an id beyond its table) it writes into
 * the device's notes, which sync() reads.  The plugin exports qz_backend_v1 and qz_backend_f16_v1 and nothing
 * else.
 * All is compiled without contraction to fused multiply-adds; a kernel that wants one says fmaf.
 *
 * Activations are bfloat16, from sm_80 on, or float16, on every GPU.  Files that compute with them are compiled
 * twice; with QZ_CUDA_F16 all that stands between ACT_BEGIN and ACT_END is in namespace f16. */
#ifndef QZ_CUDA_CUH
#define QZ_CUDA_CUH

#include <cstdarg>
#include <cstdbool>
#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>
#include <pthread.h>

extern "C" {
#include "kernels/kernels.h"
}
#include "kernels/codes4.h"
#include "kernels/codes8.h"

/* What a kernel found wrong; the first one stays. */
enum qz_cuda_trouble { QZ_CUDA_FINE, QZ_CUDA_BAD_ID, QZ_CUDA_BAD_TARGET, QZ_CUDA_NO_ROOM };

enum { QZ_CUDA_PARTIALS = 1024, QZ_CUDA_ROW_MEANS = 16384 };

/* Device memory that the plugin keeps for itself. */
struct qz_cuda_own {
	struct qz_codes4 codes4[QZ_CODES4_BUCKETS + 1]; /* of NF4; the last one is not used */
	struct qz_codes8 codes8[2]; /* of the signed and the unsigned map */
	float map8[256], bounds4[2][16]; /* kernels/nf4.h; bounds4 and order4: NF4, FP4 */
	uint8_t order4[2][16];
	double partial[QZ_CUDA_PARTIALS];
	float row_means[QZ_CUDA_ROW_MEANS]; /* of quantize_ggml */
	unsigned long long first;           /* find_nonfinite's answer */
	struct {
		unsigned trouble, value;
		long long limit;
	} note;
};

struct qz_cuda_gemms;
struct qz_cuda_trace;
struct qz_cuda_sdpas;

struct qz_cuda_dev {
	struct qz_dev dev;
	int index, cc, sms, shared; /* cc: compute capability, 90; multiprocessors; shared memory a block */
	cudaStream_t stream;
	struct qz_err err; /* the first failure since the last sync() */
	const char *op;    /* the last one, and its shape; what is 0 at the end is no part of it */
	int64_t shape[3];
	char *ws; /* borrowed from the caller of set_workspace() */
	size_t ws_n;
	struct qz_cuda_own *own;
	struct qz_cuda_gemms *gemms; /* NULL until a workspace is set */
	struct qz_cuda_trace *trace; /* NULL: nothing is timed */
	cudaStream_t side[2];        /* copies beside the ops; made when first used */
	cudaEvent_t main_done, side_done[2];
	struct qz_cuda_sdpas *sdpas; /* NULL until cuDNN is asked for */
	int clusters[4];             /* of gemm_90's kernels: how many are at work at once; 0: not asked yet, -1: none */
	pthread_t ahead;             /* with is_ahead */
	bool is_ahead;
};

#define QZ_OP(name, args) void qz_cuda_##name args;
#include "kernels/ops.def"
namespace f16 { /* all but those that device.cu names */
#include "kernels/ops.def"
}
#undef QZ_OP

#ifdef QZ_CUDA_F16
#define ACT_BEGIN namespace f16 {
#define ACT_END }
#define ACT_TYPE QZ_F16
#define ACT_OP(name) f16::qz_cuda_##name /* the op of this file's activations */
#else
#define ACT_BEGIN
#define ACT_END
#define ACT_TYPE QZ_BF16
#define ACT_OP(name) ::qz_cuda_##name
#endif

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
/* Keeps what went wrong with a call to CUDA, with the op, its shape and the device. */
void qz_cuda_rc(struct qz_dev *d, const char *what, cudaError_t rc);
/* An op begins: the device is the current one of this thread. */
void qz_cuda_op(struct qz_dev *d, const char *op, int64_t a, int64_t b = 0, int64_t c = 0);
bool qz_cuda_is_plain(enum qz_dtype type);
/* Keeps a failure when a type is not plain. */
bool qz_cuda_plain(struct qz_dev *d, enum qz_dtype type);
/* nbytes of workspace behind `at`, which moves on by a multiple of 256; NULL and a failure when there
 * is not so much. */
void *qz_cuda_ws(struct qz_dev *d, size_t *at, size_t nbytes);

/* trace.cu: what is queued from here on belongs to this part of the op; "" is the op itself. */
void qz_cuda_part(struct qz_dev *d, const char *part);
void qz_cuda_trace_on(struct qz_dev *d, bool on);
size_t qz_cuda_trace_read(struct qz_dev *d, struct qz_trace *rows, size_t max);

/* side.cu */
void *qz_cuda_host_alloc(struct qz_dev *d, size_t nbytes, struct qz_err *e);
void qz_cuda_host_free(struct qz_dev *d, void *p);
void qz_cuda_side_copy(struct qz_dev *d, int lane, void *to, const void *from, size_t nbytes);
void qz_cuda_side_wait(struct qz_dev *d, int lane);
void qz_cuda_side_end(struct qz_dev *d);

/* ahead.cu: a thread loads the libraries for products and attention while the device opens; end waits for it. */
void qz_cuda_ahead_begin(struct qz_cuda_dev *c);
void qz_cuda_ahead_end(struct qz_cuda_dev *c);

/* upload.cu */
struct qz_upload *qz_cuda_upload_open(struct qz_dev *d, size_t window, struct qz_err *e);
void *qz_cuda_upload_window(struct qz_upload *u, struct qz_err *e);
int qz_cuda_upload_send(struct qz_upload *u, void *device, size_t n, struct qz_err *e);
int qz_cuda_upload_wait(struct qz_upload *u, struct qz_err *e);
void qz_cuda_upload_close(struct qz_upload *u);

/* gemm.cu */

/* c (m, n) = alpha * op(a) op(b) + plus, row-major, op(a) (m, k), op(b) (k, n); ta, tb: the matrix in
 * memory is the transpose.  a and b are activations, c and plus too or, when wide, float32; sums in float32, in
 * an order that the shapes decide.  plus: NULL, c itself, or a matrix apart from it with rows as far apart.
 * k2 > 0: and + alpha2 * a2 op(b2), a2 (m, k2), op(b2) (k2, n) transposed as b is: a few numbers more to sum over. */
struct qz_cuda_gemm {
	bool ta, tb, wide;
	int64_t m, n, k;
	float alpha;
	const void *a;
	int64_t lda;
	const void *b;
	int64_t ldb;
	const void *plus;
	void *c;
	int64_t ldc;
	int64_t k2;
	float alpha2;
	const void *a2;
	int64_t lda2;
	const void *b2;
	int64_t ldb2;
};
void qz_cuda_gemm(struct qz_dev *d, const struct qz_cuda_gemm *g);
/* What it needs of the workspace, from its start. */
enum { QZ_CUDA_GEMM_WS = 32 << 20 };
/* gemm_tune.cu: on: from now on new products are timed with several algorithms; false: they are not, for all
 * of this key were. */
bool qz_cuda_tune(struct qz_dev *d, bool on, uint64_t key);
/* Finds the library, for any thread. */
void qz_cuda_gemms_load(void);
/* Takes a handle of it, once; a failure is kept.  Ending frees. */
void qz_cuda_gemms_begin(struct qz_dev *d);
void qz_cuda_gemms_end(struct qz_dev *d);
/* "cuBLASLt 13.1.0", or why it is not there. */
void qz_cuda_gemms_name(struct qz_dev *d, char *text, size_t n);

/* attention_cudnn.cu */

/* Whose attention, by QZ_ATTENTION: the fastest that is there; qz's own; qz's for any GPU; cuDNN's. */
enum qz_cuda_wish { QZ_WISH_FASTEST, QZ_WISH_OWN, QZ_WISH_PLAIN, QZ_WISH_CUDNN };
enum qz_cuda_wish qz_cuda_attention_wish(void);

/* Queues attention by cuDNN; false when it is not for cuDNN: the GPU, the shape, the workspace. */
bool qz_cuda_sdpa(struct qz_dev *d, const struct qz_attn *a, bool back);
size_t qz_cuda_sdpa_need(struct qz_dev *d, const struct qz_need *need);
void qz_cuda_sdpa_end(struct qz_dev *d);
/* "cuDNN 9.19.0", or why it is not there. */
void qz_cuda_sdpa_name(char *text, size_t n);
bool qz_cuda_attention_parts(struct qz_dev *d, const struct qz_need *need, int parts);
void qz_cuda_attention_name(struct qz_dev *d, const struct qz_need *need, char *text, size_t n);

/* dequantize.cu */

bool qz_cuda_can_decode(struct qz_dev *d, const struct qz_mat *w);
/* Elements first .. first + n of the flattened matrix as a plain type. */
void qz_cuda_decode(struct qz_dev *d, void *y, enum qz_dtype y_type, const struct qz_mat *w,
    int64_t first, int64_t n);

/* What ops take of the workspace. */
size_t qz_cuda_linear_need(struct qz_dev *d, const struct qz_need *need);
size_t qz_cuda_attention_need(struct qz_dev *d, const struct qz_need *need);

static inline size_t
qz_cuda_round(int64_t nbytes)
{
	return (static_cast<size_t>(nbytes) + 255) & ~static_cast<size_t>(255);
}

static inline int64_t
ceil_div(int64_t a, int64_t b)
{
	return (a + b - 1) / b;
}

static inline bool
aligned(const void *p, unsigned to)
{
	return reinterpret_cast<uintptr_t>(p) % to == 0;
}

/* A kernel may be queued EARLY, on Hopper and later: its blocks come to multiprocessors that the kernel before has left, while
 * others still work for that.  It begins with start_early(), which waits until all before is done and seen. */
enum qz_cuda_start { IN_TURN, EARLY };

static __device__ inline void
start_early(void)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" : : : "memory");
	asm volatile("griddepcontrol.launch_dependents;" : : : "memory");
#endif
}

/* Is what this file was compiled to for such a GPU made with start_early()'s instructions? */
static inline bool
starts_early(int cc)
{
#ifdef __CUDA_ARCH_LIST__
	constexpr int list[] = { __CUDA_ARCH_LIST__ };

	for (int arch : list)
		if (arch >= 900 && arch <= 10 * cc)
			return true;
#else
	(void)cc;
#endif
	return false;
}

/* Queues a kernel; arguments are cast to the types of its parameters, as void pointers need it. */
template <enum qz_cuda_start START = IN_TURN, typename... P, typename... A>
static inline void
launch(struct qz_dev *d, void (*kernel)(P...), dim3 blocks, unsigned threads, size_t shared, A... args)
{
	struct cudaLaunchConfig_st c = {};
	struct cudaLaunchAttribute_st early = {};

	c.gridDim = blocks;
	c.blockDim = dim3(threads);
	c.dynamicSmemBytes = shared;
	c.stream = cuda_dev(d)->stream;
	if (START == EARLY && starts_early(cuda_dev(d)->cc)) {
		early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
		early.val.programmaticStreamSerializationAllowed = 1;
		c.attrs = &early;
		c.numAttrs = 1;
	}
	qz_cuda_rc(d, "launch", cudaLaunchKernelEx(&c, kernel, static_cast<P>(args)...));
}

/* Blocks of threads for a kernel that strides over the grid: all that fit on the GPU at once, no more than
 * work. */
template <typename... P>
static inline dim3
qz_cuda_grid(struct qz_dev *d, void (*kernel)(P...), int threads, int64_t work, size_t shared = 0)
{
	int each = 1;
	int64_t most;

	qz_cuda_rc(d, "occupancy", cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, threads, shared));
	most = static_cast<int64_t>(cuda_dev(d)->sms) * (each > 0 ? each : 1);
	return dim3(static_cast<unsigned>(work < most ? work : most));
}

/* Queues a kernel that may take more than 48 KiB of shared memory. */
template <enum qz_cuda_start START = IN_TURN, typename... P, typename... A>
static inline void
launch_large(struct qz_dev *d, void (*kernel)(P...), dim3 blocks, unsigned threads, size_t shared, A... args)
{
	if (shared > 48 << 10)
		qz_cuda_rc(d, "shared memory",
		    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
		        static_cast<int>(shared)));
	launch<START>(d, kernel, blocks, threads, shared, args...);
}

/* One thread for `each` elements of n, in blocks of 256. */
template <enum qz_cuda_start START = IN_TURN, typename... P, typename... A>
static inline void
launch_flat(struct qz_dev *d, void (*kernel)(P...), int64_t n, int each, A... args)
{
	launch<START>(d, kernel, dim3(static_cast<unsigned>(ceil_div(n, 256ll * each))), 256, 0, args...);
}

#endif
