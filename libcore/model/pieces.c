#include "libcore/model/pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/size.h"

enum { PIECE_ELEMENTS = 512 << 10, GPU_ELEMENTS = 16 << 20, ALIGN = 64 };
enum { WINDOW = 1 << 20 }; /* bytes of a read: they are still in cache when their digest is made */

struct memory {
	void *data;
	size_t cap;
};

/* A tensor while pieces of it are under way. */
struct held {
	struct qz_tensor t;
	char name[QZ_NAME_LEN_MAX + 1];
	struct memory data; /* all of it, for types with sections */
	uint64_t last_item; /* number of its last piece */
	bool used;
};

struct slot {
	struct qz_piece piece;
	struct memory data;
};

struct qz_pieces {
	struct qz_feed feed;
	struct qz_dev *gpu; /* NULL: pieces are for the CPU */
	uint64_t unit, elements;
	int n_slots;
	struct slot *slots;
	struct held *held; /* [n_slots + 1] */
	struct held *now;  /* the current tensor, NULL between two */
	uint64_t item;     /* number of the next piece */
	uint64_t row;      /* where it begins */
	size_t n_tensors;
};

static void
drop(struct qz_pieces *p, struct memory *m)
{
	if (p->gpu)
		p->gpu->k->host_free(p->gpu, m->data);
	else
		free(m->data);
	*m = (struct memory){ 0 };
}

static int
reserve(struct qz_pieces *p, struct memory *m, uint64_t n, struct qz_err *e)
{
	uint64_t cap = qz_round_up(n, ALIGN);

	if (n <= m->cap)
		return 0;
	drop(p, m);
	if (n > SIZE_MAX / 2)
		return qz_nomem(e, n);
	if (p->gpu)
		m->data = p->gpu->k->host_alloc(p->gpu, (size_t)cap, e);
	else if (!(m->data = aligned_alloc(ALIGN, (size_t)cap)))
		qz_nomem(e, n);
	m->cap = m->data ? (size_t)cap : 0;
	return m->data ? 0 : -1;
}

struct qz_pieces *
qz_pieces_new(const struct qz_feed *feed, int n_slots, uint64_t unit, struct qz_err *e)
{
	struct qz_pieces *p = calloc(1, sizeof *p);

	if (p) {
		p->slots = calloc((size_t)n_slots, sizeof *p->slots);
		p->held = calloc((size_t)n_slots + 1, sizeof *p->held);
		p->feed = *feed;
		p->unit = unit;
		p->elements = PIECE_ELEMENTS;
		p->n_slots = n_slots;
	}
	if (p && p->slots && p->held)
		return p;
	qz_nomem(e, (unsigned)n_slots * sizeof *p->held);
	qz_pieces_free(p);
	return NULL;
}

void
qz_pieces_for(struct qz_pieces *p, struct qz_dev *d)
{
	bool host = qz_on_host(d);

	p->gpu = host ? NULL : d;
	p->elements = host ? PIECE_ELEMENTS : GPU_ELEMENTS;
}

void
qz_pieces_free(struct qz_pieces *p)
{
	if (!p)
		return;
	for (int i = 0; p->slots && i < p->n_slots; i++)
		drop(p, &p->slots[i].data);
	for (int i = 0; p->held && i <= p->n_slots; i++)
		drop(p, &p->held[i].data);
	free(p->slots);
	free(p->held);
	free(p);
}

struct qz_piece *
qz_pieces_slot(struct qz_pieces *p, int slot)
{
	return &p->slots[slot].piece;
}

/* Pieces up to item - n_slots are over: a tensor whose last one is among them gives way.  At most n_slots
 * tensors are under way, so one of n_slots + 1 is free. */
static struct held *
find_free(struct qz_pieces *p)
{
	struct held *h = p->held;

	while (h->used && h->last_item + (uint64_t)p->n_slots > p->item)
		h++;
	return h;
}

