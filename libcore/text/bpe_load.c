/* The tables of a BPE model, from tokenizer.json's "model". */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/bpe.h"

enum { MERGES_MAX = 1 << 24 };

static const char under[] = "\xe2\x96\x81"; /* U+2581, which stands for a space */

static int
alloc_pairs(struct qz_bpe *b, size_t n, struct qz_err *e)
{
	b->shift = 54; /* 1024 slots */
	while (((uint64_t)1 << (64 - b->shift)) < 2 * n)
		b->shift--;
	b->mask = ((uint64_t)1 << (64 - b->shift)) - 1;
	b->pairs = malloc((b->mask + 1) * sizeof *b->pairs);
	if (!b->pairs)
		return qz_nomem(e, (b->mask + 1) * sizeof *b->pairs);
	memset(b->pairs, 0xff, (b->mask + 1) * sizeof *b->pairs);
	return 0;
}

/* A pair that is there twice keeps its later rank. */
static void
put_pair(struct qz_bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
	uint64_t key = (uint64_t)left << 24 | right, i = key * 0x9e3779b97f4a7c15u >> b->shift;

	while (b->pairs[i].key != key && b->pairs[i].key != UINT64_MAX)
		i = (i + 1) & b->mask;
	b->pairs[i] = (struct qz_pair){ key, rank, id };
}

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

static bool
joins_under(const char *left, size_t n, const char *right, size_t n_right)
{
	size_t m = sizeof under - 1;

	return n_right >= m && !memcmp(right, under, m) &&
	       !(n >= m && !memcmp(left + n - m, under, m));
}

static int
load_merge(struct qz_bpe *b, const struct qz_json *j, uint32_t rank, struct qz_err *e)
{
	const char *left = "", *right = "";
	size_t n = 0, m = 0;
	uint32_t l, r, id;
	char *both;

	if (merge_parts(j, &left, &n, &right, &m, e) < 0)
		return -1;
	l = qz_vocab_find(b->vocab, left, n);
	r = qz_vocab_find(b->vocab, right, m);
	if (l == QZ_ID_NONE || r == QZ_ID_NONE)
		return qz_fail(e, QZ_EDATA, "the piece \"%.*s\" is not in the vocabulary",
		    (int)(l == QZ_ID_NONE ? (n < 100 ? n : 100) : (m < 100 ? m : 100)),
		    l == QZ_ID_NONE ? left : right);
	both = malloc(n + m); /* each at most QZ_TOKEN_MAX: they are in the vocabulary */
	if (!both)
		return qz_nomem(e, n + m);
	memcpy(both, left, n);
	memcpy(both + n, right, m);
	id = qz_vocab_find(b->vocab, both, n + m);
	free(both);
	if (id == QZ_ID_NONE)
		return qz_fail(e, QZ_EDATA,
		    "\"%.*s\" and \"%.*s\" merge to what is not in the vocabulary",
		    (int)(n < 100 ? n : 100), left, (int)(m < 100 ? m : 100), right);
	if (joins_under(left, n, right, m))
		b->cuts = false;
	put_pair(b, l, r, rank, id);
	return 0;
}

static int
load_merges(struct qz_bpe *b, const struct qz_json *merges, struct qz_err *e)
{
	size_t n = qz_json_count(merges);
	uint32_t rank = 0;

	if (!qz_json_is(merges, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "merges: is %s, not an array",
		    qz_json_kind_name(qz_json_kind(merges)));
	if (n > MERGES_MAX)
		return qz_fail(e, QZ_EDATA, "%zu merges, at most %d", n, MERGES_MAX);
	if (alloc_pairs(b, n, e) < 0)
		return -1;
	for (const struct qz_json *c = qz_json_first(merges); c; c = qz_json_next(c), rank++)
		if (load_merge(b, c, rank, e) < 0)
			return qz_at(e, "merge %lu", (unsigned long)rank);
	return 0;
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

/* Tokens that a single character or byte can start from. */
static int
load_symbols(struct qz_bpe *b, struct qz_err *e)
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
		if (!s)
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

static bool
complete(const uint32_t id[256])
{
	for (int i = 0; i < 256; i++)
		if (id[i] == QZ_ID_NONE)
			return false;
	return true;
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
qz_bpe_load(struct qz_bpe *b, const struct qz_vocab *v, const struct qz_json *j, struct qz_err *e)
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
	if (load_symbols(b, e) < 0)
		return -1;
	b->cuts = b->byte_fallback && complete(b->fallback_id) && !b->ignore_merges;
	return load_merges(b, qz_json_get(j, "merges"), e);
}

static int
load_raw(struct qz_bpe *b, struct qz_err *e)
{
	const struct qz_vocab *v = b->vocab;
	struct qz_buf bytes = { 0 };
	int len, byte, ret = 0;
	size_t n;

	for (uint32_t id = 0; id < v->size && !ret; id++) {
		const char *s = qz_vocab_get(v, id, &n);

		qz_buf_clear(&bytes);
		for (size_t i = 0; s && i < n; i += (size_t)len) {
			byte = qz_byte_of_char((uint32_t)qz_utf8_get(s + i, n - i, &len));
			if (byte < 0)
				s = NULL; /* no piece is ever written like this */
			else
				qz_buf_chr(&bytes, (char)byte);
		}
		if (s)
			ret = qz_buf_ok(&bytes, e) < 0
				  ? -1
				  : qz_vocab_put(&b->raw, bytes.data, bytes.n, id, QZ_V_MODEL, e);
	}
	qz_buf_free(&bytes);
	return ret;
}

int
qz_bpe_use_bytes(struct qz_bpe *b, struct qz_err *e)
{
	b->bytes = complete(b->byte_id) || (!b->byte_fallback && b->unk == QZ_ID_NONE);
	if (b->bytes && b->ignore_merges && load_raw(b, e) < 0)
		return -1;
	return b->bytes;
}

void
qz_bpe_clear(struct qz_bpe *b)
{
	free(b->pairs);
	free(b->chars);
	qz_vocab_clear(&b->raw);
	memset(b, 0, sizeof *b);
}
