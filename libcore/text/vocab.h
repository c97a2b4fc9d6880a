/* vocab - the texts of the ids and the ids of the texts, both by flat tables.
 * Read-only once filled.  Ids may have gaps; an id has one text and a text one id, or two where `twins` is
 * set: that of an added token and that of a token of the model which is spelled like it. */
#ifndef QZ_VOCAB_H
#define QZ_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"

enum {
	QZ_ID_MAX = (1 << 24) - 1,
	QZ_TOKEN_MAX = 1 << 16, /* bytes of one token's text */
};
#define QZ_ID_NONE UINT32_MAX

enum { QZ_V_MODEL = 1, QZ_V_ADDED = 2, QZ_V_SPECIAL = 4 }; /* where a text comes from */

struct qz_vocab_entry {
	uint32_t at, n; /* in blob; entries of gaps are zero */
};

struct qz_vocab {
	struct qz_vocab_entry *entry; /* (size) */
	uint8_t *flags;               /* (size) */
	uint32_t size, cap;           /* largest id + 1 */
	uint32_t expect;              /* texts, by qz_vocab_reserve() */
	uint32_t *slots, mask, used;  /* id + 1 by hash of the text */
	struct qz_buf blob;           /* the texts, each NUL-terminated; byte 0 is no text's */
	bool twins;                   /* set before filling */
	uint32_t
	    *twin; /* (cap) or NULL: id + 1 of the model's token that is spelled like this one */
};

/* Refused: an id above QZ_ID_MAX, an id or a text that is there already, an empty text. */
int qz_vocab_put(
    struct qz_vocab *v, const char *s, size_t n, uint32_t id, unsigned flags, struct qz_err *e);
/* Has the memory fetched that a text to be put soon needs. */
void qz_vocab_expect(const struct qz_vocab *v, const char *s, size_t n);
/* Or QZ_ID_NONE; of two the added one. */
uint32_t qz_vocab_find(const struct qz_vocab *v, const char *s, size_t n);
/* Many at once, whose waits for memory overlap; of two the model's. */
struct qz_vocab_query {
	const char *s;
	size_t n;
	uint32_t id;   /* out */
	uint32_t slot; /* inner */
};
void qz_vocab_find_many(const struct qz_vocab *v, struct qz_vocab_query *q, size_t n_queries);
/* Among the model's own texts. */
uint32_t qz_vocab_find_model(const struct qz_vocab *v, const char *s, size_t n);
/* Room for n texts of n_bytes in all: spares growing. */
int qz_vocab_reserve(struct qz_vocab *v, size_t n, size_t n_bytes, struct qz_err *e);
const char *qz_vocab_get(const struct qz_vocab *v, uint32_t id, size_t *n); /* NULL: a gap */
/* The model's own texts as a filled vocabulary has them: those of ids in order, each behind a NUL, the last one before
 * one; slots as above. */
struct qz_vocab_image {
	const uint32_t *lengths, *slots;
	const char *text;
	size_t n_text;
	uint32_t n_ids, n_texts, n_slots; /* n_ids > 0; texts take at most half of the slots */
};
/* Fills an empty one. */
int qz_vocab_load(struct qz_vocab *v, const struct qz_vocab_image *m, struct qz_err *e);
void qz_vocab_clear(struct qz_vocab *v);

/* Byte-level alphabets (GPT-2): the printable bytes of Latin-1 stand for themselves, the other 68 for
 * U+0100 and up in their order. */
uint32_t qz_byte_char(unsigned char byte);
int qz_byte_of_char(uint32_t c); /* or -1 */

/* Has each of n bytes an id of its own among the 256? */
static inline bool
qz_bytes_have_ids(const uint32_t id[256], const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (id[(unsigned char)s[i]] == QZ_ID_NONE)
			return false;
	return true;
}

#endif
