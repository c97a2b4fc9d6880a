/* The parser of statements. */
#include <string.h>

#include "libcore/text/jinja.h"

/* Statements until one of the tags in ends ("endif else", NULL-terminated), whose name is passed. */
static struct qz_jnode *body(struct qz_jparser *p, const char *const *ends, const char **ended);

static struct qz_jnode *
named(struct qz_jparser *p, enum qz_jnode_kind kind)
{
	struct qz_jnode *n = qz_jparse_node(p, kind);
	const struct qz_jtoken *t = p->tok;

	qz_jparse_expect(p, QZ_JT_NAME);
	if (p->failed)
		return NULL;
	n->name = t->s;
	n->name_n = t->n;
	n->id = qz_jname_add(p->t, t->s, t->n);
	if (n->id == UINT32_MAX) {
		p->failed = true;
		qz_nomem(p->e, sizeof *p->t->names);
	}
	return n;
}

/* x, (x, y), x, y and, where attributes are allowed, ns.x. */
static struct qz_jnode *target(struct qz_jparser *p, bool attributes);

static struct qz_jnode *
target_one(struct qz_jparser *p, bool attributes)
{
	static const char *const constants[] = { "true", "True", "false", "False", "none", "None" };
	struct qz_jnode *n;

	if (qz_jparse_skip(p, QZ_JT_LPAREN)) {
		if (++p->depth > QZ_J_NEST_MAX)
			return qz_jparse_fail(p, "nested deeper than %d", QZ_J_NEST_MAX);
		n = target(p, attributes);
		p->depth--;
		qz_jparse_expect(p, QZ_JT_RPAREN);
		return n;
	}
	for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
		if (qz_jparse_is_name(p->tok, constants[i]))
			return qz_jparse_fail(p, "cannot assign to %s", constants[i]);
	n = named(p, QZ_JE_NAME);
	if (!p->failed && attributes && qz_jparse_skip(p, QZ_JT_DOT)) {
		const struct qz_jtoken *t = p->tok;

		qz_jparse_expect(p, QZ_JT_NAME);
		if (p->failed)
			return NULL;
		n->kind = QZ_JS_ATTR;
		n->b = qz_jparse_node(p, QZ_JE_NAME);
		if (n->b) {
			n->b->name = t->s;
			n->b->name_n = t->n;
		}
	}
	return n;
}

static struct qz_jnode *
target(struct qz_jparser *p, bool attributes)
{
	struct qz_jnode *first = target_one(p, attributes), *tuple, **end;

	if (p->failed || p->tok->kind != QZ_JT_COMMA)
		return first;
	tuple = qz_jparse_node(p, QZ_JE_TUPLE);
	if (!tuple)
		return NULL;
	tuple->list = first;
	end = &first->next;
	while (qz_jparse_skip(p, QZ_JT_COMMA)) {
		if (p->tok->kind != QZ_JT_NAME && p->tok->kind != QZ_JT_LPAREN)
			break;
		if (qz_jparse_is_name(p->tok, "in"))
			break;
		*end = target_one(p, attributes);
		if (p->failed)
			return NULL;
		end = &(*end)->next;
	}
	return tuple;
}

static struct qz_jnode *
parse_if(struct qz_jparser *p)
{
	static const char *const ends[] = { "elif", "else", "endif", NULL };
	static const char *const last[] = { "endif", NULL };
	struct qz_jnode *first = NULL, **at = &first, *n;
	const char *ended;
	int links = 0;

	do {
		n = qz_jparse_node(p, QZ_JS_IF);
		if (!n || ++links > QZ_J_CHAIN_MAX)
			return qz_jparse_fail(p, "more than %d elif", QZ_J_CHAIN_MAX);
		n->a = qz_jparse_tuple(p, false);
		n->list = body(p, ends, &ended);
		*at = n;
		at = &n->b;
	} while (!p->failed && !strcmp(ended, "elif"));
	if (!p->failed && !strcmp(ended, "else")) {
		n->b = qz_jparse_node(p, QZ_JS_BODY);
		if (n->b)
			n->b->list = body(p, last, &ended);
	}
	return first;
}

static struct qz_jnode *
parse_for(struct qz_jparser *p)
{
	static const char *const ends[] = { "else", "endfor", NULL };
	static const char *const last[] = { "endfor", NULL };
	struct qz_jnode *n = qz_jparse_node(p, QZ_JS_FOR);
	const char *ended;

	if (!n)
		return NULL;
	n->id = qz_jname_add(p->t, "loop", 4);
	n->a = target(p, false);
	if (!qz_jparse_skip_name(p, "in"))
		return qz_jparse_fail(p, "for without in");
	n->b = qz_jparse_tuple(p, false);
	if (qz_jparse_skip_name(p, "if"))
		n->c = qz_jparse_expr(p);
	if (qz_jparse_is_name(p->tok, "recursive"))
		return qz_jparse_fail(p, "recursive loops are not supported");
	p->loops++;
	n->list = body(p, ends, &ended);
	p->loops--;
	if (!p->failed && !strcmp(ended, "else")) {
		n->d = qz_jparse_node(p, QZ_JS_BODY);
		if (n->d)
			n->d->list = body(p, last, &ended);
	}
	return n;
}

