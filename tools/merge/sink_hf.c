#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/format/safetensors.h"
#include "tools/merge/sink.h"

struct hf {
	struct sink sink;
	struct qz_outdir *dir;
	const struct qz_source *source;
	const struct qz_buf *config;
	uint64_t file_max;
	const struct qz_tensor *manifest;
	size_t n;
	size_t n_parts, part; /* files; the next to be opened */
	size_t tensor, end;   /* the current tensor; the first that is not in the current file */
	struct qz_out *o;
};

static uint64_t
size_of(const struct qz_tensor *t)
{
	return t->sections[0].nbytes;
}

/* The first tensor after those that fit into one file with `from`. */
static size_t
file_end(const struct hf *k, size_t from)
{
	uint64_t total = 0;
	size_t i = from;

	while (i < k->n && (i == from || total + size_of(&k->manifest[i]) <= k->file_max))
		total += size_of(&k->manifest[i++]);
	return i;
}

static void
part_name(const struct hf *k, size_t part, char out[64])
{
	if (k->n_parts <= 1)
		snprintf(out, 64, "model.safetensors");
	else
		snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", part + 1, k->n_parts);
}

/* model.safetensors.index.json: which file has which tensor. */
static int
put_index(struct hf *k, struct qz_err *e)
{
	struct qz_buf b = { 0 };
	uint64_t total = 0;
	char file[64];
	int ret;

	for (size_t i = 0; i < k->n; i++)
		total += size_of(&k->manifest[i]);
	qz_buf_fmt(&b,
	    "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {",
	    total);
	for (size_t i = 0, stop = 0, part = 0; i < k->n; i++) {
		if (i == stop) {
			part_name(k, part++, file);
			stop = file_end(k, i);
		}
		qz_buf_str(&b, i ? ",\n    " : "\n    ");
		qz_json_put_string(&b, k->manifest[i].name, strlen(k->manifest[i].name));
		qz_buf_fmt(&b, ": \"%s\"", file);
	}
	qz_buf_str(&b, "\n  }\n}\n");
	ret = qz_buf_ok(&b, e);
	if (ret == 0)
		ret = qz_outdir_write(k->dir, "model.safetensors.index.json", b.data, b.n, e);
	qz_buf_free(&b);
	return ret;
}

/* The header of the file that begins with the current tensor. */
static int
open_part(struct hf *k, struct qz_err *e)
{
	size_t n = (k->end = file_end(k, k->tensor)) - k->tensor;
	struct qz_st_tensor *st = calloc(n + 1, sizeof *st);
	struct qz_buf head = { 0 };
	char name[64];
	uint64_t data = 0;
	int ret = st ? 0 : qz_nomem(e, n * sizeof *st);

	for (size_t i = 0; i < n && st; i++) {
		const struct qz_tensor *t = &k->manifest[k->tensor + i];

		st[i] = (struct qz_st_tensor){ .name = t->name,
			.type = qz_dtype((unsigned)t->dtype)->st,
			.dtype = t->dtype,
			.n_dims = t->n_dims };
		memcpy(st[i].dims, t->dims, sizeof st[i].dims);
		data += size_of(t);
	}
	part_name(k, k->part++, name);
	if (ret == 0)
		ret = qz_st_put(&head, st, n, e);
	if (ret == 0) {
		k->o = qz_outdir_file(k->dir, name, e);
		ret = k->o ? qz_out_expect(k->o, head.n + data, e) : -1;
	}
	if (ret == 0)
		ret = qz_out_write(k->o, head.data, head.n, e);
	qz_buf_free(&head);
	free(st);
	return ret;
}

static int
close_part(struct hf *k, struct qz_err *e)
{
	int ret = k->o ? qz_out_commit(k->o, e) : 0;

	qz_out_close(k->o);
	k->o = NULL;
	return ret;
}

static int
begin(struct sink *sink, const struct qz_tensor *manifest, size_t n, struct qz_err *e)
{
	struct hf *k = (struct hf *)sink;

	k->manifest = manifest;
	k->n = n;
	for (size_t i = 0; i < n; i = file_end(k, i))
		k->n_parts++;
	return k->n_parts > 1 ? put_index(k, e) : 0;
}

static int
first(struct sink *sink, const struct qz_tensor *t, struct qz_err *e)
{
	struct hf *k = (struct hf *)sink;

	(void)t;
	if (k->tensor < k->end)
		return 0;
	return close_part(k, e) < 0 ? -1 : open_part(k, e);
}

static int
rows(struct sink *sink, const void *data, size_t n, struct qz_err *e)
{
	return qz_out_write(((struct hf *)sink)->o, data, n, e);
}

static int
last(struct sink *sink, struct qz_err *e)
{
	(void)e;
	((struct hf *)sink)->tensor++;
	return 0;
}

/* The model's other files.  What describes the source's weight files does not describe these. */
static int
put_files(struct hf *k, struct qz_err *e)
{
	const struct qz_source_file *files;
	size_t n = qz_source_files(k->source, &files);

	for (size_t i = 0; i < n; i++) {
		bool config = !strcmp(files[i].name, "config.json");

		if (strstr(files[i].name, ".safetensors"))
			continue;
		if (qz_outdir_write(k->dir, files[i].name, config ? k->config->data : files[i].data,
			config ? k->config->n : files[i].n, e) < 0)
			return -1;
	}
	return 0;
}

static int
end(struct sink *sink, const char *chain, struct qz_err *e)
{
	struct hf *k = (struct hf *)sink;

	if (close_part(k, e) < 0 || put_files(k, e) < 0 ||
	    qz_outdir_write(k->dir, "qz_provenance.json", chain, strlen(chain), e) < 0)
		return -1;
	return qz_outdir_commit(k->dir, e);
}

static void
close_hf(struct sink *sink)
{
	struct hf *k = (struct hf *)sink;

	qz_out_close(k->o);
	qz_outdir_close(k->dir);
	free(k);
}

struct sink *
sink_hf(const char *output, const struct qz_source *s, const struct qz_buf *config,
    uint64_t file_max, struct qz_err *e)
{
	struct hf *k = calloc(1, sizeof *k);

	if (!k) {
		qz_nomem(e, sizeof *k);
		return NULL;
	}
	k->sink = (struct sink){ begin, first, rows, last, end, close_hf };
	k->source = s;
	k->config = config;
	k->file_max = file_max;
	k->dir = qz_outdir_open(output, e);
	if (k->dir)
		return &k->sink;
	close_hf(&k->sink);
	return NULL;
}
