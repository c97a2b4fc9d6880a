#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"
#include "libcore/model/modeltext.h"
#include "libcore/shard/writer.h"
#include "tools/merge/sink.h"

struct shard {
	struct sink sink;
	struct qz_out *o;
	const struct qz_source *source;
	const struct qz_buf *config;
	struct qz_shard_writer *w;
	struct qz_hash *hash; /* of a tensor's data */
	size_t n_files;       /* written so far */
};

static int
begin(struct sink *sink, const struct qz_tensor *manifest, size_t n, struct qz_err *e)
{
	struct shard *k = (struct shard *)sink;
	struct qz_buf meta = { 0 };
	uint64_t nbytes = 0;

	for (size_t i = 0; i < n; i++)
		nbytes += manifest[i].nbytes;
	if (qz_out_expect(k->o, nbytes, e) < 0)
		return -1;
	qz_buf_str(&meta, "{\"config\":");
	qz_buf_add(&meta, k->config->data, k->config->n);
	qz_buf_chr(&meta, '}');
	if (qz_buf_ok(&meta, e) == 0)
		k->w = qz_shard_writer_new(k->o, "model", meta.data, manifest, n, 0, e);
	qz_buf_free(&meta);
	return k->w ? qz_model_text_put(k->w, k->source, k->config, &k->n_files, e) : -1;
}

static int
first(struct sink *sink, const struct qz_tensor *t, struct qz_err *e)
{
	struct shard *k = (struct shard *)sink;

	qz_hash_reset(k->hash);
	return qz_shard_tensor_begin(k->w, t, e);
}

static int
rows(struct sink *sink, const void *data, size_t n, struct qz_err *e)
{
	struct shard *k = (struct shard *)sink;

	qz_hash_add(k->hash, data, n);
	return qz_shard_tensor_write(k->w, data, n, e);
}

static int
last(struct sink *sink, struct qz_err *e)
{
	struct shard *k = (struct shard *)sink;

	return qz_shard_tensor_end(k->w, qz_hash_get64(k->hash), e);
}

static int
end(struct sink *sink, const char *chain, struct qz_err *e)
{
	struct shard *k = (struct shard *)sink;

	if (qz_model_text_put(k->w, k->source, k->config, &k->n_files, e) < 0 ||
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
	qz_hash_free(k->hash);
	free(k);
}

struct sink *
sink_shard(
    const char *output, const struct qz_source *s, const struct qz_buf *config, struct qz_err *e)
{
	struct shard *k = calloc(1, sizeof *k);

	if (!k || !(k->hash = qz_hash_new())) {
		free(k);
		qz_nomem(e, sizeof *k);
		return NULL;
	}
	k->sink = (struct sink){ begin, first, rows, last, end, close_shard };
	k->source = s;
	k->config = config;
	k->o = qz_out_open(output, false, e);
	if (k->o)
		return &k->sink;
	close_shard(&k->sink);
	return NULL;
}
