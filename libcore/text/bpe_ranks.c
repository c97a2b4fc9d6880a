/* A BPE model whose pieces have an order instead of merges: every way to cut a piece in two is a merge. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/grow.h"
#include "libcore/base/pool.h"
#include "libcore/base/utf8.h"
#include "libcore/text/bpe_impl.h"

enum {
	ASKS = 48, /* texts looked up at once */
	AHEAD = 16,
	PIECE_MAX = 4096, /* bytes of a piece that is cut every way */
};

static bool
one_char(const char *s, size_t n)
{
	int len;

	return n && n <= 4 && qz_utf8_get(s, n, &len) >= 0 && (size_t)len == n;
}

/* A piece that merges make, or a character that they start from. */
static bool
is_symbol(const struct qz_vocab *v, const uint32_t *rank, uint32_t id)
{
	return rank[id] != QZ_NO_MERGE ||
	       (v->flags[id] & QZ_V_MODEL &&
		   one_char(v->blob.data + v->entry[id].at, v->entry[id].n));
}

/* Two parts of a piece. */
struct cut {
	uint32_t left, right, whole;
};

struct cuts {
	struct cut *v;
	size_t n, cap;
};

static int
add_cut(struct cuts *c, struct cut cut, struct qz_err *e)
{
	struct cut *v = qz_grow(c->v, c->n, &c->cap, 1 << 16, sizeof *v, e);

	if (!v)
		return -1;
	c->v = v;
	c->v[c->n++] = cut;
	return 0;
}

/* From each text to the longest other one that it begins with, and that it ends with: of all of these, one leads
 * to the next. */
struct finder {
	const struct qz_vocab *v;
	const uint32_t *rank;
	struct cuts *out;
	bool under_joins;           /* found so far */
	uint32_t *prefix, *suffix;  /* (v->size) or QZ_ID_NONE */
	uint32_t begins[PIECE_MAX]; /* scratch */
};