static int
read_data(struct qz_pieces *p, char *to, uint64_t n, struct qz_err *e)
{
	while (n) {
		size_t part = n < WINDOW ? (size_t)n : WINDOW;

		if (p->feed.read(p->feed.arg, to, part, e) < 0)
			return -1;
		to += part;
		n -= part;
	}
	return 0;
}

static int
next_tensor(struct qz_pieces *p, struct qz_err *e)
{
	const struct qz_tensor *t;
	struct held *h = find_free(p);
	int got = p->feed.next(p->feed.arg, &t, e);

	if (got <= 0)
		return got;
	h->t = *t;
	snprintf(h->name, sizeof h->name, "%s", t->name);
	h->t.name = h->name;
	h->used = true;
	h->last_item = UINT64_MAX / 2;
	if (qz_dtype((unsigned)t->dtype)->scaled &&
	    (reserve(p, &h->data, t->nbytes, e) < 0 ||
		read_data(p, h->data.data, t->nbytes, e) < 0))
		return qz_at(e, "tensor %s", h->name);
	p->now = h;
	p->row = 0;
	p->n_tensors++;
	return 1;
}

/* Bytes of the rows of a piece; after the last row comes the padding of the tensor's plan. */
static int
read_rows(struct qz_pieces *p, struct slot *s, struct qz_err *e)
{
	struct qz_piece *c = &s->piece;
	uint64_t row_nbytes, n, end;

	if (qz_dtype_nbytes(c->t->dtype, c->cols, &row_nbytes) ||
	    qz_mul_over(row_nbytes, c->n_rows, &n))
		return qz_fail(e, QZ_EDATA, "rows of %llu elements do not fit its type",
		    (unsigned long long)c->cols);
	end = c->last ? c->t->nbytes - row_nbytes * c->row0 : n;
	if (reserve(p, &s->data, end, e) < 0 || read_data(p, s->data.data, end, e) < 0)
		return -1;
	c->mat = (struct qz_mat){ .type = c->t->dtype,
		.rows = (int64_t)c->n_rows,
		.cols = (int64_t)c->cols,
		.data = s->data.data };
	c->mat_row = 0;
	c->data = s->data.data;
	c->nbytes = n;
	return 0;
}

static int
fill(struct qz_pieces *p, struct slot *s, struct qz_err *e)
{
	struct held *h = p->now;
	struct qz_piece *c = &s->piece;
	uint64_t count = qz_tensor_count(&h->t), step;

	*c = (struct qz_piece){ .t = &h->t, .index = p->n_tensors - 1, .row0 = p->row };
	c->cols = h->t.dims[h->t.n_dims - 1];
	c->rows = c->cols ? count / c->cols : 0;
	step = c->cols ? p->elements / c->cols / p->unit * p->unit : 0;
	step = step ? step : p->unit;
	c->n_rows = c->rows - c->row0 < step ? c->rows - c->row0 : step;
	c->last = c->row0 + c->n_rows == c->rows;
	if (qz_dtype((unsigned)h->t.dtype)->scaled) {
		qz_tensor_mat(&h->t, h->data.data, h->data.data, &c->mat);
		c->mat_row = (int64_t)c->row0;
		c->data = h->data.data;
		c->nbytes = h->t.nbytes;
	} else if (read_rows(p, s, e) < 0) {
		return qz_at(e, "tensor %s", h->name);
	}
	p->row += c->n_rows;
	if (c->last) {
		c->digest = p->feed.digest(p->feed.arg);
		h->last_item = p->item;
		p->now = NULL;
	}
	return 0;
}

int
qz_pieces_next(struct qz_pieces *p, struct qz_piece **piece, struct qz_err *e)
{
	struct slot *s = &p->slots[p->item % (uint64_t)p->n_slots];
	int got = p->now ? 1 : next_tensor(p, e);

	if (got <= 0)
		return got;
	if (fill(p, s, e) < 0)
		return -1;
	p->item++;
	*piece = &s->piece;
	return 1;
}
