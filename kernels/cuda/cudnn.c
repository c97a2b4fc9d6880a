#include "kernels/cuda/cudnn.h"

#include <pthread.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/cudnn_abi.h"
#include "kernels/cuda/library.h"

/* 9.16 is the first without trouble in dense batches whose length 128 does not divide. */
enum { OLDEST = 91600, VIRTUAL_IDS = 100, OPS = 40, CONFIGS = 16 };

struct tensor {
	int64_t dim[4], stride[4];
	qz_cudnn_desc d;
};

struct graph {
	const struct qz_cudnn *lib;
	struct qz_sdpa *s;
	int64_t next_id;
	qz_cudnn_desc ops[OPS];
	int n_ops;
	bool failed;
	struct tensor at_q, at_k, at_lse, length; /* d is NULL when not ragged */
	struct tensor numbers[QZ_SDPA_IDS];       /* d is NULL until it is used */
};

/* What loading looks for, and where it goes. */
#define SYMBOLS(X)                                                                                 \
	X(get_version, "cudnnGetVersion")                                                          \
	X(last_error, "cudnnGetLastErrorString")                                                   \
	X(create, "cudnnCreate")                                                                   \
	X(destroy, "cudnnDestroy")                                                                 \
	X(set_stream, "cudnnSetStream")                                                            \
	X(make, "cudnnBackendCreateDescriptor")                                                    \
	X(drop, "cudnnBackendDestroyDescriptor")                                                   \
	X(set, "cudnnBackendSetAttribute")                                                         \
	X(get, "cudnnBackendGetAttribute")                                                         \
	X(finalize, "cudnnBackendFinalize")                                                        \
	X(run, "cudnnBackendExecute")

static bool
new_enough(void *so, char *why, size_t n)
{
	size_t (*get_version)(void);
	int version;

	*(void **)&get_version = qz_cuda_symbol(so, "cudnnGetVersion");
	version = get_version ? (int)get_version() : 0;
	snprintf(why, n, "cuDNN %d.%d.%d is older than %d.%d", version / 10000, version / 100 % 100,
	    version % 100, OLDEST / 10000, OLDEST / 100 % 100);
	return version >= OLDEST;
}

static struct qz_cudnn the_library;

static void
load(void)
{
	struct qz_cudnn *l = &the_library;

	l->so = qz_cuda_library("libcudnn.so.9", "QZ_CUDNN", new_enough, l->why, sizeof l->why);
	if (!l->so)
		return;
#define X(member, name)                                                                            \
	*(void **)&l->member = qz_cuda_symbol(l->so, name);                                        \
	if (!l->member) {                                                                          \
		snprintf(l->why, sizeof l->why, "libcudnn.so.9 has no %s", name);                  \
		l->so = NULL;                                                                      \
		return;                                                                            \
	}
	SYMBOLS(X)
#undef X
	l->version = (int)l->get_version();
}

/* A thread may have begun it (ahead.cu): then this waits for it. */
const struct qz_cudnn *
qz_cudnn_load(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	return &the_library;
}

/* The first failure is kept. */
static bool
check(struct graph *g, const char *what, int rc)
{
	char text[192] = "";

	if (rc == 0)
		return !g->failed;
	if (g->failed)
		return false;
	g->failed = true;
	g->lib->last_error(text, sizeof text);
	text[strcspn(text, "\n")] = '\0';
	snprintf(g->s->why, sizeof g->s->why, "%s: status %d: %s", what, rc, text);
	return false;
}

static qz_cudnn_desc
make(struct graph *g, int type)
{
	qz_cudnn_desc d = NULL;

	if (g->failed)
		return NULL;
	if (g->s->n_all == (int)(sizeof g->s->all / sizeof *g->s->all)) {
		check(g, "too many descriptors", -1);
		return NULL;
	}
	if (!check(g, "making a descriptor", g->lib->make(type, &d)))
		return NULL;
	return g->s->all[g->s->n_all++] = d;
}

