/* The parser of what binds tightest: literals, names, subscripts, calls, filters and tests. */
#include <string.h>

#include "libcore/text/jinja.h"

/* Appends to a list whose end is kept by the caller. */
struct qz_jnode **
qz_jparse_append(struct qz_jnode **end, struct qz_jnode *n)
{
	*end = n;
	return n ? &n->next : end;
}

static struct qz_jnode *
name_node(struct qz_jparser *p, enum qz_jnode_kind kind, const struct qz_jtoken *t)
{
	struct qz_jnode *n = qz_jparse_node(p, kind);

	if (n) {
		n->line = t->line;
		n->name = t->s;
		n->name_n = t->n;
		n->id = qz_jname_add(p->t, t->s, t->n);
		if (n->id == UINT32_MAX) {
			p->failed = true;
			qz_nomem(p->e, sizeof *p->t->names);
		}
	}
	return n;
}

static struct qz_jnode *
constant(struct qz_jparser *p, struct qz_jv v)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_CONST);

	if (n)
		n->value = v;
	return n;
}

/* Strings next to each other are one. */
static struct qz_jnode *
string(struct qz_jparser *p)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_CONST);
	struct qz_jstr *s = qz_arena_alloc(&p->t->arena, sizeof *s + sizeof *s->runs);
	const struct qz_jtoken *t = p->tok, *end = t;
	size_t total = 0;
	char *text;

	for (; end->kind == QZ_JT_STRING; end++)
		total += end->n;
	text = end == t + 1 ? (char *)(uintptr_t)t->s : qz_arena_alloc(&p->t->arena, total + 1);
	if (!n || !s || !text) {
		p->failed = true;
		qz_nomem(p->e, total);
		return NULL;
	}
	if (end != t + 1)
		for (size_t at = 0; t < end; at += t++->n)
			memcpy(text + at, t->s, t->n);
	p->tok = end;
	s->runs = (struct qz_jrun *)(void *)(s + 1);
	s->n = total;
	s->n_runs = total > 0;
	s->runs[0] = (struct qz_jrun){ .s = text, .n = total, .message = -1, .turn = -1 };
	n->value = (struct qz_jv){ .kind = QZ_J_STR, .message = -1, .u.s = s };
	return n;
}

static struct qz_jnode *
list(struct qz_jparser *p)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_LIST), **end = n ? &n->list : NULL;

	p->tok++;
	while (!p->failed && p->tok->kind != QZ_JT_RBRACKET) {
		end = qz_jparse_append(end, qz_jparse_expr(p));
		if (!qz_jparse_skip(p, QZ_JT_COMMA))
			break;
	}
	qz_jparse_expect(p, QZ_JT_RBRACKET);
	return n;
}

static struct qz_jnode *
dict(struct qz_jparser *p)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_DICT), **end = n ? &n->list : NULL, *pair;

	p->tok++;
	while (!p->failed && p->tok->kind != QZ_JT_RBRACE) {
		pair = qz_jparse_node(p, QZ_JE_PAIR);
		if (!pair)
			break;
		pair->a = qz_jparse_expr(p);
		qz_jparse_expect(p, QZ_JT_COLON);
		pair->b = qz_jparse_expr(p);
		end = qz_jparse_append(end, pair);
		if (!qz_jparse_skip(p, QZ_JT_COMMA))
			break;
	}
	qz_jparse_expect(p, QZ_JT_RBRACE);
	return n;
}

