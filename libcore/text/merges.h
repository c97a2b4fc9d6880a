/* merges - which two neighbours become one, and in what order: a table from pairs of ids to ranks.
 *
 * An entry is one word, left id, right id and rank side by side, in open addressing at most two thirds
 * full.  Most looks find nothing: two bits of a word in a table that a processor's cache holds tell nearly
 * all of them. */
#ifndef QZ_MERGES_H
#define QZ_MERGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/err.h"

enum { QZ_MERGES_MAX = (1 << 24) - 1 }; /* ranks fit in 24 bits, all ones is none */
enum { QZ_MERGES_BITS = 15 };           /* log2 of the words: 256 KB */
#define QZ_NO_MERGE UINT32_MAX

struct qz_merges {
	uint64_t *slots; /* left, right, index; all ones: free */
	uint64_t *bits;  /* by hash, two of a word: not both set where no pair is */
	uint64_t mask;
	unsigned shift, id_bits, rank_bits;
	uint32_t n;   /* indices are below it */
	uint32_t *to; /* by index: the id that the pair becomes */
	uint32_t
	    *rank; /* by index; NULL: the index is the rank, and merges of one rank make one id */
	bool borrowed; /* all of it */
};

/* Room for n merges of ids below n_ids, with indices below n_ranks.  Refused: when a pair and its index
 * need more than 63 bits. */
int qz_merges_new(struct qz_merges *m, size_t n, size_t n_ranks, uint32_t n_ids, struct qz_err *e);
/* The same for merges whose ranks may be equal though they make different ids: indices below n. */
int qz_merges_new_tied(struct qz_merges *m, size_t n, uint32_t n_ids, struct qz_err *e);
void qz_merges_clear(struct qz_merges *m);
/* A pair that is there twice keeps its later index. */
void qz_merges_put(struct qz_merges *m, uint32_t left, uint32_t right, uint32_t index, uint32_t to);

/* A slot's pair; index is QZ_NO_MERGE where it is free. */
struct qz_merge {
	uint32_t left, right, index;
};
static inline struct qz_merge
qz_merges_at(const struct qz_merges *m, uint64_t slot)
{
	uint64_t v = m->slots[slot], key = v >> m->rank_bits;

	if (v == UINT64_MAX)
		return (struct qz_merge){ 0, 0, QZ_NO_MERGE };
	return (struct qz_merge){ (uint32_t)(key >> m->id_bits),
		(uint32_t)(key & (((uint64_t)1 << m->id_bits) - 1)),
		(uint32_t)(v & (((uint64_t)1 << m->rank_bits) - 1)) };
}

static inline uint64_t
qz_merges_hash(uint64_t key)
{
	return key * 0x9e3779b97f4a7c15u;
}

/* Has the memory fetched that a pair to be put soon needs. */
static inline void
qz_merges_expect(const struct qz_merges *m, uint32_t left, uint32_t right)
{
	uint64_t h = qz_merges_hash((uint64_t)left << m->id_bits | right);

	__builtin_prefetch(&m->slots[h >> m->shift], 1);
	__builtin_prefetch(&m->bits[h >> (64 - QZ_MERGES_BITS)], 1);
}

/* Whether a pair of this hash may be there. */
static inline uint64_t
qz_merges_may(const uint64_t *bits, uint64_t h)
{
	uint64_t word = bits[h >> (64 - QZ_MERGES_BITS)];

	return word >> (h >> 43 & 63) & word >> (h >> 37 & 63) & 1;
}

static inline uint32_t
qz_merges_find(const struct qz_merges *m, uint32_t left, uint32_t right)
{
	uint64_t key = (uint64_t)left << m->id_bits | right, h = qz_merges_hash(key),
		 i = h >> m->shift, v;

	if (!qz_merges_may(m->bits, h))
		return QZ_NO_MERGE;
	for (; (v = m->slots[i]) >> m->rank_bits != key; i = (i + 1) & m->mask)
		if (v == UINT64_MAX)
			return QZ_NO_MERGE;
	v &= ((uint64_t)1 << m->rank_bits) - 1;
	__builtin_prefetch(&m->to[v]); /* it may be merged soon */
	return (uint32_t)v;
}

/* The rank of a pair, or QZ_NO_MERGE. */
static inline uint32_t
qz_merges_rank(const struct qz_merges *m, uint32_t left, uint32_t right)
{
	uint32_t i = qz_merges_find(m, left, right);

	return i == QZ_NO_MERGE || !m->rank ? i : m->rank[i];
}

/* What a pair of this rank becomes. */
static inline uint32_t
qz_merges_to(const struct qz_merges *m, uint32_t left, uint32_t right, uint32_t rank)
{
	return m->to[m->rank ? qz_merges_find(m, left, right) : rank];
}

#endif
