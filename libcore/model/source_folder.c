#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcore/base/json.h"
#include "libcore/model/source_impl.h"
#include "libcore/model/templates.h"

enum { INDEX_MAX = 64 << 20, PARTS_MAX = 10000 };
#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"

static int
next(struct qz_source *s, struct qz_tensor *t, struct qz_err *e)
{
	return parts_next(s->impl, t, e);
}

static int
read_data(struct qz_source *s, void *data, size_t n, struct qz_err *e)
{
	return parts_read(s->impl, data, n, e);
}

static int
finish(struct qz_source *s, uint64_t n, struct qz_err *e)
{
	(void)s, (void)n, (void)e;
	return 0;
}

static void
close_folder(struct qz_source *s)
{
	parts_free(s->impl);
}

static const struct source_ops ops = { "folder", next, read_data, finish, NULL, NULL, NULL, NULL,
	close_folder };

/* "folder/name", borrowed until the next call; joined is the caller's. */
static const char *
join(struct qz_buf *joined, const char *folder, const char *name)
{
	size_t n = strlen(folder);

	while (n > 1 && folder[n - 1] == '/')
		n--;
	qz_buf_clear(joined);
	qz_buf_fmt(joined, "%.*s/%s", (int)n, folder, name);
	return joined->failed ? "" : joined->data;
}

/* One of the files beside the weights; a missing one is fine. */
static int
add_file(struct qz_source *s, const char *path, const char *name, struct qz_err *e)
{
	struct qz_buf data = { 0 };
	struct qz_in *in;
	int ret = 0;

	if (access(path, F_OK) < 0)
		return 0;
	in = qz_in_open(path, e);
	if (!in)
		return -1;
	if (!source_file_optional(name) || qz_in_size(in) <= (int64_t)source_file_max(name)) {
		ret = qz_in_all(in, &data, source_file_max(name), e);
		if (ret == 0 && source_add_file(s, name, &data, e) < 0)
			ret = qz_at(e, "%s", path);
	}
	qz_in_close(in);
	qz_buf_free(&data);
	return ret;
}

/* A name within the folder: an index may come from anyone. */
static bool
is_plain_name(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/');
}