static struct qz_jnode *
word(struct qz_jparser *p)
{
	static const struct {
		const char *s;
		struct qz_jv v;
	} words[] = {
		{ "true", { .kind = QZ_J_BOOL, .message = -1, .u.b = true } },
		{ "True", { .kind = QZ_J_BOOL, .message = -1, .u.b = true } },
		{ "false", { .kind = QZ_J_BOOL, .message = -1 } },
		{ "False", { .kind = QZ_J_BOOL, .message = -1 } },
		{ "none", { .kind = QZ_J_NONE, .message = -1 } },
		{ "None", { .kind = QZ_J_NONE, .message = -1 } },
	};
	static const char *const reserved[] = { "and", "or", "not", "if", "else", "in", "is" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (qz_jparse_skip_name(p, words[i].s))
			return constant(p, words[i].v);
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
		if (qz_jparse_is_name(p->tok, reserved[i])) {
			qz_jparse_unexpected(p, "an expression");
			return NULL;
		}
	p->tok++;
	return name_node(p, QZ_JE_NAME, p->tok - 1);
}

static struct qz_jnode *
primary(struct qz_jparser *p)
{
	const struct qz_jtoken *t = p->tok;
	struct qz_jnode *n = NULL;

	if (p->failed)
		return NULL;
	switch (t->kind) {
	case QZ_JT_NAME:
		return word(p);
	case QZ_JT_STRING:
		return string(p);
	case QZ_JT_INT:
		p->tok++;
		return constant(p, qz_jv_int(t->i));
	case QZ_JT_FLOAT:
		p->tok++;
		return constant(p, qz_jv_float(t->f));
	case QZ_JT_LBRACKET:
		return list(p);
	case QZ_JT_LBRACE:
		return dict(p);
	case QZ_JT_LPAREN:
		p->tok++;
		if (qz_jparse_skip(p, QZ_JT_RPAREN))
			return qz_jparse_node(p, QZ_JE_TUPLE);
		n = qz_jparse_tuple(p, true);
		qz_jparse_expect(p, QZ_JT_RPAREN);
		return n;
	default:
		qz_jparse_unexpected(p, "an expression");
		return NULL;
	}
}

/* One argument; *named: keywords have begun. */
static struct qz_jnode *
argument(struct qz_jparser *p, bool *named)
{
	const struct qz_jtoken *t = p->tok;
	struct qz_jnode *n;

	if (t->kind == QZ_JT_MUL || t->kind == QZ_JT_POW) {
		n = qz_jparse_node(p, t->kind == QZ_JT_MUL ? QZ_JE_STAR : QZ_JE_STARS);
		p->tok++;
	} else if (t->kind == QZ_JT_NAME && t[1].kind == QZ_JT_ASSIGN) {
		n = name_node(p, QZ_JE_KEYWORD, t);
		p->tok += 2;
	} else {
		if (*named)
			return qz_jparse_fail(
			    p, "an argument without a name behind one with a name");
		return qz_jparse_expr(p);
	}
	*named = true;
	if (n)
		n->a = qz_jparse_expr(p);
	return n;
}

static struct qz_jnode *
arguments(struct qz_jparser *p)
{
	struct qz_jnode *first = NULL, **end = &first;
	bool named = false;

	qz_jparse_expect(p, QZ_JT_LPAREN);
	while (!p->failed && p->tok->kind != QZ_JT_RPAREN) {
		end = qz_jparse_append(end, argument(p, &named));
		if (!qz_jparse_skip(p, QZ_JT_COMMA))
			break;
	}
	qz_jparse_expect(p, QZ_JT_RPAREN);
	return first;
}

/* [key], [from:to:step]; a tuple when there are commas. */
static struct qz_jnode *
subscript(struct qz_jparser *p, struct qz_jnode *on)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_ITEM), *part[3] = { NULL };
	int i = 0;

	p->tok++;
	if (!n)
		return NULL;
	n->a = on;
	while (!p->failed && p->tok->kind != QZ_JT_RBRACKET && i < 3) {
		if (p->tok->kind != QZ_JT_COLON)
			part[i] = i ? qz_jparse_expr(p) : qz_jparse_tuple(p, true);
		if (p->tok->kind != QZ_JT_COLON)
			break;
		n->kind = QZ_JE_SLICE;
		p->tok++;
		i++;
	}
	if (n->kind == QZ_JE_ITEM && !part[0])
		qz_jparse_unexpected(p, "an expression");
	qz_jparse_expect(p, QZ_JT_RBRACKET);
	n->b = part[0];
	n->c = part[1];
	n->d = part[2];
	return n;
}

static struct qz_jnode *
dot(struct qz_jparser *p, struct qz_jnode *on)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_ATTR);
	const struct qz_jtoken *t = ++p->tok;

	if (!n)
		return NULL;
	n->a = on;
	if (t->kind == QZ_JT_INT) {
		n->kind = QZ_JE_ITEM;
		n->b = constant(p, qz_jv_int(t->i));
	} else if (t->kind != QZ_JT_NAME) {
		qz_jparse_unexpected(p, "a name");
		return NULL;
	}
	n->name = t->s;
	n->name_n = t->n;
	p->tok++;
	return n;
}

static struct qz_jnode *
call(struct qz_jparser *p, struct qz_jnode *on)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_CALL);

	if (n) {
		n->a = on;
		n->list = arguments(p);
	}
	return n;
}

