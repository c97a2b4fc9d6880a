#include "libcore/format/gguf_write.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/format/gguf_read.h"

enum {
	T_U16 = QZ_GGUF_U16,
	T_U32 = QZ_GGUF_U32,
	T_I32 = QZ_GGUF_I32,
	T_F32 = QZ_GGUF_F32,
	T_BOOL = QZ_GGUF_BOOL,
	T_STRING = QZ_GGUF_STRING,
	T_ARRAY = QZ_GGUF_ARRAY
};

enum { VERSION = 3, HEADER = 24 };

void
qz_ggufw_free(struct qz_ggufw *g)
{
	qz_buf_free(&g->kvs);
	qz_buf_free(&g->infos);
	qz_buf_free(&g->key_at);
	qz_buf_free(&g->info_at);
	qz_buf_free(&g->sizes);
	*g = (struct qz_ggufw){ 0 };
}

static void
add_f32(struct qz_buf *b, float v)
{
	uint32_t u;

	memcpy(&u, &v, sizeof u);
	qz_buf_le32(b, u);
}

static void
add_text(struct qz_buf *b, const char *s, size_t n)
{
	qz_buf_le64(b, n);
	qz_buf_add(b, s, n);
}

static void
add_key(struct qz_ggufw *g, const char *key, uint32_t type)
{
	qz_buf_add(&g->key_at, &g->kvs.n, sizeof g->kvs.n);
	add_text(&g->kvs, key, strlen(key));
	qz_buf_le32(&g->kvs, type);
	g->n_kvs++;
}

static void
add_array(struct qz_ggufw *g, const char *key, uint32_t type, size_t n)
{
	add_key(g, key, T_ARRAY);
	qz_buf_le32(&g->kvs, type);
	qz_buf_le64(&g->kvs, n);
}

void
qz_ggufw_str(struct qz_ggufw *g, const char *key, const char *value)
{
	add_key(g, key, T_STRING);
	add_text(&g->kvs, value, strlen(value));
}

void
qz_ggufw_u16(struct qz_ggufw *g, const char *key, uint16_t value)
{
	uint8_t le[2];

	le16_put(le, value);
	add_key(g, key, T_U16);
	qz_buf_add(&g->kvs, le, sizeof le);
}

void
qz_ggufw_u32(struct qz_ggufw *g, const char *key, uint32_t value)
{
	add_key(g, key, T_U32);
	qz_buf_le32(&g->kvs, value);
}

void
qz_ggufw_i32(struct qz_ggufw *g, const char *key, int32_t value)
{
	add_key(g, key, T_I32);
	qz_buf_le32(&g->kvs, (uint32_t)value);
}

void
qz_ggufw_f32(struct qz_ggufw *g, const char *key, float value)
{
	add_key(g, key, T_F32);
	add_f32(&g->kvs, value);
}

void
qz_ggufw_bool(struct qz_ggufw *g, const char *key, bool value)
{
	add_key(g, key, T_BOOL);
	qz_buf_chr(&g->kvs, value);
}

void
qz_ggufw_texts(struct qz_ggufw *g, const char *key, const struct qz_gguf_text *v, size_t n)
{
	if (!n)
		return;
	add_array(g, key, T_STRING, n);
	for (size_t i = 0; i < n; i++)
		add_text(&g->kvs, v[i].s, v[i].n);
}

void
qz_ggufw_f32s(struct qz_ggufw *g, const char *key, const float *v, size_t n)
{
	if (!n)
		return;
	add_array(g, key, T_F32, n);
	for (size_t i = 0; i < n; i++)
		add_f32(&g->kvs, v[i]);
}

void
qz_ggufw_i32s(struct qz_ggufw *g, const char *key, const int32_t *v, size_t n)
{
	if (!n)
		return;
	add_array(g, key, T_I32, n);
	for (size_t i = 0; i < n; i++)
		qz_buf_le32(&g->kvs, (uint32_t)v[i]);
}

void
qz_ggufw_copy(struct qz_ggufw *g, const struct qz_gguf_kv *kv)
{
	if (kv->array)
		add_array(g, kv->key, kv->type, (size_t)kv->n);
	else
		add_key(g, kv->key, kv->type);
	qz_buf_add(&g->kvs, kv->data, kv->nbytes);
}

/* Where key i begins. */
static size_t
key_at(const struct qz_ggufw *g, uint64_t i)
{
	size_t at;

	memcpy(&at, g->key_at.data + i * sizeof at, sizeof at);
	return at;
}

