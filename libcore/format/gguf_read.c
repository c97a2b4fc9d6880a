#include "libcore/format/gguf_read.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/half.h"
#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/base/utf8.h"
#include "libcore/shard/names.h"

enum {
	NAME_MAX_BYTES = 63, /* of a tensor, as ggml has it */
	KEY_MAX_BYTES = 65535,
	META_MAX = 1 << 29, /* of everything before the data */
	ALIGNMENT_MAX = 1 << 20,
};

static const struct {
	const char *name;
	uint32_t bytes; /* 0: no fixed size */
} types[QZ_GGUF_TYPES] = {
	[QZ_GGUF_U8] = { "u8", 1 },
	[QZ_GGUF_I8] = { "i8", 1 },
	[QZ_GGUF_U16] = { "u16", 2 },
	[QZ_GGUF_I16] = { "i16", 2 },
	[QZ_GGUF_U32] = { "u32", 4 },
	[QZ_GGUF_I32] = { "i32", 4 },
	[QZ_GGUF_F32] = { "f32", 4 },
	[QZ_GGUF_BOOL] = { "bool", 1 },
	[QZ_GGUF_STRING] = { "string", 0 },
	[QZ_GGUF_ARRAY] = { "array", 0 },
	[QZ_GGUF_U64] = { "u64", 8 },
	[QZ_GGUF_I64] = { "i64", 8 },
	[QZ_GGUF_F64] = { "f64", 8 },
};

const char *
qz_gguf_type_name(enum qz_gguf_type t)
{
	return t < QZ_GGUF_TYPES ? types[t].name : "?";
}

/* The file's bytes come into g->text as they are needed; it moves meanwhile. */
struct reader {
	struct qz_gguf *g;
	struct qz_in *in;
	uint64_t size; /* of the file */
	struct qz_names names;
};

/* n more bytes at the end of the text, or NULL. */
static uint8_t *
take(struct reader *r, uint64_t n, const char *what, struct qz_err *e)
{
	struct qz_buf *b = &r->g->text;
	uint8_t *p;

	if (n > r->size - b->n) {
		qz_fail(e, QZ_EDATA, "at byte %zu: %s of %llu bytes, %llu are left", b->n, what,
		    (unsigned long long)n, (unsigned long long)(r->size - b->n));
		return NULL;
	}
	if (b->n + n > META_MAX) {
		qz_fail(e, QZ_EDATA, "more than %d bytes before the data", META_MAX);
		return NULL;
	}
	p = qz_buf_room(b, (size_t)n);
	if (!p) {
		qz_buf_ok(b, e);
		return NULL;
	}
	return qz_in_read(r->in, p, (size_t)n, e) < 0 ? NULL : p;
}

static int
take32(struct reader *r, uint32_t *v, const char *what, struct qz_err *e)
{
	uint8_t *p = take(r, 4, what, e);

	if (!p)
		return -1;
	*v = le32_get(p);
	return 0;
}

static int
take64(struct reader *r, uint64_t *v, const char *what, struct qz_err *e)
{
	uint8_t *p = take(r, 8, what, e);

	if (!p)
		return -1;
	*v = le64_get(p);
	return 0;
}

/* A length and bytes without NUL. */
static int
take_string(struct reader *r, uint64_t most, const char *what, struct qz_err *e)
{
	uint64_t n;
	uint8_t *p;

	if (take64(r, &n, what, e) < 0)
		return -1;
	if (n > most)
		return qz_fail(e, QZ_EDATA, "at byte %zu: %s of %llu bytes, at most %llu",
		    r->g->text.n - 8, what, (unsigned long long)n, (unsigned long long)most);
	p = take(r, n, what, e);
	if (!p)
		return -1;
	if (memchr(p, 0, (size_t)n))
		return qz_fail(e, QZ_EDATA, "at byte %zu: %s with a NUL in it",
		    r->g->text.n - (size_t)n, what);
	return 0;
}

/* A name: string, valid UTF-8, not seen before; into the arena. */
static int
take_name(struct reader *r, uint64_t most, const char *what, const char **name, struct qz_err *e)
{
	size_t at = r->g->text.n + 8, n;
	const char *s;
	int fresh;

	if (take_string(r, most, what, e) < 0)
		return -1;
	s = r->g->text.data + at;
	n = r->g->text.n - at;
	if (qz_utf8_valid(s, n) < n || n == 0)
		return qz_fail(e, QZ_EDATA, "at byte %zu: %s that is empty or not UTF-8", at, what);
	*name = qz_arena_strndup(&r->g->arena, s, n);
	if (!*name)
		return qz_nomem(e, n);
	fresh = qz_names_add(&r->names, *name, e);
	if (fresh == 0)
		return qz_fail(e, QZ_EDATA, "%s %.200s is there twice", what, *name);
	return fresh < 0 ? -1 : 0;
}

