/* safetensors - Hugging Face's tensor file: u64 length of a JSON header, the header, the data.
 *
 *   {"name": {"dtype": "BF16", "shape": [rows, cols], "data_offsets": [begin, end]}, ...,
 *    "__metadata__": {"format": "pt"}}
 *
 * Offsets count from the end of the header.  A reader gets the header from wherever it reads; here it
 * is checked: every size follows from type and shape, and the tensors cover the data without gap or
 * overlap.  Format: github.com/huggingface/safetensors, README. */
#ifndef QZ_SAFETENSORS_H
#define QZ_SAFETENSORS_H

#include "libcore/base/arena.h"
#include "libcore/io/in.h"
#include "libcore/io/out.h"
#include "libcore/shard/shard.h"

enum { QZ_ST_HEADER_MAX = 100000000 }; /* the format's own limit */

struct qz_st_tensor {
	const char *name;
	const char *type;    /* "BF16" */
	enum qz_dtype dtype; /* 0: a type that only other programs use */
	int n_dims;
	uint64_t dims[QZ_DIMS_MAX];
	uint64_t begin, end; /* in the data */
};

struct qz_st {                        /* zeroed: empty */
	struct qz_st_tensor *tensors; /* ascending by begin */
	size_t n;
	uint64_t data;   /* where the data starts: 8 + the header's length */
	uint64_t nbytes; /* of the data */
	struct qz_arena arena;
};

/* The first eight bytes: *n is the header's length.  file_size: -1 when not known. */
int qz_st_length(const uint8_t first[8], int64_t file_size, uint64_t *n, struct qz_err *e);
/* The header's text.  file_size: -1 when not known; else the data must end with the file. */
int qz_st_parse(struct qz_st *s, const char *text, size_t n, int64_t file_size, struct qz_err *e);
/* Both, from the start of a stream, which stands at the data afterwards. */
int qz_st_read(struct qz_st *s, struct qz_in *in, struct qz_err *e);
void qz_st_free(struct qz_st *s);
/* By name, or NULL. */
const struct qz_st_tensor *qz_st_find(const struct qz_st *s, const char *name);

/* Length and header for tensors whose data follow each other in this order; begin and end are not
 * read.  A loader looks at data in place, so wider types should come before narrower ones. */
int qz_st_put(struct qz_buf *out, const struct qz_st_tensor *t, size_t n, struct qz_err *e);
/* Bytes of a tensor's data; true when it does not fit or the type is not known. */
bool qz_st_nbytes(const struct qz_st_tensor *t, uint64_t *nbytes);

#endif
