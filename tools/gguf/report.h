/* report - what people are told about a file: what it cannot say, what was lost. */
#ifndef QZ_GGUF_TOOL_REPORT_H
#define QZ_GGUF_TOOL_REPORT_H

#include "tools/gguf/export.h"
#include "tools/gguf/files.h"
#include "tools/gguf/plan.h"

struct report {
	size_t n_padding; /* rows of the embedding without a token */
	struct qz_buf
	    differences; /* a line for each thing that llama.cpp's tokenizer does otherwise */
	struct qz_buf card_wrong; /* why the model's card is left out */
};

/* Before the data is written. */
void report_plan(const struct plan *p, const struct report *x);
/* Values that f16 made infinite: named, and QZ_EDATA with --strict. */
int report_overflow(const struct request *r, const struct plan *p, struct qz_err *e);
void report_size(const struct plan *p, const struct files *f);
void report_free(struct report *x);

#endif