static void
set(struct graph *g, qz_cudnn_desc d, int name, int type, int64_t n, const void *v)
{
	if (!g->failed)
		check(g, "setting an attribute", g->lib->set(d, name, type, n, v));
}

static void
set_desc(struct graph *g, qz_cudnn_desc d, int name, qz_cudnn_desc v)
{
	if (v)
		set(g, d, name, QZ_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &v);
}

static void
set_int(struct graph *g, qz_cudnn_desc d, int name, int64_t v)
{
	set(g, d, name, QZ_CUDNN_TYPE_INT64, 1, &v);
}

static void
set_enum(struct graph *g, qz_cudnn_desc d, int name, int type, int v)
{
	set(g, d, name, type, 1, &v);
}

static void
set_true(struct graph *g, qz_cudnn_desc d, int name)
{
	bool yes = true;

	set(g, d, name, QZ_CUDNN_TYPE_BOOLEAN, 1, &yes);
}

static void
finalize(struct graph *g, qz_cudnn_desc d, const char *what)
{
	if (!g->failed)
		check(g, what, g->lib->finalize(d));
}

static qz_cudnn_desc
begin_tensor(struct graph *g, const struct tensor *t, int64_t id, int type)
{
	qz_cudnn_desc d = make(g, QZ_CUDNN_BACKEND_TENSOR_DESCRIPTOR);

	set_enum(g, d, QZ_CUDNN_ATTR_TENSOR_DATA_TYPE, QZ_CUDNN_TYPE_DATA_TYPE, type);
	set(g, d, QZ_CUDNN_ATTR_TENSOR_DIMENSIONS, QZ_CUDNN_TYPE_INT64, 4, t->dim);
	set(g, d, QZ_CUDNN_ATTR_TENSOR_STRIDES, QZ_CUDNN_TYPE_INT64, 4, t->stride);
	set_int(g, d, QZ_CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
	set_int(g, d, QZ_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 16);
	return d;
}

/* One that is in memory; at: where each document begins, or NULL. */
static struct tensor
real(struct graph *g, enum qz_sdpa_id id, int type, struct tensor t, const struct tensor *at)
{
	t.d = begin_tensor(g, &t, id, type);
	if (at)
		set_desc(g, t.d, QZ_CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, at->d);
	finalize(g, t.d, "a tensor");
	g->s->used[id] = true;
	return t;
}

/* One between two operations. */
static struct tensor
between(struct graph *g, int type, struct tensor t, const struct tensor *at)
{
	t.d = begin_tensor(g, &t, g->next_id++, type);
	set_true(g, t.d, QZ_CUDNN_ATTR_TENSOR_IS_VIRTUAL);
	if (at)
		set_desc(g, t.d, QZ_CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, at->d);
	finalize(g, t.d, "a virtual tensor");
	return t;
}

static struct tensor
number(struct graph *g, enum qz_sdpa_id id)
{
	struct tensor t = { { 1, 1, 1, 1 }, { 1, 1, 1, 1 }, NULL };

	if (g->numbers[id].d)
		return g->numbers[id];
	t.d = begin_tensor(g, &t, id, QZ_CUDNN_DATA_FLOAT);
	set_true(g, t.d, QZ_CUDNN_ATTR_TENSOR_IS_BY_VALUE);
	finalize(g, t.d, "a number");
	g->s->used[id] = true;
	return g->numbers[id] = t;
}

static struct tensor
vector(struct graph *g, enum qz_sdpa_id id, int type, int64_t n)
{
	return real(g, id, type, (struct tensor){ { n, 1, 1, 1 }, { 1, 1, 1, 1 }, NULL }, NULL);
}

static void
add_op(struct graph *g, qz_cudnn_desc d, const char *what)
{
	finalize(g, d, what);
	if (g->n_ops == OPS)
		check(g, "too many operations", -1);
	else
		g->ops[g->n_ops++] = d;
}

/* y = mode(x, b, t); axis < 0: none. */
static void
pointwise_to(struct graph *g, int mode, int math, const struct tensor *x, const struct tensor *b,
    const struct tensor *t, const struct tensor *y, int axis)
{
	qz_cudnn_desc p = make(g, QZ_CUDNN_BACKEND_POINTWISE_DESCRIPTOR), o;

	set_enum(g, p, QZ_CUDNN_ATTR_POINTWISE_MODE, QZ_CUDNN_TYPE_POINTWISE_MODE, mode);
	set_enum(g, p, QZ_CUDNN_ATTR_POINTWISE_MATH_PREC, QZ_CUDNN_TYPE_DATA_TYPE, math);
	if (axis >= 0)
		set_int(g, p, QZ_CUDNN_ATTR_POINTWISE_AXIS, axis);
	finalize(g, p, "a pointwise mode");
	o = make(g, QZ_CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, p);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x->d);
	if (b)
		set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b->d);
	if (t)
		set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t->d);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y->d);
	add_op(g, o, "a pointwise operation");
}

