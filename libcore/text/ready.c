#include "libcore/text/ready.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"
#include "libcore/base/json.h"
#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/base/utf8.h"
#include "libcore/text/tokenizer_impl.h"

enum { VERSION = 1, HEAD = 40, MERGE = 16, AHEAD = 16 };

/* An object whose members are written by put(), one by one. */
static void
put_object(struct qz_buf *b, const struct qz_json *object,
    void (*put)(struct qz_buf *b, const struct qz_json *member))
{
	const char *sep = "";

	qz_buf_chr(b, '{');
	for (const struct qz_json *m = qz_json_first(object); m; m = qz_json_next(m)) {
		qz_buf_str(b, sep);
		qz_json_put_string(b, qz_json_key(m), strlen(qz_json_key(m)));
		qz_buf_chr(b, ':');
		put(b, m);
		sep = ",";
	}
	qz_buf_chr(b, '}');
}

static void
put_of_model(struct qz_buf *b, const struct qz_json *m)
{
	if (!strcmp(qz_json_key(m), "vocab"))
		qz_buf_str(b, "{}");
	else if (!strcmp(qz_json_key(m), "merges"))
		qz_buf_str(b, "[]");
	else
		qz_json_put(b, m, 0);
}

static void
put_of_root(struct qz_buf *b, const struct qz_json *m)
{
	if (!strcmp(qz_json_key(m), "model"))
		put_object(b, m, put_of_model);
	else
		qz_json_put(b, m, 0);
}

static bool
is_piece(const struct qz_vocab *v, uint32_t id)
{
	return v->entry[id].n && v->flags[id] & QZ_V_MODEL;
}

static int
by_rank(const void *pa, const void *pb)
{
	const struct qz_ready_merge *a = pa, *b = pb;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->left != b->left)
		return a->left < b->left ? -1 : 1;
	return a->right < b->right ? -1 : a->right > b->right;
}

/* The pairs of the table, sorted, for the caller to free; NULL: no memory. */
static struct qz_ready_merge *
list_merges(const struct qz_merges *m, uint32_t *n)
{
	struct qz_ready_merge *v = malloc((m->mask + 1) * sizeof *v);

	*n = 0;
	for (uint64_t i = 0; i <= m->mask && v; i++) {
		struct qz_merge g = qz_merges_at(m, i);

		if (g.index != QZ_NO_MERGE)
			v[(*n)++] = (struct qz_ready_merge){ g.index, g.left, g.right,
				m->to[g.index] };
	}
	if (v)
		qsort(v, *n, sizeof *v, by_rank);
	return v;
}

static void
put_all(const struct qz_tokenizer *t, const struct qz_ready_merge *merges, uint32_t n_merges,
    const struct qz_buf *rest, struct qz_digest d, struct qz_buf *out)
{
	const struct qz_vocab *v = &t->vocab;
	uint64_t n_text = 0;

	for (uint32_t id = 0; id < v->size; id++)
		n_text += is_piece(v, id) ? v->entry[id].n : 0;
	qz_buf_le32(out, VERSION);
	qz_buf_le32(out, v->size);
	qz_buf_le32(out, n_merges);
	qz_buf_le32(out, (uint32_t)rest->n);
	qz_buf_le64(out, n_text);
	qz_buf_le64(out, d.lo);
	qz_buf_le64(out, d.hi);
	for (uint32_t id = 0; id < v->size; id++)
		qz_buf_le32(out, is_piece(v, id) ? v->entry[id].n : 0);
	for (uint32_t id = 0; id < v->size; id++)
		if (is_piece(v, id))
			qz_buf_add(out, v->blob.data + v->entry[id].at, v->entry[id].n);
	for (uint32_t i = 0; i < n_merges; i++) {
		qz_buf_le32(out, merges[i].rank);
		qz_buf_le32(out, merges[i].left);
		qz_buf_le32(out, merges[i].right);
		qz_buf_le32(out, merges[i].both);
	}
	qz_buf_add(out, rest->data, rest->n);
}

/* The file without vocab and merges. */
static int
make_rest(enum qz_text_file kind, const char *s, size_t n, struct qz_buf *rest, struct qz_err *e)
{
	bool tekken = kind == QZ_TEXT_TEKKEN;
	struct qz_json *j = (tekken ? qz_json_parse_nuls : qz_json_parse)(s, n, e);

	if (!j)
		return -1;
	put_object(rest, j, tekken ? put_of_model : put_of_root);
	qz_json_free(j);
	return qz_buf_ok(rest, e);
}

