#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/format/safetensors.h"
#include "libcore/io/arc.h"
#include "libcore/model/source_beside.h"
#include "libcore/model/source_impl.h"

/* An archive is read in one of two ways.
 *
 * Streaming: config.json is known and the weights are plain tensors, so they are given as they come.
 * A file is read once to find config and tensors, then again from its start; standard input, be it a pipe or
 * not, streams when config.json stands before the weights.
 * Spooled: otherwise the files of weights are first put into a temporary file, and taken from there.
 *
 * The model's folder in the archive is the one of config.json nearest to the top. */

enum { WEIGHTS_MAX = 1000, WINDOW = 1 << 20 };

/* A file of weights: its header, or where it lies in the spool. */
struct weights {
	char *path;
	struct qz_st st;
	uint64_t base, size;
};

struct archive_source {
	struct qz_in *in;
	struct qz_arc *arc;
	struct beside beside;
	struct weights *weights;
	size_t n_weights;
	char *folder; /* the model's, "" or "a/b/"; NULL: not known yet */
	bool single;  /* it has a model.safetensors: files of several are left alone */

	struct qz_st st;     /* of the file that streams */
	bool streaming;      /* there is one */
	size_t next;         /* its tensor to come */
	struct parts *parts; /* of the spool, or NULL */
};

/* "model.safetensors", or "model-00001-of-00003.safetensors". */
static bool
is_weights(const char *path)
{
	static const char end[] = ".safetensors";
	const char *name = path_name(path);
	size_t n = strlen(name);

	return n > strlen(end) && !strcmp(name + n - strlen(end), end) &&
	       (!strcmp(name, "model.safetensors") || !strncmp(name, "model-", 6));
}

static int
find_folder(struct archive_source *a, struct qz_source *s, struct qz_err *e)
{
	a->folder = beside_folder(&a->beside, s, e);
	return a->folder ? 0 : -1;
}

/* ---- files of weights ---- */

static struct weights *
new_weights(struct archive_source *a, const char *path, struct qz_err *e)
{
	struct weights *more = realloc(a->weights, (a->n_weights + 1) * sizeof *more);

	if (!more) {
		qz_nomem(e, sizeof *more);
		return NULL;
	}
	a->weights = more;
	more += a->n_weights++;
	*more = (struct weights){ .path = strdup(path) };
	if (!more->path)
		qz_nomem(e, strlen(path));
	return more->path ? more : NULL;
}

/* Of the current member; text keeps the header's bytes for the spool. */
static int
read_header(struct qz_source *s, const struct qz_arc_member *m, struct qz_st *st,
    struct qz_buf *text, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	uint8_t *first = qz_buf_room(text, 8);
	uint64_t n;
	char *p;

	if (!first)
		return qz_buf_ok(text, e);
	if (qz_arc_read(a->arc, first, 8, e) < 0)
		return -1;
	if (qz_st_length(first, m->size, &n, e) < 0)
		return qz_at(e, "%s: archive: %s", s->name, m->name);
	p = qz_buf_room(text, (size_t)n);
	if (!p)
		return qz_buf_ok(text, e);
	if (qz_arc_read(a->arc, p, (size_t)n, e) < 0)
		return -1;
	if (qz_st_parse(st, p, (size_t)n, m->size, e) < 0)
		return qz_at(e, "%s: archive: %s", s->name, m->name);
	return 0;
}

/* The current member into the spool, after what has been read of it. */
static int
spool_member(struct qz_source *s, const char *path, const struct qz_buf *before, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	struct weights *w = new_weights(a, path, e);
	char *window;
	int64_t got;

	if (!w || source_spool_open(s, e) < 0)
		return -1;
	w->base = s->spool.nbytes;
	if (before->n && source_spool_add(s, before->data, before->n, e) < 0)
		return -1;
	window = malloc(WINDOW);
	if (!window)
		return qz_nomem(e, WINDOW);
	while ((got = qz_arc_some(a->arc, window, WINDOW, e)) > 0) {
		if (source_spool_add(s, window, (size_t)got, e) < 0) {
			got = -1;
			break;
		}
	}
	free(window);
	w->size = s->spool.nbytes - w->base;
	return got < 0 ? -1 : 0;
}

