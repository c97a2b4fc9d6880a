/* Values as text: str() and repr() of Python. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

/* The shortest digits that read back the same; 1e16 and above, and below 1e-4, with an exponent. */
size_t
qz_jfloat_text(double f, char out[QZ_J_FLOAT_TEXT])
{
	char digits[32], *dot = digits + 1;
	const char *sign = signbit(f) ? "-" : "";
	int p, exp;

	if (isnan(f) || isinf(f))
		return (size_t)snprintf(out, QZ_J_FLOAT_TEXT, "%s",
		    isnan(f) ? "nan"
		    : f < 0  ? "-inf"
			     : "inf");
	for (p = 0; p < 17; p++) {
		snprintf(digits, sizeof digits, "%.*e", p, fabs(f));
		if (strtod(digits, NULL) == fabs(f))
			break;
	}
	exp = atoi(strchr(digits, 'e') + 1);
	memmove(dot, p ? dot + 1 : dot, (size_t)p); /* the digits alone */
	digits[p + 1] = 0;
	if (exp < -4 || exp >= 16)
		return (size_t)snprintf(out, QZ_J_FLOAT_TEXT, "%s%c%s%se%+03d", sign, digits[0],
		    p ? "." : "", digits + 1, exp);
	if (exp < 0)
		return (size_t)snprintf(
		    out, QZ_J_FLOAT_TEXT, "%s0.%.*s%s", sign, -exp - 1, "000", digits);
	if (exp >= p)
		return (size_t)snprintf(
		    out, QZ_J_FLOAT_TEXT, "%s%s%.*s.0", sign, digits, exp - p, "0000000000000000");
	return (size_t)snprintf(
	    out, QZ_J_FLOAT_TEXT, "%s%.*s.%s", sign, exp + 1, digits, digits + exp + 1);
}

static void
repr_text(struct qz_jctx *c, struct qz_jbuild *b, struct qz_jstr *str)
{
	const char *s = qz_jstr_flat(c, str);
	struct qz_buf out = { 0 };
	char quote = memchr(s, '\'', str->n) && !memchr(s, '"', str->n) ? '"' : '\'';
	struct qz_jv like = { .message = -1 };
	int len;

	if (str->n_runs)
		like = (struct qz_jv){ .from = str->runs[0].from, .message = str->runs[0].message };
	qz_buf_chr(&out, quote);
	for (size_t i = 0; i < str->n; i += (size_t)len) {
		static const char named[] = "\\\\\nn\rr\tt";
		int32_t ch = qz_utf8_get(s + i, str->n - i, &len);
		const char *p;

		for (p = named; *p && *p != s[i];)
			p += 2;
		if (*p)
			qz_buf_fmt(&out, "\\%c", p[1]);
		else if (s[i] == quote)
			qz_buf_fmt(&out, "\\%c", quote);
		else if (qz_utf8_printable((uint32_t)ch))
			qz_buf_add(&out, s + i, (size_t)len);
		else
			qz_buf_fmt(&out,
			    ch < 0x100     ? "\\x%02x"
			    : ch < 0x10000 ? "\\u%04x"
					   : "\\U%08x",
			    (unsigned)ch);
	}
	qz_buf_chr(&out, quote);
	if (out.failed)
		qz_jfail(c, "out of memory");
	else
		qz_jbuild_copy(c, b, out.data, out.n, like);
	qz_buf_free(&out);
}

static void
repr_seq(struct qz_jctx *c, struct qz_jbuild *b, struct qz_jv v)
{
	const struct qz_jseq *q = v.u.q;
	char text[100];

	if (v.kind == QZ_J_RANGE) {
		snprintf(text, sizeof text,
		    q->step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
		    (long long)q->start, (long long)q->stop, (long long)q->step);
		qz_jbuild_copy(c, b, text, strlen(text), qz_jv_none());
		return;
	}
	if (v.kind == QZ_J_ITER) {
		qz_jfail(c, "a generator is printed: put |list behind it");
		return;
	}
	if (v.kind == QZ_J_VIEW) {
		qz_jbuild_text(c, b, q->label, strlen(q->label));
		qz_jbuild_text(c, b, "(", 1);
	}
	qz_jbuild_text(c, b, v.kind == QZ_J_TUPLE ? "(" : "[", 1);
	for (size_t i = 0; i < q->n && !c->failed; i++) {
		if (i)
			qz_jbuild_text(c, b, ", ", 2);
		qz_jv_repr(c, b, q->v[i]);
	}
	if (v.kind == QZ_J_TUPLE)
		qz_jbuild_text(c, b, ",)", q->n == 1 ? 2 : 0);
	if (v.kind != QZ_J_TUPLE || q->n != 1)
		qz_jbuild_text(c, b, v.kind == QZ_J_TUPLE ? ")" : "]", 1);
	if (v.kind == QZ_J_VIEW)
		qz_jbuild_text(c, b, ")", 1);
}

static void
repr_dict(struct qz_jctx *c, struct qz_jbuild *b, const struct qz_jdict *d)
{
	qz_jbuild_text(c, b, "{", 1);
	for (size_t i = 0; i < d->n && !c->failed; i++) {
		if (i)
			qz_jbuild_text(c, b, ", ", 2);
		qz_jv_repr(c, b, d->keys[i]);
		qz_jbuild_text(c, b, ": ", 2);
		qz_jv_repr(c, b, d->values[i]);
	}
	qz_jbuild_text(c, b, "}", 1);
}

void
qz_jv_repr(struct qz_jctx *c, struct qz_jbuild *b, struct qz_jv v)
{
	char text[QZ_J_FLOAT_TEXT];
	size_t n;

	if (!qz_jdeeper(c)) {
		c->depth--;
		return;
	}
	switch (v.kind) {
	case QZ_J_NONE:
		qz_jbuild_copy(c, b, "None", 4, v);
		break;
	case QZ_J_BOOL:
		qz_jbuild_copy(c, b, v.u.b ? "True" : "False", v.u.b ? 4 : 5, v);
		break;
	case QZ_J_INT:
		n = (size_t)snprintf(text, sizeof text, "%lld", (long long)v.u.i);
		qz_jbuild_copy(c, b, text, n, v);
		break;
	case QZ_J_FLOAT:
		n = qz_jfloat_text(v.u.f, text);
		qz_jbuild_copy(c, b, text, n, v);
		break;
	case QZ_J_STR:
		repr_text(c, b, v.u.s);
		break;
	case QZ_J_DICT:
		repr_dict(c, b, v.u.d);
		break;
	case QZ_J_UNDEF:
		qz_jbuild_text(c, b, "Undefined", 9);
		break;
	default:
		if (qz_jv_is_seq(v))
			repr_seq(c, b, v);
		else
			qz_jfail(c, "a %s cannot be printed", qz_jv_type(v));
	}
	c->depth--;
}

void
qz_jbuild_value(struct qz_jctx *c, struct qz_jbuild *b, struct qz_jv v)
{
	if (c->failed || v.kind == QZ_J_UNDEF)
		return;
	if (v.kind == QZ_J_STR)
		qz_jbuild_str(c, b, v.u.s);
	else
		qz_jv_repr(c, b, v);
}

struct qz_jv
qz_jv_str(struct qz_jctx *c, struct qz_jv v)
{
	struct qz_jbuild b = { 0 };

	if (v.kind == QZ_J_STR)
		return v;
	qz_jbuild_value(c, &b, v);
	return qz_jbuild_done(c, &b);
}
