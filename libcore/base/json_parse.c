/* JSON text to nodes (RFC 8259), in one pass.  Strings are unescaped where they stand, in a copy. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"
#include "libcore/base/json_node.h"
#include "libcore/base/utf8.h"

enum { DEPTH_MAX = 256, FEW_KEYS = 16 };

struct parser {
	char *text; /* (n), and a NUL */
	size_t n, i;
	struct qz_json *nodes;
	size_t used, cap;
	uint32_t *slots; /* of a large object's keys: index of the node + 1 */
	size_t slots_cap;
	int depth;
	bool nuls, nul; /* \u0000 may be in a string; it was in the last one */
	struct qz_err *e;
};

static int value(struct parser *p);

static int
malformed(struct parser *p)
{
	return qz_fail(p->e, QZ_EDATA, "JSON: not well-formed at byte %zu of %zu", p->i, p->n);
}

static void
blanks(struct parser *p)
{
	const char *s = p->text;

	while (s[p->i] == ' ' || s[p->i] == '\n' || s[p->i] == '\r' || s[p->i] == '\t')
		p->i++;
}

/* One more node; its index, or 0. */
static size_t
new_node(struct parser *p)
{
	if (p->used == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 16 + p->n / 12;
		struct qz_json *v = NULL;

		if (cap <= UINT32_MAX)
			v = p->cap ? realloc(p->nodes, cap * sizeof *v) : qz_big(cap * sizeof *v);
		if (!v) {
			qz_nomem(p->e, cap * sizeof *v);
			return 0;
		}
		p->nodes = v;
		p->cap = cap;
	}
	p->nodes[p->used] = (struct qz_json){ .size = 1 };
	return p->used++;
}

static int
hex4(const char *s)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		char c = s[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* \uXXXX, or two that are a surrogate pair; p->i is at the backslash. */
static int
unicode_escape(struct parser *p, char **out)
{
	const char *s = p->text + p->i;
	size_t left = p->n - p->i;
	int c = left < 6 ? -1 : hex4(s + 2), low;

	if (c < 0)
		return malformed(p);
	if (c == 0 && !p->nuls)
		return qz_fail(p->e, QZ_EDATA, "JSON: a NUL in a string at byte %zu", p->i);
	p->nul |= c == 0;
	if (c < 0xd800 || c > 0xdfff) {
		*out += qz_utf8_put((uint32_t)c, *out);
		p->i += 6;
		return 0;
	}
	low = c < 0xdc00 && left >= 12 && s[6] == '\\' && s[7] == 'u' ? hex4(s + 8) : -1;
	if (low < 0xdc00 || low > 0xdfff)
		return qz_fail(p->e, QZ_EDATA,
		    "JSON: half of a surrogate pair, \\u%.4s, at byte %zu", s + 2, p->i);
	*out += qz_utf8_put(
	    0x10000 + ((uint32_t)(c - 0xd800) << 10 | (uint32_t)(low - 0xdc00)), *out);
	p->i += 12;
	return 0;
}

static int
escape(struct parser *p, char **out)
{
	static const char letters[] = "\"\"\\\\//b\bf\fn\nr\rt\t"; /* letter, character */
	char c = p->text[p->i + 1];

	if (c == 'u')
		return unicode_escape(p, out);
	for (const char *l = letters; *l; l += 2)
		if (*l == c) {
			*(*out)++ = l[1];
			p->i += 2;
			return 0;
		}
	return malformed(p);
}

/* Bytes at s before a quote, a backslash or a control character; the text ends in a NUL. */
static size_t
plain_run(const char *s, size_t left)
{
	const uint64_t ones = ~(uint64_t)0 / 255, high = ones << 7;
	size_t i = 0;

	for (; i + 8 <= left; i += 8) {
		uint64_t v, quote, slash, special;

		memcpy(&v, s + i, 8);
		quote = v ^ ones * '"';
		slash = v ^ ones * '\\';
		/* A byte below 0x20 borrows from its high bit; so does a zero of the others.  A
		 * borrow may reach further bytes: the loop below finds the place. */
		special = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) |
			  ((v - ones * 0x20) & ~v);
		if (special & high)
			break;
	}
	while (i < left && s[i] != '"' && s[i] != '\\' && (unsigned char)s[i] >= 0x20)
		i++;
	return i;
}

