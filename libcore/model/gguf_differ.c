#include "libcore/model/gguf_differ.h"

#include <stdlib.h>
#include <string.h>

enum { PAIRS_MAX = 4096 }; /* added tokens that are compared with each other */

static const char *
type_of(const struct qz_json *part)
{
	return qz_json_string(qz_json_get(part, "type"), "");
}

/* The part when it is of one of the types, or the first such of a Sequence; else NULL. */
static const struct qz_json *
find_part(const struct qz_json *part, const char *const *types)
{
	const struct qz_json *list = qz_json_get(part, "normalizers");

	list = list ? list : qz_json_get(part, "pretokenizers");
	for (const struct qz_json *p = qz_json_first(list); p; p = qz_json_next(p)) {
		const struct qz_json *found = find_part(p, types);

		if (found)
			return found;
	}
	for (; *types; types++)
		if (!strcmp(type_of(part), *types))
			return part;
	return NULL;
}

/* llama.cpp puts a space before what follows a special token; Metaspace with "first" does not. */
static void
space_prefix(const struct qz_gguf_vocab *v, struct qz_buf *out)
{
	static const char *const metaspace[] = { "Metaspace", NULL };
	const struct qz_json *p = find_part(qz_json_get(v->tokenizer, "pre_tokenizer"), metaspace);
	const char *scheme = qz_json_string(qz_json_get(p, "prepend_scheme"), "");

	if (!strcmp(v->model, "llama") && v->add_space_prefix != 0 && !strcmp(scheme, "first"))
		qz_buf_str(out,
		    "a space is put before text that follows a special token, here only at the "
		    "start\n");
}

static const char *
content(const struct qz_json *token)
{
	return qz_json_string(qz_json_get(token, "content"), "");
}

/* Do a and b lie over each other in some text, the longer one beginning later? */
static bool
overlap(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	for (size_t i = 1; i < n && m > n; i++)
		if (!strncmp(a + i, b, n - i < m ? n - i : m))
			return true;
	return false;
}

/* The longest special token of the whole text comes first there, here the leftmost. */
static void
order_of_specials(const struct qz_json *added, struct qz_buf *out)
{
	if (qz_json_count(added) > PAIRS_MAX)
		return;
	for (const struct qz_json *a = qz_json_first(added); a; a = qz_json_next(a))
		for (const struct qz_json *b = qz_json_first(added); b; b = qz_json_next(b))
			if (overlap(content(a), content(b))) {
				qz_buf_fmt(out,
				    "where special tokens lie over each other, as %.60s and %.60s "
				    "can, the longest is taken, here the first\n",
				    content(a), content(b));
				return;
			}
}

static void
flags_of_specials(const struct qz_json *added, struct qz_buf *out)
{
	static const char *const flags[] = { "lstrip", "rstrip", "single_word" };

	for (const struct qz_json *t = qz_json_first(added); t; t = qz_json_next(t))
		for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
			if (qz_json_bool(qz_json_get(t, flags[i]), false)) {
				qz_buf_fmt(out, "%s of the token %.60s is not looked at\n",
				    flags[i], content(t));
				return;
			}
}

static void
normalizer(const struct qz_json *tokenizer, struct qz_buf *out)
{
	static const char *const forms[] = { "NFC", "NFD", "NFKC", "NFKD", "Lowercase",
		"StripAccents", "Nmt", NULL };
	const struct qz_json *p = find_part(qz_json_get(tokenizer, "normalizer"), forms);

	if (p)
		qz_buf_fmt(
		    out, "text is taken as it is, here it goes through %s first\n", type_of(p));
}

static int
by_text(const void *a, const void *b)
{
	const struct qz_gguf_text *x = a, *y = b;
	int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);

	return c ? c : (x->n > y->n) - (x->n < y->n);
}

static bool
has(const struct qz_gguf_text *sorted, size_t n, const char *s, size_t len)
{
	const struct qz_gguf_text key = { s, len };

	return bsearch(&key, sorted, n, sizeof key, by_text) != NULL;
}

/* Bytes of the character at s. */
static size_t
step(const char *s, size_t n)
{
	size_t k = 1;

	while (k < n && ((unsigned char)s[k] & 0xc0) == 0x80)
		k++;
	return k;
}

/* A token of which some character is no token itself: there it is found by merging, here that character has
 * become bytes before. */
static void
bytes_first(const struct qz_gguf_vocab *v, const struct qz_gguf_text *sorted, struct qz_buf *out)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct qz_gguf_text *t = &v->tokens[i];

		if (v->types[i] != QZ_TOKEN_NORMAL)
			continue;
		for (size_t at = 0, k; at < t->n; at += k) {
			k = step(t->s + at, t->n - at);
			if (k == t->n || has(sorted, v->n, t->s + at, k))
				continue;
			qz_buf_fmt(out,
			    "pieces like %.*s are found by merging, here %.*s is no token and "
			    "becomes bytes before\n",
			    (int)(t->n < 60 ? t->n : 60), t->s, (int)k, t->s + at);
			return;
		}
	}
}

/* Symbols of bytes that are no tokens: what has them is dropped there. */
static void
missing_bytes(const struct qz_gguf_vocab *v, const struct qz_gguf_text *sorted, struct qz_buf *out)
{
	uint32_t next = 256;
	int missing = 0;

	for (uint32_t b = 0; b < 256; b++) { /* GPT-2's alphabet */
		bool self = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
		uint32_t c = self ? b : next++;
		char s[2] = { (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)) };

		if (c < 128)
			s[0] = (char)c;
		missing += !has(sorted, v->n, s, c < 128 ? 1 : 2);
	}
	if (missing)
		qz_buf_fmt(out,
		    "%d bytes have no token: text with them is dropped without a word\n", missing);
}

void
qz_gguf_differ(const struct qz_gguf_vocab *v, struct qz_buf *out)
{
	const struct qz_json *added = qz_json_get(v->tokenizer, "added_tokens");
	struct qz_gguf_text *sorted;

	if (!v->tokenizer)
		return;
	space_prefix(v, out);
	order_of_specials(added, out);
	flags_of_specials(added, out);
	normalizer(v->tokenizer, out);
	if (v->pre && !strcmp(v->pre, "tekken"))
		qz_buf_str(out, "letters that are not ASCII are split without regard to case\n");
	sorted = calloc(v->n + 1, sizeof *sorted);
	if (!sorted)
		return;
	memcpy(sorted, v->tokens, v->n * sizeof *sorted);
	qsort(sorted, v->n, sizeof *sorted, by_text);
	if (!strcmp(v->model, "llama"))
		bytes_first(v, sorted, out);
	else
		missing_bytes(v, sorted, out);
	free(sorted);
}
