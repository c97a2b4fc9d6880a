/* source - a model from wherever it lies: tensors one by one, and the files that go with them.
 *
 * Kinds, told by content: a Hugging Face folder (safetensors, one or several, bitsandbytes-4bit too), an
 * archive of one (tar, zip, compressed or not; from a pipe too), a GGUF file, a model shard.
 * Whatever the kind, tensors have Hugging Face names, shapes and row order (GGUF's q and k are
 * un-permuted), each name once, and they come in the order in which the source has them, but for
 * seekable folders and GGUF files: those come in the model's order (embedding, layers, norm, head).
 *
 * Memory: a window of data, never a whole model.  What is handed out is borrowed until the next call. */
#ifndef QZ_SOURCE_H
#define QZ_SOURCE_H

#include "libcore/base/buf.h"
#include "libcore/format/gguf_read.h"
#include "libcore/model/config.h"
#include "libcore/shard/part.h"
#include "libcore/shard/shard.h"

struct qz_source;

struct
    qz_source_file { /* config.json, tokenizer.json, chat_template.jinja, generation_config.json, ... */
	const char *name;
	const void *data;
	size_t n;
};

/* path: a folder, a file, or "-".  Reads everything but tensor data as far as the source allows. */
struct qz_source *qz_source_open(const char *path, struct qz_err *e);
void qz_source_close(struct qz_source *s);
const char *qz_source_name(const struct qz_source *s);
const char *qz_source_kind(const struct qz_source *s); /* "folder", "archive", "gguf", "shard" */
/* Bytes that had to be put into a temporary file, since they came before what explains them (weights
 * before config.json in a pipe, a GGUF from a pipe); the tool says so. */
uint64_t qz_source_spooled(const struct qz_source *s);
const struct qz_config *qz_source_config(const struct qz_source *s);
/* The files known so far; all of them once qz_source_next() has returned 0. */
size_t qz_source_files(const struct qz_source *s, const struct qz_source_file **files);
const struct qz_source_file *qz_source_file(
    const struct qz_source *s, const char *name); /* or NULL */
/* A shard's ready form of its tokenizer.json (libcore/text/ready.h), or NULL: not one of its files. */
const void *qz_source_ready(const struct qz_source *s, size_t *n);
/* All tensors in the order in which they will come (name, dtype, dims, sections as stored in the source),
 * or NULL when the source shows them only as it is read. */
const struct qz_tensor *qz_source_manifest(const struct qz_source *s, size_t *n);

/* What a GGUF file says about itself, NULL for other kinds; and the values of its rope_freqs.weight, n of them,
 * NULL when it has none. */
const struct qz_gguf *qz_source_gguf(const struct qz_source *s);
const float *qz_source_rope_freqs(const struct qz_source *s, uint64_t *n);
/* Before the first tensor: a GGUF file's tensors come sorted by their names in it. */
int qz_source_sort(
    struct qz_source *s, int (*compare)(const char *a, const char *b), struct qz_err *e);

/* The next tensor, checked against the config: 1, 0 at the end (all the model's tensors were there), -1. */
int qz_source_next(struct qz_source *s, const struct qz_tensor **t, struct qz_err *e);
/* The next n bytes of its data: sections one after another with padding, as the tensor's plan says. */
int qz_source_read(struct qz_source *s, void *data, size_t n, struct qz_err *e);
/* Or, before any of it is read: 1: any thread may read and check the data (p, to be freed; it must not outlive s)
 * while the source goes on, and the digest is known already; 0: this source, or this tensor, has to be read here. */
int qz_source_later(struct qz_source *s, struct qz_shard_part *p, struct qz_err *e);
/* After all of its data is read: XXH3-64 of the 16- or 32-bit bytes that the tensor was made from: the
 * data itself for plain types, the digest that the shard carries for others; 0 when it is not known
 * (a quantized source that does not say, such as GGUF blocks or bnb-4bit: then of the data as it lies). */
uint64_t qz_source_digest(struct qz_source *s);
/* Before the first tensor: nobody will ask for digests, so data is hashed only where this checks it.  Those of this
 * source are 0 from here on, unless a shard carries them. */
void qz_source_undigested(struct qz_source *s);
/* Provenance chain of a shard source ("[]" for others), and the digest of all that was read, both known
 * at the end. */
const char *qz_source_provenance(const struct qz_source *s);
struct qz_digest qz_source_total(const struct qz_source *s);

#endif
