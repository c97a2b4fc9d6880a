/* regex - patterns of tokenizer.json that have no hand-written splitter, by PCRE2.
 *
 * They are written for Oniguruma's Ruby syntax with Unicode classes.  What that syntax and PCRE2's
 * write or mean differently is translated; what cannot be is an error that names it.  Matching is bounded:
 * a pattern that backtracks without end is an error.  PCRE2 brings its own Unicode tables (14 to 16). */
#ifndef QZ_REGEX_H
#define QZ_REGEX_H

#include <stddef.h>

#include "libcore/base/err.h"

struct qz_regex;       /* read-only: threads share it */
struct qz_regex_match; /* one thread's; for any pattern */

struct qz_regex *qz_regex_new(const char *pattern, struct qz_err *e);
void qz_regex_free(struct qz_regex *r);

struct qz_regex_match *qz_regex_match_new(struct qz_err *e);
void qz_regex_match_free(struct qz_regex_match *m);

/* The first match in s[from..n), valid UTF-8 from s on: 1 with its bounds, 0 none, -1 error. */
int qz_regex_find(const struct qz_regex *r, struct qz_regex_match *m, const char *s, size_t n,
    size_t from, size_t *at, size_t *end, struct qz_err *e);

#endif