static int
add_part(struct qz_source *s, const char *folder, const char *name, struct qz_err *e)
{
	struct qz_buf path = { 0 };
	int ret;

	join(&path, folder, name);
	ret = qz_buf_ok(&path, e);
	if (ret == 0)
		ret = parts_add(s->impl, path.data, path.data, 0, 0, e);
	qz_buf_free(&path);
	return ret;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every file that the map names, once. */
static int
add_mapped(struct qz_source *s, const char *folder, const struct qz_json *map, struct qz_err *e)
{
	size_t n = qz_json_count(map), i = 0, n_parts = 0;
	const char **names = calloc(n + 1, sizeof *names);
	int ret = names ? 0 : qz_nomem(e, n * sizeof *names);

	for (const struct qz_json *m = qz_json_first(map); ret == 0 && m; m = qz_json_next(m)) {
		names[i] = qz_json_string(m, "");
		if (!is_plain_name(names[i++]))
			ret = qz_fail(e, QZ_EDATA,
			    INDEX ": tensor %.200s is mapped to '%.100s', no file's name",
			    qz_json_key(m), names[i - 1]);
	}
	if (ret == 0)
		qsort(names, n, sizeof *names, by_text);
	for (i = 0; ret == 0 && i < n; i++) {
		if (i && !strcmp(names[i - 1], names[i]))
			continue;
		if (++n_parts > PARTS_MAX)
			ret = qz_fail(e, QZ_EDATA, INDEX ": more than %d files", PARTS_MAX);
		else
			ret = add_part(s, folder, names[i], e);
	}
	free(names);
	return ret;
}

static int
add_indexed(struct qz_source *s, const char *folder, const char *path, struct qz_json **index,
    struct qz_err *e)
{
	struct qz_buf text = { 0 };
	const struct qz_json *map;
	int ret = qz_file_read(path, &text, INDEX_MAX, e);

	if (ret == 0 && !(*index = qz_json_parse(text.data, text.n, e)))
		ret = qz_at(e, "%s", path);
	qz_buf_free(&text);
	if (ret < 0)
		return -1;
	map = qz_json_get(*index, "weight_map");
	if (!qz_json_is(map, QZ_JSON_OBJECT) || !qz_json_first(map))
		return qz_fail(e, QZ_EDATA, "%s: has no weight_map", path);
	return add_mapped(s, folder, map, e);
}

/* What the index says is where, is there. */
static int
check_index(
    const struct qz_source *s, const char *folder, const struct qz_json *index, struct qz_err *e)
{
	const struct qz_json *m = qz_json_first(qz_json_get(index, "weight_map"));
	struct qz_buf path = { 0 };
	int ret = 0;

	for (; ret == 0 && m; m = qz_json_next(m)) {
		const char *is = parts_file_of(s->impl, qz_json_key(m));
		const char *should = join(&path, folder, qz_json_string(m, ""));

		if (!is || strcmp(is, should))
			ret = qz_fail(e, QZ_EDATA,
			    "%s: tensor %.200s is not in it, although " INDEX " says so", should,
			    qz_json_key(m));
	}
	qz_buf_free(&path);
	return ret;
}

static int
no_weights(const char *folder, struct qz_err *e)
{
	struct qz_buf path = { 0 };
	bool bin = access(join(&path, folder, "pytorch_model.bin"), F_OK) == 0 ||
		   access(join(&path, folder, "pytorch_model.bin.index.json"), F_OK) == 0;

	qz_buf_free(&path);
	return qz_fail(e, QZ_EDATA, "%s: has neither " SINGLE " nor " INDEX "%s", folder,
	    bin ? " (PyTorch's .bin files are programs, and are not read)" : "");
}

static int
add_weights(struct qz_source *s, const char *folder, struct qz_err *e)
{
	struct qz_buf path = { 0 };
	struct qz_json *index = NULL;
	int ret;

	if (access(join(&path, folder, SINGLE), F_OK) == 0)
		ret = add_part(s, folder, SINGLE, e);
	else if (access(join(&path, folder, INDEX), F_OK) == 0)
		ret = add_indexed(s, folder, path.data, &index, e);
	else
		ret = no_weights(folder, e);
	if (ret == 0)
		ret = parts_finish(s->impl, s, e);
	if (ret == 0 && index)
		ret = check_index(s, folder, index, e);
	qz_json_free(index);
	qz_buf_free(&path);
	return ret;
}

static int
add_templates(struct qz_source *s, const char *folder, struct qz_err *e)
{
	struct qz_buf joined = { 0 };
	char **names;
	size_t n;
	int ret = qz_template_files(folder, &names, &n, e);

	for (size_t i = 0; i < n; i++) {
		if (ret == 0)
			ret = add_file(s, join(&joined, folder, names[i]), names[i], e);
		free(names[i]);
	}
	free(names);
	qz_buf_free(&joined);
	return ret;
}

int
source_open_folder(struct qz_source *s, const char *path, struct qz_err *e)
{
	struct qz_buf joined = { 0 };
	const char *name;
	int ret = 0;

	s->ops = &ops;
	s->impl = parts_new(e);
	if (!s->impl)
		return -1;
	for (size_t i = 0; ret == 0 && (name = source_file_name(i)); i++)
		ret = add_file(s, join(&joined, path, name), name, e);
	if (ret == 0)
		ret = add_templates(s, path, e);
	if (ret == 0 && !s->has_config)
		ret = qz_fail(e, QZ_EDATA, "%s: has no config.json%s", path,
		    access(join(&joined, path, "adapter_config.json"), F_OK) == 0
			? ": it holds an adapter, not a model"
			: "");
	qz_buf_free(&joined);
	return ret < 0 ? -1 : add_weights(s, path, e);
}
