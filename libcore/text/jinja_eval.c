/* Expressions. */
#include <string.h>

#include "libcore/text/jinja.h"

static struct qz_jv
undef(void)
{
	return (struct qz_jv){ .message = -1 };
}

static struct qz_jv
name(struct qz_jctx *c, const struct qz_jnode *n)
{
	const struct qz_jbuiltin *b = c->t->names[n->id].builtin;
	struct qz_jv v = { .kind = QZ_J_FUNC, .message = -1 };
	int looked = 0;

	for (const struct qz_jscope *s = c->scope; s; s = s->parent)
		for (const struct qz_jvar *x = s->vars; x; x = x->next) {
			if (x->id == n->id && x->v.kind != QZ_J_MISSING)
				return x->v;
			if (++looked % 32 == 0)
				qz_jspend(c, 1);
		}
	if (c->globals[n->id].kind != QZ_J_MISSING)
		return c->globals[n->id];
	if (!b)
		return qz_jv_undef(c, NULL, n->name, n->name_n);
	v.u.fn = qz_jalloc(c, sizeof *v.u.fn);
	if (!v.u.fn)
		return undef();
	*v.u.fn = (struct qz_jbound){ .builtin = b };
	return v;
}

static struct qz_jv
sequence(struct qz_jctx *c, const struct qz_jnode *n, enum qz_jkind kind)
{
	struct qz_jv q = qz_jv_seq(c, kind, 0);

	for (const struct qz_jnode *k = n->list; k && !c->failed; k = k->next)
		qz_jseq_add(c, q.u.q, qz_jinja_eval(c, k));
	return q;
}

static struct qz_jv
dict(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv d = qz_jv_dict(c, 0);

	for (const struct qz_jnode *k = n->list; k && !c->failed; k = k->next) {
		struct qz_jv key = qz_jinja_eval(c, k->a);

		qz_jdict_put(c, d.u.d, key, qz_jinja_eval(c, k->b));
	}
	return d;
}

static struct qz_jv
concat(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jbuild b = { 0 };

	for (const struct qz_jnode *k = n->list; k && !c->failed; k = k->next)
		qz_jbuild_value(c, &b, qz_jinja_eval(c, k));
	return qz_jbuild_done(c, &b);
}

bool
qz_jinja_contains(struct qz_jctx *c, struct qz_jv where, struct qz_jv what)
{
	const struct qz_jseq *q;

	if (where.kind == QZ_J_STR) {
		if (what.kind != QZ_J_STR)
			qz_jfail(c, "a %s cannot be in a string", qz_jv_type(what));
		return !c->failed && qz_jstr_find(c, where.u.s, what.u.s, 0) >= 0;
	}
	if (where.kind == QZ_J_DICT && !qz_jv_hashable(what))
		qz_jfail(c, "a %s cannot be a key", qz_jv_type(what));
	if (where.kind == QZ_J_DICT)
		return !c->failed && qz_jdict_get(c, where.u.d, what) != NULL;
	q = qz_jv_iterate(c, where);
	for (size_t i = 0; q && i < q->n && qz_jspend(c, i % 16 == 0); i++)
		if (qz_jv_equal(c, q->v[i], what))
			return true;
	return false;
}

bool
qz_jinja_holds(struct qz_jctx *c, enum qz_jtok op, struct qz_jv a, struct qz_jv b)
{
	switch (op) {
	case QZ_JT_EQ:
		return qz_jv_equal(c, a, b);
	case QZ_JT_NE:
		return !qz_jv_equal(c, a, b);
	case QZ_JT_GT:
		return qz_jv_order(c, a, b, ">") > 0;
	case QZ_JT_GE:
		return qz_jv_order(c, a, b, ">=") >= 0;
	case QZ_JT_LT:
		return qz_jv_order(c, a, b, "<") < 0;
	case QZ_JT_LE:
		return qz_jv_order(c, a, b, "<=") <= 0;
	case QZ_JT_IN:
		return qz_jinja_contains(c, b, a);
	default:
		return !qz_jinja_contains(c, b, a);
	}
}

/* a < b < c is a < b and b < c. */
static struct qz_jv
compare(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv a = qz_jinja_eval(c, n->a), b;

	for (const struct qz_jnode *k = n->list; k && !c->failed; k = k->next) {
		b = qz_jinja_eval(c, k->a);
		if (c->failed || !qz_jinja_holds(c, k->op, a, b))
			return qz_jv_bool(false);
		a = b;
	}
	return qz_jv_bool(true);
}

static struct qz_jv
conditional(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv v;

	if (qz_jv_true(qz_jinja_eval(c, n->a)))
		return qz_jinja_eval(c, n->b);
	if (n->c)
		return qz_jinja_eval(c, n->c);
	v = qz_jv_undef(c, NULL, "", 0);
	if (v.u.u)
		v.u.u->what = "an inline if without else was not true";
	return v;
}

static struct qz_jv
unary(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv v = qz_jinja_eval(c, n->a);
	int64_t i;

	if (c->failed)
		return undef();
	if (v.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, v);
	if (v.kind == QZ_J_FLOAT)
		return qz_jv_float(n->op == QZ_JT_SUB ? -v.u.f : v.u.f);
	if (!qz_jv_whole(v, &i) || (n->op == QZ_JT_SUB && i == INT64_MIN))
		return qz_jfail(c, "a %s has no sign", qz_jv_type(v));
	return qz_jv_int(n->op == QZ_JT_SUB ? -i : i);
}

static bool
spread(struct qz_jctx *c, const struct qz_jnode *k, struct qz_jv v, struct qz_jseq *pos)
{
	const struct qz_jseq *q;

	if (k->kind == QZ_JE_STARS)
		qz_jfail(c, "**arguments are not supported");
	q = qz_jv_iterate(c, v);
	for (size_t i = 0; q && i < q->n; i++)
		qz_jseq_add(c, pos, q->v[i]);
	return !c->failed;
}