static int
take_values(struct reader *r, struct qz_gguf_kv *kv, struct qz_err *e)
{
	uint64_t nbytes;

	if (kv->type == QZ_GGUF_STRING) {
		if (kv->n > (r->size - r->g->text.n) / 8)
			return qz_fail(e, QZ_EDATA, "%llu strings, %llu bytes are left",
			    (unsigned long long)kv->n,
			    (unsigned long long)(r->size - r->g->text.n));
		for (uint64_t i = 0; i < kv->n; i++)
			if (take_string(r, META_MAX, "a string", e) < 0)
				return -1;
		return 0;
	}
	if (qz_mul_over(kv->n, types[kv->type].bytes, &nbytes))
		nbytes = UINT64_MAX;
	return take(r, nbytes, "a value", e) ? 0 : -1;
}

static int
take_kv(struct reader *r, struct qz_gguf_kv *kv, struct qz_err *e)
{
	uint32_t type, elem;

	if (take_name(r, KEY_MAX_BYTES, "a key", &kv->key, e) < 0 ||
	    take32(r, &type, "a type", e) < 0)
		return -1;
	kv->n = 1;
	if (type == QZ_GGUF_ARRAY) {
		kv->array = true;
		if (take32(r, &elem, "a type", e) < 0 || take64(r, &kv->n, "a count", e) < 0)
			return -1;
		type = elem;
	}
	if (type >= QZ_GGUF_TYPES || (kv->array && type == QZ_GGUF_ARRAY))
		return qz_fail(e, QZ_EDATA, "key %.200s: %s of type %u", kv->key,
		    kv->array ? "an array" : "a value", type);
	kv->type = (enum qz_gguf_type)type;
	kv->at = r->g->text.n;
	if (take_values(r, kv, e) < 0)
		return qz_at(e, "key %.200s", kv->key);
	kv->nbytes = r->g->text.n - kv->at;
	return 0;
}

static int
take_tensor(struct reader *r, struct qz_gguf_tensor *t, struct qz_err *e)
{
	uint32_t n_dims, type;
	uint64_t count = 1, row;

	if (take_name(r, NAME_MAX_BYTES, "a tensor's name", &t->name, e) < 0 ||
	    take32(r, &n_dims, "a count", e) < 0)
		return -1;
	if (n_dims < 1 || n_dims > QZ_DIMS_MAX)
		return qz_fail(e, QZ_EDATA, "tensor %s has %u dimensions, 1 to %d expected",
		    t->name, n_dims, QZ_DIMS_MAX);
	t->n_dims = (int)n_dims;
	for (int i = t->n_dims - 1; i >= 0; i--) {
		if (take64(r, &t->dims[i], "a dimension", e) < 0)
			return -1;
		if (t->dims[i] == 0 || qz_mul_over(count, t->dims[i], &count) || count > INT64_MAX)
			return qz_fail(e, QZ_EDATA,
			    "tensor %s: a dimension is %llu: its size does not fit", t->name,
			    (unsigned long long)t->dims[i]);
	}
	if (take32(r, &type, "a type", e) < 0 || take64(r, &t->offset, "an offset", e) < 0)
		return -1;
	t->dtype = qz_dtype_by_ggml(type);
	row = t->dims[t->n_dims - 1];
	if (!t->dtype)
		return qz_fail(
		    e, QZ_EDATA, "tensor %s: ggml type %u is not supported", t->name, type);
	if (row % qz_dtype(t->dtype)->block || qz_dtype_nbytes(t->dtype, count, &t->nbytes))
		return qz_fail(e, QZ_EDATA,
		    "tensor %s: rows of %llu elements are no multiple of %s's %u", t->name,
		    (unsigned long long)row, qz_dtype(t->dtype)->name, qz_dtype(t->dtype)->block);
	return 0;
}

static int
take_header(struct reader *r, uint64_t *n_tensors, uint64_t *n_kv, struct qz_err *e)
{
	uint8_t *magic = take(r, 4, "the magic", e);

	if (!magic)
		return -1;
	if (memcmp(magic, "GGUF", 4))
		return qz_fail(e, QZ_EDATA, "does not begin with GGUF");
	if (take32(r, &r->g->version, "the version", e) < 0)
		return -1;
	if ((r->g->version & 0xffff) == 0)
		return qz_fail(e, QZ_EDATA, "is a big-endian file, only little-endian is read");
	if (r->g->version != 2 && r->g->version != 3)
		return qz_fail(e, QZ_EDATA, "version %u is not known; 2 and 3 are", r->g->version);
	if (take64(r, n_tensors, "a count", e) < 0 || take64(r, n_kv, "a count", e) < 0)
		return -1;
	/* The smallest key is 13 bytes long, the smallest tensor 33. */
	if (*n_kv > (r->size - 24) / 13 || *n_tensors > (r->size - 24) / 33)
		return qz_fail(e, QZ_EDATA, "%llu keys and %llu tensors in a file of %llu bytes",
		    (unsigned long long)*n_kv, (unsigned long long)*n_tensors,
		    (unsigned long long)r->size);
	return 0;
}

