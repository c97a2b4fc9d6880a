/* Filters on single values, and the methods of strings. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

static bool
given(struct qz_jv v)
{
	return v.kind != QZ_J_MISSING && v.kind != QZ_J_NONE;
}

/* The argument as a string; failed when it is of another kind. */
static struct qz_jstr *
text(struct qz_jctx *c, const struct qz_jcall *call, struct qz_jv v)
{
	if (v.kind != QZ_J_STR && !c->failed)
		qz_jfail(c, "%s: a %s, expected a text", call->builtin->name, qz_jv_type(v));
	return v.kind == QZ_J_STR ? v.u.s : &c->no_str;
}

static int64_t
integer(struct qz_jctx *c, const struct qz_jcall *call, struct qz_jv v, int64_t otherwise)
{
	int64_t i = otherwise;

	if (given(v) && !qz_jv_whole(v, &i) && !c->failed)
		qz_jfail(c, "%s: a %s, expected a number", call->builtin->name, qz_jv_type(v));
	return i;
}

/* What the call is about, as text: filters take any value. */
static struct qz_jstr *
self(struct qz_jctx *c, const struct qz_jcall *call)
{
	return qz_jv_str(c, call->self).u.s;
}

static struct qz_jv
to_case(struct qz_jctx *c, const struct qz_jcall *call)
{
	return qz_jstr_case(c, self(c, call), call->builtin->arg);
}

static struct qz_jv
strip(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *chars = given(call->a[0]) ? text(c, call, call->a[0]) : NULL;

	return qz_jstr_strip(c, self(c, call), chars, call->builtin->arg);
}

static struct qz_jv
replace(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv from = qz_jv_str(c, call->a[0]), to = qz_jv_str(c, call->a[1]);

	return qz_jstr_replace(
	    c, self(c, call), from.u.s, to.u.s, integer(c, call, call->a[2], -1));
}

static struct qz_jv
string(struct qz_jctx *c, const struct qz_jcall *call)
{
	return qz_jv_str(c, call->self);
}

static struct qz_jv
otherwise(struct qz_jctx *c, const struct qz_jcall *call)
{
	bool use = call->self.kind == QZ_J_UNDEF ||
		   (given(call->a[1]) && qz_jv_true(call->a[1]) && !qz_jv_true(call->self));

	if (!use)
		return call->self;
	return call->a[0].kind == QZ_J_MISSING ? qz_jstr_new(c, "", 0) : call->a[0];
}

/* Trimmed, without underscores between digits, NUL-terminated; NULL when it is too long for a number. */
static char *
digits(struct qz_jctx *c, struct qz_jstr *s, char out[400])
{
	struct qz_jv trimmed = qz_jstr_strip(c, s, NULL, 3);
	const char *p = qz_jstr_flat(c, trimmed.u.s);
	size_t n = trimmed.u.s->n, m = 0;

	if (n == 0 || n > 399)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		bool between = i > 0 && i + 1 < n && p[i - 1] != '_' && p[i + 1] != '_';

		if (!p[i] || (p[i] == '_' && !between))
			return NULL;
		if (p[i] != '_')
			out[m++] = p[i];
	}
	out[m] = 0;
	return out;
}

static bool
parse_int(struct qz_jctx *c, struct qz_jstr *s, int base, int64_t *v)
{
	char copy[400], *p = digits(c, s, copy), *end, *first;
	long long x;

	if (!p)
		return false;
	first = p + (*p == '+' || *p == '-');
	if (base == 10 ? strspn(first, "0123456789") != strlen(first) : !*first)
		return false;
	if (base != 10 && first[0] == '0' &&
	    strchr(base == 2   ? "bB"
		   : base == 8 ? "oO"
			       : "xX",
		first[1]) &&
	    first[1])
		memmove(first, first + 2, strlen(first + 2) + 1);
	if (!*first || strchr("+- ", *first))
		return false;
	x = strtoll(p, &end, base);
	*v = x;
	if (!*end && (x == INT64_MAX || x == INT64_MIN))
		qz_jfail(c, "a number is too large for 64 bits");
	return !*end;
}

static bool
parse_float(struct qz_jctx *c, struct qz_jstr *s, double *v)
{
	char copy[400], *p = digits(c, s, copy), *end;

	if (!p || strpbrk(p, "xXpP("))
		return false;
	*v = strtod(p, &end);
	return end != p && !*end;
}

static struct qz_jv
to_int(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv fallback = call->a[0].kind == QZ_J_MISSING ? qz_jv_int(0) : call->a[0];
	int64_t base = integer(c, call, call->a[1], 10), i;
	double f;

	if (base != 2 && base != 8 && base != 10 && base != 16)
		return qz_jfail(c, "int: base %lld is not supported", (long long)base);
	if (call->self.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, call->self);
	if (qz_jv_whole(call->self, &i))
		return qz_jv_int(i);
	if (call->self.kind == QZ_J_STR && parse_int(c, call->self.u.s, (int)base, &i))
		return qz_jv_int(i);
	if (!qz_jv_number(call->self, &f) &&
	    (call->self.kind != QZ_J_STR || !parse_float(c, call->self.u.s, &f)))
		return fallback;
	if (!isfinite(f))
		return fallback;
	return fabs(f) < 0x1p63 ? qz_jv_int((int64_t)f)
				: qz_jfail(c, "a number is too large for 64 bits");
}

