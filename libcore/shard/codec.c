#include "libcore/shard/codec.h"

#include <ctype.h>
#include <string.h>

#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/base/utf8.h"

enum { TENSOR_FIXED = 16, SECTION_SIZE = 16, NAME_FIXED = 8 };
#define NOT_KNOWN UINT64_MAX

void
qz_header_put(const struct qz_header *h, uint8_t out[QZ_HEADER_SIZE])
{
	memset(out, 0, QZ_HEADER_SIZE);
	le32_put(out, h->type);
	le16_put(out + 4, h->flags);
	le16_put(out + 6, h->optional);
	le32_put(out + 8, h->table_n);
	le32_put(out + 12, h->meta_n);
	le64_put(out + 16, h->stored);
	le64_put(out + 24, h->raw);
	le64_put(out + 32, h->number);
	le64_put(out + 56, qz_hash64(out, 56));
}

int
qz_header_get(struct qz_header *h, const uint8_t in[QZ_HEADER_SIZE], struct qz_err *e)
{
	uint64_t want = qz_hash64(in, 56), got = le64_get(in + 56);

	if (got != want)
		return qz_fail(e, QZ_EDATA, "header: checksum is %016llx, not %016llx",
		    (unsigned long long)got, (unsigned long long)want);
	h->type = le32_get(in);
	h->flags = le16_get(in + 4);
	h->optional = le16_get(in + 6);
	h->table_n = le32_get(in + 8);
	h->meta_n = le32_get(in + 12);
	h->stored = le64_get(in + 16);
	h->raw = le64_get(in + 24);
	h->number = le64_get(in + 32);
	if (le64_get(in + 40) || le64_get(in + 48))
		return qz_fail(e, QZ_EDATA, "header: reserved bytes are not zero");
	if (h->flags & ~QZ_FLAGS_KNOWN)
		return qz_fail(e, QZ_EDATA, "header: flags %04x need a newer qz", h->flags);
	if (h->table_n > QZ_TABLE_MAX || h->meta_n > QZ_META_MAX)
		return qz_fail(e, QZ_EDATA,
		    "header: table of %u and meta of %u bytes, at most %d each", h->table_n,
		    h->meta_n, QZ_TABLE_MAX);
	if (h->stored > UINT64_MAX / 4 || h->raw > UINT64_MAX / 4)
		return qz_fail(e, QZ_EDATA, "header: data of %llu bytes is too large",
		    (unsigned long long)h->stored);
	if (!(h->flags & QZ_FLAG_ZSTD) && h->stored != h->raw)
		return qz_fail(e, QZ_EDATA,
		    "header: %llu bytes stored, %llu raw, and not compressed",
		    (unsigned long long)h->stored, (unsigned long long)h->raw);
	return 0;
}

void
qz_tag_text(uint32_t type, char out[5])
{
	le32_put(out, type);
	out[4] = '\0';
	for (int i = 0; i < 4; i++)
		if (!isalnum((unsigned char)out[i]) && out[i] != ' ')
			memcpy(out, "?", 2);
	if (out[3] == ' ')
		out[3] = '\0';
}

static void
put16(struct qz_buf *b, uint16_t v)
{
	void *p = qz_buf_room(b, 2);
	if (p)
		le16_put(p, v);
}

static void
put32(struct qz_buf *b, uint32_t v)
{
	void *p = qz_buf_room(b, 4);
	if (p)
		le32_put(p, v);
}

static void
put64(struct qz_buf *b, uint64_t v)
{
	void *p = qz_buf_room(b, 8);
	if (p)
		le64_put(p, v);
}

/* Names are padded to 8, from where the table starts. */
static void
put_name(struct qz_buf *b, const char *name)
{
	size_t n = strlen(name);

	qz_buf_add(b, name, n);
	qz_buf_add(b, "\0\0\0\0\0\0\0", qz_round_up(n, 8) - n);
}

/* Names end up in messages, file names and JSON. */
static int
get_name(const char **name, const uint8_t *p, size_t n, struct qz_arena *a, struct qz_err *e)
{
	if (n > QZ_NAME_LEN_MAX)
		return qz_fail(e, QZ_EDATA, "a name of %zu bytes, at most %d", n, QZ_NAME_LEN_MAX);
	if (qz_utf8_valid((const char *)p, n) < n || memchr(p, 0, n))
		return qz_fail(e, QZ_EDATA, "a name is not UTF-8 text");
	*name = qz_arena_strndup(a, (const char *)p, n);
	return *name ? 0 : qz_nomem(e, n);
}

