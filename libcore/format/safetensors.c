#include "libcore/format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/base/le.h"
#include "libcore/base/size.h"

enum { VALUES_MAX = 2000000 }; /* in a header: bounds the memory of its tree */

/* Bytes an element. */
static const struct {
	const char *name;
	uint32_t bytes;
} types[] = {
	{ "F64", 8 },
	{ "F32", 4 },
	{ "F16", 2 },
	{ "BF16", 2 },
	{ "I64", 8 },
	{ "U64", 8 },
	{ "I32", 4 },
	{ "U32", 4 },
	{ "I16", 2 },
	{ "U16", 2 },
	{ "I8", 1 },
	{ "U8", 1 },
	{ "BOOL", 1 },
	{ "F8_E4M3", 1 },
	{ "F8_E5M2", 1 },
};

bool
qz_st_nbytes(const struct qz_st_tensor *t, uint64_t *nbytes)
{
	*nbytes = 0;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(types[i].name, t->type))
			continue;
		*nbytes = types[i].bytes;
		for (int d = 0; d < t->n_dims; d++)
			if (qz_mul_over(*nbytes, t->dims[d], nbytes))
				return true;
		return false;
	}
	return true;
}

int
qz_st_length(const uint8_t first[8], int64_t file_size, uint64_t *n, struct qz_err *e)
{
	*n = le64_get(first);
	if (file_size >= 0 && (file_size < 8 || *n > (uint64_t)file_size - 8))
		return qz_fail(e, QZ_EDATA,
		    "safetensors: a header of %llu bytes in a file of %lld bytes",
		    (unsigned long long)*n, (long long)file_size);
	if (*n > QZ_ST_HEADER_MAX)
		return qz_fail(e, QZ_EDATA, "safetensors: a header of %llu bytes, at most %d",
		    (unsigned long long)*n, QZ_ST_HEADER_MAX);
	if (*n < 2)
		return qz_fail(e, QZ_EDATA, "safetensors: a header of %llu bytes, at least 2",
		    (unsigned long long)*n);
	return 0;
}

static int
count_values(const char *text, size_t n, struct qz_err *e)
{
	size_t commas = 0;

	for (size_t i = 0; i < n; i++)
		commas += text[i] == ',';
	if (commas >= VALUES_MAX)
		return qz_fail(e, QZ_EDATA, "safetensors: a header of %zu values, at most %d",
		    commas + 1, VALUES_MAX);
	return 0;
}

