#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcore/base/half.h"
#include "libcore/base/json.h"
#include "libcore/base/le.h"
#include "libcore/format/bnb.h"
#include "libcore/format/safetensors.h"
#include "libcore/io/out.h"
#include "libcore/io/sync.h"
#include "tools/quantize/quantize.h"

/* A folder as transformers saves a model that bitsandbytes has quantized to 4 bits.
 *
 * All sizes but those of the states (JSON with a float in it) are known before any data, so every byte
 * has its place in model.safetensors from the start: a header with room to spare, wide types before
 * narrow ones, since loaders look at data in place, and the states at the end.  The header is written
 * last. */

enum { STATE_ROOM = 32 }; /* more than a float has digits */

struct key {
	struct qz_st_tensor st;
	enum qz_section_kind kind;
	size_t tensor; /* of the manifest */
	bool state;
	uint64_t at; /* in the data */
};

struct bnb {
	struct sink sink;
	struct qz_outdir *dir;
	const struct qz_source *source;
	int fd;
	struct qz_arena names;
	const struct qz_tensor *manifest;
	size_t n;
	enum qz_dtype dtype; /* what 4-bit weights dequantize to */
	struct key *keys;
	size_t n_keys, n_wide; /* n_wide: those before the states */
	float *offsets;        /* of each tensor */
	uint64_t header;       /* bytes kept for it, with its length */
	size_t tensor;         /* the current one */
	uint64_t done;         /* bytes of its current section */
	enum qz_section_kind kind;
};

static bool
is_4bit(const struct qz_tensor *t)
{
	return t->dtype == QZ_NF4 || t->dtype == QZ_FP4;
}

static void
get_state(const struct bnb *k, size_t tensor, struct qz_buf *out)
{
	const struct qz_tensor *t = &k->manifest[tensor];
	struct qz_bnb_state s = { .type = t->dtype,
		.dtype = k->dtype,
		.block = t->block,
		.nested_block = t->nested_block,
		.offset = k->offsets[tensor],
		.n_dims = t->n_dims };

	memcpy(s.dims, t->dims, sizeof s.dims);
	qz_bnb_put(&s, out);
}

static char *
join(struct bnb *k, const char *name, const char *suffix)
{
	size_t n = strlen(name) + strlen(suffix) + 1;
	char *s = qz_arena_alloc(&k->names, n);

	if (s)
		snprintf(s, n, "%s%s", name, suffix);
	return s;
}

/* A key of a 4-bit tensor's section, or a plain tensor's only one. */
static int
add_key(struct bnb *k, size_t tensor, const struct qz_section *s, struct qz_err *e)
{
	const struct qz_tensor *t = &k->manifest[tensor];
	const char *suffix = qz_bnb_suffix((enum qz_section_kind)s->kind);
	struct key *key = &k->keys[k->n_keys];

	if (!suffix)
		return 0; /* the offset is in the state */
	*key = (struct key){ .kind = (enum qz_section_kind)s->kind, .tensor = tensor };
	key->st.name = join(k, t->name, suffix);
	key->st.type = qz_dtype(s->dtype)->st;
	key->st.n_dims = 1;
	key->st.dims[0] = s->nbytes / qz_dtype(s->dtype)->bytes;
	if (s->kind == QZ_SEC_DATA && is_4bit(t)) {
		key->st.n_dims = 2;
		key->st.dims[1] = 1;
	} else if (s->kind == QZ_SEC_DATA) {
		key->st.n_dims = t->n_dims;
		memcpy(key->st.dims, t->dims, sizeof t->dims);
	}
	k->n_keys++;
	return key->st.name ? 0 : qz_nomem(e, strlen(t->name));
}

static uint32_t
width(const struct key *key)
{
	return qz_dtype((unsigned)qz_dtype_by_st(key->st.type))->bytes;
}

static int
by_width(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	if (width(x) != width(y))
		return width(x) > width(y) ? -1 : 1;
	if (x->tensor != y->tensor)
		return x->tensor < y->tensor ? -1 : 1;
	return x->kind < y->kind ? -1 : x->kind > y->kind;
}

static int
list_keys(struct bnb *k, struct qz_err *e)
{
	k->keys = calloc(k->n * (QZ_SECTIONS_MAX + 1) + 1, sizeof *k->keys);
	k->offsets = calloc(k->n + 1, sizeof *k->offsets);
	if (!k->keys || !k->offsets)
		return qz_nomem(e, k->n * sizeof *k->keys);
	for (size_t i = 0; i < k->n; i++) {
		const struct qz_tensor *t = &k->manifest[i];

		if (!is_4bit(t) && !qz_dtype((unsigned)t->dtype)->plain)
			return qz_fail(e, QZ_EDATA,
			    "tensor %s: bitsandbytes' folder has no place for type %s", t->name,
			    qz_dtype((unsigned)t->dtype)->name);
		for (int s = 0; s < t->n_sections; s++)
			if (add_key(k, i, &t->sections[s], e) < 0)
				return -1;
	}
	qsort(k->keys, k->n_keys, sizeof *k->keys, by_width);
	k->n_wide = k->n_keys;
	return 0;
}

