/* shard - the words of the format that qz-shard(5) describes: constants and structs that reader and
 * writer share.  The page is normative; this file follows it.
 *
 *   preamble 64 | record | record | ... | end record
 *   record = header 64 | table | meta | data | seal 64        each part padded with zeros to 64
 *
 * Everything is little-endian.  Offsets count from the preamble of their own shard. */
#ifndef QZ_SHARD_H
#define QZ_SHARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/dtype.h"
#include "libcore/base/hash.h"
#include "kernels/kernels.h"

#define QZ_SHARD_MAGIC "\x89QZS\r\n\x1a\n"
enum {
	QZ_SHARD_MAJOR = 1,
	QZ_SHARD_MINOR = 0,
	QZ_SHARD_ALIGN = 64,
	QZ_TABLE_MAX = 1 << 26, /* bytes of a record's table */
	QZ_META_MAX = 1 << 26,  /* bytes of a record's JSON */
	QZ_NAME_LEN_MAX = 1024,
	QZ_DIMS_MAX = 4,
	QZ_SECTIONS_MAX = 8,
};

/* Record types: four letters. */
#define QZ_TAG(a, b, c, d)                                                                         \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
enum qz_record_type {
	QZ_REC_HEAD = QZ_TAG('H', 'E', 'A', 'D'),
	QZ_REC_BLOB = QZ_TAG('B', 'L', 'O', 'B'),
	QZ_REC_TENSOR = QZ_TAG('T', 'E', 'N', 'S'),
	QZ_REC_TOKENS = QZ_TAG('T', 'O', 'K', 'S'),
	QZ_REC_PROVENANCE = QZ_TAG('P', 'R', 'O', 'V'),
	QZ_REC_INDEX = QZ_TAG('I', 'N', 'D', 'X'),
	QZ_REC_END = QZ_TAG('E', 'N', 'D', ' '),
};

/* Flags that a reader must understand ... */
enum {
	QZ_FLAG_ZSTD = 1, /* data is one zstd frame */
	QZ_FLAG_PLANES =
	    2, /* inside it, 16-bit elements as two planes: low bytes, then high bytes */
	QZ_FLAG_REQUIRED = 0x8000, /* a reader that does not know the type must refuse the shard */
	QZ_FLAGS_KNOWN = QZ_FLAG_ZSTD | QZ_FLAG_PLANES | QZ_FLAG_REQUIRED,
};

enum qz_section_kind {
	QZ_SEC_DATA = 1,          /* the values or codes */
	QZ_SEC_ABSMAX = 2,        /* block constants: f32, or u8 codes under double quantization */
	QZ_SEC_NESTED_ABSMAX = 3, /* f32 */
	QZ_SEC_OFFSET = 4,        /* f32, one */
	QZ_SEC_MAP = 5,           /* f32[16] */
	QZ_SEC_NESTED_MAP = 6,    /* f32[256] */
	QZ_SEC_IDS = 16,          /* u32: token ids */
	QZ_SEC_MASK = 17,         /* u8: 1 where the token is a target */
	QZ_SEC_ROW_ENDS = 18,     /* u64: end of each row, in tokens of this record */
	QZ_SEC_DOC_ENDS = 19,     /* u64: end of each document; every row end is one */
};

struct qz_section {
	uint16_t kind;  /* enum qz_section_kind */
	uint16_t dtype; /* enum qz_dtype */
	uint64_t nbytes;
	uint64_t offset; /* from the start of the record's data; sections are padded to 64 */
};

/* What a tensor record's table says, and an entry of a manifest. */
struct qz_tensor {
	const char *name; /* Hugging Face's: "model.layers.0.self_attn.q_proj.weight" */
	enum qz_dtype dtype;
	int n_dims;
	uint64_t dims[QZ_DIMS_MAX];   /* torch's order: (rows, cols) for a matrix */
	uint32_t block, nested_block; /* of NF4 and FP4; else 0 */
	int n_sections;
	struct qz_section sections[QZ_SECTIONS_MAX];
	uint64_t nbytes; /* of the data, sections and padding between them */
};

/* Elements of t: product of dims; the reader has checked that it fits. */
uint64_t qz_tensor_count(const struct qz_tensor *t);
/* Fills block sizes, sections, offsets and nbytes from dtype, dims, block and nested_block (0: none).
 * -1 when the shape does not suit the type or is too large. */
int qz_tensor_plan(struct qz_tensor *t, struct qz_err *e);
/* The section of a kind, or NULL. */
const struct qz_section *qz_tensor_section(const struct qz_tensor *t, enum qz_section_kind kind);
/* The matrix as kernels see it, over data (t->nbytes bytes, host or device memory; `host` is the same
 * data readable here: the offset is read from it).  Vectors are matrices of one row. */
void qz_tensor_mat(const struct qz_tensor *t, const void *data, const void *host, struct qz_mat *m);

/* Counts in the end record. */
struct qz_shard_end {
	uint64_t records, tensors, blobs, rows, tokens, trained;
	uint64_t nbytes;       /* of the whole shard */
	uint64_t index_offset; /* of the index record, 0: none */
	struct qz_digest
	    digest; /* XXH3-128 of the preamble and of every seal before the end record */
};

#endif
