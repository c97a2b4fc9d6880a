#include <stdlib.h>
#include <string.h>

#include "libcore/model/source_impl.h"
#include "libcore/model/templates.h"

enum { TEMPLATE_MAX = 1 << 20 };

/* In this order they come out of a folder. */
static const struct {
	const char *name;
	size_t most;
	bool optional; /* left out when it is larger */
} table[] = {
	{ "config.json", 1 << 20, false },
	{ "generation_config.json", 1 << 20, false },
	{ "tokenizer.json", 128 << 20, false },
	{ "tokenizer_config.json", 16 << 20, false },
	{ "special_tokens_map.json", 16 << 20, false },
	{ "added_tokens.json", 16 << 20, false },
	{ "tokenizer.model", 32 << 20, false },
	{ "tekken.json", 128 << 20, false },
	{ "vocab.json", 32 << 20, false },
	{ "merges.txt", 32 << 20, false },
	{ "chat_template.jinja", TEMPLATE_MAX, false },
	{ "chat_template.json", TEMPLATE_MAX, false },
	{ "LICENSE", 1 << 20, true },
	{ "LICENSE.txt", 1 << 20, true },
	{ "LICENSE.md", 1 << 20, true },
	{ "NOTICE", 1 << 20, true },
	{ "README.md", 1 << 20, true },
};

enum { FILES_MAX = sizeof table / sizeof *table + QZ_TEMPLATES_MAX };

static int
find(const char *name)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (!strcmp(table[i].name, name))
			return (int)i;
	return -1;
}

size_t
source_file_max(const char *name)
{
	int i = find(name);
	size_t n;

	if (qz_template_file(name, &n))
		return TEMPLATE_MAX;
	return i < 0 ? 0 : table[i].most;
}

bool
source_file_optional(const char *name)
{
	int i = find(name);

	return i >= 0 && table[i].optional;
}

const char *
source_file_name(size_t i)
{
	return i < sizeof table / sizeof *table ? table[i].name : NULL;
}

/* The object without one member, members a line each. */
static void
put_without(struct qz_buf *b, const struct qz_json *object, const char *key)
{
	bool first = true;

	qz_buf_chr(b, '{');
	for (const struct qz_json *m = qz_json_first(object); m; m = qz_json_next(m)) {
		if (!strcmp(qz_json_key(m), key))
			continue;
		qz_buf_str(b, first ? "\n  " : ",\n  ");
		qz_json_put_string(b, qz_json_key(m), strlen(qz_json_key(m)));
		qz_buf_str(b, ": ");
		qz_json_put(b, m, 0);
		first = false;
	}
	qz_buf_str(b, "\n}\n");
}

static int
add_config(struct qz_source *s, const char *data, size_t n, struct qz_buf *b, struct qz_err *e)
{
	struct qz_json *j;

	if (qz_config_parse(&s->config, data, n, e) < 0)
		return -1;
	s->has_config = true;
	j = qz_json_parse(data, n, e);
	if (!j)
		return -1;
	if (qz_json_get(j, "quantization_config"))
		put_without(b, j, "quantization_config");
	else
		qz_buf_add(b, data, n);
	qz_json_free(j);
	return qz_buf_ok(b, e);
}

/* Room for one file more. */
static int
grow(struct qz_source *s, struct qz_err *e)
{
	size_t n = s->n_files + 1;
	struct qz_source_file *f = realloc(s->files, n * sizeof *f);
	struct qz_buf *data;

	if (!f)
		return qz_nomem(e, n * sizeof *f);
	s->files = f;
	data = realloc(s->files_data, n * sizeof *data);
	if (!data)
		return qz_nomem(e, n * sizeof *data);
	s->files_data = data;
	return 0;
}

int
source_add_file(struct qz_source *s, const char *name, struct qz_buf *data, struct qz_err *e)
{
	struct qz_buf config = { 0 };
	const char *own;

	if (qz_source_file(s, name))
		return qz_fail(e, QZ_EDATA, "the file is there twice");
	if (s->n_files == FILES_MAX)
		return qz_fail(e, QZ_EDATA, "more than %d files beside the weights", FILES_MAX);
	if (!strcmp(name, "config.json")) {
		if (add_config(s, data->data, data->n, &config, e) < 0) {
			qz_buf_free(&config);
			return -1;
		}
		qz_buf_free(data);
		*data = config;
	}
	qz_buf_room(data, 0); /* an empty file has no memory yet */
	own = qz_arena_strdup(&s->arena, name);
	if (qz_buf_ok(data, e) < 0 || grow(s, e) < 0)
		return -1;
	if (!own)
		return qz_nomem(e, strlen(name));
	s->files_nbytes += data->n;
	s->files[s->n_files] = (struct qz_source_file){ own, data->data, data->n };
	s->files_data[s->n_files++] = *data;
	*data = (struct qz_buf){ 0 };
	if (s->files_nbytes > SOURCE_FILES_MAX)
		return qz_fail(e, QZ_EDATA, "the files beside the weights have more than %d bytes",
		    SOURCE_FILES_MAX);
	return 0;
}
