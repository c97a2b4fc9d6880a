#include "libcore/text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"

enum {
	SCAN_MAX = 40, /* symbols: above it a heap is faster */
	WORD_BYTES = 28,
	WORD_IDS = 6,
	CACHE_BITS = 15,
};
#define NO_PAIR UINT32_MAX

struct qz_bpe_word { /* 64 bytes: a line of the processor's cache */
	uint32_t ids[WORD_IDS];
	uint32_t hash; /* other bits than the index */
	uint8_t n, n_ids, ends[WORD_IDS];
	char s[WORD_BYTES];
};
_Static_assert(sizeof(struct qz_bpe_word) == 64, "one cache line");

int
qz_ids_room(struct qz_ids *ids, size_t n, struct qz_err *e)
{
	size_t cap = ids->cap ? ids->cap : 256, *ends;
	uint32_t *v;

	if (ids->cap - ids->n > n)
		return 0;
	while (cap - ids->n <= n)
		cap *= 2;
	v = realloc(ids->v, cap * sizeof *v);
	if (v)
		ids->v = v;
	ends = realloc(ids->ends, cap * sizeof *ends);
	if (ends)
		ids->ends = ends;
	if (!v || !ends)
		return qz_nomem(e, cap * (sizeof *v + sizeof *ends));
	ids->cap = cap;
	return 0;
}

void
qz_ids_clear(struct qz_ids *ids)
{
	free(ids->v);
	free(ids->ends);
	memset(ids, 0, sizeof *ids);
}

static int
reserve(struct qz_bpe_work *w, size_t n, struct qz_err *e)
{
	uint32_t **arrays[] = { &w->id, &w->end, &w->rank, &w->to, &w->prev, &w->next };
	size_t cap = w->cap ? w->cap : 256;

	if (n <= w->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
		uint32_t *p = realloc(*arrays[i], cap * sizeof *p);

		if (!p)
			return qz_nomem(e, cap * sizeof *p);
		*arrays[i] = p;
	}
	w->cap = cap;
	return 0;
}

static uint32_t
char_id(const struct qz_bpe *b, uint32_t c)
{
	uint32_t i = c * 0x9e3779b9u & b->chars_mask;

	for (; b->chars[i]; i = (i + 1) & b->chars_mask)
		if (b->chars[i] >> 32 == c)
			return (uint32_t)b->chars[i] - 1;
	return QZ_ID_NONE;
}

static bool
falls_back(const struct qz_bpe *b, const char *s, int len)
{
	if (!b->byte_fallback)
		return false;
	for (int i = 0; i < len; i++)
		if (b->fallback_id[(unsigned char)s[i]] == QZ_ID_NONE)
			return false;
	return true;
}

struct symbols {
	uint32_t *id, *end;
	size_t n;
};

static void
add(struct symbols *y, uint32_t id, size_t end)
{
	y->id[y->n] = id;
	y->end[y->n++] = (uint32_t)end;
}

/* The ids that a piece starts from.  An unknown that waits to be fused is written only at the next known
 * character, thus after bytes that fell back meanwhile: so does the reference (tokenizers, BPE). */
static void
start_chars(const struct qz_bpe *b, const char *s, size_t n, struct symbols *y)
{
	size_t waits = 0, end; /* where the unknown ends, or 0 */
	int len;

	for (size_t i = 0; i < n; i = end) {
		uint32_t c = (unsigned char)s[i], known;

		len = 1;
		if (c < 128) {
			known = b->ascii_id[c];
		} else {
			c = (uint32_t)qz_utf8_get(s + i, n - i, &len);
			known = char_id(b, c);
		}
		end = i + (size_t)len;
		if (known != QZ_ID_NONE) {
			if (waits)
				add(y, b->unk, i);
			waits = 0;
			add(y, known, end);
		} else if (falls_back(b, s + i, len)) {
			for (; i < end; i++)
				add(y, b->fallback_id[(unsigned char)s[i]], i + 1);
		} else if (b->unk != QZ_ID_NONE) {
			if (waits && !b->fuse_unk)
				add(y, b->unk, waits);
			waits = end;
		}
	}
	if (waits)
		add(y, b->unk, n);
}

static void
start_bytes(const struct qz_bpe *b, const char *s, size_t n, struct symbols *y)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t id = b->byte_id[(unsigned char)s[i]];

		if (id != QZ_ID_NONE)
			add(y, id, i + 1);
	}
}

static void
look(const struct qz_bpe *b, uint32_t left, uint32_t right, uint32_t *rank, uint32_t *to)
{
	const struct qz_pair *p = qz_bpe_pair(b, left, right);

	*rank = p ? p->rank : NO_PAIR;
	*to = p ? p->id : 0;
}

