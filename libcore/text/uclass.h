/* uclass - what a code point is, for cutting text: one table lookup.  Any number of threads may look; 256
 * neighbours are made when the first of them is met. */
#ifndef QZ_UCLASS_H
#define QZ_UCLASS_H

#include <stdatomic.h>
#include <stdint.h>

#include "libcore/base/err.h"
#include "libcore/base/unicode.h"

enum {
	QZ_U_LETTER = 1,       /* L */
	QZ_U_NUMBER = 2,       /* N */
	QZ_U_SPACE = 4,        /* White_Space */
	QZ_U_NEWLINE = 8,      /* CR, LF: white space too */
	QZ_U_PUNCT = 16,       /* P, and the ASCII symbols */
	QZ_U_WORD = 32,        /* \w: Alphabetic, M, Nd, Pc, Join_Control (UTS 18) */
	QZ_U_UPPER = 64,       /* Lu, Lt */
	QZ_U_LOWER = 128,      /* Ll */
	QZ_U_PLAIN = 256,      /* shifted by a qz_form: qz_unicode_plain() */
	QZ_U_STARTS = 4096,    /* so too: qz_unicode_starts() */
	QZ_U_MARK = 1 << 16,   /* M */
	QZ_U_SYMBOL = 1 << 17, /* P, S */
	QZ_U_CJK = 1 << 18,    /* U+4E00 to U+9FA5, U+3040 to U+30FF */
};

struct qz_uclass {
	uint32_t ascii[128];
	_Atomic(const uint32_t *) *block; /* (0x110000 / 256), each of 256; NULL: not met yet */
	struct qz_uclass_maker *maker;
};

/* forms: 1 << qz_form, or'ed: the forms whose bits are wanted. */
struct qz_uclass *qz_uclass_new(unsigned forms, struct qz_err *e);
void qz_uclass_free(struct qz_uclass *u);
/* Block b, made. */
const uint32_t *qz_uclass_make(const struct qz_uclass *u, uint32_t b);

/* The class and length of the character at s, which is whole and valid. */
static inline unsigned
qz_uclass_at(const struct qz_uclass *u, const char *str, unsigned *len)
{
	const unsigned char *s = (const unsigned char *)str;
	const uint32_t *block;
	uint32_t c;

	if (s[0] < 0x80) {
		*len = 1;
		return u->ascii[s[0]];
	}
	if (s[0] < 0xe0) {
		*len = 2;
		c = (s[0] & 0x1fu) << 6 | (s[1] & 0x3f);
	} else if (s[0] < 0xf0) {
		*len = 3;
		c = (s[0] & 0xfu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3f);
	} else {
		*len = 4;
		c = (s[0] & 7u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3f);
	}
	block = atomic_load_explicit(&u->block[c >> 8], memory_order_acquire);
	if (!block)
		block = qz_uclass_make(u, c >> 8);
	return block[c & 255];
}

/* Where the last character of s[0..n) starts; n > 0. */
static inline size_t
qz_uclass_last(const char *s, size_t n)
{
	n--;
	while (n && ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	return n;
}

#endif
