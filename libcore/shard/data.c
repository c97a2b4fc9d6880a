#include "libcore/shard/data.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/shard/planes.h"

enum { CHUNK = 256 * 1024 };

int
qz_shard_truncated(struct qz_in *in, struct qz_err *e)
{
	if (e->code != QZ_EDATA)
		return -1;
	return qz_fail(e, QZ_EDATA, "%s: truncated: it ends at byte %llu, before the end record",
	    qz_in_name(in), (unsigned long long)qz_in_offset(in));
}

int
qz_shard_take(struct qz_in *in, struct qz_hash *h, void *data, size_t n, struct qz_err *e)
{
	if (qz_in_read(in, data, n, e) < 0)
		return qz_shard_truncated(in, e);
	qz_hash_add(h, data, n);
	return 0;
}

/* Memory that lasts as long as d. */
static int
room(uint8_t **p, size_t n, struct qz_err *e)
{
	if (!*p)
		*p = malloc(n);
	return *p ? 0 : qz_nomem(e, n);
}

int
qz_shard_data_begin(struct qz_shard_data *d, const struct qz_header *h, struct qz_err *e)
{
	d->flags = h->flags;
	d->stored_left = h->stored;
	d->raw_left = h->raw;
	d->packed_at = d->packed_n = d->joined_at = d->joined_n = 0;
	d->frame_ended = false;
	if (room(&d->packed, CHUNK, e) < 0)
		return -1;
	if (h->flags & QZ_FLAG_ZSTD) {
		if (!d->unzst && !(d->unzst = qz_unzst_new(e)))
			return -1;
		qz_unzst_reset(d->unzst);
	}
	if (!(h->flags & QZ_FLAG_PLANES))
		return 0;
	if (!(h->flags & QZ_FLAG_ZSTD) || h->raw % 2)
		return qz_fail(
		    e, QZ_EDATA, "byte planes of %llu bytes", (unsigned long long)h->raw);
	return room(&d->planes, QZ_PLANE_CHUNK, e) < 0 ? -1 : room(&d->joined, QZ_PLANE_CHUNK, e);
}

/* The next up to n bytes of the file's data. */
static int64_t
stored_bytes(struct qz_shard_data *d, void *data, size_t n, struct qz_err *e)
{
	if (n > d->stored_left)
		n = (size_t)d->stored_left;
	if (n && qz_shard_take(d->in, d->hash, data, n, e) < 0)
		return -1;
	d->stored_left -= n;
	return (int64_t)n;
}

static int
damaged(struct qz_shard_data *d)
{
	d->damaged = true;
	return -1;
}

static int
unpack(struct qz_shard_data *d, uint8_t *out, size_t n, struct qz_err *e)
{
	while (n) {
		size_t n_in, n_out = n;
		int got;

		if (d->packed_at == d->packed_n) {
			int64_t more = stored_bytes(d, d->packed, CHUNK, e);

			if (more < 0)
				return -1;
			d->packed_at = 0;
			d->packed_n = (size_t)more;
		}
		n_in = d->packed_n - d->packed_at;
		if (d->frame_ended || (n_in == 0 && d->stored_left == 0)) {
			qz_fail(e, QZ_EDATA, "zstd: the frame ends %zu bytes early", n);
			return damaged(d);
		}
		got = qz_unzst_step(d->unzst, d->packed + d->packed_at, &n_in, out, &n_out, e);
		if (got < 0)
			return damaged(d);
		d->frame_ended = got == 1;
		d->packed_at += n_in;
		out += n_out;
		n -= n_out;
	}
	return 0;
}

static int
join_planes(struct qz_shard_data *d, uint8_t *out, size_t n, struct qz_err *e)
{
	while (n) {
		size_t part;

		if (d->joined_at == d->joined_n) {
			uint64_t left = d->raw_left < QZ_PLANE_CHUNK ? d->raw_left : QZ_PLANE_CHUNK;

			if (unpack(d, d->planes, (size_t)left, e) < 0)
				return -1;
			qz_planes_join(d->joined, d->planes, (size_t)left);
			d->joined_at = 0;
			d->joined_n = (size_t)left;
		}
		part = d->joined_n - d->joined_at < n ? d->joined_n - d->joined_at : n;
		memcpy(out, d->joined + d->joined_at, part);
		d->joined_at += part;
		d->raw_left -= part;
		out += part;
		n -= part;
	}
	return 0;
}

int
qz_shard_data_read(struct qz_shard_data *d, void *data, size_t n, struct qz_err *e)
{
	d->damaged = false;
	if (d->flags & QZ_FLAG_PLANES)
		return join_planes(d, data, n, e);
	d->raw_left -= n;
	if (d->flags & QZ_FLAG_ZSTD)
		return unpack(d, data, n, e);
	return stored_bytes(d, data, n, e) < 0 ? -1 : 0;
}

int
qz_shard_data_skip(struct qz_shard_data *d, struct qz_err *e)
{
	while (d->stored_left)
		if (stored_bytes(d, d->packed, CHUNK, e) < 0)
			return -1;
	return 0;
}

void
qz_shard_data_free(struct qz_shard_data *d)
{
	qz_unzst_free(d->unzst);
	free(d->packed);
	free(d->planes);
	free(d->joined);
}