static int
find_alignment(struct qz_gguf *g, struct qz_err *e)
{
	const struct qz_gguf_kv *kv = qz_gguf_find(g, "general.alignment");

	g->alignment = 32;
	if (!kv)
		return 0;
	if (kv->array || kv->type != QZ_GGUF_U32)
		return qz_fail(e, QZ_EDATA, "general.alignment is no u32");
	g->alignment = le32_get(kv->data);
	if (!g->alignment || (g->alignment & (g->alignment - 1)) || g->alignment > ALIGNMENT_MAX)
		return qz_fail(e, QZ_EDATA, "general.alignment is %u, no power of two up to %d",
		    g->alignment, ALIGNMENT_MAX);
	return 0;
}

/* Tensors follow each other in the table's order, each padded; all lie in the file. */
static int
check_layout(struct reader *r, struct qz_err *e)
{
	struct qz_gguf *g = r->g;
	uint64_t at = 0;

	g->data = qz_round_up(g->text.n, g->alignment);
	for (size_t i = 0; i < g->n_tensors; i++) {
		struct qz_gguf_tensor *t = &g->tensors[i];

		if (t->offset != at)
			return qz_fail(e, QZ_EDATA,
			    "tensor %s: its offset is %llu, %llu is expected", t->name,
			    (unsigned long long)t->offset, (unsigned long long)at);
		t->offset += g->data;
		if (t->offset > r->size || t->nbytes > r->size - t->offset)
			return qz_fail(e, QZ_EDATA,
			    "tensor %s: %llu bytes at %llu, the file ends at %llu", t->name,
			    (unsigned long long)t->nbytes, (unsigned long long)t->offset,
			    (unsigned long long)r->size);
		at += qz_round_up(t->nbytes, g->alignment);
	}
	return 0;
}

static int
read_all(struct reader *r, struct qz_err *e)
{
	struct qz_gguf *g = r->g;
	uint64_t n_tensors, n_kv;

	if (take_header(r, &n_tensors, &n_kv, e) < 0)
		return -1;
	g->kv = calloc((size_t)n_kv + 1, sizeof *g->kv);
	g->tensors = calloc((size_t)n_tensors + 1, sizeof *g->tensors);
	if (!g->kv || !g->tensors)
		return qz_nomem(e, n_tensors * sizeof *g->tensors);
	for (; g->n_kv < n_kv; g->n_kv++)
		if (take_kv(r, &g->kv[g->n_kv], e) < 0)
			return -1;
	qz_names_free(&r->names);
	for (; g->n_tensors < n_tensors; g->n_tensors++)
		if (take_tensor(r, &g->tensors[g->n_tensors], e) < 0)
			return -1;
	for (size_t i = 0; i < g->n_kv; i++) /* the text moves no more */
		g->kv[i].data = (const uint8_t *)g->text.data + g->kv[i].at;
	if (find_alignment(g, e) < 0)
		return -1;
	return check_layout(r, e);
}

int
qz_gguf_read(struct qz_gguf *g, struct qz_in *in, struct qz_err *e)
{
	struct reader r = { .g = g, .in = in };
	int ret;

	if (qz_in_size(in) < 0)
		return qz_fail(e, QZ_EDATA, "GGUF: a file is needed, not a pipe");
	r.size = (uint64_t)qz_in_size(in);
	ret = read_all(&r, e);
	qz_names_free(&r.names);
	return ret < 0 ? qz_at(e, "GGUF") : 0;
}

void
qz_gguf_free(struct qz_gguf *g)
{
	free(g->kv);
	free(g->tensors);
	qz_buf_free(&g->text);
	qz_arena_free(&g->arena);
	*g = (struct qz_gguf){ 0 };
}

const struct qz_gguf_kv *
qz_gguf_find(const struct qz_gguf *g, const char *key)
{
	for (size_t i = 0; i < g->n_kv; i++)
		if (!strcmp(g->kv[i].key, key))
			return &g->kv[i];
	return NULL;
}

const struct qz_gguf_tensor *
qz_gguf_tensor(const struct qz_gguf *g, const char *name)
{
	for (size_t i = 0; i < g->n_tensors; i++)
		if (!strcmp(g->tensors[i].name, name))
			return &g->tensors[i];
	return NULL;
}

