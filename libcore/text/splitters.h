/* splitters - the split patterns of common models as hand-written loops over a class table, some
 * thirty times faster than a regex engine.  Each gives the matches of its pattern, and what lies between two of them as
 * a piece too; most patterns leave nothing between. */
#ifndef QZ_SPLITTERS_H
#define QZ_SPLITTERS_H

#include <stddef.h>

#include "libcore/text/pieces.h"
#include "libcore/text/uclass.h"

struct qz_splitter;

/* The splitter for exactly this pattern, or NULL. */
const struct qz_splitter *qz_splitter_find(const char *pattern);
/* Whether the matches cover any text. */
bool qz_splitter_covers(const struct qz_splitter *p);
/* GPT-2's pattern: what ByteLevel with use_regex means. */
const struct qz_splitter *qz_splitter_gpt2(void);
/* The i-th pattern that has one, or NULL: for tests. */
const char *qz_splitter_pattern(unsigned i);

/* Appends the pieces of s[at..at+n), as if nothing stood around them. */
void qz_splitter_run(const struct qz_splitter *p, const struct qz_uclass *u, const char *s,
    size_t at, size_t n, struct qz_pieces *out);

#endif
