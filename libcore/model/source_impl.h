/* source_impl - what the kinds of sources share; for source*.c alone.
 *
 * A kind gives the tensors one by one as they lie, with Hugging Face names; source.c checks them against
 * the config, sees that none is missing or twice, hashes what is read and leaves out what is no weight.
 * Every failure that a kind reports already names the file it is about. */
#ifndef QZ_SOURCE_IMPL_H
#define QZ_SOURCE_IMPL_H

#include "libcore/base/arena.h"
#include "libcore/base/hash.h"
#include "libcore/io/in.h"
#include "libcore/model/source.h"

struct source_ops {
	const char *kind;
	/* The next tensor, planned; its name lasts until the next call.  1, 0, -1. */
	int (*next)(struct qz_source *s, struct qz_tensor *t, struct qz_err *e);
	/* The next n bytes of its data, of t->nbytes in all. */
	int (*read)(struct qz_source *s, void *data, size_t n, struct qz_err *e);
	/* Passes the n bytes that are left of it (n may be 0): then everything about it is known. */
	int (*finish)(struct qz_source *s, uint64_t n, struct qz_err *e);
	/* NULL, or the digest of the tensor that the source carries; 0: none. */
	uint64_t (*digest)(struct qz_source *s);
	/* NULL, or qz_source_later() of the current tensor, of which nothing has been read. */
	int (*later)(struct qz_source *s, struct qz_shard_part *p, struct qz_err *e);
	/* NULL, or what a shard says: its chain, and the digest of the whole at the end. */
	const char *(*provenance)(const struct qz_source *s);
	struct qz_digest (*total)(const struct qz_source *s);
	void (*close)(struct qz_source *s);
};

struct qz_source {
	const struct source_ops *ops;
	void *impl;
	char *name;
	bool is_stdin; /* read forwards, so that a pipe and a file give the same */
	struct qz_arena arena;

	struct qz_config config;
	bool has_config;
	struct qz_source_file *files;
	struct qz_buf *files_data; /* theirs */
	size_t n_files;
	uint64_t files_nbytes;
	struct qz_buf ready;

	struct qz_tensor *manifest; /* NULL: not known */
	size_t n_manifest;

	uint8_t *seen; /* [layers][QZ_ROLE_END], roles outside layers in row 0 */
	uint64_t n_seen;
	struct qz_tensor t; /* the current one */
	uint64_t left;      /* bytes of its data not read yet */
	bool undigested;    /* data is hashed only for what is compared here */
	bool open, whole;   /* a tensor is current; all of it has been hashed */
	struct qz_hash *hash;
	struct qz_digest total;
	uint64_t digest, data_digest; /* what it was made from; what is here */
	uint64_t embed, head; /* digests, to compare a head that is stored although it is tied */
	struct {
		bool open;
		int fd;
		uint64_t nbytes;
		char path[40]; /* opens it */
	} spool;
};

/* ---- files that go with the weights (source_files.c) ---- */

enum { SOURCE_FILES_MAX = 1 << 28 }; /* bytes of all of them */
/* The most bytes that a file of this name may have, 0: it is not carried. */
size_t source_file_max(const char *name);
/* Name i of the table of carried files, NULL past its end; chat templates in a folder of their own (templates.h) are
 * carried, too. */
const char *source_file_name(size_t i);
/* Is it a file that may be left out when it is larger than that? */
bool source_file_optional(const char *name);
/* Takes what is in data; config.json is parsed, and loses its quantization_config: tensors say how they are
 * stored. */
int source_add_file(struct qz_source *s, const char *name, struct qz_buf *data, struct qz_err *e);

/* ---- names ---- */

/* Is it something that old checkpoints store and that is no weight? */
bool source_is_junk(const char *name);
/* Orders tensors as the model has them: embedding, layers, norm, head. */
uint64_t source_order(const char *name);
/* Checks what the source will give against the config: shapes, none missing, none twice. */
int source_set_manifest(struct qz_source *s, const struct qz_tensor *t, size_t n, struct qz_err *e);

/* ---- what must wait lies in a file without a name, in $TMPDIR or /tmp (source_spool.c) ---- */

int source_spool_open(struct qz_source *s, struct qz_err *e); /* again: nothing happens */
int source_spool_add(struct qz_source *s, const void *data, size_t n, struct qz_err *e);
void source_spool_close(struct qz_source *s);

/* ---- safetensors at known places (source_parts.c): a folder's, or spooled ones ---- */

struct parts;
struct parts *parts_new(struct qz_err *e);
void parts_free(struct parts *p);
/* A file, or size bytes at base of one.  path must be one that can be opened; name is for messages. */
int parts_add(struct parts *p, const char *path, const char *name, uint64_t base, uint64_t size,
    struct qz_err *e);
/* After the last: tensors are found and put in order.  s->config is known. */
int parts_finish(struct parts *p, struct qz_source *s, struct qz_err *e);
/* In which file is the tensor?  Its name as given, or NULL. */
const char *parts_file_of(const struct parts *p, const char *tensor);
int parts_next(struct parts *p, struct qz_tensor *t, struct qz_err *e);
int parts_read(struct parts *p, void *data, size_t n, struct qz_err *e);
/* Does a header have bitsandbytes' keys? */
struct qz_st;
bool parts_is_bnb(const struct qz_st *st);

/* ---- the kinds ---- */

int source_open_folder(struct qz_source *s, const char *path, struct qz_err *e);
int source_open_gguf(struct qz_source *s, struct qz_in *in, struct qz_err *e);    /* takes in */
int source_open_shard(struct qz_source *s, struct qz_in *in, struct qz_err *e);   /* takes in */
int source_open_archive(struct qz_source *s, struct qz_in *in, struct qz_err *e); /* takes in */

#endif
