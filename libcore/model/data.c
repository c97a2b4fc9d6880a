#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"
#include "libcore/base/rng.h"
#include "libcore/model/batch.h"

int
qz_data_read(struct qz_data *d, struct qz_in *in, struct qz_err *e)
{
	struct qz_shard_reader *r = qz_shard_reader_new(in, "tokens", e);
	const struct qz_record *rec;
	int got;

	if (!r)
		return -1;
	while ((got = qz_shard_next(r, &rec, e)) > 0) {
		if (rec->type == QZ_REC_TOKENS && qz_rows_read(&d->rows, r, rec, e) < 0) {
			got = strstr(e->msg, qz_in_name(in)) ? -1 : qz_at(e, "%s", qz_in_name(in));
			break;
		}
		if (rec->type == QZ_REC_END) {
			qz_buf_str(&d->chains, qz_shard_provenance(r));
			qz_buf_chr(&d->chains, '\n');
		}
	}
	qz_shard_reader_free(r);
	return got;
}

/* The targets among tokens a..b of a document: all but its first can be one. */
static uint32_t
count_trained(const struct qz_rows *r, uint64_t a, uint64_t b)
{
	uint32_t n = 0;

	for (uint64_t i = a + 1; i < b; i++)
		n += r->mask[i];
	return n;
}

static int
check_ids(
    const struct qz_rows *r, uint64_t a, uint64_t b, uint64_t row, int64_t vocab, struct qz_err *e)
{
	for (uint64_t i = a; i < b; i++)
		if (r->ids[i] >= (uint64_t)vocab)
			return qz_fail(e, QZ_EDATA,
			    "row %llu: token %llu is id %u, the model's vocabulary ends at %lld",
			    (unsigned long long)row, (unsigned long long)(i - a), r->ids[i],
			    (long long)vocab - 1);
	return 0;
}

static int
make_room(struct qz_data *d, struct qz_err *e)
{
	uint64_t n = d->rows.n_rows + 1;

	d->start = calloc(n, sizeof *d->start);
	d->end = calloc(n, sizeof *d->end);
	d->doc = calloc(n, sizeof *d->doc);
	d->number = calloc(n, sizeof *d->number);
	d->trained = calloc(n, sizeof *d->trained);
	d->docs = calloc(n, sizeof *d->docs);
	if (!d->start || !d->end || !d->doc || !d->number || !d->trained || !d->docs)
		return qz_nomem(e, n * 40);
	return 0;
}

static int
digest(struct qz_data *d, struct qz_err *e)
{
	struct qz_hash *h = qz_hash_new();

	if (!h)
		return qz_nomem(e, 1);
	qz_hash_add(h, d->rows.ids, d->rows.n_tokens * sizeof *d->rows.ids);
	qz_hash_add(h, d->rows.mask, d->rows.n_tokens);
	qz_hash_add(h, d->rows.row_ends, d->rows.n_rows * sizeof *d->rows.row_ends);
	qz_hash_add(h, d->rows.doc_ends, d->rows.n_docs * sizeof *d->rows.doc_ends);
	d->digest = qz_hash_get128(h);
	qz_hash_free(h);
	return 0;
}

int
qz_data_end(struct qz_data *d, int64_t vocab, struct qz_err *e)
{
	const struct qz_rows *r = &d->rows;
	uint64_t at = 0, doc = 0;

	if (r->n_rows == 0)
		return qz_fail(e, QZ_EDATA, "there is no row of tokens");
	if (make_room(d, e) < 0 || digest(d, e) < 0 || qz_buf_ok(&d->chains, e) < 0)
		return -1;
	for (uint64_t row = 0; row < r->n_rows; at = r->row_ends[row++]) {
		uint64_t first = doc, start = at, n = 0;

		if (check_ids(r, at, r->row_ends[row], row, vocab, e) < 0)
			return -1;
		if (r->row_ends[row] - at > INT32_MAX)
			return qz_fail(e, QZ_EDATA, "row %llu has more than 2^31 tokens",
			    (unsigned long long)row);
		for (; doc < r->n_docs && r->doc_ends[doc] <= r->row_ends[row]; doc++) {
			n += count_trained(r, start, r->doc_ends[doc]);
			start = r->doc_ends[doc];
		}
		if (n == 0) {
			d->n_left_out++;
			continue;
		}
		d->start[d->n] = at;
		d->end[d->n] = r->row_ends[row];
		d->doc[d->n] = first;
		d->docs[d->n] = (uint32_t)(doc - first);
		d->number[d->n] = row;
		d->trained[d->n++] = (uint32_t)n;
		d->n_tokens += r->row_ends[row] - at;
		d->n_trained += n;
	}
	if (d->n == 0)
		return qz_fail(e, QZ_EDATA,
		    "no token is trained: the masks of all %llu rows are 0 after the first token",
		    (unsigned long long)r->n_rows);
	return 0;
}

