#include "libcore/model/source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcore/base/le.h"
#include "libcore/io/arc.h"
#include "libcore/model/source_impl.h"

bool
source_is_junk(const char *name)
{
	static const char *const ends[] = { "rotary_emb.inv_freq", ".attention.bias",
		".masked_bias" };
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		if (n >= strlen(ends[i]) && !strcmp(name + n - strlen(ends[i]), ends[i]))
			return true;
	return false;
}

uint64_t
source_order(const char *name)
{
	int layer, r = qz_role_of(name, &layer);

	if (r < 0)
		return UINT64_MAX;
	if (qz_role((enum qz_role)r)->in_layer)
		return 1 + (uint64_t)layer * QZ_ROLE_END + (uint64_t)r;
	return r == QZ_EMBED ? 0 : (uint64_t)1 << 40 | (r == QZ_HEAD);
}

/* Is it a head that the config says is the embedding? */
static bool
is_tied_head(const struct qz_source *s, const char *name)
{
	return s->config.tied && !strcmp(name, qz_role(QZ_HEAD)->hf);
}

static uint8_t *
place(uint8_t *seen, const char *name)
{
	int layer, r = qz_role_of(name, &layer);

	return &seen[(size_t)layer * QZ_ROLE_END + (size_t)r];
}

static int
mark(const struct qz_source *s, uint8_t *seen, const struct qz_tensor *t, struct qz_err *e)
{
	uint8_t *p;

	if (qz_config_check(&s->config, t, e) < 0)
		return -1;
	p = place(seen, t->name);
	if (*p)
		return qz_fail(e, QZ_EDATA, "tensor %.200s is there twice", t->name);
	*p = 1;
	return 0;
}

static int
check_complete(const struct qz_source *s, const uint8_t *seen, struct qz_err *e)
{
	char name[200];

	for (int64_t layer = 0; layer < s->config.layers; layer++) {
		for (int r = 0; r < QZ_ROLE_END; r++) {
			if (!qz_config_has(&s->config, (enum qz_role)r) ||
			    (layer && !qz_role((enum qz_role)r)->in_layer) ||
			    seen[(size_t)layer * QZ_ROLE_END + (size_t)r])
				continue;
			qz_role_name((enum qz_role)r, (int)layer, name, sizeof name);
			return qz_fail(e, QZ_EDATA, "tensor %s is missing", name);
		}
	}
	return 0;
}

static uint8_t *
new_seen(const struct qz_source *s, struct qz_err *e)
{
	size_t n = (size_t)s->config.layers * QZ_ROLE_END;
	uint8_t *seen = calloc(n, 1);

	if (!seen)
		qz_nomem(e, n);
	return seen;
}

int
source_set_manifest(struct qz_source *s, const struct qz_tensor *t, size_t n, struct qz_err *e)
{
	uint8_t *seen = new_seen(s, e);
	int ret = seen ? 0 : -1;

	for (size_t i = 0; ret == 0 && i < n; i++)
		ret = mark(s, seen, &t[i], e);
	if (ret == 0)
		ret = check_complete(s, seen, e);
	free(seen);
	if (ret < 0)
		return -1;
	s->manifest = qz_arena_alloc(&s->arena, n * sizeof *t);
	if (!s->manifest)
		return qz_nomem(e, n * sizeof *t);
	memcpy(s->manifest, t, n * sizeof *t);
	s->n_manifest = n;
	for (size_t i = 0; i < n; i++) {
		s->manifest[i].name = qz_arena_strdup(&s->arena, t[i].name);
		if (!s->manifest[i].name)
			return qz_nomem(e, strlen(t[i].name));
	}
	return 0;
}

/* A file whose content is none of the kinds: says what it looks like. */
static int
unknown_kind(struct qz_in *in, const uint8_t *head, int64_t n, struct qz_err *e)
{
	const char *hint = "";

	if (n >= 9 && head[8] == '{' && le64_get(head) < ((uint64_t)1 << 32))
		hint = "; it looks like safetensors: name the folder that it lies in";
	else if (n >= 1 && *head == '{')
		hint = "; it looks like JSON: name the model's folder";
	else if (n == 0)
		hint = "; it is empty";
	return qz_fail(e, QZ_EDATA,
	    "%s: is no model: a folder, an archive of one, a GGUF file or a model shard is "
	    "expected%s",
	    qz_in_name(in), hint);
}

/* All of a pipe in a temporary file, which is opened in its place. */
static struct qz_in *
spool(struct qz_source *s, struct qz_in *in, struct qz_err *e)
{
	char window[64 * 1024];
	int64_t got = source_spool_open(s, e);

	if (got == 0)
		while ((got = qz_in_some(in, window, sizeof window, e)) > 0)
			if (source_spool_add(s, window, (size_t)got, e) < 0)
				return NULL;
	return got < 0 ? NULL : qz_in_open(s->spool.path, e);
}

