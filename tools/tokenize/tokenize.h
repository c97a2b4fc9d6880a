/* tokenize - from documents to rows of tokens. */
#ifndef QZ_TOKENIZE_H
#define QZ_TOKENIZE_H

#include "libcore/shard/writer.h"
#include "libcore/text/docs.h"
#include "libcore/text/tokenizer.h"

enum cut { CUT_END, CUT_START, CUT_DROP }; /* what goes when a document is too long */

/* Counts of what users lose sleep over; one for each input file. */
struct report {
	const char *name;
	uint64_t docs, rows, tokens, trained;
	uint64_t truncated, dropped; /* longer than the limit: cut, or left out */
	uint64_t untrained;          /* left out: no token to learn */
	uint64_t no_end;             /* kept without a trained end token */
	uint64_t double_bos;
	uint64_t special_in_data; /* documents with special-token text in a user's field */
	uint64_t bad;             /* broken records passed over */
};

/* One document as tokens. */
struct encoder {
	const struct qz_tokenizer *t;
	bool add_special;   /* --special auto */
	bool parse_special; /* special-token text in data is that token */
	bool train_all;
	uint64_t length; /* longest row, 0: any */
	enum cut cut;
	struct qz_encoding enc;
	uint8_t *mask;
	size_t mask_cap;
	struct qz_span *plain;
	size_t plain_cap;
};
/* The tokens are enc.ids[0..*n) and mask[0..*n), valid until the next call.  *n 0: left out. */
int encode_doc(struct encoder *en, const struct qz_doc *doc, struct report *r, const uint32_t **ids,
    size_t *n, struct qz_err *e);
void encoder_free(struct encoder *en);

/* Rows on their way into the shard: as they come, or packed into rows of `length` tokens. */
struct packer {
	struct qz_shard_writer *w;
	uint64_t length; /* tokens of a full row; 0: not packed, each document is a row */
	uint32_t *ids;   /* the window's documents, one after another */
	uint8_t *mask;
	uint64_t *ends;
	size_t n_tokens, tokens_cap, n_docs, docs_cap;
	uint64_t rows;
	/* The first rows, kept for --show. */
	uint64_t show;
	int (*see)(void *arg, uint64_t row, const uint32_t *ids, const uint8_t *mask, uint64_t n,
	    const uint64_t *doc_ends, uint64_t n_docs, struct qz_err *e);
	void *arg;
};
int packer_add(
    struct packer *p, const uint32_t *ids, const uint8_t *mask, size_t n, struct qz_err *e);
int packer_flush(struct packer *p, struct qz_err *e);
void packer_free(struct packer *p);

/* The table of reports, one line a file and what is worth a warning under it. */
void report_put(const struct report *r, size_t n, const char *format, struct qz_buf *out);

#endif
