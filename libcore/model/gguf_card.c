#include "libcore/model/gguf_card.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "libcore/base/yaml.h"
#include "libcore/model/gguf_name.h"

/* Between a first line of "---" and the next one: where, or NULL. */
static const char *
front_matter(const char *s, size_t n, size_t *len)
{
	const char *end = s + n, *from = NULL;

	for (const char *line = s, *eol; line < end; line = eol + (eol < end)) {
		size_t size;

		eol = memchr(line, '\n', (size_t)(end - line));
		eol = eol ? eol : end;
		size = (size_t)(eol - line);
		size -= size && line[size - 1] == '\r';
		if (size == 3 && !memcmp(line, "---", 3)) {
			if (from) {
				*len = (size_t)(line - from);
				return from;
			}
			from = eol + (eol < end);
		} else if (!from) {
			return NULL;
		}
	}
	*len = from ? (size_t)(end - from) : 0;
	return from;
}

int
qz_gguf_card_read(const struct qz_source_file *readme, struct qz_json **card, struct qz_err *e)
{
	struct qz_buf text = { 0 };
	const char *from;
	size_t n;
	int ret;

	*card = NULL;
	from = readme ? front_matter(readme->data, readme->n, &n) : NULL;
	if (!from)
		return 0;
	ret = qz_yaml_json(from, n, &text, e);
	if (ret == 0)
		*card = qz_json_parse(text.data, text.n, e);
	if (ret == 0 && !*card)
		ret = -1;
	qz_buf_free(&text);
	return ret < 0 ? qz_at(e, "its front matter, after ---") : 0;
}

static void
put_text(struct qz_ggufw *g, const char *key, const char *value)
{
	if (value && *value)
		qz_ggufw_str(g, key, value);
}

/* ---- names ---- */

enum { SOURCES = 3 }; /* of a part: two ids, and the number of parameters for the size */

/* A key, the card's fields for it (the first that is there), and the part of an id that stands in. */
static const struct field {
	const char *key, *names[3];
	size_t part; /* of struct qz_gguf_name, 0: none does */
} fields[] = {
#define PART(x) offsetof(struct qz_gguf_name, x)
	{ "general.author", { "author", "model_author", "model_creator" }, 0 },
	{ "general.version", { "version", "model_version", NULL }, PART(version) },
	{ "general.organization", { "organization", "model_organization", NULL },
	    PART(organization) },
	{ "general.finetune", { "finetune", "model_finetune", NULL }, PART(finetune) },
	{ "general.basename", { "basename", "model_basename", "model_type" }, PART(basename) },
	{ "general.description", { "description", "model_description", NULL }, 0 },
	{ "general.size_label", { "size_label", "model_size_label", NULL }, PART(size) },
	{ "general.license", { "license", NULL, NULL }, 0 },
	{ "general.license.name", { "license_name", NULL, NULL }, 0 },
	{ "general.license.link", { "license_link", NULL, NULL }, 0 },
	{ "general.source.url", { "url", "model_url", NULL }, 0 },
	{ "general.source.doi", { "doi", "model_doi", NULL }, 0 },
	{ "general.source.uuid", { "uuid", "model_uuid", NULL }, 0 },
	{ "general.source.repo_url", { "repo_url", "model_repo_url", NULL }, 0 },
#undef PART
};

static const struct qz_json *
field_of(const struct qz_json *card, const char *const names[3])
{
	for (int i = 0; i < 3 && names[i]; i++) {
		const struct qz_json *j = qz_json_get(card, names[i]);

		if (j && !qz_json_is(j, QZ_JSON_NULL))
			return j;
	}
	return NULL;
}

static const char *
text_of(const struct qz_json *card, const char *const names[3])
{
	return qz_json_string(field_of(card, names), NULL);
}

/* Several licences are one text. */
static void
put_list(struct qz_ggufw *g, const char *key, const struct qz_json *list)
{
	struct qz_buf all = { 0 };

	for (const struct qz_json *j = qz_json_first(list); j; j = qz_json_next(j)) {
		if (all.n)
			qz_buf_chr(&all, ',');
		qz_buf_str(&all, qz_json_string(j, ""));
	}
	put_text(g, key, all.data);
	qz_buf_free(&all);
}

static void
put_field(struct qz_ggufw *g, const struct qz_json *card, const struct field *f,
    const struct qz_gguf_name parts[SOURCES])
{
	const struct qz_json *j = field_of(card, f->names);
	const char *text = qz_json_string(j, "");

	if (qz_json_is(j, QZ_JSON_ARRAY))
		put_list(g, f->key, j);
	for (int i = 0; i < SOURCES && !j && f->part && !*text; i++)
		text = (const char *)&parts[i] + f->part;
	put_text(g, f->key, text);
}

/* ---- base_model and datasets ---- */

/* https://huggingface.co/ORGANIZATION/NAME names it there; else NULL. */
static const char *
id_in(const char *url)
{
	const char *id = strstr(url, "://huggingface.co/"), *slash;

	if (!id || (id != url + 4 && id != url + 5) || strncmp(url, "http", 4))
		return NULL;
	id += strlen("://huggingface.co/");
	slash = strchr(id, '/');
	return slash && slash != id && slash[1] && !strchr(slash + 1, '/') ? id : NULL;
}

