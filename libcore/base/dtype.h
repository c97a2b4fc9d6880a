/* dtype - how the numbers of a tensor are stored.  One row a type; the numbers of the enum are
 * written into shards (qz-shard(5)) and never change.
 *
 * A type is a sequence of blocks of `block` elements in `bytes` bytes.  Plain types have blocks of
 * one.  The ggml block types carry their scales inside the block.  NF4, FP4 and INT8 keep scales in
 * sections of their own (struct qz_mat, kernels/kernels.h): here `bytes` counts their codes only. */
#ifndef QZ_DTYPE_H
#define QZ_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

enum qz_dtype {
	QZ_F32 = 1,
	QZ_F16 = 2,
	QZ_BF16 = 3,
	QZ_F64 = 4,
	QZ_U8 = 8,
	QZ_I32 = 9,
	QZ_U64 = 10,
	QZ_NF4 = 16, /* bitsandbytes 4-bit normal float; element 2i in the high nibble */
	QZ_FP4 = 17,
	QZ_INT8 = 18, /* rows scaled by absmax / 127 */
	QZ_Q4_0 = 32, /* ggml block types: research and layout in gguf(5) terms */
	QZ_Q4_1 = 33,
	QZ_Q5_0 = 34,
	QZ_Q5_1 = 35,
	QZ_Q8_0 = 36,
	QZ_Q2_K = 40,
	QZ_Q3_K = 41,
	QZ_Q4_K = 42,
	QZ_Q5_K = 43,
	QZ_Q6_K = 44,
	QZ_IQ4_NL = 45,
	QZ_IQ4_XS = 46,
	QZ_DTYPE_END = 64,
};

struct qz_dtype_info {
	const char *name; /* "bf16", as on the command line */
	const char *st;   /* the safetensors name, or NULL */
	int ggml;         /* ggml_type, or -1 */
	int ftype;        /* general.file_type of a GGUF that is mostly of this type, or -1 */
	uint32_t block;   /* elements a block */
	uint32_t bytes;   /* bytes a block; NF4 and FP4: 1 byte for 2 elements */
	bool plain;       /* a float type that casts to and from f32 element by element */
	bool scaled;      /* scales live in sections of their own */
};

/* NULL for a number that is no type. */
const struct qz_dtype_info *qz_dtype(unsigned type);
/* By command-line name, safetensors name or ggml number; 0 when there is none. */
enum qz_dtype qz_dtype_by_name(const char *name);
enum qz_dtype qz_dtype_by_st(const char *name);
enum qz_dtype qz_dtype_by_ggml(uint32_t ggml);
/* Bytes of n elements (codes only for scaled types; a last, short block of those counts whole).
 * True when it overflows or a ggml type's n is no multiple of its block. */
bool qz_dtype_nbytes(enum qz_dtype type, uint64_t n, uint64_t *nbytes);

#endif
