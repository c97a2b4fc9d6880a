/* unigram - the Unigram model: of all ways to cut a text into pieces the one with the best sum of scores.
 *
 * Where no piece is a single character, that character is unknown, at ten less than the least score.
 * Unknown ones side by side are one, written as its bytes where the vocabulary falls back to bytes.
 * tokenizer.json sums doubles, sentencepiece rounds each sum to a float: ties and near ties differ. */
#ifndef QZ_UNIGRAM_H
#define QZ_UNIGRAM_H

#include <stdbool.h>

#include "libcore/base/json.h"
#include "libcore/text/pieces.h"
#include "libcore/text/trie.h"
#include "libcore/text/vocab.h"
#include "libcore/text/words.h"

struct qz_unigram {
	const struct qz_vocab *vocab;
	struct qz_trie trie; /* piece to id */
	double *scores;      /* (n) by id */
	uint32_t n, unk;     /* unk: or QZ_ID_NONE */
	uint32_t fallback_id[256];
	double unk_score;
	bool floats;        /* sums as sentencepiece has them */
	bool byte_fallback; /* unknown pieces are bytes */
};

/* One thread's memory; zero is empty. */
struct qz_unigram_work {
	struct qz_unigram_node *nodes;
	size_t cap;
	uint32_t *cuts;
	struct qz_word *words;
};

/* j: tokenizer.json's "model" of the type Unigram.  Fills v. */
int qz_unigram_load(
    struct qz_unigram *u, struct qz_vocab *v, const struct qz_json *j, struct qz_err *e);
/* Ids of <0x00> to <0xFF>, once the vocabulary is complete. */
void qz_unigram_find_bytes(struct qz_unigram *u);
void qz_unigram_clear(struct qz_unigram *u);

/* Appends the ids of pieces of a text, with their ends in it. */
int qz_unigram_encode(const struct qz_unigram *u, struct qz_unigram_work *w, const char *s,
    const struct qz_piece *piece, size_t n, struct qz_ids *out, struct qz_err *e);
void qz_unigram_work_clear(struct qz_unigram_work *w);

#endif
