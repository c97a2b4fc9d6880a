#include "libcore/text/uclass.h"

#include <pthread.h>
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

/* The classes of 256 code points, each first met by some thread: one makes them, others wait. */
struct qz_uclass_maker {
	pthread_mutex_t lock;
	unsigned forms, used;
	uint32_t (*made)[256]; /* (N_BLOCKS), no two alike; memory is touched as far as used */
};

const uint32_t *
qz_uclass_make(const struct qz_uclass *u, uint32_t b)
{
	struct qz_uclass_maker *m = u->maker;
	const uint32_t *row;
	unsigned at = 0;

	pthread_mutex_lock(&m->lock);
	row = u->block[b];
	if (!row) {
		for (uint32_t c = b << 8; c < (b + 1) << 8; c++)
			m->made[m->used][c & 255] = class_of(c, properties_of(c, m->forms));
		while (memcmp(m->made[at], m->made[m->used], sizeof *m->made))
			at++;
		m->used += at == m->used;
		row = m->made[at];
		u->block[b] = row;
	}
	pthread_mutex_unlock(&m->lock);
	return row;
}

struct qz_uclass *
qz_uclass_new(unsigned forms, struct qz_err *e)
{
	struct qz_uclass *u = calloc(1, sizeof *u);

	if (u) {
		u->block = calloc(N_BLOCKS, sizeof *u->block);
		u->maker = calloc(1, sizeof *u->maker);
	}
	if (u && u->maker && pthread_mutex_init(&u->maker->lock, NULL) == 0) {
		u->maker->forms = forms;
		u->maker->made = calloc(N_BLOCKS, sizeof *u->maker->made);
	}
	if (!u || !u->block || !u->maker || !u->maker->made) {
		qz_nomem(e, N_BLOCKS * sizeof *u->maker->made);
		qz_uclass_free(u);
		return NULL;
	}
	memcpy(u->ascii, qz_uclass_make(u, 0), sizeof u->ascii);
	return u;
}

void
qz_uclass_free(struct qz_uclass *u)
{
	if (!u)
		return;
	if (u->maker) {
		pthread_mutex_destroy(&u->maker->lock);
		free(u->maker->made);
	}
	free(u->maker);
	free(u->block);
	free(u);
}
