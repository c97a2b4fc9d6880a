/* bnb - how bitsandbytes lays a 4-bit matrix M.weight into safetensors: a handful of keys
 * (research by key in bitsandbytes' QuantState.as_dict(packed=True)):
 *
 *   M.weight                 the codes, [n/2, 1], as U8 or as the same bytes in a wider type
 *   M.weight.absmax          block constants: F32, or U8 codes when nested
 *   M.weight.quant_map       F32 [16]
 *   M.weight.nested_absmax, M.weight.nested_quant_map   F32, when nested
 *   M.weight.quant_state.bitsandbytes__nf4 (or __fp4)   JSON in U8: struct qz_bnb_state */
#ifndef QZ_BNB_H
#define QZ_BNB_H

#include "libcore/base/buf.h"
#include "libcore/shard/shard.h"

struct qz_bnb_state {
	enum qz_dtype type;           /* QZ_NF4, QZ_FP4 */
	enum qz_dtype dtype;          /* what it dequantizes to */
	uint32_t block, nested_block; /* nested_block 0: not nested */
	float offset;
	int n_dims;
	uint64_t dims[QZ_DIMS_MAX];
};

/* The suffixes after "M.weight", by section; the state's has the type at its end. */
const char *qz_bnb_suffix(enum qz_section_kind kind);
#define QZ_BNB_STATE ".quant_state.bitsandbytes__"

int qz_bnb_parse(struct qz_bnb_state *s, const char *text, size_t n, struct qz_err *e);
/* As Python's json.dumps writes it, in bitsandbytes' order of keys. */
void qz_bnb_put(const struct qz_bnb_state *s, struct qz_buf *out);

/* The members of config.json's "quantization_config", as transformers writes them.  compute: what
 * products are computed in; skipped: "null", or a JSON array of the modules that are not quantized. */
void qz_bnb_config_put(struct qz_buf *out, enum qz_dtype type, bool nested, enum qz_dtype compute,
    const char *skipped);

#endif
