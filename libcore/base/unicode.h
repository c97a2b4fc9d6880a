/* unicode - general categories, lower case and normalization forms, over utf8proc.
 *
 * The installed utf8proc has the tables of Unicode 15.0, 15.1 or 16 (Debian 12, Ubuntu 24.04, later).
 * Categories given here are at least Unicode 16's on all of them, so that a text is cut into the same
 * words on every machine; normalization forms are utf8proc's own. */
#ifndef QZ_UNICODE_H
#define QZ_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"

/* Unicode standard, table 4-4. */
enum qz_category {
	QZ_CN,
	QZ_LU,
	QZ_LL,
	QZ_LT,
	QZ_LM,
	QZ_LO,
	QZ_MN,
	QZ_MC,
	QZ_ME,
	QZ_ND,
	QZ_NL,
	QZ_NO,
	QZ_PC,
	QZ_PD,
	QZ_PS,
	QZ_PE,
	QZ_PI,
	QZ_PF,
	QZ_PO,
	QZ_SM,
	QZ_SC,
	QZ_SK,
	QZ_SO,
	QZ_ZS,
	QZ_ZL,
	QZ_ZP,
	QZ_CC,
	QZ_CF,
	QZ_CS,
	QZ_CO
};

/* Marks and letters that are new since 15.0 are told apart only by their group: Mn, Lo, Nd, Po. */
enum qz_category qz_unicode_category(uint32_t c);
/* The lower case of one code point, without context: 1 or 2 code points; how many. */
int qz_unicode_lower(uint32_t c, uint32_t out[2]);

/* Bytes of the first grapheme cluster (UAX 29, extended) of s[0..n), valid UTF-8, n > 0. */
size_t qz_unicode_grapheme(const char *s, size_t n);

enum qz_form { QZ_NFC, QZ_NFD, QZ_NFKC, QZ_NFKD };

/* The form of a text may be made in parts: a part starts before a character that `starts`, which never
 * joins or passes what is before it.  A part that is one `plain` character is its own form. */
bool qz_unicode_starts(enum qz_form f, uint32_t c);
bool qz_unicode_plain(enum qz_form f, uint32_t c);
/* Appends the form of s[0..n), valid UTF-8, in time linear in n. */
int qz_unicode_normalize(
    enum qz_form f, const char *s, size_t n, struct qz_buf *out, struct qz_err *e);

#endif
