#include "libcore/text/trie.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/grow.h"

enum { NODES_MAX = (1 << 24) - 2 };

static void
insert(struct qz_trie *t, uint64_t edge)
{
	uint64_t i = (edge >> 32) * 0x9e3779b97f4a7c15u >> t->shift;

	while (t->edges[i])
		i = (i + 1) & t->mask;
	t->edges[i] = edge;
}

static int
grow_edges(struct qz_trie *t, struct qz_err *e)
{
	uint64_t *old = t->edges, n_old = old ? t->mask + 1 : 0, n = old ? 2 * n_old : 4096;

	t->edges = calloc(n, sizeof *t->edges);
	if (!t->edges) {
		t->edges = old;
		return qz_nomem(e, n * sizeof *t->edges);
	}
	t->mask = n - 1;
	t->shift = old ? t->shift - 1 : 64 - 12;
	for (uint64_t i = 0; i < n_old; i++)
		if (old[i])
			insert(t, old[i]);
	free(old);
	return 0;
}

static int
add_node(struct qz_trie *t, struct qz_err *e)
{
	uint32_t *v;

	if (t->n_nodes == NODES_MAX)
		return qz_fail(e, QZ_EDATA, "texts of more than %d bytes in all", NODES_MAX);
	v = qz_grow(t->value, t->n_nodes, &t->cap, 4096, sizeof *v, e);
	if (!v)
		return -1;
	t->value = v;
	t->value[t->n_nodes++] = QZ_TRIE_NONE;
	return 0;
}

int
qz_trie_put(struct qz_trie *t, const char *s, size_t n, uint32_t value, struct qz_err *e)
{
	uint32_t node = 0, next;

	if (!t->n_nodes && (add_node(t, e) < 0 || grow_edges(t, e) < 0))
		return -1;
	for (size_t i = 0; i < n; i++, node = next) {
		next = qz_trie_next(t, node, (unsigned char)s[i]);
		if (next != QZ_TRIE_NONE)
			continue;
		next = t->n_nodes;
		if (add_node(t, e) < 0 || (t->n_edges > t->mask / 2 && grow_edges(t, e) < 0))
			return -1;
		insert(t, (((uint64_t)node << 8 | (unsigned char)s[i]) + 1) << 32 | next);
		t->n_edges++;
	}
	t->value[node] = value;
	return 0;
}

uint32_t
qz_trie_longest(const struct qz_trie *t, const char *s, size_t n, size_t *len)
{
	uint32_t node = 0, found = QZ_TRIE_NONE;

	for (size_t i = 0; i < n && t->n_nodes; i++) {
		node = qz_trie_next(t, node, (unsigned char)s[i]);
		if (node == QZ_TRIE_NONE)
			break;
		if (t->value[node] != QZ_TRIE_NONE) {
			found = t->value[node];
			*len = i + 1;
		}
	}
	return found;
}

void
qz_trie_clear(struct qz_trie *t)
{
	free(t->edges);
	free(t->value);
	memset(t, 0, sizeof *t);
}
