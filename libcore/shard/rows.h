/* rows - the rows of a token shard's record in memory, checked: ends ascend, every row end is a
 * document's end, masks are 0 or 1, the counts are those of the table. */
#ifndef QZ_ROWS_H
#define QZ_ROWS_H

#include "libcore/shard/reader.h"

struct qz_rows {
	uint32_t *ids;      /* [n_tokens] */
	uint8_t *mask;      /* [n_tokens] */
	uint64_t *row_ends; /* [n_rows] */
	uint64_t *doc_ends; /* [n_docs] */
	uint64_t n_tokens, n_rows, n_docs, n_trained;
};

/* Appends the current TOKS record to rows (zeroed to start), ends counted from rows' own start. */
int qz_rows_read(
    struct qz_rows *rows, struct qz_shard_reader *r, const struct qz_record *rec, struct qz_err *e);
void qz_rows_free(struct qz_rows *rows);

#endif
