/* Filters on single values. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

bool
qz_jgiven(struct qz_jv v)
{
	return v.kind != QZ_J_MISSING && v.kind != QZ_J_NONE;
}

/* The argument as a string; failed when it is of another kind. */
struct qz_jstr *
qz_jtext(struct qz_jctx *c, const struct qz_jcall *call, struct qz_jv v)
{
	if (v.kind != QZ_J_STR && !c->failed)
		qz_jfail(c, "%s: a %s, expected a text", call->builtin->name, qz_jv_type(v));
	return v.kind == QZ_J_STR ? v.u.s : &c->no_str;
}

int64_t
qz_jinteger(struct qz_jctx *c, const struct qz_jcall *call, struct qz_jv v, int64_t otherwise)
{
	int64_t i = otherwise;

	if (qz_jgiven(v) && !qz_jv_whole(v, &i) && !c->failed)
		qz_jfail(c, "%s: a %s, expected a number", call->builtin->name, qz_jv_type(v));
	return i;
}

/* What the call is about, as text: filters take any value. */
static struct qz_jstr *
self(struct qz_jctx *c, const struct qz_jcall *call)
{
	return qz_jv_str(c, call->self).u.s;
}

struct qz_jv
qz_jdo_case(struct qz_jctx *c, const struct qz_jcall *call)
{
	return qz_jstr_case(c, self(c, call), call->builtin->arg);
}

struct qz_jv
qz_jdo_strip(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *chars = qz_jgiven(call->a[0]) ? qz_jtext(c, call, call->a[0]) : NULL;

	return qz_jstr_strip(c, self(c, call), chars, call->builtin->arg);
}

struct qz_jv
qz_jdo_replace(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv from = qz_jv_str(c, call->a[0]), to = qz_jv_str(c, call->a[1]);

	return qz_jstr_replace(
	    c, self(c, call), from.u.s, to.u.s, qz_jinteger(c, call, call->a[2], -1));
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
		   (qz_jgiven(call->a[1]) && qz_jv_true(call->a[1]) && !qz_jv_true(call->self));

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
	int64_t base = qz_jinteger(c, call, call->a[1], 10), i;
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
	int64_t p = qz_jinteger(c, call, call->a[0], 0), i;
	char copy[400];
	double f, scale;

	if (call->self.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, call->self);
	if (!qz_jv_number(call->self, &f) || p < 0 || p > 15)
		return qz_jfail(c, "round of a %s to %lld digits is not supported",
		    qz_jv_type(call->self), (long long)p);
	scale = pow(10, (double)p);
	if (qz_jgiven(call->a[1]) && qz_jstr_is(c, call->a[1], "ceil"))
		return qz_jv_float(ceil(f * scale) / scale);
	if (qz_jgiven(call->a[1]) && qz_jstr_is(c, call->a[1], "floor"))
		return qz_jv_float(floor(f * scale) / scale);
	if (qz_jgiven(call->a[1]) && !qz_jstr_is(c, call->a[1], "common"))
		return qz_jfail(c, "round: the method is common, ceil or floor");
	if (qz_jv_whole(call->self, &i))
		return qz_jv_int(i);
	snprintf(copy, sizeof copy, "%.*f", (int)p, f);
	return qz_jv_float(strtod(copy, NULL));
}

/* An attribute, which an item of a dict is not. */
static struct qz_jv
attr(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jstr *name = qz_jtext(c, call, call->a[0]);
	const char *s = c->failed ? "" : qz_jstr_flat(c, (struct qz_jstr *)(uintptr_t)name);
	bool unsafe = false;

	if (c->failed)
		return call->self;
	if (call->self.kind == QZ_J_DICT && !qz_jmethod_find(call->self, s, name->n, &unsafe))
		return qz_jv_undef(c, "a dict", s, name->n);
	return qz_jinja_attr(c, call->self, s, name->n);
}

static struct qz_jv
format(struct qz_jctx *c, const struct qz_jcall *call)
{
	if (call->n_kw)
		return qz_jfail(c, "format: arguments with names are not supported");
	return qz_jinja_format(c, self(c, call), call->pos, call->n_pos);
}

/* The end of the line that begins at i, and *next, behind its end mark. */
size_t
qz_jline_end(const char *s, size_t n, size_t i, size_t *next)
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
	bool first = qz_jgiven(call->a[1]) && qz_jv_true(call->a[1]);
	bool blank = qz_jgiven(call->a[2]) && qz_jv_true(call->a[2]);
	struct qz_jbuild b = { 0 };
	struct qz_jstr *str;
	const char *s;
	size_t next, end;

	if (call->self.kind != QZ_J_STR)
		return qz_jfail(c, "indent of a %s", qz_jv_type(call->self));
	str = call->self.u.s;
	s = qz_jstr_flat(c, str);
	if (lead.kind != QZ_J_STR) {
		int64_t width = qz_jinteger(c, call, lead, 4);

		if (width > 1000)
			return qz_jfail(c, "indent by more than 1000");
		lead = qz_jinja_binary(c, QZ_JT_MUL, qz_jstr_new(c, " ", 1), qz_jv_int(width));
	}
	if (c->failed)
		return lead;
	for (size_t at = 0; qz_jspend(c, 1); at = next) {
		end = qz_jline_end(s, str->n, at, &next);
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
	{ "trim", 0, "chars", qz_jdo_strip, 3 },
	{ "upper", 0, "", qz_jdo_case, QZ_J_UPPER },
	{ "lower", 0, "", qz_jdo_case, QZ_J_LOWER },
	{ "title", 0, "", qz_jdo_case, QZ_J_TITLE_WORDS },
	{ "capitalize", 0, "", qz_jdo_case, QZ_J_CAPITALIZE },
	{ "replace", 2, "old new count", qz_jdo_replace, 0 },
	{ "string", 0, "", string, 0 },
	{ "safe", 0, "", string, 0 },
	{ "default", 0, "default_value boolean", otherwise, 0 },
	{ "d", 0, "default_value boolean", otherwise, 0 },
	{ "int", 0, "default base", to_int, 0 },
	{ "float", 0, "default", to_float, 0 },
	{ "abs", 0, "", absolute, 0 },
	{ "round", 0, "precision method", rounded, 0 },
	{ "format", 0, "*", format, 0 },
	{ "attr", 1, "name", attr, 0 },
	{ "indent", 0, "width first blank", indent, 0 },
	{ "tojson", 0, "ensure_ascii indent separators sort_keys", qz_jv_dumps, 0 },
	{ 0 },
};
