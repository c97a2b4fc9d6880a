/* Statements, scopes, macros and calls. */
#include <string.h>

#include "libcore/text/jinja.h"

enum flow { NEXT, BREAK, CONTINUE };

static enum flow run(struct qz_jctx *c, const struct qz_jnode *list);

/* Begins a scope; the one before it.  It is never given back: a macro may hold on to it. */
static struct qz_jscope *
enter(struct qz_jctx *c, struct qz_jscope *parent)
{
	struct qz_jscope *before = c->scope, *s = qz_jalloc(c, sizeof *s);

	if (s) {
		s->parent = parent;
		c->scope = s;
	}
	return before;
}

static void
set(struct qz_jctx *c, uint32_t id, struct qz_jv v)
{
	struct qz_jvar *x;

	if (c->failed)
		return;
	if (!c->scope) {
		c->globals[id] = v;
		return;
	}
	for (x = c->scope->vars; x; x = x->next)
		if (x->id == id) {
			x->v = v;
			return;
		}
	x = qz_jalloc(c, sizeof *x);
	if (!x)
		return;
	*x = (struct qz_jvar){ .id = id, .v = v, .next = c->scope->vars };
	c->scope->vars = x;
}

static void
assign(struct qz_jctx *c, const struct qz_jnode *target, struct qz_jv v)
{
	const struct qz_jseq *q;
	struct qz_jv space, key;
	size_t i = 0;

	if (c->failed)
		return;
	c->line = target->line;
	if (target->kind == QZ_JE_NAME) {
		set(c, target->id, v);
		return;
	}
	if (target->kind == QZ_JE_TUPLE) {
		q = qz_jv_iterate(c, v);
		for (const struct qz_jnode *k = target->list; k && q; k = k->next, i++)
			if (i < q->n)
				assign(c, k, q->v[i]);
		if (q && i != q->n)
			qz_jfail(c, "%zu values for %zu names", q->n, i);
		return;
	}
	space = qz_jinja_eval(c, &(struct qz_jnode){ .kind = QZ_JE_NAME,
				     .line = target->line,
				     .id = target->id,
				     .name = target->name,
				     .name_n = target->name_n });
	if (c->failed)
		return;
	if (space.kind != QZ_J_SPACE) {
		qz_jfail(c, "cannot set an attribute of '%.*s': it is no namespace",
		    (int)target->name_n, target->name);
		return;
	}
	key = qz_jstr_new(c, target->b->name, target->b->name_n);
	qz_jdict_put(c, space.u.d, key, v);
}

struct qz_jv
qz_jinja_capture(struct qz_jctx *c, const struct qz_jnode *list)
{
	struct qz_jbuild out = { 0 }, *outer = c->out;
	struct qz_jscope *before = enter(c, c->scope);

	c->out = &out;
	run(c, list);
	c->out = outer;
	c->scope = before;
	return qz_jbuild_done(c, &out);
}

static void
print(struct qz_jctx *c, struct qz_jv v)
{
	struct qz_jv s = qz_jv_str(c, v);

	qz_jspend(c, s.u.s->n_runs / 16);
	for (size_t i = 0; i < s.u.s->n_runs && !c->failed; i++) {
		struct qz_jrun r = s.u.s->runs[i];

		if (c->turn >= 0 || r.turn < 0)
			r.turn = c->turn;
		r.generated |= c->generated;
		qz_jbuild_run(c, c->out, r);
	}
}

/* A pass over a message begins; the one before it, for leave_turn. */
static int32_t
enter_turn(struct qz_jctx *c, struct qz_jv item)
{
	int32_t before = c->turn;

	if (item.kind != QZ_J_DICT || item.u.d->message < 0)
		return before;
	if (c->n_turns == c->cap_turns) {
		size_t cap = c->cap_turns ? c->cap_turns * 2 : 64;
		int32_t *more = qz_jalloc(c, cap * sizeof *more);

		if (!more)
			return before;
		if (c->n_turns)
			memcpy(more, c->turn_of, c->n_turns * sizeof *more);
		c->turn_of = more;
		c->cap_turns = cap;
	}
	c->turn = (int32_t)c->n_turns;
	c->turn_of[c->n_turns++] = item.u.d->message;
	return before;
}

/* The items for which the loop's condition holds. */
static const struct qz_jseq *
chosen(struct qz_jctx *c, const struct qz_jnode *n, const struct qz_jseq *all)
{
	struct qz_jv q = qz_jv_seq(c, QZ_J_LIST, 0);
	struct qz_jscope *before;

	for (size_t i = 0; i < all->n && qz_jspend(c, 1); i++) {
		before = enter(c, c->scope);
		assign(c, n->a, all->v[i]);
		if (qz_jv_true(qz_jinja_eval(c, n->c)) && !c->failed)
			qz_jseq_add(c, q.u.q, all->v[i]);
		c->scope = before;
	}
	return q.u.q;
}

