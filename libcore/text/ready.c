#include "libcore/text/ready.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/base/utf8.h"
#include "libcore/text/bpe_impl.h"
#include "libcore/text/ready_impl.h"

enum { BITS_MIN = 10, BITS_MAX = 26 }; /* of tables of slots */

_Static_assert(sizeof(struct qz_joins) == 128 * 128 + 256 * 256 + (1 << QZ_JOINS_BITS) / 8,
    "the bytes of the section");

void
ready_sizes(const struct ready_head *h, uint64_t size[READY_SECTIONS])
{
	size[READY_LENGTHS] = 4 * (uint64_t)h->n_ids;
	size[READY_TEXTS] = h->n_text;
	size[READY_SLOTS] = (uint64_t)4 << h->slot_bits;
	size[READY_PAIRS] = (uint64_t)8 << h->pair_bits;
	size[READY_BITS] = (uint64_t)8 << QZ_MERGES_BITS;
	size[READY_TO] = 4 * (uint64_t)h->n_ranks;
	size[READY_JOINED] = h->flags & READY_JOINS ? sizeof(struct qz_joins) : 0;
	size[READY_WHOLES] = h->flags & READY_WHOLE ? 1 << (BPE_WHOLE_BITS - 3) : 0;
	size[READY_REST] = h->n_rest;
}

static void
get_head(struct ready_head *h, const uint8_t *p)
{
	*h = (struct ready_head){ .n_ids = le32_get(p + 4),
		.n_ranks = le32_get(p + 8),
		.n_rest = le32_get(p + 12),
		.n_text = le64_get(p + 16),
		.file = { .lo = le64_get(p + 24), .hi = le64_get(p + 32) },
		.flags = le32_get(p + 40),
		.slot_bits = p[44],
		.pair_bits = p[45],
		.id_bits = p[46],
		.rank_bits = p[47] };
}

static bool
in_bounds(uint8_t bits)
{
	return bits >= BITS_MIN && bits <= BITS_MAX;
}

static int
check_head(const struct ready_head *h, struct qz_err *e)
{
	if (!h->n_ids || h->n_ids > QZ_ID_MAX + 1 || h->n_ranks > QZ_MERGES_MAX)
		return qz_fail(e, QZ_EDATA, "%lu ids and %lu ranks are none, or too many",
		    (unsigned long)h->n_ids, (unsigned long)h->n_ranks);
	if (!in_bounds(h->slot_bits) || !in_bounds(h->pair_bits) || h->flags & ~READY_FLAGS)
		return qz_fail(e, QZ_EDATA,
		    "tables of 2^%d and 2^%d slots, flags %lx: not of this version", h->slot_bits,
		    h->pair_bits, (unsigned long)h->flags);
	if (2 * h->id_bits + h->rank_bits > 63 || (uint64_t)h->n_ids >> h->id_bits ||
	    (uint64_t)h->n_ranks >> h->rank_bits)
		return qz_fail(e, QZ_EDATA, "ids in %d bits, ranks in %d: not of %lu and %lu",
		    h->id_bits, h->rank_bits, (unsigned long)h->n_ids, (unsigned long)h->n_ranks);
	return 0;
}

/* Where the sections are. */
static int
find_sections(const struct ready_head *h, const uint8_t *p, size_t n,
    const void *at[READY_SECTIONS], struct qz_err *e)
{
	uint64_t size[READY_SECTIONS], end = READY_HEAD;

	ready_sizes(h, size);
	for (int i = 0; i < READY_SECTIONS; i++) {
		at[i] = p + end;
		if (qz_add_over(end, size[i], &end) || end > n)
			return qz_fail(e, QZ_EDATA, "%zu bytes, section %d is cut off", n, i);
		if (i != READY_REST)
			end = (end + 7) & ~(uint64_t)7;
		if (end > n)
			return qz_fail(e, QZ_EDATA, "%zu bytes, section %d is cut off", n, i);
	}
	return end == n ? 0
			: qz_fail(e, QZ_EDATA, "%zu bytes, %llu by its head", n,
			      (unsigned long long)end);
}

/* Each text ends before a NUL, and there is no other: what is valid as a whole is valid in its parts. */
static int
check_texts(const struct qz_vocab_image *v, struct qz_err *e)
{
	size_t at = 1, nuls = 0;

	for (uint32_t id = 0; id < v->n_ids; id++) {
		size_t n = v->lengths[id];

		if (!n)
			continue;
		if (n > QZ_TOKEN_MAX || at >= v->n_text || n >= v->n_text - at)
			return qz_fail(
			    e, QZ_EDATA, "the text of id %lu is cut off", (unsigned long)id);
		if (v->text[at + n])
			return qz_fail(
			    e, QZ_EDATA, "the text of id %lu has no end", (unsigned long)id);
		at += n + 1;
	}
	for (size_t i = 0; i < v->n_text; i++)
		nuls += !v->text[i];
	if (at != v->n_text || nuls != (size_t)v->n_texts + 1 || v->text[0] ||
	    qz_utf8_valid(v->text, v->n_text) != v->n_text)
		return qz_fail(e, QZ_EDATA, "%zu bytes are not the texts of %lu ids in UTF-8",
		    v->n_text, (unsigned long)v->n_texts);
	return 0;
}

