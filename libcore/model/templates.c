#include "libcore/model/templates.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"

static const char prefix[] = QZ_TEMPLATES_FOLDER "/", ending[] = ".jinja";

/* A file's name that is more than the ending, and no hidden one. */
static bool
is_jinja(const char *name)
{
	size_t n = strlen(name);

	return *name != '.' && n >= sizeof ending &&
	       !strcmp(name + n - (sizeof ending - 1), ending) && !strchr(name, '/');
}

const char *
qz_template_file(const char *path, size_t *n)
{
	const char *name;

	if (strncmp(path, prefix, sizeof prefix - 1))
		return NULL;
	name = path + sizeof prefix - 1;
	if (!is_jinja(name))
		return NULL;
	*n = strlen(name) - (sizeof ending - 1);
	return name;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
add_name(char ***names, size_t *n, const char *file, struct qz_err *e)
{
	char **more = realloc(*names, (*n + 1) * sizeof *more);

	if (!more)
		return qz_nomem(e, *n * sizeof *more);
	*names = more;
	if (asprintf(&more[*n], "%s%s", prefix, file) < 0)
		return qz_nomem(e, strlen(file));
	++*n;
	return 0;
}

static void
forget(char **names, size_t n)
{
	while (n--)
		free(names[n]);
	free(names);
}

int
qz_template_files(const char *folder, char ***names, size_t *n, struct qz_err *e)
{
	struct qz_buf path = { 0 };
	struct dirent *file;
	DIR *d = NULL;
	int ret;

	*names = NULL;
	*n = 0;
	qz_buf_fmt(&path, "%s/%s", folder, QZ_TEMPLATES_FOLDER);
	ret = qz_buf_ok(&path, e);
	if (ret == 0 && !(d = opendir(path.data)) && errno != ENOENT && errno != ENOTDIR)
		ret = qz_fail_errno(e, "%s: cannot look into it", path.data);
	while (ret == 0 && d && (file = readdir(d))) {
		if (!is_jinja(file->d_name))
			continue;
		ret = *n < QZ_TEMPLATES_MAX ? add_name(names, n, file->d_name, e)
					    : qz_fail(e, QZ_EDATA, "%s: more than %d templates",
						  path.data, QZ_TEMPLATES_MAX);
	}
	if (d)
		closedir(d);
	qz_buf_free(&path);
	if (*n)
		qsort(*names, *n, sizeof **names, by_text);
	if (ret == 0)
		return 0;
	forget(*names, *n);
	*names = NULL;
	*n = 0;
	return -1;
}

/* A later one of the same name takes its place. */
static int
add(struct qz_templates *t, const char *name, size_t name_n, const char *text, size_t n,
    struct qz_err *e)
{
	struct qz_named_template *x = t->t;

	while (x < t->t + t->n && (strlen(x->name) != name_n || memcmp(x->name, name, name_n)))
		x++;
	if (x == t->t + QZ_TEMPLATES_MAX)
		return qz_fail(e, QZ_EDATA, "more than %d chat templates", QZ_TEMPLATES_MAX);
	if (x == t->t + t->n) {
		x->name = qz_arena_strndup(&t->arena, name, name_n);
		t->n++;
	}
	x->text = qz_arena_strndup(&t->arena, text, n);
	return x->name && x->text ? 0 : qz_nomem(e, n);
}

/* A string, or a list of {name, template}; what is neither says nothing. */
static int
add_json(struct qz_templates *t, const struct qz_json *j, struct qz_err *e)
{
	const char *text = qz_json_string(j, NULL);

	if (text)
		return add(t, "default", 7, text, strlen(text), e);
	if (!qz_json_is(j, QZ_JSON_ARRAY))
		return 0;
	for (j = qz_json_first(j); j; j = qz_json_next(j)) {
		const char *name = qz_json_string(qz_json_get(j, "name"), "");

		text = qz_json_string(qz_json_get(j, "template"), NULL);
		if (*name && text && add(t, name, strlen(name), text, strlen(text), e) < 0)
			return -1;
	}
	return 0;
}

static const struct qz_source_file *
find(const struct qz_source_file *files, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(files[i].name, name))
			return &files[i];
	return NULL;
}

/* 1: it has a chat_template. */
static int
add_member(struct qz_templates *t, const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *member = qz_json_get(j, "chat_template");

	return member && add_json(t, member, e) < 0 ? -1 : member != NULL;
}

static int
add_file(struct qz_templates *t, const struct qz_source_file *f, struct qz_err *e)
{
	struct qz_json *j = f ? qz_json_parse(f->data, f->n, e) : NULL;
	int ret = f && !j ? -1 : add_member(t, j, e);

	qz_json_free(j);
	return ret < 0 && f ? qz_at(e, "%s", f->name) : ret;
}

static int
load(struct qz_templates *t, const struct qz_source_file *files, size_t n,
    const struct qz_json *options, struct qz_err *e)
{
	const struct qz_source_file *jinja = find(files, n, "chat_template.jinja");
	int got = 1;

	if (jinja && add(t, "default", 7, jinja->data, jinja->n, e) < 0)
		return -1;
	if (!jinja && !options)
		got = add_file(t, find(files, n, "tokenizer_config.json"), e);
	else if (!jinja && (got = add_member(t, options, e)) < 0)
		qz_at(e, "tokenizer_config.json");
	if (got == 0)
		got = add_file(t, find(files, n, "chat_template.json"), e);
	for (size_t i = 0; got >= 0 && i < n; i++) {
		size_t name_n;
		const char *name = qz_template_file(files[i].name, &name_n);

		if (name)
			got = add(t, name, name_n, files[i].data, files[i].n, e);
	}
	return got < 0 ? -1 : 0;
}

int
qz_templates_load(struct qz_templates *t, const struct qz_source_file *files, size_t n,
    const struct qz_json *options, struct qz_err *e)
{
	*t = (struct qz_templates){ 0 };
	if (load(t, files, n, options, e) == 0)
		return 0;
	qz_templates_free(t);
	return -1;
}

void
qz_templates_free(struct qz_templates *t)
{
	qz_arena_free(&t->arena);
	*t = (struct qz_templates){ 0 };
}

const char *
qz_templates_find(const struct qz_templates *t, const char *name)
{
	for (int i = 0; i < t->n; i++)
		if (!strcmp(t->t[i].name, name))
			return t->t[i].text;
	return NULL;
}
