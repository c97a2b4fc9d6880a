/* Strings as runs of bytes that know where they come from. */
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

/* The same origin, and the bytes follow each other in memory. */
static bool
joins(const struct qz_jrun *a, const struct qz_jrun *b)
{
	return a->s + a->n == b->s && a->message == b->message && a->turn == b->turn &&
	       a->from == b->from && a->generated == b->generated;
}

void
qz_jbuild_run(struct qz_jctx *c, struct qz_jbuild *b, struct qz_jrun r)
{
	struct qz_jrun *last = b->n_runs ? &b->runs[b->n_runs - 1] : NULL;

	if (c->failed || (!r.n && (r.from != QZ_J_DATA || r.message < 0)))
		return;
	b->n += r.n;
	if (b->n > QZ_J_TEXT_MAX) {
		qz_jfail(c, "a text of more than %d MiB", QZ_J_TEXT_MAX >> 20);
		return;
	}
	if (last && joins(last, &r)) {
		last->n += r.n;
		return;
	}
	if (b->n_runs == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 4;
		struct qz_jrun *runs = qz_jalloc(c, cap * sizeof *runs);

		if (!runs)
			return;
		if (b->n_runs)
			memcpy(runs, b->runs, b->n_runs * sizeof *runs);
		b->runs = runs;
		b->cap = cap;
	}
	b->runs[b->n_runs++] = r;
}

void
qz_jbuild_str(struct qz_jctx *c, struct qz_jbuild *b, const struct qz_jstr *s)
{
	qz_jspend(c, s->n_runs / 16);
	for (size_t i = 0; i < s->n_runs && !c->failed; i++) {
		struct qz_jrun r = s->runs[i];

		if (r.turn < 0)
			r.turn = c->turn;
		qz_jbuild_run(c, b, r);
	}
}

void
qz_jbuild_part(
    struct qz_jctx *c, struct qz_jbuild *b, const struct qz_jstr *s, size_t from, size_t to)
{
	size_t at = 0;

	qz_jspend(c, s->n_runs / 16);
	for (size_t i = 0; i < s->n_runs && at <= to; at += s->runs[i++].n) {
		struct qz_jrun r = s->runs[i];
		size_t lo = from > at ? from - at : 0, hi = to - at < r.n ? to - at : r.n;

		if (lo > hi || (lo == hi && from < to && r.n))
			continue;
		r.s += lo;
		r.n = hi - lo;
		qz_jbuild_run(c, b, r);
		if (from == to && r.from == QZ_J_DATA && r.message >= 0)
			return; /* one mark of the place is enough */
	}
}

void
qz_jbuild_text(struct qz_jctx *c, struct qz_jbuild *b, const char *s, size_t n)
{
	qz_jbuild_run(c, b, (struct qz_jrun){ .s = s, .n = n, .message = -1, .turn = c->turn });
}

void
qz_jbuild_copy(struct qz_jctx *c, struct qz_jbuild *b, const char *s, size_t n, struct qz_jv like)
{
	char *copy = qz_jalloc(c, n + 1);

	if (!copy)
		return;
	memcpy(copy, s, n);
	qz_jbuild_run(c, b,
	    (struct qz_jrun){
		.s = copy, .n = n, .message = like.message, .turn = c->turn, .from = like.from });
}

struct qz_jv
qz_jbuild_done(struct qz_jctx *c, struct qz_jbuild *b)
{
	struct qz_jstr *s = qz_jalloc(c, sizeof *s);

	if (!s)
		return (struct qz_jv){ .kind = QZ_J_STR, .message = -1, .u.s = &c->no_str };
	*s = (struct qz_jstr){ .n = b->n, .n_runs = b->n_runs, .runs = b->runs };
	return (struct qz_jv){ .kind = QZ_J_STR, .message = -1, .u.s = s };
}

