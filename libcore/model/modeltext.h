/* modeltext - the text side of a model: its tokenizer and its chat template, from the files it carries.
 * Of its chat templates (templates.h) "default" is taken, and "tool_use" where a conversation has tools. */
#ifndef QZ_MODELTEXT_H
#define QZ_MODELTEXT_H

#include "libcore/model/source.h"
#include "libcore/shard/writer.h"
#include "libcore/text/chat.h"
#include "libcore/text/tokenizer.h"

struct qz_model_text {
	struct qz_tokenizer *tokenizer;
	struct qz_template *template, *tool_template; /* NULL: the model has none */
	struct qz_text_files files; /* as the model has them; of the tokenizer, those in use */
	struct qz_buf folder[QZ_TEXT_FILES]; /* whose they are */
	struct qz_source *source;            /* or whose, NULL: not ours */
	int64_t rows;                        /* of the embedding, -1: not known here */
	char *bos, *eos, *pad, *unk; /* texts of the special tokens, "" where there is none */
};

/* From an open source, which outlives it; every file that matters must have been seen (qz_source_files). */
int qz_model_text_load(struct qz_model_text *m, const struct qz_source *s, struct qz_err *e);
/* From a path: any MODEL, or a folder that holds tokenizer files only. */
int qz_model_text_open(struct qz_model_text *m, const char *path, struct qz_err *e);
/* Writes the source's files from the n_files-th on, which it counts up, as blobs: more of them may become known
 * while a source is read.  config: what config.json is to say, or NULL.  Behind a tokenizer.json, or a
 * tekken.json where there is none, stands its ready form. */
int qz_model_text_put(struct qz_shard_writer *w, const struct qz_source *s,
    const struct qz_buf *config, size_t *n_files, struct qz_err *e);
void qz_model_text_free(struct qz_model_text *m);

#endif
