/* Packing is first-fit-decreasing within a window: the longest document goes into the first row that
 * has room.  Ties keep their order, so that the same input gives the same rows. */
#include <stdlib.h>
#include <string.h>

#include "tools/tokenize/tokenize.h"

enum { WINDOW_DOCS = 8192, WINDOW_TOKENS = 1 << 22, BLOCK_DOCS = 8192, BLOCK_TOKENS = 1 << 20 };

static int
grow(void *p, size_t *cap, size_t need, size_t size, struct qz_err *e)
{
	void **where = p, *bigger;
	size_t n = need + need / 2;

	bigger = realloc(*where, n * size);
	if (!bigger)
		return qz_nomem(e, n * size);
	*where = bigger;
	*cap = n;
	return 0;
}

static int
make_room(struct packer *p, size_t n, struct qz_err *e)
{
	size_t cap = p->tokens_cap, need = p->n_tokens + n;

	if (need > cap && (grow(&p->ids, &cap, need, sizeof *p->ids, e) < 0 ||
			      grow(&p->mask, &p->tokens_cap, need, 1, e) < 0))
		return -1;
	if (p->n_docs == p->docs_cap)
		return grow(&p->ends, &p->docs_cap, p->n_docs + 64, sizeof *p->ends, e);
	return 0;
}

int
packer_add(struct packer *p, const uint32_t *ids, const uint8_t *mask, size_t n, struct qz_err *e)
{
	bool full = p->length ? p->n_docs >= WINDOW_DOCS || p->n_tokens + n > WINDOW_TOKENS
			      : p->n_docs >= BLOCK_DOCS || p->n_tokens + n > BLOCK_TOKENS;

	if (full && p->n_docs && packer_flush(p, e) < 0)
		return -1;
	if (make_room(p, n, e) < 0)
		return -1;
	memcpy(p->ids + p->n_tokens, ids, n * sizeof *ids);
	memcpy(p->mask + p->n_tokens, mask, n);
	p->n_tokens += n;
	p->ends[p->n_docs++] = p->n_tokens;
	return 0;
}

static int
show(struct packer *p, const struct qz_tokens_block *b, struct qz_err *e)
{
	uint64_t start = 0, doc = 0, *ends;
	int ret = 0;

	for (uint64_t r = 0; ret == 0 && r < b->n_rows && p->rows + r < p->show; r++) {
		uint64_t first = doc;

		while (b->doc_ends[doc] != b->row_ends[r])
			doc++;
		doc++;
		ends = malloc((doc - first) * sizeof *ends);
		if (!ends)
			return qz_nomem(e, doc - first);
		for (uint64_t d = first; d < doc; d++)
			ends[d - first] = b->doc_ends[d] - start;
		ret = p->see(p->arg, p->rows + r, b->ids + start, b->mask + start,
		    b->row_ends[r] - start, ends, doc - first, e);
		free(ends);
		start = b->row_ends[r];
	}
	return ret;
}

static int
put_block(struct packer *p, const struct qz_tokens_block *b, struct qz_err *e)
{
	if (show(p, b, e) < 0)
		return -1;
	p->rows += b->n_rows;
	return qz_shard_tokens(p->w, b, e);
}

struct item {
	uint64_t at, n, doc, row;
};

static int
longer_first(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->n != y->n)
		return x->n < y->n ? 1 : -1;
	return x->doc < y->doc ? -1 : 1;
}

static int
by_row(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	return x->doc < y->doc ? -1 : 1;
}

/* Gives every item its row; returns how many rows there are. */
static uint64_t
assign_rows(struct item *items, size_t n, uint64_t length, uint64_t *left)
{
	uint64_t rows = 0, r;

	for (size_t i = 0; i < n; i++) {
		for (r = 0; r < rows && left[r] < items[i].n; r++)
			;
		if (r == rows)
			left[rows++] = length > items[i].n ? length : items[i].n;
		left[r] -= items[i].n;
		items[i].row = r;
	}
	return rows;
}

/* The window's documents in the order of their rows. */
static int
put_packed(struct packer *p, const struct item *items, uint64_t rows, struct qz_err *e)
{
	struct qz_tokens_block b = { .n_tokens = p->n_tokens, .n_rows = rows, .n_docs = p->n_docs };
	uint32_t *ids = malloc(p->n_tokens * sizeof *ids);
	uint8_t *mask = malloc(p->n_tokens);
	uint64_t *row_ends = calloc(rows, sizeof *row_ends),
		 *doc_ends = malloc(p->n_docs * sizeof *doc_ends), at = 0;
	int ret = -1;

	if (!ids || !mask || !row_ends || !doc_ends) {
		qz_nomem(e, p->n_tokens * 5);
		goto out;
	}
	for (size_t i = 0; i < p->n_docs; i++) {
		memcpy(ids + at, p->ids + items[i].at, items[i].n * sizeof *ids);
		memcpy(mask + at, p->mask + items[i].at, items[i].n);
		at += items[i].n;
		doc_ends[i] = row_ends[items[i].row] = at;
	}
	b.ids = ids;
	b.mask = mask;
	b.row_ends = row_ends;
	b.doc_ends = doc_ends;
	ret = put_block(p, &b, e);
out:
	free(ids);
	free(mask);
	free(row_ends);
	free(doc_ends);
	return ret;
}

static int
pack(struct packer *p, struct qz_err *e)
{
	struct item *items = calloc(p->n_docs, sizeof *items);
	uint64_t *left = calloc(p->n_docs, sizeof *left), at = 0, rows;
	int ret = -1;

	if (!items || !left) {
		qz_nomem(e, p->n_docs * sizeof *items);
		goto out;
	}
	for (size_t i = 0; i < p->n_docs; i++) {
		items[i] = (struct item){ at, p->ends[i] - at, i, 0 };
		at = p->ends[i];
	}
	qsort(items, p->n_docs, sizeof *items, longer_first);
	rows = assign_rows(items, p->n_docs, p->length, left);
	qsort(items, p->n_docs, sizeof *items, by_row);
	ret = put_packed(p, items, rows, e);
out:
	free(items);
	free(left);
	return ret;
}

int
packer_flush(struct packer *p, struct qz_err *e)
{
	struct qz_tokens_block b = { p->ids, p->mask, p->n_tokens, p->ends, p->ends, p->n_docs,
		p->n_docs };
	int ret;

	if (!p->n_docs)
		return 0;
	ret = p->length ? pack(p, e) : put_block(p, &b, e);
	p->n_docs = p->n_tokens = 0;
	return ret;
}

void
packer_free(struct packer *p)
{
	free(p->ids);
	free(p->mask);
	free(p->ends);
}
