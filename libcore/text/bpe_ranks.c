/* A BPE model whose pieces have an order instead of merges: every way to cut a piece in two is a merge. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/bpe_impl.h"

enum {
	ASKS = 256, /* ways to cut pieces, looked up at once */
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
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 1 << 16;
		struct cut *v = realloc(c->v, cap * sizeof *v);

		if (!v)
			return qz_nomem(e, cap * sizeof *v);
		c->v = v;
		c->cap = cap;
	}
	c->v[c->n++] = cut;
	return 0;
}

/* Ways to cut pieces in two that are to be looked up, many at once. */
struct finder {
	const struct qz_vocab *v;
	const uint32_t *rank;
	struct cuts *out;
	bool under_joins; /* found so far */
	struct qz_vocab_query left[ASKS], right[ASKS];
	uint32_t whole[ASKS];
	size_t n;
};

/* Most left parts are no symbols: then the right one is not asked for. */
static int
look_up(struct finder *f, struct qz_err *e)
{
	size_t k = 0;

	qz_vocab_find_many(f->v, f->left, f->n);
	for (size_t i = 0; i < f->n; i++)
		if (f->left[i].id != QZ_ID_NONE && is_symbol(f->v, f->rank, f->left[i].id)) {
			f->left[k] = f->left[i];
			f->right[k] = f->right[i];
			f->whole[k++] = f->whole[i];
		}
	f->n = 0;
	qz_vocab_find_many(f->v, f->right, k);
	for (size_t i = 0; i < k; i++) {
		const struct qz_vocab_query *l = &f->left[i], *r = &f->right[i];

		if (r->id == QZ_ID_NONE || !is_symbol(f->v, f->rank, r->id))
			continue;
		f->under_joins |= bpe_joins_under(l->s, l->n, r->s, r->n);
		if (add_cut(f->out, (struct cut){ l->id, r->id, f->whole[i] }, e) < 0)
			return -1;
	}
	return 0;
}

/* Every way to cut a piece into two. */
static int
find_cuts(struct finder *f, uint32_t id, struct qz_err *e)
{
	size_t n;
	const char *s = qz_vocab_get(f->v, id, &n);

	if (n > PIECE_MAX)
		return qz_fail(
		    e, QZ_EDATA, "\"%.60s...\" has %zu bytes, at most %d", s, n, PIECE_MAX);
	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) == 0x80)
			continue;
		f->left[f->n] = (struct qz_vocab_query){ .s = s, .n = i };
		f->right[f->n] = (struct qz_vocab_query){ .s = s + i, .n = n - i };
		f->whole[f->n] = id;
		if (++f->n == ASKS && look_up(f, e) < 0)
			return -1;
	}
	return 0;
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
	int ret = 0;

	b->vocab = v;
	if (bpe_load_symbols(b, e) < 0)
		return -1;
	for (uint32_t id = 0; id < v->size && !ret; id++)
		if (rank[id] != QZ_NO_MERGE && v->entry[id].n)
			ret = find_cuts(&f, id, e);
	if (!ret)
		ret = look_up(&f, e);
	if (!ret)
		ret = put_cuts(b, &c, rank, n_ranks, e);
	free(c.v);
	b->cuts = b->byte_fallback && bpe_complete(b->fallback_id) && !f.under_joins;
	return ret;
}
