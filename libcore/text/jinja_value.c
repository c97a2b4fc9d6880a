/* Values: making, comparing and showing them as Python does. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

struct qz_jv
qz_jfail(struct qz_jctx *c, const char *fmt, ...)
{
	char what[900];
	va_list ap;

	if (!c->failed) {
		va_start(ap, fmt);
		vsnprintf(what, sizeof what, fmt, ap);
		va_end(ap);
		qz_fail(c->e, QZ_EDATA, "line %d: %s", c->line, what);
	}
	c->failed = true;
	return (struct qz_jv){ .message = -1 };
}

struct qz_jv
qz_jfail_undefined(struct qz_jctx *c, struct qz_jv v)
{
	const struct qz_jundef *u = v.u.u;

	if (!u)
		return qz_jfail(c, "a value is undefined");
	if (u->what)
		return qz_jfail(c, "%s", u->what);
	if (u->object)
		return qz_jfail(c, "%s has no attribute '%.*s'", u->object,
		    (int)(u->n < 200 ? u->n : 200), u->name);
	return qz_jfail(c, "'%.*s' is undefined", (int)(u->n < 200 ? u->n : 200), u->name);
}

bool
qz_jspend(struct qz_jctx *c, uint64_t steps)
{
	c->steps += steps;
	if (c->steps > QZ_J_STEPS_MAX)
		qz_jfail(c, "more than %d steps: does the template end?", QZ_J_STEPS_MAX);
	return !c->failed;
}

void *
qz_jalloc(struct qz_jctx *c, size_t n)
{
	void *p;

	if (c->failed)
		return NULL;
	c->nbytes += n + 16;
	if (n > QZ_J_MEMORY_MAX || c->nbytes > QZ_J_MEMORY_MAX) {
		qz_jfail(c, "the template needs more than %d MiB", QZ_J_MEMORY_MAX >> 20);
		return NULL;
	}
	p = qz_arena_alloc(&c->arena, n);
	if (!p) {
		qz_nomem(c->e, n);
		c->failed = true;
	}
	return p;
}

struct qz_jv
qz_jv_undef(struct qz_jctx *c, const char *object, const char *name, size_t n)
{
	struct qz_jundef *u = qz_jalloc(c, sizeof *u);

	if (u)
		*u = (struct qz_jundef){ .object = object, .name = name, .n = n };
	return (struct qz_jv){ .message = -1, .u.u = u };
}

struct qz_jv
qz_jv_bool(bool b)
{
	return (struct qz_jv){ .kind = QZ_J_BOOL, .message = -1, .u.b = b };
}

struct qz_jv
qz_jv_int(int64_t i)
{
	return (struct qz_jv){ .kind = QZ_J_INT, .message = -1, .u.i = i };
}

struct qz_jv
qz_jv_float(double f)
{
	return (struct qz_jv){ .kind = QZ_J_FLOAT, .message = -1, .u.f = f };
}

struct qz_jv
qz_jv_none(void)
{
	return (struct qz_jv){ .kind = QZ_J_NONE, .message = -1 };
}

struct qz_jv
qz_jv_seq(struct qz_jctx *c, enum qz_jkind kind, size_t cap)
{
	struct qz_jseq *q = qz_jalloc(c, sizeof *q);
	struct qz_jv v = { .kind = kind, .message = -1, .u.q = q };

	if (!q)
		return (struct qz_jv){ .kind = kind, .message = -1, .u.q = &c->no_seq };
	*q = (struct qz_jseq){ .label = kind == QZ_J_ITER ? "generator" : NULL };
	if (cap) {
		q->v = qz_jalloc(c, cap * sizeof *q->v);
		q->cap = q->v ? cap : 0;
	}
	return v;
}

void
qz_jseq_add(struct qz_jctx *c, struct qz_jseq *q, struct qz_jv v)
{
	if (c->failed)
		return;
	if (q->n == q->cap) {
		size_t cap = q->cap ? q->cap * 2 : 8;
		struct qz_jv *more = qz_jalloc(c, cap * sizeof *more);

		if (!more)
			return;
		if (q->n)
			memcpy(more, q->v, q->n * sizeof *more);
		q->v = more;
		q->cap = cap;
	}
	q->v[q->n++] = v;
}

struct qz_jv
qz_jv_dict(struct qz_jctx *c, size_t cap)
{
	struct qz_jdict *d = qz_jalloc(c, sizeof *d);

	if (!d)
		return (struct qz_jv){ .kind = QZ_J_DICT, .message = -1, .u.d = &c->no_dict };
	*d = (struct qz_jdict){ .message = -1 };
	if (cap) {
		d->keys = qz_jalloc(c, cap * sizeof *d->keys);
		d->values = qz_jalloc(c, cap * sizeof *d->values);
		d->cap = d->keys && d->values ? cap : 0;
	}
	return (struct qz_jv){ .kind = QZ_J_DICT, .message = -1, .u.d = d };
}

const struct qz_jv *
qz_jdict_get(struct qz_jctx *c, const struct qz_jdict *d, struct qz_jv key)
{
	if (key.kind == QZ_J_STR)
		return qz_jdict_name(c, d, qz_jstr_flat(c, key.u.s), key.u.s->n);
	qz_jspend(c, d->n / 32);
	for (size_t i = 0; i < d->n && !c->failed; i++)
		if (qz_jv_equal(c, d->keys[i], key))
			return &d->values[i];
	return NULL;
}

const struct qz_jv *
qz_jdict_name(struct qz_jctx *c, const struct qz_jdict *d, const char *s, size_t n)
{
	qz_jspend(c, d->n / 32);
	for (size_t i = 0; i < d->n; i++)
		if (d->keys[i].kind == QZ_J_STR && d->keys[i].u.s->n == n &&
		    !memcmp(qz_jstr_flat(c, d->keys[i].u.s), s, n))
			return &d->values[i];
	return NULL;
}

bool
qz_jv_hashable(struct qz_jv v)
{
	return v.kind != QZ_J_LIST && v.kind != QZ_J_DICT;
}

void
qz_jdict_put(struct qz_jctx *c, struct qz_jdict *d, struct qz_jv key, struct qz_jv v)
{
	const struct qz_jv *have;

	if (!qz_jv_hashable(key)) {
		qz_jfail(c, "a %s cannot be a key", qz_jv_type(key));
		return;
	}
	have = qz_jdict_get(c, d, key);
	if (c->failed)
		return;
	if (have) {
		d->values[have - d->values] = v;
		return;
	}
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 8;
		struct qz_jv *keys = qz_jalloc(c, cap * sizeof *keys);
		struct qz_jv *values = qz_jalloc(c, cap * sizeof *values);

		if (!keys || !values)
			return;
		if (d->n) {
			memcpy(keys, d->keys, d->n * sizeof *keys);
			memcpy(values, d->values, d->n * sizeof *values);
		}
		d->keys = keys;
		d->values = values;
		d->cap = cap;
	}
	d->keys[d->n] = key;
	d->values[d->n++] = v;
}

bool
qz_jv_is_seq(struct qz_jv v)
{
	return v.kind >= QZ_J_LIST && v.kind <= QZ_J_RANGE;
}

const char *
qz_jv_type(struct qz_jv v)
{
	static const char *const names[] = { "Undefined", "NoneType", "bool", "int", "float", "str",
		"list", "tuple", "generator", "dict_view", "range", "dict", "Namespace",
		"LoopContext", "Macro", "function", "missing" };

	return qz_jv_is_seq(v) && v.u.q->label ? v.u.q->label : names[v.kind];
}

bool
qz_jv_true(struct qz_jv v)
{
	switch (v.kind) {
	case QZ_J_UNDEF:
	case QZ_J_NONE:
	case QZ_J_MISSING:
		return false;
	case QZ_J_BOOL:
		return v.u.b;
	case QZ_J_INT:
		return v.u.i != 0;
	case QZ_J_FLOAT:
		return v.u.f != 0;
	case QZ_J_STR:
		return v.u.s->n > 0;
	case QZ_J_LIST:
	case QZ_J_TUPLE:
	case QZ_J_VIEW:
	case QZ_J_RANGE:
		return v.u.q->n > 0;
	case QZ_J_DICT:
		return v.u.d->n > 0;
	default:
		return true;
	}
}

bool
qz_jv_number(struct qz_jv v, double *f)
{
	if (v.kind == QZ_J_FLOAT)
		*f = v.u.f;
	else if (v.kind == QZ_J_INT)
		*f = (double)v.u.i;
	else if (v.kind == QZ_J_BOOL)
		*f = v.u.b;
	else
		return false;
	return true;
}

bool
qz_jv_whole(struct qz_jv v, int64_t *i)
{
	if (v.kind == QZ_J_INT)
		*i = v.u.i;
	else if (v.kind == QZ_J_BOOL)
		*i = v.u.b;
	else
		return false;
	return true;
}

/* Values in values; false and failed when there are too many levels. */
static bool
deeper(struct qz_jctx *c)
{
	if (c->depth >= QZ_J_EVAL_MAX)
		qz_jfail(c, "values are nested too deep");
	c->depth++;
	return qz_jspend(c, 1);
}