void
qz_tensor_put(const struct qz_tensor *t, struct qz_buf *b)
{
	put16(b, (uint16_t)strlen(t->name));
	put16(b, (uint16_t)t->dtype);
	qz_buf_chr(b, (char)t->n_dims);
	qz_buf_chr(b, (char)t->n_sections);
	put16(b, 0);
	put32(b, t->block);
	put32(b, t->nested_block);
	for (int i = 0; i < t->n_dims; i++)
		put64(b, t->dims[i]);
	for (int i = 0; i < t->n_sections; i++) {
		put16(b, t->sections[i].kind);
		put16(b, t->sections[i].dtype);
		put32(b, 0);
		put64(b, t->sections[i].nbytes);
	}
	put_name(b, t->name);
}

/* The sections must be those that type and shape ask for. */
static int
check_sections(const struct qz_tensor *t, const uint8_t *p, int n, struct qz_err *e)
{
	if (n != t->n_sections)
		return qz_fail(
		    e, QZ_EDATA, "tensor %s: %d sections, %d expected", t->name, n, t->n_sections);
	for (int i = 0; i < n; i++, p += SECTION_SIZE) {
		const struct qz_section *s = &t->sections[i];

		if (le16_get(p) != s->kind || le16_get(p + 2) != s->dtype ||
		    le64_get(p + 8) != s->nbytes)
			return qz_fail(e, QZ_EDATA,
			    "tensor %s: section %d is kind %u, type %u, %llu bytes; kind %u, type "
			    "%u, %llu bytes expected",
			    t->name, i, le16_get(p), le16_get(p + 2),
			    (unsigned long long)le64_get(p + 8), s->kind, s->dtype,
			    (unsigned long long)s->nbytes);
	}
	return 0;
}

int
qz_tensor_get(struct qz_tensor *t, const uint8_t *table, size_t n, size_t *at, struct qz_arena *a,
    struct qz_err *e)
{
	const uint8_t *p = table + *at;
	size_t left = n - *at, name_n, need;
	int n_sections;

	memset(t, 0, sizeof *t);
	if (left < TENSOR_FIXED)
		return qz_fail(e, QZ_EDATA, "table: ends within a tensor's entry");
	name_n = le16_get(p);
	t->dtype = (enum qz_dtype)le16_get(p + 2);
	t->n_dims = p[4];
	n_sections = p[5];
	t->block = le32_get(p + 8);
	t->nested_block = le32_get(p + 12);
	if (t->n_dims < 1 || t->n_dims > QZ_DIMS_MAX || n_sections > QZ_SECTIONS_MAX)
		return qz_fail(e, QZ_EDATA, "table: a tensor with %d dimensions and %d sections",
		    t->n_dims, n_sections);
	need = TENSOR_FIXED + 8 * (size_t)t->n_dims + SECTION_SIZE * (size_t)n_sections;
	if (left < need || left - need < qz_round_up(name_n, 8))
		return qz_fail(e, QZ_EDATA, "table: ends within a tensor's entry");
	for (int i = 0; i < t->n_dims; i++)
		t->dims[i] = le64_get(p + TENSOR_FIXED + 8 * (size_t)i);
	if (get_name(&t->name, p + need, name_n, a, e) < 0)
		return -1;
	if (qz_tensor_plan(t, e) < 0)
		return qz_at(e, "tensor %s", t->name);
	*at += need + qz_round_up(name_n, 8);
	return check_sections(t, p + TENSOR_FIXED + 8 * (size_t)t->n_dims, n_sections, e);
}

void
qz_manifest_put(const struct qz_tensor *t, size_t n, bool known, struct qz_buf *b)
{
	put64(b, known ? n : NOT_KNOWN);
	for (size_t i = 0; known && i < n; i++)
		qz_tensor_put(&t[i], b);
}

int
qz_manifest_get(const struct qz_tensor **list, size_t *n_list, const uint8_t *table, size_t n,
    struct qz_arena *a, struct qz_err *e)
{
	struct qz_tensor *t;
	uint64_t count;
	size_t at = 8;

	*list = NULL;
	*n_list = 0;
	if (n < 8)
		return qz_fail(e, QZ_EDATA, "table: of %zu bytes, at least 8 expected", n);
	count = le64_get(table);
	if (count == NOT_KNOWN)
		return 0;
	if (count > n / TENSOR_FIXED)
		return qz_fail(e, QZ_EDATA, "table: %llu tensors cannot be in %zu bytes",
		    (unsigned long long)count, n);
	t = qz_arena_alloc(a, (size_t)(count + 1) * sizeof *t);
	if (!t)
		return qz_nomem(e, count * sizeof *t);
	for (size_t i = 0; i < count; i++)
		if (qz_tensor_get(&t[i], table, n, &at, a, e) < 0)
			return -1;
	*list = t;
	*n_list = (size_t)count;
	return 0;
}

