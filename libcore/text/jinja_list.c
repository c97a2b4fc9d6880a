/* Filters on sequences, and the methods of dicts, lists and loops. */
#include <string.h>

#include "libcore/text/jinja.h"

static bool
given(struct qz_jv v)
{
	return v.kind != QZ_J_MISSING && v.kind != QZ_J_NONE;
}

static bool
flag(struct qz_jv v)
{
	return given(v) && qz_jv_true(v);
}

/* The part of an item that a path names: "address.city", "0". */
static struct qz_jv
path(struct qz_jctx *c, struct qz_jv item, const char *s, size_t n)
{
	for (size_t from = 0, to; from <= n && !c->failed; from = to + 1) {
		int64_t index = 0;
		bool digits = true;

		for (to = from; to < n && s[to] != '.'; to++) {
			digits &= s[to] >= '0' && s[to] <= '9' && to - from < 9;
			index = digits ? index * 10 + (s[to] - '0') : 0;
		}
		item = qz_jinja_item(c, item,
		    digits && to > from ? qz_jv_int(index) : qz_jstr_new(c, s + from, to - from));
	}
	return item;
}

static struct qz_jv
attribute(struct qz_jctx *c, struct qz_jv item, struct qz_jv name)
{
	if (!given(name))
		return item;
	if (name.kind != QZ_J_STR)
		return qz_jinja_item(c, item, name);
	return path(c, item, qz_jstr_flat(c, name.u.s), name.u.s->n);
}

static struct qz_jv
iterator(struct qz_jctx *c, const char *label)
{
	struct qz_jv q = qz_jv_seq(c, QZ_J_ITER, 0);

	if (!c->failed && label)
		q.u.q->label = label;
	return q;
}

static struct qz_jv
length(struct qz_jctx *c, const struct qz_jcall *call)
{
	size_t n = qz_jv_length(c, call->self);

	return qz_jv_int((int64_t)n);
}

static struct qz_jv
list(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *from = qz_jv_iterate(c, call->self);
	struct qz_jv q = qz_jv_seq(c, QZ_J_LIST, from ? from->n : 0);

	q.from = call->self.from;
	q.message = call->self.message;
	for (size_t i = 0; from && i < from->n && !c->failed; i++)
		qz_jseq_add(c, q.u.q, from->v[i]);
	return q;
}

static struct qz_jv
first(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);

	if (!q || !q->n)
		return qz_jv_undef(c, "an empty sequence", "first", 5);
	return q->v[0];
}

static struct qz_jv
last(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q;

	if (call->self.kind == QZ_J_ITER)
		return qz_jfail(c, "last of a generator: put |list before it");
	q = qz_jv_iterate(c, call->self);
	if (!q || !q->n)
		return qz_jv_undef(c, "an empty sequence", "last", 4);
	return q->v[q->n - 1];
}

static struct qz_jv
join(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv between = call->a[0];
	struct qz_jbuild b = { 0 };

	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		if (i && between.kind != QZ_J_MISSING)
			qz_jbuild_value(c, &b, between);
		qz_jbuild_value(c, &b, attribute(c, q->v[i], call->a[1]));
	}
	return qz_jbuild_done(c, &b);
}

/* map('filter', arguments...), map(attribute='name', default=...). */
static struct qz_jv
map(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv out = iterator(c, NULL), name = { .kind = QZ_J_MISSING }, otherwise = name, v;
	const struct qz_jbuiltin *f = NULL;
	const struct qz_jseq *q;

	for (size_t i = 0; i < call->n_kw && !call->n_pos; i++) {
		bool is_default = call->kw[i].name_n == 7 &&
				  !memcmp(call->kw[i].name, "default", 7);

		if (!is_default &&
		    (call->kw[i].name_n != 9 || memcmp(call->kw[i].name, "attribute", 9)))
			return qz_jfail(c, "map does not take '%.*s'", (int)call->kw[i].name_n,
			    call->kw[i].name);
		*(is_default ? &otherwise : &name) = call->kw_values[i];
	}
	if (call->n_pos) {
		if (call->pos[0].kind == QZ_J_STR)
			f = qz_jfilter_find(qz_jstr_flat(c, call->pos[0].u.s), call->pos[0].u.s->n);
		if (!f)
			return qz_jfail(c, "map: there is no such filter");
	} else if (!given(name)) {
		return qz_jfail(c, "map needs a filter or attribute=");
	}
	q = qz_jv_true(call->self) ? qz_jv_iterate(c, call->self) : NULL;
	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		if (f) {
			struct qz_jcall one = { .self = q->v[i],
				.pos = call->pos + 1,
				.n_pos = call->n_pos - 1,
				.kw = call->kw,
				.kw_values = call->kw_values,
				.n_kw = call->n_kw };

			v = qz_jinja_builtin(c, f, &one);
		} else {
			v = attribute(c, q->v[i], name);
			if (v.kind == QZ_J_UNDEF && given(otherwise))
				v = otherwise;
		}
		qz_jseq_add(c, out.u.q, v);
	}
	return out;
}