static bool
equal_seq(struct qz_jctx *c, const struct qz_jseq *a, const struct qz_jseq *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n && !c->failed; i++)
		if (!qz_jv_equal(c, a->v[i], b->v[i]))
			return false;
	return true;
}

static bool
equal_dict(struct qz_jctx *c, const struct qz_jdict *a, const struct qz_jdict *b)
{
	const struct qz_jv *v;

	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n && !c->failed; i++) {
		v = qz_jdict_get(c, b, a->keys[i]);
		if (!v || !qz_jv_equal(c, a->values[i], *v))
			return false;
	}
	return true;
}

bool
qz_jv_equal(struct qz_jctx *c, struct qz_jv a, struct qz_jv b)
{
	int64_t i, k;
	double x, y;
	bool same;

	if (qz_jv_whole(a, &i) && qz_jv_whole(b, &k))
		return i == k;
	if (qz_jv_number(a, &x) && qz_jv_number(b, &y))
		return x == y;
	if (a.kind != b.kind)
		return false;
	switch (a.kind) {
	case QZ_J_UNDEF:
	case QZ_J_NONE:
		return true;
	case QZ_J_STR:
		qz_jspend(c, a.u.s->n / 4096);
		return a.u.s->n == b.u.s->n &&
		       !memcmp(qz_jstr_flat(c, a.u.s), qz_jstr_flat(c, b.u.s), a.u.s->n);
	case QZ_J_LIST:
	case QZ_J_TUPLE:
	case QZ_J_RANGE:
		same = deeper(c) && equal_seq(c, a.u.q, b.u.q);
		c->depth--;
		return same;
	case QZ_J_DICT:
		same = deeper(c) && equal_dict(c, a.u.d, b.u.d);
		c->depth--;
		return same;
	default:
		return a.u.d == b.u.d;
	}
}

