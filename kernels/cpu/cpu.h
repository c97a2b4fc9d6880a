/* cpu - what the files of the CPU backend share.
 *
 * Each file is compiled once for each instruction set and once with real = double, the oracle; names
 * carry the variant, so that all of them link into one tool.  Exact ops compute in float in all of
 * them.  There is no variant-specific code: loops are written so that the compiler vectorises them,
 * with sums in a fixed number of lanes, so that vector width and thread count do not change the
 * order of any sum.
 * Work is cut into parts by the size of the data alone and shared out by the pool. */
#ifndef QZ_CPU_H
#define QZ_CPU_H

#include "kernels/kernels.h"
#include "libcore/base/pool.h"
#include "libcore/base/size.h"

#ifdef QZ_ORACLE
typedef double real;
#else
typedef float real;
#endif

#define CPU_PASTE(name, isa) qz_cpu_##name##_##isa
#define CPU_EXPAND(name, isa) CPU_PASTE(name, isa)
#define CPU(name) CPU_EXPAND(name, QZ_ISA)

struct qz_cpu_dev {
	struct qz_dev dev;
	struct qz_pool *pool;
	void *ws; /* borrowed from the caller of set_workspace() */
	size_t ws_n;
	struct qz_err err; /* the first failure since the last sync() */
};

#define QZ_OP(name, args) void CPU(name) args;
#include "kernels/ops.def"
#undef QZ_OP

enum {
	QZ_CPU_GRAIN = 16384, /* elements a part of an elementwise op */
	QZ_CPU_TILE = 1024,   /* floats that a cast keeps in the first cache */
	QZ_CPU_ALIGN = 256,
};

static inline struct qz_cpu_dev *
cpu_dev(struct qz_dev *d)
{
	return (struct qz_cpu_dev *)d;
}

static inline int64_t
min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t
max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Parts of `grain` in n. */
static inline int
n_parts(int64_t n, int64_t grain)
{
	return (int)((n + grain - 1) / grain);
}

/* Bytes of n reals, a multiple of QZ_CPU_ALIGN, for carving up the workspace. */
static inline size_t
ws_bytes(int64_t n)
{
	return (size_t)qz_round_up((uint64_t)n * sizeof(real), QZ_CPU_ALIGN);
}

/* Rows a part, so that a part has about QZ_CPU_GRAIN elements. */
static inline int64_t
rows_a_part(int64_t cols)
{
	return max64(1, QZ_CPU_GRAIN / max64(cols, 1));
}

/* device.c */

void CPU(run)(struct qz_dev *d, int parts, void (*fn)(void *arg, int part, int thread), void *arg);
int CPU(threads)(const struct qz_dev *d);
/* Keeps the first failure for sync(). */
void CPU(fail)(struct qz_dev *d, enum qz_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* nbytes of workspace, or NULL and a failure that names the op. */
void *CPU(ws)(struct qz_dev *d, size_t nbytes, const char *op);

/* cast.c: elements i .. i+n of an array of a plain type, through float. */
void CPU(load)(float *y, const void *x, enum qz_dtype type, int64_t i, int64_t n);
void CPU(store)(void *y, enum qz_dtype type, int64_t i, const float *x, int64_t n);
bool CPU(is_plain)(struct qz_dev *d, enum qz_dtype type, const char *op);

/* dequant.c: elements i .. i+n of the flattened matrix, as float32 and as real. */
void CPU(decode)(float *y, const struct qz_mat *w, int64_t i, int64_t n);
void CPU(decode_real)(real *y, const struct qz_mat *w, int64_t i, int64_t n);
bool CPU(can_decode)(struct qz_dev *d, const struct qz_mat *w, const char *op);

/* ggml.c: n_blocks blocks of a ggml type; NULL when there is no decoder. */
typedef void decode_blocks(float *y, const uint8_t *x, int64_t n_blocks);
decode_blocks *CPU(ggml_decoder)(enum qz_dtype type);

/* adamw.c: the factor on gradients whose squares add up to sum. */
double CPU(clip)(const struct qz_adamw *args, double sum);

/* What each op takes of the workspace, at most, for a need. */
size_t CPU(linear_need)(int threads, const struct qz_need *need);
size_t CPU(attention_need)(int threads, const struct qz_need *need);

#endif
