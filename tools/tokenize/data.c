#include <stdlib.h>

#include "libcore/io/arc.h"
#include "tools/tokenize/tokenize.h"

/* The data as it passes: unpacked, hashed for provenance, counted for the meter. */
struct data {
	struct qz_in *in;
	struct qz_arc *arc; /* NULL: not compressed */
	bool empty;         /* compressed nothing */
	struct qz_hash *hash;
	struct qz_meter meter;
	uint64_t seen; /* of the file itself */
};

static int
open_packed(struct data *d, struct qz_err *e)
{
	const struct qz_arc_member *m;
	const void *head;
	int64_t n = qz_in_peek(d->in, &head, 16, e);
	int got;

	if (n < 0)
		return -1;
	if (!qz_arc_is_packed(head, (size_t)n))
		return 0;
	d->arc = qz_arc_open_raw(d->in, e);
	got = d->arc ? qz_arc_next(d->arc, &m, e) : -1;
	d->empty = got == 0;
	return got < 0 ? -1 : 0;
}

struct data *
data_open(const char *path, struct qz_err *e)
{
	struct data *d = calloc(1, sizeof *d);

	if (!d) {
		qz_nomem(e, sizeof *d);
		return NULL;
	}
	d->hash = qz_hash_new();
	d->in = qz_in_open(path, e);
	if (!d->in || !d->hash || open_packed(d, e) < 0) {
		if (d->in && !d->hash)
			qz_nomem(e, 1);
		data_close(d);
		return NULL;
	}
	qz_meter_start(
	    &d->meter, "tokenize", qz_in_size(d->in) > 0 ? (uint64_t)qz_in_size(d->in) : 0, NULL);
	return d;
}

void
data_close(struct data *d)
{
	if (!d)
		return;
	qz_meter_stop(&d->meter);
	qz_arc_close(d->arc);
	qz_in_close(d->in);
	qz_hash_free(d->hash);
	free(d);
}

const char *
data_name(const struct data *d)
{
	return qz_in_name(d->in);
}

int64_t
data_read(void *arg, void *p, size_t n, struct qz_err *e)
{
	struct data *d = arg;
	int64_t got = d->empty ? 0
		      : d->arc ? qz_arc_some(d->arc, p, n, e)
			       : qz_in_some(d->in, p, n, e);

	if (got > 0) {
		qz_hash_add(d->hash, p, (size_t)got);
		qz_meter_add(&d->meter, qz_in_offset(d->in) - d->seen);
		d->seen = qz_in_offset(d->in);
	}
	return got;
}

struct qz_digest
data_digest(const struct data *d)
{
	return qz_hash_get128(d->hash);
}