/* The same to a new tensor of x's shape. */
static struct tensor
pointwise(struct graph *g, int mode, int math, const struct tensor *x, const struct tensor *b,
    const struct tensor *t, int type, int axis)
{
	struct tensor y = between(g, type, *x, NULL);

	pointwise_to(g, mode, math, x, b, t, &y, axis);
	return y;
}

static struct tensor
with(struct graph *g, int mode, struct tensor x, struct tensor b)
{
	return pointwise(g, mode, QZ_CUDNN_DATA_FLOAT, &x, &b, NULL, QZ_CUDNN_DATA_FLOAT, -1);
}

/* c = a b; m, n, k: lengths of the documents, or NULL. */
static void
matmul(struct graph *g, struct tensor a, struct tensor b, struct tensor c, const struct tensor *m,
    const struct tensor *n, const struct tensor *k)
{
	qz_cudnn_desc p = make(g, QZ_CUDNN_BACKEND_MATMUL_DESCRIPTOR), o;

	set_enum(
	    g, p, QZ_CUDNN_ATTR_MATMUL_COMP_TYPE, QZ_CUDNN_TYPE_DATA_TYPE, QZ_CUDNN_DATA_FLOAT);
	finalize(g, p, "a product's type");
	o = make(g, QZ_CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.d);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.d);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.d);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_MATMUL_DESC, p);
	if (m)
		set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, m->d);
	if (n)
		set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, n->d);
	if (k)
		set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, k->d);
	add_op(g, o, "a product");
}

static void
reduce(struct graph *g, int how, struct tensor x, struct tensor y)
{
	qz_cudnn_desc p = make(g, QZ_CUDNN_BACKEND_REDUCTION_DESCRIPTOR), o;

	set_enum(
	    g, p, QZ_CUDNN_ATTR_REDUCTION_OPERATOR, QZ_CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, how);
	set_enum(
	    g, p, QZ_CUDNN_ATTR_REDUCTION_COMP_TYPE, QZ_CUDNN_TYPE_DATA_TYPE, QZ_CUDNN_DATA_FLOAT);
	finalize(g, p, "a reduction's type");
	o = make(g, QZ_CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.d);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.d);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_REDUCTION_DESC, p);
	add_op(g, o, "a reduction");
}

static struct tensor
reshape(struct graph *g, struct tensor x, struct tensor y)
{
	qz_cudnn_desc o = make(g, QZ_CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);

	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.d);
	set_desc(g, o, QZ_CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.d);
	add_op(g, o, "a reshape");
	return y;
}

/* (docs, heads, len, dim) in rows of `row` heads. */
static struct tensor
rows(const struct qz_sdpa_shape *s, int64_t heads, int64_t row)
{
	return (struct tensor){ { s->docs, heads, s->len, s->dim },
		{ s->len * row * s->dim, s->dim, row * s->dim, 1 }, NULL };
}

