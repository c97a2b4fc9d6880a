/* The smallest shard of each kind: written, read back, cut at every byte, flipped at every byte. */
#include "libcore/base/le.h"
#include "libcore/shard/codec.h"
#include "libcore/shard/provenance.h"
#include "libcore/shard/reader.h"
#include "libcore/shard/writer.h"
#include "tests/unit/tap.h"

static const struct qz_tensor shapes[] = {
	{ .name = "a.weight", .dtype = QZ_BF16, .n_dims = 2, .dims = { 3, 5 } },
	{ .name = "b.weight",
	    .dtype = QZ_NF4,
	    .n_dims = 2,
	    .dims = { 2, 64 },
	    .block = 64,
	    .nested_block = 256 },
	{ .name = "c.weight", .dtype = QZ_Q8_0, .n_dims = 2, .dims = { 2, 32 } },
};
enum { N = 3 };

static void
write_tensor(struct qz_shard_writer *w, struct qz_tensor *t, struct qz_err *e)
{
	uint8_t data[4096];

	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7);
	qz_shard_tensor_begin(w, t, e);
	for (int s = 0; s < t->n_sections; s++)
		qz_shard_tensor_write(w, data, (size_t)t->sections[s].nbytes, e);
	qz_shard_tensor_end(w, 0x1234, e);
}

static int
write_model(struct qz_buf *b, int level, struct qz_err *e)
{
	struct qz_tensor t[N];
	struct qz_out *o = qz_out_memory(b, e);
	struct qz_shard_writer *w;
	int ret;

	memcpy(t, shapes, sizeof t);
	for (int i = 0; i < N; i++)
		qz_tensor_plan(&t[i], e);
	w = qz_shard_writer_new(o, "model", "{\"config\":{}}", t, N, level, e);
	qz_shard_blob(w, "config.json", "{}", 2, e);
	for (int i = 0; i < N; i++)
		write_tensor(w, &t[i], e);
	qz_shard_provenance_put(w, "[{\"tool\":\"test\"}]", e);
	ret = qz_shard_writer_end(w, e);
	qz_shard_writer_free(w);
	qz_out_close(o);
	return ret;
}

static int
write_tokens(struct qz_buf *b, struct qz_err *e)
{
	const uint32_t ids[] = { 1, 2, 3, 4, 5 };
	const uint8_t mask[] = { 0, 1, 1, 0, 1 };
	const uint64_t rows[] = { 3, 5 }, docs[] = { 1, 3, 5 };
	struct qz_out *o = qz_out_memory(b, e);
	struct qz_shard_writer *w = qz_shard_writer_new(o, "tokens", "{}", NULL, 0, 0, e);
	int ret = qz_shard_tokens(
	    w, &(struct qz_tokens_block){ ids, mask, 5, rows, docs, 2, 3 }, e);

	if (ret == 0)
		ret = qz_shard_writer_end(w, e);
	qz_shard_writer_free(w);
	qz_out_close(o);
	return ret;
}

/* All records and all data; the number of records, or -1. */
static int
read_all(const void *data, size_t n, const char *kind, struct qz_err *e)
{
	struct qz_in *in = qz_in_memory("x.qz", data, n, e);
	struct qz_shard_reader *r = qz_shard_reader_new(in, kind, e);
	const struct qz_record *rec;
	uint8_t buf[8192];
	int got, count = 0;

	while ((got = qz_shard_next(r, &rec, e)) > 0) {
		count++;
		if (rec->nbytes && rec->nbytes <= sizeof buf &&
		    qz_shard_read(r, buf, rec->nbytes, e) < 0) {
			got = -1;
			break;
		}
	}
	qz_shard_reader_free(r);
	qz_in_close(in);
	return got < 0 ? -1 : count;
}

static void
check_cuts(const struct qz_buf *b, const char *what)
{
	size_t accepted = 0, wrong = 0;
	struct qz_err e;

	for (size_t n = 0; n < b->n; n++) {
		char *cut = malloc(n ? n : 1); /* its own memory, so that reading past it is seen */

		memcpy(cut, b->data, n);
		if (read_all(cut, n, NULL, &e) >= 0)
			accepted++;
		else if (e.code != QZ_EDATA || strncmp(e.msg, "x.qz: ", 6))
			wrong++;
		free(cut);
	}
	ok(accepted == 0 && wrong == 0, "%s: cut at each of %zu bytes it is refused", what, b->n);
}

