/* One word by merges alone. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/grow.h"
#include "libcore/base/utf8.h"
#include "libcore/text/bpe_impl.h"

enum {
	SCAN_MAX = 40, /* symbols, fours of them: above it a heap is faster */
	NO_CODE = 256,
};

int
bpe_reserve(struct qz_bpe_work *w, size_t n, struct qz_err *e)
{
	uint32_t **arrays[] = { &w->id, &w->end, &w->rank, &w->prev, &w->next };
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

/* The symbols that a word starts from: at most one a byte. */
struct symbols {
	uint32_t *id, *end, *code; /* code: the byte that it is, for duo, or NO_CODE */
	size_t n;
};

static void
add(struct symbols *y, uint32_t id, size_t end, uint32_t code)
{
	y->id[y->n] = id;
	y->code[y->n] = code;
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
				add(y, b->unk, i, NO_CODE);
			waits = 0;
			add(y, known, end, c < 128 ? c : NO_CODE);
		} else if (b->byte_fallback &&
			   qz_bytes_have_ids(b->fallback_id, s + i, (size_t)len)) {
			for (; i < end; i++)
				add(y, b->fallback_id[(unsigned char)s[i]], i + 1, NO_CODE);
		} else if (b->unk != QZ_ID_NONE) {
			if (waits && !b->fuse_unk)
				add(y, b->unk, waits, NO_CODE);
			waits = end;
		}
	}
	if (waits)
		add(y, b->unk, n, NO_CODE);
}

static void
start_bytes(const struct qz_bpe *b, const char *s, size_t n, struct symbols *y)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t id = b->byte_id[(unsigned char)s[i]];

		if (id != QZ_ID_NONE)
			add(y, id, i + 1, (unsigned char)s[i]);
	}
}

/* A pair as the scan sees it: rank << 8 | place, so that the least is the leftmost of the least rank. */
static uint32_t
place(uint32_t rank, size_t at)
{
	return rank == QZ_NO_MERGE ? QZ_NO_MERGE : rank << 8 | (uint32_t)at;
}

/* Of n pairs, rounded up to fours. */
static inline uint32_t
least_of(const uint32_t *pair, size_t n)
{
	uint32_t a = pair[0], b = pair[1];

	for (size_t i = 0; i < n; i += 4) {
		uint32_t c = pair[i] < pair[i + 1] ? pair[i] : pair[i + 1],
			 d = pair[i + 2] < pair[i + 3] ? pair[i + 2] : pair[i + 3];

		a = c < a ? c : a;
		b = d < b ? d : b;
	}
	return a < b ? a : b;
}

/* Merges n > 1 symbols in place; how many are left.  Symbols keep their places until the end, chained. */
static size_t
merge_scan(const struct qz_bpe *b, const struct symbols *y, size_t n)
{
	uint32_t pair[SCAN_MAX], *id = y->id, *end = y->end;
	uint8_t next[SCAN_MAX + 1], prev[SCAN_MAX + 1];
	size_t k = 0;

	for (size_t i = 0; i + 1 < n; i++) {
		uint32_t l = y->code[i], r = y->code[i + 1];

		pair[i] = place((l | r) < NO_CODE ? b->duo[l << 8 | r]
						  : qz_merges_rank(&b->merges, id[i], id[i + 1]),
		    i);
	}
	for (size_t i = n - 1; i % 4 || i < n; i++)
		pair[i] = QZ_NO_MERGE;
	for (size_t i = 0; i < n; i++) {
		next[i] = (uint8_t)(i + 1);
		prev[i + 1] = (uint8_t)i;
	}
	for (;;) {
		uint32_t least = least_of(pair, n);
		size_t at, right, after;

		if (least == QZ_NO_MERGE)
			break;
		at = least & 255;
		right = next[at];
		after = next[right];
		id[at] = qz_merges_to(&b->merges, id[at], id[right], least >> 8);
		end[at] = end[right];
		next[at] = (uint8_t)after;
		prev[after] = (uint8_t)at;
		pair[at] = QZ_NO_MERGE;
		if (after < n) {
			pair[right] = QZ_NO_MERGE;
			pair[at] = place(qz_merges_rank(&b->merges, id[at], id[after]), at);
		}
		if (at)
			pair[prev[at]] = place(
			    qz_merges_rank(&b->merges, id[prev[at]], id[at]), prev[at]);
	}
	for (size_t i = 0; i < n; i = next[i]) {
		id[k] = id[i];
		end[k++] = end[i];
	}
	return k;
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
	uint64_t *h = qz_grow(w->heap, w->heap_n, &w->heap_cap, 1024, sizeof *h, e);

	if (!h)
		return -1;
	w->heap = h;
	w->heap[w->heap_n] = (uint64_t)rank << 32 | at;
	sift_up(w->heap, w->heap_n++);
	return 0;
}

/* The pair at position i has changed. */
static int
renew(const struct qz_bpe *b, struct qz_bpe_work *w, size_t i, size_t n, struct qz_err *e)
{
	if (w->next[i] == n) {
		w->rank[i] = QZ_NO_MERGE;
		return 0;
	}
	w->rank[i] = qz_merges_rank(&b->merges, w->id[i], w->id[w->next[i]]);
	return w->rank[i] == QZ_NO_MERGE ? 0 : push(w, w->rank[i], i, e);
}

/* The same for many symbols.  An entry of the heap is stale when its position has another rank by now:
 * an equal one is as good as new. */
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
		w->id[i] = qz_merges_to(&b->merges, w->id[i], w->id[right], rank);
		w->end[i] = w->end[right];
		w->next[i] = w->next[right];
		w->rank[right] = QZ_NO_MERGE;
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

int
bpe_merge(const struct qz_bpe *b, struct qz_bpe_work *w, const char *s, size_t n,
    struct qz_ids *out, struct qz_err *e)
{
	struct symbols y = { 0 };

	/* At most one id a byte: unknowns are never more than characters. */
	if (bpe_reserve(w, n, e) < 0)
		return -1;
	y.id = w->id;
	y.end = w->end;
	y.code = w->rank; /* not yet in use */
	if (b->bytes)
		start_bytes(b, s, n, &y);
	else
		start_chars(b, s, n, &y);
	if (y.n > 1 && y.n <= SCAN_MAX)
		y.n = merge_scan(b, &y, y.n);
	else if (y.n > 1 && merge_heap(b, w, &y.n, e) < 0)
		return -1;
	for (size_t i = 0; i < y.n; i++) {
		out->v[out->n] = y.id[i];
		out->ends[out->n++] = y.end[i];
	}
	return 0;
}