static struct tensor
turned(struct tensor t)
{
	int64_t dim = t.dim[2], stride = t.stride[2];

	t.dim[2] = t.dim[3];
	t.stride[2] = t.stride[3];
	t.dim[3] = dim;
	t.stride[3] = stride;
	return t;
}

/* (docs, heads, len, 1) as lse lies in memory, and as it may between two operations. */
static struct tensor
stats(const struct qz_sdpa_shape *s)
{
	return (struct tensor){ { s->docs, s->heads, s->len, 1 },
		{ (int64_t)s->len * s->row_heads, 1, s->row_heads, 1 }, NULL };
}

static struct tensor
column(const struct qz_sdpa_shape *s)
{
	return (struct tensor){ { s->docs, s->heads, s->len, 1 },
		{ (int64_t)s->heads * s->len, s->len, 1, 1 }, NULL };
}

static struct tensor
square(const struct qz_sdpa_shape *s)
{
	int64_t n = s->len;

	return (
	    struct tensor){ { s->docs, s->heads, n, n }, { s->heads * n * n, n * n, n, 1 }, NULL };
}

static struct tensor
compact(const struct qz_sdpa_shape *s)
{
	int64_t n = (int64_t)s->len * s->dim;

	return (struct tensor){ { s->docs, s->heads, s->len, s->dim },
		{ s->heads * n, n, s->dim, 1 }, NULL };
}

static void
begin(struct graph *g)
{
	const struct qz_sdpa_shape *s = &g->s->shape;

	g->next_id = VIRTUAL_IDS;
	if (!s->ragged)
		return;
	g->at_q = vector(g, QZ_SDPA_AT_Q, QZ_CUDNN_DATA_INT64, s->docs + 1);
	g->at_k = vector(g, QZ_SDPA_AT_K, QZ_CUDNN_DATA_INT64, s->docs + 1);
	g->at_lse = vector(g, QZ_SDPA_AT_LSE, QZ_CUDNN_DATA_INT64, s->docs + 1);
	g->length = vector(g, QZ_SDPA_LENGTH, QZ_CUDNN_DATA_INT32, s->docs);
}

static struct tensor
index_of(struct graph *g, struct tensor s, int axis)
{
	return pointwise(g, QZ_CUDNN_POINTWISE_GEN_INDEX, QZ_CUDNN_DATA_INT32, &s, NULL, NULL,
	    QZ_CUDNN_DATA_INT32, axis);
}

static struct tensor
compare(struct graph *g, int mode, struct tensor a, struct tensor b)
{
	return pointwise(g, mode, QZ_CUDNN_DATA_BOOLEAN, &a, &b, NULL, QZ_CUDNN_DATA_BOOLEAN, -1);
}

/* s where the mask is true, -infinity elsewhere. */
static struct tensor
keep(struct graph *g, struct tensor s, struct tensor mask)
{
	struct tensor lowest = number(g, QZ_SDPA_LOWEST);

	return pointwise(g, QZ_CUDNN_POINTWISE_BINARY_SELECT, QZ_CUDNN_DATA_FLOAT, &s, &lowest,
	    &mask, QZ_CUDNN_DATA_FLOAT, -1);
}

/* Rows and columns of a document's own length. */
static struct tensor
mask_length(struct graph *g, struct tensor s)
{
	struct tensor row = index_of(g, s, 2), col = index_of(g, s, 3), a, b;

	a = compare(g, QZ_CUDNN_POINTWISE_CMP_LT, row, g->length);
	b = compare(g, QZ_CUDNN_POINTWISE_CMP_LT, col, g->length);
	return keep(g, s, compare(g, QZ_CUDNN_POINTWISE_LOGICAL_AND, a, b));
}