/* Which key this is; n_kvs: none. */
static uint64_t
find(const struct qz_ggufw *g, const char *key)
{
	size_t n = strlen(key);

	if (g->kvs.failed || g->key_at.failed)
		return g->n_kvs;
	for (uint64_t i = 0; i < g->n_kvs; i++) {
		const char *p = g->kvs.data + key_at(g, i);

		if (le64_get(p) == n && !memcmp(p + 8, key, n))
			return i;
	}
	return g->n_kvs;
}

int
qz_ggufw_type(const struct qz_ggufw *g, const char *key)
{
	uint64_t i = find(g, key);

	return i == g->n_kvs ? -1 : (int)le32_get(g->kvs.data + key_at(g, i) + 8 + strlen(key));
}

bool
qz_ggufw_drop(struct qz_ggufw *g, const char *key)
{
	size_t from, to;
	uint64_t i = find(g, key);

	if (i == g->n_kvs)
		return false;
	from = key_at(g, i);
	to = i + 1 < g->n_kvs ? key_at(g, i + 1) : g->kvs.n;
	memmove(g->kvs.data + from, g->kvs.data + to, g->kvs.n - to);
	g->kvs.n -= to - from;
	for (g->n_kvs--; i < g->n_kvs; i++) {
		size_t at = key_at(g, i + 1) - (to - from);

		memcpy(g->key_at.data + i * sizeof at, &at, sizeof at);
	}
	g->key_at.n = (size_t)g->n_kvs * sizeof from;
	return true;
}

/* Bytes of a tensor, or a message. */
static int
measure(enum qz_dtype type, const uint64_t *dims, int n_dims, uint64_t *nbytes, struct qz_err *e)
{
	const struct qz_dtype_info *t = qz_dtype(type);
	uint64_t n = 1;

	if (!t || t->ggml < 0)
		return qz_fail(
		    e, QZ_EDATA, "type %s has no place in a GGUF file", t ? t->name : "?");
	if (n_dims < 1 || n_dims > 4)
		return qz_fail(e, QZ_EDATA, "%d dimensions, 1 to 4 are possible", n_dims);
	for (int i = 0; i < n_dims; i++)
		if (qz_mul_over(n, dims[i], &n) || n > INT64_MAX)
			return qz_fail(e, QZ_EDATA, "more than 2^63 elements");
	if (dims[n_dims - 1] % t->block)
		return qz_fail(e, QZ_EDATA,
		    "rows of %llu elements are no multiple of %s's block of %u",
		    (unsigned long long)dims[n_dims - 1], t->name, t->block);
	if (qz_dtype_nbytes(type, n, nbytes))
		return qz_fail(e, QZ_EDATA, "more than 2^64 bytes");
	return 0;
}

int
qz_ggufw_tensor(struct qz_ggufw *g, const char *name, enum qz_dtype type, const uint64_t *dims,
    int n_dims, struct qz_err *e)
{
	size_t n = strlen(name);
	uint64_t nbytes, end;

	if (!n || n > QZ_GGUF_NAME_MAX)
		return qz_fail(e, QZ_EDATA,
		    "tensor %.80s: a name of %zu bytes, 1 to %d are possible", name, n,
		    QZ_GGUF_NAME_MAX);
	if (measure(type, dims, n_dims, &nbytes, e) < 0)
		return qz_at(e, "tensor %s", name);
	if (qz_add_over(g->data, nbytes, &end) || end > INT64_MAX - QZ_GGUF_ALIGN)
		return qz_fail(
		    e, QZ_EDATA, "tensor %s: the file would have more than 2^63 bytes", name);
	qz_buf_add(&g->info_at, &g->infos.n, sizeof g->infos.n);
	add_text(&g->infos, name, n);
	qz_buf_le32(&g->infos, (uint32_t)n_dims);
	for (int i = n_dims; i-- > 0;)
		qz_buf_le64(&g->infos, dims[i]);
	qz_buf_le32(&g->infos, (uint32_t)qz_dtype(type)->ggml);
	qz_buf_le64(&g->infos, g->data);
	qz_buf_add(&g->sizes, &nbytes, sizeof nbytes);
	g->data = qz_round_up(end, QZ_GGUF_ALIGN);
	g->n_tensors++;
	return 0;
}

uint64_t
qz_ggufw_keys_end(const struct qz_ggufw *g)
{
	return HEADER + g->kvs.n;
}

