/* Normalization by sentencepiece's table of strings: in the way of tokenizers, and in its own. */
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/normalize_impl.h"

static const char under[] = "\xe2\x96\x81"; /* U+2581 */

/* s[at..at + n) by what it becomes; false: it stays. */
static bool
map_part(const struct qz_norm_step *p, struct qz_norm_run *r, size_t at, size_t n, size_t *done)
{
	size_t len;
	const char *by = qz_charsmap_find(&p->map, r->t.s + at, n, false, &len);

	if (!by)
		return false;
	qz_textbuf_copy(r->out, &r->t, *done, at - *done);
	qz_textbuf_put(r->out, by, strlen(by), qz_text_end(&r->t, at + n - 1));
	*done = at + n;
	return true;
}

int
qz_norm_precompiled(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e)
{
	const char *s = r->t.s;
	size_t n = r->t.n, done = 0;
	bool any = false;
	int len;

	(void)e;
	for (size_t i = 0, g; i < n; i += g) {
		g = qz_unicode_grapheme(s + i, n - i);
		if (g < 6 && map_part(p, r, i, g, &done)) {
			any = true;
			continue;
		}
		for (size_t k = i; k < i + g; k += (size_t)len) {
			qz_utf8_get(s + k, i + g - k, &len);
			any |= map_part(p, r, k, (size_t)len, &done);
		}
	}
	if (!any)
		return 0;
	qz_textbuf_copy(r->out, &r->t, done, n - done);
	return 1;
}

/* What the text at s begins with, *len bytes, becomes; *n bytes of it. */
static const char *
prefix(const struct qz_norm_step *p, const char *s, size_t left, size_t *len, size_t *n)
{
	const char *by;
	int one;

	if (qz_trie_longest(&p->user, s, left, len) != QZ_TRIE_NONE) {
		*n = *len;
		return s;
	}
	by = qz_charsmap_find(&p->map, s, left, true, len);
	if (by) {
		*n = strlen(by);
		return by;
	}
	qz_utf8_get(s, left, &one);
	*n = *len = (size_t)one;
	return s;
}

static void
put_spaced(
    const struct qz_norm_step *p, struct qz_norm_run *r, const char *s, size_t n, uint32_t end)
{
	while (n) {
		const char *q = p->escapes ? memchr(s, ' ', n) : NULL;
		size_t run = q ? (size_t)(q - s) : n;

		qz_textbuf_put(r->out, s, run, end);
		if (q)
			qz_textbuf_put(r->out, under, 3, end);
		s += run + (q != NULL);
		n -= run + (q != NULL);
	}
}

/* Text from i on that stays as it is: no table, nothing of the user's, no space. */
static size_t
unchanged(const struct qz_norm_step *p, const struct qz_text *t, size_t i)
{
	const char *q;

	if (p->map.n_units || p->user.n_nodes)
		return 0;
	q = memchr(t->s + i, ' ', t->n - i);
	return q ? (size_t)(q - t->s) - i : t->n - i;
}

static void
trim_end(const struct qz_norm_step *p, struct qz_buf *b)
{
	const char *space = p->escapes ? under : " ";
	size_t n = strlen(space);

	while (b->n >= n && !memcmp(b->data + b->n - n, space, n))
		b->n -= n;
}

int
qz_norm_spm(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e)
{
	bool space = p->trims;
	size_t i = 0, len, n;
	const char *by;

	(void)e;
	while (p->trims && i < r->t.n) {
		by = prefix(p, r->t.s + i, r->t.n - i, &len, &n);
		if (n != 1 || *by != ' ')
			break;
		i += len;
	}
	if (i == r->t.n) {
		r->t = qz_text_part(&r->t, 0, 0);
		return 0;
	}
	if (p->dummy_prefix)
		put_spaced(p, r, " ", 1, qz_text_mark(&r->t, i));
	for (; i < r->t.n; i += len) {
		len = unchanged(p, &r->t, i);
		if (len) {
			qz_textbuf_copy(r->out, &r->t, i, len);
			space = false;
			continue;
		}
		by = prefix(p, r->t.s + i, r->t.n - i, &len, &n);
		while (space && n && *by == ' ') {
			by++;
			n--;
		}
		put_spaced(p, r, by, n, qz_text_end(&r->t, i + len - 1));
		if (n)
			space = by[n - 1] == ' ';
		space &= p->trims;
	}
	if (p->trims)
		trim_end(p, &r->out->s);
	return 1;
}