/* row >= col; and col + window > row, in float32 as cuDNN expects it. */
static struct tensor
mask_causal(struct graph *g, struct tensor s)
{
	struct tensor row = index_of(g, s, 2), col = index_of(g, s, 3), window;

	s = keep(g, s, compare(g, QZ_CUDNN_POINTWISE_CMP_GE, row, col));
	if (g->s->shape.window <= 0)
		return s;
	row = pointwise(g, QZ_CUDNN_POINTWISE_GEN_INDEX, QZ_CUDNN_DATA_FLOAT, &s, NULL, NULL,
	    QZ_CUDNN_DATA_FLOAT, 2);
	col = pointwise(g, QZ_CUDNN_POINTWISE_GEN_INDEX, QZ_CUDNN_DATA_FLOAT, &s, NULL, NULL,
	    QZ_CUDNN_DATA_FLOAT, 3);
	window = number(g, QZ_SDPA_WINDOW);
	col = pointwise(g, QZ_CUDNN_POINTWISE_ADD, QZ_CUDNN_DATA_FLOAT, &col, &window, NULL,
	    QZ_CUDNN_DATA_FLOAT, 3);
	return keep(g, s, compare(g, QZ_CUDNN_POINTWISE_CMP_GT, col, row));
}

#define AT(x) (g->s->shape.ragged ? &g->x : NULL)

/* S = scale q k^T, masked; m = max S; l = sum exp(S - m); lse = m + log l; o = exp(S - m) / l v */
static void
forward(struct graph *g)
{
	const struct qz_sdpa_shape *s = &g->s->shape;
	const struct tensor *len = AT(length);
	struct tensor q = real(
	    g, QZ_SDPA_Q, QZ_CUDNN_DATA_BFLOAT16, rows(s, s->heads, s->row_heads), AT(at_q));
	struct tensor k = real(g, QZ_SDPA_K, QZ_CUDNN_DATA_BFLOAT16,
	    turned(rows(s, s->kv_heads, s->row_kv)), AT(at_k));
	struct tensor v = real(
	    g, QZ_SDPA_V, QZ_CUDNN_DATA_BFLOAT16, rows(s, s->kv_heads, s->row_kv), AT(at_k));
	struct tensor o = real(
	    g, QZ_SDPA_O, QZ_CUDNN_DATA_BFLOAT16, rows(s, s->heads, s->row_heads), AT(at_q));
	struct tensor lse = real(g, QZ_SDPA_LSE, QZ_CUDNN_DATA_FLOAT, stats(s), AT(at_lse));
	struct tensor x = between(g, QZ_CUDNN_DATA_FLOAT, square(s), NULL), top, sum, log;

	matmul(g, q, k, x, len, len, NULL);
	x = with(g, QZ_CUDNN_POINTWISE_MUL, x, number(g, QZ_SDPA_SCALE));
	if (s->ragged)
		x = mask_length(g, x);
	x = mask_causal(g, x);
	top = between(g, QZ_CUDNN_DATA_FLOAT, column(s), NULL);
	reduce(g, QZ_CUDNN_REDUCE_TENSOR_MAX, x, top);
	x = with(g, QZ_CUDNN_POINTWISE_SUB, x, top);
	x = pointwise(g, QZ_CUDNN_POINTWISE_EXP, QZ_CUDNN_DATA_FLOAT, &x, NULL, NULL,
	    QZ_CUDNN_DATA_FLOAT, -1);
	sum = between(g, QZ_CUDNN_DATA_FLOAT, column(s), NULL);
	reduce(g, QZ_CUDNN_REDUCE_TENSOR_ADD, x, sum);
	log = pointwise(g, QZ_CUDNN_POINTWISE_LOG, QZ_CUDNN_DATA_FLOAT, &sum, NULL, NULL,
	    QZ_CUDNN_DATA_FLOAT, -1);
	pointwise_to(g, QZ_CUDNN_POINTWISE_ADD, QZ_CUDNN_DATA_FLOAT, &top, &log, NULL, &lse, -1);
	x = pointwise(g, QZ_CUDNN_POINTWISE_DIV, QZ_CUDNN_DATA_FLOAT, &x, &sum, NULL,
	    QZ_CUDNN_DATA_BFLOAT16, -1);
	matmul(g, x, v, o, len, NULL, len);
}