uint64_t
qz_ggufw_header_nbytes(const struct qz_ggufw *g)
{
	return qz_round_up(HEADER + g->kvs.n + g->infos.n, QZ_GGUF_ALIGN);
}

uint64_t
qz_ggufw_nbytes(const struct qz_ggufw *g)
{
	return qz_ggufw_header_nbytes(g) + g->data;
}

static int
by_text(const void *a, const void *b)
{
	const struct qz_gguf_text *x = a, *y = b;
	int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);

	return c ? c : (x->n > y->n) - (x->n < y->n);
}

/* The strings that begin at the n offsets `at` of b are all different. */
static int
check_unique(const struct qz_buf *b, const struct qz_buf *at, const char *what, struct qz_err *e)
{
	size_t n = at->n / sizeof(size_t), where;
	struct qz_gguf_text *names = malloc((n + 1) * sizeof *names);
	int ret = 0;

	if (!names)
		return qz_nomem(e, n * sizeof *names);
	for (size_t i = 0; i < n; i++) {
		memcpy(&where, at->data + i * sizeof where, sizeof where);
		names[i] = (struct qz_gguf_text){ b->data + where + 8,
			(size_t)le64_get(b->data + where) };
	}
	qsort(names, n, sizeof *names, by_text);
	for (size_t i = 1; i < n && ret == 0; i++)
		if (!by_text(&names[i - 1], &names[i]))
			ret = qz_fail(e, QZ_EDATA, "%s %.*s is there twice", what, (int)names[i].n,
			    names[i].s);
	free(names);
	return ret;
}

int
qz_ggufw_begin(struct qz_ggufw *g, struct qz_out *o, struct qz_err *e)
{
	struct qz_buf *const all[] = { &g->kvs, &g->infos, &g->key_at, &g->info_at, &g->sizes };
	uint8_t head[HEADER] = "GGUF";
	uint64_t n = HEADER + g->kvs.n + g->infos.n;

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (qz_buf_ok(all[i], e) < 0)
			return -1;
	if (check_unique(&g->kvs, &g->key_at, "key", e) < 0 ||
	    check_unique(&g->infos, &g->info_at, "tensor", e) < 0)
		return -1;
	le32_put(head + 4, VERSION);
	le64_put(head + 8, g->n_tensors);
	le64_put(head + 16, g->n_kvs);
	if (qz_out_write(o, head, sizeof head, e) < 0 ||
	    qz_out_write(o, g->kvs.data, g->kvs.n, e) < 0 ||
	    qz_out_write(o, g->infos.data, g->infos.n, e) < 0)
		return -1;
	return qz_out_zeros(o, qz_ggufw_header_nbytes(g) - n, e);
}

/* Bytes of tensor i. */
static uint64_t
size_of(const struct qz_ggufw *g, uint64_t i)
{
	uint64_t n;

	memcpy(&n, g->sizes.data + i * sizeof n, sizeof n);
	return n;
}

/* Passes tensors that are complete; padding goes to o. */
static int
next(struct qz_ggufw *g, struct qz_out *o, struct qz_err *e)
{
	while (g->tensor < g->n_tensors && g->written == size_of(g, g->tensor)) {
		if (qz_out_zeros(o, qz_round_up(g->written, QZ_GGUF_ALIGN) - g->written, e) < 0)
			return -1;
		g->tensor++;
		g->written = 0;
	}
	return 0;
}

int
qz_ggufw_write(struct qz_ggufw *g, struct qz_out *o, const void *data, size_t n, struct qz_err *e)
{
	const char *p = data;

	while (n) {
		uint64_t left, now;

		if (next(g, o, e) < 0)
			return -1;
		if (g->tensor == g->n_tensors)
			return qz_fail(e, QZ_EDATA, "%zu bytes more than the tensors have", n);
		left = size_of(g, g->tensor) - g->written;
		now = n < left ? n : left;
		if (qz_out_write(o, p, (size_t)now, e) < 0)
			return -1;
		g->written += now;
		p += now;
		n -= (size_t)now;
	}
	return next(g, o, e);
}

int
qz_ggufw_end(const struct qz_ggufw *g, struct qz_err *e)
{
	if (g->tensor != g->n_tensors)
		return qz_fail(e, QZ_EDATA, "the data of %llu of %llu tensors is missing",
		    (unsigned long long)(g->n_tensors - g->tensor),
		    (unsigned long long)g->n_tensors);
	return 0;
}
