#include "libcore/shard/part.h"

#include <stdlib.h>

#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/shard/codec.h"

static int
part_take(const struct qz_shard_part *p, struct qz_hash *h, uint64_t at, void *data, size_t n,
    struct qz_err *e)
{
	if (qz_in_at(p->in, p->offset + at, data, n, e) < 0)
		return -1;
	qz_hash_add(h, data, n);
	return 0;
}

int
qz_shard_part_begin(
    const struct qz_shard_part *p, struct qz_hash *h, void *window, size_t n, struct qz_err *e)
{
	qz_hash_reset(h);
	for (uint64_t at = 0, m; at < p->head; at += m) {
		m = p->head - at < n ? p->head - at : n;
		if (part_take(p, h, at, window, (size_t)m, e) < 0)
			return -1;
	}
	return 0;
}

int
qz_shard_part_read(const struct qz_shard_part *p, struct qz_hash *h, uint64_t at, void *data,
    size_t n, struct qz_err *e)
{
	return part_take(p, h, p->head + at, data, n, e);
}

int
qz_shard_part_end(const struct qz_shard_part *p, struct qz_hash *h, struct qz_err *e)
{
	size_t pad = (size_t)(qz_round_up(p->nbytes, QZ_SHARD_ALIGN) - p->nbytes);
	uint8_t s[QZ_SHARD_ALIGN + QZ_SEAL_SIZE];
	uint64_t got, want;

	if (qz_in_at(p->in, p->offset + p->head + p->nbytes, s, pad + QZ_SEAL_SIZE, e) < 0)
		return -1;
	qz_hash_add(h, s, pad + 56);
	got = qz_hash_get64(h);
	want = le64_get(s + pad + 56);
	if (got == want)
		return 0;
	qz_fail(e, QZ_EDATA, "checksum is %016llx, not %016llx", (unsigned long long)got,
	    (unsigned long long)want);
	return qz_at(e, "%s", p->place);
}

void
qz_shard_part_free(struct qz_shard_part *p)
{
	free(p->place);
	p->place = NULL;
}
