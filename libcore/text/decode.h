/* decode - tokenizer.json's "decoder": the texts of ids back to one text. */
#ifndef QZ_DECODE_H
#define QZ_DECODE_H

#include <stddef.h>

#include "libcore/base/buf.h"
#include "libcore/base/json.h"
#include "libcore/text/pieces.h"

struct qz_decoder {
	struct qz_decode_step *steps; /* Sequences are flattened */
	size_t n;
	int none; /* no decoder: texts are joined by spaces */
};

/* Texts of tokens on their way through the steps: pieces of buf. */
struct qz_parts {
	struct qz_buf buf;
	struct qz_pieces pieces; /* an empty text is a part too */
};
void qz_parts_add(struct qz_parts *p, const char *s, size_t n);
void qz_parts_clear(struct qz_parts *p);

int qz_decoder_load(struct qz_decoder *d, const struct qz_json *j, struct qz_err *e);
void qz_decoder_clear(struct qz_decoder *d);

/* Appends the text of the parts, which are used up.  Always valid UTF-8: what is none becomes U+FFFD. */
int qz_decoder_run(
    const struct qz_decoder *d, struct qz_parts *in, struct qz_buf *out, struct qz_err *e);

#endif