/* The states as they are, or with room for their longest form. */
static int
add_states(struct bnb *k, uint64_t room, struct qz_err *e)
{
	struct qz_buf text = { 0 };
	char suffix[64];

	k->n_keys = k->n_wide;
	for (size_t i = 0; i < k->n; i++) {
		struct key *key = &k->keys[k->n_keys];

		if (!is_4bit(&k->manifest[i]))
			continue;
		qz_buf_clear(&text);
		get_state(k, i, &text);
		snprintf(suffix, sizeof suffix, QZ_BNB_STATE "%s",
		    qz_dtype((unsigned)k->manifest[i].dtype)->name);
		*key = (struct key){ .tensor = i, .state = true };
		key->st = (struct qz_st_tensor){ .name = join(k, k->manifest[i].name, suffix),
			.type = "U8",
			.n_dims = 1,
			.dims = { text.n + room } };
		k->n_keys++;
		if (text.failed || !key->st.name) {
			qz_buf_free(&text);
			return qz_nomem(e, 1);
		}
	}
	qz_buf_free(&text);
	return 0;
}

/* The header for the keys as they are now; where each lies. */
static int
make_header(struct bnb *k, struct qz_buf *out, struct qz_err *e)
{
	struct qz_st_tensor *st = calloc(k->n_keys + 1, sizeof *st);
	uint64_t at = 0, nbytes;
	int ret;

	if (!st)
		return qz_nomem(e, k->n_keys * sizeof *st);
	for (size_t i = 0; i < k->n_keys; i++) {
		st[i] = k->keys[i].st;
		k->keys[i].at = at;
		if (!qz_st_nbytes(&st[i], &nbytes))
			at += nbytes;
	}
	ret = qz_st_put(out, st, k->n_keys, e);
	free(st);
	return ret;
}

static int
write_at(const struct bnb *k, uint64_t at, const void *data, size_t n, struct qz_err *e)
{
	const char *p = data;

	while (n) {
		ssize_t put = pwrite(k->fd, p, n, (off_t)at);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return qz_fail_errno(e, "%s/model.safetensors: cannot write at byte %llu",
			    qz_outdir_name(k->dir), (unsigned long long)at);
		p += put;
		n -= (size_t)put;
		at += (uint64_t)put;
	}
	return 0;
}

static int
begin(struct sink *sink, const struct qz_tensor *manifest, const struct qz_tensor *in, size_t n,
    struct qz_err *e)
{
	struct bnb *k = (struct bnb *)sink;
	struct qz_buf header = { 0 };
	int ret;

