/* spm - the pieces of a sentencepiece tokenizer.model: text, score and kind of each token; and how it
 * normalizes text.  The file is a protocol buffer, of which this is read (sentencepiece_model.proto):
 * ModelProto.pieces = 1 {piece = 1, score = 2, type = 3}, trainer_spec = 2 {model_type = 3,
 * treat_whitespace_as_suffix = 24, byte_fallback = 35}, normalizer_spec = 3 {precompiled_charsmap = 2,
 * add_dummy_prefix = 3, remove_extra_whitespaces = 4, escape_whitespaces = 5}. */
#ifndef QZ_SPM_H
#define QZ_SPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/err.h"

enum { QZ_SPM_NORMAL = 1, QZ_SPM_UNKNOWN, QZ_SPM_CONTROL, QZ_SPM_USER, QZ_SPM_UNUSED, QZ_SPM_BYTE };
enum { QZ_SPM_UNIGRAM = 1, QZ_SPM_BPE = 2 };

struct qz_spm_piece {
	const char *text; /* within the file's bytes, n of them, valid UTF-8 */
	size_t n;
	float score;
	int type; /* QZ_SPM_... */
};

struct qz_spm {
	struct qz_spm_piece *pieces;
	size_t n;
	int model_type;
	bool suffix;          /* spaces belong to the word before them */
	bool byte_fallback;   /* unknown characters are bytes */
	const void *charsmap; /* within the file's bytes, n_charsmap of them (charsmap.h) */
	size_t n_charsmap;
	bool dummy_prefix; /* a space mark is put before the text */
	bool trims;        /* spaces are removed at both ends and where they repeat */
	bool escapes;      /* a space is written U+2581 */
};

/* data must outlive s.  QZ_EDATA with the byte at which it is no tokenizer.model. */
int qz_spm_read(struct qz_spm *s, const void *data, size_t n, struct qz_err *e);
void qz_spm_free(struct qz_spm *s);

#endif