double
qz_gguf_number(const struct qz_gguf_kv *kv, uint64_t i)
{
	const uint8_t *p = kv->data + i * types[kv->type].bytes;
	uint64_t u;
	double d;

	switch (kv->type) {
	case QZ_GGUF_U8:
	case QZ_GGUF_BOOL:
		return p[0];
	case QZ_GGUF_I8:
		return (int8_t)p[0];
	case QZ_GGUF_U16:
		return le16_get(p);
	case QZ_GGUF_I16:
		return (int16_t)le16_get(p);
	case QZ_GGUF_U32:
		return le32_get(p);
	case QZ_GGUF_I32:
		return (int32_t)le32_get(p);
	case QZ_GGUF_F32:
		return (double)qz_f32_from_bits(le32_get(p));
	case QZ_GGUF_U64:
		return (double)le64_get(p);
	case QZ_GGUF_I64:
		return (double)(int64_t)le64_get(p);
	case QZ_GGUF_F64:
		u = le64_get(p);
		memcpy(&d, &u, 8);
		return d;
	default:
		return 0;
	}
}

static int
wrong_kind(const struct qz_gguf_kv *kv, const char *wanted, struct qz_err *e)
{
	return qz_fail(e, QZ_EDATA, "GGUF: %s is %s%s, not %s", kv->key,
	    kv->array ? "an array of " : "a ", qz_gguf_type_name(kv->type), wanted);
}

static bool
is_number(const struct qz_gguf_kv *kv)
{
	return !kv->array && kv->type != QZ_GGUF_STRING && kv->type != QZ_GGUF_BOOL;
}

int
qz_gguf_int(
    const struct qz_gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *v, struct qz_err *e)
{
	const struct qz_gguf_kv *kv = qz_gguf_find(g, key);
	double d;

	if (!kv)
		return 0;
	if (!is_number(kv) || kv->type == QZ_GGUF_F32 || kv->type == QZ_GGUF_F64)
		return wrong_kind(kv, "a whole number", e);
	d = qz_gguf_number(kv, 0);
	if (d < (double)lo || d > (double)hi)
		return qz_fail(e, QZ_EDATA, "GGUF: %s is %.0f, not within %lld..%lld", key, d,
		    (long long)lo, (long long)hi);
	*v = (int64_t)d;
	return 1;
}

int
qz_gguf_real(const struct qz_gguf *g, const char *key, double *v, struct qz_err *e)
{
	const struct qz_gguf_kv *kv = qz_gguf_find(g, key);

	if (!kv)
		return 0;
	if (!is_number(kv))
		return wrong_kind(kv, "a number", e);
	*v = qz_gguf_number(kv, 0);
	return 1;
}

int
qz_gguf_bool(const struct qz_gguf *g, const char *key, bool *v, struct qz_err *e)
{
	const struct qz_gguf_kv *kv = qz_gguf_find(g, key);

	if (!kv)
		return 0;
	if (kv->array || kv->type != QZ_GGUF_BOOL)
		return wrong_kind(kv, "a bool", e);
	*v = kv->data[0] != 0;
	return 1;
}

int
qz_gguf_string(const struct qz_gguf *g, const char *key, const char **v, struct qz_err *e)
{
	const struct qz_gguf_kv *kv = qz_gguf_find(g, key);
	size_t n;

	if (!kv)
		return 0;
	if (kv->array || kv->type != QZ_GGUF_STRING)
		return wrong_kind(kv, "a string", e);
	n = kv->nbytes - 8;
	if (qz_utf8_valid((const char *)kv->data + 8, n) < n)
		return qz_fail(e, QZ_EDATA, "GGUF: %s is not UTF-8", key);
	*v = qz_arena_strndup(&((struct qz_gguf *)g)->arena, (const char *)kv->data + 8, n);
	return *v ? 1 : qz_nomem(e, n);
}

int
qz_gguf_strings(struct qz_gguf *g, const char *key, const char *const **strings,
    const size_t **lens, uint64_t *n, struct qz_err *e)
{
	const struct qz_gguf_kv *kv = qz_gguf_find(g, key);
	const uint8_t *p;
	const char **s;
	size_t *l;

	if (!kv)
		return 0;
	if (!kv->array || kv->type != QZ_GGUF_STRING)
		return wrong_kind(kv, "an array of strings", e);
	s = qz_arena_alloc(&g->arena, (size_t)kv->n * sizeof *s);
	l = qz_arena_alloc(&g->arena, (size_t)kv->n * sizeof *l);
	if (!s || !l)
		return qz_nomem(e, kv->n * sizeof *s);
	p = kv->data;
	for (uint64_t i = 0; i < kv->n; i++) {
		l[i] = (size_t)le64_get(p);
		s[i] = qz_arena_strndup(&g->arena, (const char *)p + 8, l[i]);
		if (!s[i])
			return qz_nomem(e, l[i]);
		p += 8 + l[i];
	}
	*strings = s;
	*lens = l;
	*n = kv->n;
	return 1;
}
