/* trie - texts by their bytes, for finding all that begin at a place.
 *
 * Edges lie in one hash table, a word each: node, byte, child.  Node 0 is the root. */
#ifndef QZ_TRIE_H
#define QZ_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "libcore/base/err.h"

#define QZ_TRIE_NONE UINT32_MAX

struct qz_trie {
	uint64_t *edges; /* node << 8 | byte in the high half + 1, child in the low; 0: free */
	uint64_t mask;
	unsigned shift;
	uint32_t *value; /* (n_nodes) or QZ_TRIE_NONE */
	uint32_t n_nodes;
	size_t cap, n_edges;
};

int qz_trie_put(struct qz_trie *t, const char *s, size_t n, uint32_t value, struct qz_err *e);
void qz_trie_clear(struct qz_trie *t);

/* The child of a node, or QZ_TRIE_NONE.  The trie is not empty. */
static inline uint32_t
qz_trie_next(const struct qz_trie *t, uint32_t node, unsigned char byte)
{
	uint64_t key = ((uint64_t)node << 8 | byte) + 1;

	for (uint64_t i = key * 0x9e3779b97f4a7c15u >> t->shift; t->edges[i]; i = (i + 1) & t->mask)
		if (t->edges[i] >> 32 == key)
			return (uint32_t)t->edges[i];
	return QZ_TRIE_NONE;
}

/* The value of the longest text at s, its length into *len; QZ_TRIE_NONE. */
uint32_t qz_trie_longest(const struct qz_trie *t, const char *s, size_t n, size_t *len);

#endif