const char *
qz_jstr_flat(struct qz_jctx *c, struct qz_jstr *s)
{
	char *flat;
	size_t at = 0;

	if (!s->n)
		return "";
	for (size_t i = 1; i < s->n_runs; i++)
		at |= s->runs[i - 1].s + s->runs[i - 1].n != s->runs[i].s;
	if (!at)
		return s->runs[0].s;
	flat = qz_jalloc(c, s->n + 1);
	if (!flat || !qz_jspend(c, s->n / 1024)) {
		s->n = 0;
		return "";
	}
	at = 0;
	for (size_t i = 0; i < s->n_runs; at += s->runs[i++].n) {
		memcpy(flat + at, s->runs[i].s, s->runs[i].n);
		s->runs[i].s = flat + at;
	}
	return flat;
}

struct qz_jv
qz_jstr_part(struct qz_jctx *c, const struct qz_jstr *s, size_t from, size_t to)
{
	struct qz_jbuild b = { 0 };

	qz_jbuild_part(c, &b, s, from, to);
	return qz_jbuild_done(c, &b);
}

struct qz_jv
qz_jstr_new(struct qz_jctx *c, const char *s, size_t n)
{
	struct qz_jbuild b = { 0 };

	qz_jbuild_run(c, &b, (struct qz_jrun){ .s = s, .n = n, .message = -1, .turn = -1 });
	return qz_jbuild_done(c, &b);
}

struct qz_jv
qz_jv_copy(struct qz_jctx *c, const void *text, size_t n, struct qz_jv like)
{
	struct qz_jbuild b = { 0 };

	qz_jbuild_copy(c, &b, text, n, like);
	return qz_jbuild_done(c, &b);
}

size_t
qz_jstr_chars(struct qz_jctx *c, const struct qz_jstr *s)
{
	size_t chars = 0;

	qz_jspend(c, s->n / 1024);
	for (size_t i = 0; i < s->n_runs; i++)
		for (size_t k = 0; k < s->runs[i].n; k++)
			chars += (s->runs[i].s[k] & 0xc0) != 0x80;
	return chars;
}

bool
qz_jstr_is(struct qz_jctx *c, struct qz_jv v, const char *s)
{
	return v.kind == QZ_J_STR && v.u.s->n == strlen(s) &&
	       !memcmp(qz_jstr_flat(c, v.u.s), s, v.u.s->n);
}

/* Unicode's White_Space and the separators 1c..1f, as Python's str.isspace. */
bool
qz_jspace(uint32_t c)
{
	return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
	       c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
	       c == 0x202f || c == 0x205f || c == 0x3000;
}

static uint32_t
char_at(const char *s, size_t n, int *len)
{
	int32_t v = qz_utf8_get(s, n, len);

	return v < 0 ? 0xfffd : (uint32_t)v;
}

/* Has chars the character of len bytes at s?  chars NULL: is it whitespace? */
static bool
strips(const char *s, int len, const char *chars, size_t n_chars)
{
	int m;

	if (!chars)
		return qz_jspace(char_at(s, (size_t)len, &m));
	for (size_t i = 0; i < n_chars; i += (size_t)m) {
		char_at(chars + i, n_chars - i, &m);
		if (m == len && !memcmp(chars + i, s, (size_t)len))
			return true;
	}
	return false;
}

struct qz_jv
qz_jstr_strip(struct qz_jctx *c, struct qz_jstr *s, struct qz_jstr *chars, int sides)
{
	const char *p = qz_jstr_flat(c, s), *set = chars ? qz_jstr_flat(c, chars) : NULL;
	size_t from = 0, to = s->n, n_set = chars ? chars->n : 0, back;
	int len;

	while (sides & 1 && from < to) {
		char_at(p + from, to - from, &len);
		if (!qz_jspend(c, n_set / 64) || !strips(p + from, len, set, n_set))
			break;
		from += (size_t)len;
	}
	while (sides & 2 && to > from) {
		for (back = to - 1; back > from && (p[back] & 0xc0) == 0x80;)
			back--;
		if (!qz_jspend(c, n_set / 64) || !strips(p + back, (int)(to - back), set, n_set))
			break;
		to = back;
	}
	return qz_jstr_part(c, s, from, to);
}

