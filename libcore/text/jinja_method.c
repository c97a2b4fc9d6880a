/* The methods of strings. */
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

/* split(): at runs of whitespace, or at a separator; at most `most` times when that is not negative. */
static struct qz_jv
split_space(struct qz_jctx *c, struct qz_jstr *str, int64_t most)
{
	struct qz_jv q = qz_jv_seq(c, QZ_J_LIST, 0);
	const char *s = qz_jstr_flat(c, str);
	size_t from = 0, i = 0;
	bool in_word = false;
	int len;

	for (; i < str->n && qz_jspend(c, i % 64 == 0); i += (size_t)len) {
		bool space = qz_jspace((uint32_t)qz_utf8_get(s + i, str->n - i, &len));

		if (!space && !in_word) {
			from = i;
			in_word = true;
			if (most-- == 0) {
				qz_jseq_add(c, q.u.q,
				    qz_jstr_strip(
					c, qz_jstr_part(c, str, from, str->n).u.s, NULL, 2));
				return q;
			}
		} else if (space && in_word) {
			qz_jseq_add(c, q.u.q, qz_jstr_part(c, str, from, i));
			in_word = false;
		}
	}
	if (in_word)
		qz_jseq_add(c, q.u.q, qz_jstr_part(c, str, from, str->n));
	return q;
}

static struct qz_jv
split(struct qz_jctx *c, const struct qz_jcall *call)
{
	int64_t most = qz_jinteger(c, call, call->a[1], -1), hit;
	struct qz_jstr *str = call->self.u.s, *sep;
	struct qz_jv q;
	size_t at = 0;

	if (!qz_jgiven(call->a[0]))
		return split_space(c, str, most);
	sep = qz_jtext(c, call, call->a[0]);
	if (!c->failed && !sep->n)
		return qz_jfail(c, "split at an empty text");
	q = qz_jv_seq(c, QZ_J_LIST, 0);
	while (!c->failed && most-- != 0 && (hit = qz_jstr_find(c, str, sep, at)) >= 0) {
		qz_jseq_add(c, q.u.q, qz_jstr_part(c, str, at, (size_t)hit));
		at = (size_t)hit + sep->n;
		qz_jspend(c, 1);
	}
	qz_jseq_add(c, q.u.q, qz_jstr_part(c, str, at, str->n));
	return q;
}

/* The last offset <= at where sep stands, or -1. */
static int64_t
find_last(struct qz_jctx *c, struct qz_jstr *str, struct qz_jstr *sep, int64_t at)
{
	const char *s = qz_jstr_flat(c, str), *p = qz_jstr_flat(c, sep);

	if (sep->n > str->n)
		return -1;
	if (at > (int64_t)(str->n - sep->n))
		at = (int64_t)(str->n - sep->n);
	for (; at >= 0 && qz_jspend(c, at % 512 == 0); at--)
		if (!memcmp(s + at, p, sep->n))
			return at;
	return -1;
}

static struct qz_jv
rsplit(struct qz_jctx *c, const struct qz_jcall *call)
{
	int64_t most = qz_jinteger(c, call, call->a[1], -1), hit;
	struct qz_jstr *str = call->self.u.s, *sep;
	struct qz_jv back = qz_jv_seq(c, QZ_J_LIST, 0), q = qz_jv_seq(c, QZ_J_LIST, 0);
	size_t end = str->n;

	if (!qz_jgiven(call->a[0]))
		return most < 0 ? split_space(c, str, -1)
				: qz_jfail(c, "rsplit needs a separator here");
	sep = qz_jtext(c, call, call->a[0]);
	if (!c->failed && !sep->n)
		return qz_jfail(c, "split at an empty text");
	while (!c->failed && most-- != 0 &&
	       (hit = find_last(c, str, sep, (int64_t)end - (int64_t)sep->n)) >= 0) {
		qz_jseq_add(c, back.u.q, qz_jstr_part(c, str, (size_t)hit + sep->n, end));
		end = (size_t)hit;
	}
	qz_jseq_add(c, q.u.q, qz_jstr_part(c, str, 0, end));
	for (size_t i = back.u.q->n; i > 0 && !c->failed; i--)
		qz_jseq_add(c, q.u.q, back.u.q->v[i - 1]);
	return q;
}

