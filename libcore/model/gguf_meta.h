/* gguf_meta - the keys of a GGUF file for a model or an adapter, in the order of llama.cpp's converter
 * (2026): names, hyperparameters, file type, tokenizer. */
#ifndef QZ_GGUF_META_H
#define QZ_GGUF_META_H

#include "libcore/format/gguf_write.h"
#include "libcore/model/config.h"
#include "libcore/model/source.h"

struct qz_gguf_meta {
	const struct qz_config *config;
	const struct qz_source_file *files;
	size_t n_files;
	/* A name, and what is in it, comes from the model's card, the config's _name_or_path, or this, what its
	 * folder is called; the first that has it.  NULL: not known. */
	const char *id;
	const char *title; /* general.name as it stands, or NULL */
	uint64_t n_params;
	int ftype;                  /* general.file_type */
	struct qz_buf *differences; /* out, or NULL: gguf_differ.h's lines */
	struct qz_buf
	    *card_wrong; /* out, or NULL: why the model's card could not be read and is left out */
};

/* Adds all keys.  n_padding, when not NULL: how many tokens only fill up the vocabulary. */
int qz_gguf_meta_put(
    struct qz_ggufw *g, const struct qz_gguf_meta *m, size_t *n_padding, struct qz_err *e);

/* Keys of a LoRA: no hyperparameters, no tokenizer. */
void qz_gguf_meta_put_adapter(
    struct qz_ggufw *g, const struct qz_config *c, const char *id, const char *title, float alpha);

/* llama3 rope scaling: what each of the head_dim/2 frequencies is divided by. */
void qz_gguf_rope_factors(const struct qz_config *c, float *factors);

/* Rows of a q or k projection (weight, bias, LoRA B) in llama.cpp's order.  Row 2i+s of a head comes from
 * row s*half+i: its rotation works on neighbours, Hugging Face's on halves. */
uint64_t qz_gguf_row(uint64_t row, uint64_t head_dim);

#endif
