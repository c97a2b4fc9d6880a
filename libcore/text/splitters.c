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
	bool gaps;  /* not all text is matched */
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

/* White space at s, in patterns that end in \s*[\r\n]+|\s+(?!\S)|\s+ */
static const char *
lines_or_space(const struct text *t, const char *s)
{
	const char *q = lines(t, s);

	return q ? q : space(t, s);
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
	return lines_or_space(t, s);
}

/* ---- tekken ---- */

enum {
	NO_CASE = QZ_U_LETTER | QZ_U_MARK, /* of neither case: Lm, Lo, M stand in both classes */
};

static bool
in_upper(unsigned k)
{
	return k & NO_CASE && !(k & QZ_U_LOWER);
}

static bool
in_lower(unsigned k)
{
	return k & NO_CASE && !(k & QZ_U_UPPER);
}

static const char *
run_of(const struct text *t, const char *s, bool (*in)(unsigned k))
{
	unsigned len;

	while (s < t->end && in(qz_uclass_at(t->u, s, &len)))
		s += len;
	return s;
}

/* [upper]*[lower]+ at s, or NULL: where no lower follows, upper gives back what is lower too. */
static const char *
falling(const struct text *t, const char *s)
{
	const char *p = run_of(t, s, in_upper), *q = p;
	unsigned len;

	while (q == t->end || !in_lower(qz_uclass_at(t->u, q, &len))) {
		if (q == s)
			return NULL;
		q = s + qz_uclass_last(s, (size_t)(q - s));
	}
	return run_of(t, q, in_lower);
}

/* [upper]+[lower]* at s, or NULL. */
static const char *
rising(const struct text *t, const char *s)
{
	const char *p = run_of(t, s, in_upper);

	return p == s ? NULL : run_of(t, p, in_lower);
}

/* A? U*L+ | A? U+L* | \p{N} | ?[^\s\p{L}\p{N}]+[\r\n/]* | \s*[\r\n]+ | \s+(?!\S) | \s+ with A neither letter,
 * number nor line break, U upper case or of no case, L lower case or of no case. */
static const char *
tekken(const struct text *t, const char *s, int digits)
{
	unsigned len, k = qz_uclass_at(t->u, s, &len), len2;
	bool prefix = !(k & (QZ_U_NEWLINE | QZ_U_LETTER | QZ_U_NUMBER));
	const char *next = s + len, *q;

	(void)digits;
	if ((prefix && (q = falling(t, next))) || (q = falling(t, s)) ||
	    (prefix && (q = rising(t, next))) || (q = rising(t, s)))
		return q;
	if (k & QZ_U_NUMBER)
		return next;
	if (*s == ' ' && next < t->end && !(qz_uclass_at(t->u, next, &len2) & TEXT))
		k = 0;
	if (k & QZ_U_SPACE)
		return lines_or_space(t, s);
	q = run(t, next, TEXT, 0);
	while (q < t->end && (*q == '\r' || *q == '\n' || *q == '/'))
		q++;
	return q;
}

/* ---- DeepSeek: three patterns, one after the other ---- */

/* \p{N}{1,3} */
static const char *
numbers(const struct text *t, const char *s, int digits)
{
	unsigned len;
	const char *q = s;

	if (!(qz_uclass_at(t->u, s, &len) & QZ_U_NUMBER))
		return run(t, s, QZ_U_NUMBER, 0);
	while (digits-- && q < t->end && qz_uclass_at(t->u, q, &len) & QZ_U_NUMBER)
		q += len;
	return q;
}

/* [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF]+ */
static const char *
cjk(const struct text *t, const char *s, int digits)
{
	unsigned len;

	(void)digits;
	return run(t, s, QZ_U_CJK, qz_uclass_at(t->u, s, &len) & QZ_U_CJK);
}

static bool
is_ascii_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool
in_word(unsigned k)
{
	return k & NO_CASE;
}

/* The match that starts at s, or NULL:
 * [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*| white space */
static const char *
deepseek_match(const struct text *t, const char *s)
{
	unsigned len, len2, k = qz_uclass_at(t->u, s, &len), k2 = 0;
	const char *next = s + len, *q = next;

	if (next < t->end)
		k2 = qz_uclass_at(t->u, next, &len2);
	if (len == 1 && k & QZ_U_PUNCT && next < t->end && is_ascii_letter(*next)) {
		while (q < t->end && is_ascii_letter(*q))
			q++;
		return q;
	}
	if (in_word(k))
		return run_of(t, s, in_word);
	if (!(k & (QZ_U_NEWLINE | QZ_U_SYMBOL)) && in_word(k2))
		return run_of(t, next, in_word);
	if (k & QZ_U_SYMBOL || (*s == ' ' && k2 & QZ_U_SYMBOL)) {
		q = run(t, next, QZ_U_SYMBOL, QZ_U_SYMBOL);
		return run(t, q, QZ_U_NEWLINE, QZ_U_NEWLINE);
	}
	return k & QZ_U_SPACE ? lines_or_space(t, s) : NULL;
}

static const char *
deepseek(const struct text *t, const char *s, int digits)
{
	const char *q = deepseek_match(t, s);
	unsigned len;

	(void)digits;
	for (; !q; q = s == t->end || deepseek_match(t, s) ? s : NULL) {
		qz_uclass_at(t->u, s, &len);
		s += len;
	}
	return q;
}

#define GPT2_TAIL "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_HEAD "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
#define LLAMA3_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define DEEPSEEK(lines)                                                                            \
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"                                   \
	"[^" lines "\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[" lines "]*|\\s*[" lines \
	"]+|\\s+(?!\\S)|\\s+"

static const struct qz_splitter splitters[] = {
	{ "'s|'t|'re|'ve|'m|'ll|'d" GPT2_TAIL, gpt2, 0, false },
	{ "'(?:[sdmt]|ll|ve|re)" GPT2_TAIL, gpt2, 0, false },
	{ LLAMA3_HEAD "{1,3}" LLAMA3_TAIL, llama3, 3, false },
	{ LLAMA3_HEAD LLAMA3_TAIL, llama3, 1, false },
	{ "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
	  "+|"
	  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
	  "*|"
	  "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	    tekken, 0, false },
	{ "\\p{N}{1,3}", numbers, 3, true },
	{ "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+", cjk, 0,
	    true },
	{ DEEPSEEK("\r\n"), deepseek, 0, true },
	{ DEEPSEEK("\\r\\n"), deepseek, 0, true },
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

bool
qz_splitter_covers(const struct qz_splitter *p)
{
	return !p->gaps;
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