/* x^T y for dk or dv; with several heads to a key first for each, then summed. */
static void
to_keys(struct graph *g, struct tensor x, struct tensor y, enum qz_sdpa_id id, enum qz_sdpa_id all)
{
	const struct qz_sdpa_shape *s = &g->s->shape;
	struct tensor t = between(g, QZ_CUDNN_DATA_BFLOAT16, turned(square(s)), NULL);
	struct tensor to = real(
	    g, id, QZ_CUDNN_DATA_BFLOAT16, rows(s, s->kv_heads, s->row_kv), AT(at_k));
	int64_t group = s->heads / s->kv_heads;
	struct tensor each;

	reshape(g, x, t);
	if (group == 1) {
		matmul(g, t, y, to, AT(length), NULL, AT(length));
		return;
	}
	if (s->ragged) /* at_k counts in to's rows: cuDNN multiplies it by group */
		each = real(
		    g, all, QZ_CUDNN_DATA_BFLOAT16, rows(s, s->heads, s->row_kv * group), AT(at_k));
	else
		each = between(g, QZ_CUDNN_DATA_BFLOAT16, compact(s), NULL);
	matmul(g, t, y, each, AT(length), NULL, AT(length));
	reduce(g, QZ_CUDNN_REDUCE_TENSOR_ADD, each, to);
}