int64_t
qz_jstr_find(struct qz_jctx *c, struct qz_jstr *s, struct qz_jstr *needle, size_t at)
{
	const char *p = qz_jstr_flat(c, s), *q = qz_jstr_flat(c, needle), *hit;

	if (needle->n > s->n || at > s->n - needle->n)
		return -1;
	if (!needle->n)
		return (int64_t)at;
	for (size_t i = at; i <= s->n - needle->n; i = (size_t)(hit - p) + 1) {
		hit = memchr(p + i, q[0], s->n - needle->n - i + 1);
		if (!qz_jspend(
			c, (hit ? (size_t)(hit - p) - i : s->n - i) / 1024 + needle->n / 1024))
			return -1;
		if (!hit)
			return -1;
		if (!memcmp(hit, q, needle->n))
			return hit - p;
	}
	return -1;
}

struct qz_jv
qz_jstr_replace(
    struct qz_jctx *c, struct qz_jstr *s, struct qz_jstr *from, struct qz_jstr *to, int64_t count)
{
	struct qz_jbuild b = { 0 };
	const char *p = qz_jstr_flat(c, s);
	size_t at = 0;
	int64_t hit;
	int len;

	if (!from->n) { /* before each character, and at the end */
		for (; count != 0 && !c->failed; count--) {
			qz_jbuild_str(c, &b, to);
			if (at >= s->n)
				return qz_jbuild_done(c, &b);
			char_at(p + at, s->n - at, &len);
			qz_jbuild_part(c, &b, s, at, at + (size_t)len);
			at += (size_t)len;
			qz_jspend(c, 1);
		}
	}
	while (from->n && count-- != 0 && (hit = qz_jstr_find(c, s, from, at)) >= 0) {
		if ((size_t)hit > at)
			qz_jbuild_part(c, &b, s, at, (size_t)hit);
		qz_jbuild_str(c, &b, to);
		at = (size_t)hit + from->n;
		qz_jspend(c, at % 16 == 0);
	}
	if (at < s->n || !b.n_runs)
		qz_jbuild_part(c, &b, s, at, s->n);
	return qz_jbuild_done(c, &b);
}

/* One character in another case; Python writes sharp s in capitals as SS, or Ss at a word's start. */
static size_t
put_case(uint32_t ch, bool upper, bool title, char *out)
{
	if (ch == 0xdf && upper) {
		memcpy(out, title ? "Ss" : "SS", 2);
		return 2;
	}
	return (size_t)qz_utf8_put(upper ? qz_utf8_upper(ch) : qz_utf8_lower(ch), out);
}

static bool
has_case(uint32_t c)
{
	return qz_utf8_upper(c) != c || qz_utf8_lower(c) != c || c == 0xdf;
}

/* Does the next character begin a word?  str.title(): behind one without case; Jinja's |title: behind
 * whitespace and these; str.capitalize(): never. */
static bool
begins(enum qz_jcase how, uint32_t before)
{
	if (how == QZ_J_TITLE_WORDS)
		return before == '-' || before == '(' || before == '{' || before == '[' ||
		       before == '<' || qz_jspace(before);
	return how == QZ_J_TITLE && !has_case(before);
}

struct qz_jv
qz_jstr_case(struct qz_jctx *c, struct qz_jstr *s, enum qz_jcase how)
{
	struct qz_jbuild b = { 0 };
	bool start = true;
	int len;

	qz_jspend(c, s->n / 256);
	for (size_t i = 0; i < s->n_runs && !c->failed; i++) {
		struct qz_jrun r = s->runs[i];
		char *out = qz_jalloc(c, r.n * 2 + 1); /* no simple mapping more than doubles */
		size_t n = 0;

		if (!out)
			break;
		for (size_t k = 0; k < r.n; k += (size_t)len) {
			uint32_t ch = char_at(r.s + k, r.n - k, &len);
			bool upper = how == QZ_J_UPPER ||
				     (how >= QZ_J_CAPITALIZE && how <= QZ_J_TITLE && start) ||
				     (how == QZ_J_SWAP && qz_utf8_lower(ch) == ch);

			n += put_case(
			    ch, upper, how >= QZ_J_CAPITALIZE && how <= QZ_J_TITLE, out + n);
			start = begins(how, ch);
		}
		r.s = out;
		r.n = n;
		qz_jbuild_run(c, &b, r);
	}
	return qz_jbuild_done(c, &b);
}
