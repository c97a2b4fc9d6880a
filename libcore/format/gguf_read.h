/* gguf_read - what stands before the data of a GGUF file: keys with values, and a table of tensors.
 *
 * GGUF v2 and v3, little-endian.  Every count is checked against what is left of the file before
 * anything is allocated for it.  What a reader refuses is what ggml's own does (research: ggml's
 * gguf.cpp), and tensors that do not lie in the file.  Strings may hold any bytes but NUL.
 * Everything belongs to the struct and lasts until qz_gguf_free(). */
#ifndef QZ_GGUF_READ_H
#define QZ_GGUF_READ_H

#include <stdbool.h>

#include "libcore/base/arena.h"
#include "libcore/base/buf.h"
#include "libcore/io/in.h"
#include "libcore/shard/shard.h"

enum qz_gguf_type {
	QZ_GGUF_U8,
	QZ_GGUF_I8,
	QZ_GGUF_U16,
	QZ_GGUF_I16,
	QZ_GGUF_U32,
	QZ_GGUF_I32,
	QZ_GGUF_F32,
	QZ_GGUF_BOOL,
	QZ_GGUF_STRING,
	QZ_GGUF_ARRAY,
	QZ_GGUF_U64,
	QZ_GGUF_I64,
	QZ_GGUF_F64,
	QZ_GGUF_TYPES
};

struct qz_gguf_kv {
	const char *key;
	enum qz_gguf_type type; /* of an array: of its elements */
	bool array;
	uint64_t n;          /* elements, 1 for a scalar */
	const uint8_t *data; /* as it stands in the file; strings with their lengths */
	size_t nbytes, at;   /* and where it stands in the file */
};

struct qz_gguf_tensor {
	const char *name;
	enum qz_dtype dtype;
	int n_dims;
	uint64_t dims[QZ_DIMS_MAX]; /* torch's order: reversed from the file's */
	uint64_t offset, nbytes;    /* from the file's start */
};

struct qz_gguf {
	uint32_t version;
	uint32_t alignment;
	struct qz_gguf_kv *kv;
	size_t n_kv;
	struct qz_gguf_tensor *tensors; /* in the file's order */
	size_t n_tensors;
	uint64_t data;      /* where tensor data start */
	struct qz_buf text; /* all of the file before the data */
	struct qz_arena arena;
};

/* A key of qz-gguf's: XXH3-128 of the data of the tensors of a file, in order and without what pads them, as 32 hex
 * digits.  ggml's format has no checksum of its own. */
#define QZ_GGUF_DIGEST "qz.data.xxh3_128"

/* From the start of a file (not a pipe: its size must be known).  g zeroed. */
int qz_gguf_read(struct qz_gguf *g, struct qz_in *in, struct qz_err *e);
void qz_gguf_free(struct qz_gguf *g);

const char *qz_gguf_type_name(enum qz_gguf_type t);
const struct qz_gguf_kv *qz_gguf_find(const struct qz_gguf *g, const char *key); /* or NULL */
/* A scalar number as a double, exact for whole numbers below 2^53; element i of an array. */
double qz_gguf_number(const struct qz_gguf_kv *kv, uint64_t i);
/* The key's value; -1 with a message when it is of another kind or out of range; *v is left alone and
 * 0 returned when the key is missing, 1 when it was there. */
int qz_gguf_int(
    const struct qz_gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *v, struct qz_err *e);
int qz_gguf_real(const struct qz_gguf *g, const char *key, double *v, struct qz_err *e);
int qz_gguf_bool(const struct qz_gguf *g, const char *key, bool *v, struct qz_err *e);
/* NUL-terminated, valid UTF-8. */
int qz_gguf_string(const struct qz_gguf *g, const char *key, const char **v, struct qz_err *e);
/* An array of strings: *strings (each NUL-terminated) and *lens of *n, in g's arena. */
int qz_gguf_strings(struct qz_gguf *g, const char *key, const char *const **strings,
    const size_t **lens, uint64_t *n, struct qz_err *e);
const struct qz_gguf_tensor *qz_gguf_tensor(
    const struct qz_gguf *g, const char *name); /* or NULL */

#endif