enum { REJECT = 1, BY_ATTRIBUTE = 2 };

/* select('test', arguments...) and its three relatives. */
static struct qz_jv
choose(struct qz_jctx *c, const struct qz_jcall *call)
{
	size_t off = call->builtin->arg & BY_ATTRIBUTE ? 1 : 0;
	struct qz_jv out = iterator(c, NULL), name = { .kind = QZ_J_MISSING };
	const struct qz_jbuiltin *test = NULL;
	const struct qz_jseq *q;

	if (call->n_pos < off)
		return qz_jfail(c, "%s needs the name of an attribute", call->builtin->name);
	if (off)
		name = call->pos[0];
	if (call->n_pos > off) {
		if (call->pos[off].kind == QZ_J_STR)
			test = qz_jtest_find(
			    qz_jstr_flat(c, call->pos[off].u.s), call->pos[off].u.s->n);
		if (!test)
			return qz_jfail(c, "%s: there is no such test", call->builtin->name);
	}
	q = qz_jv_true(call->self) ? qz_jv_iterate(c, call->self) : NULL;
	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		struct qz_jv v = attribute(c, q->v[i], name);

		if (test) {
			struct qz_jcall one = { .self = v,
				.pos = call->pos + off + 1,
				.n_pos = call->n_pos - off - 1,
				.kw = call->kw,
				.kw_values = call->kw_values,
				.n_kw = call->n_kw };

			v = qz_jinja_builtin(c, test, &one);
		}
		if (qz_jv_true(v) != (call->builtin->arg & REJECT))
			qz_jseq_add(c, out.u.q, q->v[i]);
	}
	return out;
}

/* The pairs, keys or values of a dict. */
enum { ITEMS, KEYS, VALUES };

static struct qz_jv
parts(struct qz_jctx *c, const struct qz_jdict *d, int which, enum qz_jkind kind)
{
	static const char *const labels[] = { "dict_items", "dict_keys", "dict_values" };
	struct qz_jv q = qz_jv_seq(c, kind, d->n), pair;

	if (c->failed)
		return q;
	if (kind == QZ_J_VIEW)
		q.u.q->label = labels[which];
	for (size_t i = 0; i < d->n && qz_jspend(c, i % 16 == 0); i++) {
		if (which != ITEMS) {
			qz_jseq_add(c, q.u.q, which == KEYS ? d->keys[i] : d->values[i]);
			continue;
		}
		pair = qz_jv_seq(c, QZ_J_TUPLE, 2);
		qz_jseq_add(c, pair.u.q, d->keys[i]);
		qz_jseq_add(c, pair.u.q, d->values[i]);
		qz_jseq_add(c, q.u.q, pair);
	}
	return q;
}

static struct qz_jv
items(struct qz_jctx *c, const struct qz_jcall *call)
{
	if (call->self.kind == QZ_J_UNDEF)
		return iterator(c, NULL);
	if (call->self.kind != QZ_J_DICT)
		return qz_jfail(c, "items of a %s, expected a mapping", qz_jv_type(call->self));
	return parts(c, call->self.u.d, ITEMS, QZ_J_ITER);
}

struct key {
	const struct qz_jv *parts;
	size_t at;
};

