/* Filters on sequences. */
#include <string.h>

#include "libcore/text/jinja.h"

bool
qz_jflag(struct qz_jv v)
{
	return qz_jgiven(v) && qz_jv_true(v);
}

/* The part of an item that a path names: "address.city", "0". */
struct qz_jv
qz_jpath(struct qz_jctx *c, struct qz_jv item, const char *s, size_t n)
{
	for (size_t from = 0, to; from <= n && !c->failed; from = to + 1) {
		int64_t index = 0;
		bool digits = true;

		for (to = from; to < n && s[to] != '.'; to++) {
			digits &= s[to] >= '0' && s[to] <= '9' && to - from < 9;
			index = digits ? index * 10 + (s[to] - '0') : 0;
		}
		item = qz_jinja_item(c, item,
		    digits && to > from ? qz_jv_int(index) : qz_jstr_new(c, s + from, to - from));
	}
	return item;
}

struct qz_jv
qz_jattribute(struct qz_jctx *c, struct qz_jv item, struct qz_jv name)
{
	if (!qz_jgiven(name))
		return item;
	if (name.kind != QZ_J_STR)
		return qz_jinja_item(c, item, name);
	return qz_jpath(c, item, qz_jstr_flat(c, name.u.s), name.u.s->n);
}

struct qz_jv
qz_jiterator(struct qz_jctx *c, const char *label)
{
	struct qz_jv q = qz_jv_seq(c, QZ_J_ITER, 0);

	if (!c->failed && label)
		q.u.q->label = label;
	return q;
}

static struct qz_jv
length(struct qz_jctx *c, const struct qz_jcall *call)
{
	size_t n = qz_jv_length(c, call->self);

	return qz_jv_int((int64_t)n);
}

static struct qz_jv
list(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *from = qz_jv_iterate(c, call->self);
	struct qz_jv q = qz_jv_seq(c, QZ_J_LIST, from ? from->n : 0);

	q.from = call->self.from;
	q.message = call->self.message;
	for (size_t i = 0; from && i < from->n && !c->failed; i++)
		qz_jseq_add(c, q.u.q, from->v[i]);
	return q;
}

static struct qz_jv
first(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);

	if (!q || !q->n)
		return qz_jv_undef(c, "an empty sequence", "first", 5);
	return q->v[0];
}

static struct qz_jv
last(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q;

	if (call->self.kind == QZ_J_ITER)
		return qz_jfail(c, "last of a generator: put |list before it");
	q = qz_jv_iterate(c, call->self);
	if (!q || !q->n)
		return qz_jv_undef(c, "an empty sequence", "last", 4);
	return q->v[q->n - 1];
}

static struct qz_jv
join(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv between = call->a[0];
	struct qz_jbuild b = { 0 };

	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		if (i && between.kind != QZ_J_MISSING)
			qz_jbuild_value(c, &b, between);
		qz_jbuild_value(c, &b, qz_jattribute(c, q->v[i], call->a[1]));
	}
	return qz_jbuild_done(c, &b);
}

/* map('filter', arguments...), map(attribute='name', default=...). */
static struct qz_jv
map(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv out = qz_jiterator(c, NULL), name = { .kind = QZ_J_MISSING }, otherwise = name,
		     v;
	const struct qz_jbuiltin *f = NULL;
	const struct qz_jseq *q;

	for (size_t i = 0; i < call->n_kw && !call->n_pos; i++) {
		bool is_default = call->kw[i].name_n == 7 &&
				  !memcmp(call->kw[i].name, "default", 7);

		if (!is_default &&
		    (call->kw[i].name_n != 9 || memcmp(call->kw[i].name, "attribute", 9)))
			return qz_jfail(c, "map does not take '%.*s'", (int)call->kw[i].name_n,
			    call->kw[i].name);
		*(is_default ? &otherwise : &name) = call->kw_values[i];
	}
	if (call->n_pos) {
		if (call->pos[0].kind == QZ_J_STR)
			f = qz_jfilter_find(qz_jstr_flat(c, call->pos[0].u.s), call->pos[0].u.s->n);
		if (!f)
			return qz_jfail(c, "map: there is no such filter");
	} else if (!qz_jgiven(name)) {
		return qz_jfail(c, "map needs a filter or attribute=");
	}
	q = qz_jv_true(call->self) ? qz_jv_iterate(c, call->self) : NULL;
	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		if (f) {
			struct qz_jcall one = { .self = q->v[i],
				.pos = call->pos + 1,
				.n_pos = call->n_pos - 1,
				.kw = call->kw,
				.kw_values = call->kw_values,
				.n_kw = call->n_kw };

			v = qz_jinja_builtin(c, f, &one);
		} else {
			v = qz_jattribute(c, q->v[i], name);
			if (v.kind == QZ_J_UNDEF && qz_jgiven(otherwise))
				v = otherwise;
		}
		qz_jseq_add(c, out.u.q, v);
	}
	return out;
}

enum { REJECT = 1, BY_ATTRIBUTE = 2 };