static void
check_flips(const struct qz_buf *b, const char *what)
{
	size_t accepted = 0, wrong = 0;
	struct qz_err e;

	for (size_t i = 0; i < b->n; i++)
		for (int bit = 0; bit < 8; bit += 3) {
			b->data[i] ^= (char)(1 << bit);
			if (read_all(b->data, b->n, NULL, &e) >= 0)
				accepted++;
			else if (e.code != QZ_EDATA || strncmp(e.msg, "x.qz: ", 6))
				wrong++;
			b->data[i] ^= (char)(1 << bit);
		}
	ok(accepted == 0 && wrong == 0,
	    "%s: with one bit of any byte flipped it is refused (%zu accepted, %zu odd)", what,
	    accepted, wrong);
}

static void
check_contents(const struct qz_buf *b)
{
	struct qz_err e;
	struct qz_in *in = qz_in_memory("x.qz", b->data, b->n, &e);
	struct qz_shard_reader *r = qz_shard_reader_new(in, "model", &e);
	const struct qz_record *rec;
	uint8_t data[4096];
	int tensors = 0, good = 1;

	while (qz_shard_next(r, &rec, &e) > 0) {
		if (rec->type != QZ_REC_TENSOR)
			continue;
		good &= !strcmp(rec->name, shapes[tensors].name) && rec->offset % 64 == 0;
		good &= qz_shard_read(r, data, rec->nbytes, &e) == 0;
		for (int s = 0; s < rec->tensor.n_sections; s++)
			for (uint64_t i = 0; i < rec->tensor.sections[s].nbytes; i++)
				good &= data[rec->tensor.sections[s].offset + i] ==
					(uint8_t)(i * 7);
		good &= qz_shard_finish(r, &e) == 0 && qz_shard_source(r) == 0x1234;
		tensors++;
	}
	ok(good && tensors == N, "tensors come back as they were written");
	is(qz_shard_provenance(r), "[{\"tool\":\"test\"}]", "so does the provenance");
	qz_shard_reader_free(r);
	qz_in_close(in);
}

static void
check_refusals(void)
{
	static const struct {
		const char *name;
		struct qz_tensor t;
		const char *want;
	} cases[] = {
		{ "unknown type", { .name = "t", .dtype = 7, .n_dims = 1, .dims = { 1 } },
		    "type 7 is not known" },
		{ "too many dims", { .name = "t", .dtype = QZ_F32, .n_dims = 5, .dims = { 1 } },
		    "5 dimensions, 1 to 4 expected" },
		{ "overflow",
		    { .name = "t",
			.dtype = QZ_F32,
			.n_dims = 2,
			.dims = { 1ull << 40, 1ull << 40 } },
		    "the product of its dimensions is too large" },
		{ "odd block",
		    { .name = "t", .dtype = QZ_NF4, .n_dims = 1, .dims = { 64 }, .block = 63 },
		    "block size 63, a power of two within 16..4096 expected" },
		{ "short row", { .name = "t", .dtype = QZ_Q8_0, .n_dims = 2, .dims = { 2, 31 } },
		    "rows of 31 elements are no multiple of q8_0's 32" },
	};
	struct qz_err e;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct qz_tensor t = cases[i].t;

		ok(qz_tensor_plan(&t, &e) < 0, "%s is refused", cases[i].name);
		is(e.msg, cases[i].want, cases[i].name);
	}
}

int
main(void)
{
	struct qz_buf model = { 0 }, packed = { 0 }, tokens = { 0 }, two = { 0 };
	struct qz_err e;

	ok(write_model(&model, 0, &e) == 0, "a model shard is written");
	ok(write_model(&packed, 3, &e) == 0, "and a compressed one");
	ok(write_tokens(&tokens, &e) == 0, "and a token shard");
	ok(read_all(model.data, model.n, "model", &e) == 8, "eight records come back");
	ok(read_all(packed.data, packed.n, "model", &e) == 8, "compressed too");
	ok(model.n % 64 == 0 && packed.n % 64 == 0, "sizes are multiples of 64");
	check_contents(&model);
	check_contents(&packed);
	qz_buf_add(&two, tokens.data, tokens.n);
	qz_buf_add(&two, tokens.data, tokens.n);
	ok(read_all(two.data, two.n, "tokens", &e) == 8, "two shards in one file are two shards");
	ok(read_all(tokens.data, tokens.n, "model", &e) < 0, "another kind is refused");
	is(e.msg,
	    "x.qz: record 0 (HEAD) at byte 64: is a shard of kind tokens, one of kind model is "
	    "expected",
	    "with its name");
	ok(read_all("", 0, NULL, &e) < 0, "nothing is no shard");
	is(e.msg, "x.qz: is empty, a shard is expected", "and says so");
	check_cuts(&model, "model");
	check_cuts(&packed, "compressed model");
	check_cuts(&tokens, "tokens");
	check_flips(&model, "model");
	check_flips(&packed, "compressed model");
	check_flips(&tokens, "tokens");
	check_refusals();
	qz_buf_free(&model);
	qz_buf_free(&packed);
	qz_buf_free(&tokens);
	qz_buf_free(&two);
	return done();
}