static struct qz_jnode *
parse_set(struct qz_jparser *p)
{
	static const char *const ends[] = { "endset", NULL };
	struct qz_jnode *n = qz_jparse_node(p, QZ_JS_SET);
	const char *ended;

	if (!n)
		return NULL;
	n->a = target(p, true);
	if (qz_jparse_skip(p, QZ_JT_ASSIGN)) {
		n->b = qz_jparse_tuple(p, true);
		return n;
	}
	n->kind = QZ_JS_SET_BLOCK;
	n->b = qz_jparse_filters(p, NULL, false);
	n->list = body(p, ends, &ended);
	return n;
}

static struct qz_jnode *
params(struct qz_jparser *p)
{
	struct qz_jnode *first = NULL, **end = &first;
	bool defaults = false;

	qz_jparse_expect(p, QZ_JT_LPAREN);
	while (!p->failed && p->tok->kind != QZ_JT_RPAREN) {
		struct qz_jnode *n = named(p, QZ_JS_PARAM);

		if (!n)
			return NULL;
		if (qz_jparse_skip(p, QZ_JT_ASSIGN)) {
			n->a = qz_jparse_expr(p);
			defaults = true;
		} else if (defaults) {
			return qz_jparse_fail(
			    p, "a parameter without a default behind one with a default");
		}
		*end = n;
		end = &n->next;
		if (!qz_jparse_skip(p, QZ_JT_COMMA))
			break;
	}
	qz_jparse_expect(p, QZ_JT_RPAREN);
	return first;
}

/* What a macro may read without being given it. */
static bool
macro_names(struct qz_jparser *p)
{
	return qz_jname_add(p->t, "caller", 6) != UINT32_MAX &&
	       qz_jname_add(p->t, "varargs", 7) != UINT32_MAX &&
	       qz_jname_add(p->t, "kwargs", 6) != UINT32_MAX;
}

/* Which of them stand in the tokens from..p->tok. */
static uint8_t
macro_uses(const struct qz_jparser *p, const struct qz_jtoken *from)
{
	uint8_t uses = 0;

	for (; from < p->tok; from++)
		uses |= qz_jparse_is_name(from, "varargs")  ? QZ_J_VARARGS
			: qz_jparse_is_name(from, "kwargs") ? QZ_J_KWARGS
							    : 0;
	return uses;
}

static struct qz_jnode *
parse_macro(struct qz_jparser *p)
{
	static const char *const ends[] = { "endmacro", NULL };
	struct qz_jnode *n = named(p, QZ_JS_MACRO);
	const struct qz_jtoken *from = p->tok;
	int loops = p->loops;
	const char *ended;

	if (!n || !macro_names(p))
		return NULL;
	n->a = params(p);
	p->loops = 0;
	n->list = body(p, ends, &ended);
	p->loops = loops;
	n->op = macro_uses(p, from);
	return n;
}

static struct qz_jnode *
parse_call(struct qz_jparser *p)
{
	static const char *const ends[] = { "endcall", NULL };
	struct qz_jnode *n = qz_jparse_node(p, QZ_JS_CALL);
	int loops = p->loops;
	const char *ended;

	if (!n || !macro_names(p))
		return NULL;
	if (p->tok->kind == QZ_JT_LPAREN)
		n->a = params(p);
	n->b = qz_jparse_expr(p);
	if (!p->failed && n->b->kind != QZ_JE_CALL)
		return qz_jparse_fail(p, "{%% call %%} without a call");
	p->loops = 0;
	n->list = body(p, ends, &ended);
	p->loops = loops;
	return n;
}

static struct qz_jnode *
parse_filter(struct qz_jparser *p)
{
	static const char *const ends[] = { "endfilter", NULL };
	struct qz_jnode *n = qz_jparse_node(p, QZ_JS_FILTER);
	const char *ended;

	if (!n)
		return NULL;
	n->a = qz_jparse_filters(p, NULL, true);
	n->list = body(p, ends, &ended);
	return n;
}

static struct qz_jnode *
parse_with(struct qz_jparser *p)
{
	static const char *const ends[] = { "endwith", NULL };
	struct qz_jnode *n = qz_jparse_node(p, QZ_JS_WITH), **end;
	const char *ended;

	if (!n)
		return NULL;
	end = &n->a;
	while (!p->failed && p->tok->kind != QZ_JT_BLOCK_END) {
		struct qz_jnode *set = qz_jparse_node(p, QZ_JS_SET);

		if (!set)
			return NULL;
		set->a = target_one(p, false);
		qz_jparse_expect(p, QZ_JT_ASSIGN);
		set->b = qz_jparse_expr(p);
		*end = set;
		end = &set->next;
		if (!qz_jparse_skip(p, QZ_JT_COMMA))
			break;
	}
	n->list = body(p, ends, &ended);
	return n;
}

static struct qz_jnode *
parse_generation(struct qz_jparser *p)
{
	static const char *const ends[] = { "endgeneration", NULL };
	struct qz_jnode *n = qz_jparse_node(p, QZ_JS_GENERATION);
	const char *ended;

	if (n)
		n->list = body(p, ends, &ended);
	p->t->has_generation = true;
	return n;
}

