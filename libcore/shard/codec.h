/* codec - the tables of records as bytes, both ways.  qz-shard(5) gives the layouts; everything that is
 * decoded is checked against the table's length before it is used. */
#ifndef QZ_CODEC_H
#define QZ_CODEC_H

#include "libcore/base/arena.h"
#include "libcore/base/buf.h"
#include "libcore/shard/reader.h"

enum { QZ_HEADER_SIZE = 64, QZ_SEAL_SIZE = 64, QZ_PREAMBLE_SIZE = 64, QZ_END_TABLE = 80 };

struct qz_header {
	uint32_t type;
	uint16_t flags, optional;
	uint32_t table_n, meta_n;
	uint64_t stored, raw, number;
};

void qz_header_put(const struct qz_header *h, uint8_t out[QZ_HEADER_SIZE]);
int qz_header_get(struct qz_header *h, const uint8_t in[QZ_HEADER_SIZE], struct qz_err *e);
/* "TENS", or "?" for bytes that are not letters.  out has room for 5. */
void qz_tag_text(uint32_t type, char out[5]);

void qz_tensor_put(const struct qz_tensor *t, struct qz_buf *out);
/* One entry at *at of table[0..n); the name goes into the arena. */
int qz_tensor_get(struct qz_tensor *t, const uint8_t *table, size_t n, size_t *at,
    struct qz_arena *a, struct qz_err *e);
void qz_manifest_put(const struct qz_tensor *t, size_t n, bool known, struct qz_buf *out);
/* *t NULL when the head says that the tensors are not known. */
int qz_manifest_get(const struct qz_tensor **t, size_t *n_t, const uint8_t *table, size_t n,
    struct qz_arena *a, struct qz_err *e);
void qz_name_put(const char *name, struct qz_buf *out);
int qz_name_get(
    const char **name, const uint8_t *table, size_t n, struct qz_arena *a, struct qz_err *e);
void qz_tokens_put(const struct qz_tokens_info *t, struct qz_buf *out);
/* Sections and their offsets follow from the counts; *nbytes is what the data must have. */
int qz_tokens_get(
    struct qz_tokens_info *t, const uint8_t *table, size_t n, uint64_t *nbytes, struct qz_err *e);
int qz_tokens_plan(struct qz_tokens_info *t, uint64_t *nbytes);
void qz_end_put(const struct qz_shard_end *end, struct qz_buf *out);
int qz_end_get(struct qz_shard_end *end, const uint8_t *table, size_t n, struct qz_err *e);

#endif