static struct qz_jv
splitlines(struct qz_jctx *c, const struct qz_jcall *call)
{
	bool keep = qz_jgiven(call->a[0]) && qz_jv_true(call->a[0]);
	struct qz_jstr *str = call->self.u.s;
	const char *s = qz_jstr_flat(c, str);
	struct qz_jv q = qz_jv_seq(c, QZ_J_LIST, 0);
	size_t next, end;

	for (size_t at = 0; at < str->n && qz_jspend(c, 1); at = next) {
		end = qz_jline_end(s, str->n, at, &next);
		qz_jseq_add(c, q.u.q, qz_jstr_part(c, str, at, keep ? next : end));
	}
	return q;
}

static bool
affixed(struct qz_jctx *c, struct qz_jstr *s, struct qz_jstr *affix, bool end)
{
	size_t at = end && s->n >= affix->n ? s->n - affix->n : 0;

	return s->n >= affix->n &&
	       !memcmp(qz_jstr_flat(c, s) + at, qz_jstr_flat(c, affix), affix->n);
}

/* startswith and endswith: one text, or a tuple of them. */
static struct qz_jv
has_affix(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv v = call->a[0];
	bool has = false;

	if (v.kind != QZ_J_TUPLE)
		return qz_jv_bool(
		    affixed(c, call->self.u.s, qz_jtext(c, call, v), call->builtin->arg));
	for (size_t i = 0; i < v.u.q->n && !c->failed; i++)
		has |= affixed(
		    c, call->self.u.s, qz_jtext(c, call, v.u.q->v[i]), call->builtin->arg);
	return qz_jv_bool(has);
}

static struct qz_jv
remove_affix(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *s = call->self.u.s, *affix = qz_jtext(c, call, call->a[0]);
	bool end = call->builtin->arg != 0;

	if (!affixed(c, s, affix, end))
		return call->self;
	return end ? qz_jstr_part(c, s, 0, s->n - affix->n) : qz_jstr_part(c, s, affix->n, s->n);
}

/* A byte offset as Python counts: in characters. */
static int64_t
chars_before(struct qz_jctx *c, struct qz_jstr *s, int64_t at)
{
	return at <= 0 ? at : (int64_t)qz_jstr_chars(c, qz_jstr_part(c, s, 0, (size_t)at).u.s);
}

enum { FIND, RFIND, INDEX, COUNT };

static struct qz_jv
find(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *s = call->self.u.s, *what = qz_jtext(c, call, call->a[0]);
	int64_t skipped = 0, hit, n = 0, at = 0;
	int how = call->builtin->arg;

	if (qz_jgiven(call->a[1]) || qz_jgiven(call->a[2])) { /* within a part of it */
		struct qz_jv part = qz_jinja_slice(
		    c, call->self, call->a[1], call->a[2], qz_jv_none());

		skipped = qz_jgiven(call->a[1]) ? qz_jinteger(c, call, call->a[1], 0) : 0;
		if (skipped < 0)
			skipped += (int64_t)qz_jstr_chars(c, s);
		if (c->failed)
			return part;
		s = part.u.s;
	}
	if (how == COUNT) {
		if (!what->n)
			return qz_jv_int((int64_t)qz_jstr_chars(c, s) + 1);
		for (; qz_jspend(c, 1) && (hit = qz_jstr_find(c, s, what, (size_t)at)) >= 0; n++)
			at = hit + (int64_t)what->n;
		return qz_jv_int(n);
	}
	hit = how == RFIND ? find_last(c, s, what, (int64_t)s->n) : qz_jstr_find(c, s, what, 0);
	if (hit < 0 && how == INDEX)
		return qz_jfail(c, "index: the text is not there");
	return qz_jv_int(hit < 0 ? -1 : chars_before(c, s, hit) + (skipped > 0 ? skipped : 0));
}

