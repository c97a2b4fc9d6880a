/* batch - rows of tokens packed one after another, without padding, as a step computes them.
 *
 * Each document of a row is a sequence of its own: positions start again, attention does not cross.  A
 * token is trained when its mask says so and it is not a document's first: nothing predicts that one.
 * The order of the rows is a permutation of each epoch, keyed by (seed, epoch) alone, so that row number c
 * of a run is known without the ones before it. */
#ifndef QZ_BATCH_H
#define QZ_BATCH_H

#include "libcore/shard/rows.h"

/* Rows that can be trained on, with what packing needs to know of each. */
struct qz_data {
	struct qz_rows rows;
	uint64_t *start; /* [n]: first token of each used row */
	uint64_t *end;
	uint64_t *doc;                /* [n]: its first document */
	uint64_t *number;             /* [n]: which row of the input it is, from 0 */
	uint32_t *trained;            /* [n] */
	uint32_t *docs;               /* [n] */
	uint64_t n;                   /* rows used */
	uint64_t n_left_out;          /* rows without a trained token */
	uint64_t n_tokens, n_trained; /* of the used rows */
	struct qz_digest digest;      /* of all tokens, masks and ends */
	struct qz_buf chains;         /* provenance of each shard, one JSON array a line */
};

/* Adds every row of every shard of the input; may be called again for further inputs. */
int qz_data_read(struct qz_data *d, struct qz_in *in, struct qz_err *e);
/* After the last input: finds the rows, checks ids against the vocabulary.  No row with a trained token
 * is QZ_EDATA. */
int qz_data_end(struct qz_data *d, int64_t vocab, struct qz_err *e);
void qz_data_free(struct qz_data *d);

/* What the largest batch of n rows holds; used rows, any order, each of them up to `times` times. */
struct qz_extent {
	int64_t tokens, docs, trained, max_len;
};
int qz_data_extent(const struct qz_data *d, uint64_t n_rows, uint64_t times, struct qz_extent *x,
    struct qz_err *e);

/* order[i]: the used row that comes i-th in an epoch (Fisher-Yates, Philox keyed by seed and epoch). */
void qz_data_order(const struct qz_data *d, uint64_t seed, uint64_t epoch, uint64_t *order);

/* Host arrays, the form in which a packed batch goes to the device. */
struct qz_batch {
	int64_t n_tokens, n_docs, n_trained, n_rows, max_len;
	uint32_t *ids;      /* [n_tokens] */
	int32_t *positions; /* [n_tokens] */
	int32_t *doc_start; /* [n_docs + 1] */
	int32_t *trained;   /* [n_trained]: tokens whose next token is a target */
	uint32_t *targets;  /* [n_trained]: those targets */
	int64_t *row_end;   /* [n_rows]: end of each row among the trained */
	uint64_t *row;      /* [n_rows]: which used row */
	struct qz_extent room;
	int64_t rows_room;
};

int qz_batch_new(struct qz_batch *b, struct qz_extent room, int64_t n_rows, struct qz_err *e);
void qz_batch_free(struct qz_batch *b);
void qz_batch_clear(struct qz_batch *b);
/* Adds a row; false when there is no room for it. */
bool qz_batch_add(struct qz_batch *b, const struct qz_data *d, uint64_t row);
/* A batch of one document: tokens ids[0..n) at positions past.., no targets. */
bool qz_batch_plain(struct qz_batch *b, const uint32_t *ids, int64_t n, int64_t past);

#endif
