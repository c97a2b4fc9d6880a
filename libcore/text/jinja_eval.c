/* Expressions. */
#include <math.h>
#include <string.h>

#include "libcore/base/utf8.h"
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
index_seq(struct qz_jctx *c, struct qz_jv a, struct qz_jv key)
{
	size_t n = qz_jv_length(c, a);
	int64_t i;
	struct qz_jv at;

	if (!qz_jv_whole(key, &i))
		return undef();
	if (i < 0)
		i += (int64_t)n;
	if (i < 0 || (uint64_t)i >= n)
		return undef();
	if (a.kind != QZ_J_STR)
		return a.u.q->v[i];
	at = qz_jv_int(i);
	return qz_jinja_slice(c, a, at, qz_jv_int(i + 1), qz_jv_none());
}

static const char *
object_name(struct qz_jctx *c, struct qz_jv v)
{
	char *s = qz_jalloc(c, 40);

	if (!s)
		return "object";
	if (v.kind == QZ_J_NONE)
		return "None";
	strcpy(s, "a ");
	return strcat(s, qz_jv_type(v));
}

static struct qz_jv
not_there(struct qz_jctx *c, struct qz_jv a, const char *s, size_t n)
{
	return qz_jv_undef(c, object_name(c, a), s, n);
}

static struct qz_jv
loop_attr(struct qz_jctx *c, const struct qz_jloop *l, const char *s, size_t n)
{
	int64_t at = (int64_t)l->i, len = (int64_t)l->seq->n;
	const struct {
		const char *name;
		int64_t v;
	} numbers[] = { { "index", at + 1 }, { "index0", at }, { "length", len },
		{ "revindex", len - at }, { "revindex0", len - at - 1 }, { "depth", l->depth + 1 },
		{ "depth0", l->depth } };
	bool first = at == 0, last = at == len - 1;

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (strlen(numbers[i].name) == n && !memcmp(numbers[i].name, s, n))
			return qz_jv_int(numbers[i].v);
	if (n == 5 && !memcmp(s, "first", 5))
		return qz_jv_bool(first);
	if (n == 4 && !memcmp(s, "last", 4))
		return qz_jv_bool(last);
	if (n == 8 && !memcmp(s, "previtem", 8))
		return first ? qz_jv_undef(c, "the first item's loop", s, n) : l->seq->v[at - 1];
	if (n == 8 && !memcmp(s, "nextitem", 8))
		return last ? qz_jv_undef(c, "the last item's loop", s, n) : l->seq->v[at + 1];
	return qz_jv_undef(c, "loop", s, n);
}

/* A method, or what the sandbox shows in place of one; MISSING: a has no such attribute. */
static struct qz_jv
method(struct qz_jctx *c, struct qz_jv a, const char *s, size_t n)
{
	struct qz_jv v = { .kind = QZ_J_MISSING, .message = -1 };
	const struct qz_jbuiltin *b;
	bool unsafe = false;

	b = qz_jmethod_find(a, s, n, &unsafe);
	if (n > 4 && !memcmp(s, "__", 2) && !memcmp(s + n - 2, "__", 2))
		unsafe = true;
	if (unsafe) {
		v = qz_jv_undef(c, NULL, s, n);
		if (v.u.u)
			v.u.u->what = "access to an unsafe attribute";
		return v;
	}
	if (!b)
		return v;
	v.kind = QZ_J_FUNC;
	v.u.fn = qz_jalloc(c, sizeof *v.u.fn);
	if (v.u.fn)
		*v.u.fn = (struct qz_jbound){ .builtin = b, .self = a };
	return v.u.fn ? v : undef();
}

struct qz_jv
qz_jinja_attr(struct qz_jctx *c, struct qz_jv a, const char *s, size_t n)
{
	const struct qz_jv *have;
	struct qz_jv v;

	if (c->failed)
		return undef();
	if (a.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, a);
	v = method(c, a, s, n);
	if (v.kind != QZ_J_MISSING)
		return v;
	if (a.kind == QZ_J_LOOP)
		return loop_attr(c, a.u.loop, s, n);
	have = a.kind == QZ_J_DICT || a.kind == QZ_J_SPACE ? qz_jdict_name(c, a.u.d, s, n) : NULL;
	return have ? *have : not_there(c, a, s, n);
}