	(void)in;
	k->manifest = manifest;
	k->n = n;
	if (list_keys(k, e) < 0 || add_states(k, STATE_ROOM, e) < 0)
		return -1;
	ret = make_header(k, &header, e);
	k->header = header.n;
	qz_buf_free(&header);
	if (ret < 0)
		return -1;
	k->fd = open(qz_outdir_path(k->dir, "model.safetensors"),
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	return k->fd < 0
		   ? qz_fail_errno(e, "%s: cannot create model.safetensors", qz_outdir_name(k->dir))
		   : 0;
}

static int
first(struct sink *sink, const struct qz_tensor *t, struct qz_err *e)
{
	struct bnb *k = (struct bnb *)sink;

	if (k->tensor < k->n && !strcmp(k->manifest[k->tensor].name, t->name)) {
		k->kind = 0;
		return 0;
	}
	return qz_fail(e, QZ_EDATA, "tensor %s is not the next in the manifest", t->name);
}

static const struct key *
find_key(const struct bnb *k, size_t tensor, enum qz_section_kind kind)
{
	for (size_t i = 0; i < k->n_wide; i++)
		if (k->keys[i].tensor == tensor && k->keys[i].kind == kind)
			return &k->keys[i];
	return NULL;
}

static int
put(struct sink *sink, enum qz_section_kind kind, const void *data, size_t n, struct qz_err *e)
{
	struct bnb *k = (struct bnb *)sink;
	const struct key *key = find_key(k, k->tensor, kind);
	uint64_t at;

	if (kind != k->kind)
		k->done = 0;
	k->kind = kind;
	if (kind == QZ_SEC_OFFSET)
		k->offsets[k->tensor] = qz_f32_from_bits(le32_get(data));
	if (!key)
		return 0;
	at = k->header + key->at + k->done;
	k->done += n;
	return write_at(k, at, data, n, e);
}

static int
last(struct sink *sink, uint64_t source, struct qz_err *e)
{
	(void)source, (void)e;
	((struct bnb *)sink)->tensor++;
	return 0;
}

/* States and header, which now are what they are. */
static int
finish_weights(struct bnb *k, struct qz_err *e)
{
	struct qz_buf header = { 0 }, state = { 0 };
	int ret = add_states(k, 0, e);

	if (ret == 0)
		ret = make_header(k, &header, e);
	while (ret == 0 && header.n < k->header && !header.failed)
		qz_buf_chr(&header, ' ');
	if (ret == 0)
		ret = qz_buf_ok(&header, e);
	if (ret == 0) {
		le64_put(header.data, header.n - 8);
		ret = write_at(k, 0, header.data, header.n, e);
	}
	for (size_t i = k->n_wide; ret == 0 && i < k->n_keys; i++) {
		qz_buf_clear(&state);
		get_state(k, k->keys[i].tensor, &state);
		ret = qz_buf_ok(&state, e);
		if (ret == 0)
			ret = write_at(k, k->header + k->keys[i].at, state.data, state.n, e);
	}
	qz_buf_free(&state);
	qz_buf_free(&header);
	if (ret == 0 && qz_sync_fd(k->fd) < 0)
		ret = qz_fail_errno(e, "%s/model.safetensors: cannot sync", qz_outdir_name(k->dir));
	return ret;
}

/* The projections that are not stored in 4 bits: transformers must not expect them so. */
static void
put_skipped(const struct bnb *k, struct qz_buf *b)
{
	bool any = false;

	for (size_t i = 0; i < k->n; i++) {
		const char *name = k->manifest[i].name;
		int layer, r = qz_role_of(name, &layer);

		if (r < 0 || !qz_role((enum qz_role)r)->linear || is_4bit(&k->manifest[i]))
			continue;
		qz_buf_str(b, any ? ", " : "[\"lm_head\", ");
		qz_json_put_string(b, name, strlen(name) - strlen(".weight"));
		any = true;
	}
	qz_buf_str(b, any ? "]" : "null");
}

/* The source's text with one member more at its front: the rest stays as it was written. */
static int
put_config(const struct bnb *k, const struct qz_source_file *f, struct qz_buf *b, struct qz_err *e)
{
	const char *text = f->data, *open = memchr(text, '{', f->n);
	struct qz_buf skipped = { 0 };
	const struct qz_tensor *four = NULL;

	for (size_t i = 0; i < k->n && !four; i++)
		four = is_4bit(&k->manifest[i]) ? &k->manifest[i] : NULL;
	if (!four || !open) {
		qz_buf_add(b, text, f->n);
		return qz_buf_ok(b, e);
	}
	put_skipped(k, &skipped);
	qz_buf_str(b, "{\n  \"quantization_config\": ");
	qz_bnb_config_put(b, four->dtype, four->nested_block != 0, k->dtype,
	    skipped.failed ? "null" : skipped.data);
	qz_buf_chr(b, ',');
	qz_buf_add(b, open + 1, (size_t)(text + f->n - open - 1));
	qz_buf_free(&skipped);
	return qz_buf_ok(b, e);
}

static int
put_files(struct bnb *k, struct qz_err *e)
{
	const struct qz_source_file *files;
	size_t n = qz_source_files(k->source, &files);

	for (size_t i = 0; i < n; i++) {
		struct qz_buf config = { 0 };
		bool is_config = !strcmp(files[i].name, "config.json");
		int ret = is_config ? put_config(k, &files[i], &config, e) : 0;

		if (ret == 0)
			ret = qz_outdir_write(k->dir, files[i].name,
			    is_config ? config.data : files[i].data,
			    is_config ? config.n : files[i].n, e);
		qz_buf_free(&config);
		if (ret < 0)
			return -1;
	}
	return 0;
}

static int
end(struct sink *sink, const char *chain, struct qz_err *e)
{
	struct bnb *k = (struct bnb *)sink;

	if (finish_weights(k, e) < 0 || put_files(k, e) < 0 ||
	    qz_outdir_write(k->dir, "qz_provenance.json", chain, strlen(chain), e) < 0)
		return -1;
	return qz_outdir_commit(k->dir, e);
}

static void
close_bnb(struct sink *sink)
{
	struct bnb *k = (struct bnb *)sink;

	if (k->fd >= 0)
		close(k->fd);
	qz_outdir_close(k->dir);
	qz_arena_free(&k->names);
	free(k->keys);
	free(k->offsets);
	free(k);
}

struct sink *
sink_bnb(const char *output, const struct qz_source *s, struct qz_err *e)
{
	struct bnb *k = calloc(1, sizeof *k);
	enum qz_dtype dtype = qz_source_config(s)->dtype;

	if (!k) {
		qz_nomem(e, sizeof *k);
		return NULL;
	}
	k->sink = (struct sink){ begin, first, put, last, end, close_bnb, true };
	k->source = s;
	k->fd = -1;
	k->dtype = dtype == QZ_F16 || dtype == QZ_F32 ? dtype : QZ_BF16;
	k->dir = qz_outdir_open(output, e);
	if (k->dir)
		return &k->sink;
	close_bnb(&k->sink);
	return NULL;
}