static struct qz_jnode *
parse_jump(struct qz_jparser *p, enum qz_jnode_kind kind)
{
	if (!p->loops)
		return qz_jparse_fail(p, "break or continue outside of a loop");
	return qz_jparse_node(p, kind);
}

static struct qz_jnode *
parse_break(struct qz_jparser *p)
{
	return parse_jump(p, QZ_JS_BREAK);
}

static struct qz_jnode *
parse_continue(struct qz_jparser *p)
{
	return parse_jump(p, QZ_JS_CONTINUE);
}

static const struct {
	const char *name;
	struct qz_jnode *(*parse)(struct qz_jparser *p);
} statements[] = {
	{ "if", parse_if },
	{ "for", parse_for },
	{ "set", parse_set },
	{ "macro", parse_macro },
	{ "call", parse_call },
	{ "filter", parse_filter },
	{ "with", parse_with },
	{ "generation", parse_generation },
	{ "break", parse_break },
	{ "continue", parse_continue },
};

/* Behind "{%". */
static struct qz_jnode *
statement(struct qz_jparser *p)
{
	const struct qz_jtoken *t = p->tok;
	struct qz_jnode *n = NULL;
	size_t i;

	for (i = 0; i < sizeof statements / sizeof *statements; i++)
		if (qz_jparse_is_name(t, statements[i].name))
			break;
	if (i == sizeof statements / sizeof *statements)
		return qz_jparse_fail(
		    p, "{%% %.*s %%} is not known here", (int)(t->n < 40 ? t->n : 40), t->s);
	p->tok++;
	n = statements[i].parse(p);
	if (n)
		n->line = t->line;
	qz_jparse_expect(p, QZ_JT_BLOCK_END);
	return n;
}

static struct qz_jnode *
text(struct qz_jparser *p)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JS_TEXT);
	struct qz_jstr *s = qz_arena_alloc(&p->t->arena, sizeof *s + sizeof *s->runs);

	if (!n || !s) {
		p->failed = true;
		qz_nomem(p->e, sizeof *s);
		return NULL;
	}
	s->runs = (struct qz_jrun *)(void *)(s + 1);
	s->n = p->tok->n;
	s->n_runs = 1;
	s->runs[0] = (struct qz_jrun){ .s = p->tok->s, .n = s->n, .message = -1, .turn = -1 };
	n->value = (struct qz_jv){ .kind = QZ_J_STR, .message = -1, .u.s = s };
	p->tok++;
	return n;
}

static struct qz_jnode *
print(struct qz_jparser *p)
{
	struct qz_jnode *n = qz_jparse_node(p, QZ_JS_PRINT);

	p->tok++;
	if (n)
		n->a = qz_jparse_tuple(p, true);
	qz_jparse_expect(p, QZ_JT_VAR_END);
	return n;
}

static const char *
which(const struct qz_jtoken *t, const char *const *names)
{
	for (; names && *names; names++)
		if (qz_jparse_is_name(t, *names))
			return *names;
	return NULL;
}

/* Statements up to the end of the template or a tag of ends. */
static struct qz_jnode *
statements_until(struct qz_jparser *p, const char *const *ends, const char **ended)
{
	struct qz_jnode *first = NULL, **end = &first;

	while (!p->failed && p->tok->kind != QZ_JT_EOF) {
		if (p->tok->kind == QZ_JT_DATA) {
			*end = text(p);
		} else if (p->tok->kind == QZ_JT_VAR) {
			*end = print(p);
		} else {
			p->tok++;
			*ended = which(p->tok, ends);
			if (*ended) {
				p->tok++;
				return first;
			}
			*end = statement(p);
		}
		if (*end)
			end = &(*end)->next;
	}
	return first;
}

static struct qz_jnode *
body(struct qz_jparser *p, const char *const *ends, const char **ended)
{
	const struct qz_jtoken *open = p->tok;
	struct qz_jnode *first;

	*ended = NULL;
	qz_jparse_skip(p, QZ_JT_COLON);
	qz_jparse_expect(p, QZ_JT_BLOCK_END);
	if (p->failed)
		return NULL;
	if (p->depth >= QZ_J_NEST_MAX)
		return qz_jparse_fail(p, "nested deeper than %d", QZ_J_NEST_MAX);
	p->depth++;
	first = statements_until(p, ends, ended);
	p->depth--;
	if (!p->failed && !*ended) {
		const char *wanted = ends[0];

		while (ends[1])
			wanted = *++ends;
		qz_jparse_fail(
		    p, "the block opened in line %d has no {%% %s %%}", open->line, wanted);
	}
	if (!*ended)
		*ended = "";
	return first;
}

int
qz_jinja_parse(struct qz_template *t, const struct qz_jtoken *tokens, struct qz_err *e)
{
	struct qz_jparser p = { .t = t, .tok = tokens, .e = e };
	const char *ended;

	t->body = statements_until(&p, NULL, &ended);
	return p.failed ? -1 : 0;
}