static int
read_shape(struct qz_st_tensor *t, const struct qz_json *shape, struct qz_err *e)
{
	int64_t v;

	if (!qz_json_is(shape, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "has no shape");
	for (const struct qz_json *d = qz_json_first(shape); d; d = qz_json_next(d)) {
		if (t->n_dims == QZ_DIMS_MAX)
			return qz_fail(e, QZ_EDATA, "has %zu dimensions, at most %d",
			    qz_json_count(shape), QZ_DIMS_MAX);
		if (qz_json_int(d, 0, (int64_t)1 << 53, &v, e) < 0)
			return qz_at(e, "shape");
		t->dims[t->n_dims++] = (uint64_t)v;
	}
	return 0;
}

static int
read_tensor(struct qz_st *s, struct qz_st_tensor *t, const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *offsets = qz_json_get(j, "data_offsets");
	const char *type = qz_json_string(qz_json_get(j, "dtype"), NULL);
	int64_t begin, end;
	uint64_t nbytes;

	t->name = qz_arena_strdup(&s->arena, qz_json_key(j));
	if (!t->name)
		return qz_nomem(e, strlen(qz_json_key(j)));
	if (!type)
		return qz_fail(e, QZ_EDATA, "has no dtype");
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(types[i].name, type))
			t->type = types[i].name;
	if (!t->type)
		return qz_fail(e, QZ_EDATA, "its dtype '%.40s' is not known", type);
	t->dtype = qz_dtype_by_st(type);
	if (read_shape(t, qz_json_get(j, "shape"), e) < 0)
		return -1;
	if (qz_json_count(offsets) != 2 || !qz_json_is(offsets, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "has no data_offsets of two numbers");
	if (qz_json_int(qz_json_first(offsets), 0, (int64_t)1 << 53, &begin, e) < 0 ||
	    qz_json_int(qz_json_next(qz_json_first(offsets)), 0, (int64_t)1 << 53, &end, e) < 0)
		return qz_at(e, "data_offsets");
	if (end < begin)
		return qz_fail(e, QZ_EDATA, "its data end at %lld, before they begin at %lld",
		    (long long)end, (long long)begin);
	t->begin = (uint64_t)begin;
	t->end = (uint64_t)end;
	if (qz_st_nbytes(t, &nbytes))
		return qz_fail(e, QZ_EDATA, "the product of its dimensions is too large");
	if (nbytes != t->end - t->begin)
		return qz_fail(e, QZ_EDATA, "its data have %llu bytes, type and shape say %llu",
		    (unsigned long long)(t->end - t->begin), (unsigned long long)nbytes);
	return 0;
}

static int
by_begin(const void *a, const void *b)
{
	const struct qz_st_tensor *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int
check_cover(const struct qz_st *s, int64_t file_size, struct qz_err *e)
{
	uint64_t at = 0, size = file_size < 0 ? 0 : (uint64_t)file_size - s->data;

	for (size_t i = 0; i < s->n; i++) {
		const struct qz_st_tensor *t = &s->tensors[i];

		if (file_size >= 0 && t->end > size)
			return qz_fail(e, QZ_EDATA,
			    "tensor %.200s: its data end at byte %llu of %llu", t->name,
			    (unsigned long long)t->end, (unsigned long long)size);
		if (t->begin < at)
			return qz_fail(e, QZ_EDATA,
			    "tensor %.200s: its data overlap those of %.200s", t->name,
			    s->tensors[i - 1].name);
		if (t->begin > at)
			return qz_fail(e, QZ_EDATA,
			    "tensor %.200s: its data begin at byte %llu, %llu is expected", t->name,
			    (unsigned long long)t->begin, (unsigned long long)at);
		at = t->end;
	}
	if (file_size >= 0 && at != size)
		return qz_fail(e, QZ_EDATA,
		    "safetensors: the tensors end at byte %llu of %llu bytes of data",
		    (unsigned long long)at, (unsigned long long)size);
	return 0;
}

int
qz_st_parse(struct qz_st *s, const char *text, size_t n, int64_t file_size, struct qz_err *e)
{
	struct qz_json *root;
	size_t count;
	int ret = 0;

	s->data = 8 + (uint64_t)n;
	if (count_values(text, n, e) < 0)
		return -1;
	root = qz_json_parse(text, n, e);
	if (!root)
		return qz_at(e, "safetensors header");
	count = qz_json_count(root);
	if (!qz_json_is(root, QZ_JSON_OBJECT))
		ret = qz_fail(e, QZ_EDATA, "safetensors: the header is %s, not an object",
		    qz_json_kind_name(qz_json_kind(root)));
	else if (count && !(s->tensors = calloc(count, sizeof *s->tensors)))
		ret = qz_nomem(e, count * sizeof *s->tensors);
	for (const struct qz_json *j = qz_json_first(root); ret == 0 && j; j = qz_json_next(j)) {
		if (!strcmp(qz_json_key(j), "__metadata__"))
			continue;
		ret = read_tensor(s, &s->tensors[s->n++], j, e);
		if (ret < 0)
			qz_at(e, "tensor %.200s", qz_json_key(j));
	}
	qz_json_free(root);
	if (ret == 0 && s->n) {
		qsort(s->tensors, s->n, sizeof *s->tensors, by_begin);
		s->nbytes = s->tensors[s->n - 1].end;
	}
	return ret == 0 ? check_cover(s, file_size, e) : -1;
}

int
qz_st_read(struct qz_st *s, struct qz_in *in, struct qz_err *e)
{
	struct qz_buf text = { 0 };
	uint8_t first[8];
	uint64_t n;
	char *p;
	int ret;

	if (qz_in_read(in, first, sizeof first, e) < 0 ||
	    qz_st_length(first, qz_in_size(in), &n, e) < 0)
		return -1;
	p = qz_buf_room(&text, (size_t)n);
	ret = p ? qz_in_read(in, p, (size_t)n, e) : qz_buf_ok(&text, e);
	if (ret == 0)
		ret = qz_st_parse(s, p, (size_t)n, qz_in_size(in), e);
	qz_buf_free(&text);
	return ret;
}

void
qz_st_free(struct qz_st *s)
{
	free(s->tensors);
	qz_arena_free(&s->arena);
	*s = (struct qz_st){ 0 };
}

const struct qz_st_tensor *
qz_st_find(const struct qz_st *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->tensors[i].name, name))
			return &s->tensors[i];
	return NULL;
}

int
qz_st_put(struct qz_buf *out, const struct qz_st_tensor *t, size_t n, struct qz_err *e)
{
	size_t start = out->n;
	uint64_t at = 0, nbytes;

	qz_buf_add(out, "\0\0\0\0\0\0\0", 8);
	qz_buf_str(out, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (size_t i = 0; i < n; i++) {
		if (qz_st_nbytes(&t[i], &nbytes) || qz_add_over(at, nbytes, &nbytes) ||
		    nbytes > (uint64_t)1 << 53)
			return qz_fail(
			    e, QZ_EDATA, "tensor %.200s: its size does not fit", t[i].name);
		qz_buf_chr(out, ',');
		qz_json_put_string(out, t[i].name, strlen(t[i].name));
		qz_buf_fmt(out, ":{\"dtype\":\"%s\",\"shape\":[", t[i].type);
		for (int d = 0; d < t[i].n_dims; d++)
			qz_buf_fmt(out, "%s%llu", d ? "," : "", (unsigned long long)t[i].dims[d]);
		qz_buf_fmt(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
		    (unsigned long long)nbytes);
		at = nbytes;
	}
	qz_buf_chr(out, '}');
	while ((out->n - start) % 8 && !out->failed)
		qz_buf_chr(out, ' ');
	if (qz_buf_ok(out, e) < 0)
		return -1;
	le64_put(out->data + start, out->n - start - 8);
	return 0;
}
