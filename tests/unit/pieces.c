/* A feed cut into pieces gives every byte back, in order, with heads whole and scaled types held. */
#include "libcore/base/flow.h"
#include "libcore/model/pieces.h"
#include "tests/unit/tap.h"

static const struct qz_tensor shapes[] = {
	{ .name = "vector", .dtype = QZ_F32, .n_dims = 1, .dims = { 7 } },
	{ .name = "small", .dtype = QZ_BF16, .n_dims = 2, .dims = { 3, 5 } },
	{ .name = "tall", .dtype = QZ_F16, .n_dims = 2, .dims = { 1000, 4096 } },
	{ .name = "nf4",
	    .dtype = QZ_NF4,
	    .n_dims = 2,
	    .dims = { 640, 4096 },
	    .block = 64,
	    .nested_block = 256 },
	{ .name = "nf4 again", .dtype = QZ_NF4, .n_dims = 2, .dims = { 256, 4096 }, .block = 64 },
	{ .name = "blocks", .dtype = QZ_Q8_0, .n_dims = 2, .dims = { 500, 4096 } },
	{ .name = "int8", .dtype = QZ_INT8, .n_dims = 2, .dims = { 5, 64 } },
};
enum { N = sizeof shapes / sizeof *shapes, UNIT = 48 };

struct fake {
	struct qz_tensor t[N];
	size_t next;
	uint64_t at;
	struct qz_pieces *pieces;
	/* What the writer has seen. */
	size_t tensor, n_pieces, wrong;
	uint64_t row;
};

/* Byte i of tensor k. */
static uint8_t
byte_of(size_t k, uint64_t i)
{
	return (uint8_t)(i * 31 + i / 251 + k);
}

static int
fake_next(void *arg, const struct qz_tensor **t, struct qz_err *e)
{
	struct fake *f = arg;

	if (f->next && f->at != f->t[f->next - 1].nbytes)
		return qz_fail(e, QZ_EDATA, "%s was not read to its end", f->t[f->next - 1].name);
	if (f->next == N)
		return 0;
	*t = &f->t[f->next++];
	f->at = 0;
	return 1;
}

static int
fake_read(void *arg, void *data, size_t n, struct qz_err *e)
{
	struct fake *f = arg;
	uint8_t *to = data;

	if (n > f->t[f->next - 1].nbytes - f->at)
		return qz_fail(e, QZ_EDATA, "too much is read");
	for (size_t i = 0; i < n; i++)
		to[i] = byte_of(f->next - 1, f->at++);
	return 0;
}

static uint64_t
fake_digest(void *arg)
{
	return ((struct fake *)arg)->next * 1000;
}

static int
read_piece(void *arg, int slot, struct qz_err *e)
{
	struct fake *f = arg;
	struct qz_piece *p;
	int got = qz_pieces_next(f->pieces, &p, e);

	if (got > 0 && p != qz_pieces_slot(f->pieces, slot))
		return qz_fail(e, QZ_EDATA, "not the slot that is free");
	return got;
}

static int
work_piece(void *arg, int slot, struct qz_err *e)
{
	(void)arg, (void)slot, (void)e;
	return 0;
}

/* Rows follow each other, and the first section's bytes are those of the feed. */
static int
check_piece(void *arg, int slot, struct qz_err *e)
{
	struct fake *f = arg;
	const struct qz_piece *p = qz_pieces_slot(f->pieces, slot);
	uint64_t n, row, section = p->t->sections[0].nbytes;
	const uint8_t *at = p->mat.data;

	(void)e;
	row = p->rows ? section / p->rows : 0;
	n = row * p->n_rows;
	f->wrong += p->index != f->tensor || p->row0 != f->row ||
		    strcmp(p->t->name, shapes[f->tensor].name);
	f->wrong += p->row0 % UNIT || (!p->last && p->n_rows % UNIT);
	for (uint64_t i = 0; i < n; i++)
		f->wrong += at[(uint64_t)p->mat_row * row + i] !=
			    byte_of(f->tensor, p->row0 * row + i);
	f->row = p->last ? 0 : p->row0 + p->n_rows;
	f->wrong += p->last && p->digest != (f->tensor + 1) * 1000;
	f->tensor += p->last;
	f->n_pieces++;
	return 0;
}

/* Memory of a GPU's, and how much of it is there. */
static int lent;

static void *
lend(struct qz_dev *d, size_t n, struct qz_err *e)
{
	(void)d, (void)e;
	lent++;
	return malloc(n);
}

static void
take_back(struct qz_dev *d, void *p)
{
	(void)d;
	lent -= p != NULL;
	free(p);
}

int
main(void)
{
	static const struct qz_backend gpu = {
		.name = "a GPU", .host_alloc = lend, .host_free = take_back
	};
	struct qz_dev d = { &gpu };
	struct qz_err e = { 0 };

	for (int run = 0; run < 8; run++) {
		int slots = run % 4 + 1, took;
		struct fake f = { 0 };
		struct qz_feed feed = { &f, fake_next, fake_read, fake_digest };
		struct qz_flow flow = { &f, slots, read_piece, work_piece, check_piece };
		int got;

		memcpy(f.t, shapes, sizeof shapes);
		for (int i = 0; i < N; i++)
			ok(qz_tensor_plan(&f.t[i], &e) == 0, "%s", shapes[i].name);
		f.pieces = qz_pieces_new(&feed, slots, UNIT, &e);
		if (run >= 4)
			qz_pieces_for(f.pieces, &d);
		got = qz_flow_run(&flow, &e);
		ok(got == 0, "%d slots: %s", slots, got ? e.msg : "all read");
		ok(f.tensor == N && !f.wrong && (run < 4 ? f.n_pieces > N : f.n_pieces == N),
		    "%zu pieces, %zu wrong%s", f.n_pieces, f.wrong, run < 4 ? "" : ", for a GPU");
		took = lent;
		qz_pieces_free(f.pieces);
		ok((run >= 4) == (took > 0) && !lent, "%d pieces of its memory, all given back",
		    took);
	}
	return done();
}
