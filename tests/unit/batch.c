/* Packing of rows, which tokens are trained, the order of an epoch, data that must be refused. */
#include "libcore/base/rng.h"
#include "libcore/io/out.h"
#include "libcore/model/batch.h"
#include "libcore/shard/writer.h"
#include "tests/unit/tap.h"

/* A token shard in memory.  ids are 10, 11, ...; mask: a digit a token, '|' ends a document, '/' a row. */
static void
make_shard(struct qz_buf *b, const char *rows, uint32_t first_id)
{
	uint32_t ids[256];
	uint8_t mask[256];
	uint64_t row_ends[64], doc_ends[64];
	struct qz_tokens_block block = {
		.ids = ids, .mask = mask, .row_ends = row_ends, .doc_ends = doc_ends
	};
	struct qz_err e;
	struct qz_out *o = qz_out_memory(b, &e);
	struct qz_shard_writer *w = qz_shard_writer_new(o, "tokens", "{}", NULL, 0, 0, &e);

	for (const char *s = rows; *s; s++) {
		if (*s == '|' || *s == '/')
			doc_ends[block.n_docs++] = block.n_tokens;
		if (*s == '/')
			row_ends[block.n_rows++] = block.n_tokens;
		if (*s != '|' && *s != '/') {
			ids[block.n_tokens] = first_id + (uint32_t)block.n_tokens;
			mask[block.n_tokens++] = *s == '1';
		}
	}
	if ((block.n_rows && qz_shard_tokens(w, &block, &e) < 0) ||
	    qz_shard_provenance_put(w, "[]", &e) < 0 || qz_shard_writer_end(w, &e) < 0 ||
	    qz_out_commit(o, &e) < 0)
		ok(0, "%s", e.msg);
	qz_shard_writer_free(w);
	qz_out_close(o);
}

static int
read_shard(struct qz_data *d, const char *rows, uint32_t first_id, struct qz_err *e)
{
	struct qz_buf b = { 0 };
	struct qz_in *in;
	int ret;

	make_shard(&b, rows, first_id);
	in = qz_in_memory("t.qz", b.data, b.n, e);
	ret = qz_data_read(d, in, e);
	qz_in_close(in);
	qz_buf_free(&b);
	return ret;
}

/* rows as above; trained: (token of the batch, target id) of each, as text. */
static const struct {
	const char *name, *rows;
	int64_t n_tokens, n_docs, max_len;
	const char *positions, *trained;
} packed[] = {
	{ "one row", "0011/", 4, 1, 4, "0 1 2 3", "1>12 2>13" },
	{ "a document's first token is no target", "1111/", 4, 1, 4, "0 1 2 3", "0>11 1>12 2>13" },
	{ "two rows", "011/01/", 5, 2, 3, "0 1 2 0 1", "0>11 1>12 3>14" },
	{ "two documents in a row", "01|101/", 5, 2, 3, "0 1 0 1 2", "0>11 3>14" },
	{ "a document of one token", "1|01/", 3, 2, 2, "0 0 1", "1>12" },
	{ "a row without a trained token is left out", "000/01/100/", 2, 1, 2, "0 1", "0>14" },
};

