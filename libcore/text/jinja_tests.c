/* What stands behind `is`. */
#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

/* Is the value's kind one of those in the mask? */
static struct qz_jv
is_kind(struct qz_jctx *c, const struct qz_jcall *call)
{
	(void)c;
	return qz_jv_bool(call->builtin->arg >> call->self.kind & 1);
}

static struct qz_jv
is_bool(struct qz_jctx *c, const struct qz_jcall *call)
{
	(void)c;
	return qz_jv_bool(
	    call->self.kind == QZ_J_BOOL && call->self.u.b == (call->builtin->arg != 0));
}

static struct qz_jv
remainder_is(struct qz_jctx *c, struct qz_jv v, struct qz_jv by, int64_t want)
{
	struct qz_jv m = qz_jinja_binary(c, QZ_JT_MOD, v, by);

	return qz_jv_bool(!c->failed && qz_jv_equal(c, m, qz_jv_int(want)));
}

static struct qz_jv
is_parity(struct qz_jctx *c, const struct qz_jcall *call)
{
	return remainder_is(c, call->self, qz_jv_int(2), call->builtin->arg);
}

static struct qz_jv
is_divisible(struct qz_jctx *c, const struct qz_jcall *call)
{
	return remainder_is(c, call->self, call->a[0], 0);
}

/* All letters are of one case, and there is one. */
static struct qz_jv
is_case(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv str = qz_jv_str(c, call->self);
	const char *s = qz_jstr_flat(c, str.u.s);
	bool any = false, upper = call->builtin->arg != 0;
	int len;

	for (size_t i = 0; i < str.u.s->n; i += (size_t)len) {
		uint32_t ch = (uint32_t)qz_utf8_get(s + i, str.u.s->n - i, &len);
		bool is_lower = qz_utf8_upper(ch) != ch, is_upper = qz_utf8_lower(ch) != ch;

		if (upper ? is_lower : is_upper)
			return qz_jv_bool(false);
		any |= is_lower || is_upper;
	}
	return qz_jv_bool(any);
}

static struct qz_jv
is_same(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv a = call->self, b = call->a[0];

	if (a.kind != b.kind)
		return qz_jv_bool(false);
	if (a.kind >= QZ_J_LIST)
		return qz_jv_bool(a.u.d == b.u.d);
	return qz_jv_bool(qz_jv_equal(c, a, b));
}

static struct qz_jv
compares(struct qz_jctx *c, const struct qz_jcall *call)
{
	return qz_jv_bool(
	    qz_jinja_holds(c, call->builtin->arg, call->self, call->a[0]) && !c->failed);
}

static struct qz_jv
is_filter(struct qz_jctx *c, const struct qz_jcall *call)
{
	if (call->self.kind != QZ_J_STR)
		return qz_jv_bool(false);
	return qz_jv_bool(
	    qz_jfilter_find(qz_jstr_flat(c, call->self.u.s), call->self.u.s->n) != NULL);
}

static struct qz_jv
is_test(struct qz_jctx *c, const struct qz_jcall *call)
{
	if (call->self.kind != QZ_J_STR)
		return qz_jv_bool(false);
	return qz_jv_bool(
	    qz_jtest_find(qz_jstr_flat(c, call->self.u.s), call->self.u.s->n) != NULL);
}

#define K(kind) (1 << QZ_J_##kind)
enum {
	SIZED = K(UNDEF) | K(STR) | K(LIST) | K(TUPLE) | K(RANGE) | K(DICT),
};

const struct qz_jbuiltin qz_jtests[] = {
	{ "defined", 0, "", is_kind, ~K(UNDEF) },
	{ "undefined", 0, "", is_kind, K(UNDEF) },
	{ "none", 0, "", is_kind, K(NONE) },
	{ "boolean", 0, "", is_kind, K(BOOL) },
	{ "integer", 0, "", is_kind, K(INT) },
	{ "float", 0, "", is_kind, K(FLOAT) },
	{ "number", 0, "", is_kind, K(BOOL) | K(INT) | K(FLOAT) },
	{ "string", 0, "", is_kind, K(STR) },
	{ "mapping", 0, "", is_kind, K(DICT) },
	{ "sequence", 0, "", is_kind, SIZED },
	{ "iterable", 0, "", is_kind, SIZED | K(ITER) | K(VIEW) | K(LOOP) },
	{ "callable", 0, "", is_kind, K(MACRO) | K(FUNC) },
	{ "true", 0, "", is_bool, 1 },
	{ "false", 0, "", is_bool, 0 },
	{ "odd", 0, "", is_parity, 1 },
	{ "even", 0, "", is_parity, 0 },
	{ "divisibleby", 1, "num", is_divisible, 0 },
	{ "lower", 0, "", is_case, 0 },
	{ "upper", 0, "", is_case, 1 },
	{ "sameas", 1, "other", is_same, 0 },
	{ "filter", 0, "", is_filter, 0 },
	{ "test", 0, "", is_test, 0 },
	{ "in", 1, "seq", compares, QZ_JT_IN },
	{ "eq", 1, "other", compares, QZ_JT_EQ },
	{ "equalto", 1, "other", compares, QZ_JT_EQ },
	{ "==", 1, "other", compares, QZ_JT_EQ },
	{ "ne", 1, "other", compares, QZ_JT_NE },
	{ "!=", 1, "other", compares, QZ_JT_NE },
	{ "gt", 1, "other", compares, QZ_JT_GT },
	{ "greaterthan", 1, "other", compares, QZ_JT_GT },
	{ ">", 1, "other", compares, QZ_JT_GT },
	{ "ge", 1, "other", compares, QZ_JT_GE },
	{ ">=", 1, "other", compares, QZ_JT_GE },
	{ "lt", 1, "other", compares, QZ_JT_LT },
	{ "lessthan", 1, "other", compares, QZ_JT_LT },
	{ "<", 1, "other", compares, QZ_JT_LT },
	{ "le", 1, "other", compares, QZ_JT_LE },
	{ "<=", 1, "other", compares, QZ_JT_LE },
	{ 0 },
};
