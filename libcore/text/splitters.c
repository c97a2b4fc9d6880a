#include "libcore/text/splitters.h"

#include <string.h>

enum {
	TEXT = QZ_U_LETTER | QZ_U_NUMBER | QZ_U_SPACE
}; /* none of these: punctuation, marks, symbols */

struct text {
	const struct qz_uclass *u;
	const char *s, *end;
};

struct qz_splitter {
	const char *pattern;
	/* The end of the piece that starts at s < t->end. */
	const char *(*next)(const struct text *t, const char *s, int digits);
	int digits; /* a number has at most so many */
};

/* The end of the run of characters at s with (class & mask) == want. */
static const char *
run(const struct text *t, const char *s, unsigned mask, unsigned want)
{
	unsigned len;

	while (s < t->end && (qz_uclass_at(t->u, s, &len) & mask) == want)
		s += len;
	return s;
}

static const char *
letters(const struct text *t, const char *s)
{
	return run(t, s, QZ_U_LETTER, QZ_U_LETTER);
}

/* The end of 's 't 're 've 'm 'll 'd at s, which points to the apostrophe, or NULL.  With fold, also
 * in upper case; U+017F folds to s (CaseFolding.txt). */
static const char *
contraction(const struct text *t, const char *s, bool fold)
{
	size_t n = (size_t)(t->end - s);
	unsigned a, b;

	if (n < 2)
		return NULL;
	a = (unsigned char)s[1];
	b = n > 2 ? (unsigned char)s[2] : 0;
	if (fold && a == 0xc5 && b == 0xbf)
		return s + 3;
	if (fold && a >= 'A' && a <= 'Z')
		a |= 0x20;
	if (fold && b >= 'A' && b <= 'Z')
		b |= 0x20;
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return s + 2;
	if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l'))
		return s + 3;
	return NULL;
}

/* White space at s, in patterns that end in \s+(?!\S)|\s+: the run, without its last character when
 * something follows that may take it as a prefix. */
static const char *
space(const struct text *t, const char *s)
{
	const char *q = run(t, s, QZ_U_SPACE, QZ_U_SPACE);
	const char *last = s + qz_uclass_last(s, (size_t)(q - s));

	return q == t->end || last == s ? q : last;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static const char *
gpt2(const struct text *t, const char *s, int digits)
{
	unsigned len, k = qz_uclass_at(t->u, s, &len);
	const char *q = s;

	(void)digits;
	if (*s == '\'' && (q = contraction(t, s, false)))
		return q;
	q = s;
	if (*s == ' ' && s + 1 < t->end) {
		k = qz_uclass_at(t->u, s + 1, &len);
		q = s + 1;
	}
	if (k & QZ_U_SPACE)
		return space(t, s);
	return run(t, q + len, TEXT, k & TEXT);
}

/* The newest line break in the white space at s ends the piece: \s*[\r\n]+; NULL without one. */
static const char *
lines(const struct text *t, const char *s)
{
	const char *end = NULL;
	unsigned len, k;

	while (s < t->end && (k = qz_uclass_at(t->u, s, &len)) & QZ_U_SPACE) {
		s += len;
		if (k & QZ_U_NEWLINE)
			end = s;
	}
	return end;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 * \s*[\r\n]+|\s+(?!\S)|\s+ */
static const char *
llama3(const struct text *t, const char *s, int digits)
{
	unsigned len, len2, k = qz_uclass_at(t->u, s, &len);
	const char *q;

	if (k & QZ_U_LETTER)
		return letters(t, s + len);
	if (*s == '\'' && (q = contraction(t, s, true)))
		return q;
	if (k & QZ_U_NUMBER) {
		for (q = s; digits-- && q < t->end && qz_uclass_at(t->u, q, &len) & QZ_U_NUMBER;)
			q += len;
		return q;
	}
	q = s + len;
	if (q < t->end && !(k & QZ_U_NEWLINE)) {
		unsigned k2 = qz_uclass_at(t->u, q, &len2);

		if (k2 & QZ_U_LETTER)
			return letters(t, q + len2);
		if (*s == ' ' && !(k2 & TEXT))
			k = 0;
	}
	if (!(k & QZ_U_SPACE))
		return run(t, run(t, q, TEXT, 0), QZ_U_NEWLINE, QZ_U_NEWLINE);
	q = lines(t, s);
	return q ? q : space(t, s);
}

#define GPT2_TAIL "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
#define LLAMA3_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct qz_splitter splitters[] = {
	{ "'s|'t|'re|'ve|'m|'ll|'d" GPT2_TAIL, gpt2, 0 },
	{ "'(?:[sdmt]|ll|ve|re)" GPT2_TAIL, gpt2, 0 },
	{ LLAMA3_HEAD "{1,3}" LLAMA3_TAIL, llama3, 3 },
	{ LLAMA3_HEAD LLAMA3_TAIL, llama3, 1 },
};
enum { N_SPLITTERS = sizeof splitters / sizeof *splitters };

const struct qz_splitter *
qz_splitter_find(const char *pattern)
{
	for (int i = 0; i < N_SPLITTERS; i++)
		if (!strcmp(splitters[i].pattern, pattern))
			return &splitters[i];
	return NULL;
}

const struct qz_splitter *
qz_splitter_gpt2(void)
{
	return &splitters[0];
}

const char *
qz_splitter_pattern(unsigned i)
{
	return i < N_SPLITTERS ? splitters[i].pattern : NULL;
}

void
qz_splitter_run(const struct qz_splitter *p, const struct qz_uclass *u, const char *s, size_t at,
    size_t n, struct qz_pieces *out)
{
	struct text t = { u, s, s + at + n };
	const char *q;

	for (const char *c = s + at; c < t.end && !out->failed; c = q) {
		q = p->next(&t, c, p->digits);
		qz_pieces_add(out, (size_t)(c - s), (size_t)(q - s));
	}
}
