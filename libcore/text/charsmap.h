/* charsmap - sentencepiece's precompiled normalization: strings and what becomes of them.
 *
 * The bytes are a size (32 bits), a double-array trie of that size, and the replacements, each ended by
 * NUL.  A unit of the trie (darts-clone, 32 bits): bits 0-7 its label, bit 31 set in a value (whose low
 * 31 bits it holds), bit 8 that a value hangs below, bits 10-30 the offset to its children, shifted left
 * by 8 when bit 9 is set.  A child of node i by byte b is at i ^ offset ^ b. */
#ifndef QZ_CHARSMAP_H
#define QZ_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "libcore/base/err.h"

struct qz_charsmap {
	uint32_t *units; /* (n_units) */
	size_t n_units;
	char *texts; /* (n_texts), a NUL behind */
	size_t n_texts;
};

/* A copy is kept.  Texts that are no UTF-8 are refused; values that point into none count for nothing. */
int qz_charsmap_load(struct qz_charsmap *m, const void *data, size_t n, struct qz_err *e);
/* The same from base64, as tokenizer.json has it. */
int qz_charsmap_load64(struct qz_charsmap *m, const char *base64, struct qz_err *e);
void qz_charsmap_clear(struct qz_charsmap *m);

/* What a string at s becomes, NUL-terminated, or NULL; the shortest that is known, or the longest.  *len:
 * of the string. */
const char *qz_charsmap_find(
    const struct qz_charsmap *m, const char *s, size_t n, int longest, size_t *len);

#endif