static int
order_text(struct qz_jctx *c, struct qz_jstr *a, struct qz_jstr *b)
{
	size_t n = a->n < b->n ? a->n : b->n; /* the order of UTF-8 is that of code points */
	int d = memcmp(qz_jstr_flat(c, a), qz_jstr_flat(c, b), n);

	return d ? d : (a->n > b->n) - (a->n < b->n);
}

static int
order_seq(struct qz_jctx *c, const struct qz_jseq *a, const struct qz_jseq *b, const char *op)
{
	for (size_t i = 0; i < a->n && i < b->n && !c->failed; i++)
		if (!qz_jv_equal(c, a->v[i], b->v[i]))
			return qz_jv_order(c, a->v[i], b->v[i], op);
	return (a->n > b->n) - (a->n < b->n);
}

int
qz_jv_order(struct qz_jctx *c, struct qz_jv a, struct qz_jv b, const char *op)
{
	int64_t i, k;
	double x, y;
	int d;

	if (qz_jv_whole(a, &i) && qz_jv_whole(b, &k))
		return (i > k) - (i < k);
	if (qz_jv_number(a, &x) && qz_jv_number(b, &y))
		return (x > y) - (x < y);
	if (a.kind == QZ_J_STR && b.kind == QZ_J_STR)
		return order_text(c, a.u.s, b.u.s);
	if (a.kind == b.kind && (a.kind == QZ_J_LIST || a.kind == QZ_J_TUPLE)) {
		d = deeper(c) ? order_seq(c, a.u.q, b.u.q, op) : 0;
		c->depth--;
		return d;
	}
	if (a.kind == QZ_J_UNDEF || b.kind == QZ_J_UNDEF)
		qz_jfail_undefined(c, a.kind == QZ_J_UNDEF ? a : b);
	else
		qz_jfail(
		    c, "'%s' does not work between %s and %s", op, qz_jv_type(a), qz_jv_type(b));
	return 0;
}