static int
check_vocab(struct qz_vocab_image *v, struct qz_err *e)
{
	uint32_t used = 0;

	v->n_texts = 0;
	for (uint32_t id = 0; id < v->n_ids; id++)
		v->n_texts += v->lengths[id] != 0;
	if (check_texts(v, e) < 0)
		return -1;
	for (uint32_t i = 0; i < v->n_slots; i++) {
		uint32_t s = v->slots[i];

		if (s && (s > v->n_ids || !v->lengths[s - 1]))
			return qz_fail(e, QZ_EDATA, "slot %lu is of id %lu, which has no text",
			    (unsigned long)i, (unsigned long)s - 1);
		used += s != 0;
	}
	if (used != v->n_texts || used > v->n_slots / 2)
		return qz_fail(e, QZ_EDATA, "%lu of %lu slots are in use, by %lu texts",
		    (unsigned long)used, (unsigned long)v->n_slots, (unsigned long)v->n_texts);
	return 0;
}

static int
check_merges(const struct qz_merges *m, const struct qz_vocab_image *v, struct qz_err *e)
{
	const uint64_t ranks = ((uint64_t)1 << m->rank_bits) - 1;
	uint64_t used = 0;

	for (uint64_t i = 0; i <= m->mask; i++) {
		if (m->slots[i] == UINT64_MAX)
			continue;
		used++;
		if ((m->slots[i] & ranks) >= m->n)
			return qz_fail(e, QZ_EDATA, "pair %llu has the rank %llu of %lu",
			    (unsigned long long)i, (unsigned long long)(m->slots[i] & ranks),
			    (unsigned long)m->n);
	}
	if (3 * used > 2 * (m->mask + 1))
		return qz_fail(e, QZ_EDATA, "%llu pairs in %llu slots", (unsigned long long)used,
		    (unsigned long long)m->mask + 1);
	for (uint32_t i = 0; i < m->n; i++)
		if (m->to[i] >= v->n_ids || !v->lengths[m->to[i]])
			return qz_fail(e, QZ_EDATA, "rank %lu makes id %lu, which has no text",
			    (unsigned long)i, (unsigned long)m->to[i]);
	return 0;
}

static void
set_all(struct qz_ready *r, const struct ready_head *h, const void *const at[READY_SECTIONS])
{
	*r = (struct qz_ready){ .vocab = { .lengths = at[READY_LENGTHS],
				    .n_ids = h->n_ids,
				    .text = at[READY_TEXTS],
				    .n_text = (size_t)h->n_text,
				    .slots = at[READY_SLOTS],
				    .n_slots = (uint32_t)1 << h->slot_bits },
		.merges = { .slots = (uint64_t *)at[READY_PAIRS],
		    .bits = (uint64_t *)at[READY_BITS],
		    .to = (uint32_t *)at[READY_TO],
		    .mask = ((uint64_t)1 << h->pair_bits) - 1,
		    .shift = 64u - h->pair_bits,
		    .id_bits = h->id_bits,
		    .rank_bits = h->rank_bits,
		    .n = h->n_ranks,
		    .borrowed = true },
		.joins = h->flags & READY_JOINS ? at[READY_JOINED] : NULL,
		.whole = h->flags & READY_WHOLE ? at[READY_WHOLES] : NULL,
		.merges_bytes = h->flags & READY_MERGES_BYTES,
		.cuts = h->flags & READY_CUTS,
		.rest = at[READY_REST],
		.n_rest = h->n_rest };
}

int
qz_ready_read(
    struct qz_ready *r, const void *data, size_t n, struct qz_digest file, struct qz_err *e)
{
	const void *at[READY_SECTIONS];
	struct ready_head h;

	if (n < READY_HEAD)
		return qz_fail(e, QZ_EDATA, "%zu bytes, %d at least", n, READY_HEAD);
	if (le32_get(data) != READY_VERSION || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return 0;
	assert((uintptr_t)data % 8 == 0);
	get_head(&h, data);
	if (h.file.lo != file.lo || h.file.hi != file.hi)
		return 0;
	if (check_head(&h, e) < 0 || find_sections(&h, data, n, at, e) < 0)
		return -1;
	set_all(r, &h, at);
	return check_vocab(&r->vocab, e) < 0 || check_merges(&r->merges, &r->vocab, e) < 0 ? -1 : 1;
}