void
qz_data_free(struct qz_data *d)
{
	qz_rows_free(&d->rows);
	free(d->start);
	free(d->end);
	free(d->doc);
	free(d->number);
	free(d->trained);
	free(d->docs);
	qz_buf_free(&d->chains);
	*d = (struct qz_data){ 0 };
}

static int
larger(const void *pa, const void *pb)
{
	const uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

	return (a < b) - (a > b);
}

/* Sum of the n largest of v[0..m), each of them `times` times; it sorts them. */
static int64_t
top(uint64_t *v, uint64_t m, uint64_t n, uint64_t times)
{
	uint64_t sum = 0;

	qsort(v, m, sizeof *v, larger);
	for (uint64_t i = 0; i < m && n > 0; i++) {
		uint64_t each = n < times ? n : times;

		sum += v[i] * each;
		n -= each;
	}
	return (int64_t)sum;
}

static int64_t
longest_document(const struct qz_data *d, uint64_t row)
{
	uint64_t at = d->start[row], longest = 0;

	for (uint64_t k = d->doc[row]; k < d->doc[row] + d->docs[row]; k++) {
		if (d->rows.doc_ends[k] - at > longest)
			longest = d->rows.doc_ends[k] - at;
		at = d->rows.doc_ends[k];
	}
	return (int64_t)longest;
}

int
qz_data_extent(
    const struct qz_data *d, uint64_t n_rows, uint64_t times, struct qz_extent *x, struct qz_err *e)
{
	uint64_t *v = malloc((d->n + 1) * sizeof *v);

	*x = (struct qz_extent){ 0 };
	if (!v)
		return qz_nomem(e, (d->n + 1) * sizeof *v);
	for (uint64_t i = 0; i < d->n; i++)
		v[i] = d->end[i] - d->start[i];
	x->tokens = top(v, d->n, n_rows, times);
	for (uint64_t i = 0; i < d->n; i++)
		v[i] = d->docs[i];
	x->docs = top(v, d->n, n_rows, times);
	for (uint64_t i = 0; i < d->n; i++)
		v[i] = d->trained[i];
	x->trained = top(v, d->n, n_rows, times);
	free(v);
	for (uint64_t i = 0; i < d->n; i++)
		if (longest_document(d, i) > x->max_len)
			x->max_len = longest_document(d, i);
	return 0;
}

/* A number below n from 64 random bits: the high half of the product, as good as unbiased. */
static uint64_t
below(uint64_t n, const uint32_t w[4])
{
	uint64_t bits = (uint64_t)w[0] << 32 | w[1];

	return (uint64_t)((unsigned __int128)bits * n >> 64);
}

void
qz_data_order(const struct qz_data *d, uint64_t seed, uint64_t epoch, uint64_t *order)
{
	uint64_t key[2] = { qz_hash64("order", 5), epoch }, stream = qz_hash64(key, sizeof key);
	uint32_t words[4];

	for (uint64_t i = 0; i < d->n; i++)
		order[i] = i;
	for (uint64_t i = d->n; i-- > 1;) {
		uint64_t k, v = order[i];

		qz_philox(seed, stream, i, words);
		k = below(i + 1, words);
		order[i] = order[k];
		order[k] = v;
	}
}