/* A string, with p->i at its quote. */
static int
string(struct parser *p, const char **s, uint32_t *n)
{
	char *start = p->text + ++p->i, *out = start;

	for (;;) {
		size_t run = plain_run(p->text + p->i, p->n - p->i);
		unsigned char c;

		if (out != p->text + p->i)
			memmove(out, p->text + p->i, run);
		out += run;
		p->i += run;
		if (p->i == p->n)
			return malformed(p);
		c = (unsigned char)p->text[p->i];
		if (c == '"')
			break;
		if (c < 0x20)
			return c ? qz_fail(p->e, QZ_EDATA,
				       "JSON: a control character in a string at byte %zu", p->i)
				 : qz_fail(
				       p->e, QZ_EDATA, "JSON: a NUL in a string at byte %zu", p->i);
		if (escape(p, &out) < 0)
			return -1;
	}
	p->i++;
	*out = '\0'; /* at the closing quote or before it */
	*s = start;
	*n = (uint32_t)(out - start);
	return 0;
}

static size_t
digits(struct parser *p)
{
	size_t from = p->i;

	while (p->text[p->i] >= '0' && p->text[p->i] <= '9')
		p->i++;
	return p->i - from;
}

static int
number(struct parser *p, size_t at)
{
	size_t start = p->i, n;
	struct qz_json *j = &p->nodes[at];
	double v = 0;

	p->i += p->text[p->i] == '-';
	n = p->text[p->i] == '0' ? (p->i++, 1) : digits(p);
	if (!n)
		return malformed(p);
	if (p->text[p->i] == '.') {
		j->real = true;
		p->i++;
		if (!digits(p))
			return malformed(p);
	}
	if (p->text[p->i] == 'e' || p->text[p->i] == 'E') {
		j->real = true;
		p->i++;
		p->i += p->text[p->i] == '+' || p->text[p->i] == '-';
		if (!digits(p))
			return malformed(p);
	}
	if (j->real || n > 15) {
		v = strtod(p->text + start, NULL);
	} else {
		for (size_t i = p->i - n; i < p->i; i++)
			v = v * 10 + (p->text[i] - '0');
		v = p->text[start] == '-' ? -v : v;
	}
	j->kind = QZ_JSON_NUMBER;
	j->v.number = v;
	return 0;
}

static int
word(struct parser *p, size_t at)
{
	static const struct {
		const char *s;
		size_t n;
		enum qz_json_kind kind;
		bool truth;
	} words[] = { { "null", 4, QZ_JSON_NULL, false }, { "true", 4, QZ_JSON_BOOL, true },
		{ "false", 5, QZ_JSON_BOOL, false } };

	for (int w = 0; w < 3; w++)
		if (p->n - p->i >= words[w].n && !memcmp(p->text + p->i, words[w].s, words[w].n)) {
			p->nodes[at].kind = (uint8_t)words[w].kind;
			p->nodes[at].v.truth = words[w].truth;
			p->i += words[w].n;
			return 0;
		}
	return malformed(p);
}

static bool
same_key(const struct qz_json *a, const struct qz_json *b)
{
	return a->key_n == b->key_n && !memcmp(a->key, b->key, a->key_n);
}

static int
twice(struct parser *p, const struct qz_json *j)
{
	return qz_fail(p->e, QZ_EDATA, "JSON: the key \"%.200s\" is there twice", j->key);
}

/* Of an object with many keys, by a table of hashes. */
static int
check_many(struct parser *p, const struct qz_json *object)
{
	size_t n = 64;

	while (n < 2 * (size_t)object->n)
		n *= 2;
	if (n > p->slots_cap) {
		free(p->slots);
		p->slots = qz_big(n * sizeof *p->slots);
		p->slots_cap = p->slots ? n : 0;
		if (!p->slots)
			return qz_nomem(p->e, n * sizeof *p->slots);
	}
	memset(p->slots, 0, n * sizeof *p->slots);
	for (const struct qz_json *c = qz_json_first(object); c; c = qz_json_next(c)) {
		size_t i = qz_hash64(c->key, c->key_n) & (n - 1);

		for (; p->slots[i]; i = (i + 1) & (n - 1))
			if (same_key(c, &object[p->slots[i]]))
				return twice(p, c);
		p->slots[i] = (uint32_t)(c - object);
	}
	return 0;
}

static int
check_keys(struct parser *p, const struct qz_json *object)
{
	if (object->n > FEW_KEYS)
		return check_many(p, object);
	for (const struct qz_json *c = qz_json_first(object); c; c = qz_json_next(c))
		for (const struct qz_json *d = qz_json_first(object); d != c; d = qz_json_next(d))
			if (same_key(c, d))
				return twice(p, c);
	return 0;
}