/* P = exp(scale q k^T - lse), masked; dv = P^T d_o; dS = scale P (d_o v^T - sum(d_o o)); dk = dS^T q; dq = dS k */
static void
backward(struct graph *g)
{
	const struct qz_sdpa_shape *s = &g->s->shape;
	const struct tensor *len = AT(length);
	struct tensor like_q = rows(s, s->heads, s->row_heads),
		      like_k = rows(s, s->kv_heads, s->row_kv);
	struct tensor q = real(g, QZ_SDPA_Q, QZ_CUDNN_DATA_BFLOAT16, like_q, AT(at_q));
	struct tensor k = real(g, QZ_SDPA_K, QZ_CUDNN_DATA_BFLOAT16, turned(like_k), AT(at_k));
	struct tensor v = real(g, QZ_SDPA_V, QZ_CUDNN_DATA_BFLOAT16, turned(like_k), AT(at_k));
	struct tensor o = real(g, QZ_SDPA_O, QZ_CUDNN_DATA_BFLOAT16, like_q, AT(at_q));
	struct tensor d_o = real(g, QZ_SDPA_DO, QZ_CUDNN_DATA_BFLOAT16, like_q, AT(at_q));
	struct tensor lse = real(g, QZ_SDPA_LSE, QZ_CUDNN_DATA_FLOAT, stats(s), AT(at_lse));
	struct tensor dq = real(g, QZ_SDPA_DQ, QZ_CUDNN_DATA_BFLOAT16, like_q, AT(at_q));
	struct tensor x = compact(s), p, dot, scale;

	x.stride[2] = (int64_t)s->heads * s->dim;
	x = between(g, QZ_CUDNN_DATA_FLOAT, x, NULL);
	pointwise_to(g, QZ_CUDNN_POINTWISE_MUL, QZ_CUDNN_DATA_FLOAT, &d_o, &o, NULL, &x, -1);
	p = between(g, QZ_CUDNN_DATA_FLOAT, column(s), NULL);
	reduce(g, QZ_CUDNN_REDUCE_TENSOR_ADD, x, p);
	dot = real(
	    g, QZ_SDPA_DOT, QZ_CUDNN_DATA_FLOAT, s->ragged ? stats(s) : column(s), AT(at_lse));
	scale = number(g, QZ_SDPA_ONE);
	pointwise_to(g, QZ_CUDNN_POINTWISE_MUL, QZ_CUDNN_DATA_FLOAT, &p, &scale, NULL, &dot, -1);

	p = between(g, QZ_CUDNN_DATA_FLOAT, square(s), NULL);
	matmul(g, q, k, p, len, len, NULL);
	scale = number(g, QZ_SDPA_SCALE);
	p = with(g, QZ_CUDNN_POINTWISE_MUL, p, scale);
	p = with(g, QZ_CUDNN_POINTWISE_SUB, p, lse);
	if (s->ragged)
		p = mask_length(g, p);
	p = mask_causal(g, p);
	p = pointwise(g, QZ_CUDNN_POINTWISE_EXP, QZ_CUDNN_DATA_FLOAT, &p, NULL, NULL,
	    QZ_CUDNN_DATA_FLOAT, -1);
	to_keys(g, p, d_o, QZ_SDPA_DV, QZ_SDPA_DV_ALL);

	x = between(g, QZ_CUDNN_DATA_FLOAT, square(s), NULL);
	matmul(g, d_o, v, x, len, len, NULL);
	x = with(g, QZ_CUDNN_POINTWISE_SUB, x, dot);
	x = with(g, QZ_CUDNN_POINTWISE_MUL, x, p);
	x = with(g, QZ_CUDNN_POINTWISE_MUL, x, scale);
	to_keys(g, x, q, QZ_SDPA_DK, QZ_SDPA_DK_ALL);

	k = reshape(g, k, between(g, QZ_CUDNN_DATA_BFLOAT16, like_k, AT(at_k)));
	if (!s->any_order) {
		matmul(g, x, k, dq, len, NULL, len);
		return;
	}
	p = real(g, QZ_SDPA_DQ_SUM, QZ_CUDNN_DATA_FLOAT, s->ragged ? like_q : compact(s), AT(at_q));
	matmul(g, x, k, p, len, NULL, len);
	pointwise_to(g, QZ_CUDNN_POINTWISE_IDENTITY, QZ_CUDNN_DATA_FLOAT, &p, NULL, NULL, &dq, -1);
}

