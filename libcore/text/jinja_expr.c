/* The parser of expressions.  Precedence from loose to tight, as Jinja has it:
 *     a if b else c; or; and; not; comparisons, in; + -; ~; * / // %; **; unary + -; .x [x] (x); |f, is t
 * A filter or test belongs to the unary it stands behind: -1|abs is (-1)|abs. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "libcore/text/jinja.h"

void *
qz_jparse_fail(struct qz_jparser *p, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	if (!p->failed)
		qz_fail(p->e, QZ_EDATA, "line %d: %s", p->tok->line, what);
	p->failed = true;
	return NULL;
}

struct qz_jnode *
qz_jparse_node(struct qz_jparser *p, enum qz_jnode_kind kind)
{
	static const struct qz_jnode empty;
	struct qz_jnode *n = qz_arena_alloc(&p->t->arena, sizeof *n);

	if (!n) {
		p->failed = true;
		qz_nomem(p->e, sizeof *n);
		return NULL;
	}
	*n = empty;
	n->kind = kind;
	n->line = p->tok->line;
	return n;
}

bool
qz_jparse_is_name(const struct qz_jtoken *t, const char *name)
{
	return t->kind == QZ_JT_NAME && t->n == strlen(name) && !memcmp(t->s, name, t->n);
}

bool
qz_jparse_skip(struct qz_jparser *p, enum qz_jtok kind)
{
	if (p->failed || p->tok->kind != kind)
		return false;
	p->tok++;
	return true;
}

bool
qz_jparse_skip_name(struct qz_jparser *p, const char *name)
{
	if (p->failed || !qz_jparse_is_name(p->tok, name))
		return false;
	p->tok++;
	return true;
}

static void
unexpected(struct qz_jparser *p, const char *wanted)
{
	if (p->tok->kind == QZ_JT_NAME)
		qz_jparse_fail(p, "found '%.*s', expected %s", (int)p->tok->n, p->tok->s, wanted);
	else
		qz_jparse_fail(p, "found %s, expected %s", qz_jtok_name(p->tok->kind), wanted);
}

void
qz_jparse_expect(struct qz_jparser *p, enum qz_jtok kind)
{
	if (!p->failed && !qz_jparse_skip(p, kind))
		unexpected(p, qz_jtok_name(kind));
}

/* Appends to a list whose end is kept by the caller. */
static struct qz_jnode **
append(struct qz_jnode **end, struct qz_jnode *n)
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
		end = append(end, qz_jparse_expr(p));
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
		end = append(end, pair);
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
			unexpected(p, "an expression");
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
		unexpected(p, "an expression");
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
		end = append(end, argument(p, &named));
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
		unexpected(p, "an expression");
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
		unexpected(p, "a name");
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
static bool
too_long(struct qz_jparser *p, int *links)
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

	while (!p->failed && !too_long(p, &links)) {
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

	while (!p->failed && (first || p->tok->kind == QZ_JT_PIPE) && !too_long(p, &links)) {
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

static struct qz_jnode *
negate(struct qz_jparser *p, struct qz_jnode *of)
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
	return negated ? negate(p, n) : n;
}

static struct qz_jnode *
unary(struct qz_jparser *p, bool with_filters)
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
			n->a = unary(p, false);
		}
	} else {
		n = primary(p);
	}
	n = postfix(p, n);
	while (with_filters && !p->failed && !too_long(p, &links)) {
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

static struct qz_jnode *
link_binary(struct qz_jparser *p, enum qz_jnode_kind kind, struct qz_jnode *a)
{
	struct qz_jnode *n = qz_jparse_node(p, kind);

	if (n) {
		n->op = p->tok->kind;
		n->a = a;
		p->tok++;
	}
	return n;
}

static struct qz_jnode *
power(struct qz_jparser *p)
{
	struct qz_jnode *n = unary(p, true);
	int links = 0;

	while (!p->failed && p->tok->kind == QZ_JT_POW && !too_long(p, &links)) {
		n = link_binary(p, QZ_JE_BINARY, n);
		if (n)
			n->b = unary(p, true);
	}
	return n;
}

static struct qz_jnode *
product(struct qz_jparser *p)
{
	struct qz_jnode *n = power(p);
	int links = 0;

	while (!p->failed && !too_long(p, &links) &&
	       (p->tok->kind == QZ_JT_MUL || p->tok->kind == QZ_JT_DIV ||
		   p->tok->kind == QZ_JT_FLOORDIV || p->tok->kind == QZ_JT_MOD)) {
		n = link_binary(p, QZ_JE_BINARY, n);
		if (n)
			n->b = power(p);
	}
	return n;
}

static struct qz_jnode *
concat(struct qz_jparser *p)
{
	struct qz_jnode *first = product(p), *n, **end;

	if (p->failed || p->tok->kind != QZ_JT_TILDE)
		return first;
	n = qz_jparse_node(p, QZ_JE_CONCAT);
	if (!n)
		return NULL;
	end = append(&n->list, first);
	while (qz_jparse_skip(p, QZ_JT_TILDE))
		end = append(end, product(p));
	return n;
}

static struct qz_jnode *
sum(struct qz_jparser *p)
{
	struct qz_jnode *n = concat(p);
	int links = 0;

	while (!p->failed && !too_long(p, &links) &&
	       (p->tok->kind == QZ_JT_ADD || p->tok->kind == QZ_JT_SUB)) {
		n = link_binary(p, QZ_JE_BINARY, n);
		if (n)
			n->b = concat(p);
	}
	return n;
}

/* The comparison that begins at the token, which is passed; QZ_JT_EOF for none. */
static enum qz_jtok
comparison(struct qz_jparser *p)
{
	const struct qz_jtoken *t = p->tok;

	if (p->failed)
		return QZ_JT_EOF;
	if (t->kind >= QZ_JT_EQ && t->kind <= QZ_JT_LE) {
		p->tok++;
		return t->kind;
	}
	if (qz_jparse_skip_name(p, "in"))
		return QZ_JT_IN;
	if (qz_jparse_is_name(t, "not") && qz_jparse_is_name(t + 1, "in")) {
		p->tok += 2;
		return QZ_JT_NOT_IN;
	}
	return QZ_JT_EOF;
}

static struct qz_jnode *
compare(struct qz_jparser *p)
{
	struct qz_jnode *first = sum(p), *n = NULL, *operand, **end = NULL;
	enum qz_jtok op;

	while ((op = comparison(p)) != QZ_JT_EOF) {
		if (!n) {
			n = qz_jparse_node(p, QZ_JE_COMPARE);
			if (!n)
				return NULL;
			n->a = first;
			end = &n->list;
		}
		operand = qz_jparse_node(p, QZ_JE_OPERAND);
		if (!operand)
			return NULL;
		operand->op = op;
		operand->a = sum(p);
		end = append(end, operand);
	}
	return n ? n : first;
}

static struct qz_jnode *
negation(struct qz_jparser *p)
{
	struct qz_jnode *n;
	int nots = 0;

	while (qz_jparse_skip_name(p, "not"))
		nots++;
	n = compare(p);
	for (nots = nots > 2 ? 2 - nots % 2 : nots; nots; nots--)
		n = negate(p, n);
	return n;
}

static struct qz_jnode *
conjunction(struct qz_jparser *p)
{
	struct qz_jnode *n = negation(p);
	int links = 0;

	while (!p->failed && qz_jparse_is_name(p->tok, "and") && !too_long(p, &links)) {
		n = link_binary(p, QZ_JE_AND, n);
		if (n)
			n->b = negation(p);
	}
	return n;
}

static struct qz_jnode *
disjunction(struct qz_jparser *p)
{
	struct qz_jnode *n = conjunction(p);
	int links = 0;

	while (!p->failed && qz_jparse_is_name(p->tok, "or") && !too_long(p, &links)) {
		n = link_binary(p, QZ_JE_OR, n);
		if (n)
			n->b = conjunction(p);
	}
	return n;
}

struct qz_jnode *
qz_jparse_expr(struct qz_jparser *p)
{
	struct qz_jnode *n, *cond;
	int links = 0;

	if (p->depth >= QZ_J_NEST_MAX)
		return qz_jparse_fail(p, "nested deeper than %d", QZ_J_NEST_MAX);
	p->depth++;
	n = disjunction(p);
	while (qz_jparse_skip_name(p, "if") && !too_long(p, &links)) {
		cond = qz_jparse_node(p, QZ_JE_IF);
		if (!cond)
			break;
		cond->b = n;
		cond->a = disjunction(p);
		if (qz_jparse_skip_name(p, "else"))
			cond->c = qz_jparse_expr(p);
		n = cond;
	}
	p->depth--;
	return n;
}

struct qz_jnode *
qz_jparse_tuple(struct qz_jparser *p, bool conditional)
{
	struct qz_jnode *first = conditional ? qz_jparse_expr(p) : disjunction(p), *n, **end;
	uint8_t k;

	if (p->failed || p->tok->kind != QZ_JT_COMMA)
		return first;
	n = qz_jparse_node(p, QZ_JE_TUPLE);
	if (!n)
		return NULL;
	end = append(&n->list, first);
	while (qz_jparse_skip(p, QZ_JT_COMMA)) {
		k = p->tok->kind;
		if (k == QZ_JT_RPAREN || k == QZ_JT_RBRACKET || k == QZ_JT_VAR_END ||
		    k == QZ_JT_BLOCK_END)
			break;
		end = append(end, conditional ? qz_jparse_expr(p) : disjunction(p));
	}
	return n;
}