static struct qz_jv
to_float(struct qz_jctx *c, const struct qz_jcall *call)
{
	double f;

	if (call->self.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, call->self);
	if (qz_jv_number(call->self, &f))
		return qz_jv_float(f);
	if (call->self.kind == QZ_J_STR && parse_float(c, call->self.u.s, &f))
		return qz_jv_float(f);
	return call->a[0].kind == QZ_J_MISSING ? qz_jv_float(0) : call->a[0];
}

static struct qz_jv
absolute(struct qz_jctx *c, const struct qz_jcall *call)
{
	int64_t i;

	if (call->self.kind == QZ_J_FLOAT)
		return qz_jv_float(fabs(call->self.u.f));
	if (call->self.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, call->self);
	if (!qz_jv_whole(call->self, &i) || i == INT64_MIN)
		return qz_jfail(c, "abs of a %s", qz_jv_type(call->self));
	return qz_jv_int(i < 0 ? -i : i);
}

/* round() rounds the exact binary value half to even, which is what printf does. */
static struct qz_jv
rounded(struct qz_jctx *c, const struct qz_jcall *call)
{
	int64_t p = integer(c, call, call->a[0], 0), i;
	char copy[400];
	double f, scale;

	if (call->self.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, call->self);
	if (!qz_jv_number(call->self, &f) || p < 0 || p > 15)
		return qz_jfail(c, "round of a %s to %lld digits is not supported",
		    qz_jv_type(call->self), (long long)p);
	scale = pow(10, (double)p);
	if (given(call->a[1]) && qz_jstr_is(c, call->a[1], "ceil"))
		return qz_jv_float(ceil(f * scale) / scale);
	if (given(call->a[1]) && qz_jstr_is(c, call->a[1], "floor"))
		return qz_jv_float(floor(f * scale) / scale);
	if (given(call->a[1]) && !qz_jstr_is(c, call->a[1], "common"))
		return qz_jfail(c, "round: the method is common, ceil or floor");
	if (qz_jv_whole(call->self, &i))
		return qz_jv_int(i);
	snprintf(copy, sizeof copy, "%.*f", (int)p, f);
	return qz_jv_float(strtod(copy, NULL));
}

static struct qz_jv
format(struct qz_jctx *c, const struct qz_jcall *call)
{
	if (call->n_kw)
		return qz_jfail(c, "format: arguments with names are not supported");
	return qz_jinja_format(c, self(c, call), call->pos, call->n_pos);
}

/* The end of the line that begins at i, and *next, behind its end mark. */
static size_t
line_end(const char *s, size_t n, size_t i, size_t *next)
{
	int len;

	for (; i < n; i += (size_t)len) {
		uint32_t ch = (uint32_t)qz_utf8_get(s + i, n - i, &len);

		if ((ch >= 10 && ch <= 13) || (ch >= 0x1c && ch <= 0x1e) || ch == 0x85 ||
		    ch == 0x2028 || ch == 0x2029) {
			*next = i + (size_t)len + (ch == '\r' && i + 1 < n && s[i + 1] == '\n');
			return i;
		}
	}
	*next = n;
	return n;
}

static struct qz_jv
indent(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv lead = call->a[0];
	bool first = given(call->a[1]) && qz_jv_true(call->a[1]);
	bool blank = given(call->a[2]) && qz_jv_true(call->a[2]);
	struct qz_jbuild b = { 0 };
	struct qz_jstr *str;
	const char *s;
	size_t next, end;

	if (call->self.kind != QZ_J_STR)
		return qz_jfail(c, "indent of a %s", qz_jv_type(call->self));
	str = call->self.u.s;
	s = qz_jstr_flat(c, str);
	if (lead.kind != QZ_J_STR) {
		int64_t width = integer(c, call, lead, 4);

		if (width > 1000)
			return qz_jfail(c, "indent by more than 1000");
		lead = qz_jinja_binary(c, QZ_JT_MUL, qz_jstr_new(c, " ", 1), qz_jv_int(width));
	}
	if (c->failed)
		return lead;
	for (size_t at = 0; qz_jspend(c, 1); at = next) {
		end = line_end(s, str->n, at, &next);
		if (at ? blank || end > at : first)
			qz_jbuild_str(c, &b, lead.u.s);
		qz_jbuild_part(c, &b, str, at, end);
		if (next == end)
			break;
		qz_jbuild_text(
		    c, &b, "\n", 1); /* behind the last newline is one more, empty line */
	}
	return qz_jbuild_done(c, &b);
}

