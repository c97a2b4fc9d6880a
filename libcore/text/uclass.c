#include "libcore/text/uclass.h"

#include <stdlib.h>
#include <string.h>

enum { N_BLOCKS = 0x110000 / 256 };

/* PropList.txt: White_Space. */
static int
is_space(uint32_t c)
{
	if (c > 0x3000)
		return 0;
	return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
	       (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
	       c == 0x205f || c == 0x3000;
}

/* PropList.txt: Other_Alphabetic that is no mark (circled and squared letters), Join_Control. */
static int
is_other_word(uint32_t c)
{
	return (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
	       (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c ||
	       c == 0x200d;
}

static const uint32_t by_category[] = {
	[QZ_LU] = QZ_U_LETTER | QZ_U_WORD | QZ_U_UPPER,
	[QZ_LL] = QZ_U_LETTER | QZ_U_WORD | QZ_U_LOWER,
	[QZ_LT] = QZ_U_LETTER | QZ_U_WORD | QZ_U_UPPER,
	[QZ_LM] = QZ_U_LETTER | QZ_U_WORD,
	[QZ_LO] = QZ_U_LETTER | QZ_U_WORD,
	[QZ_MN] = QZ_U_WORD | QZ_U_MARK,
	[QZ_MC] = QZ_U_WORD | QZ_U_MARK,
	[QZ_ME] = QZ_U_WORD | QZ_U_MARK,
	[QZ_ND] = QZ_U_NUMBER | QZ_U_WORD,
	[QZ_NL] = QZ_U_NUMBER | QZ_U_WORD,
	[QZ_NO] = QZ_U_NUMBER,
	[QZ_PC] = QZ_U_PUNCT | QZ_U_SYMBOL | QZ_U_WORD,
	[QZ_PD] = QZ_U_PUNCT | QZ_U_SYMBOL,
	[QZ_PS] = QZ_U_PUNCT | QZ_U_SYMBOL,
	[QZ_PE] = QZ_U_PUNCT | QZ_U_SYMBOL,
	[QZ_PI] = QZ_U_PUNCT | QZ_U_SYMBOL,
	[QZ_PF] = QZ_U_PUNCT | QZ_U_SYMBOL,
	[QZ_PO] = QZ_U_PUNCT | QZ_U_SYMBOL,
	[QZ_SM] = QZ_U_SYMBOL,
	[QZ_SC] = QZ_U_SYMBOL,
	[QZ_SK] = QZ_U_SYMBOL,
	[QZ_SO] = QZ_U_SYMBOL,
	[QZ_CO] = 0,
};

/* What follows from the character's properties. */
static unsigned
properties_of(uint32_t c, unsigned forms)
{
	unsigned k = by_category[qz_unicode_category(c)];

	for (unsigned f = 0; forms >> f; f++) {
		if (forms >> f & 1 && qz_unicode_plain((enum qz_form)f, c))
			k |= (unsigned)QZ_U_PLAIN << f;
		if (forms >> f & 1 && qz_unicode_starts((enum qz_form)f, c))
			k |= (unsigned)QZ_U_STARTS << f;
	}
	return k;
}

/* The rest; k: its properties. */
static unsigned
class_of(uint32_t c, unsigned k)
{
	if (is_space(c))
		k |= QZ_U_SPACE;
	if (c == '\r' || c == '\n')
		k |= QZ_U_NEWLINE;
	if ((c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff))
		k |= QZ_U_CJK;
	if (is_other_word(c))
		k |= QZ_U_WORD;
	if (c > 0x20 && c < 0x7f && !(k & (QZ_U_LETTER | QZ_U_NUMBER)))
		k |= QZ_U_PUNCT;
	return k;
}

/* Neighbours are mostly alike, and asking that is quicker. */
static void
fill_block(uint32_t *cells, uint32_t first, unsigned forms)
{
	const void *last = NULL;
	unsigned k = 0;

	for (uint32_t c = first; c < first + 256; c++) {
		const void *kind = qz_unicode_kind(c);

		if (!kind || kind != last)
			k = properties_of(c, forms);
		cells[c - first] = class_of(c, k);
		last = kind;
	}
}

/* The first block that is equal to the last of used + 1; it may be that one.  last: what was found before. */
static unsigned
find_equal(uint32_t (*cells)[256], unsigned used, unsigned last)
{
	unsigned found = 0;

	if (last < used && !memcmp(cells[last], cells[used], sizeof *cells))
		return last;
	while (found < used && memcmp(cells[found], cells[used], sizeof *cells))
		found++;
	return found;
}

/* Planes 4 to 13 and the private ones have no characters. */
static int
has_characters(uint32_t b)
{
	return b < 0x400 || b >> 8 == 14;
}

struct qz_uclass *
qz_uclass_new(unsigned forms, struct qz_err *e)
{
	struct qz_uclass *u = calloc(1, sizeof *u);
	unsigned used = 0, found = 0;
	uint32_t(*cells)[256] = calloc(N_BLOCKS, sizeof *cells); /* touched as far as used */

	if (!u || !cells) {
		qz_nomem(e, N_BLOCKS * sizeof *cells);
		free(u);
		free(cells);
		return NULL;
	}
	for (uint32_t b = 0; b < N_BLOCKS; b++) {
		if (!has_characters(b)) {
			u->block[b] = u->block[0x3fe]; /* U+3FE00 to U+3FEFF: unassigned too */
			continue;
		}
		fill_block(cells[used], b << 8, forms);
		found = find_equal(cells, used, found);
		u->block[b] = (uint16_t)found;
		used += found == used;
	}
	u->cells = realloc(cells, used * sizeof *cells);
	if (!u->cells)
		u->cells = cells;
	for (int c = 0; c < 128; c++)
		u->ascii[c] = u->cells[u->block[0]][c];
	return u;
}

void
qz_uclass_free(struct qz_uclass *u)
{
	if (!u)
		return;
	free(u->cells);
	free(u);
}