static enum flow
one_pass(struct qz_jctx *c, const struct qz_jnode *n, struct qz_jloop *loop)
{
	struct qz_jv item = loop->seq->v[loop->i];
	int32_t turn = enter_turn(c, item);
	struct qz_jscope *before = enter(c, c->scope);
	enum flow f = NEXT;

	set(c, n->id, (struct qz_jv){ .kind = QZ_J_LOOP, .message = -1, .u.loop = loop });
	assign(c, n->a, item);
	if (!c->failed)
		f = run(c, n->list);
	c->scope = before;
	if (!c->failed) /* else it tells at which message */
		c->turn = turn;
	return f;
}

static void
loop(struct qz_jctx *c, const struct qz_jnode *n)
{
	const struct qz_jseq *q = qz_jv_iterate(c, qz_jinja_eval(c, n->b));
	struct qz_jloop *l = qz_jalloc(c, sizeof *l);
	struct qz_jscope *before;

	if (q && n->c)
		q = chosen(c, n, q);
	if (!q || !l || c->failed)
		return;
	*l = (struct qz_jloop){ .seq = q };
	for (l->i = 0; l->i < q->n && qz_jspend(c, 1); l->i++)
		if (one_pass(c, n, l) == BREAK)
			break;
	if (q->n == 0 && n->d) {
		before = enter(c, c->scope);
		run(c, n->d->list);
		c->scope = before;
	}
}

static enum flow
branch(struct qz_jctx *c, const struct qz_jnode *n)
{
	for (; n && n->kind == QZ_JS_IF; n = n->b) {
		if (qz_jv_true(qz_jinja_eval(c, n->a)))
			return run(c, n->list);
		if (c->failed)
			return BREAK;
	}
	return n ? run(c, n->list) : NEXT;
}

static struct qz_jv
macro(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jmacro *m = qz_jalloc(c, sizeof *m);

	if (!m)
		return (struct qz_jv){ .message = -1 };
	*m = (struct qz_jmacro){ .node = n, .scope = c->scope };
	return (struct qz_jv){ .kind = QZ_J_MACRO, .message = -1, .u.m = m };
}

static enum flow
with(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jscope *before = c->scope;
	struct qz_jv values = qz_jv_seq(c, QZ_J_LIST, 0);
	enum flow f = NEXT;
	size_t i = 0;

	for (const struct qz_jnode *k = n->a; k; k = k->next)
		qz_jseq_add(c, values.u.q, qz_jinja_eval(c, k->b));
	enter(c, before);
	for (const struct qz_jnode *k = n->a; k && !c->failed; k = k->next)
		assign(c, k->a, values.u.q->v[i++]);
	if (!c->failed)
		f = run(c, n->list);
	c->scope = before;
	return f;
}

static enum flow
generation(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jscope *before = enter(c, c->scope);
	bool outer = c->generated;
	enum flow f;

	c->generated = true;
	f = run(c, n->list);
	c->generated = outer;
	c->scope = before;
	return f;
}

static enum flow
statement(struct qz_jctx *c, const struct qz_jnode *n)
{
	struct qz_jv v;

	switch (n->kind) {
	case QZ_JS_TEXT:
		print(c, n->value);
		return NEXT;
	case QZ_JS_PRINT:
		print(c, qz_jinja_eval(c, n->a));
		return NEXT;
	case QZ_JS_IF:
		return branch(c, n);
	case QZ_JS_FOR:
		loop(c, n);
		return NEXT;
	case QZ_JS_SET:
		assign(c, n->a, qz_jinja_eval(c, n->b));
		return NEXT;
	case QZ_JS_SET_BLOCK:
		v = qz_jinja_capture(c, n->list);
		assign(c, n->a, qz_jinja_filters(c, n->b, v));
		return NEXT;
	case QZ_JS_MACRO:
		set(c, n->id, macro(c, n));
		return NEXT;
	case QZ_JS_CALL:
		print(c, qz_jinja_call_node(c, n->b, macro(c, n)));
		return NEXT;
	case QZ_JS_FILTER:
		v = qz_jinja_capture(c, n->list);
		print(c, qz_jinja_filters(c, n->a, v));
		return NEXT;
	case QZ_JS_WITH:
		return with(c, n);
	case QZ_JS_GENERATION:
		return generation(c, n);
	case QZ_JS_BREAK:
		return BREAK;
	case QZ_JS_CONTINUE:
		return CONTINUE;
	default:
		qz_jfail(c, "not a statement");
		return BREAK;
	}
}

