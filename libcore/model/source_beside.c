#include "libcore/model/source_beside.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/model/templates.h"

struct beside_file {
	char *folder, *name;
	struct qz_buf data;
};

enum { FOLDER_N = sizeof QZ_TEMPLATES_FOLDER }; /* with the slash */

const char *
path_name(const char *path)
{
	const char *name = strrchr(path, '/'), *at;
	size_t n;

	name = name ? name + 1 : path;
	at = name - path >= FOLDER_N ? name - FOLDER_N : path;
	return qz_template_file(at, &n) && (at == path || at[-1] == '/') ? at : name;
}

bool
path_in_folder(const char *path, const char *folder)
{
	size_t n = (size_t)(path_name(path) - path);

	return strlen(folder) == n && !memcmp(path, folder, n);
}

static struct beside_file *
new_file(struct beside *b, const char *path, struct qz_err *e)
{
	const char *name = path_name(path);
	struct beside_file *f = realloc(b->files, (b->n + 1) * sizeof *f);

	if (!f) {
		qz_nomem(e, sizeof *f);
		return NULL;
	}
	b->files = f;
	f += b->n++;
	*f = (struct beside_file){ .folder = strndup(path, (size_t)(name - path)),
		.name = strdup(name) };
	if (!f->folder || !f->name)
		qz_nomem(e, 1);
	return f->folder && f->name ? f : NULL;
}

int
beside_keep(struct beside *b, const struct qz_source *s, struct qz_arc *arc,
    const struct qz_arc_member *m, struct qz_err *e)
{
	const char *name = path_name(m->name);
	size_t most = source_file_max(name);
	struct beside_file *f;

	if (!most || (source_file_optional(name) && (m->size < 0 || (uint64_t)m->size > most)))
		return 0;
	if (b->n == BESIDE_MAX)
		return qz_fail(e, QZ_EDATA, "%s: archive: more than %d files beside the weights",
		    s->name, BESIDE_MAX);
	f = new_file(b, m->name, e);
	if (!f || qz_arc_all(arc, &f->data, most, e) < 0)
		return -1;
	b->nbytes += f->data.n;
	if (b->nbytes > SOURCE_FILES_MAX)
		return qz_fail(e, QZ_EDATA,
		    "%s: archive: the files beside the weights have more than %d bytes", s->name,
		    SOURCE_FILES_MAX);
	return 0;
}

static int
depth(const char *folder)
{
	int n = 0;

	for (; *folder; folder++)
		n += *folder == '/';
	return n;
}

char *
beside_folder(const struct beside *b, const struct qz_source *s, struct qz_err *e)
{
	const struct beside_file *best = NULL;
	char *folder;

	for (size_t i = 0; i < b->n; i++) {
		const struct beside_file *f = &b->files[i];

		if (strcmp(f->name, BESIDE_CONFIG))
			continue;
		if (best && depth(best->folder) == depth(f->folder)) {
			qz_fail(e, QZ_EDATA,
			    "%s: archive: holds two models, %s" BESIDE_CONFIG
			    " and %s" BESIDE_CONFIG,
			    s->name, best->folder, f->folder);
			return NULL;
		}
		if (!best || depth(f->folder) < depth(best->folder))
			best = f;
	}
	if (!best) {
		qz_fail(e, QZ_EDATA, "%s: archive: has no " BESIDE_CONFIG, s->name);
		return NULL;
	}
	folder = strdup(best->folder);
	if (!folder)
		qz_nomem(e, 1);
	return folder;
}

bool
beside_has_config(const struct beside *b, const char *path)
{
	for (size_t i = 0; i < b->n; i++)
		if (!strcmp(b->files[i].name, BESIDE_CONFIG) &&
		    path_in_folder(path, b->files[i].folder))
			return true;
	return false;
}

static void
forget(struct beside *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free(b->files[i].folder);
		free(b->files[i].name);
		qz_buf_free(&b->files[i].data);
	}
	b->n = 0;
	b->nbytes = 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct beside_file *)a)->name, ((const struct beside_file *)b)->name);
}

static int
give(struct qz_source *s, struct beside_file *f, const char *folder, struct qz_err *e)
{
	if (strcmp(f->folder, folder))
		return 0;
	if (source_add_file(s, f->name, &f->data, e) < 0)
		return qz_at(e, "%s: archive: %s%s", s->name, f->folder, f->name);
	return 0;
}

int
beside_give(struct beside *b, struct qz_source *s, const char *folder, struct qz_err *e)
{
	const char *name;
	size_t n;

	if (b->n)
		qsort(b->files, b->n, sizeof *b->files, by_name);

	for (size_t k = 0; (name = source_file_name(k)); k++) {
		for (size_t i = 0; i < b->n; i++)
			if (!strcmp(b->files[i].name, name) && give(s, &b->files[i], folder, e) < 0)
				return -1;
	}
	for (size_t i = 0; i < b->n; i++)
		if (qz_template_file(b->files[i].name, &n) && give(s, &b->files[i], folder, e) < 0)
			return -1;
	forget(b);
	return 0;
}

void
beside_free(struct beside *b)
{
	forget(b);
	free(b->files);
}