static void
check_packing(size_t i)
{
	struct qz_data d = { 0 };
	struct qz_batch b;
	struct qz_extent x;
	struct qz_err e;
	char positions[200] = "", trained[200] = "";
	size_t p = 0, t = 0;

	if (read_shard(&d, packed[i].rows, 10, &e) < 0 || qz_data_end(&d, 1000, &e) < 0 ||
	    qz_data_extent(&d, d.n, 1, &x, &e) < 0 || qz_batch_new(&b, x, (int64_t)d.n, &e) < 0) {
		ok(0, "%s: %s", packed[i].name, e.msg);
		return;
	}
	qz_batch_clear(&b);
	for (uint64_t r = 0; r < d.n; r++)
		ok(qz_batch_add(&b, &d, r), "%s: there is room for row %d", packed[i].name, (int)r);
	ok(!qz_batch_add(&b, &d, 0), "%s: and not for more", packed[i].name);
	for (int64_t k = 0; k < b.n_tokens; k++)
		p += (size_t)snprintf(
		    positions + p, sizeof positions - p, "%s%d", k ? " " : "", b.positions[k]);
	for (int64_t k = 0; k < b.n_trained; k++)
		t += (size_t)snprintf(trained + t, sizeof trained - t, "%s%d>%u", k ? " " : "",
		    b.trained[k], b.targets[k]);
	is(positions, packed[i].positions, packed[i].name);
	is(trained, packed[i].trained, packed[i].name);
	ok(b.n_tokens == packed[i].n_tokens && b.n_docs == packed[i].n_docs &&
		b.max_len == packed[i].max_len && b.doc_start[b.n_docs] == b.n_tokens &&
		x.tokens == b.n_tokens && x.trained == b.n_trained &&
		(int64_t)d.n_trained == b.n_trained,
	    "%s: counts", packed[i].name);
	qz_batch_free(&b);
	qz_data_free(&d);
}

static const struct {
	const char *name, *rows;
	uint32_t first_id;
	int64_t vocab;
	const char *message;
} bad[] = {
	{ "no rows", "", 0, 100, "there is no row of tokens" },
	{ "all masked", "000/00/", 0, 100,
	    "no token is trained: the masks of all 2 rows are 0 after the first token" },
	{ "only first tokens", "100|1/", 0, 100,
	    "no token is trained: the masks of all 1 rows are 0 after the first token" },
	{ "beyond the vocabulary", "011/011/", 5, 10,
	    "row 1: token 2 is id 10, the model's vocabulary ends at 9" },
};

static void
check_bad(size_t i)
{
	struct qz_data d = { 0 };
	struct qz_err e = { 0 };
	int ret = read_shard(&d, bad[i].rows, bad[i].first_id, &e);

	if (ret == 0)
		ret = qz_data_end(&d, bad[i].vocab, &e);
	ok(ret == -1 && e.code == QZ_EDATA, "%s: refused", bad[i].name);
	is(e.msg, bad[i].message, bad[i].name);
	qz_data_free(&d);
}

static void
check_order(void)
{
	struct qz_data d = { .n = 1000 };
	uint64_t a[1000], b[1000], seen[1000] = { 0 }, same = 0, all = 1;

	qz_data_order(&d, 42, 0, a);
	qz_data_order(&d, 42, 0, b);
	ok(!memcmp(a, b, sizeof a), "an epoch's order is a function of seed and epoch");
	for (int i = 0; i < 1000; i++)
		seen[a[i]]++;
	for (int i = 0; i < 1000; i++)
		all &= seen[i] == 1;
	ok(all == 1, "each row comes once");
	qz_data_order(&d, 42, 1, b);
	for (int i = 0; i < 1000; i++)
		same += a[i] == b[i];
	ok(same < 10, "the next epoch's order is another (%d rows in the same place)", (int)same);
	qz_data_order(&d, 43, 0, b);
	same = 0;
	for (int i = 0; i < 1000; i++)
		same += a[i] == b[i];
	ok(same < 10, "so is another seed's (%d)", (int)same);
}

static void
check_several(void)
{
	struct qz_data a = { 0 }, b = { 0 };
	struct qz_err e;

	ok(read_shard(&a, "011/", 10, &e) == 0 && read_shard(&a, "01|01/", 20, &e) == 0 &&
		qz_data_end(&a, 100, &e) == 0 && a.n == 2 && a.rows.ids[a.start[1]] == 20 &&
		a.n_trained == 4 && a.number[1] == 1,
	    "two inputs are one list of rows");
	ok(read_shard(&b, "01|01/", 20, &e) == 0 && qz_data_end(&b, 100, &e) == 0 &&
		memcmp(&a.digest, &b.digest, sizeof a.digest) != 0,
	    "other tokens have another digest");
	qz_data_free(&a);
	qz_data_free(&b);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
		check_packing(i);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		check_bad(i);
	check_order();
	check_several();
	return done();
}