static bool
is_url(const char *s)
{
	return !strncmp(s, "http://", 7) || !strncmp(s, "https://", 8) || !strncmp(s, "ssh://", 6);
}

static void
put_part(struct qz_ggufw *g, const char *kind, size_t i, const char *part, const char *value)
{
	char key[96];

	snprintf(key, sizeof key, "general.%s.%zu.%s", kind, i, part);
	put_text(g, key, value);
}

static void
put_id(struct qz_ggufw *g, const char *kind, size_t i, const char *text, int64_t n_params)
{
	const char *id = is_url(text) ? id_in(text) : text;
	struct qz_gguf_name name = { 0 };
	char url[512] = "";

	if (id)
		qz_gguf_name(&name, id, n_params);
	put_part(g, kind, i, "name", name.title);
	put_part(g, kind, i, "version", name.version);
	put_part(g, kind, i, "organization", name.organization);
	if (is_url(text))
		snprintf(url, sizeof url, "%s", text);
	else if (*name.organization)
		snprintf(url, sizeof url, "https://huggingface.co/%s", text);
	put_part(g, kind, i, "repo_url", url);
}

static void
put_origin(
    struct qz_ggufw *g, const char *kind, size_t i, const struct qz_json *j, int64_t n_params)
{
	static const char *const parts[] = { "name", "author", "version", "organization",
		"description", "url", "doi", "uuid", "repo_url" };

	if (qz_json_is(j, QZ_JSON_STRING))
		put_id(g, kind, i, qz_json_string(j, ""), n_params);
	for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
		put_part(g, kind, i, parts[k], qz_json_string(qz_json_get(j, parts[k]), NULL));
}

static void
put_origins(struct qz_ggufw *g, const char *kind, const struct qz_json *card,
    const char *const names[3], int64_t n_params)
{
	const struct qz_json *j = NULL;
	char key[64];
	size_t i = 0, n;

	for (int k = 0; k < 3 && !j; k++)
		j = qz_json_get(card, names[k]);
	if (!j)
		return;
	snprintf(key, sizeof key, "general.%s.count", kind);
	n = qz_json_is(j, QZ_JSON_STRING) ? 1 : qz_json_is(j, QZ_JSON_ARRAY) ? qz_json_count(j) : 0;
	qz_ggufw_u32(g, key, (uint32_t)n);
	if (qz_json_is(j, QZ_JSON_STRING))
		put_origin(g, kind, 0, j, n_params);
	else if (qz_json_is(j, QZ_JSON_ARRAY))
		for (j = qz_json_first(j); j; j = qz_json_next(j))
			put_origin(g, kind, i++, j, n_params);
}

/* ---- lists ---- */

enum { TEXTS_MAX = 1024 };

static size_t
add_texts(const struct qz_json *j, struct qz_gguf_text *texts, size_t n)
{
	if (qz_json_is(j, QZ_JSON_ARRAY)) {
		for (j = qz_json_first(j); j; j = qz_json_next(j))
			if (qz_json_is(j, QZ_JSON_STRING))
				n = add_texts(j, texts, n);
		return n;
	}
	if (qz_json_is(j, QZ_JSON_STRING) && n < TEXTS_MAX)
		texts[n++] = (struct qz_gguf_text){ qz_json_string(j, ""),
			strlen(qz_json_string(j, "")) };
	return n;
}

static void
put_texts(struct qz_ggufw *g, const char *key, const struct qz_json *card, const char *first,
    const char *second)
{
	struct qz_gguf_text texts[TEXTS_MAX];
	size_t n = add_texts(qz_json_get(card, first), texts, 0);

	qz_ggufw_texts(g, key, texts, add_texts(qz_json_get(card, second), texts, n));
}

void
qz_gguf_card_put(struct qz_ggufw *g, const struct qz_json *card, const char *const ids[2],
    const char *title, int64_t n_params)
{
	static const char *const name[3] = { "name", "model_name", NULL };
	static const char *const bases[3] = { "base_model", "base_models", "base_model_sources" };
	static const char *const datasets[3] = { "datasets", "dataset", "dataset_sources" };
	struct qz_gguf_name parts[SOURCES] = { 0 };

	for (int i = 0; i < 2; i++)
		qz_gguf_name(&parts[i], ids[i] ? ids[i] : "", n_params);
	if (n_params > 0)
		qz_gguf_size_label((uint64_t)n_params, parts[2].size);
	title = title ? title : text_of(card, name);
	for (int i = 0; i < 2 && !(title && *title); i++)
		title = parts[i].title;
	put_text(g, "general.name", title);
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		put_field(g, card, &fields[i], parts);
	put_origins(g, "base_model", card, bases, n_params);
	put_origins(g, "dataset", card, datasets, n_params);
	put_texts(g, "general.tags", card, "tags", "pipeline_tag");
	put_texts(g, "general.languages", card, "languages", "language");
}
