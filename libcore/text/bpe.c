#include "libcore/text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/text/bpe_impl.h"

enum {
	PART = 64,  /* above QZ_WORD_BYTES */
	WORDS = 16, /* looked at at once */
};

/* The token that is exactly these bytes, written in their characters; word: room for 2 n. */
static uint32_t
find_bytes(const struct qz_bpe *b, const char *s, size_t n, char *word)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		const char *c = b->letters[(unsigned char)s[i]];

		word[k] = c[0];
		word[k + 1] = c[1];
		k += b->n_letters[(unsigned char)s[i]];
	}
	return qz_vocab_find_model(b->vocab, word, k);
}

/* A word with what the cache needs to know of it. */
struct word {
	const char *s;
	size_t n;
	struct qz_word_key key;
	uint64_t hash;
};

/* Whether a word may be a token: false is for sure. */
static bool
may_be_token(const struct qz_bpe *b, const struct word *k)
{
	uint64_t bit = k->hash >> (64 - BPE_WHOLE_BITS);

	return !b->whole || k->n > QZ_WORD_BYTES || b->whole[bit / 64] >> bit % 64 & 1;
}

/* A word of any length, without the cache. */
static int
encode_word(const struct qz_bpe *b, struct qz_bpe_work *w, const struct word *k, struct qz_ids *out,
    struct qz_err *e)
{
	uint32_t id = QZ_ID_NONE;

	if (b->ignore_merges && may_be_token(b, k)) {
		if (bpe_reserve(w, k->n, e) < 0)
			return -1;
		id = b->bytes ? find_bytes(b, k->s, k->n, (char *)w->prev)
			      : qz_vocab_find_model(b->vocab, k->s, k->n);
	}
	if (id == QZ_ID_NONE)
		return bpe_merge(b, w, k->s, k->n, out, e);
	out->v[out->n] = id;
	out->ends[out->n++] = k->n;
	return 0;
}

/* A part of a word that cannot be cut.  What is a token as a word need not be one as a part: with
 * ignore_merges the cache holds both, apart by PART. */
static int
encode_part(const struct qz_bpe *b, struct qz_bpe_work *w, const char *s, size_t n,
    struct qz_ids *out, struct qz_err *e)
{
	size_t from = out->n, tag = b->ignore_merges ? n | PART : n;
	struct qz_word *c;
	struct qz_word_key k;

	if (n > QZ_WORD_BYTES)
		return bpe_merge(b, w, s, n, out, e);
	k = qz_word_key(s, n);
	c = qz_words_slot(w->words, &k, tag);
	if (qz_word_get(c, &k, tag, out))
		return 0;
	if (bpe_merge(b, w, s, n, out, e) < 0)
		return -1;
	qz_word_keep(c, &k, tag, out, from);
	return 0;
}

static int
encode_parts(const struct qz_bpe *b, struct qz_bpe_work *w, const struct word *k,
    struct qz_ids *out, struct qz_err *e)
{
	const char *s = k->s;
	size_t n = k->n;

	for (size_t i = 0, end; i < n; i = end) {
		size_t from = out->n;

		end = i + qz_joins_cut(b->joins, s + i, n - i);
		if ((i || end < n ? encode_part(b, w, s + i, end - i, out, e)
				  : encode_word(b, w, k, out, e)) < 0)
			return -1;
		for (; i && from < out->n; from++)
			out->ends[from] += i;
	}
	return 0;
}

static int
encode_new(const struct qz_bpe *b, struct qz_bpe_work *w, const struct word *k, struct qz_ids *out,
    struct qz_err *e)
{
	/* Bytes come as words of one kind: cutting those in ASCII finds little. */
	if (b->joins &&
	    (!b->bytes || k->n > QZ_WORD_BYTES || (unsigned char)k->s[k->n - 1] >= 0x80))
		return encode_parts(b, w, k, out, e);
	return encode_word(b, w, k, out, e);
}

/* Has the memory fetched that the words' turns need. */
static void
look_ahead(const struct qz_bpe_work *w, struct word *word, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (word[i].n <= QZ_WORD_BYTES) {
			word[i].key = qz_word_key(word[i].s, word[i].n);
			word[i].hash = qz_word_hash(&word[i].key, word[i].n);
			__builtin_prefetch(qz_words_at(w->words, word[i].hash), 1);
		}
}

/* Through the cache, which holds the words seen last: one a slot. */
static inline int
encode_cached(const struct qz_bpe *b, struct qz_bpe_work *w, const struct word *k,
    struct qz_ids *out, struct qz_err *e)
{
	struct qz_word *slot;
	size_t from = out->n;

	if (k->n > QZ_WORD_BYTES)
		return encode_new(b, w, k, out, e);
	slot = qz_words_at(w->words, k->hash);
	if (qz_word_get(slot, &k->key, k->n, out))
		return 0;
	if (encode_new(b, w, k, out, e) < 0)
		return -1;
	qz_word_keep(slot, &k->key, k->n, out, from);
	return 0;
}

static bool
is_under(const char *s)
{
	return !memcmp(s, "\xe2\x96\x81", 3);
}

/* Where the next word of s[from..n) ends: before a U+2581 that does not follow another. */
static size_t
word_end(const char *s, size_t from, size_t n)
{
	size_t i = from;

	while (i + 3 <= n && is_under(s + i))
		i += 3;
	while (i < n) {
		const char *q = memchr(s + i, 0xe2, n - i);

		if (!q || (size_t)(s + n - q) < 3)
			return n;
		i = (size_t)(q - s);
		if (is_under(q))
			return i;
		i++;
	}
	return n;
}

/* Words in order: pieces, cut where words begin. */
struct words {
	const struct qz_bpe *b;
	const char *s;
	const struct qz_piece *piece, *end;
	size_t from; /* in the piece */
};

static bool
next_word(struct words *w, struct word *word)
{
	size_t end;

	if (w->piece == w->end)
		return false;
	end = w->b->cuts ? word_end(w->s + w->piece->at, w->from, w->piece->n) : w->piece->n;
	word->s = w->s + w->piece->at + w->from;
	word->n = end - w->from;
	w->from = end;
	if (end == w->piece->n) {
		w->piece++;
		w->from = 0;
	}
	return true;
}

int
qz_bpe_encode(const struct qz_bpe *b, struct qz_bpe_work *w, const char *s,
    const struct qz_piece *piece, size_t n, struct qz_ids *out, struct qz_err *e)
{
	struct words words = { b, s, piece, n ? piece + n : piece, 0 }; /* none: nowhere */
	struct word word[WORDS];
	size_t k, at;

	if (!w->words && !(w->words = qz_words_new(e)))
		return -1;
	do {
		for (k = 0; k < WORDS && next_word(&words, &word[k]);)
			k++;
		look_ahead(w, word, k);
		for (size_t i = 0; i < k; i++) {
			size_t from = out->n;

			if (qz_ids_room(out, word[i].n + QZ_WORD_IDS, e) < 0 ||
			    encode_cached(b, w, &word[i], out, e) < 0)
				return -1;
			at = (size_t)(word[i].s - s);
			for (; from < out->n; from++)
				out->ends[from] += at;
		}
	} while (k == WORDS);
	return 0;
}

void
qz_bpe_work_clear(struct qz_bpe_work *w)
{
	free(w->id);
	free(w->end);
	free(w->rank);
	free(w->prev);
	free(w->next);
	free(w->heap);
	free(w->words);
	memset(w, 0, sizeof *w);
}