static int
key(struct parser *p, const char **s, uint32_t *n)
{
	if (p->text[p->i] != '"')
		return malformed(p);
	p->nul = false;
	if (string(p, s, n) < 0)
		return -1;
	if (p->nul)
		return qz_fail(p->e, QZ_EDATA, "JSON: a NUL in a key before byte %zu", p->i);
	blanks(p);
	if (p->text[p->i] != ':')
		return malformed(p);
	p->i++;
	blanks(p);
	return 0;
}

/* An array or an object, with p->i at its bracket and its node at `at`. */
static int
container(struct parser *p, size_t at, enum qz_json_kind kind, char close)
{
	const char *name = NULL;
	uint32_t n = 0, name_n = 0;
	size_t child = 0;

	if (++p->depth > DEPTH_MAX)
		return qz_fail(
		    p->e, QZ_EDATA, "JSON: nested deeper than %d at byte %zu", DEPTH_MAX, p->i);
	p->i++;
	blanks(p);
	while (n || p->text[p->i] != close) {
		if (kind == QZ_JSON_OBJECT && key(p, &name, &name_n) < 0)
			return -1;
		child = p->used;
		if (value(p) < 0)
			return -1;
		p->nodes[child].key = name;
		p->nodes[child].key_n = name_n;
		p->nodes[child].more = true;
		n++;
		blanks(p);
		if (p->text[p->i] != ',')
			break;
		p->i++;
		blanks(p);
	}
	if (p->text[p->i] != close)
		return malformed(p);
	p->i++;
	if (n)
		p->nodes[child].more = false;
	p->nodes[at].kind = (uint8_t)kind;
	p->nodes[at].n = n;
	p->nodes[at].size = (uint32_t)(p->used - at);
	p->depth--;
	return kind == QZ_JSON_OBJECT ? check_keys(p, &p->nodes[at]) : 0;
}

static int
string_value(struct parser *p, size_t at)
{
	struct qz_json *j = &p->nodes[at]; /* nodes do not move while a string is read */

	p->nul = false;
	if (string(p, &j->v.string, &j->n) < 0)
		return -1;
	j->kind = p->nul ? QZ_JSON_NULL : QZ_JSON_STRING;
	j->n = p->nul ? 0 : j->n;
	return 0;
}

static int
value(struct parser *p)
{
	size_t at = new_node(p);

	if (!at)
		return -1;
	switch (p->text[p->i]) {
	case '{':
		return container(p, at, QZ_JSON_OBJECT, '}');
	case '[':
		return container(p, at, QZ_JSON_ARRAY, ']');
	case '"':
		return string_value(p, at);
	case '-':
	case '0' ... '9':
		return number(p, at);
	default:
		return word(p, at);
	}
}

static int
document(struct parser *p)
{
	static const char bom[] = "\xef\xbb\xbf";

	new_node(p); /* the document's own: index 0, which new_node() cannot tell from no memory */
	if (!p->used)
		return -1;
	if (p->n >= 3 && !memcmp(p->text, bom, 3))
		p->i = 3;
	blanks(p);
	if (value(p) < 0)
		return -1;
	blanks(p);
	return p->i < p->n ? malformed(p) : 0;
}

static struct qz_json *
parse(const char *text, size_t n, bool nuls, struct qz_err *e)
{
	struct parser p = { .n = n, .nuls = nuls, .e = e };
	size_t bad = qz_utf8_valid(text, n);
	int ret = 0;

	if (bad < n) {
		qz_fail(e, QZ_EDATA, "JSON: byte %zu is not valid UTF-8", bad);
		return NULL;
	}
	if (n >= UINT32_MAX) {
		qz_fail(e, QZ_EDATA, "JSON: %zu bytes, at most 4 GiB", n);
		return NULL;
	}
	p.text = qz_big(n + 1);
	if (!p.text) {
		qz_nomem(e, n + 1);
		return NULL;
	}
	memcpy(p.text, text, n);
	p.text[n] = '\0';
	ret = document(&p);
	free(p.slots);
	if (ret < 0) {
		free(p.text);
		free(p.nodes);
		return NULL;
	}
	p.nodes[0].v.text = p.text;
	return &p.nodes[1];
}

struct qz_json *
qz_json_parse(const char *text, size_t n, struct qz_err *e)
{
	return parse(text, n, false, e);
}

struct qz_json *
qz_json_parse_nuls(const char *text, size_t n, struct qz_err *e)
{
	return parse(text, n, true, e);
}

void
qz_json_free(struct qz_json *root)
{
	if (!root)
		return;
	free(root[-1].v.text);
	free(root - 1);
}