static enum flow
run(struct qz_jctx *c, const struct qz_jnode *list)
{
	enum flow f = NEXT;

	if (c->depth >= QZ_J_EVAL_MAX) {
		qz_jfail(c, "evaluation is nested too deep");
		return BREAK;
	}
	c->depth++;
	for (; list && f == NEXT && qz_jspend(c, 1); list = list->next) {
		c->line = list->line;
		f = statement(c, list);
	}
	c->depth--;
	return c->failed ? BREAK : f;
}

int
qz_jinja_run(struct qz_jctx *c)
{
	run(c, c->t->body);
	return c->failed ? -1 : 0;
}

/* The value of a macro's parameter k-th: by place, by name, its default, or undefined. */
static struct qz_jv
parameter(struct qz_jctx *c, const struct qz_jnode *p, size_t k, const struct qz_jcall *call,
    size_t *named)
{
	if (k < call->n_pos)
		return call->pos[k];
	for (size_t i = 0; i < call->n_kw; i++)
		if (call->kw[i].id == p->id) {
			++*named;
			return call->kw_values[i];
		}
	return p->a ? qz_jinja_eval(c, p->a) : qz_jv_undef(c, NULL, p->name, p->name_n);
}

/* Arguments that no parameter takes: for a macro that reads varargs or kwargs, else an error. */
static void
bind_rest(struct qz_jctx *c, const struct qz_jnode *m, const struct qz_jcall *call, size_t n_params,
    size_t named)
{
	struct qz_jv rest = qz_jv_seq(c, QZ_J_TUPLE, 0), kw = qz_jv_dict(c, 0);

	if ((call->n_pos > n_params && !(m->op & QZ_J_VARARGS)) ||
	    (call->n_kw > named && !(m->op & QZ_J_KWARGS))) {
		qz_jfail(c, "the macro '%.*s' is given an argument that it does not take",
		    m->kind == QZ_JS_MACRO ? (int)m->name_n : 6,
		    m->kind == QZ_JS_MACRO ? m->name : "caller");
		return;
	}
	for (size_t i = n_params; i < call->n_pos; i++)
		qz_jseq_add(c, rest.u.q, call->pos[i]);
	for (size_t i = 0; i < call->n_kw; i++) {
		const struct qz_jnode *p = m->a;

		while (p && p->id != call->kw[i].id)
			p = p->next;
		if (!p)
			qz_jdict_put(c, kw.u.d,
			    qz_jstr_new(c, call->kw[i].name, call->kw[i].name_n),
			    call->kw_values[i]);
	}
	if (m->op & QZ_J_VARARGS)
		set(c, qz_jname_find(c->t, "varargs", 7), rest);
	if (m->op & QZ_J_KWARGS)
		set(c, qz_jname_find(c->t, "kwargs", 6), kw);
}

static struct qz_jv
call_macro(
    struct qz_jctx *c, const struct qz_jmacro *m, const struct qz_jcall *call, struct qz_jv caller)
{
	struct qz_jbuild out = { 0 }, *outer = c->out;
	struct qz_jscope *before;
	size_t k = 0, named = 0;

	if (c->calls >= QZ_J_NEST_MAX)
		return qz_jfail(c, "macros are called more than %d deep", QZ_J_NEST_MAX);
	before = enter(c, m->scope);
	c->calls++;
	c->out = &out;
	if (caller.kind != QZ_J_MISSING && !c->failed)
		set(c, qz_jname_find(c->t, "caller", 6), caller);
	for (const struct qz_jnode *p = m->node->a; p && !c->failed; p = p->next, k++)
		set(c, p->id, parameter(c, p, k, call, &named));
	bind_rest(c, m->node, call, k, named);
	if (!c->failed)
		run(c, m->node->list);
	c->out = outer;
	c->calls--;
	c->scope = before;
	return qz_jbuild_done(c, &out);
}

struct qz_jv
qz_jinja_call(struct qz_jctx *c, struct qz_jv f, struct qz_jcall *call, struct qz_jv caller)
{
	if (c->failed)
		return (struct qz_jv){ .message = -1 };
	if (f.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, f);
	if (f.kind == QZ_J_MACRO)
		return call_macro(c, f.u.m, call, caller);
	if (f.kind != QZ_J_FUNC)
		return qz_jfail(c, "a %s cannot be called", qz_jv_type(f));
	call->self = f.u.fn->self;
	return qz_jinja_builtin(c, f.u.fn->builtin, call);
}
