#include "libcore/text/added.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/grow.h"

int
qz_added_put(struct qz_added *a, const struct qz_added_token *t, struct qz_err *e)
{
	struct qz_added_token *v;

	if (!t->n)
		return 0;
	if (t->n > QZ_ADDED_BYTES)
		return qz_fail(e, QZ_EDATA, "%zu bytes, at most %d", t->n, QZ_ADDED_BYTES);
	if (a->n == QZ_ADDED_MAX)
		return qz_fail(e, QZ_EDATA, "more than %d added tokens", QZ_ADDED_MAX);
	v = qz_grow(a->v, a->n, &a->cap, 64, sizeof *v, e);
	if (!v)
		return -1;
	a->v = v;
	a->v[a->n] = *t;
	a->v[a->n].s = qz_arena_strndup(&a->text, t->s, t->n);
	return a->v[a->n++].s ? 0 : qz_nomem(e, t->n);
}

static int
by_text(const void *pa, const void *pb)
{
	const struct qz_added_token *a = pa, *b = pb;
	int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);

	if (c)
		return c;
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

void
qz_added_sort(struct qz_added *a)
{
	size_t k = 0;

	for (size_t i = 0; i < a->n; i++)
		a->v[i].order = (uint32_t)i;
	if (a->n)
		qsort(a->v, a->n, sizeof *a->v, by_text);
	for (size_t i = 0; i < a->n; i++)
		if (!k || a->v[k - 1].n != a->v[i].n || memcmp(a->v[k - 1].s, a->v[i].s, a->v[i].n))
			a->v[k++] = a->v[i];
	a->n = k;
	memset(a->first, 0, sizeof a->first);
	for (size_t i = 0; i < a->n; i++)
		a->first[(unsigned char)a->v[i].s[0] + 1]++;
	for (int b = 0; b < 256; b++)
		a->first[b + 1] += a->first[b];
	a->only = a->n && a->v[0].s[0] == a->v[a->n - 1].s[0] ? (unsigned char)a->v[0].s[0] : -1;
}

void
qz_added_clear(struct qz_added *a)
{
	free(a->v);
	qz_arena_free(&a->text);
	memset(a, 0, sizeof *a);
}

/* The first of v[lo..hi) whose byte at depth is not less than c; all share the bytes before. */
static size_t
lower(const struct qz_added_token *v, size_t lo, size_t hi, size_t depth, unsigned c)
{
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (v[mid].n <= depth || (unsigned char)v[mid].s[depth] < c)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Whether bytes at..end of the text, as it was given, touch a plain span. */
static bool
in_plain(const struct qz_added_scan *scan, size_t at, size_t end)
{
	uint32_t from = qz_text_start(&scan->t, at), to = qz_text_end(&scan->t, end - 1);
	size_t lo = 0, hi = scan->n_plain;

	while (lo < hi) { /* the first span that ends after from */
		size_t mid = (lo + hi) / 2;

		if (scan->plain[mid].at + scan->plain[mid].n <= from)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo < scan->n_plain && !scan->plain[lo].n)
		lo++;
	return lo < scan->n_plain && scan->plain[lo].at < to;
}

/* The longest token at a place of the text, or NULL.  One that is special and touches a plain span does
 * not count; *hides is then where the longest such one ends. */
static const struct qz_added_token *
longest(const struct qz_added *a, const struct qz_added_scan *scan, size_t at, size_t *hides)
{
	const char *s = scan->t.s + at;
	unsigned c = (unsigned char)s[0];
	size_t lo = a->first[c], hi = a->first[c + 1], n = scan->t.n - at;
	const struct qz_added_token *best = NULL;

	*hides = 0;
	for (size_t depth = 1; lo < hi; depth++) {
		if (a->v[lo].n == depth) {
			if (a->v[lo].special && scan->n_plain && in_plain(scan, at, at + depth))
				*hides = at + depth;
			else
				best = &a->v[lo];
			lo++;
		}
		if (depth == n)
			break;
		c = (unsigned char)s[depth];
		lo = lower(a->v, lo, hi, depth, c);
		hi = lower(a->v, lo, hi, depth, c + 1);
	}
	return best;
}

static bool
word_before(const struct qz_uclass *u, const char *s, size_t at)
{
	unsigned len;

	return at && qz_uclass_at(u, s + qz_uclass_last(s, at), &len) & QZ_U_WORD;
}

static bool
word_after(const struct qz_uclass *u, const char *s, size_t n, size_t end)
{
	unsigned len;

	return end < n && qz_uclass_at(u, s + end, &len) & QZ_U_WORD;
}

/* The bounds with the white space that the token takes along, which never is what is done already. */
static void
widen(const struct qz_added_token *t, const struct qz_uclass *u, struct qz_added_scan *scan)
{
	unsigned len;

	if (t->lstrip && scan->next_at < scan->done)
		scan->next_at = scan->done;
	while (t->lstrip && scan->next_at > scan->done) {
		size_t last = qz_uclass_last(scan->t.s, scan->next_at);

		if (!(qz_uclass_at(u, scan->t.s + last, &len) & QZ_U_SPACE))
			break;
		scan->next_at = last;
	}
	while (t->rstrip && scan->next_end < scan->t.n &&
	       qz_uclass_at(u, scan->t.s + scan->next_end, &len) & QZ_U_SPACE)
		scan->next_end += len;
}

/* Where to look on after a special token that touches a plain span: what it covers is plain too where
 * it lies in plain spans as a whole; a part outside may hold a token. */
static size_t
pass_over(const struct qz_added_scan *scan, size_t at, size_t hides)
{
	for (size_t i = at; i < hides; i++)
		if (!in_plain(scan, i, i + 1))
			return at + 1;
	return hides;
}

/* The next token that counts.  A match that is passed over still hides what it covers, as in the
 * reference (tokenizers, AddedVocabulary). */
static const struct qz_added_token *
find(const struct qz_added *a, const struct qz_uclass *u, struct qz_added_scan *scan)
{
	const struct qz_added_token *t;
	const char *s = scan->t.s;
	size_t hides;

	while (a->n && scan->from < scan->t.n) {
		size_t at = scan->from;

		if (a->only >= 0) {
			const char *q = memchr(s + at, a->only, scan->t.n - at);

			if (!q)
				break;
			at = (size_t)(q - s);
		}
		t = longest(a, scan, at, &hides);
		scan->from = t ? at + t->n : hides ? pass_over(scan, at, hides) : at + 1;
		scan->hidden += !t && hides;
		if (!t || (t->special && !scan->parse_special))
			continue;
		scan->next_at = at;
		scan->next_end = scan->from;
		if (t->single_word &&
		    (word_before(u, s, at) || word_after(u, s, scan->t.n, scan->from)))
			continue;
		widen(t, u, scan);
		return t;
	}
	scan->from = scan->t.n;
	return NULL;
}

bool
qz_added_next(const struct qz_added *a, const struct qz_uclass *u, struct qz_added_scan *scan,
    const struct qz_added_token **token, size_t *at, size_t *end)
{
	/* A token whose every byte the one before has taken along is gone. */
	while (!scan->next && !scan->over) {
		scan->next = find(a, u, scan);
		scan->over = !scan->next;
		if (scan->next && scan->next_at >= scan->next_end)
			scan->next = NULL;
	}
	*token = NULL;
	*at = scan->done;
	*end = scan->next ? scan->next_at : scan->t.n;
	if (*at < *end) {
		scan->done = *end;
		return true;
	}
	if (!scan->next)
		return false;
	*token = scan->next;
	*at = scan->next_at;
	*end = scan->done = scan->next_end;
	scan->next = NULL;
	return true;
}