static bool
is_ours(const struct archive_source *a, const char *path)
{
	return path_in_folder(path, a->folder) &&
	       (!a->single || !strcmp(path_name(path), "model.safetensors"));
}

static void
see_single(struct archive_source *a)
{
	for (size_t i = 0; i < a->n_weights; i++)
		if (path_in_folder(a->weights[i].path, a->folder) &&
		    !strcmp(path_name(a->weights[i].path), "model.safetensors"))
			a->single = true;
}

/* The rest of the archive: all of its weights into the spool, then the tensors from there. */
static int
spool_all(struct qz_source *s, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	const struct qz_arc_member *m;
	struct qz_buf none = { 0 };
	char name[4200];
	int got;

	while ((got = qz_arc_next(a->arc, &m, e)) > 0)
		if ((is_weights(m->name) ? spool_member(s, m->name, &none, e)
					 : beside_keep(&a->beside, s, a->arc, m, e)) < 0)
			return -1;
	if (got < 0 || find_folder(a, s, e) < 0 || beside_give(&a->beside, s, a->folder, e) < 0)
		return -1;
	see_single(a);
	a->parts = parts_new(e);
	if (!a->parts)
		return -1;
	for (size_t i = 0; i < a->n_weights; i++) {
		const struct weights *w = &a->weights[i];

		if (!is_ours(a, w->path))
			continue;
		snprintf(name, sizeof name, "%s: archive: %s", s->name, w->path);
		if (w->size < 8)
			return qz_fail(
			    e, QZ_EDATA, "%s: has %llu bytes", name, (unsigned long long)w->size);
		if (parts_add(a->parts, s->spool.path, name, w->base, w->size, e) < 0)
			return -1;
	}
	return parts_finish(a->parts, s, e);
}

/* ---- opening ---- */

static int
restart(struct archive_source *a, struct qz_err *e)
{
	qz_arc_close(a->arc);
	a->arc = NULL;
	if (qz_in_offset(a->in) && qz_in_seek(a->in, 0, e) < 0)
		return -1;
	a->arc = qz_arc_open(a->in, e);
	return a->arc ? 0 : -1;
}

static int
plain_tensor(
    struct qz_source *s, const struct qz_st_tensor *x, struct qz_tensor *t, struct qz_err *e)
{
	*t = (struct qz_tensor){ .name = x->name, .dtype = x->dtype, .n_dims = x->n_dims };
	memcpy(t->dims, x->dims, sizeof t->dims);
	if (strlen(x->name) > QZ_NAME_LEN_MAX)
		return qz_fail(
		    e, QZ_EDATA, "%s: a tensor's name of %zu bytes", s->name, strlen(x->name));
	if (source_is_junk(x->name)) {
		t->nbytes = x->end - x->begin;
		return 0;
	}
	if (!x->dtype || !qz_dtype((unsigned)x->dtype)->plain)
		return qz_fail(e, QZ_EDATA, "%s: tensor %s: its type %s is not supported", s->name,
		    x->name, x->type);
	return qz_tensor_plan(t, e) < 0 ? qz_at(e, "%s: tensor %s", s->name, x->name) : 0;
}

/* The headers found in the first pass, as the tensors that the second will give. */
static int
make_manifest(struct qz_source *s, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	struct qz_tensor *t;
	size_t n = 0, cap = 1;
	int ret = 0;

	for (size_t i = 0; i < a->n_weights; i++)
		cap += a->weights[i].st.n;
	t = calloc(cap, sizeof *t);
	if (!t)
		return qz_nomem(e, cap * sizeof *t);
	for (size_t i = 0; i < a->n_weights; i++) {
		const struct weights *w = &a->weights[i];

		for (size_t k = 0; ret == 0 && is_ours(a, w->path) && k < w->st.n; k++) {
			const char *name = w->st.tensors[k].name;

			if (source_is_junk(name) ||
			    (s->config.tied && !strcmp(name, qz_role(QZ_HEAD)->hf)))
				continue;
			ret = plain_tensor(s, &w->st.tensors[k], &t[n++], e);
		}
	}
	if (ret == 0 && source_set_manifest(s, t, n, e) < 0)
		ret = qz_at(e, "%s", s->name);
	free(t);
	return ret;
}

