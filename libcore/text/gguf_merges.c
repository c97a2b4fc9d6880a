#include "libcore/text/gguf_merges.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/grow.h"
#include "libcore/text/vocab.h"

enum { PIECE_MAX = 1024, MERGES_MAX = 1 << 24 };

struct list {
	struct qz_merge *v;
	size_t n, cap;
};

static int
add(struct list *l, struct qz_merge m, struct qz_err *e)
{
	struct qz_merge *v;

	if (l->n == MERGES_MAX)
		return qz_fail(e, QZ_EDATA, "the tokens make more than %d merges", MERGES_MAX);
	v = qz_grow(l->v, l->n, &l->cap, 4096, sizeof *v, e);
	if (!v)
		return -1;
	l->v = v;
	l->v[l->n++] = m;
	return 0;
}

static uint32_t
characters(const char *s, size_t n)
{
	uint32_t k = 0;

	for (size_t i = 0; i < n; i++)
		k += ((unsigned char)s[i] & 0xc0) != 0x80;
	return k;
}

/* Every way to cut token id in two. */
static int
cuts(const struct qz_vocab *vocab, uint32_t id, struct list *l, struct qz_err *e)
{
	size_t n;
	const char *s = qz_vocab_get(vocab, id, &n);
	uint32_t all, left, k = 0;

	if (n > PIECE_MAX)
		return qz_fail(e, QZ_EDATA, "token %lu has %zu bytes, at most %d",
		    (unsigned long)id, n, PIECE_MAX);
	all = characters(s, n);
	for (size_t i = 1; i < n; i++) {
		struct qz_merge m = { .whole = id };

		if (((unsigned char)s[i] & 0xc0) == 0x80)
			continue;
		k++;
		left = qz_vocab_find(vocab, s, i);
		if (left == QZ_ID_NONE)
			continue;
		m.left = left;
		m.right = qz_vocab_find(vocab, s + i, n - i);
		m.left_n = k;
		m.right_n = all - k;
		if (m.right != QZ_ID_NONE && add(l, m, e) < 0)
			return -1;
	}
	return 0;
}

struct sorted {
	struct qz_merge m;
	float score;
};

static int
by_rank(const void *pa, const void *pb)
{
	const struct sorted *a = pa, *b = pb;

	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	if (a->m.left_n != b->m.left_n)
		return a->m.left_n > b->m.left_n ? -1 : 1;
	if (a->m.right_n != b->m.right_n)
		return a->m.right_n > b->m.right_n ? -1 : 1;
	return a->m.whole < b->m.whole ? -1 : a->m.whole > b->m.whole;
}

static int
sort(const struct qz_gguf_tokens *v, struct list *l, struct qz_err *e)
{
	struct sorted *s = malloc((l->n ? l->n : 1) * sizeof *s);

	if (!s)
		return qz_nomem(e, l->n * sizeof *s);
	for (size_t i = 0; i < l->n; i++)
		s[i] = (struct sorted){ l->v[i], v->scores[l->v[i].whole] };
	qsort(s, l->n, sizeof *s, by_rank);
	for (size_t i = 0; i < l->n; i++)
		l->v[i] = s[i].m;
	free(s);
	return 0;
}

int
qz_gguf_merges(
    const struct qz_gguf_tokens *v, struct qz_merge **merges, size_t *n, struct qz_err *e)
{
	struct qz_vocab vocab = { 0 };
	struct list l = { 0 };
	int ret = 0;

	for (uint64_t i = 0; i < v->n && !ret; i++) {
		if (!isfinite(v->scores[i]))
			ret = qz_fail(e, QZ_EDATA, "token %llu has the score %g",
			    (unsigned long long)i, (double)v->scores[i]);
		else
			ret = qz_vocab_put(&vocab, v->tokens[i], v->lens[i], (uint32_t)i, 0, e);
	}
	for (uint64_t i = 0; i < v->n && !ret; i++)
		ret = cuts(&vocab, (uint32_t)i, &l, e);
	if (!ret)
		ret = sort(v, &l, e);
	qz_vocab_clear(&vocab);
	if (ret) {
		free(l.v);
		return -1;
	}
	*merges = l.v;
	*n = l.n;
	return 0;
}