/* select('test', arguments...) and its three relatives. */
static struct qz_jv
choose(struct qz_jctx *c, const struct qz_jcall *call)
{
	size_t off = call->builtin->arg & BY_ATTRIBUTE ? 1 : 0;
	struct qz_jv out = qz_jiterator(c, NULL), name = { .kind = QZ_J_MISSING };
	const struct qz_jbuiltin *test = NULL;
	const struct qz_jseq *q;

	if (call->n_pos < off)
		return qz_jfail(c, "%s needs the name of an attribute", call->builtin->name);
	if (off)
		name = call->pos[0];
	if (call->n_pos > off) {
		if (call->pos[off].kind == QZ_J_STR)
			test = qz_jtest_find(
			    qz_jstr_flat(c, call->pos[off].u.s), call->pos[off].u.s->n);
		if (!test)
			return qz_jfail(c, "%s: there is no such test", call->builtin->name);
	}
	q = qz_jv_true(call->self) ? qz_jv_iterate(c, call->self) : NULL;
	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		struct qz_jv v = qz_jattribute(c, q->v[i], name);

		if (test) {
			struct qz_jcall one = { .self = v,
				.pos = call->pos + off + 1,
				.n_pos = call->n_pos - off - 1,
				.kw = call->kw,
				.kw_values = call->kw_values,
				.n_kw = call->n_kw };

			v = qz_jinja_builtin(c, test, &one);
		}
		if (qz_jv_true(v) != (call->builtin->arg & REJECT))
			qz_jseq_add(c, out.u.q, q->v[i]);
	}
	return out;
}

struct qz_jv
qz_jparts(struct qz_jctx *c, const struct qz_jdict *d, int which, enum qz_jkind kind)
{
	static const char *const labels[] = { "dict_items", "dict_keys", "dict_values" };
	struct qz_jv q = qz_jv_seq(c, kind, d->n), pair;

	if (c->failed)
		return q;
	if (kind == QZ_J_VIEW)
		q.u.q->label = labels[which];
	for (size_t i = 0; i < d->n && qz_jspend(c, i % 16 == 0); i++) {
		if (which != QZ_J_ITEMS) {
			qz_jseq_add(c, q.u.q, which == QZ_J_KEYS ? d->keys[i] : d->values[i]);
			continue;
		}
		pair = qz_jv_seq(c, QZ_J_TUPLE, 2);
		qz_jseq_add(c, pair.u.q, d->keys[i]);
		qz_jseq_add(c, pair.u.q, d->values[i]);
		qz_jseq_add(c, q.u.q, pair);
	}
	return q;
}

static struct qz_jv
items(struct qz_jctx *c, const struct qz_jcall *call)
{
	if (call->self.kind == QZ_J_UNDEF)
		return qz_jiterator(c, NULL);
	if (call->self.kind != QZ_J_DICT)
		return qz_jfail(c, "items of a %s, expected a mapping", qz_jv_type(call->self));
	return qz_jparts(c, call->self.u.d, QZ_J_ITEMS, QZ_J_ITER);
}

static struct qz_jv
reverse(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv none = qz_jv_none(), out;
	const struct qz_jseq *q;

	if (call->self.kind == QZ_J_STR)
		return qz_jinja_slice(c, call->self, none, none, qz_jv_int(-1));
	q = qz_jv_iterate(c, call->self);
	out = qz_jiterator(c, "list_reverseiterator");
	for (size_t i = q ? q->n : 0; i > 0 && qz_jspend(c, i % 16 == 0); i--)
		qz_jseq_add(c, out.u.q, q->v[i - 1]);
	return out;
}

static struct qz_jv
sum(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv total = qz_jgiven(call->a[1]) ? call->a[1] : qz_jv_int(0);

	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++)
		total = qz_jinja_binary(c, QZ_JT_ADD, total, qz_jattribute(c, q->v[i], call->a[0]));
	return total;
}

const struct qz_jbuiltin qz_jfilters_seq[] = {
	{ "length", 0, "", length, 0 },
	{ "count", 0, "", length, 0 },
	{ "list", 0, "", list, 0 },
	{ "first", 0, "", first, 0 },
	{ "last", 0, "", last, 0 },
	{ "join", 0, "d attribute", join, 0 },
	{ "map", 0, "*", map, 0 },
	{ "select", 0, "*", choose, 0 },
	{ "reject", 0, "*", choose, REJECT },
	{ "selectattr", 0, "*", choose, BY_ATTRIBUTE },
	{ "rejectattr", 0, "*", choose, BY_ATTRIBUTE | REJECT },
	{ "items", 0, "", items, 0 },
	{ "sort", 0, "reverse case_sensitive attribute", qz_jdo_sort, 0 },
	{ "dictsort", 0, "case_sensitive by reverse", qz_jdo_dictsort, 0 },
	{ "unique", 0, "case_sensitive attribute", qz_jdo_unique, 0 },
	{ "reverse", 0, "", reverse, 0 },
	{ "min", 0, "case_sensitive attribute", qz_jdo_extreme, -1 },
	{ "max", 0, "case_sensitive attribute", qz_jdo_extreme, 1 },
	{ "sum", 0, "attribute start", sum, 0 },
	{ 0 },
};