/* First pass: files and headers.  1: the weights are 4-bit. */
static int
survey(struct qz_source *s, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	const struct qz_arc_member *m;
	bool bnb = false;
	int got;

	while ((got = qz_arc_next(a->arc, &m, e)) > 0) {
		struct qz_buf text = { 0 };
		struct weights *w;

		if (!is_weights(m->name)) {
			if (beside_keep(&a->beside, s, a->arc, m, e) < 0)
				return -1;
			continue;
		}
		if (a->n_weights == WEIGHTS_MAX)
			return qz_fail(e, QZ_EDATA, "%s: archive: more than %d files of weights",
			    s->name, WEIGHTS_MAX);
		w = new_weights(a, m->name, e);
		got = w ? read_header(s, m, &w->st, &text, e) : -1;
		qz_buf_free(&text);
		if (got < 0)
			return -1;
		bnb = bnb || parts_is_bnb(&w->st);
	}
	if (got < 0 || find_folder(a, s, e) < 0)
		return -1;
	see_single(a);
	return bnb;
}

static void
forget_weights(struct archive_source *a)
{
	for (size_t i = 0; i < a->n_weights; i++) {
		free(a->weights[i].path);
		qz_st_free(&a->weights[i].st);
	}
	a->n_weights = 0;
}

static int
open_seekable(struct qz_source *s, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	int bnb = survey(s, e);

	if (bnb < 0 || beside_give(&a->beside, s, a->folder, e) < 0)
		return -1;
	if (!bnb)
		return make_manifest(s, e) < 0 ? -1 : restart(a, e);
	/* Everything again, in the other way. */
	forget_weights(a);
	free(a->folder);
	a->folder = NULL;
	a->single = false;
	s->n_files = 0;
	s->files_nbytes = 0;
	return restart(a, e) < 0 ? -1 : spool_all(s, e);
}

/* Up to the first file of weights: it streams when it can. */
static int
open_pipe(struct qz_source *s, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	const struct qz_arc_member *m;
	struct qz_buf text = { 0 };
	int got;

	while ((got = qz_arc_next(a->arc, &m, e)) > 0 && !is_weights(m->name))
		if (beside_keep(&a->beside, s, a->arc, m, e) < 0)
			return -1;
	if (got < 0)
		return -1;
	if (got == 0)
		return find_folder(a, s, e) < 0
			   ? -1
			   : qz_fail(e, QZ_EDATA, "%s: archive: has no model.safetensors", s->name);
	if (!beside_has_config(&a->beside, m->name)) {
		got = spool_member(s, m->name, &text, e);
		return got < 0 ? -1 : spool_all(s, e);
	}
	got = read_header(s, m, &a->st, &text, e);
	if (got == 0 && parts_is_bnb(&a->st)) {
		got = spool_member(s, m->name, &text, e);
		qz_buf_free(&text);
		return got < 0 ? -1 : spool_all(s, e);
	}
	qz_buf_free(&text);
	a->streaming = true;
	a->folder = strndup(m->name, (size_t)(path_name(m->name) - m->name));
	if (got < 0)
		return -1;
	return a->folder ? beside_give(&a->beside, s, a->folder, e) : qz_nomem(e, 1);
}

/* ---- streaming ---- */

