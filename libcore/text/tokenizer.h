/* tokenizer - text to token ids and back, exactly as the model's own files say.
 *
 * A tokenizer is normalizer -> pre-tokenizer -> model -> post-processor with added tokens cut out
 * first, as in Hugging Face's tokenizer.json; other sources (GGUF vocabularies, tokenizer.model) are
 * turned into the same parts.  A part that is not known is an error that names it.
 * After loading a tokenizer is read-only: threads may share it, each with its own struct
 * qz_encoding.  Ids are uint32_t. */
#ifndef QZ_TOKENIZER_H
#define QZ_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"
#include "libcore/base/hash.h"
#include "libcore/base/json.h"

struct qz_tokenizer;

/* What a model carries, by file name; NULL members are absent.  Borrowed during the call only. */
enum qz_text_file {
	QZ_TEXT_JSON,   /* tokenizer.json */
	QZ_TEXT_CONFIG, /* tokenizer_config.json: bos/eos/pad names, add_bos_token */
	QZ_TEXT_SPM,    /* sentencepiece's tokenizer.model; read where there is no tokenizer.json */
	QZ_TEXT_TEKKEN, /* Mistral's tekken.json; read where there is no tokenizer.json */
	QZ_TEXT_FILES
};
extern const char *const qz_text_file_names[QZ_TEXT_FILES];
struct qz_text_files {
	struct {
		const char *s;
		size_t n;
	} file[QZ_TEXT_FILES];
	struct {
		const char *s;
		size_t n;
	} ready; /* what qz_ready_make() made of tokenizer.json, or NULL; aligned to 8, it outlives the tokenizer */
};

/* NULL with a message that names the part that is wrong or not supported. */
struct qz_tokenizer *qz_tokenizer_load(const struct qz_text_files *f, struct qz_err *e);
void qz_tokenizer_free(struct qz_tokenizer *t);
/* Of the one file that it was read from. */
struct qz_digest qz_tokenizer_digest(const struct qz_tokenizer *t);

enum qz_special {
	QZ_SPECIAL_NONE = 0,
	QZ_SPECIAL_ADD = 1,   /* what the post-processor adds (BOS ...) */
	QZ_SPECIAL_PARSE = 2, /* the text of a special token is that token; else it is plain text */
};

/* Bytes at .. at+n of a text. */
struct qz_span {
	size_t at, n;
};

struct qz_encoding {
	uint32_t *ids;
	size_t *
	    ends; /* per id: offset in the text (as it was given, before any normalizer) just past the
	               * last byte that the token stands for; tokens that the post-processor adds at the
	               * start have 0, at the end the text's length; a mark that a
	               * normalizer or pre-tokenizer puts before text ends with that text's
	               * first byte, parts of a character it composed all end where it ends */
	size_t n, cap;         /* n < cap after qz_encode: one more may be added */
	size_t plain_specials; /* added to: texts of special tokens that plain spans made plain */
	struct qz_scratch *scratch; /* the tokenizer's; freed by qz_encoding_free */
};

/* Appends the ids of s[0..n), valid UTF-8, to enc (zeroed to start).  flags: qz_special, or'ed.
 * plain: ascending spans in which the text of special tokens stays plain text even under
 * QZ_SPECIAL_PARSE (a user's own fields): a special token is one only where none of its bytes lies in a
 * plain span.  Everything else is as if the text were encoded in one piece. */
int qz_encode(const struct qz_tokenizer *t, const char *s, size_t n, unsigned flags,
    const struct qz_span *plain, size_t n_plain, struct qz_encoding *enc, struct qz_err *e);
void qz_encoding_free(struct qz_encoding *enc);

/* The text of ids, by the tokenizer's decoder; special tokens are left out when skip_special.
 * An id without a token is an error. */
int qz_decode(const struct qz_tokenizer *t, const uint32_t *ids, size_t n, bool skip_special,
    struct qz_buf *out, struct qz_err *e);

uint32_t qz_vocab_size(const struct qz_tokenizer *t); /* largest id + 1 */
/* The vocabulary's own text of an id ("Ġthe", "<0x0A>", "<|im_end|>"), or NULL for a gap. */
const char *qz_vocab_text(const struct qz_tokenizer *t, uint32_t id, size_t *n);
/* The id of exactly that text, added tokens first; -1 when there is none. */
int64_t qz_vocab_id(const struct qz_tokenizer *t, const char *s, size_t n);
bool qz_vocab_is_special(const struct qz_tokenizer *t, uint32_t id);
bool qz_vocab_is_added(const struct qz_tokenizer *t, uint32_t id);
/* Ids named by tokenizer_config.json (bos_token, eos_token, pad_token, unk_token), or -1. */
int64_t qz_vocab_bos(const struct qz_tokenizer *t);
int64_t qz_vocab_eos(const struct qz_tokenizer *t);
int64_t qz_vocab_pad(const struct qz_tokenizer *t);
int64_t qz_vocab_unk(const struct qz_tokenizer *t);

#endif