void
qz_name_put(const char *name, struct qz_buf *b)
{
	put16(b, (uint16_t)strlen(name));
	put16(b, 0);
	put32(b, 0);
	put_name(b, name);
}

int
qz_name_get(const char **name, const uint8_t *table, size_t n, struct qz_arena *a, struct qz_err *e)
{
	if (n < NAME_FIXED || n - NAME_FIXED < le16_get(table))
		return qz_fail(e, QZ_EDATA, "table: ends within a name");
	return get_name(name, table + NAME_FIXED, le16_get(table), a, e);
}

void
qz_tokens_put(const struct qz_tokens_info *t, struct qz_buf *b)
{
	put64(b, t->n_tokens);
	put64(b, t->n_rows);
	put64(b, t->n_docs);
	put64(b, t->n_trained);
}

int
qz_tokens_plan(struct qz_tokens_info *t, uint64_t *nbytes)
{
	struct qz_section *s[] = { &t->ids, &t->mask, &t->row_ends, &t->doc_ends };
	const uint64_t counts[] = { t->n_tokens, t->n_tokens, t->n_rows, t->n_docs };
	const struct qz_section form[] = {
		{ QZ_SEC_IDS, QZ_I32, 4, 0 },
		{ QZ_SEC_MASK, QZ_U8, 1, 0 },
		{ QZ_SEC_ROW_ENDS, QZ_U64, 8, 0 },
		{ QZ_SEC_DOC_ENDS, QZ_U64, 8, 0 },
	};
	uint64_t at = 0;

	for (int i = 0; i < 4; i++) {
		*s[i] = form[i];
		if (counts[i] > UINT64_MAX / 64)
			return -1;
		s[i]->nbytes = counts[i] * form[i].nbytes;
		s[i]->offset = at;
		at += qz_round_up(s[i]->nbytes, QZ_SHARD_ALIGN);
	}
	*nbytes = at;
	return 0;
}

int
qz_tokens_get(
    struct qz_tokens_info *t, const uint8_t *table, size_t n, uint64_t *nbytes, struct qz_err *e)
{
	if (n < 32)
		return qz_fail(e, QZ_EDATA, "table: of %zu bytes, 32 expected", n);
	memset(t, 0, sizeof *t);
	t->n_tokens = le64_get(table);
	t->n_rows = le64_get(table + 8);
	t->n_docs = le64_get(table + 16);
	t->n_trained = le64_get(table + 24);
	if (t->n_rows > t->n_docs || t->n_docs > t->n_tokens || t->n_trained > t->n_tokens ||
	    qz_tokens_plan(t, nbytes) < 0)
		return qz_fail(e, QZ_EDATA,
		    "table: %llu rows, %llu documents, %llu tokens, %llu trained cannot be",
		    (unsigned long long)t->n_rows, (unsigned long long)t->n_docs,
		    (unsigned long long)t->n_tokens, (unsigned long long)t->n_trained);
	return 0;
}

void
qz_end_put(const struct qz_shard_end *end, struct qz_buf *b)
{
	put64(b, end->records);
	put64(b, end->tensors);
	put64(b, end->blobs);
	put64(b, end->rows);
	put64(b, end->tokens);
	put64(b, end->trained);
	put64(b, end->nbytes);
	put64(b, end->index_offset);
	put64(b, end->digest.lo);
	put64(b, end->digest.hi);
}

int
qz_end_get(struct qz_shard_end *end, const uint8_t *p, size_t n, struct qz_err *e)
{
	if (n < QZ_END_TABLE)
		return qz_fail(e, QZ_EDATA, "table: of %zu bytes, %d expected", n, QZ_END_TABLE);
	end->records = le64_get(p);
	end->tensors = le64_get(p + 8);
	end->blobs = le64_get(p + 16);
	end->rows = le64_get(p + 24);
	end->tokens = le64_get(p + 32);
	end->trained = le64_get(p + 40);
	end->nbytes = le64_get(p + 48);
	end->index_offset = le64_get(p + 56);
	end->digest.lo = le64_get(p + 64);
	end->digest.hi = le64_get(p + 72);
	return 0;
}
