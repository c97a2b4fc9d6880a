/* gguf_name - general.name and its parts from what a model's folder is called.
 * "Mistral-7B-Instruct-v0.2" is basename Mistral, size 7B, finetune Instruct, version v0.2.  The rules
 * are those of gguf-py's Metadata (get_model_id_components), so that names are as users of llama.cpp
 * know them. */
#ifndef QZ_GGUF_NAME_H
#define QZ_GGUF_NAME_H

#include <stdint.h>

enum { QZ_GGUF_NAME_LEN = 256 };

struct qz_gguf_name {                 /* "" for a part that is not known */
	char title[QZ_GGUF_NAME_LEN]; /* "Mistral 7B Instruct v0.2" */
	char organization[QZ_GGUF_NAME_LEN];
	char basename[QZ_GGUF_NAME_LEN];
	char finetune[QZ_GGUF_NAME_LEN];
	char version[QZ_GGUF_NAME_LEN];
	char size[QZ_GGUF_NAME_LEN];
};

/* id: "Mistral-7B-Instruct-v0.2" or "mistralai/Mistral-...".  n_params tells a size from a context
 * length (0: not known, negative: of an adapter).  Ids longer than the fields are cut. */
void qz_gguf_name(struct qz_gguf_name *out, const char *id, int64_t n_params);
/* "260K", "1.1B": two digits at least. */
void qz_gguf_size_label(uint64_t n_params, char out[32]);

#endif