/* Merges n > 1 symbols in place; how many are left. */
static size_t
merge_scan(const struct qz_bpe *b, uint32_t *id, uint32_t *end, size_t n)
{
	uint32_t rank[SCAN_MAX], to[SCAN_MAX];

	for (size_t i = 0; i + 1 < n; i++)
		look(b, id[i], id[i + 1], &rank[i], &to[i]);
	rank[n - 1] = NO_PAIR;
	for (;;) {
		uint32_t least = NO_PAIR;
		size_t at = 0;

		for (size_t i = 0; i + 1 < n; i++)
			if (rank[i] < least) {
				least = rank[i];
				at = i;
			}
		if (least == NO_PAIR)
			return n;
		id[at] = to[at];
		n--;
		memmove(id + at + 1, id + at + 2, (n - at - 1) * sizeof *id);
		memmove(end + at, end + at + 1, (n - at) * sizeof *end);
		memmove(rank + at, rank + at + 1, (n - at) * sizeof *rank);
		memmove(to + at, to + at + 1, (n - at) * sizeof *to);
		if (at + 1 < n)
			look(b, id[at], id[at + 1], &rank[at], &to[at]);
		if (at)
			look(b, id[at - 1], id[at], &rank[at - 1], &to[at - 1]);
	}
}

static void
sift_down(uint64_t *h, size_t n, size_t i)
{
	uint64_t v = h[i];

	for (size_t c; (c = 2 * i + 1) < n; i = c) {
		c += c + 1 < n && h[c + 1] < h[c];
		if (v <= h[c])
			break;
		h[i] = h[c];
	}
	h[i] = v;
}

static void
sift_up(uint64_t *h, size_t i)
{
	uint64_t v = h[i];

	for (; i && h[(i - 1) / 2] > v; i = (i - 1) / 2)
		h[i] = h[(i - 1) / 2];
	h[i] = v;
}

static int
push(struct qz_bpe_work *w, uint32_t rank, size_t at, struct qz_err *e)
{
	if (w->heap_n == w->heap_cap) {
		size_t cap = w->heap_cap ? 2 * w->heap_cap : 1024;
		uint64_t *h = realloc(w->heap, cap * sizeof *h);

		if (!h)
			return qz_nomem(e, cap * sizeof *h);
		w->heap = h;
		w->heap_cap = cap;
	}
	w->heap[w->heap_n] = (uint64_t)rank << 32 | at;
	sift_up(w->heap, w->heap_n++);
	return 0;
}

/* The pair at position i has changed. */
static int
renew(const struct qz_bpe *b, struct qz_bpe_work *w, size_t i, size_t n, struct qz_err *e)
{
	if (w->next[i] == n) {
		w->rank[i] = NO_PAIR;
		return 0;
	}
	look(b, w->id[i], w->id[w->next[i]], &w->rank[i], &w->to[i]);
	return w->rank[i] == NO_PAIR ? 0 : push(w, w->rank[i], i, e);
}

/* The same for many symbols.  An entry of the heap is stale when its position has another rank by now:
 * a rank belongs to one pair, so an equal one is the same merge. */
