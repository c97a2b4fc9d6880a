/* The hand-written splitters and the regex engine cut random strings the same way. */
#include "libcore/base/rng.h"
#include "libcore/base/utf8.h"
#include "libcore/text/regex.h"
#include "libcore/text/splitters.h"
#include "tests/unit/tap.h"

enum { STRINGS = 20000, LONGEST = 40 };

/* Assigned before Unicode 14, the oldest tables that PCRE2 comes with here. */
static const struct {
	uint32_t first, last;
} ranges[] = { { 0x20, 0x7e }, { 0x27, 0x27 }, { 0x41, 0x5a }, { 0x61, 0x7a }, { 0x6c, 0x6d },
	{ 0x72, 0x76 }, { 0x30, 0x39 }, { 0x20, 0x20 }, { 0x20, 0x20 }, { 0x9, 0xd }, { 0xa, 0xa },
	{ 0xd, 0xd }, { 0x0, 0x1f }, { 0x80, 0x24f }, { 0x17f, 0x17f }, { 0x300, 0x36f },
	{ 0x391, 0x3a1 }, { 0x1c5, 0x1cc }, { 0x2b0, 0x2b8 }, { 0x2f, 0x2f }, { 0x20a0, 0x20af },
	{ 0x3040, 0x30ff }, { 0x9fa0, 0x9faf }, { 0x31f0, 0x31ff }, { 0x410, 0x44f },
	{ 0x5d0, 0x5ea }, { 0x660, 0x669 }, { 0x904, 0x939 }, { 0x93a, 0x94f }, { 0xe01, 0xe3a },
	{ 0x1160, 0x11ff }, { 0x1680, 0x1680 }, { 0x180e, 0x180e }, { 0x2000, 0x200f },
	{ 0x2028, 0x202f }, { 0x205f, 0x2064 }, { 0x2070, 0x2071 }, { 0x2150, 0x2189 },
	{ 0x2460, 0x24ff }, { 0x3000, 0x3030 }, { 0x4e00, 0x4e40 }, { 0xac00, 0xac40 },
	{ 0xe000, 0xe010 }, { 0xfeff, 0xfeff }, { 0xff10, 0xff5a }, { 0x10400, 0x1044f },
	{ 0x1d7ce, 0x1d7ff }, { 0x1f600, 0x1f64f }, { 0x20000, 0x20010 }, { 0xe0100, 0xe01ef },
	{ 0x10fff0, 0x10ffff } };

static uint32_t
below(uint64_t *r, uint32_t n)
{
	uint32_t word[4];

	qz_philox(7, 0, (*r)++, word);
	return word[0] % n;
}

static size_t
random_text(uint64_t *r, char *s)
{
	size_t n = 0;

	for (unsigned k = below(r, LONGEST) + 1; k; k--) {
		uint32_t i = below(r, sizeof ranges / sizeof *ranges);
		uint32_t c = ranges[i].first + below(r, ranges[i].last - ranges[i].first + 1);

		n += (size_t)qz_utf8_put(c, s + n);
	}
	return n;
}

/* The pieces that the pattern's matches make of the text, with what lies between. */
static int
by_regex(const struct qz_regex *x, struct qz_regex_match *m, const char *s, size_t n, bool covers,
    struct qz_pieces *out, struct qz_err *e)
{
	size_t from = 0, at, end;

	out->n = 0;
	while (from < n && qz_regex_find(x, m, s, n, from, &at, &end, e) == 1) {
		if ((covers && at != from) || end == at)
			return -1;
		qz_pieces_add(out, from, at);
		qz_pieces_add(out, at, end);
		from = end;
	}
	if (covers && from != n)
		return -1;
	qz_pieces_add(out, from, n);
	return 0;
}

static int
same(const struct qz_pieces *a, const struct qz_pieces *b)
{
	return a->n == b->n && (!a->n || !memcmp(a->v, b->v, a->n * sizeof *a->v));
}

static void
check(const char *pattern, const struct qz_uclass *u)
{
	uint64_t r = 0;
	struct qz_err e = { 0 };
	struct qz_regex *x = qz_regex_new(pattern, &e);
	struct qz_regex_match *m = qz_regex_match_new(&e);
	struct qz_pieces a = { 0 }, b = { 0 };
	char s[4 * LONGEST];
	int bad = 0;

	if (!ok(x && m, "compiles: %s %s", pattern, e.msg))
		return;
	for (int i = 0; i < STRINGS && bad < 5; i++) {
		size_t n = random_text(&r, s);

		a.n = 0;
		qz_splitter_run(qz_splitter_find(pattern), u, s, 0, n, &a);
		if (by_regex(x, m, s, n, qz_splitter_covers(qz_splitter_find(pattern)), &b, &e) <
			0 ||
		    !same(&a, &b)) {
			bad++;
			printf("# string %d, %zu and %zu pieces: %.*s\n", i, a.n, b.n, (int)n, s);
		}
	}
	ok(!bad, "%d strings, %d cut differently: %s", STRINGS, bad, pattern);
	free(a.v);
	free(b.v);
	qz_regex_free(x);
	qz_regex_match_free(m);
}

int
main(void)
{
	struct qz_err e = { 0 };
	struct qz_uclass *u = qz_uclass_new(0, &e);
	const char *pattern;

	for (unsigned i = 0; (pattern = qz_splitter_pattern(i)); i++)
		check(pattern, u);
	qz_uclass_free(u);
	return done();
}
