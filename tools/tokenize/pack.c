/* Rows are made within a window of documents, so that memory does not grow with the data.
 *
 * Packing is first-fit-decreasing: the longest document goes into the first row that has room, which a
 * tree of the rows' room finds in log n steps.  The window's rows are then shuffled by the seed, since
 * the first ones have the longest documents.  Ties keep their order: same input, same rows. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/rng.h"
#include "tools/tokenize/tokenize.h"

enum {
	PACK_DOCS = 1 << 15,
	PACK_TOKENS = 1 << 24,
	BLOCK_DOCS = 8192,
	BLOCK_TOKENS = 1 << 20,
	STREAM_ROWS = 1, /* of the generator */
};

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

/* Room left in rows: leaf r at tree[leaves + r], each node the larger of its two.  Rows that are not
 * begun are empty, so the first fit opens them in order. */
static size_t
first_fit(uint64_t *tree, size_t leaves, uint64_t need)
{
	size_t i = 1, row;

	while (i < leaves)
		i = 2 * i + (tree[2 * i] < need);
	row = i - leaves;
	tree[i] -= need;
	while (i /= 2)
		tree[i] = tree[2 * i] > tree[2 * i + 1] ? tree[2 * i] : tree[2 * i + 1];
	return row;
}

/* Gives every item, none longer than a row, its row; how many rows there are, or 0: no memory. */
static uint64_t
assign_rows(struct item *items, size_t n, uint64_t length)
{
	size_t leaves = 1;
	uint64_t rows = 0, *tree;

	while (leaves < n)
		leaves *= 2;
	tree = malloc(2 * leaves * sizeof *tree);
	if (!tree)
		return 0;
	for (size_t i = 1; i < 2 * leaves; i++)
		tree[i] = length;
	for (size_t i = 0; i < n; i++) {
		items[i].row = first_fit(tree, leaves, items[i].n);
		if (items[i].row >= rows)
			rows = items[i].row + 1;
	}
	free(tree);
	return rows;
}

/* Rows in an order that the seed and the window's number give (Fisher and Yates). */
static int
shuffle(const struct packer *p, struct item *items, size_t n, uint64_t rows, struct qz_err *e)
{
	uint64_t *to = malloc(rows * sizeof *to);

	if (!to)
		return qz_nomem(e, rows * sizeof *to);
	for (uint64_t r = 0; r < rows; r++)
		to[r] = r;
	for (uint64_t r = rows - 1; r > 0; r--) {
		uint32_t word[4];
		uint64_t k, tmp = to[r];

		qz_philox(p->seed, p->windows << 8 | STREAM_ROWS, r, word);
		k = ((uint64_t)word[0] * (r + 1)) >> 32;
		to[r] = to[k];
		to[k] = tmp;
	}
	for (size_t i = 0; i < n; i++)
		items[i].row = to[items[i].row];
	free(to);
	return 0;
}

/* The window's documents in the order of their rows. */
static int
put_items(struct packer *p, const struct item *items, uint64_t rows, struct qz_err *e)
{
	const struct tokens *w = &p->window;
	struct qz_tokens_block b = { .n_tokens = w->n, .n_rows = rows, .n_docs = w->n_docs };
	uint32_t *ids = malloc(w->n * sizeof *ids);
	uint8_t *mask = malloc(w->n);
	uint64_t *row_ends = calloc(rows, sizeof *row_ends),
		 *doc_ends = malloc(w->n_docs * sizeof *doc_ends), at = 0;
	int ret = -1;

	if (!ids || !mask || !row_ends || !doc_ends) {
		qz_nomem(e, w->n * 5);
		goto out;
	}
	for (size_t i = 0; i < w->n_docs; i++) {
		memcpy(ids + at, w->ids + items[i].at, items[i].n * sizeof *ids);
		memcpy(mask + at, w->mask + items[i].at, items[i].n);
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
put_ordered(struct packer *p, struct qz_err *e)
{
	const struct tokens *w = &p->window;
	struct item *items = calloc(w->n_docs, sizeof *items);
	uint64_t at = 0, rows = w->n_docs;
	int ret = 0;

	if (!items)
		return qz_nomem(e, w->n_docs * sizeof *items);
	for (size_t i = 0; i < w->n_docs; i++) {
		items[i] = (struct item){ at, w->ends[i] - at, i, 0 };
		at = w->ends[i];
	}
	qsort(items, w->n_docs, sizeof *items, longer_first);
	for (size_t i = 0; i < w->n_docs; i++)
		items[i].row = i;
	if (p->order == ORDER_PACK) {
		rows = assign_rows(items, w->n_docs, p->length);
		ret = rows ? shuffle(p, items, w->n_docs, rows, e) : qz_nomem(e, w->n_docs);
		qsort(items, w->n_docs, sizeof *items, by_row);
	}
	if (!ret)
		ret = put_items(p, items, rows, e);
	free(items);
	return ret;
}

int
packer_add(struct packer *p, const uint32_t *ids, const uint8_t *mask, size_t n, struct qz_err *e)
{
	bool input = p->order == ORDER_INPUT;

	if (p->window.n_docs &&
	    (p->window.n_docs >= (input ? BLOCK_DOCS : PACK_DOCS) ||
		p->window.n + n > (input ? BLOCK_TOKENS : PACK_TOKENS)) &&
	    packer_flush(p, e) < 0)
		return -1;
	return tokens_add(&p->window, ids, mask, n, e);
}

int
packer_flush(struct packer *p, struct qz_err *e)
{
	const struct tokens *w = &p->window;
	struct qz_tokens_block b = { w->ids, w->mask, w->n, w->ends, w->ends, w->n_docs,
		w->n_docs };
	int ret;

	if (!w->n_docs)
		return 0;
	ret = p->order == ORDER_INPUT ? put_block(p, &b, e) : put_ordered(p, e);
	p->windows++;
	p->window.n = p->window.n_docs = 0;
	return ret;
}

void
packer_free(struct packer *p)
{
	tokens_free(&p->window);
}