static const struct qz_jseq *
chars_of(struct qz_jctx *c, struct qz_jv v)
{
	struct qz_jv q = qz_jv_seq(c, QZ_J_LIST, qz_jstr_chars(c, v.u.s));
	const char *s = qz_jstr_flat(c, v.u.s);
	int len;

	for (size_t at = 0; at < v.u.s->n && qz_jspend(c, 1); at += (size_t)len) {
		if (qz_utf8_get(s + at, v.u.s->n - at, &len) < 0)
			len = 1;
		qz_jseq_add(c, q.u.q, qz_jstr_part(c, v.u.s, at, at + (size_t)len));
	}
	return c->failed ? NULL : q.u.q;
}

const struct qz_jseq *
qz_jv_iterate(struct qz_jctx *c, struct qz_jv v)
{
	struct qz_jv q;

	if (c->failed)
		return NULL;
	switch (v.kind) {
	case QZ_J_LIST:
	case QZ_J_TUPLE:
	case QZ_J_VIEW:
	case QZ_J_RANGE:
		return v.u.q;
	case QZ_J_ITER: /* what is given out is gone */
		q = qz_jv_seq(c, QZ_J_LIST, 0);
		if (c->failed)
			return NULL;
		q.u.q->v = v.u.q->v;
		q.u.q->n = q.u.q->cap = v.u.q->n;
		v.u.q->n = 0;
		return q.u.q;
	case QZ_J_DICT:
		q = qz_jv_seq(c, QZ_J_LIST, 0);
		if (c->failed)
			return NULL;
		q.u.q->v = v.u.d->keys;
		q.u.q->n = q.u.q->cap = v.u.d->n;
		return q.u.q;
	case QZ_J_STR:
		return chars_of(c, v);
	case QZ_J_UNDEF:
		return qz_jv_seq(c, QZ_J_LIST, 0).u.q;
	default:
		qz_jfail(c, "a %s cannot be iterated over", qz_jv_type(v));
		return NULL;
	}
}

size_t
qz_jv_length(struct qz_jctx *c, struct qz_jv v)
{
	if (v.kind == QZ_J_STR)
		return qz_jstr_chars(c, v.u.s);
	if (v.kind == QZ_J_DICT)
		return v.u.d->n;
	if (v.kind == QZ_J_UNDEF)
		return 0;
	if (v.kind == QZ_J_LOOP)
		return v.u.loop->seq->n;
	if (qz_jv_is_seq(v) && v.kind != QZ_J_ITER)
		return v.u.q->n;
	qz_jfail(c, "a %s has no length", qz_jv_type(v));
	return 0;
}

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

	if (!deeper(c)) {
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