/* Evaluates the arguments in list into call. */
static bool
arguments(struct qz_jctx *c, const struct qz_jnode *list, struct qz_jcall *call)
{
	struct qz_jv pos, kw;
	struct qz_jnode *named = NULL;
	size_t n = 0;

	if (!list)
		return !c->failed;
	pos = qz_jv_seq(c, QZ_J_LIST, 4);
	kw = qz_jv_seq(c, QZ_J_LIST, 0);
	for (const struct qz_jnode *k = list; k; k = k->next)
		n += k->kind == QZ_JE_KEYWORD;
	if (n)
		named = qz_jalloc(c, n * sizeof *named);
	for (const struct qz_jnode *k = list; k && !c->failed; k = k->next) {
		bool wrapped = k->kind == QZ_JE_KEYWORD || k->kind == QZ_JE_STAR ||
			       k->kind == QZ_JE_STARS;
		struct qz_jv v = qz_jinja_eval(c, wrapped ? k->a : k);

		if (!wrapped) {
			qz_jseq_add(c, pos.u.q, v);
		} else if (k->kind != QZ_JE_KEYWORD) {
			spread(c, k, v, pos.u.q);
		} else if (named) {
			named[kw.u.q->n] = *k;
			qz_jseq_add(c, kw.u.q, v);
		}
	}
	if (c->failed)
		return false;
	call->pos = pos.u.q->v;
	call->n_pos = pos.u.q->n;
	call->kw = named;
	call->kw_values = kw.u.q->v;
	call->n_kw = kw.u.q->n;
	return true;
}

/* A filter or test on a value. */
static struct qz_jv
apply(struct qz_jctx *c, const struct qz_jnode *n, struct qz_jv on)
{
	struct qz_jcall call = { .self = on };

	if (!arguments(c, n->list, &call))
		return undef();
	c->line = n->line;
	return qz_jinja_builtin(c, n->builtin, &call);
}

struct qz_jv
qz_jinja_filters(struct qz_jctx *c, const struct qz_jnode *n, struct qz_jv on)
{
	if (!n || c->failed)
		return on;
	return apply(
	    c, n, qz_jinja_filters(c, n->a, on)); /* a chain is at most QZ_J_CHAIN_MAX long */
}

struct qz_jv
qz_jinja_call_node(struct qz_jctx *c, const struct qz_jnode *n, struct qz_jv caller)
{
	struct qz_jcall call = { 0 };
	struct qz_jv f = qz_jinja_eval(c, n->a);

	if (!arguments(c, n->list, &call))
		return undef();
	c->line = n->line;
	return qz_jinja_call(c, f, &call, caller);
}

static struct qz_jv
both(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv a = qz_jinja_eval(c, n->a);

	if (c->failed || qz_jv_true(a) != (n->kind == QZ_JE_AND))
		return a;
	return qz_jinja_eval(c, n->b);
}

static struct qz_jv
slice(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv v = qz_jinja_eval(c, n->a), part[3];
	const struct qz_jnode *nodes[3] = { n->b, n->c, n->d };

	for (int i = 0; i < 3; i++)
		part[i] = nodes[i] ? qz_jinja_eval(c, nodes[i]) : qz_jv_none();
	return qz_jinja_slice(c, v, part[0], part[1], part[2]);
}

static struct qz_jv
evaluate(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv a;

	switch (n->kind) {
	case QZ_JE_CONST:
		return n->value;
	case QZ_JE_NAME:
		return name(c, n);
	case QZ_JE_LIST:
		return sequence(c, n, QZ_J_LIST);
	case QZ_JE_TUPLE:
		return sequence(c, n, QZ_J_TUPLE);
	case QZ_JE_DICT:
		return dict(c, n);
	case QZ_JE_ATTR:
		a = qz_jinja_eval(c, n->a);
		return qz_jinja_attr(c, a, n->name, n->name_n);
	case QZ_JE_ITEM:
		a = qz_jinja_eval(c, n->a);
		return qz_jinja_item(c, a, qz_jinja_eval(c, n->b));
	case QZ_JE_SLICE:
		return slice(c, n);
	case QZ_JE_CALL:
		return qz_jinja_call_node(c, n, (struct qz_jv){ .kind = QZ_J_MISSING });
	case QZ_JE_FILTER:
	case QZ_JE_TEST:
		a = qz_jinja_eval(c, n->a);
		return apply(c, n, a);
	case QZ_JE_UNARY:
		return unary(c, n);
	case QZ_JE_BINARY:
		a = qz_jinja_eval(c, n->a);
		return qz_jinja_binary(c, n->op, a, qz_jinja_eval(c, n->b));
	case QZ_JE_CONCAT:
		return concat(c, n);
	case QZ_JE_COMPARE:
		return compare(c, n);
	case QZ_JE_AND:
	case QZ_JE_OR:
		return both(c, n);
	case QZ_JE_NOT:
		return qz_jv_bool(!qz_jv_true(qz_jinja_eval(c, n->a)));
	case QZ_JE_IF:
		return conditional(c, n);
	default:
		return qz_jfail(c, "not an expression");
	}
}

struct qz_jv
qz_jinja_eval(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv v;

	if (!qz_jspend(c, 1))
		return undef();
	if (c->depth >= QZ_J_EVAL_MAX)
		return qz_jfail(c, "evaluation is nested too deep");
	c->line = n->line;
	c->depth++;
	v = evaluate(c, n);
	c->depth--;
	return c->failed ? undef() : v;
}
