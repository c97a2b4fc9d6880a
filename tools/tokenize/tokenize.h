/* tokenize - from documents to rows of tokens: data (data.c) is read in batches (batch.c), whose records
 * become documents and tokens (encode.c) in any number of threads, and, in order, rows (pack.c). */
#ifndef QZ_TOKENIZE_H
#define QZ_TOKENIZE_H

#include "libcore/base/hash.h"
#include "libcore/base/pool.h"
#include "libcore/shard/writer.h"
#include "libcore/text/docs.h"
#include "libcore/text/tokenizer.h"
#include "tools/common/meter.h"

enum cut { CUT_END, CUT_START, CUT_DROP, CUT_SPLIT }; /* what goes when a document is too long */
enum order { ORDER_INPUT, ORDER_LENGTH, ORDER_PACK };

struct qz_list;

/* ---- renames.c ---- */

/* What --field or --role were given: the data's words and those of the formats.  Wrong ones end the program. */
struct qz_renames renames_read(const char *option, const struct qz_list *given);
void renames_free(struct qz_renames *r);

/* ---- data.c ---- */

/* A file of data, or what it was compressed from. */
struct data;
struct data *data_open(const char *path, struct qz_err *e);
void data_close(struct data *d);
const char *data_name(const struct data *d);
int64_t data_read(void *data, void *p, size_t n, struct qz_err *e); /* a qz_read_fn */
struct qz_digest data_digest(const struct data *d);                 /* of what was read */

/* ---- report.c ---- */

/* Counts of what users lose sleep over; one for each input file.  All are uint64_t: report_add. */
struct counts {
	uint64_t docs, rows, tokens, trained;
	uint64_t truncated, dropped; /* longer than the limit: cut, or left out */
	uint64_t untrained;          /* left out: no token to learn; plain text never is */
	uint64_t empty;              /* left out: no token at all */
	uint64_t no_end;             /* kept without a trained end token */
	uint64_t double_bos;
	uint64_t special_in_data; /* documents with special-token text in a user's field */
	uint64_t repaired;        /* records with bytes that were no text */
	uint64_t bad;             /* broken records passed over */
	uint64_t capacity;        /* tokens that the rows could hold: packed only */
};

/* Lengths of documents: exact below 64 tokens, else within 1/64. */
enum { LENGTH_BINS = 64 * 26 };
struct lengths {
	uint64_t n[LENGTH_BINS], docs, tokens, least, most;
};
void lengths_add(struct lengths *l, uint64_t length);

struct report {
	const char *name, *format;
	struct counts c;
};
struct report_style {
	enum cut cut;
	bool parse_special, packed, stats, json;
	int width; /* columns, 0: not known */
};
void counts_add(struct counts *to, const struct counts *c);
/* A table, one line a file and what is worth a warning under it; or one JSON object. */
void report_put(const struct report *r, size_t n, const struct lengths *l,
    const struct report_style *style, struct qz_buf *out);

/* ---- encode.c ---- */

/* One thread's way from a document to tokens. */
struct encoder {
	const struct qz_tokenizer *t;
	bool add_special;   /* --special auto */
	bool parse_special; /* special-token text in data is that token */
	bool train_all;
	uint64_t length; /* longest row, 0: any */
	enum cut cut;
	int64_t rows; /* of the model's embedding; -1: not known */
	struct qz_encoding enc;
	uint8_t *mask;
	size_t mask_cap;
	struct qz_span *plain;
	size_t plain_cap;
};

/* What comes out, one after the other: ids, mask, ends of rows-to-be. */
struct tokens {
	uint32_t *ids;
	uint8_t *mask;
	uint64_t *ends;
	size_t n, n_docs, cap, docs_cap;
};
int tokens_add(
    struct tokens *t, const uint32_t *ids, const uint8_t *mask, size_t n, struct qz_err *e);
void tokens_free(struct tokens *t);

/* Appends the document's rows-to-be to out: none, one, or several (CUT_SPLIT). */
int encode_doc(struct encoder *en, const struct qz_doc *doc, struct counts *c, struct tokens *out,
    struct qz_err *e);
void encoder_free(struct encoder *en);

/* ---- batch.c ---- */

struct job {
	const struct qz_docs_options *options;
	struct encoder encoder; /* its settings: each thread has a copy */
	struct qz_pool *pool;
	int (*take)(
	    void *arg, const uint32_t *ids, const uint8_t *mask, size_t n, struct qz_err *e);
	void (*skip)(void *arg, const struct qz_err *e); /* a broken record is passed over */
	void *arg;
};
/* All documents of docs, in order, to take(). */
int run_batches(const struct job *j, struct qz_docs *docs, struct counts *c, struct qz_err *e);

/* ---- pack.c ---- */

/* Rows on their way into the shard: as they come, by length, or packed into rows of `length` tokens. */
struct packer {
	struct qz_shard_writer *w;
	enum order order;
	uint64_t length; /* tokens of a packed row */
	uint64_t seed, windows;
	struct tokens window; /* documents that wait */
	uint64_t rows;
	/* The first rows, for --show. */
	uint64_t show;
	int (*see)(void *arg, uint64_t row, const uint32_t *ids, const uint8_t *mask, uint64_t n,
	    const uint64_t *doc_ends, uint64_t n_docs, struct qz_err *e);
	void *arg;
};
int packer_add(
    struct packer *p, const uint32_t *ids, const uint8_t *mask, size_t n, struct qz_err *e);
int packer_flush(struct packer *p, struct qz_err *e);
void packer_free(struct packer *p);

#endif
