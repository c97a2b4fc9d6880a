/* imatrix - importance matrices of llama.cpp: for each weight matrix the mean of the squares that each of
 * its inputs had over some text.
 *
 * Two forms, told by content: the binary one of before mid-2025 (".dat"), and a GGUF file with two tensors a
 * matrix, NAME.in_sum2 and NAME.counts.  Names are GGUF's.  Everything belongs to the struct and lasts
 * until qz_imatrix_free(). */
#ifndef QZ_IMATRIX_H
#define QZ_IMATRIX_H

#include "libcore/base/arena.h"
#include "libcore/io/out.h"

struct qz_imatrix_entry {
	const char *name; /* "blk.0.attn_q.weight" */
	uint64_t n;       /* columns */
	float *values;    /* all finite, none negative */
};

struct qz_imatrix { /* zeroed: empty */
	struct qz_imatrix_entry *entries;
	size_t n;
	uint32_t chunks;     /* of text that were looked at, 0: not known */
	const char *dataset; /* what the text is called, or NULL */
	struct qz_arena arena;
};

/* m zeroed.  QZ_EDATA: not an importance matrix, or a value in it is not finite or negative. */
int qz_imatrix_read(struct qz_imatrix *m, const char *path, struct qz_err *e);
void qz_imatrix_free(struct qz_imatrix *m);
const struct qz_imatrix_entry *qz_imatrix_find(
    const struct qz_imatrix *m, const char *name); /* or NULL */

/* Sorts m, and writes it: as GGUF, or in the old binary form.  tokens: over so many the means were taken. */
int qz_imatrix_write(
    struct qz_imatrix *m, uint64_t tokens, bool dat, struct qz_out *o, struct qz_err *e);

#endif
