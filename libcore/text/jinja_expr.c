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

void
qz_jparse_unexpected(struct qz_jparser *p, const char *wanted)
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
		qz_jparse_unexpected(p, qz_jtok_name(kind));
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
	struct qz_jnode *n = qz_jparse_unary(p, true);
	int links = 0;

	while (!p->failed && p->tok->kind == QZ_JT_POW && !qz_jparse_long(p, &links)) {
		n = link_binary(p, QZ_JE_BINARY, n);
		if (n)
			n->b = qz_jparse_unary(p, true);
	}
	return n;
}

static struct qz_jnode *
product(struct qz_jparser *p)
{
	struct qz_jnode *n = power(p);
	int links = 0;

	while (!p->failed && !qz_jparse_long(p, &links) &&
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
	end = qz_jparse_append(&n->list, first);
	while (qz_jparse_skip(p, QZ_JT_TILDE))
		end = qz_jparse_append(end, product(p));
	return n;
}

static struct qz_jnode *
sum(struct qz_jparser *p)
{
	struct qz_jnode *n = concat(p);
	int links = 0;

	while (!p->failed && !qz_jparse_long(p, &links) &&
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
		end = qz_jparse_append(end, operand);
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
		n = qz_jparse_not(p, n);
	return n;
}

static struct qz_jnode *
conjunction(struct qz_jparser *p)
{
	struct qz_jnode *n = negation(p);
	int links = 0;

	while (!p->failed && qz_jparse_is_name(p->tok, "and") && !qz_jparse_long(p, &links)) {
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

	while (!p->failed && qz_jparse_is_name(p->tok, "or") && !qz_jparse_long(p, &links)) {
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
	while (qz_jparse_skip_name(p, "if") && !qz_jparse_long(p, &links)) {
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
	end = qz_jparse_append(&n->list, first);
	while (qz_jparse_skip(p, QZ_JT_COMMA)) {
		k = p->tok->kind;
		if (k == QZ_JT_RPAREN || k == QZ_JT_RBRACKET || k == QZ_JT_VAR_END ||
		    k == QZ_JT_BLOCK_END)
			break;
		end = qz_jparse_append(end, conditional ? qz_jparse_expr(p) : disjunction(p));
	}
	return n;
}
