#include "libcore/model/batch.h"

#include <stdlib.h>
#include <string.h>

int
qz_batch_new(struct qz_batch *b, struct qz_extent room, int64_t n_rows, struct qz_err *e)
{
	size_t t = (size_t)room.tokens + 1, n = (size_t)room.trained + 1, r = (size_t)n_rows + 1;

	*b = (struct qz_batch){ .room = room, .rows_room = n_rows };
	b->ids = calloc(t, sizeof *b->ids);
	b->positions = calloc(t, sizeof *b->positions);
	b->doc_start = calloc((size_t)room.docs + 1, sizeof *b->doc_start);
	b->trained = calloc(n, sizeof *b->trained);
	b->targets = calloc(n, sizeof *b->targets);
	b->row_end = calloc(r, sizeof *b->row_end);
	b->row = calloc(r, sizeof *b->row);
	if (b->ids && b->positions && b->doc_start && b->trained && b->targets && b->row_end &&
	    b->row)
		return 0;
	qz_batch_free(b);
	return qz_nomem(e, t * 16);
}

void
qz_batch_free(struct qz_batch *b)
{
	free(b->ids);
	free(b->positions);
	free(b->doc_start);
	free(b->trained);
	free(b->targets);
	free(b->row_end);
	free(b->row);
	*b = (struct qz_batch){ 0 };
}

void
qz_batch_clear(struct qz_batch *b)
{
	b->n_tokens = b->n_docs = b->n_trained = b->n_rows = b->max_len = 0;
	b->doc_start[0] = 0;
}

static void
add_document(struct qz_batch *b, const uint32_t *ids, const uint8_t *mask, int64_t n)
{
	int64_t at = b->n_tokens;

	memcpy(b->ids + at, ids, (size_t)n * sizeof *ids);
	for (int64_t i = 0; i < n; i++) {
		b->positions[at + i] = (int32_t)i;
		if (i + 1 < n && mask[i + 1]) {
			b->trained[b->n_trained] = (int32_t)(at + i);
			b->targets[b->n_trained++] = ids[i + 1];
		}
	}
	b->n_tokens += n;
	b->doc_start[++b->n_docs] = (int32_t)b->n_tokens;
	if (n > b->max_len)
		b->max_len = n;
}

bool
qz_batch_add(struct qz_batch *b, const struct qz_data *d, uint64_t row)
{
	const struct qz_rows *r = &d->rows;
	int64_t n = (int64_t)(d->end[row] - d->start[row]);
	uint64_t at = d->start[row];

	if (b->n_tokens + n > b->room.tokens || b->n_docs + d->docs[row] > b->room.docs ||
	    b->n_trained + d->trained[row] > b->room.trained || b->n_rows == b->rows_room)
		return false;
	for (uint64_t k = d->doc[row]; k < d->doc[row] + d->docs[row]; k++) {
		add_document(b, r->ids + at, r->mask + at, (int64_t)(r->doc_ends[k] - at));
		at = r->doc_ends[k];
	}
	b->row[b->n_rows] = row;
	b->row_end[b->n_rows++] = b->n_trained;
	return true;
}

bool
qz_batch_plain(struct qz_batch *b, const uint32_t *ids, int64_t n, int64_t past)
{
	qz_batch_clear(b);
	if (n > b->room.tokens || b->room.docs < 1)
		return false;
	memcpy(b->ids, ids, (size_t)n * sizeof *ids);
	for (int64_t i = 0; i < n; i++)
		b->positions[i] = (int32_t)(past + i);
	b->n_tokens = n;
	b->doc_start[++b->n_docs] = (int32_t)n;
	b->max_len = n;
	return true;
}
