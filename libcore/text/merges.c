#include "libcore/text/merges.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/buf.h"

static unsigned
bits_of(uint64_t n)
{
	unsigned bits = 1;

	while (n >> bits)
		bits++;
	return bits;
}

int
qz_merges_new(struct qz_merges *m, size_t n, size_t n_ranks, uint32_t n_ids, struct qz_err *e)
{
	size_t slots = 1024;

	if (n > QZ_MERGES_MAX || n_ranks > QZ_MERGES_MAX)
		return qz_fail(e, QZ_EDATA, "%zu merges, at most %d", n, QZ_MERGES_MAX);
	m->n = (uint32_t)n_ranks;
	m->id_bits = bits_of(n_ids);
	m->rank_bits = bits_of(n_ranks);
	if (2 * m->id_bits + m->rank_bits > 63)
		return qz_fail(e, QZ_EDATA, "%zu merges of ids up to %lu: too many for both", n,
		    (unsigned long)n_ids);
	while (2 * slots < 3 * n)
		slots *= 2;
	m->shift = 65 - bits_of(slots);
	m->mask = slots - 1;
	m->slots = qz_big(slots * sizeof *m->slots);
	m->bits = calloc(1 << QZ_MERGES_BITS, sizeof *m->bits);
	m->to = calloc(n_ranks + 1, sizeof *m->to);
	if (!m->slots || !m->to || !m->bits)
		return qz_nomem(e, slots * sizeof *m->slots);
	memset(m->slots, 0xff, slots * sizeof *m->slots);
	return 0;
}

int
qz_merges_new_tied(struct qz_merges *m, size_t n, uint32_t n_ids, struct qz_err *e)
{
	if (qz_merges_new(m, n, n, n_ids, e) < 0)
		return -1;
	m->rank = calloc(n + 1, sizeof *m->rank);
	return m->rank ? 0 : qz_nomem(e, n * sizeof *m->rank);
}

void
qz_merges_clear(struct qz_merges *m)
{
	if (!m->borrowed) {
		free(m->slots);
		free(m->bits);
		free(m->to);
		free(m->rank);
	}
	memset(m, 0, sizeof *m);
}

void
qz_merges_put(struct qz_merges *m, uint32_t left, uint32_t right, uint32_t index, uint32_t to)
{
	uint64_t key = (uint64_t)left << m->id_bits | right, h = qz_merges_hash(key),
		 i = h >> m->shift, at = h >> (64 - QZ_MERGES_BITS);

	m->bits[at] |= (uint64_t)1 << (h >> 43 & 63) | (uint64_t)1 << (h >> 37 & 63);
	while (m->slots[i] != UINT64_MAX && m->slots[i] >> m->rank_bits != key)
		i = (i + 1) & m->mask;
	m->slots[i] = key << m->rank_bits | index;
	m->to[index] = to;
}