const struct qz_jbuiltin qz_jfilters_text[] = {
	{ "trim", 0, "chars", strip, 3 },
	{ "upper", 0, "", to_case, QZ_J_UPPER },
	{ "lower", 0, "", to_case, QZ_J_LOWER },
	{ "title", 0, "", to_case, QZ_J_TITLE_WORDS },
	{ "capitalize", 0, "", to_case, QZ_J_CAPITALIZE },
	{ "replace", 2, "old new count", replace, 0 },
	{ "string", 0, "", string, 0 },
	{ "safe", 0, "", string, 0 },
	{ "default", 0, "default_value boolean", otherwise, 0 },
	{ "d", 0, "default_value boolean", otherwise, 0 },
	{ "int", 0, "default base", to_int, 0 },
	{ "float", 0, "default", to_float, 0 },
	{ "abs", 0, "", absolute, 0 },
	{ "round", 0, "precision method", rounded, 0 },
	{ "format", 0, "*", format, 0 },
	{ "indent", 0, "width first blank", indent, 0 },
	{ "tojson", 0, "ensure_ascii indent separators sort_keys", qz_jv_dumps, 0 },
	{ 0 },
};

/* ---- methods ---- */

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
	int64_t most = integer(c, call, call->a[1], -1), hit;
	struct qz_jstr *str = call->self.u.s, *sep;
	struct qz_jv q;
	size_t at = 0;

	if (!given(call->a[0]))
		return split_space(c, str, most);
	sep = text(c, call, call->a[0]);
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
	int64_t most = integer(c, call, call->a[1], -1), hit;
	struct qz_jstr *str = call->self.u.s, *sep;
	struct qz_jv back = qz_jv_seq(c, QZ_J_LIST, 0), q = qz_jv_seq(c, QZ_J_LIST, 0);
	size_t end = str->n;

	if (!given(call->a[0]))
		return most < 0 ? split_space(c, str, -1)
				: qz_jfail(c, "rsplit needs a separator here");
	sep = text(c, call, call->a[0]);
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
	bool keep = given(call->a[0]) && qz_jv_true(call->a[0]);
	struct qz_jstr *str = call->self.u.s;
	const char *s = qz_jstr_flat(c, str);
	struct qz_jv q = qz_jv_seq(c, QZ_J_LIST, 0);
	size_t next, end;

	for (size_t at = 0; at < str->n && qz_jspend(c, 1); at = next) {
		end = line_end(s, str->n, at, &next);
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
		return qz_jv_bool(affixed(c, call->self.u.s, text(c, call, v), call->builtin->arg));
	for (size_t i = 0; i < v.u.q->n && !c->failed; i++)
		has |= affixed(c, call->self.u.s, text(c, call, v.u.q->v[i]), call->builtin->arg);
	return qz_jv_bool(has);
}

static struct qz_jv
remove_affix(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *s = call->self.u.s, *affix = text(c, call, call->a[0]);
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
	struct qz_jstr *s = call->self.u.s, *what = text(c, call, call->a[0]);
	int64_t skipped = 0, hit, n = 0, at = 0;
	int how = call->builtin->arg;

	if (given(call->a[1]) || given(call->a[2])) { /* within a part of it */
		struct qz_jv part = qz_jinja_slice(
		    c, call->self, call->a[1], call->a[2], qz_jv_none());

		skipped = given(call->a[1]) ? integer(c, call, call->a[1], 0) : 0;
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
	struct qz_jstr *s = call->self.u.s, *sep = text(c, call, call->a[0]);
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
		qz_jbuild_str(c, &b, text(c, call, q->v[i]));
	}
	return qz_jbuild_done(c, &b);
}

enum { LEFT, RIGHT, CENTER, ZEROS };

/* ljust, rjust, center and zfill. */
static struct qz_jv
pad(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *s = call->self.u.s;
	int64_t width = integer(c, call, call->a[0], 0), n = (int64_t)qz_jstr_chars(c, s), left;
	struct qz_jv fill = given(call->a[1])
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
		qz_jbuild_str(c, &b, text(c, call, fill));
	qz_jbuild_part(c, &b, s, sign, s->n);
	for (int64_t i = left; i < width && qz_jspend(c, i % 16 == 0); i++)
		qz_jbuild_str(c, &b, text(c, call, fill));
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
	{ "strip", 0, "chars", strip, 3 },
	{ "lstrip", 0, "chars", strip, 1 },
	{ "rstrip", 0, "chars", strip, 2 },
	{ "split", 0, "sep maxsplit", split, 0 },
	{ "rsplit", 0, "sep maxsplit", rsplit, 0 },
	{ "splitlines", 0, "keepends", splitlines, 0 },
	{ "startswith", 1, "prefix", has_affix, 0 },
	{ "endswith", 1, "suffix", has_affix, 1 },
	{ "removeprefix", 1, "prefix", remove_affix, 0 },
	{ "removesuffix", 1, "suffix", remove_affix, 1 },
	{ "upper", 0, "", to_case, QZ_J_UPPER },
	{ "lower", 0, "", to_case, QZ_J_LOWER },
	{ "title", 0, "", to_case, QZ_J_TITLE },
	{ "capitalize", 0, "", to_case, QZ_J_CAPITALIZE },
	{ "swapcase", 0, "", to_case, QZ_J_SWAP },
	{ "replace", 2, "old new count", replace, 0 },
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
	{ "format", 0, "*", unsupported, 0 },
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
