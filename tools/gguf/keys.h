/* keys - the keys of the file: those of the GGUF file that is the source, or made from a model's files as
 * llama.cpp's converter makes them; then what the user sets. */
#ifndef QZ_GGUF_TOOL_KEYS_H
#define QZ_GGUF_TOOL_KEYS_H

#include "libcore/format/gguf_write.h"
#include "libcore/model/gguf_meta.h"
#include "tools/gguf/plan.h"

struct keys {
	struct qz_gguf_meta meta;
	const struct qz_imatrix *imatrix; /* NULL: none */
	const char *imatrix_path;
	const char *const *set; /* KEY=VALUE or KEY=TYPE:VALUE */
	size_t n_set;
	size_t n_padding; /* out: tokens that only fill up the vocabulary */
};

/* QZ_EUSAGE: a setting that is none, QZ_EDATA: the source's files. */
int keys_put(struct qz_ggufw *g, struct keys *k, const struct qz_source *s, struct qz_err *e);

/* KEY=VALUE of --set.  A key that is there keeps its type. */
int keys_set(struct qz_ggufw *g, const char *setting, struct qz_err *e);

/* general.file_type once more, as the last key: types are chosen after the keys are made. */
void keys_set_ftype(struct qz_ggufw *g, int ftype);

#endif
