/* words - the ids of words seen lately, one a slot, a slot a line of the processor's cache.
 * One thread's memory; words of up to QZ_WORD_BYTES bytes and QZ_WORD_IDS ids. */
#ifndef QZ_WORDS_H
#define QZ_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/buf.h"
#include "libcore/text/ids.h"

enum { QZ_WORD_BYTES = 32, QZ_WORD_IDS = 6, QZ_WORDS_BITS = 15 };

/* The bytes of a word, overlapping where it is short: with their number they tell it. */
struct qz_word_key {
	uint64_t v[4];
};

struct qz_word {
	struct qz_word_key key;
	uint32_t ids[QZ_WORD_IDS];
	uint8_t n, n_ids, ends[QZ_WORD_IDS];
};
_Static_assert(sizeof(struct qz_word) == 64, "one cache line");

/* 1 << QZ_WORDS_BITS empty slots, or NULL.  free() ends it. */
static inline struct qz_word *
qz_words_new(struct qz_err *e)
{
	struct qz_word *w = qz_big(sizeof *w << QZ_WORDS_BITS);

	if (w)
		memset(w, 0, sizeof *w << QZ_WORDS_BITS);
	else
		qz_nomem(e, sizeof *w << QZ_WORDS_BITS);
	return w;
}

static inline uint64_t
qz_load8(const char *s)
{
	uint64_t v;

	memcpy(&v, s, 8);
	return v;
}

static inline uint32_t
qz_load4(const char *s)
{
	uint32_t v;

	memcpy(&v, s, 4);
	return v;
}

/* n of 1 to QZ_WORD_BYTES. */
static inline struct qz_word_key
qz_word_key(const char *s, size_t n)
{
	struct qz_word_key k = { { 0 } };

	if (n >= 8) {
		k.v[0] = qz_load8(s);
		k.v[1] = qz_load8(s + n - 8);
		if (n > 16)
			k.v[2] = qz_load8(s + 8);
		if (n > 24)
			k.v[3] = qz_load8(s + 16);
	} else if (n >= 4) {
		k.v[0] = qz_load4(s) | (uint64_t)qz_load4(s + n - 4) << 32;
	} else {
		k.v[0] = (unsigned char)s[0] | (uint64_t)(unsigned char)s[n / 2] << 8 |
			 (uint64_t)(unsigned char)s[n - 1] << 16;
	}
	return k;
}

static inline uint64_t
qz_word_hash(const struct qz_word_key *k, size_t n)
{
	uint64_t h = (k->v[0] ^ n) * 0x9e3779b97f4a7c15u;

	h = (h ^ h >> 32 ^ k->v[1]) * 0xd6e8feb86659fd93u;
	if (n > 16)
		h = (h ^ h >> 32 ^ k->v[2] ^ (k->v[3] << 29 | k->v[3] >> 35)) * 0xa0761d6478bd642fu;
	return h;
}

static inline struct qz_word *
qz_words_at(struct qz_word *words, uint64_t hash)
{
	return &words[hash >> (64 - QZ_WORDS_BITS)];
}

static inline struct qz_word *
qz_words_slot(struct qz_word *words, const struct qz_word_key *k, size_t n)
{
	return qz_words_at(words, qz_word_hash(k, n));
}

/* Appends the word's ids when the slot holds it.  Room is for QZ_WORD_IDS more. */
static inline bool
qz_word_get(const struct qz_word *w, const struct qz_word_key *k, size_t n, struct qz_ids *out)
{
	if (w->n != n || (w->key.v[0] ^ k->v[0]) | (w->key.v[1] ^ k->v[1]) |
			     (w->key.v[2] ^ k->v[2]) | (w->key.v[3] ^ k->v[3]))
		return false;
	for (size_t i = 0; i < QZ_WORD_IDS; i++) {
		out->v[out->n + i] = w->ids[i];
		out->ends[out->n + i] = w->ends[i];
	}
	out->n += w->n_ids;
	return true;
}

/* The ids from `from` on are the word's. */
static inline void
qz_word_keep(
    struct qz_word *w, const struct qz_word_key *k, size_t n, const struct qz_ids *out, size_t from)
{
	size_t n_ids = out->n - from;

	if (n_ids > QZ_WORD_IDS)
		return;
	w->key = *k;
	w->n = (uint8_t)n;
	w->n_ids = (uint8_t)n_ids;
	for (size_t i = 0; i < n_ids; i++) {
		w->ids[i] = out->v[from + i];
		w->ends[i] = (uint8_t)out->ends[from + i];
	}
}

#endif
