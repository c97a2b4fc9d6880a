/* show - what qz-show says of a shard, in words or as JSON lines. */
#ifndef QZ_SHOW_H
#define QZ_SHOW_H

#include "libcore/io/out.h"
#include "libcore/shard/reader.h"
#include "libcore/text/tokenizer.h"

/* One record in the list of a shard, after its data has been checked. */
void show_head(const struct qz_json *head, const char *name, struct qz_buf *out);
void show_record(const struct qz_record *rec, struct qz_buf *out);
void show_record_json(const struct qz_record *rec, struct qz_buf *out);
/* The chain of steps, one a line. */
int show_provenance(const char *chain, struct qz_buf *out, struct qz_err *e);
/* Rows of a tokens record, until *left is 0: as JSON lines, or drawn with the shard's own tokenizer. */
struct show_rows {
	bool json;
	int64_t left;                       /* -1: all */
	uint64_t number;                    /* of the next row */
	struct qz_buf files[QZ_TEXT_FILES]; /* seen as blobs before */
	struct qz_tokenizer *t;
};
int show_rows(struct show_rows *s, struct qz_shard_reader *r, const struct qz_record *rec,
    struct qz_out *o, struct qz_err *e);
void show_rows_free(struct show_rows *s);

/* Does a GGUF file begin here? */
bool show_is_gguf(struct qz_in *in, struct qz_err *e);
/* Its keys and tensors, as text or a JSON object a line; or with check, one line when its data has the
 * digest that it carries, and QZ_EDATA when not. */
int show_gguf(struct qz_in *in, bool json, bool check, struct qz_buf *out, struct qz_err *e);

#endif
