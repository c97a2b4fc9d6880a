/* Arithmetic as Python's, on 64-bit integers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/text/jinja.h"

static struct qz_jv
too_large(struct qz_jctx *c)
{
	return qz_jfail(c, "a number is too large for 64 bits");
}

/* x to the power y >= 0. */
static struct qz_jv
power(struct qz_jctx *c, int64_t x, int64_t y)
{
	int64_t v = 1;

	for (; y > 0; y--) {
		if (__builtin_mul_overflow(v, x, &v) || !qz_jspend(c, 1))
			return too_large(c);
		if (x == 0 || x == 1 || (x == -1 && y > 2))
			y -= (y - 1) & ~(int64_t)1; /* it repeats itself */
	}
	return qz_jv_int(v);
}

static struct qz_jv
whole(struct qz_jctx *c, enum qz_jtok op, int64_t x, int64_t y)
{
	int64_t v = 0;
	bool over = false;

	if ((op == QZ_JT_FLOORDIV || op == QZ_JT_MOD) && (y == 0 || (x == INT64_MIN && y == -1)))
		return y ? too_large(c) : qz_jfail(c, "division by zero");
	switch (op) {
	case QZ_JT_ADD:
		over = __builtin_add_overflow(x, y, &v);
		break;
	case QZ_JT_SUB:
		over = __builtin_sub_overflow(x, y, &v);
		break;
	case QZ_JT_MUL:
		over = __builtin_mul_overflow(x, y, &v);
		break;
	case QZ_JT_FLOORDIV:
		v = x / y - (x % y != 0 && (x < 0) != (y < 0));
		break;
	default: /* the remainder has the divisor's sign */
		v = x % y;
		v += v != 0 && (v < 0) != (y < 0) ? y : 0;
	}
	return over ? too_large(c) : qz_jv_int(v);
}

static struct qz_jv
real(struct qz_jctx *c, enum qz_jtok op, double x, double y)
{
	double m;

	switch (op) {
	case QZ_JT_ADD:
		return qz_jv_float(x + y);
	case QZ_JT_SUB:
		return qz_jv_float(x - y);
	case QZ_JT_MUL:
		return qz_jv_float(x * y);
	case QZ_JT_POW:
		if ((x == 0 && y < 0) || (x < 0 && y != floor(y)))
			return qz_jfail(c, "a power that is no real number");
		return qz_jv_float(pow(x, y));
	default:
		break;
	}
	if (y == 0)
		return qz_jfail(c, "division by zero");
	if (op == QZ_JT_DIV)
		return qz_jv_float(x / y);
	m = fmod(x, y);
	if (m != 0 && (m < 0) != (y < 0))
		m += y;
	return qz_jv_float(
	    op == QZ_JT_MOD ? (m == 0 ? copysign(0, y) : m) : floor((x - m) / y + 0.5));
}

/* A string or list n times. */
static struct qz_jv
repeat(struct qz_jctx *c, struct qz_jv v, int64_t n)
{
	struct qz_jbuild b = { 0 };
	struct qz_jv q;

	if (v.kind == QZ_J_STR && v.u.s->n_runs == 1 && n > 1 &&
	    n < QZ_J_TEXT_MAX) { /* one run stays one */
		struct qz_jrun r = v.u.s->runs[0];
		uint64_t all = (uint64_t)r.n * (uint64_t)n;
		char *copy = all <= QZ_J_TEXT_MAX && qz_jspend(c, all / 1024)
				 ? qz_jalloc(c, all + 1)
				 : NULL;

		for (uint64_t at = 0; copy && at < all; at += r.n)
			memcpy(copy + at, r.s, r.n);
		if (copy) {
			r.s = copy;
			r.n = all;
			qz_jbuild_run(c, &b, r);
			return qz_jbuild_done(c, &b);
		}
	}
	if (v.kind == QZ_J_STR) {
		for (; n > 0 && v.u.s->n && qz_jspend(c, 1); n--)
			qz_jbuild_str(c, &b, v.u.s);
		return qz_jbuild_done(c, &b);
	}
	q = qz_jv_seq(c, v.kind, 0);
	for (; n > 0 && v.u.q->n && !c->failed; n--)
		for (size_t i = 0; i < v.u.q->n && qz_jspend(c, 1); i++)
			qz_jseq_add(c, q.u.q, v.u.q->v[i]);
	return q;
}

static struct qz_jv
join(struct qz_jctx *c, struct qz_jv a, struct qz_jv b)
{
	struct qz_jbuild out = { 0 };
	struct qz_jv q;

	if (a.kind == QZ_J_STR) {
		qz_jbuild_str(c, &out, a.u.s);
		qz_jbuild_str(c, &out, b.u.s);
		return qz_jbuild_done(c, &out);
	}
	q = qz_jv_seq(c, a.kind, a.u.q->n + b.u.q->n);
	qz_jspend(c, (a.u.q->n + b.u.q->n) / 16);
	for (size_t i = 0; i < a.u.q->n && !c->failed; i++)
		qz_jseq_add(c, q.u.q, a.u.q->v[i]);
	for (size_t i = 0; i < b.u.q->n && !c->failed; i++)
		qz_jseq_add(c, q.u.q, b.u.q->v[i]);
	return q;
}

static bool
repeats(struct qz_jv v)
{
	return v.kind == QZ_J_STR || v.kind == QZ_J_LIST || v.kind == QZ_J_TUPLE;
}

static struct qz_jv
binary(struct qz_jctx *c, enum qz_jtok op, struct qz_jv a, struct qz_jv b)
{
	int64_t i, k;
	double x, y;

	if (op == QZ_JT_MOD && a.kind == QZ_J_STR) {
		if (b.kind == QZ_J_TUPLE)
			return qz_jinja_format(c, a.u.s, b.u.q->v, b.u.q->n);
		return qz_jinja_format(c, a.u.s, &b, 1);
	}
	if (a.kind == QZ_J_UNDEF || b.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, a.kind == QZ_J_UNDEF ? a : b);
	if (qz_jv_whole(a, &i) && qz_jv_whole(b, &k) && op != QZ_JT_DIV) {
		if (op != QZ_JT_POW)
			return whole(c, op, i, k);
		if (k >= 0)
			return power(c, i, k);
	}
	if (qz_jv_number(a, &x) && qz_jv_number(b, &y))
		return real(c, op, x, y);
	if (op == QZ_JT_ADD && a.kind == b.kind && repeats(a))
		return join(c, a, b);
	if (op == QZ_JT_MUL && repeats(a) && qz_jv_whole(b, &k))
		return repeat(c, a, k);
	if (op == QZ_JT_MUL && repeats(b) && qz_jv_whole(a, &k))
		return repeat(c, b, k);
	return qz_jfail(c, "'%s' does not work between %s and %s", qz_jtok_name(op), qz_jv_type(a),
	    qz_jv_type(b));
}

struct qz_jv
qz_jinja_binary(struct qz_jctx *c, enum qz_jtok op, struct qz_jv a, struct qz_jv b)
{
	return c->failed ? (struct qz_jv){ .message = -1 } : binary(c, op, a, b);
}