struct qz_jv
qz_jinja_item(struct qz_jctx *c, struct qz_jv a, struct qz_jv key)
{
	const struct qz_jv *have = NULL;
	struct qz_jv v = undef(), text;

	if (c->failed)
		return undef();
	if (a.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, a);
	if (a.kind == QZ_J_DICT || a.kind == QZ_J_SPACE)
		have = qz_jdict_get(c, a.u.d, key);
	else if (a.kind == QZ_J_STR || a.kind == QZ_J_LIST || a.kind == QZ_J_TUPLE ||
		 a.kind == QZ_J_RANGE)
		v = index_seq(c, a, key);
	if (have)
		return *have;
	if (v.kind != QZ_J_UNDEF || v.u.u || c->failed)
		return v;
	if (key.kind == QZ_J_STR) {
		const char *s = qz_jstr_flat(c, key.u.s);

		v = method(c, a, s, key.u.s->n);
		if (v.kind == QZ_J_MISSING && a.kind == QZ_J_LOOP)
			return loop_attr(c, a.u.loop, s, key.u.s->n);
		return v.kind != QZ_J_MISSING ? v : not_there(c, a, s, key.u.s->n);
	}
	text = key.kind == QZ_J_INT ? qz_jv_str(c, key) : qz_jstr_new(c, "that", 4);
	return not_there(c, a, qz_jstr_flat(c, text.u.s), text.u.s->n);
}

/* The bounds of v[from:to:step] as Python counts them, for a sequence of n. */
static bool
bounds(struct qz_jctx *c, const struct qz_jv in[3], int64_t n, int64_t out[3])
{
	bool given[3];

	out[2] = 1;
	for (int i = 0; i < 3; i++) {
		given[i] = in[i].kind != QZ_J_NONE && in[i].kind != QZ_J_MISSING;
		if (given[i] && in[i].kind == QZ_J_UNDEF)
			qz_jfail_undefined(c, in[i]);
		else if (given[i] && !qz_jv_whole(in[i], &out[i]))
			qz_jfail(c, "a %s as a bound of a slice", qz_jv_type(in[i]));
	}
	if (!c->failed && out[2] == 0)
		qz_jfail(c, "a slice with step 0");
	if (c->failed)
		return false;
	if (out[2] < -n - 1)
		out[2] = -n - 1; /* one step leaves the sequence */
	if (out[2] > n + 1)
		out[2] = n + 1;
	for (int i = 0; i < 2; i++) {
		int64_t lo = out[2] < 0 ? -1 : 0, hi = out[2] < 0 ? n - 1 : n;

		if (!given[i]) {
			out[i] = (i == 0) == (out[2] > 0) ? lo : hi;
			continue;
		}
		if (out[i] < 0)
			out[i] = out[i] < -n ? lo : out[i] + n;
		out[i] = out[i] < lo ? lo : out[i] > hi ? hi : out[i];
	}
	return true;
}

/* The byte where character i begins. */
static size_t
byte_of(const char *s, size_t n, int64_t i)
{
	size_t at = 0;

	for (; at < n; at++)
		if ((s[at] & 0xc0) != 0x80 && i-- == 0)
			break;
	return at;
}

static struct qz_jv
slice_text(struct qz_jctx *c, struct qz_jstr *str, const int64_t b[3], size_t chars)
{
	const char *s = qz_jstr_flat(c, str);
	struct qz_jbuild out = { 0 };
	bool ascii = chars == str->n;

	qz_jspend(c, ascii ? 0 : str->n / 1024);
	if (b[2] == 1) {
		size_t from = ascii ? (size_t)b[0] : byte_of(s, str->n, b[0]);
		size_t to = b[1] <= b[0] ? from : ascii ? (size_t)b[1] : byte_of(s, str->n, b[1]);

		return qz_jstr_part(c, str, from, to);
	}
	for (int64_t i = b[0];
	     (b[2] > 0 ? i < b[1] : i > b[1]) && qz_jspend(c, ascii ? 1 : 1 + str->n / 256);
	     i += b[2]) {
		size_t from = ascii ? (size_t)i : byte_of(s, str->n, i);
		int len = 1;

		qz_utf8_get(s + from, str->n - from, &len);
		qz_jbuild_part(c, &out, str, from, from + (size_t)len);
	}
	return qz_jbuild_done(c, &out);
}

struct qz_jv
qz_jinja_slice(
    struct qz_jctx *c, struct qz_jv v, struct qz_jv from, struct qz_jv to, struct qz_jv step)
{
	const struct qz_jv in[3] = { from, to, step };
	struct qz_jv q;
	int64_t b[3] = { 0, 0, 1 };
	size_t n;

	if (c->failed)
		return undef();
	if (v.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, v);
	if (v.kind != QZ_J_STR && v.kind != QZ_J_LIST && v.kind != QZ_J_TUPLE &&
	    v.kind != QZ_J_RANGE)
		return qz_jfail(c, "a slice of a %s", qz_jv_type(v));
	n = qz_jv_length(c, v);
	if (!bounds(c, in, (int64_t)n, b))
		return undef();
	if (v.kind == QZ_J_STR)
		return slice_text(c, v.u.s, b, n);
	q = qz_jv_seq(c, v.kind == QZ_J_TUPLE ? QZ_J_TUPLE : QZ_J_LIST, 0);
	q.from = v.from;
	q.message = v.message;
	for (int64_t i = b[0]; b[2] > 0 ? i < b[1] : i > b[1]; i += b[2]) {
		if (!qz_jspend(c, i % 16 == 0))
			break;
		qz_jseq_add(c, q.u.q, v.u.q->v[i]);
	}
	return q;
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
