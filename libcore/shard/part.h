/* part - the data of one tensor of a shard, to be read and checked by any thread, while the reader that it comes
 * from (qz_shard_later) goes on behind it.  Damage is QZ_EDATA with the same place and words as the reader's. */
#ifndef QZ_SHARD_PART_H
#define QZ_SHARD_PART_H

#include "libcore/base/hash.h"
#include "libcore/io/in.h"

struct qz_shard_part {
	const struct qz_in *in; /* the reader's: it must outlive the part */
	uint64_t offset;        /* of the record in the input */
	uint64_t head, nbytes;  /* before the data; of the data */
	char *place;            /* what messages say before what is wrong */
};
/* In this order: begin once (with a window for what stands before the data), the data from its start to its end,
 * end: the checksum.  h is the thread's own. */
int qz_shard_part_begin(
    const struct qz_shard_part *p, struct qz_hash *h, void *window, size_t n, struct qz_err *e);
int qz_shard_part_read(const struct qz_shard_part *p, struct qz_hash *h, uint64_t at, void *data,
    size_t n, struct qz_err *e);
int qz_shard_part_end(const struct qz_shard_part *p, struct qz_hash *h, struct qz_err *e);
void qz_shard_part_free(struct qz_shard_part *p);

#endif