static int
order(struct qz_jctx *c, const struct key *a, const struct key *b, size_t n)
{
	for (size_t i = 0; i < n && !c->failed; i++)
		if (!qz_jv_equal(c, a->parts[i], b->parts[i]))
			return qz_jv_order(c, a->parts[i], b->parts[i], "<");
	return 0;
}

/* A merge sort from the bottom; equal keys keep their order, also when it is reversed. */
static struct key *
merge_sort(
    struct qz_jctx *c, struct key *k, struct key *spare, size_t n, size_t n_parts, bool reverse)
{
	for (size_t width = 1; width < n && !c->failed; width *= 2) {
		struct key *swap = spare;

		for (size_t lo = 0; lo < n && qz_jspend(c, 1 + width / 4); lo += 2 * width) {
			size_t mid = lo + width < n ? lo + width : n,
			       hi = mid + width < n ? mid + width : n;
			size_t i = lo, j = mid;

			for (size_t at = lo; at < hi; at++) {
				int d = i < mid && j < hi ? order(c, &k[i], &k[j], n_parts) : 0;
				bool left = j >= hi || (i < mid && (reverse ? d >= 0 : d <= 0));

				spare[at] = left ? k[i++] : k[j++];
			}
		}
		spare = k;
		k = swap;
	}
	return k;
}

static struct qz_jv
fold(struct qz_jctx *c, struct qz_jv v, bool case_sensitive)
{
	return v.kind == QZ_J_STR && !case_sensitive ? qz_jstr_case(c, v.u.s, QZ_J_LOWER) : v;
}

/* q sorted by keys, n_parts for each item. */
static struct qz_jv
sorted(struct qz_jctx *c, const struct qz_jseq *q, const struct qz_jv *keys, size_t n_parts,
    bool reverse)
{
	struct key *k = qz_jalloc(c, (q->n + 1) * sizeof *k),
		   *spare = qz_jalloc(c, (q->n + 1) * sizeof *k);
	struct qz_jv out = qz_jv_seq(c, QZ_J_LIST, q->n);

	if (c->failed)
		return out;
	for (size_t i = 0; i < q->n; i++)
		k[i] = (struct key){ .parts = keys + i * n_parts, .at = i };
	k = merge_sort(c, k, spare, q->n, n_parts, reverse);
	for (size_t i = 0; i < q->n && !c->failed; i++)
		qz_jseq_add(c, out.u.q, q->v[k[i].at]);
	return out;
}

static struct qz_jv
sort(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv by = call->a[2];
	const char *s = by.kind == QZ_J_STR ? qz_jstr_flat(c, by.u.s) : "";
	size_t n = by.kind == QZ_J_STR ? by.u.s->n : 0, n_parts = 1;
	struct qz_jv *keys;

	for (size_t i = 0; i < n; i++)
		n_parts += s[i] == ',';
	if (!q || !qz_jspend(c, q->n * n_parts / 16))
		return call->self;
	keys = qz_jalloc(c, (q->n * n_parts + 1) * sizeof *keys);
	for (size_t i = 0; keys && i < q->n && !c->failed; i++) {
		size_t from = 0;

		for (size_t p = 0; p < n_parts; p++) {
			size_t len = 0;
			struct qz_jv v;

			while (from + len < n && s[from + len] != ',')
				len++;
			v = n ? path(c, q->v[i], s + from, len) : attribute(c, q->v[i], by);
			keys[i * n_parts + p] = fold(c, v, flag(call->a[1]));
			from += len + 1;
		}
	}
	return keys && !c->failed ? sorted(c, q, keys, n_parts, flag(call->a[0])) : call->self;
}

