#include "libcore/text/uclass.h"

#include <stdlib.h>
#include <string.h>

enum { N_BLOCKS = 0x110000 / 256 };

/* PropList.txt: White_Space. */
static int
is_space(uint32_t c)
{
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

static unsigned
class_of(uint32_t c, unsigned forms)
{
	unsigned k = by_category[qz_unicode_category(c)];

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
	for (unsigned f = 0; forms >> f; f++) {
		if (forms >> f & 1 && qz_unicode_plain((enum qz_form)f, c))
			k |= (unsigned)QZ_U_PLAIN << f;
		if (forms >> f & 1 && qz_unicode_starts((enum qz_form)f, c))
			k |= (unsigned)QZ_U_STARTS << f;
	}
	return k;
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
	unsigned used = 0, found;
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
		for (uint32_t i = 0; i < 256; i++)
			cells[used][i] = class_of(b << 8 | i, forms);
		for (found = 0; found < used; found++)
			if (!memcmp(cells[found], cells[used], sizeof *cells))
				break;
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
