/* added - tokens that are cut out of the text before the model sees it.
 *
 * Those with "normalized": false are looked for in the raw text, the others in what is left after it is
 * normalized, under the normalized form of their own text.  At each place the longest wins. */
#ifndef QZ_ADDED_H
#define QZ_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/arena.h"
#include "libcore/base/err.h"
#include "libcore/text/align.h"
#include "libcore/text/tokenizer.h"
#include "libcore/text/uclass.h"

enum { QZ_ADDED_MAX = 1 << 20, QZ_ADDED_BYTES = 1024 };

struct qz_added_token {
	const char *s;
	size_t n;
	uint32_t id, order; /* order: the set's own */
	bool special, single_word, lstrip, rstrip;
};

/* A set sorted by text: a range of it is a node of a trie. */
struct qz_added {
	struct qz_added_token *v;
	size_t n, cap;
	struct qz_arena text;
	uint32_t first[257]; /* tokens whose first byte is b: first[b] to first[b + 1] */
	int only;            /* the first byte of all of them, or -1 */
};

/* Copies the text.  An empty one is left out; of two that are equal the first is kept. */
int qz_added_put(struct qz_added *a, const struct qz_added_token *t, struct qz_err *e);
void qz_added_sort(struct qz_added *a); /* once, before use */
void qz_added_clear(struct qz_added *a);

/* A walk over a text: each call gives a token, or text between tokens (token NULL). */
struct qz_added_scan {
	struct qz_text t;
	bool parse_special; /* else special tokens are passed over */
	const struct qz_span
	    *plain; /* places in the given text where special tokens are none; ascending */
	size_t n_plain;
	size_t from, done; /* where to look next; up to where text is given out; zero to start */
	size_t hidden;     /* out: special tokens that plain spans hid */
	const struct qz_added_token *next;
	size_t next_at, next_end;
	bool over;
};
/* false: no more. */
bool qz_added_next(const struct qz_added *a, const struct qz_uclass *u, struct qz_added_scan *scan,
    const struct qz_added_token **token, size_t *at, size_t *end);

#endif
