#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/model/modeltext.h"
#include "libcore/shard/writer.h"
#include "tools/quantize/quantize.h"

struct shard {
	struct sink sink;
	struct qz_out *o;
	const struct qz_source *source;
	struct qz_shard_writer *w;
	size_t n_files; /* written so far */
};

/* {"config": what config.json says} */
static int
make_meta(const struct qz_source *s, struct qz_buf *meta, struct qz_err *e)
{
	const struct qz_source_file *f = qz_source_file(s, "config.json");
	struct qz_json *j = qz_json_parse(f->data, f->n, e);

	if (!j)
		return qz_at(e, "config.json");
	qz_buf_str(meta, "{\"config\":");
	qz_json_put(meta, j, 0);
	qz_buf_chr(meta, '}');
	qz_json_free(j);
	return qz_buf_ok(meta, e);
}

static int
begin(struct sink *sink, const struct qz_tensor *manifest, const struct qz_tensor *in, size_t n,
    struct qz_err *e)
{
	struct shard *k = (struct shard *)sink;
	struct qz_buf meta = { 0 };
	uint64_t nbytes = 0;

	(void)in;
	for (size_t i = 0; i < n; i++)
		nbytes += manifest[i].nbytes;
	if (qz_out_expect(k->o, nbytes, e) < 0)
		return -1;
	if (make_meta(k->source, &meta, e) == 0)
		k->w = qz_shard_writer_new(k->o, "model", meta.data, manifest, n, 0, e);
	qz_buf_free(&meta);
	return k->w ? qz_model_text_put(k->w, k->source, NULL, &k->n_files, e) : -1;
}

static int
first(struct sink *sink, const struct qz_tensor *t, struct qz_err *e)
{
	return qz_shard_tensor_begin(((struct shard *)sink)->w, t, e);
}

static int
put(struct sink *sink, enum qz_section_kind kind, const void *data, size_t n, struct qz_err *e)
{
	(void)kind;
	return qz_shard_tensor_write(((struct shard *)sink)->w, data, n, e);
}

static int
last(struct sink *sink, uint64_t source, struct qz_err *e)
{
	return qz_shard_tensor_end(((struct shard *)sink)->w, source, e);
}

static int
end(struct sink *sink, const char *chain, struct qz_err *e)
{
	struct shard *k = (struct shard *)sink;

	if (qz_model_text_put(k->w, k->source, NULL, &k->n_files, e) < 0 ||
	    qz_shard_provenance_put(k->w, chain, e) < 0 || qz_shard_writer_end(k->w, e) < 0)
		return -1;
	return qz_out_commit(k->o, e);
}

static void
close_shard(struct sink *sink)
{
	struct shard *k = (struct shard *)sink;

	qz_shard_writer_free(k->w);
	qz_out_close(k->o);
	free(k);
}

struct sink *
sink_shard(const char *output, const struct qz_source *s, struct qz_err *e)
{
	struct shard *k = calloc(1, sizeof *k);

	if (!k) {
		qz_nomem(e, sizeof *k);
		return NULL;
	}
	k->sink = (struct sink){ begin, first, put, last, end, close_shard, false };
	k->source = s;
	k->o = qz_out_open(output, false, e);
	if (k->o)
		return &k->sink;
	close_shard(&k->sink);
	return NULL;
}
