/* writer - a shard, forwards.  Order: head, blobs, tensors or tokens, provenance; the writer adds
 * index and end.  Lengths stand before data, checksums behind it: nothing is held back but
 * what is compressed.  A writer writes the oldest version of the format that can say it. */
#ifndef QZ_SHARD_WRITER_H
#define QZ_SHARD_WRITER_H

#include "libcore/io/out.h"
#include "libcore/shard/shard.h"

struct qz_shard_writer;

/* kind: "model", "tokens", "adapter", "checkpoint".  meta: a JSON object for people and tools (model
 * config under "config", ...); "kind" is added.  manifest: all tensors that will come, in order, or NULL.
 * zstd_level 0: data as it is.  Takes no ownership of o. */
struct qz_shard_writer *qz_shard_writer_new(struct qz_out *o, const char *kind, const char *meta,
    const struct qz_tensor *manifest, size_t n_manifest, int zstd_level, struct qz_err *e);
void qz_shard_writer_free(struct qz_shard_writer *w);

int qz_shard_blob(
    struct qz_shard_writer *w, const char *name, const void *data, size_t n, struct qz_err *e);

/* A tensor: begin (t planned by qz_tensor_plan), its data in order with padding between sections done
 * by the writer, end with the XXH3-64 of the bytes it was made from (0: none). */
int qz_shard_tensor_begin(struct qz_shard_writer *w, const struct qz_tensor *t, struct qz_err *e);
int qz_shard_tensor_write(struct qz_shard_writer *w, const void *data, size_t n, struct qz_err *e);
int qz_shard_tensor_end(struct qz_shard_writer *w, uint64_t source, struct qz_err *e);

/* A block of rows.  row_ends, doc_ends count tokens from this block's start, ascending; the last of
 * each is n_tokens; every row end is a document's end too. */
struct qz_tokens_block {
	const uint32_t *ids;
	const uint8_t *mask;
	uint64_t n_tokens;
	const uint64_t *row_ends, *doc_ends;
	uint64_t n_rows, n_docs;
};
int qz_shard_tokens(struct qz_shard_writer *w, const struct qz_tokens_block *b, struct qz_err *e);

/* chain: JSON array text (see provenance.h). */
int qz_shard_provenance_put(struct qz_shard_writer *w, const char *chain, struct qz_err *e);
/* Index and end.  The shard is complete, the output not yet committed. */
int qz_shard_writer_end(struct qz_shard_writer *w, struct qz_err *e);
/* After the end: what the end record says. */
const struct qz_shard_end *qz_shard_writer_result(const struct qz_shard_writer *w);

#endif
