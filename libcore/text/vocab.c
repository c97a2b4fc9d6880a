#include "libcore/text/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"

/* The slot of a text, from where its hash puts it. */
static uint32_t
slot_from(const struct qz_vocab *v, uint32_t i, const char *s, size_t n)
{
	for (; v->slots[i]; i = (i + 1) & v->mask) {
		const struct qz_vocab_entry *t = &v->entry[v->slots[i] - 1];

		if (t->n == n && !memcmp(v->blob.data + t->at, s, n))
			break;
	}
	return i;
}

static uint32_t
slot_of(const struct qz_vocab *v, const char *s, size_t n)
{
	return slot_from(v, (uint32_t)qz_hash64(s, n) & v->mask, s, n);
}

/* n slots, a power of two. */
static int
rehash(struct qz_vocab *v, uint32_t n, struct qz_err *e)
{
	uint32_t *old = v->slots, n_old = v->slots ? v->mask + 1 : 0;
	uint32_t *slots = qz_big(n * sizeof *slots);

	if (!slots)
		return qz_nomem(e, n * sizeof *slots);
	memset(slots, 0, n * sizeof *slots);
	v->slots = slots;
	v->mask = n - 1;
	for (uint32_t i = 0; i < n_old; i++) {
		const struct qz_vocab_entry *t = old[i] ? &v->entry[old[i] - 1] : NULL;

		if (t)
			slots[slot_of(v, v->blob.data + t->at, t->n)] = old[i];
	}
	free(old);
	return 0;
}

/* Room for the id.  Far ids cost address space only: the pages of a gap are never touched. */
static int
reach(struct qz_vocab *v, uint32_t id, struct qz_err *e)
{
	uint32_t cap = v->cap ? v->cap : 1024;
	struct qz_vocab_entry *entry;
	uint32_t *twin = NULL;
	uint8_t *flags;

	while (cap <= id)
		cap *= 2;
	cap = cap < v->expect ? v->expect : cap;
	if (cap != v->cap) {
		entry = calloc(cap, sizeof *entry);
		flags = calloc(cap, 1);
		twin = v->twins ? calloc(cap, sizeof *twin) : NULL;
		if (!entry || !flags || (v->twins && !twin)) {
			free(entry);
			free(flags);
			free(twin);
			return qz_nomem(e, cap * sizeof *entry);
		}
		if (v->size) {
			memcpy(entry, v->entry, v->size * sizeof *entry);
			memcpy(flags, v->flags, v->size);
		}
		if (v->size && twin)
			memcpy(twin, v->twin, v->size * sizeof *twin);
		free(v->entry);
		free(v->flags);
		free(v->twin);
		v->entry = entry;
		v->flags = flags;
		v->twin = twin;
		v->cap = cap;
	}
	if (id >= v->size)
		v->size = id + 1;
	return 0;
}

/* Whether a text may be both an added token's and the model's token's: one of them is known, the other new. */
static bool
may_be_twin(const struct qz_vocab *v, uint32_t known, unsigned flags)
{
	if (!v->twins || v->twin[known])
		return false;
	return flags == QZ_V_MODEL ? !(v->flags[known] & QZ_V_MODEL)
				   : v->flags[known] == QZ_V_MODEL && !(flags & QZ_V_MODEL);
}

int
qz_vocab_put(
    struct qz_vocab *v, const char *s, size_t n, uint32_t id, unsigned flags, struct qz_err *e)
{
	uint32_t slot, known;

	if (id > QZ_ID_MAX)
		return qz_fail(e, QZ_EDATA, "id %lu, at most %d", (unsigned long)id, QZ_ID_MAX);
	if (!n || n > QZ_TOKEN_MAX)
		return qz_fail(e, QZ_EDATA, "id %lu has a text of %zu bytes, not 1 to %d",
		    (unsigned long)id, n, QZ_TOKEN_MAX);
	if (v->blob.n > UINT32_MAX - 2 * QZ_TOKEN_MAX)
		return qz_fail(e, QZ_EDATA, "texts of more than 4 GiB");
	if (reach(v, id, e) < 0 ||
	    (v->used >= v->mask / 2 && rehash(v, v->slots ? 2 * (v->mask + 1) : 1024, e) < 0))
		return -1;
	if (v->entry[id].n)
		return qz_fail(e, QZ_EDATA, "id %lu is there twice, as \"%s\" and \"%.*s\"",
		    (unsigned long)id, v->blob.data + v->entry[id].at, (int)(n < 100 ? n : 100), s);
	slot = slot_of(v, s, n);
	known = v->slots[slot] ? v->slots[slot] - 1 : QZ_ID_NONE;
	if (known != QZ_ID_NONE && !may_be_twin(v, known, flags))
		return qz_fail(e, QZ_EDATA, "\"%.*s\" is there twice, as id %lu and %lu",
		    (int)(n < 100 ? n : 100), s, (unsigned long)known, (unsigned long)id);
	if (!v->blob.n)
		qz_buf_chr(&v->blob, '\0');
	v->entry[id].at = (uint32_t)v->blob.n;
	v->entry[id].n = (uint32_t)n;
	v->flags[id] = (uint8_t)flags;
	if (known != QZ_ID_NONE && flags == QZ_V_MODEL) {
		v->twin[known] = id + 1;
	} else if (known != QZ_ID_NONE) {
		v->twin[id] = known + 1;
		v->slots[slot] = id + 1;
	} else {
		v->slots[slot] = id + 1;
		v->used++;
	}
	qz_buf_add(&v->blob, s, n);
	qz_buf_chr(&v->blob, '\0');
	return qz_buf_ok(&v->blob, e);
}