int
qz_ready_make(enum qz_text_file kind, const char *s, size_t n, struct qz_buf *out, struct qz_err *e)
{
	struct qz_text_files f = { 0 };
	struct qz_ready_merge *merges = NULL;
	struct qz_buf rest = { 0 };
	struct qz_tokenizer *t;
	uint32_t n_merges;
	int ret;

	f.file[kind].s = s;
	f.file[kind].n = n;
	t = qz_tokenizer_load(&f, e);
	ret = t || e->code == QZ_EDATA ? 0 : -1;
	if (t && t->bpe.vocab && !t->bpe.merges.rank) {
		merges = list_merges(&t->bpe.merges, &n_merges);
		ret = merges ? make_rest(kind, s, n, &rest, e) : qz_nomem(e, 1);
		if (!ret) {
			put_all(t, merges, n_merges, &rest, t->digest, out);
			ret = qz_buf_ok(out, e) < 0 ? -1 : 1;
		}
	}
	free(merges);
	qz_buf_free(&rest);
	qz_tokenizer_free(t);
	return ret;
}

/* Texts that are none would be read past their ends: all of them are one text, cut between characters. */
static int
check_texts(const struct qz_ready *r, struct qz_err *e)
{
	size_t at = 0, valid = qz_utf8_valid(r->text, r->n_text);
	const char *nul = memchr(r->text, 0, valid);

	if (nul)
		valid = (size_t)(nul - r->text);
	for (uint32_t id = 0; id < r->n_ids; id++) {
		size_t n = le32_get(r->lengths + 4 * (size_t)id);

		if (n > r->n_text - at)
			return qz_fail(
			    e, QZ_EDATA, "the text of id %lu is cut off", (unsigned long)id);
		at += n;
		if (at > valid || (at < valid && ((unsigned char)r->text[at] & 0xc0) == 0x80))
			return qz_fail(
			    e, QZ_EDATA, "the text of id %lu is none", (unsigned long)id);
	}
	return at == r->n_text
		   ? 0
		   : qz_fail(e, QZ_EDATA, "%zu bytes of text, %zu are named", r->n_text, at);
}

int
qz_ready_read(struct qz_ready *r, const void *data, size_t n, struct qz_digest d, struct qz_err *e)
{
	const uint8_t *p = data;
	uint64_t need;

	if (n < HEAD)
		return qz_fail(e, QZ_EDATA, "%zu bytes, %d at least", n, HEAD);
	if (le32_get(p) != VERSION)
		return 0;
	if (le64_get(p + 24) != d.lo || le64_get(p + 32) != d.hi)
		return 0;
	*r = (struct qz_ready){
		.n_ids = le32_get(p + 4), .n_merges = le32_get(p + 8), .n_rest = le32_get(p + 12)
	};
	need = HEAD + 4 * (uint64_t)r->n_ids + MERGE * (uint64_t)r->n_merges + r->n_rest;
	if (qz_add_over(need, le64_get(p + 16), &need) || need != n)
		return qz_fail(
		    e, QZ_EDATA, "%zu bytes, %llu by its head", n, (unsigned long long)need);
	r->n_text = (size_t)le64_get(p + 16);
	r->lengths = p + HEAD;
	r->text = (const char *)r->lengths + 4 * (size_t)r->n_ids;
	r->merges = (const uint8_t *)r->text + r->n_text;
	r->rest = (const char *)r->merges + MERGE * (size_t)r->n_merges;
	return check_texts(r, e) < 0 ? -1 : 1;
}

struct qz_ready_merge
qz_ready_merge(const struct qz_ready *r, uint32_t i)
{
	const uint8_t *p = r->merges + MERGE * (size_t)i;

	return (struct qz_ready_merge){ le32_get(p), le32_get(p + 4), le32_get(p + 8),
		le32_get(p + 12) };
}

int
qz_ready_vocab(struct qz_vocab *v, const struct qz_ready *r, struct qz_err *e)
{
	size_t at = 0, ahead = 0;
	uint32_t next = 0;

	if (qz_vocab_reserve(v, r->n_ids, r->n_text + r->n_ids, e) < 0)
		return -1;
	for (uint32_t id = 0; id < r->n_ids; id++) {
		uint32_t n = le32_get(r->lengths + 4 * (size_t)id);

		for (; next < r->n_ids && next < id + AHEAD; next++) {
			uint32_t m = le32_get(r->lengths + 4 * (size_t)next);

			qz_vocab_expect(v, r->text + ahead, m);
			ahead += m;
		}
		if (n && qz_vocab_put(v, r->text + at, n, id, QZ_V_MODEL, e) < 0)
			return qz_at(e, "vocab");
		at += n;
	}
	return 0;
}
