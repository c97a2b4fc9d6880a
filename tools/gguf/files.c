#include "tools/gguf/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/format/gguf_read.h"

enum { DIGEST = 32, PARTS_MAX = 65535 };

/* ---- which tensor lies where ---- */

static uint64_t
nbytes_of(const struct plan *p, const struct qz_tensor *manifest, size_t i)
{
	uint64_t n = qz_tensor_count(&manifest[i]) / manifest[i].dims[manifest[i].n_dims - 1] *
		     p->tensors[i].row_nbytes;

	if (p->rope_factors && i == p->rope_at)
		n += 4 * (uint64_t)p->config->head_dim;
	return (n + QZ_GGUF_ALIGN - 1) / QZ_GGUF_ALIGN * QZ_GGUF_ALIGN;
}

/* Tensors go into a file while it stays below max. */
static int
divide(struct files *f, uint64_t max, const struct qz_ggufw *keys, const struct plan *p,
    const struct qz_tensor *manifest, struct qz_err *e)
{
	uint64_t used = qz_ggufw_header_nbytes(keys);

	f->files = calloc(p->n + 1, sizeof *f->files);
	if (!f->files)
		return qz_nomem(e, p->n * sizeof *f->files);
	f->n = 1;
	for (size_t i = 0; i < p->n; i++) {
		uint64_t n = nbytes_of(p, manifest, i) + 128; /* and its entry in the table */

		if (max && n + 256 > max)
			return qz_fail(e, QZ_EUSAGE,
			    "%s takes %llu bytes: it does not fit a file of %llu",
			    p->tensors[i].name, (unsigned long long)n, (unsigned long long)max);
		if (max && used + n > max) {
			f->files[f->n - 1].end = i;
			f->n++;
			used = 256; /* the keys of the others */
		}
		used += n;
	}
	f->files[f->n - 1].end = p->n;
	if (f->n > PARTS_MAX)
		return qz_fail(e, QZ_EUSAGE, "%zu files, at most %d are possible", f->n, PARTS_MAX);
	return 0;
}

static void
put_split(struct files *f, size_t k, size_t n_tensors)
{
	struct qz_ggufw *g = &f->files[k].g;

	qz_ggufw_u16(g, "split.no", (uint16_t)k);
	qz_ggufw_u16(g, "split.count", (uint16_t)f->n);
	qz_ggufw_i32(g, "split.tensors.count", (int32_t)n_tensors);
}

/* The last key, so that its place is known. */
static void
put_digest(struct file *x)
{
	static const char zeros[DIGEST + 1] = "00000000000000000000000000000000";

	if (!qz_out_patchable(x->o))
		return;
	qz_ggufw_str(&x->g, QZ_GGUF_DIGEST, zeros);
	x->digest = qz_ggufw_keys_end(&x->g) - DIGEST;
}

static int
open_one(struct files *f, size_t k, const char *path, struct qz_err *e)
{
	char *name = NULL;
	size_t n = path ? strlen(path) : 0;

	if (f->n == 1) {
		f->files[k].o = qz_out_open(path, false, e);
		return f->files[k].o ? 0 : -1;
	}
	if (n > 5 && !strcmp(path + n - 5, ".gguf"))
		n -= 5;
	if (asprintf(&name, "%.*s-%05zu-of-%05zu.gguf", (int)n, path, k + 1, f->n) < 0)
		return qz_nomem(e, n);
	f->files[k].o = qz_out_open(name, false, e);
	free(name);
	return f->files[k].o ? 0 : -1;
}

int
files_open(struct files *f, const char *path, uint64_t max, bool digest, struct qz_ggufw *keys,
    const struct plan *p, const struct qz_tensor *manifest, struct qz_err *e)
{
	size_t first = 0, n_tensors = p->n + p->rope_factors;

	f->hash = qz_hash_new();
	if (!f->hash)
		return qz_nomem(e, 1);
	if (divide(f, max, keys, p, manifest, e) < 0)
		return -1;
	f->files[0].g = *keys;
	*keys = (struct qz_ggufw){ 0 };
	for (size_t k = 0; k < f->n; first = f->files[k++].end) {
		if (open_one(f, k, path, e) < 0)
			return -1;
		if (f->n > 1)
			put_split(f, k, n_tensors);
		if (digest)
			put_digest(&f->files[k]);
		if (plan_put(p, manifest, first, f->files[k].end, &f->files[k].g, e) < 0)
			return -1;
	}
	return 0;
}

uint64_t
files_nbytes(const struct files *f)
{
	uint64_t n = 0;

	for (size_t k = 0; k < f->n; k++)
		n += qz_ggufw_nbytes(&f->files[k].g);
	return n;
}

static int
begin(struct file *x, struct qz_err *e)
{
	qz_out_reserve(x->o, qz_ggufw_nbytes(&x->g));
	return qz_ggufw_begin(&x->g, x->o, e);
}

int
files_begin(struct files *f, struct qz_err *e)
{
	if (qz_out_expect(f->files[0].o, files_nbytes(f), e) < 0)
		return -1;
	return begin(&f->files[0], e);
}

/* The current file has all of its data. */
static int
finish(struct files *f, struct qz_err *e)
{
	struct file *x = &f->files[f->now];
	char hex[DIGEST + 1];

	if (qz_ggufw_end(&x->g, e) < 0)
		return -1;
	qz_digest_hex(qz_hash_get128(f->hash), hex);
	qz_hash_reset(f->hash);
	return x->digest ? qz_out_patch(x->o, x->digest, hex, DIGEST, e) : 0;
}

int
files_write(struct files *f, size_t i, const void *data, size_t n, struct qz_err *e)
{
	while (i >= f->files[f->now].end) {
		if (finish(f, e) < 0)
			return -1;
		f->now++;
		if (begin(&f->files[f->now], e) < 0)
			return -1;
	}
	if (f->files[f->now].digest)
		qz_hash_add(f->hash, data, n);
	return qz_ggufw_write(&f->files[f->now].g, f->files[f->now].o, data, n, e);
}

int
files_end(struct files *f, struct qz_err *e)
{
	return finish(f, e);
}

int
files_commit(struct files *f, struct qz_err *e)
{
	for (size_t k = f->n; k-- > 0;)
		if (qz_out_commit(f->files[k].o, e) < 0)
			return -1;
	return 0;
}

void
files_close(struct files *f)
{
	for (size_t k = 0; k < f->n; k++) {
		qz_ggufw_free(&f->files[k].g);
		qz_out_close(f->files[k].o);
	}
	free(f->files);
	qz_hash_free(f->hash);
	*f = (struct files){ 0 };
}
