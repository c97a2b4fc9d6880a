/* The methods of dicts, lists and loops. */
#include <string.h>

#include "libcore/text/jinja.h"

static struct qz_jv
view(struct qz_jctx *c, const struct qz_jcall *call)
{
	return qz_jparts(c, call->self.u.d, call->builtin->arg, QZ_J_VIEW);
}

static struct qz_jv
get(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jv *have = qz_jdict_get(c, call->self.u.d, call->a[0]);

	if (!qz_jv_hashable(call->a[0]))
		return qz_jfail(c, "a %s cannot be a key", qz_jv_type(call->a[0]));
	if (have)
		return *have;
	return call->a[1].kind == QZ_J_MISSING ? qz_jv_none() : call->a[1];
}

static struct qz_jv
copy(struct qz_jctx *c, const struct qz_jcall *call)
{
	(void)c;
	return call->self; /* nothing can change it */
}

static struct qz_jv
index_of(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = call->self.u.q;

	for (size_t i = 0; i < q->n && qz_jspend(c, i % 16 == 0); i++)
		if (qz_jv_equal(c, q->v[i], call->a[0]))
			return qz_jv_int((int64_t)i);
	return qz_jfail(c, "index: the value is not in the list");
}

static struct qz_jv
count_of(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = call->self.u.q;
	int64_t n = 0;

	for (size_t i = 0; i < q->n && qz_jspend(c, i % 16 == 0); i++)
		n += qz_jv_equal(c, q->v[i], call->a[0]);
	return qz_jv_int(n);
}

static struct qz_jv
cycle(struct qz_jctx *c, const struct qz_jcall *call)
{
	if (!call->n_pos)
		return qz_jfail(c, "loop.cycle needs an argument");
	return call->pos[call->self.u.loop->i % call->n_pos];
}

const struct qz_jbuiltin qz_jmethods_dict[] = {
	{ "items", 0, "", view, QZ_J_ITEMS },
	{ "keys", 0, "", view, QZ_J_KEYS },
	{ "values", 0, "", view, QZ_J_VALUES },
	{ "get", 1, "key default", get, 0 },
	{ "copy", 0, "", copy, 0 },
	{ 0 },
};

const struct qz_jbuiltin qz_jmethods_seq[] = {
	{ "index", 1, "value", index_of, 0 },
	{ "count", 1, "value", count_of, 0 },
	{ "copy", 0, "", copy, 0 },
	{ 0 },
};

const struct qz_jbuiltin qz_jmethods_loop[] = {
	{ "cycle", 0, "*", cycle, 0 },
	{ 0 },
};

const struct qz_jbuiltin *
qz_jmethod_find(struct qz_jv v, const char *s, size_t n, bool *unsafe)
{
	/* What would change its object. */
	static const struct {
		uint8_t kind;
		const char *name;
	} refused[] = { { QZ_J_DICT, "pop" }, { QZ_J_DICT, "popitem" }, { QZ_J_DICT, "clear" },
		{ QZ_J_DICT, "update" }, { QZ_J_DICT, "setdefault" }, { QZ_J_LIST, "append" },
		{ QZ_J_LIST, "clear" }, { QZ_J_LIST, "extend" }, { QZ_J_LIST, "insert" },
		{ QZ_J_LIST, "pop" }, { QZ_J_LIST, "remove" }, { QZ_J_LIST, "reverse" },
		{ QZ_J_LIST, "sort" } };

	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		*unsafe |= refused[i].kind == v.kind && strlen(refused[i].name) == n &&
			   !memcmp(refused[i].name, s, n);
	switch (v.kind) {
	case QZ_J_STR:
		return qz_jbuiltin_in(qz_jmethods_str, s, n);
	case QZ_J_DICT:
		return qz_jbuiltin_in(qz_jmethods_dict, s, n);
	case QZ_J_LIST:
	case QZ_J_TUPLE:
	case QZ_J_RANGE:
		return qz_jbuiltin_in(qz_jmethods_seq, s, n);
	case QZ_J_LOOP:
		return qz_jbuiltin_in(qz_jmethods_loop, s, n);
	default:
		return NULL;
	}
}
