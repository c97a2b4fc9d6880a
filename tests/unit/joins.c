/* Where a word may be cut: between characters that stand side by side in no token. */
#include "libcore/text/joins.h"

#include <stdlib.h>

#include "tests/unit/tap.h"

#define ZHONG "\xe4\xb8\xad"
#define WEN "\xe6\x96\x87"
#define EACUTE "\xc3\xa9"
#define EMOJI "\xf0\x9f\x98\x80"

static const struct {
	const char *tokens[4], *word, *parts; /* parts: with | between */
} cases[] = {
	{ { "ab" }, "abab", "ab|ab" },
	{ { "ab", "ba" }, "abab", "abab" },
	{ { "aa" }, "aaa", "aaa" },
	{ { NULL }, "abc", "a|b|c" },
	{ { NULL }, "a", "a" },
	{ { ZHONG WEN }, ZHONG WEN ZHONG, ZHONG WEN "|" ZHONG },
	{ { "a" EACUTE, EACUTE "b" }, "a" EACUTE "ba", "a" EACUTE "b|a" },
	{ { EMOJI EMOJI }, EMOJI EMOJI "x" EMOJI, EMOJI EMOJI "|x|" EMOJI },
	/* Tokens that hold a part of a character: all pairs that it could be are joined. */
	{ { "\xad\xe6" }, ZHONG WEN ZHONG, ZHONG WEN "|" ZHONG },
	{ { ZHONG "\xe6\x96" }, ZHONG WEN ZHONG, ZHONG WEN "|" ZHONG },
	{ { "\xad" WEN }, ZHONG WEN WEN, ZHONG WEN "|" WEN },
	{ { "x\xe4" }, "x" ZHONG "x", "x" ZHONG "|x" },
	{ { "\xb8\xad"
	    "x" },
	    ZHONG "xx", ZHONG "x|x" },
};

int
main(void)
{
	struct qz_err e;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct qz_joins *j = qz_joins_new(&e);
		const char *s = cases[i].word;
		size_t n = strlen(s);
		char got[64] = "";

		for (int k = 0; cases[i].tokens[k]; k++)
			qz_joins_add(j, cases[i].tokens[k], strlen(cases[i].tokens[k]));
		for (size_t end; n; s += end, n -= end) {
			end = qz_joins_cut(j, s, n);
			strncat(got, s, end);
			if (end < n)
				strcat(got, "|");
		}
		is(got, cases[i].parts, cases[i].word);
		free(j);
	}
	return done();
}
