/* bpe - the BPE model of tokenizer.json: a piece becomes its characters' ids, then the pair of least
 * rank (leftmost on ties) is merged until none is left.
 *
 * Words of up to a few dozen symbols are merged by scanning, longer ones through a heap, so that n symbols
 * cost O(n log n).  Words that come again are answered from a cache. */
#ifndef QZ_BPE_H
#define QZ_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/json.h"
#include "libcore/text/joins.h"
#include "libcore/text/merges.h"
#include "libcore/text/pieces.h"
#include "libcore/text/ready.h"
#include "libcore/text/vocab.h"
#include "libcore/text/words.h"

struct qz_bpe {
	const struct qz_vocab *vocab;
	struct qz_merges merges;
	uint32_t *duo; /* (256 x 256) ranks of pairs of single bytes, or of ASCII characters */
	uint32_t byte_id[256];     /* byte-level: the id of the byte's character */
	uint32_t fallback_id[256]; /* of <0x00> to <0xFF> */
	uint32_t ascii_id[128];    /* one-character tokens: these, and by code point */
	uint64_t *chars;           /* code point << 32 | id + 1; 0: free */
	uint32_t chars_mask;
	bool bytes; /* pieces are bytes, see qz_pretokenizer */
	bool byte_fallback, fuse_unk, ignore_merges;
	uint32_t unk; /* or QZ_ID_NONE */
	bool cuts;    /* no merge joins U+2581 to what is before it, and nothing is unknown: a piece
	                     may be cut before each U+2581 that follows something else */
	const uint64_t *whole; /* ignore_merges: by hash of a token's bytes, 0 where no token is */
	const struct qz_joins *joins; /* where else it may be cut, or NULL */
	uint64_t *own_whole;          /* those that are not borrowed */
	struct qz_joins *own_joins;
	bool merges_bytes;    /* there is a merge of a byte that was fallen back to */
	char letters[256][2]; /* bytes: the UTF-8 of a byte's character, of n_letters[byte] bytes */
	uint8_t n_letters[256];
};

/* One thread's memory, grown as needed and kept. */
struct qz_bpe_work {
	uint32_t *id, *end, *rank, *prev, *next; /* a symbol, its pair with the next one */
	uint64_t *heap;                          /* rank << 32 | position */
	size_t cap, heap_n, heap_cap;
	struct qz_word *words;
};

/* j: tokenizer.json's "model"; v already holds its vocabulary.  Merges are those of ready, unless it is
 * NULL. */
int qz_bpe_load(struct qz_bpe *b, const struct qz_vocab *v, const struct qz_json *j,
    const struct qz_ready *ready, struct qz_err *e);
/* The same where pieces have an order instead of merges: two whose texts make a piece of rank r (not
 * QZ_NO_MERGE) merge at that rank, the leftmost of equal ones first.  rank: (v->size), below n_ranks;
 * pieces may share one.  A piece that cannot be made of single characters is made of none. */
int qz_bpe_load_ranks(struct qz_bpe *b, const struct qz_vocab *v, const uint32_t *rank,
    uint32_t n_ranks, struct qz_err *e);
/* The merges of bytes of a ready form; v already holds its vocabulary. */
int qz_bpe_load_ready(
    struct qz_bpe *b, const struct qz_vocab *v, const struct qz_ready *r, struct qz_err *e);
/* The last step of loading.  wanted: pieces be bytes, where every byte has its character in the vocabulary
 * (or unknown ones are dropped): 1 so it is, 0 pieces are characters.  ready: as above, or NULL. */
int qz_bpe_use_bytes(struct qz_bpe *b, bool wanted, const struct qz_ready *ready, struct qz_err *e);
void qz_bpe_clear(struct qz_bpe *b);

/* Appends the ids of pieces of a text, with their ends in it. */
int qz_bpe_encode(const struct qz_bpe *b, struct qz_bpe_work *w, const char *s,
    const struct qz_piece *piece, size_t n, struct qz_ids *out, struct qz_err *e);
void qz_bpe_work_clear(struct qz_bpe_work *w);

#endif
