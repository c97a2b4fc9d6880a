/* Equality and order of values, as Python has them. */
#include <string.h>

#include "libcore/text/jinja.h"

/* Values in values; false and failed when there are too many levels. */
bool
qz_jdeeper(struct qz_jctx *c)
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
		same = qz_jdeeper(c) && equal_seq(c, a.u.q, b.u.q);
		c->depth--;
		return same;
	case QZ_J_DICT:
		same = qz_jdeeper(c) && equal_dict(c, a.u.d, b.u.d);
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
		d = qz_jdeeper(c) ? order_seq(c, a.u.q, b.u.q, op) : 0;
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