/* Takes in. */
static int
open_stream(struct qz_source *s, struct qz_in *in, struct qz_err *e)
{
	const void *p;
	int64_t n = qz_in_peek(in, &p, 512, e);
	struct qz_in *file;

	if (n < 0) {
		qz_in_close(in);
		return -1;
	}
	if (n >= 8 && !memcmp(p, QZ_SHARD_MAGIC, 8))
		return source_open_shard(s, in, e);
	if (n >= 4 && !memcmp(p, "GGUF", 4) && !qz_in_seekable(in)) {
		file = spool(s, in, e);
		qz_in_close(in);
		return file ? source_open_gguf(s, file, e) : -1;
	}
	if (n >= 4 && !memcmp(p, "GGUF", 4))
		return source_open_gguf(s, in, e);
	if (qz_arc_is(p, (size_t)n))
		return source_open_archive(s, in, e);
	unknown_kind(in, p, n, e);
	qz_in_close(in);
	return -1;
}

static int
open_any(struct qz_source *s, const char *path, struct qz_err *e)
{
	struct stat st;
	struct qz_in *in;

	if (strcmp(path, "-") && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return source_open_folder(s, path, e);
	in = qz_in_open(path, e);
	return in ? open_stream(s, in, e) : -1;
}

struct qz_source *
qz_source_open(const char *path, struct qz_err *e)
{
	struct qz_source *s = calloc(1, sizeof *s);

	if (s) {
		s->is_stdin = !strcmp(path, "-");
		s->name = strdup(s->is_stdin ? "<stdin>" : path);
	}
	if (!s || !s->name || !(s->hash = qz_hash_new())) {
		qz_source_close(s);
		qz_nomem(e, sizeof *s);
		return NULL;
	}
	if (open_any(s, path, e) < 0 || !(s->seen = new_seen(s, e))) {
		qz_source_close(s);
		return NULL;
	}
	return s;
}

void
qz_source_close(struct qz_source *s)
{
	if (!s)
		return;
	if (s->ops)
		s->ops->close(s);
	source_spool_close(s);
	qz_hash_free(s->hash);
	for (size_t i = 0; i < s->n_files; i++)
		qz_buf_free(&s->files_data[i]);
	free(s->files_data);
	free(s->files);
	qz_buf_free(&s->ready);
	qz_arena_free(&s->arena);
	free(s->seen);
	free(s->name);
	free(s);
}

const char *
qz_source_name(const struct qz_source *s)
{
	return s->name;
}

const char *
qz_source_kind(const struct qz_source *s)
{
	return s->ops->kind;
}

uint64_t
qz_source_spooled(const struct qz_source *s)
{
	return s->spool.nbytes;
}

const struct qz_config *
qz_source_config(const struct qz_source *s)
{
	return &s->config;
}

size_t
qz_source_files(const struct qz_source *s, const struct qz_source_file **files)
{
	*files = s->files;
	return s->n_files;
}

const void *
qz_source_ready(const struct qz_source *s, size_t *n)
{
	*n = s->ready.n;
	return s->ready.data;
}

const struct qz_source_file *
qz_source_file(const struct qz_source *s, const char *name)
{
	for (size_t i = 0; i < s->n_files; i++)
		if (!strcmp(s->files[i].name, name))
			return &s->files[i];
	return NULL;
}

const struct qz_tensor *
qz_source_manifest(const struct qz_source *s, size_t *n)
{
	*n = s->n_manifest;
	return s->manifest;
}

/* The digest of everything is a sum: whatever the order, the same model has the same. */
static void
add_to_total(struct qz_source *s, const char *name, uint64_t digest)
{
	struct qz_digest d;
	uint8_t le[8];

	le64_put(le, digest);
	qz_hash_reset(s->hash);
	qz_hash_add(s->hash, name, strlen(name) + 1);
	qz_hash_add(s->hash, le, sizeof le);
	d = qz_hash_get128(s->hash);
	s->total.lo += d.lo;
	s->total.hi += d.hi + (s->total.lo < d.lo);
}

/* The current tensor is over. */
static int
leave_tensor(struct qz_source *s, struct qz_err *e)
{
	if (!s->open)
		return 0;
	s->open = false;
	if (s->left && s->ops->finish(s, s->left, e) < 0)
		return -1;
	if (s->whole && !s->undigested)
		add_to_total(s, s->t.name, s->data_digest);
	return 0;
}

static int
enter_tensor(struct qz_source *s)
{
	s->open = true;
	s->left = s->t.nbytes;
	s->whole = s->left == 0;
	s->digest = s->data_digest = 0;
	qz_hash_reset(s->hash);
	return 1;
}

/* All of a stored head that should be the embedding, for its digest. */
static int
hash_head(struct qz_source *s, struct qz_err *e)
{
	char window[64 * 1024];

	enter_tensor(s);
	while (s->left) {
		size_t n = s->left < sizeof window ? (size_t)s->left : sizeof window;

		if (qz_source_read(s, window, n, e) < 0)
			return -1;
	}
	s->head = s->digest;
	return leave_tensor(s, e);
}

static int
finish_all(struct qz_source *s, struct qz_err *e)
{
	if (check_complete(s, s->seen, e) < 0)
		return qz_at(e, "%s", s->name);
	if (s->embed && s->head && s->embed != s->head)
		return qz_fail(e, QZ_EDATA,
		    "%s: lm_head.weight is not the embedding, although tie_word_embeddings is true",
		    s->name);
	for (size_t i = 0; i < s->n_files; i++)
		add_to_total(s, s->files[i].name, qz_hash64(s->files[i].data, s->files[i].n));
	return 0;
}

int
qz_source_next(struct qz_source *s, const struct qz_tensor **t, struct qz_err *e)
{
	for (;;) {
		int got;

		if (leave_tensor(s, e) < 0)
			return -1;
		got = s->ops->next(s, &s->t, e);
		if (got < 0)
			return -1;
		if (got == 0)
			return finish_all(s, e);
		if (source_is_junk(s->t.name)) {
			if (s->ops->finish(s, s->t.nbytes, e) < 0)
				return -1;
			continue;
		}
		if (is_tied_head(s, s->t.name)) {
			if (hash_head(s, e) < 0)
				return -1;
			continue;
		}
		if (mark(s, s->seen, &s->t, e) < 0)
			return qz_at(e, "%s", s->name);
		*t = &s->t;
		return enter_tensor(s);
	}
}

/* An embedding that a stored head is compared with is. */
static bool
is_hashed(const struct qz_source *s)
{
	return !s->undigested || is_tied_head(s, s->t.name) ||
	       (s->config.tied && !strcmp(s->t.name, qz_role(QZ_EMBED)->hf));
}

/* The digest is of the data as they are, without the padding behind them. */
static void
hash(struct qz_source *s, const void *data, size_t n)
{
	const struct qz_section *last = &s->t.sections[s->t.n_sections - 1];
	uint64_t end = last->offset + last->nbytes, done = s->t.nbytes - s->left;

	if (done < end)
		qz_hash_add(s->hash, data, n < end - done ? n : (size_t)(end - done));
}

int
qz_source_read(struct qz_source *s, void *data, size_t n, struct qz_err *e)
{
	if (!s->open || n > s->left)
		return qz_fail(e, QZ_EDATA, "%s: tensor %s: %zu bytes are asked for, %llu are left",
		    s->name, s->t.name, n, (unsigned long long)s->left);
	if (s->ops->read(s, data, n, e) < 0)
		return -1;
	if (is_hashed(s))
		hash(s, data, n);
	s->left -= n;
	if (s->left)
		return 0;
	if (s->ops->finish(s, 0, e) < 0)
		return -1;
	s->whole = true;
	s->data_digest = is_hashed(s) ? qz_hash_get64(s->hash) : 0;
	s->digest = s->ops->digest ? s->ops->digest(s) : 0;
	if (!s->digest)
		s->digest = s->data_digest;
	if (!strcmp(s->t.name, qz_role(QZ_EMBED)->hf))
		s->embed = s->data_digest;
	return 0;
}

/* Where data_digest is wanted, all has to be hashed here: for the digest of the whole of a source that has none of its
 * own, and for an embedding that a stored head is compared with. */
int
qz_source_later(struct qz_source *s, struct qz_shard_part *p, struct qz_err *e)
{
	int got;

	if (!s->open || s->left != s->t.nbytes || !s->ops->later || !s->ops->total ||
	    (s->config.tied && !strcmp(s->t.name, qz_role(QZ_EMBED)->hf)))
		return 0;
	got = s->ops->later(s, p, e);
	if (got <= 0)
		return got;
	s->left = 0;
	s->digest = s->ops->digest(s);
	return 1;
}

void
qz_source_undigested(struct qz_source *s)
{
	s->undigested = true;
}

uint64_t
qz_source_digest(struct qz_source *s)
{
	return s->digest;
}

const char *
qz_source_provenance(const struct qz_source *s)
{
	return s->ops->provenance ? s->ops->provenance(s) : "[]";
}

struct qz_digest
qz_source_total(const struct qz_source *s)
{
	return s->ops->total ? s->ops->total(s) : s->total;
}