/* The part before, the separator and the part behind it. */
static struct qz_jv
partition(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *s = call->self.u.s, *sep = qz_jtext(c, call, call->a[0]);
	bool last = call->builtin->arg != 0;
	struct qz_jv q = qz_jv_seq(c, QZ_J_TUPLE, 3), none = qz_jstr_new(c, "", 0);
	int64_t hit;

	if (!c->failed && !sep->n)
		return qz_jfail(c, "partition at an empty text");
	hit = last ? find_last(c, s, sep, (int64_t)s->n) : qz_jstr_find(c, s, sep, 0);
	if (hit < 0) {
		for (int i = 0; i < 3; i++)
			qz_jseq_add(c, q.u.q, i == (last ? 2 : 0) ? call->self : none);
		return q;
	}
	qz_jseq_add(c, q.u.q, qz_jstr_part(c, s, 0, (size_t)hit));
	qz_jseq_add(c, q.u.q, call->a[0]);
	qz_jseq_add(c, q.u.q, qz_jstr_part(c, s, (size_t)hit + sep->n, s->n));
	return q;
}

static struct qz_jv
join(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->a[0]);
	struct qz_jbuild b = { 0 };

	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		if (i)
			qz_jbuild_str(c, &b, call->self.u.s);
		qz_jbuild_str(c, &b, qz_jtext(c, call, q->v[i]));
	}
	return qz_jbuild_done(c, &b);
}

enum { LEFT, RIGHT, CENTER, ZEROS };

/* ljust, rjust, center and zfill. */
static struct qz_jv
pad(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *s = call->self.u.s;
	int64_t width = qz_jinteger(c, call, call->a[0], 0), n = (int64_t)qz_jstr_chars(c, s), left;
	struct qz_jv fill = qz_jgiven(call->a[1])
				? call->a[1]
				: qz_jstr_new(c, call->builtin->arg == ZEROS ? "0" : " ", 1);
	struct qz_jbuild b = { 0 };
	size_t sign = 0;

	if (!c->failed && width > 100000)
		return qz_jfail(c, "%s to a width of more than 100000", call->builtin->name);
	left = width & 1; /* center puts the odd blank left of a text of even length */
	width = width > n ? width - n : 0;
	left = call->builtin->arg == LEFT     ? 0
	       : call->builtin->arg == CENTER ? width / 2 + (width & left)
					      : width;
	if (call->builtin->arg == ZEROS && s->n)
		sign = strchr("+-", *qz_jstr_flat(c, s)) != NULL;
	if (sign)
		qz_jbuild_part(c, &b, s, 0, 1);
	for (int64_t i = 0; i < left && qz_jspend(c, i % 16 == 0); i++)
		qz_jbuild_str(c, &b, qz_jtext(c, call, fill));
	qz_jbuild_part(c, &b, s, sign, s->n);
	for (int64_t i = left; i < width && qz_jspend(c, i % 16 == 0); i++)
		qz_jbuild_str(c, &b, qz_jtext(c, call, fill));
	return qz_jbuild_done(c, &b);
}

enum { DIGITS, LETTERS, LETTERS_OR_DIGITS, SPACES };

