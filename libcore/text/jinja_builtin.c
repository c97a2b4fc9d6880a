/* Finding a built-in by its name and giving it its arguments. */
#include <string.h>

#include "libcore/text/jinja.h"

const struct qz_jbuiltin *
qz_jbuiltin_in(const struct qz_jbuiltin *t, const char *s, size_t n)
{
	for (; t->name; t++)
		if (strlen(t->name) == n && !memcmp(t->name, s, n))
			return t;
	return NULL;
}

const struct qz_jbuiltin *
qz_jfilter_find(const char *s, size_t n)
{
	const struct qz_jbuiltin *b = qz_jbuiltin_in(qz_jfilters_text, s, n);

	return b ? b : qz_jbuiltin_in(qz_jfilters_seq, s, n);
}

const struct qz_jbuiltin *
qz_jtest_find(const char *s, size_t n)
{
	return qz_jbuiltin_in(qz_jtests, s, n);
}

const struct qz_jbuiltin *
qz_jfunction_find(const char *s, size_t n)
{
	return qz_jbuiltin_in(qz_jfunctions, s, n);
}

/* The place of a name in "old new count", or -1. */
static int
place(const char *params, const char *s, size_t n)
{
	for (int i = 0; *params; i++) {
		size_t len = strcspn(params, " ");

		if (len == n && !memcmp(params, s, n))
			return i;
		params += len + (params[len] == ' ');
	}
	return -1;
}

static int
count(const char *params)
{
	int n = *params != 0;

	for (; *params; params++)
		n += *params == ' ';
	return n;
}

struct qz_jv
qz_jinja_builtin(struct qz_jctx *c, const struct qz_jbuiltin *b, struct qz_jcall *call)
{
	struct qz_jv missing = { .kind = QZ_J_MISSING, .message = -1 };
	int n = count(b->params), at;

	call->builtin = b;
	for (int i = 0; i < QZ_J_ARGS_MAX; i++)
		call->a[i] = missing;
	if (c->failed)
		return missing;
	if (*b->params == '*')
		return b->fn(c, call);
	if (call->n_pos > (size_t)n)
		return qz_jfail(
		    c, "%s takes at most %d arguments, not %zu", b->name, n, call->n_pos);
	for (size_t i = 0; i < call->n_pos; i++)
		call->a[i] = call->pos[i];
	for (size_t i = 0; i < call->n_kw; i++) {
		at = place(b->params, call->kw[i].name, call->kw[i].name_n);
		if (at < 0 || call->a[at].kind != QZ_J_MISSING)
			return qz_jfail(c, "%s does not take '%.*s' here", b->name,
			    (int)call->kw[i].name_n, call->kw[i].name);
		call->a[at] = call->kw_values[i];
	}
	for (int i = 0; i < b->required; i++)
		if (call->a[i].kind == QZ_J_MISSING)
			return qz_jfail(c, "%s needs %d argument%s", b->name, b->required,
			    b->required > 1 ? "s" : "");
	return b->fn(c, call);
}
