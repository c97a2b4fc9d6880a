#include "libcore/shard/rows.h"

#include <stdlib.h>
#include <string.h>

/* *p grows from have to have + more elements. */
static int
grow(void *p, uint64_t have, uint64_t more, size_t size, struct qz_err *e)
{
	void **where = p, *bigger;
	uint64_t n = (have + more + 1) *
		     size; /* the reader has bounded both by the record's length */

	bigger = realloc(*where, n);
	if (!bigger)
		return qz_nomem(e, n);
	*where = bigger;
	return 0;
}

static int
read_section(struct qz_shard_reader *r, const struct qz_section *s, void *to, struct qz_err *e)
{
	char pad[QZ_SHARD_ALIGN];

	if (qz_shard_read(r, to, (size_t)s->nbytes, e) < 0)
		return -1;
	return qz_shard_read(r, pad, (size_t)(-s->nbytes % QZ_SHARD_ALIGN), e);
}

static int
check(const struct qz_rows *b, struct qz_err *e)
{
	uint64_t doc = 0, last = 0, trained = 0;

	for (uint64_t r = 0; r < b->n_rows; r++) {
		uint64_t end = b->row_ends[r];

		if (end <= last || end > b->n_tokens)
			return qz_fail(e, QZ_EDATA,
			    "row %llu ends at %llu, after %llu and within %llu expected",
			    (unsigned long long)r, (unsigned long long)end,
			    (unsigned long long)last, (unsigned long long)b->n_tokens);
		for (; doc < b->n_docs && b->doc_ends[doc] < end; doc++)
			if (b->doc_ends[doc] <= (doc ? b->doc_ends[doc - 1] : 0))
				return qz_fail(e, QZ_EDATA,
				    "document %llu is empty or out of order",
				    (unsigned long long)doc);
		if (doc == b->n_docs || b->doc_ends[doc] != end)
			return qz_fail(e, QZ_EDATA, "row %llu does not end where a document ends",
			    (unsigned long long)r);
		doc++;
		last = end;
	}
	if (last != b->n_tokens || doc != b->n_docs)
		return qz_fail(e, QZ_EDATA, "the rows end at token %llu of %llu",
		    (unsigned long long)last, (unsigned long long)b->n_tokens);
	for (uint64_t i = 0; i < b->n_tokens; i++) {
		if (b->mask[i] > 1)
			return qz_fail(e, QZ_EDATA, "token %llu has mask %d, 0 or 1 expected",
			    (unsigned long long)i, b->mask[i]);
		trained += b->mask[i];
	}
	return trained == b->n_trained
		   ? 0
		   : qz_fail(e, QZ_EDATA, "%llu tokens are trained, the table says %llu",
			 (unsigned long long)trained, (unsigned long long)b->n_trained);
}

int
qz_rows_read(
    struct qz_rows *rows, struct qz_shard_reader *r, const struct qz_record *rec, struct qz_err *e)
{
	const struct qz_tokens_info *t = &rec->tokens;
	struct qz_rows b = { .n_tokens = t->n_tokens,
		.n_rows = t->n_rows,
		.n_docs = t->n_docs,
		.n_trained = t->n_trained };

	if (grow(&rows->ids, rows->n_tokens, t->n_tokens, 4, e) < 0 ||
	    grow(&rows->mask, rows->n_tokens, t->n_tokens, 1, e) < 0 ||
	    grow(&rows->row_ends, rows->n_rows, t->n_rows, 8, e) < 0 ||
	    grow(&rows->doc_ends, rows->n_docs, t->n_docs, 8, e) < 0)
		return -1;
	b.ids = rows->ids + rows->n_tokens;
	b.mask = rows->mask + rows->n_tokens;
	b.row_ends = rows->row_ends + rows->n_rows;
	b.doc_ends = rows->doc_ends + rows->n_docs;
	if (read_section(r, &t->ids, b.ids, e) < 0 || read_section(r, &t->mask, b.mask, e) < 0 ||
	    read_section(r, &t->row_ends, b.row_ends, e) < 0 ||
	    read_section(r, &t->doc_ends, b.doc_ends, e) < 0 || qz_shard_finish(r, e) < 0)
		return -1;
	if (check(&b, e) < 0)
		return qz_at(e, "record %llu", (unsigned long long)rec->number);
	for (uint64_t i = 0; i < b.n_rows; i++)
		b.row_ends[i] += rows->n_tokens;
	for (uint64_t i = 0; i < b.n_docs; i++)
		b.doc_ends[i] += rows->n_tokens;
	rows->n_tokens += b.n_tokens;
	rows->n_rows += b.n_rows;
	rows->n_docs += b.n_docs;
	rows->n_trained += b.n_trained;
	return 0;
}

void
qz_rows_free(struct qz_rows *rows)
{
	free(rows->ids);
	free(rows->mask);
	free(rows->row_ends);
	free(rows->doc_ends);
	*rows = (struct qz_rows){ 0 };
}