static bool
continues(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* One character less at the end; false: there is no other. */
static bool
shorter_prefix(struct qz_vocab_query *q)
{
	do
		q->n--;
	while (q->n && continues(q->s[q->n]));
	return q->n;
}

static bool
shorter_suffix(struct qz_vocab_query *q)
{
	do {
		q->n--;
		q->s++;
	} while (q->n && continues(*q->s));
	return q->n;
}

static void
find_longest(const struct qz_vocab *v, bool (*shorten)(struct qz_vocab_query *q), uint32_t *longest)
{
	struct qz_vocab_query q[ASKS];
	uint32_t of[ASKS], next = 0;
	size_t n = 0, k;

	do {
		for (; next < v->size && n < ASKS; next++) {
			longest[next] = QZ_ID_NONE;
			q[n].s = qz_vocab_get(v, next, &q[n].n);
			of[n] = next;
			n += q[n].s && q[n].n <= PIECE_MAX && shorten(&q[n]);
		}
		qz_vocab_find_many(v, q, n);
		k = 0;
		for (size_t i = 0; i < n; i++) {
			longest[of[i]] = q[i].id;
			if (q[i].id == QZ_ID_NONE && shorten(&q[i])) {
				q[k] = q[i];
				of[k++] = of[i];
			}
		}
		n = k;
	} while (n || next < v->size);
}

/* Every way to cut a piece into two. */
static int
find_cuts(struct finder *f, uint32_t id, struct qz_err *e)
{
	const struct qz_vocab_entry *entry = f->v->entry;
	const char *text = f->v->blob.data;
	uint32_t l, r, n = entry[id].n;
	size_t k = 0;

	if (n > PIECE_MAX)
		return qz_fail(e, QZ_EDATA, "\"%.60s...\" has %lu bytes, at most %d",
		    text + entry[id].at, (unsigned long)n, PIECE_MAX);
	for (l = f->prefix[id]; l != QZ_ID_NONE; l = f->prefix[l])
		f->begins[k++] = l;
	for (r = f->suffix[id]; r != QZ_ID_NONE && k; r = f->suffix[r]) {
		while (k && entry[f->begins[k - 1]].n < n - entry[r].n)
			k--;
		l = k ? f->begins[k - 1] : QZ_ID_NONE;
		if (!k || entry[l].n + entry[r].n != n || !is_symbol(f->v, f->rank, l) ||
		    !is_symbol(f->v, f->rank, r))
			continue;
		f->under_joins |= bpe_joins_under(
		    text + entry[l].at, entry[l].n, text + entry[r].at, entry[r].n);
		if (add_cut(f->out, (struct cut){ l, r, id }, e) < 0)
			return -1;
	}
	return 0;
}

static void
find_side(void *arg, int side, int thread)
{
	struct finder *f = arg;

	(void)thread;
	find_longest(f->v, side ? shorter_suffix : shorter_prefix, side ? f->suffix : f->prefix);
}

static int
find_all_cuts(struct finder *f, struct qz_err *e)
{
	const struct qz_vocab *v = f->v;
	struct qz_err no_threads; /* then it takes longer */
	struct qz_pool *sides = qz_pool_new(2, &no_threads);
	int ret = 0;

	f->prefix = malloc(v->size * sizeof *f->prefix);
	f->suffix = malloc(v->size * sizeof *f->suffix);
	if (v->size && (!f->prefix || !f->suffix))
		ret = qz_nomem(e, v->size * sizeof *f->prefix);
	if (!ret)
		qz_pool_run(sides, 2, find_side, f);
	qz_pool_free(sides);
	for (uint32_t id = 0; id < v->size && !ret; id++)
		if (f->rank[id] != QZ_NO_MERGE && v->entry[id].n)
			ret = find_cuts(f, id, e);
	free(f->prefix);
	free(f->suffix);
	return ret;
}

/* Whether merges of one rank make different ids. */
static int
find_ties(const struct cuts *c, const uint32_t *rank, uint32_t n_ranks, struct qz_err *e)
{
	uint32_t *whole = malloc((n_ranks + 1) * sizeof *whole);
	int tied = 0;

	if (!whole)
		return qz_nomem(e, n_ranks * sizeof *whole);
	memset(whole, 0xff, (n_ranks + 1) * sizeof *whole);
	for (size_t i = 0; i < c->n; i++) {
		uint32_t *w = &whole[rank[c->v[i].whole]];

		tied |= *w != QZ_ID_NONE && *w != c->v[i].whole;
		*w = c->v[i].whole;
	}
	free(whole);
	return tied;
}

static int
put_cuts(struct qz_bpe *b, const struct cuts *c, const uint32_t *rank, uint32_t n_ranks,
    struct qz_err *e)
{
	int tied = find_ties(c, rank, n_ranks, e);

	if (tied < 0 || (tied ? qz_merges_new_tied(&b->merges, c->n, b->vocab->size, e)
			      : qz_merges_new(&b->merges, c->n, n_ranks, b->vocab->size, e)) < 0)
		return -1;
	for (size_t i = 0; i < c->n; i++) {
		uint32_t r = rank[c->v[i].whole], index = tied ? (uint32_t)i : r;
		const struct cut *later = &c->v[i + AHEAD < c->n ? i + AHEAD : i];

		qz_merges_expect(&b->merges, later->left, later->right);
		qz_merges_put(&b->merges, c->v[i].left, c->v[i].right, index, c->v[i].whole);
		if (tied)
			b->merges.rank[i] = r;
	}
	return 0;
}

int
qz_bpe_load_ranks(struct qz_bpe *b, const struct qz_vocab *v, const uint32_t *rank,
    uint32_t n_ranks, struct qz_err *e)
{
	struct cuts c = { 0 };
	struct finder f = { .v = v, .rank = rank, .out = &c };
	int ret;

	b->vocab = v;
	if (bpe_load_symbols(b, e) < 0)
		return -1;
	ret = find_all_cuts(&f, e);
	if (!ret)
		ret = put_cuts(b, &c, rank, n_ranks, e);
	free(c.v);
	b->cuts = b->byte_fallback && bpe_complete(b->fallback_id) && !f.under_joins;
	return ret;
}