/* isdigit and so on; letters beyond ASCII are those that have a case. */
static struct qz_jv
all_are(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *str = call->self.u.s;
	const char *s = qz_jstr_flat(c, str);
	int how = call->builtin->arg, len;
	bool all = str->n > 0;

	for (size_t i = 0; i < str->n && all; i += (size_t)len) {
		uint32_t ch = (uint32_t)qz_utf8_get(s + i, str->n - i, &len);
		bool digit = ch >= '0' && ch <= '9';
		bool letter = qz_utf8_upper(ch) != ch || qz_utf8_lower(ch) != ch;

		if (ch >= 0x80 && how != SPACES && !letter)
			return qz_jfail(
			    c, "%s of text beyond ASCII is not supported", call->builtin->name);
		all = how == SPACES ? qz_jspace(ch)
				    : (digit && how != LETTERS) || (letter && how != DIGITS);
	}
	return qz_jv_bool(all);
}

static struct qz_jv
unsupported(struct qz_jctx *c, const struct qz_jcall *call)
{
	return qz_jfail(c, "the method %s is not supported", call->builtin->name);
}

const struct qz_jbuiltin qz_jmethods_str[] = {
	{ "strip", 0, "chars", qz_jdo_strip, 3 },
	{ "lstrip", 0, "chars", qz_jdo_strip, 1 },
	{ "rstrip", 0, "chars", qz_jdo_strip, 2 },
	{ "split", 0, "sep maxsplit", split, 0 },
	{ "rsplit", 0, "sep maxsplit", rsplit, 0 },
	{ "splitlines", 0, "keepends", splitlines, 0 },
	{ "startswith", 1, "prefix", has_affix, 0 },
	{ "endswith", 1, "suffix", has_affix, 1 },
	{ "removeprefix", 1, "prefix", remove_affix, 0 },
	{ "removesuffix", 1, "suffix", remove_affix, 1 },
	{ "upper", 0, "", qz_jdo_case, QZ_J_UPPER },
	{ "lower", 0, "", qz_jdo_case, QZ_J_LOWER },
	{ "title", 0, "", qz_jdo_case, QZ_J_TITLE },
	{ "capitalize", 0, "", qz_jdo_case, QZ_J_CAPITALIZE },
	{ "swapcase", 0, "", qz_jdo_case, QZ_J_SWAP },
	{ "replace", 2, "old new count", qz_jdo_replace, 0 },
	{ "find", 1, "sub start end", find, FIND },
	{ "rfind", 1, "sub start end", find, RFIND },
	{ "index", 1, "sub start end", find, INDEX },
	{ "count", 1, "sub start end", find, COUNT },
	{ "partition", 1, "sep", partition, 0 },
	{ "rpartition", 1, "sep", partition, 1 },
	{ "join", 1, "iterable", join, 0 },
	{ "ljust", 1, "width fillchar", pad, LEFT },
	{ "rjust", 1, "width fillchar", pad, RIGHT },
	{ "center", 1, "width fillchar", pad, CENTER },
	{ "zfill", 1, "width", pad, ZEROS },
	{ "isdigit", 0, "", all_are, DIGITS },
	{ "isdecimal", 0, "", all_are, DIGITS },
	{ "isnumeric", 0, "", all_are, DIGITS },
	{ "isalpha", 0, "", all_are, LETTERS },
	{ "isalnum", 0, "", all_are, LETTERS_OR_DIGITS },
	{ "isspace", 0, "", all_are, SPACES },
	{ "format", 0, "*", qz_jinja_braces, 0 },
	{ "format_map", 0, "*", unsupported, 0 },
	{ "encode", 0, "*", unsupported, 0 },
	{ "casefold", 0, "*", unsupported, 0 },
	{ "expandtabs", 0, "*", unsupported, 0 },
	{ "rindex", 0, "*", unsupported, 0 },
	{ "translate", 0, "*", unsupported, 0 },
	{ "maketrans", 0, "*", unsupported, 0 },
	{ "isupper", 0, "*", unsupported, 0 },
	{ "islower", 0, "*", unsupported, 0 },
	{ "istitle", 0, "*", unsupported, 0 },
	{ "isascii", 0, "*", unsupported, 0 },
	{ "isidentifier", 0, "*", unsupported, 0 },
	{ "isprintable", 0, "*", unsupported, 0 },
	{ 0 },
};
