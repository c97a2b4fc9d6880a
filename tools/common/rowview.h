/* rowview - a row of tokens as a person reads it: what is trained stands out, special tokens are
 * visible, documents are parted.  In colour on a terminal; else trained text stands in [[ ]]. */
#ifndef QZ_ROWVIEW_H
#define QZ_ROWVIEW_H

#include "libcore/base/buf.h"
#include "libcore/text/tokenizer.h"

struct qz_rowview {
	const struct qz_tokenizer *t;
	bool colour;
	int width; /* columns to wrap at, 0: not */
};

/* Colour and width of stdout (fd 1) or stderr (fd 2), honouring NO_COLOR. */
void qz_rowview_init(struct qz_rowview *v, const struct qz_tokenizer *t, int fd);
/* Appends the row's heading and text.  doc_ends: ends of its documents, counted from the row's start. */
int qz_rowview_put(const struct qz_rowview *v, uint64_t number, const uint32_t *ids,
    const uint8_t *mask, uint64_t n, const uint64_t *doc_ends, uint64_t n_docs, struct qz_buf *out,
    struct qz_err *e);

#endif
