/* data - a record's data on its way out of a shard: read, hashed, decompressed, its byte planes joined.
 * What is skipped is read and hashed, no more: the checksum is over what is stored. */
#ifndef QZ_SHARD_DATA_H
#define QZ_SHARD_DATA_H

#include "libcore/io/in.h"
#include "libcore/io/zst.h"
#include "libcore/shard/codec.h"

/* All zero but for in and hash, which are borrowed. */
struct qz_shard_data {
	struct qz_in *in;
	struct qz_hash *hash;
	uint64_t stored_left, raw_left; /* in the file; of what it unpacks to */
	bool damaged;                   /* the failure is the data's: the caller says whose */

	uint16_t flags;
	struct qz_unzst *unzst;
	bool frame_ended;
	uint8_t *packed; /* bytes of the file */
	size_t packed_at, packed_n;
	uint8_t *planes, *joined; /* QZ_PLANE_CHUNK each */
	size_t joined_at, joined_n;
};

/* n bytes, hashed.  An input that ends early is "NAME: truncated: ...". */
int qz_shard_take(struct qz_in *in, struct qz_hash *h, void *data, size_t n, struct qz_err *e);
/* The message of an input that ended, in place of a reading's own. */
int qz_shard_truncated(struct qz_in *in, struct qz_err *e);

/* The data of the record with that header come next. */
int qz_shard_data_begin(struct qz_shard_data *d, const struct qz_header *h, struct qz_err *e);
/* n <= raw_left bytes. */
int qz_shard_data_read(struct qz_shard_data *d, void *data, size_t n, struct qz_err *e);
int qz_shard_data_skip(struct qz_shard_data *d, struct qz_err *e);
void qz_shard_data_free(struct qz_shard_data *d);

#endif
