#include <stdlib.h>
#include <string.h>

#include "libcore/model/source_impl.h"
#include "libcore/shard/reader.h"
#include "libcore/text/ready.h"

enum { READY_MAX = 512 << 20 };

struct shard {
	struct qz_in *in;
	struct qz_shard_reader *r;
	const struct qz_record *rec; /* a tensor that next() has to give */
	struct qz_digest total;
	uint64_t source;
	bool over;
};

static int
read_blob(
    const struct qz_source *s, struct shard *h, size_t most, struct qz_buf *b, struct qz_err *e)
{
	void *p;

	if (h->rec->nbytes > most)
		return qz_fail(e, QZ_EDATA, "%s: blob %s: has %llu bytes, at most %zu are read",
		    s->name, h->rec->name, (unsigned long long)h->rec->nbytes, most);
	p = qz_buf_room(b, (size_t)h->rec->nbytes);
	if (!p)
		return qz_buf_ok(b, e);
	return qz_shard_read(h->r, p, b->n, e) < 0 ? -1 : qz_shard_finish(h->r, e);
}

/* Blobs of the shard that go with a model; the second shard of several has them again. */
static int
take_blob(struct qz_source *s, struct shard *h, struct qz_err *e)
{
	size_t most = source_file_max(h->rec->name);
	struct qz_buf b = { 0 };
	int ret;

	if (!strcmp(h->rec->name, QZ_READY_NAME))
		return s->ready.n ? 0 : read_blob(s, h, READY_MAX, &s->ready, e);
	if (!most || qz_source_file(s, h->rec->name))
		return 0;
	ret = read_blob(s, h, most, &b, e);
	if (ret == 0 && source_add_file(s, h->rec->name, &b, e) < 0)
		ret = qz_at(e, "%s: blob %s", s->name, h->rec->name);
	qz_buf_free(&b);
	return ret;
}

/* A shard without config.json has it in its head. */
static int
take_config(struct qz_source *s, struct shard *h, struct qz_err *e)
{
	const struct qz_json *config = qz_json_get(qz_shard_head(h->r), "config");
	struct qz_buf b = { 0 };
	int ret;

	if (s->has_config)
		return 0;
	if (!config)
		return qz_fail(e, QZ_EDATA, "%s: has no config.json", s->name);
	qz_json_put(&b, config, 2);
	ret = qz_buf_ok(&b, e);
	if (ret == 0 && source_add_file(s, "config.json", &b, e) < 0)
		ret = qz_at(e, "%s: config in the head", s->name);
	qz_buf_free(&b);
	return ret;
}

/* The digest of all shards of the input: of one, its own. */
static void
take_end(struct shard *h)
{
	struct qz_digest d = h->rec->end.digest, both[2] = { h->total, d };

	if (h->over)
		d = (struct qz_digest){ qz_hash64(both, sizeof both), d.lo ^ h->total.lo };
	h->total = d;
	h->over = true;
}

/* On to the next tensor; 0 at the end of the input. */
static int
advance(struct qz_source *s, struct shard *h, struct qz_err *e)
{
	int got;

	while ((got = qz_shard_next(h->r, &h->rec, e)) > 0) {
		if (h->rec->type == QZ_REC_TENSOR)
			return 1;
		if (h->rec->type == QZ_REC_END)
			take_end(h);
		if (h->rec->type == QZ_REC_BLOB && take_blob(s, h, e) < 0)
			return -1;
	}
	h->rec = NULL;
	return got;
}

static int
next(struct qz_source *s, struct qz_tensor *t, struct qz_err *e)
{
	struct shard *h = s->impl;
	int got = 1;

	if (!h->rec)
		got = advance(s, h, e);
	if (got <= 0)
		return got;
	*t = h->rec->tensor;
	h->rec = NULL;
	h->source = 0;
	return 1;
}

static int
read_data(struct qz_source *s, void *data, size_t n, struct qz_err *e)
{
	return qz_shard_read(((struct shard *)s->impl)->r, data, n, e);
}

static int
finish(struct qz_source *s, uint64_t n, struct qz_err *e)
{
	struct shard *h = s->impl;

	(void)n;
	if (qz_shard_finish(h->r, e) < 0)
		return -1;
	h->source = qz_shard_source(h->r);
	return 0;
}

static int
later(struct qz_source *s, struct qz_shard_part *p, struct qz_err *e)
{
	struct shard *h = s->impl;
	int got = qz_shard_later(h->r, p, e);

	if (got > 0)
		h->source = qz_shard_source(h->r);
	return got;
}

static uint64_t
digest(struct qz_source *s)
{
	return ((struct shard *)s->impl)->source;
}

static const char *
provenance(const struct qz_source *s)
{
	return qz_shard_provenance(((const struct shard *)s->impl)->r);
}

static struct qz_digest
total(const struct qz_source *s)
{
	return ((const struct shard *)s->impl)->total;
}

static void
close_shard(struct qz_source *s)
{
	struct shard *h = s->impl;

	if (!h)
		return;
	qz_shard_reader_free(h->r);
	qz_in_close(h->in);
	free(h);
}

static const struct source_ops ops = { "shard", next, read_data, finish, digest, later, provenance,
	total, close_shard };

/* The manifest of a shard that holds only a part of the model does not tell what is to come. */
static int
take_manifest(struct qz_source *s, const struct qz_tensor *t, size_t n, struct qz_err *e)
{
	if (!t || source_set_manifest(s, t, n, e) == 0)
		return 0;
	if (strstr(e->msg, " is missing")) {
		s->manifest = NULL;
		return 0;
	}
	return qz_at(e, "%s", s->name);
}

int
source_open_shard(struct qz_source *s, struct qz_in *in, struct qz_err *e)
{
	struct shard *h = calloc(1, sizeof *h);
	struct qz_tensor *copy = NULL;
	size_t n = 0;
	int got;

	s->ops = &ops;
	s->impl = h;
	if (!h) {
		qz_in_close(in);
		return qz_nomem(e, sizeof *h);
	}
	h->in = in;
	h->r = qz_shard_reader_new(in, "model", e);
	if (!h->r || qz_shard_next(h->r, &h->rec, e) < 0)
		return -1;
	if (h->rec->type == QZ_REC_HEAD && h->rec->manifest) {
		n = h->rec->n_manifest;
		copy = qz_arena_alloc(&s->arena, (n + 1) * sizeof *copy);
		if (!copy)
			return qz_nomem(e, n * sizeof *copy);
		memcpy(copy, h->rec->manifest, n * sizeof *copy);
		for (size_t i = 0; i < n; i++)
			if (!(copy[i].name = qz_arena_strdup(&s->arena, copy[i].name)))
				return qz_nomem(e, 1);
	}
	got = advance(s, h, e);
	if (got < 0 || take_config(s, h, e) < 0)
		return -1;
	return take_manifest(s, copy, n, e);
}