static struct qz_jv
dictsort(struct qz_jctx *c, const struct qz_jcall *call)
{
	bool by_value = given(call->a[1]) && qz_jstr_is(c, call->a[1], "value");
	struct qz_jv pairs, *keys;
	size_t n;

	if (call->self.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, call->self);
	if (call->self.kind != QZ_J_DICT)
		return qz_jfail(c, "dictsort of a %s", qz_jv_type(call->self));
	if (given(call->a[1]) && !by_value && !qz_jstr_is(c, call->a[1], "key"))
		return qz_jfail(c, "dictsort: by is key or value");
	pairs = parts(c, call->self.u.d, ITEMS, QZ_J_LIST);
	n = pairs.u.q->n;
	keys = qz_jalloc(c, (n + 1) * sizeof *keys);
	for (size_t i = 0; keys && i < n && !c->failed; i++)
		keys[i] = fold(c, pairs.u.q->v[i].u.q->v[by_value], flag(call->a[0]));
	return keys && !c->failed ? sorted(c, pairs.u.q, keys, 1, flag(call->a[2])) : pairs;
}

static struct qz_jv
unique(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv out = iterator(c, NULL), seen = qz_jv_dict(c, 0), key;

	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		key = fold(c, attribute(c, q->v[i], call->a[1]), flag(call->a[0]));
		if (c->failed || qz_jdict_get(c, seen.u.d, key))
			continue;
		qz_jdict_put(c, seen.u.d, key, key);
		qz_jseq_add(c, out.u.q, q->v[i]);
	}
	return out;
}

static struct qz_jv
reverse(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv none = qz_jv_none(), out;
	const struct qz_jseq *q;

	if (call->self.kind == QZ_J_STR)
		return qz_jinja_slice(c, call->self, none, none, qz_jv_int(-1));
	q = qz_jv_iterate(c, call->self);
	out = iterator(c, "list_reverseiterator");
	for (size_t i = q ? q->n : 0; i > 0 && qz_jspend(c, i % 16 == 0); i--)
		qz_jseq_add(c, out.u.q, q->v[i - 1]);
	return out;
}

/* min and max: the first of those that are equal. */
static struct qz_jv
extreme(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv best, best_key = qz_jv_none(), key;

	if (!q || !q->n)
		return qz_jv_undef(c, "an empty sequence", "extreme", 7);
	best = q->v[0];
	for (size_t i = 0; i < q->n && qz_jspend(c, 1); i++) {
		key = fold(c, attribute(c, q->v[i], call->a[1]), flag(call->a[0]));
		if (i && qz_jv_order(c, key, best_key, "<") * call->builtin->arg <= 0)
			continue;
		best = q->v[i];
		best_key = key;
	}
	return best;
}

static struct qz_jv
sum(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv total = given(call->a[1]) ? call->a[1] : qz_jv_int(0);

	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++)
		total = qz_jinja_binary(c, QZ_JT_ADD, total, attribute(c, q->v[i], call->a[0]));
	return total;
}

const struct qz_jbuiltin qz_jfilters_seq[] = {
	{ "length", 0, "", length, 0 },
	{ "count", 0, "", length, 0 },
	{ "list", 0, "", list, 0 },
	{ "first", 0, "", first, 0 },
	{ "last", 0, "", last, 0 },
	{ "join", 0, "d attribute", join, 0 },
	{ "map", 0, "*", map, 0 },
	{ "select", 0, "*", choose, 0 },
	{ "reject", 0, "*", choose, REJECT },
	{ "selectattr", 0, "*", choose, BY_ATTRIBUTE },
	{ "rejectattr", 0, "*", choose, BY_ATTRIBUTE | REJECT },
	{ "items", 0, "", items, 0 },
	{ "sort", 0, "reverse case_sensitive attribute", sort, 0 },
	{ "dictsort", 0, "case_sensitive by reverse", dictsort, 0 },
	{ "unique", 0, "case_sensitive attribute", unique, 0 },
	{ "reverse", 0, "", reverse, 0 },
	{ "min", 0, "case_sensitive attribute", extreme, -1 },
	{ "max", 0, "case_sensitive attribute", extreme, 1 },
	{ "sum", 0, "attribute start", sum, 0 },
	{ 0 },
};

/* ---- methods ---- */

static struct qz_jv
view(struct qz_jctx *c, const struct qz_jcall *call)
{
	return parts(c, call->self.u.d, call->builtin->arg, QZ_J_VIEW);
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
	{ "items", 0, "", view, ITEMS },
	{ "keys", 0, "", view, KEYS },
	{ "values", 0, "", view, VALUES },
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