/* On to a file of weights; 0 at the archive's end. */
static int
next_file(struct qz_source *s, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	const struct qz_arc_member *m;
	struct qz_buf text = { 0 };
	bool known = s->manifest != NULL;
	int got;

	while ((got = qz_arc_next(a->arc, &m, e)) > 0) {
		if (is_weights(m->name) && is_ours(a, m->name))
			break;
		if (!known && !strcmp(path_name(m->name), BESIDE_CONFIG) &&
		    (size_t)(path_name(m->name) - m->name) <= strlen(a->folder))
			return qz_fail(e, QZ_EDATA,
			    "%s: archive: holds two models, %s" BESIDE_CONFIG " and %s", s->name,
			    a->folder, m->name);
		if (!known && path_in_folder(m->name, a->folder) &&
		    beside_keep(&a->beside, s, a->arc, m, e) < 0)
			return -1;
	}
	if (got <= 0)
		return got < 0 || known ? got : beside_give(&a->beside, s, a->folder, e);
	qz_st_free(&a->st);
	a->next = 0;
	a->streaming = true;
	got = read_header(s, m, &a->st, &text, e);
	qz_buf_free(&text);
	if (got == 0 && parts_is_bnb(&a->st))
		return qz_fail(e, QZ_EDATA,
		    "%s: archive: %s has 4-bit tensors, the files before it have none: unpack the "
		    "archive",
		    s->name, m->name);
	return got < 0 ? -1 : 1;
}

/* The end of a file must be where its header says. */
static int
check_end(struct qz_source *s, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	char one;
	int64_t got = qz_arc_some(a->arc, &one, 1, e);

	a->streaming = false;
	if (got > 0)
		return qz_fail(
		    e, QZ_EDATA, "%s: archive: safetensors: bytes after the last tensor", s->name);
	return got < 0 ? -1 : 0;
}

static int
next(struct qz_source *s, struct qz_tensor *t, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	int got;

	if (a->parts)
		return parts_next(a->parts, t, e);
	while (!a->streaming || a->next == a->st.n) {
		if (a->streaming && check_end(s, e) < 0)
			return -1;
		got = next_file(s, e);
		if (got <= 0)
			return got;
	}
	return plain_tensor(s, &a->st.tensors[a->next++], t, e) < 0 ? -1 : 1;
}

/* The padding of the plan's last section is not in the file. */
static int
read_data(struct qz_source *s, void *data, size_t n, struct qz_err *e)
{
	struct archive_source *a = s->impl;
	const struct qz_st_tensor *x;
	uint64_t done, left;
	size_t part;

	if (a->parts)
		return parts_read(a->parts, data, n, e);
	x = &a->st.tensors[a->next - 1];
	done = s->t.nbytes - s->left;
	left = x->end - x->begin > done ? x->end - x->begin - done : 0;
	part = n < left ? n : (size_t)left;
	if (part && qz_arc_read(a->arc, data, part, e) < 0)
		return -1;
	memset((char *)data + part, 0, n - part);
	return 0;
}

static int
finish(struct qz_source *s, uint64_t n, struct qz_err *e)
{
	char window[16 * 1024];
	struct archive_source *a = s->impl;

	if (a->parts)
		return 0;
	s->left = n;
	while (s->left) {
		size_t part = s->left < sizeof window ? (size_t)s->left : sizeof window;

		if (read_data(s, window, part, e) < 0)
			return -1;
		s->left -= part;
	}
	return 0;
}

static void
close_archive(struct qz_source *s)
{
	struct archive_source *a = s->impl;

	if (!a)
		return;
	qz_arc_close(a->arc);
	qz_in_close(a->in);
	beside_free(&a->beside);
	forget_weights(a);
	qz_st_free(&a->st);
	parts_free(a->parts);
	free(a->weights);
	free(a->folder);
	free(a);
}

static const struct source_ops ops = { "archive", next, read_data, finish, NULL, NULL, NULL, NULL,
	close_archive };

int
source_open_archive(struct qz_source *s, struct qz_in *in, struct qz_err *e)
{
	struct archive_source *a = calloc(1, sizeof *a);

	s->ops = &ops;
	s->impl = a;
	if (!a) {
		qz_in_close(in);
		return qz_nomem(e, sizeof *a);
	}
	a->in = in;
	if (restart(a, e) < 0)
		return -1;
	return qz_in_seekable(in) && !s->is_stdin ? open_seekable(s, e) : open_pipe(s, e);
}
