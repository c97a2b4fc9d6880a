/* bpe_impl - steps of loading a BPE model, for bpe_*.c alone. */
#ifndef QZ_BPE_IMPL_H
#define QZ_BPE_IMPL_H

#include <string.h>

#include "libcore/text/bpe.h"

/* Tokens that a single character or byte can start from; b->vocab is set. */
int bpe_load_symbols(struct qz_bpe *b, struct qz_err *e);

/* Whether two parts that are merged join U+2581, which stands for a space, to what is not one. */
static inline bool
bpe_joins_under(const char *left, size_t n, const char *right, size_t n_right)
{
	static const char under[] = "\xe2\x96\x81";
	size_t m = sizeof under - 1;

	return n_right >= m && !memcmp(right, under, m) &&
	       !(n >= m && !memcmp(left + n - m, under, m));
}

enum { BPE_WHOLE_BITS = 20 }; /* log2 of the bits of b->whole */

/* Room for n symbols. */
int bpe_reserve(struct qz_bpe_work *w, size_t n, struct qz_err *e);
/* A word of any length, by merges alone. */
int bpe_merge(const struct qz_bpe *b, struct qz_bpe_work *w, const char *s, size_t n,
    struct qz_ids *out, struct qz_err *e);

/* Whether every byte has its id. */
static inline bool
bpe_complete(const uint32_t id[256])
{
	for (int i = 0; i < 256; i++)
		if (id[i] == QZ_ID_NONE)
			return false;
	return true;
}

#endif