int
qz_vocab_reserve(struct qz_vocab *v, size_t n, size_t n_bytes, struct qz_err *e)
{
	uint32_t slots = 1024;

	if (n > QZ_ID_MAX)
		return qz_fail(e, QZ_EDATA, "%zu texts, at most %d", n, QZ_ID_MAX);
	while (slots / 2 <= n + 1)
		slots *= 2;
	v->expect = (uint32_t)n;
	if ((!v->slots || slots > v->mask + 1) && rehash(v, slots, e) < 0)
		return -1;
	if (!qz_buf_room(&v->blob, n_bytes))
		return qz_nomem(e, n_bytes);
	v->blob.n -= n_bytes;
	return 0;
}

int
qz_vocab_load(struct qz_vocab *v, const struct qz_vocab_image *m, struct qz_err *e)
{
	uint32_t at = 1, *slots = qz_big(m->n_slots * sizeof *slots);

	if (!slots)
		return qz_nomem(e, m->n_slots * sizeof *slots);
	memcpy(slots, m->slots, m->n_slots * sizeof *slots);
	v->slots = slots;
	v->mask = m->n_slots - 1;
	v->used = m->n_texts;
	if (m->n_text > UINT32_MAX - QZ_TOKEN_MAX)
		return qz_fail(e, QZ_EDATA, "texts of more than 4 GiB");
	if (reach(v, m->n_ids - 1, e) < 0)
		return -1;
	for (uint32_t id = 0; id < m->n_ids; id++) {
		uint32_t n = m->lengths[id];

		if (!n)
			continue;
		v->entry[id] = (struct qz_vocab_entry){ at, n };
		v->flags[id] = QZ_V_MODEL;
		at += n + 1;
	}
	qz_buf_add(&v->blob, m->text, m->n_text);
	return qz_buf_ok(&v->blob, e);
}

void
qz_vocab_expect(const struct qz_vocab *v, const char *s, size_t n)
{
	if (v->slots)
		__builtin_prefetch(&v->slots[(uint32_t)qz_hash64(s, n) & v->mask], 1);
}

void
qz_vocab_find_many(const struct qz_vocab *v, struct qz_vocab_query *q, size_t n_queries)
{
	for (size_t i = 0; i < n_queries; i++) {
		q[i].id = QZ_ID_NONE;
		q[i].slot = v->slots ? (uint32_t)qz_hash64(q[i].s, q[i].n) & v->mask : 0;
		__builtin_prefetch(v->slots ? &v->slots[q[i].slot] : NULL);
	}
	for (size_t i = 0; i < n_queries && v->slots; i++)
		if (v->slots[q[i].slot])
			__builtin_prefetch(&v->entry[v->slots[q[i].slot] - 1]);
	for (size_t i = 0; i < n_queries && v->slots; i++)
		if (v->slots[q[i].slot])
			__builtin_prefetch(v->blob.data + v->entry[v->slots[q[i].slot] - 1].at);
	for (size_t i = 0; i < n_queries && v->slots; i++)
		q[i].id = v->slots[slot_from(v, q[i].slot, q[i].s, q[i].n)] - 1;
	for (size_t i = 0; i < n_queries && v->twins; i++)
		if (q[i].id != QZ_ID_NONE && v->twin[q[i].id])
			q[i].id = v->twin[q[i].id] - 1;
}

uint32_t
qz_vocab_find(const struct qz_vocab *v, const char *s, size_t n)
{
	return v->slots ? v->slots[slot_of(v, s, n)] - 1 : QZ_ID_NONE;
}

uint32_t
qz_vocab_find_model(const struct qz_vocab *v, const char *s, size_t n)
{
	uint32_t id = qz_vocab_find(v, s, n);

	if (id != QZ_ID_NONE && v->twins && v->twin[id])
		id = v->twin[id] - 1;
	return id != QZ_ID_NONE && v->flags[id] & QZ_V_MODEL ? id : QZ_ID_NONE;
}

const char *
qz_vocab_get(const struct qz_vocab *v, uint32_t id, size_t *n)
{
	if (id >= v->size || !v->entry[id].n)
		return NULL;
	*n = v->entry[id].n;
	return v->blob.data + v->entry[id].at;
}

void
qz_vocab_clear(struct qz_vocab *v)
{
	free(v->entry);
	free(v->flags);
	free(v->slots);
	free(v->twin);
	qz_buf_free(&v->blob);
	memset(v, 0, sizeof *v);
}

static bool
prints(unsigned c)
{
	return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad);
}

uint32_t
qz_byte_char(unsigned char byte)
{
	uint32_t c = 0x100;

	if (prints(byte))
		return byte;
	for (unsigned b = 0; b < byte; b++)
		c += !prints(b);
	return c;
}

int
qz_byte_of_char(uint32_t c)
{
	int b = 0;

	if (c < 0x100)
		return prints(c) ? (int)c : -1;
	if (c > 0x143)
		return -1;
	for (c -= 0x100; prints((unsigned)b) || c; b++)
		c -= !prints((unsigned)b);
	return b;
}
