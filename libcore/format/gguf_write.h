/* gguf_write - a GGUF v3 file, forwards: keys, then what every tensor will be, then their data.
 *
 * Everything before the data is built in memory, so all sizes are known before the first byte goes out
 * and the file streams into a pipe.  A zeroed struct is empty and valid; qz_ggufw_free() at the end.
 * Running out of memory is kept and reported by qz_ggufw_begin().
 * Layout: docs/gguf.md of ggml; offsets and the end of the file are padded to 32. */
#ifndef QZ_GGUF_WRITE_H
#define QZ_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/dtype.h"
#include "libcore/io/out.h"

enum { QZ_GGUF_ALIGN = 32, QZ_GGUF_NAME_MAX = 63 };

struct qz_gguf_text { /* bytes, not NUL-terminated */
	const char *s;
	size_t n;
};

struct qz_ggufw {
	struct qz_buf kvs, infos;
	struct qz_buf key_at, info_at; /* size_t: where each begins */
	struct qz_buf sizes;           /* uint64_t: bytes of each tensor */
	uint64_t n_kvs, n_tensors;
	uint64_t data;            /* bytes of data, padding included */
	uint64_t tensor, written; /* while data is written: which, and how much of it */
};

void qz_ggufw_free(struct qz_ggufw *g);

/* Keys, in the order in which they will stand. */
void qz_ggufw_str(struct qz_ggufw *g, const char *key, const char *value);
void qz_ggufw_u16(struct qz_ggufw *g, const char *key, uint16_t value);
void qz_ggufw_u32(struct qz_ggufw *g, const char *key, uint32_t value);
void qz_ggufw_i32(struct qz_ggufw *g, const char *key, int32_t value);
void qz_ggufw_f32(struct qz_ggufw *g, const char *key, float value);
void qz_ggufw_bool(struct qz_ggufw *g, const char *key, bool value);
/* Arrays; an empty one is not written: readers differ on what it means. */
void qz_ggufw_texts(struct qz_ggufw *g, const char *key, const struct qz_gguf_text *v, size_t n);
void qz_ggufw_f32s(struct qz_ggufw *g, const char *key, const float *v, size_t n);
void qz_ggufw_i32s(struct qz_ggufw *g, const char *key, const int32_t *v, size_t n);

/* A key of another file, as it stands there. */
struct qz_gguf_kv;
void qz_ggufw_copy(struct qz_ggufw *g, const struct qz_gguf_kv *kv);
/* What a key is: a qz_gguf_type; QZ_GGUF_ARRAY, whatever of; -1: it is not there. */
int qz_ggufw_type(const struct qz_ggufw *g, const char *key);
/* Takes a key out again; false: it is not there. */
bool qz_ggufw_drop(struct qz_ggufw *g, const char *key);

/* The next tensor.  dims in torch's order (rows, cols), n_dims 1..4.  QZ_EDATA when the name is too
 * long for llama.cpp, the type has no GGUF number, or a row is no multiple of its block. */
int qz_ggufw_tensor(struct qz_ggufw *g, const char *name, enum qz_dtype type, const uint64_t *dims,
    int n_dims, struct qz_err *e);

/* Where the value of the last key ends. */
uint64_t qz_ggufw_keys_end(const struct qz_ggufw *g);
uint64_t qz_ggufw_header_nbytes(const struct qz_ggufw *g); /* up to the data */
uint64_t qz_ggufw_nbytes(const struct qz_ggufw *g);        /* the whole file */

/* Writes everything up to the data.  QZ_EDATA when a key or a tensor name is there twice. */
int qz_ggufw_begin(struct qz_ggufw *g, struct qz_out *o, struct qz_err *e);
/* The next n bytes of the tensors' data, in order; padding is put in where a tensor ends. */
int qz_ggufw_write(
    struct qz_ggufw *g, struct qz_out *o, const void *data, size_t n, struct qz_err *e);
/* Every tensor has had all of its data, or QZ_EDATA. */
int qz_ggufw_end(const struct qz_ggufw *g, struct qz_err *e);

#endif
