/* split - tokenizer.json's "pre_tokenizer": normalized text into the pieces that the model sees. */
#ifndef QZ_SPLIT_H
#define QZ_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "libcore/base/buf.h"
#include "libcore/base/json.h"
#include "libcore/text/normalize.h"
#include "libcore/text/pieces.h"
#include "libcore/text/uclass.h"

struct qz_pretokenizer {
	struct qz_stage *stages; /* Sequences are flattened */
	size_t n;
	/* The last stage is ByteLevel and leaves its alphabet out: pieces are the bytes themselves and
	 * the model takes each for its character.  Set after loading, when the model can. */
	bool bytes;
};

/* One thread's text and pieces, while they go through the stages. */
struct qz_cuts {
	struct qz_text t;              /* in; memory of buf[] once a stage has changed it */
	struct qz_pieces pieces, more; /* pieces of t are the result */
	struct qz_textbuf buf[2];
};

int qz_pretokenizer_load(struct qz_pretokenizer *p, const struct qz_json *j, struct qz_err *e);
void qz_pretokenizer_clear(struct qz_pretokenizer *p);
bool qz_pretokenizer_ends_in_bytes(const struct qz_pretokenizer *p);

/* Cuts c->t; first: it starts the document. */
int qz_pretokenizer_run(const struct qz_pretokenizer *t, const struct qz_uclass *u,
    struct qz_regex_match *m, bool first, struct qz_cuts *c, struct qz_err *e);
void qz_cuts_clear(struct qz_cuts *c);

#endif
