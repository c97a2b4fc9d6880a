/* A BPE model from tokenizer.json's "model", or from its ready form: symbols and merges. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/bpe_impl.h"

enum {
	BATCH = 64, /* merges looked up at once */
	AHEAD = 16,
	LONGEST = 6, /* bytes of a symbol's text: "<0x0A>" */
};

/* One merge: "left right", or ["left", "right"], whose parts may hold spaces. */
static int
merge_parts(const struct qz_json *j, const char **left, size_t *n_left, const char **right,
    size_t *n_right, struct qz_err *e)
{
	const char *s = qz_json_string(j, NULL), *space;

	if (qz_json_is(j, QZ_JSON_ARRAY) && qz_json_count(j) == 2) {
		*left = qz_json_string(qz_json_first(j), NULL);
		*right = qz_json_string(qz_json_next(qz_json_first(j)), NULL);
		if (*left && *right) {
			*n_left = strlen(*left);
			*n_right = strlen(*right);
			return 0;
		}
	}
	space = s ? strchr(s, ' ') : NULL;
	if (!space || strchr(space + 1, ' '))
		return qz_fail(e, QZ_EDATA,
		    "expected \"left right\" or [\"left\", \"right\"], found \"%.60s\"",
		    s ? s : qz_json_kind_name(qz_json_kind(j)));
	*left = s;
	*n_left = (size_t)(space - s);
	*right = space + 1;
	*n_right = strlen(*right);
	return 0;
}

/* "<0x0A>": its byte, or -1. */
static int
byte_of_text(const char *s, size_t n)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *hi, *lo;

	if (n != 6 || memcmp(s, "<0x", 3) || s[5] != '>' || !s[3] || !s[4])
		return -1;
	hi = strchr(digits, s[3]);
	lo = strchr(digits, s[4]);
	return hi && lo ? (int)(hi - digits) << 4 | (int)(lo - digits) : -1;
}

struct merge {
	struct qz_vocab_query left, right;
	uint32_t both; /* id */
};

/* A byte's token "<0x0A>". */
static bool
is_fallback(const struct qz_bpe *b, uint32_t id)
{
	size_t n = 0;
	const char *s = qz_vocab_get(b->vocab, id, &n);
	int byte = n == 6 ? byte_of_text(s, n) : -1;

	return byte >= 0 && b->fallback_id[byte] == id;
}

static int
unknown_piece(const struct merge *m, struct qz_err *e)
{
	const struct qz_vocab_query *q = m->left.id == QZ_ID_NONE ? &m->left : &m->right;

	return qz_fail(e, QZ_EDATA, "the piece \"%.*s\" is not in the vocabulary",
	    (int)(q->n < 100 ? q->n : 100), q->s);
}

static void
put_merge(struct qz_bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t both)
{
	if (b->byte_fallback) {
		const struct qz_vocab_entry *l = &b->vocab->entry[left],
					    *r = &b->vocab->entry[right];
		const char *text = b->vocab->blob.data;

		b->merges_bytes |= is_fallback(b, left) || is_fallback(b, right);
		if (b->cuts && bpe_joins_under(text + l->at, l->n, text + r->at, r->n))
			b->cuts = false;
	}
	qz_merges_put(&b->merges, left, right, rank, both);
}

static void
take_ready(struct qz_bpe *b, const struct qz_ready *r)
{
	b->merges = r->merges;
	b->merges_bytes = r->merges_bytes;
	b->cuts &= r->cuts;
}

/* Whether a merge makes exactly this piece. */
static bool
makes(const struct qz_vocab *v, const struct merge *m, uint32_t id)
{
	size_t n;
	const char *s = qz_vocab_get(v, id, &n);

	return s && n == m->left.n + m->right.n && !memcmp(s, m->left.s, m->left.n) &&
	       !memcmp(s + m->left.n, m->right.s, m->right.n);
}

/* What merges 0..n make.  Most vocabularies are in the order of their merges: the piece after the last one,
 * or the last one again, spares the search. */
static int
find_both(const struct qz_bpe *b, struct merge *m, size_t n, uint32_t *last, struct qz_buf *both,
    struct qz_err *e)
{
	struct qz_vocab_query q[BATCH];
	struct merge *asks[BATCH];
	size_t k = 0, at = 0;