static int
merge_heap(const struct qz_bpe *b, struct qz_bpe_work *w, size_t *n_symbols, struct qz_err *e)
{
	size_t n = *n_symbols, k = 0;

	w->heap_n = 0;
	for (size_t i = 0; i < n; i++) {
		w->prev[i] = (uint32_t)(i - 1); /* of the first: all ones */
		w->next[i] = (uint32_t)(i + 1);
	}
	for (size_t i = 0; i < n; i++)
		if (renew(b, w, i, n, e) < 0)
			return -1;
	while (w->heap_n) {
		uint32_t i = (uint32_t)w->heap[0], rank = (uint32_t)(w->heap[0] >> 32), right;

		w->heap[0] = w->heap[--w->heap_n];
		if (w->heap_n)
			sift_down(w->heap, w->heap_n, 0);
		if (w->rank[i] != rank)
			continue;
		right = w->next[i];
		w->id[i] = w->to[i];
		w->end[i] = w->end[right];
		w->next[i] = w->next[right];
		w->rank[right] = NO_PAIR;
		if (w->next[i] < n)
			w->prev[w->next[i]] = i;
		if (renew(b, w, i, n, e) < 0)
			return -1;
		if (w->prev[i] != UINT32_MAX && renew(b, w, w->prev[i], n, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < n; i = w->next[i]) {
		w->id[k] = w->id[i];
		w->end[k++] = w->end[i];
	}
	*n_symbols = k;
	return 0;
}

/* A word of any length, without the cache. */
static int
encode_word(const struct qz_bpe *b, struct qz_bpe_work *w, const char *s, size_t n,
    struct qz_ids *out, struct qz_err *e)
{
	struct symbols y = { 0 };

	if (b->ignore_merges) {
		uint32_t id = b->bytes ? qz_vocab_find(&b->raw, s, n)
				       : qz_vocab_find_model(b->vocab, s, n);

		if (id != QZ_ID_NONE) {
			out->v[out->n] = id;
			out->ends[out->n++] = n;
			return 0;
		}
	}
	/* At most one id a byte: unknowns are never more than characters. */
	if (reserve(w, n, e) < 0)
		return -1;
	y.id = w->id;
	y.end = w->end;
	if (b->bytes)
		start_bytes(b, s, n, &y);
	else
		start_chars(b, s, n, &y);
	if (y.n > 1 && y.n <= SCAN_MAX)
		y.n = merge_scan(b, y.id, y.end, y.n);
	else if (y.n > 1 && merge_heap(b, w, &y.n, e) < 0)
		return -1;
	for (size_t i = 0; i < y.n; i++) {
		out->v[out->n] = y.id[i];
		out->ends[out->n++] = y.end[i];
	}
	return 0;
}

static uint64_t
load8(const char *s)
{
	uint64_t v;

	memcpy(&v, s, 8);
	return v;
}

static uint32_t
load4(const char *s)
{
	uint32_t v;

	memcpy(&v, s, 4);
	return v;
}

/* Of 1 to WORD_BYTES bytes: every byte counts, some twice. */
static uint64_t
hash_word(const char *s, size_t n)
{
	uint64_t a, b, h = n * 0xff51afd7ed558ccdu;

	if (n >= 8) {
		a = load8(s);
		b = load8(s + n - 8);
		if (n > 16)
			h ^= load8(s + 8) * 0xc4ceb9fe1a85ec53u;
		if (n > 24)
			h ^= load8(s + 16) * 0x2545f4914f6cdd1du;
	} else if (n >= 4) {
		a = load4(s);
		b = load4(s + n - 4);
	} else {
		a = (unsigned char)s[0];
		b = (uint64_t)(unsigned char)s[n / 2] << 8 | (unsigned char)s[n - 1];
	}
	h ^= a * 0x9e3779b97f4a7c15u;
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
	h ^= b * 0xa0761d6478bd642fu;
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

/* Through the cache, which holds the words seen last: one a slot. */
static int
encode_cached(const struct qz_bpe *b, struct qz_bpe_work *w, const char *s, size_t n,
    struct qz_ids *out, struct qz_err *e)
{
	struct qz_bpe_word *c;
	size_t from = out->n, k;
	uint64_t h;

	if (n > WORD_BYTES)
		return encode_word(b, w, s, n, out, e);
	h = hash_word(s, n);
	c = &w->cache[h & ((1u << CACHE_BITS) - 1)];
	if (c->hash == (uint32_t)(h >> 32) && c->n == n && !memcmp(c->s, s, n)) {
		for (size_t i = 0; i < WORD_IDS; i++) { /* room is for n + WORD_IDS */
			out->v[from + i] = c->ids[i];
			out->ends[from + i] = c->ends[i];
		}
		out->n += c->n_ids;
		return 0;
	}
	if (encode_word(b, w, s, n, out, e) < 0)
		return -1;
	k = out->n - from;
	if (k > WORD_IDS)
		return 0;
	c->hash = (uint32_t)(h >> 32);
	c->n = (uint8_t)n;
	c->n_ids = (uint8_t)k;
	memcpy(c->s, s, n);
	for (size_t i = 0; i < k; i++) {
		c->ids[i] = out->v[from + i];
		c->ends[i] = (uint8_t)out->ends[from + i];
	}
	return 0;
}

static bool
is_under(const char *s)
{
	return !memcmp(s, "\xe2\x96\x81", 3);
}

/* Where the next word of s[from..n) ends: before a U+2581 that does not follow another. */
static size_t
word_end(const char *s, size_t from, size_t n)
{
	size_t i = from;

	while (i + 3 <= n && is_under(s + i))
		i += 3;
	while (i < n) {
		const char *q = memchr(s + i, 0xe2, n - i);

		if (!q || (size_t)(s + n - q) < 3)
			return n;
		i = (size_t)(q - s);
		if (is_under(q))
			return i;
		i++;
	}
	return n;
}

int
qz_bpe_encode(const struct qz_bpe *b, struct qz_bpe_work *w, const char *s, size_t n,
    struct qz_ids *out, struct qz_err *e)
{
	size_t end, from;

	if (!w->cache) {
		w->cache = calloc((size_t)1 << CACHE_BITS, sizeof *w->cache);
		if (!w->cache)
			return qz_nomem(e, sizeof *w->cache << CACHE_BITS);
	}
	if (qz_ids_room(out, n + WORD_IDS, e) < 0)
		return -1;
	if (!b->cuts)
		return n ? encode_cached(b, w, s, n, out, e) : 0;
	for (size_t i = 0; i < n; i = end) {
		end = word_end(s, i, n);
		from = out->n;
		if (encode_cached(b, w, s + i, end - i, out, e) < 0)
			return -1;
		for (; i && from < out->n; from++)
			out->ends[from] += i;
	}
	return 0;
}

void
qz_bpe_work_clear(struct qz_bpe_work *w)
{
	free(w->id);
	free(w->end);
	free(w->rank);
	free(w->to);
	free(w->prev);
	free(w->next);
	free(w->heap);
	free(w->cache);
	memset(w, 0, sizeof *w);
}