/* The first engine of the heuristics that works. */
static void
choose(struct graph *g, void *handle, const char *props)
{
	qz_cudnn_desc ops, device = NULL, heur, found[CONFIGS], plan;
	int64_t n = 0, one;

	if (props) {
		device = make(g, QZ_CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
		set(g, device, QZ_CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, QZ_CUDNN_TYPE_CHAR,
		    (int64_t)strlen(props) + 1, props);
		finalize(g, device, "a device's description");
	}
	ops = make(g, QZ_CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
	set(g, ops, QZ_CUDNN_ATTR_OPERATIONGRAPH_OPS, QZ_CUDNN_TYPE_BACKEND_DESCRIPTOR, g->n_ops,
	    g->ops);
	if (handle)
		set(g, ops, QZ_CUDNN_ATTR_OPERATIONGRAPH_HANDLE, QZ_CUDNN_TYPE_HANDLE, 1, &handle);
	finalize(g, ops, "the graph");
	heur = make(g, QZ_CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
	set_desc(g, heur, QZ_CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, ops);
	set_enum(
	    g, heur, QZ_CUDNN_ATTR_ENGINEHEUR_MODE, QZ_CUDNN_TYPE_HEUR_MODE, QZ_CUDNN_HEUR_MODE_A);
	set_desc(g, heur, QZ_CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
	finalize(g, heur, "choosing an engine");
	for (int i = 0; i < CONFIGS; i++)
		found[i] = make(g, QZ_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
	if (!g->failed)
		check(g, "reading the engines",
		    g->lib->get(heur, QZ_CUDNN_ATTR_ENGINEHEUR_RESULTS,
			QZ_CUDNN_TYPE_BACKEND_DESCRIPTOR, CONFIGS, &n, found));
	if (!g->failed && n < 1)
		check(g, "no engine for this shape", -1);
	for (int i = 0; i < (int)n && !g->failed; i++) {
		if (!handle) {
			check(g, "reading a workspace",
			    g->lib->get(found[i], QZ_CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE,
				QZ_CUDNN_TYPE_INT64, 1, &one, &g->s->workspace));
			return;
		}
		plan = make(g, QZ_CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
		set(g, plan, QZ_CUDNN_ATTR_EXECUTION_PLAN_HANDLE, QZ_CUDNN_TYPE_HANDLE, 1, &handle);
		set_desc(g, plan, QZ_CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, found[i]);
		if (g->failed)
			return;
		if (g->lib->finalize(plan) != 0 && i + 1 < (int)n)
			continue;
		check(g, "the plan",
		    g->lib->get(plan, QZ_CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
			QZ_CUDNN_TYPE_INT64, 1, &one, &g->s->workspace));
		g->s->plan = g->failed ? NULL : plan;
		return;
	}
}

bool
qz_sdpa_build(const struct qz_cudnn *lib, void *handle, const char *props,
    const struct qz_sdpa_shape *shape, struct qz_sdpa *s)
{
	struct graph g = { .lib = lib, .s = s };

	*s = (struct qz_sdpa){ .shape = *shape };
	begin(&g);
	if (shape->back)
		backward(&g);
	else
		forward(&g);
	choose(&g, handle, props);
	return !g.failed;
}

bool
qz_sdpa_run(const struct qz_cudnn *lib, void *handle, struct qz_sdpa *s,
    void *const at[QZ_SDPA_IDS], void *workspace)
{
	struct qz_sdpa once = { .why = "" };
	struct graph g = { .lib = lib, .s = &once };
	qz_cudnn_desc pack = make(&g, QZ_CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
	int64_t id[QZ_SDPA_IDS], n = 0;
	void *p[QZ_SDPA_IDS];

	for (int i = 0; i < QZ_SDPA_IDS; i++) {
		if (!s->used[i])
			continue;
		id[n] = i;
		p[n++] = at[i];
	}
	set(&g, pack, QZ_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, QZ_CUDNN_TYPE_INT64, n, id);
	set(&g, pack, QZ_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, QZ_CUDNN_TYPE_VOID_PTR, n, p);
	set(&g, pack, QZ_CUDNN_ATTR_VARIANT_PACK_WORKSPACE, QZ_CUDNN_TYPE_VOID_PTR, 1, &workspace);
	finalize(&g, pack, "a call's pointers");
	if (!g.failed)
		check(&g, "cudnnBackendExecute", lib->run(handle, s->plan, pack));
	qz_sdpa_free(lib, &once);
	memcpy(s->why, once.why, sizeof s->why);
	return !g.failed;
}

void
qz_sdpa_free(const struct qz_cudnn *lib, struct qz_sdpa *s)
{
	while (s->n_all > 0)
		lib->drop(s->all[--s->n_all]);
	s->plan = NULL;
}

size_t
qz_sdpa_scratch(const struct qz_sdpa_shape *s, enum qz_sdpa_id id, int64_t rows)
{
	size_t n = (size_t)rows * (size_t)s->row_heads;

	if (!s->back)
		return 0;
	if (id == QZ_SDPA_DOT)
		return 4 * n;
	if (id == QZ_SDPA_DQ_SUM)
		return s->any_order ? 4 * n * (size_t)s->dim : 0;
	if (id == QZ_SDPA_DK_ALL || id == QZ_SDPA_DV_ALL)
		return s->ragged && s->heads > s->kv_heads ? 2 * n * (size_t)s->dim : 0;
	return 0;
}
