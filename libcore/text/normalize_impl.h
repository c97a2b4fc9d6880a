/* normalize_impl - a step of a normalizer, for normalize.c and normalize_map.c. */
#ifndef QZ_NORMALIZE_IMPL_H
#define QZ_NORMALIZE_IMPL_H

#include "libcore/text/charsmap.h"
#include "libcore/text/normalize.h"
#include "libcore/text/trie.h"

enum qz_step_kind {
	QZ_STEP_PREPEND,
	QZ_STEP_REPLACE,
	QZ_STEP_FORM,
	QZ_STEP_LOWERCASE,
	QZ_STEP_STRIP,
	QZ_STEP_PRECOMPILED,
	QZ_STEP_SPM,
};

struct qz_norm_step {
	enum qz_step_kind kind;
	enum qz_form form;
	struct qz_pattern pattern;
	char *text; /* what is put before, or in place of */
	size_t n;
	bool left, right;                  /* STRIP */
	struct qz_charsmap map;            /* PRECOMPILED, SPM */
	struct qz_trie user;               /* SPM: what stays as it is */
	bool dummy_prefix, trims, escapes; /* SPM: see spm.h */
};

struct qz_norm_run {
	const struct qz_uclass *u;
	struct qz_regex_match *m;
	struct qz_text t; /* in; a step that only cuts changes it */
	struct qz_textbuf *out;
	struct qz_buf part;
};

/* As tokenizers has it: a grapheme of less than 6 bytes that begins with a known string becomes what the
 * shortest such string becomes, whole; others character by character. */
int qz_norm_precompiled(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e);
/* As sentencepiece has it: always the longest known string, then spaces. */
int qz_norm_spm(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e);

#endif
