/* sink - where a merged model goes: a model shard, or a folder that transformers opens.
 * Calls come in this order: begin, then for each tensor first, rows, last; then end, which completes the
 * output.  close without end leaves nothing behind. */
#ifndef QZ_MERGE_SINK_H
#define QZ_MERGE_SINK_H

#include "libcore/model/source.h"

struct sink {
	/* manifest: what will come, or NULL when that is not known (shard only). */
	int (*begin)(struct sink *k, const struct qz_tensor *manifest, size_t n, struct qz_err *e);
	int (*first)(struct sink *k, const struct qz_tensor *t, struct qz_err *e);
	int (*rows)(struct sink *k, const void *data, size_t n, struct qz_err *e);
	int (*last)(struct sink *k, struct qz_err *e);
	/* chain: provenance, JSON array text. */
	int (*end)(struct sink *k, const char *chain, struct qz_err *e);
	void (*close)(struct sink *k);
};

/* config: the config.json of the result.  s, whose other files go along, and config are borrowed until
 * close.  NULL on failure. */
struct sink *sink_shard(
    const char *output, const struct qz_source *s, const struct qz_buf *config, struct qz_err *e);
/* file_max: bytes of tensors in one file; more are split, as transformers does. */
struct sink *sink_hf(const char *output, const struct qz_source *s, const struct qz_buf *config,
    uint64_t file_max, struct qz_err *e);

/* config.json for plain tensors of this type: torch_dtype and dtype say so, and what only transformers 4 or
 * only 5 writes is there for both. */
int config_edit(
    const struct qz_source *s, enum qz_dtype type, struct qz_buf *out, struct qz_err *e);

#endif
