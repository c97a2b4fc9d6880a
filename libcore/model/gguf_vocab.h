/* gguf_vocab - a model's tokenizer files as the keys that llama.cpp reads.
 *
 * tokenizer.model gives a "llama" vocabulary (pieces and scores as they are); tokenizer.json gives one
 * when its model falls back to bytes (scores are minus the rank of the merge that makes the piece,
 * because llama.cpp merges by score), and a "gpt2" one when it works on bytes.  What llama.cpp
 * cannot do is an error that names the part of tokenizer.json.  Facts: conversion/ and gguf-py of
 * llama.cpp, and src/llama-vocab.cpp for what is done with the keys. */
#ifndef QZ_GGUF_VOCAB_H
#define QZ_GGUF_VOCAB_H

#include "libcore/base/arena.h"
#include "libcore/base/json.h"
#include "libcore/format/gguf_write.h"
#include "libcore/model/config.h"
#include "libcore/model/source.h"
#include "libcore/model/templates.h"

enum { /* tokenizer.ggml.token_type */
	QZ_TOKEN_NORMAL = 1,
	QZ_TOKEN_UNKNOWN,
	QZ_TOKEN_CONTROL,
	QZ_TOKEN_USER,
	QZ_TOKEN_UNUSED,
	QZ_TOKEN_BYTE
};

/* The files that matter, found among a source's; NULL members are absent.  Borrowed. */
struct qz_vocab_files {
	const struct qz_source_file *spm;       /* tokenizer.model */
	const struct qz_source_file *tokenizer; /* tokenizer.json */
	const struct qz_source_file *options;   /* tokenizer_config.json */
	const struct qz_source_file *added;     /* added_tokens.json */
	const struct qz_source_file *all;       /* n of them, for chat templates */
	size_t n;
};

enum { QZ_GGUF_SPECIALS = 8, QZ_GGUF_FLAGS = 3 };

struct qz_gguf_vocab {
	const char *model; /* tokenizer.ggml.model: "llama", "gpt2" */
	const char *pre;   /* tokenizer.ggml.pre */
	size_t n;          /* tokens: as many as the embedding has rows */
	struct qz_gguf_text *tokens;
	float *scores; /* "llama" only */
	int32_t *types;
	size_t n_padding;            /* tokens that only fill up: [PAD7] */
	struct qz_gguf_text *merges; /* "gpt2" only: "left right" */
	size_t n_merges;
	int add_space_prefix; /* -1: llama.cpp's default */

	struct {
		const char *key;
		uint32_t id;
	} special[QZ_GGUF_SPECIALS];
	size_t n_special;
	struct {
		const char *key;
		bool value;
	} flags[QZ_GGUF_FLAGS];
	size_t n_flags;
	struct qz_templates templates;

	struct qz_arena arena;               /* holds the texts */
	struct qz_json *tokenizer, *options; /* tokenizer.json, tokenizer_config.json */
};

/* Reads the files into v (zeroed by the call).  QZ_EDATA when there is no vocabulary, or none that
 * llama.cpp has a name for, or more tokens than the embedding has rows. */
int qz_gguf_vocab_load(struct qz_gguf_vocab *v, const struct qz_vocab_files *f,
    const struct qz_config *c, struct qz_err *e);
void qz_gguf_vocab_free(struct qz_gguf_vocab *v);
/* Adds the tokenizer.* keys. */
void qz_gguf_vocab_put(const struct qz_gguf_vocab *v, struct qz_ggufw *g);

/* The name of a byte-level tokenizer.json's pre-tokenizer, by its structure: "qwen2".  NULL and QZ_EDATA that
 * spells the structure out when it has no name in the table. */
const char *qz_gguf_pre(const struct qz_json *tokenizer, struct qz_err *e);

/* Special ids, flags and templates of v from v->tokenizer, v->options and c. */
int qz_gguf_specials(struct qz_gguf_vocab *v, const struct qz_vocab_files *f,
    const struct qz_config *c, struct qz_err *e);

#endif
