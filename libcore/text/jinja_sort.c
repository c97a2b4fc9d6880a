/* Filters that sort, and what is like it: dictsort, unique, min and max. */
#include <string.h>

#include "libcore/text/jinja.h"

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

struct qz_jv
qz_jdo_sort(struct qz_jctx *c, const struct qz_jcall *call)
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
			v = n ? qz_jpath(c, q->v[i], s + from, len) : qz_jattribute(c, q->v[i], by);
			keys[i * n_parts + p] = fold(c, v, qz_jflag(call->a[1]));
			from += len + 1;
		}
	}
	return keys && !c->failed ? sorted(c, q, keys, n_parts, qz_jflag(call->a[0])) : call->self;
}

struct qz_jv
qz_jdo_dictsort(struct qz_jctx *c, const struct qz_jcall *call)
{
	bool by_value = qz_jgiven(call->a[1]) && qz_jstr_is(c, call->a[1], "value");
	struct qz_jv pairs, *keys;
	size_t n;

	if (call->self.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, call->self);
	if (call->self.kind != QZ_J_DICT)
		return qz_jfail(c, "dictsort of a %s", qz_jv_type(call->self));
	if (qz_jgiven(call->a[1]) && !by_value && !qz_jstr_is(c, call->a[1], "key"))
		return qz_jfail(c, "dictsort: by is key or value");
	pairs = qz_jparts(c, call->self.u.d, QZ_J_ITEMS, QZ_J_LIST);
	n = pairs.u.q->n;
	keys = qz_jalloc(c, (n + 1) * sizeof *keys);
	for (size_t i = 0; keys && i < n && !c->failed; i++)
		keys[i] = fold(c, pairs.u.q->v[i].u.q->v[by_value], qz_jflag(call->a[0]));
	return keys && !c->failed ? sorted(c, pairs.u.q, keys, 1, qz_jflag(call->a[2])) : pairs;
}

struct qz_jv
qz_jdo_unique(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv out = qz_jiterator(c, NULL), seen = qz_jv_dict(c, 0), key;

	for (size_t i = 0; q && i < q->n && qz_jspend(c, 1); i++) {
		key = fold(c, qz_jattribute(c, q->v[i], call->a[1]), qz_jflag(call->a[0]));
		if (c->failed || qz_jdict_get(c, seen.u.d, key))
			continue;
		qz_jdict_put(c, seen.u.d, key, key);
		qz_jseq_add(c, out.u.q, q->v[i]);
	}
	return out;
}

/* min and max: the first of those that are equal. */
struct qz_jv
qz_jdo_extreme(struct qz_jctx *c, const struct qz_jcall *call)
{
	const struct qz_jseq *q = qz_jv_iterate(c, call->self);
	struct qz_jv best, best_key = qz_jv_none(), key;

	if (!q || !q->n)
		return qz_jv_undef(c, "an empty sequence", "extreme", 7);
	best = q->v[0];
	for (size_t i = 0; i < q->n && qz_jspend(c, 1); i++) {
		key = fold(c, qz_jattribute(c, q->v[i], call->a[1]), qz_jflag(call->a[0]));
		if (i && qz_jv_order(c, key, best_key, "<") * call->builtin->arg <= 0)
			continue;
		best = q->v[i];
		best_key = key;
	}
	return best;
}