/* The chain must stay short: each link is a level of recursion when it is evaluated. */
bool
qz_jparse_long(struct qz_jparser *p, int *links)
{
	if (++*links > QZ_J_CHAIN_MAX)
		qz_jparse_fail(
		    p, "an expression with more than %d operators in a row", QZ_J_CHAIN_MAX);
	return p->failed;
}

static struct qz_jnode *
postfix(struct qz_jparser *p, struct qz_jnode *n)
{
	int links = 0;

	while (!p->failed && !qz_jparse_long(p, &links)) {
		if (p->tok->kind == QZ_JT_DOT)
			n = dot(p, n);
		else if (p->tok->kind == QZ_JT_LBRACKET)
			n = subscript(p, n);
		else if (p->tok->kind == QZ_JT_LPAREN)
			n = call(p, n);
		else
			break;
	}
	return n;
}

struct qz_jnode *
qz_jparse_filters(struct qz_jparser *p, struct qz_jnode *on, bool first)
{
	int links = 0;

	while (!p->failed && (first || p->tok->kind == QZ_JT_PIPE) && !qz_jparse_long(p, &links)) {
		struct qz_jnode *n = qz_jparse_node(p, QZ_JE_FILTER);
		const struct qz_jtoken *t;

		if (!first)
			p->tok++;
		first = false;
		t = p->tok;
		qz_jparse_expect(p, QZ_JT_NAME);
		if (p->failed)
			return NULL;
		n->a = on;
		n->name = t->s;
		n->name_n = t->n;
		n->builtin = qz_jfilter_find(t->s, t->n);
		if (!n->builtin)
			return qz_jparse_fail(p, "there is no filter '%.*s'", (int)t->n, t->s);
		if (p->tok->kind == QZ_JT_LPAREN)
			n->list = arguments(p);
		on = n;
	}
	return on;
}

/* May the argument of a test begin here: x is divisibleby 3? */
static bool
starts_argument(const struct qz_jtoken *t)
{
	static const char *const stop[] = { "else", "or", "and" };

	for (size_t i = 0; i < sizeof stop / sizeof *stop; i++)
		if (qz_jparse_is_name(t, stop[i]))
			return false;
	return t->kind == QZ_JT_NAME || t->kind == QZ_JT_STRING || t->kind == QZ_JT_INT ||
	       t->kind == QZ_JT_FLOAT || t->kind == QZ_JT_LBRACKET || t->kind == QZ_JT_LBRACE;
}

struct qz_jnode *
qz_jparse_not(struct qz_jparser *p, struct qz_jnode *of)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_NOT);

	if (n)
		n->a = of;
	return n;
}

static struct qz_jnode *
test(struct qz_jparser *p, struct qz_jnode *on)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JE_TEST);
	bool negated;
	const struct qz_jtoken *t;

	p->tok++;
	negated = qz_jparse_skip_name(p, "not");
	t = p->tok;
	qz_jparse_expect(p, QZ_JT_NAME);
	if (p->failed)
		return NULL;
	n->a = on;
	n->name = t->s;
	n->name_n = t->n;
	n->builtin = qz_jtest_find(t->s, t->n);
	if (!n->builtin)
		return qz_jparse_fail(p, "there is no test '%.*s'", (int)t->n, t->s);
	if (p->tok->kind == QZ_JT_LPAREN)
		n->list = arguments(p);
	else if (starts_argument(p->tok))
		n->list = postfix(p, primary(p));
	return negated ? qz_jparse_not(p, n) : n;
}

struct qz_jnode *
qz_jparse_unary(struct qz_jparser *p, bool with_filters)
{
	struct qz_jnode *n;
	int links = 0;

	if (p->depth >= QZ_J_NEST_MAX)
		return qz_jparse_fail(p, "nested deeper than %d", QZ_J_NEST_MAX);
	p->depth++;
	if (p->tok->kind == QZ_JT_SUB || p->tok->kind == QZ_JT_ADD) {
		n = qz_jparse_node(p, QZ_JE_UNARY);
		if (n) {
			n->op = p->tok->kind;
			p->tok++;
			n->a = qz_jparse_unary(p, false);
		}
	} else {
		n = primary(p);
	}
	n = postfix(p, n);
	while (with_filters && !p->failed && !qz_jparse_long(p, &links)) {
		if (p->tok->kind == QZ_JT_PIPE)
			n = qz_jparse_filters(p, n, false);
		else if (qz_jparse_is_name(p->tok, "is"))
			n = test(p, n);
		else if (p->tok->kind == QZ_JT_LPAREN)
			n = call(p, n);
		else
			break;
	}
	p->depth--;
	return n;
}