	qz_buf_clear(both);
	for (size_t i = 0; i < n; i++) {
		uint32_t id = *last + !makes(b->vocab, &m[i], *last);

		if (makes(b->vocab, &m[i], id)) {
			m[i].both = *last = id;
			continue;
		}
		asks[k++] = &m[i];
		/* bounded: they are in the vocabulary */
		qz_buf_add(both, m[i].left.s, m[i].left.n);
		qz_buf_add(both, m[i].right.s, m[i].right.n);
	}
	if (qz_buf_ok(both, e) < 0)
		return -1;
	for (size_t i = 0; i < k; i++) {
		q[i].s = both->data + at;
		q[i].n = asks[i]->left.n + asks[i]->right.n;
		at += q[i].n;
	}
	qz_vocab_find_many(b->vocab, q, k);
	for (size_t i = 0; i < k; i++)
		asks[i]->both = *last = q[i].id;
	return 0;
}

/* Merges rank to rank + n, whose parts are known: their ids, and those of what they make.  last: of what
 * was made before. */
static int
put_batch(struct qz_bpe *b, struct merge *m, size_t n, uint32_t rank, uint32_t *last,
    struct qz_buf *both, struct qz_err *e)
{
	struct qz_vocab_query q[2 * BATCH];

	for (size_t i = 0; i < n; i++) {
		q[2 * i] = m[i].left;
		q[2 * i + 1] = m[i].right;
	}
	qz_vocab_find_many(b->vocab, q, 2 * n);
	for (size_t i = 0; i < n; i++) {
		m[i].left.id = q[2 * i].id;
		m[i].right.id = q[2 * i + 1].id;
		if (m[i].left.id == QZ_ID_NONE || m[i].right.id == QZ_ID_NONE)
			return unknown_piece(&m[i], e), qz_at(e, "merge %zu", rank + i);
		qz_merges_expect(&b->merges, m[i].left.id, m[i].right.id);
	}
	if (find_both(b, m, n, last, both, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (m[i].both == QZ_ID_NONE) {
			qz_fail(e, QZ_EDATA,
			    "\"%.*s\" and \"%.*s\" merge to what is not in the vocabulary",
			    (int)(m[i].left.n < 100 ? m[i].left.n : 100), m[i].left.s,
			    (int)(m[i].right.n < 100 ? m[i].right.n : 100), m[i].right.s);
			return qz_at(e, "merge %zu", rank + i);
		}
		put_merge(b, m[i].left.id, m[i].right.id, rank + (uint32_t)i, m[i].both);
	}
	return 0;
}

static int
load_merges(struct qz_bpe *b, const struct qz_json *merges, struct qz_err *e)
{
	struct merge m[BATCH];
	struct qz_buf both = { 0 };
	uint32_t rank = 0, last = 0;
	size_t n = 0;
	int ret;

	if (!qz_json_is(merges, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "merges: is %s, not an array",
		    qz_json_kind_name(qz_json_kind(merges)));
	ret = qz_merges_new(
	    &b->merges, qz_json_count(merges), qz_json_count(merges), b->vocab->size, e);
	for (const struct qz_json *c = qz_json_first(merges); c && !ret; c = qz_json_next(c)) {
		ret = merge_parts(c, &m[n].left.s, &m[n].left.n, &m[n].right.s, &m[n].right.n, e);
		if (ret)
			qz_at(e, "merge %zu", rank + n);
		else if (++n == BATCH) {
			ret = put_batch(b, m, n, rank, &last, &both, e);
			rank += (uint32_t)n;
			n = 0;
		}
	}
	if (!ret)
		ret = put_batch(b, m, n, rank, &last, &both, e);
	qz_buf_free(&both);
	return ret;
}

static void
put_char(struct qz_bpe *b, uint32_t c, uint32_t id)
{
	uint32_t i = c * 0x9e3779b9u & b->chars_mask;

	while (b->chars[i])
		i = (i + 1) & b->chars_mask;
	b->chars[i] = (uint64_t)c << 32 | (id + 1);
	if (c < 128)
		b->ascii_id[c] = id;
}

/* Tokens that a single character or byte can start from. */
int
bpe_load_symbols(struct qz_bpe *b, struct qz_err *e)
{
	const struct qz_vocab *v = b->vocab;
	size_t n_chars = 0, n, slots = 256;
	const char *s;
	int len;

	memset(b->byte_id, 0xff, sizeof b->byte_id);
	memset(b->fallback_id, 0xff, sizeof b->fallback_id);
	memset(b->ascii_id, 0xff, sizeof b->ascii_id);
	for (uint32_t id = 0; id < v->size; id++)
		if ((s = qz_vocab_get(v, id, &n)) && n <= 4) {
			qz_utf8_get(s, n, &len);
			n_chars += (size_t)len == n;
		}
	while (slots < 2 * n_chars)
		slots *= 2;
	b->chars = calloc(slots, sizeof *b->chars);
	if (!b->chars)
		return qz_nomem(e, slots * sizeof *b->chars);
	b->chars_mask = (uint32_t)slots - 1;
	for (uint32_t id = 0; id < v->size; id++) {
		int32_t c;
		int byte;

		s = qz_vocab_get(v, id, &n);
		if (!s || n > LONGEST)
			continue;
		byte = byte_of_text(s, n);
		if (byte >= 0)
			b->fallback_id[byte] = id;
		c = qz_utf8_get(s, n, &len);
		if ((size_t)len != n)
			continue;
		put_char(b, (uint32_t)c, id);
		byte = qz_byte_of_char((uint32_t)c);
		if (byte >= 0)
			b->byte_id[byte] = id;
	}
	return 0;
}

/* Members that change what comes out and are not built. */
static int
check_unsupported(const struct qz_json *j, struct qz_err *e)
{
	static const char *const strings[] = { "continuing_subword_prefix", "end_of_word_suffix" };
	double dropout = qz_json_number(qz_json_get(j, "dropout"), 0);

	for (int i = 0; i < 2; i++) {
		const char *s = qz_json_string(qz_json_get(j, strings[i]), "");

		if (*s)
			return qz_fail(e, QZ_EDATA, "%s \"%.40s\" is not supported", strings[i], s);
	}
	if (dropout != 0)
		return qz_fail(e, QZ_EDATA, "dropout %g is not supported", dropout);
	return 0;
}

int
qz_bpe_load(struct qz_bpe *b, const struct qz_vocab *v, const struct qz_json *j,
    const struct qz_ready *ready, struct qz_err *e)
{
	const char *unk = qz_json_string(qz_json_get(j, "unk_token"), NULL);

	b->vocab = v;
	b->byte_fallback = qz_json_bool(qz_json_get(j, "byte_fallback"), false);
	b->fuse_unk = qz_json_bool(qz_json_get(j, "fuse_unk"), false);
	b->ignore_merges = qz_json_bool(qz_json_get(j, "ignore_merges"), false);
	b->unk = QZ_ID_NONE;
	if (check_unsupported(j, e) < 0)
		return -1;
	if (unk) {
		b->unk = qz_vocab_find(v, unk, strlen(unk));
		if (b->unk == QZ_ID_NONE)
			return qz_fail(
			    e, QZ_EDATA, "unk_token \"%.60s\" is not in the vocabulary", unk);
	}
	if (bpe_load_symbols(b, e) < 0)
		return -1;
	b->cuts = b->byte_fallback && bpe_complete(b->fallback_id) && !b->ignore_merges;
	if (!ready)
		return load_merges(b, qz_json_get(j, "merges"), e);
	take_ready(b, ready);
	return 0;
}

int
qz_bpe_load_ready(
    struct qz_bpe *b, const struct qz_vocab *v, const struct qz_ready *r, struct qz_err *e)
{
	b->vocab = v;
	if (bpe_load_symbols(b, e) < 0)
		return -1;
	take_ready(b, r);
	return 0;
}

void
qz_bpe_clear(struct qz_bpe *b)
{
	qz_merges_clear(&b->merges);
	free(b->duo);
	free(b->own_joins);
	free(b->own_whole);
	free(b->chars);
	memset(b, 0, sizeof *b);
}
