/* Values: making them, what they are, walking through them; failure and limits. */
#include <stdarg.h>
#include <stdio.h>
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
