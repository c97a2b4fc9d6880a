/* joins - which characters can stand side by side within a token.
 *
 * Two that never do are never merged across, so a word may be cut between them and its parts encoded one
 * by one: Chinese text falls into words that come again.  What the table does not know for sure it
 * takes for joined. */
#ifndef QZ_JOINS_H
#define QZ_JOINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/err.h"

enum { QZ_JOINS_BITS = 20 };

struct qz_joins {
	uint8_t ascii[128][128];
	uint8_t edge[256][256]; /* last byte of a character, first of the next: in a token that has
				 * only a part of one of them */
	uint64_t
	    pairs[(1 << QZ_JOINS_BITS) / 64]; /* other pairs, by hash: a set bit may be another's */
};

struct qz_joins *qz_joins_new(struct qz_err *e);
/* Every token, as bytes of text; it may begin and end within a character. */
void qz_joins_add(struct qz_joins *j, const char *s, size_t n);
/* Where the first part of s[0..n), valid UTF-8, ends: n when it cannot be cut. */
size_t qz_joins_cut(const struct qz_joins *j, const char *s, size_t n);

#endif
