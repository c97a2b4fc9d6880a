/* mixture - names like q4_k_m: a type for most matrices, and rules that give some matrices more bits.  The
 * rules are llama-quantize's (llama-quant.cpp of llama.cpp b4748, llama_tensor_get_type). */
#ifndef QZ_GGUF_TOOL_MIXTURE_H
#define QZ_GGUF_TOOL_MIXTURE_H

#include "libcore/model/config.h"

struct mixture {
	const char *name;
	enum qz_dtype type; /* of most matrices */
	int ftype;          /* general.file_type: llama.h, enum llama_ftype */
};

#define MIXTURE_NAMES                                                                              \
	"f32|f16|bf16|q8_0|q4_0|q4_1|q5_0|q5_1|q2_k|q2_k_s|q3_k_s|q3_k_m|q3_k_l|q4_k_s|q4_k_m|"    \
	"q5_k_s|q5_k_m|q6_k|iq4_nl|iq4_xs"

/* In letters of either case; q3_k, q4_k and q5_k are their _m.  NULL: there is none. */
const struct mixture *mixture_find(const char *name);

/* The type of a matrix of config c, before rows that do not fit are looked at.  cols: its row length;
 * importance: is there a matrix of it? */
enum qz_dtype mixture_type(const struct mixture *m, const struct qz_config *c, enum qz_role role,
    int layer, uint64_t cols, bool importance);

/* type, or what llama-quantize takes where rows of cols elements are no whole blocks of it: f16 in the end. */
enum qz_dtype mixture_fit(enum qz_dtype type, uint64_t cols);

#endif
