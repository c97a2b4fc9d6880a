/* normalize - tokenizer.json's "normalizer": text to text, before it is cut. */
#ifndef QZ_NORMALIZE_H
#define QZ_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "libcore/base/buf.h"
#include "libcore/base/json.h"
#include "libcore/text/align.h"
#include "libcore/text/regex.h"
#include "libcore/text/spm.h"
#include "libcore/text/uclass.h"

struct qz_normalizer {
	struct qz_norm_step *steps; /* Sequences are flattened */
	size_t n;
	unsigned forms; /* 1 << qz_form, or'ed: what the steps use */
};

/* j may be NULL or null: no steps.  n zeroed to start. */
int qz_normalizer_load(struct qz_normalizer *n, const struct qz_json *j, struct qz_err *e);
/* sentencepiece's, by its model. */
int qz_normalizer_spm(struct qz_normalizer *n, const struct qz_spm *spm, struct qz_err *e);
void qz_normalizer_clear(struct qz_normalizer *n);

/* Normalizes t in place: it then lies in memory of a or b, or is (part of) what it was. */
int qz_normalizer_run(const struct qz_normalizer *n, const struct qz_uclass *u,
    struct qz_regex_match *m, struct qz_text *t, struct qz_textbuf *a, struct qz_textbuf *b,
    struct qz_err *e);

/* A "pattern" member: {"String": "..."} or {"Regex": "..."}. */
struct qz_pattern {
	char *literal; /* or */
	struct qz_regex *regex;
	size_t n; /* of the literal */
};
int qz_pattern_load(struct qz_pattern *p, const struct qz_json *j, struct qz_err *e);
void qz_pattern_clear(struct qz_pattern *p);
/* Matches of a pattern one after the other; an empty match does not stand where the last one ended. */
struct qz_pattern_scan {
	size_t from, last; /* from 0; last SIZE_MAX */
};
int qz_pattern_next(const struct qz_pattern *p, struct qz_regex_match *m, const char *s, size_t n,
    struct qz_pattern_scan *scan, size_t *at, size_t *end, struct qz_err *e);
/* Appends s with every match replaced. */
int qz_pattern_replace(const struct qz_pattern *p, struct qz_regex_match *m, const char *s,
    size_t n, const char *by, size_t by_n, struct qz_buf *out, struct qz_err *e);

#endif
