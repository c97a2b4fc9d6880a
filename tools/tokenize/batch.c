/* A batch is some records; its parts are encoded in parallel, and given out in the order of the input.
 * While one is encoded the next is read and the one before is written. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/flow.h"
#include "libcore/base/grow.h"
#include "tools/tokenize/tokenize.h"

enum { SLOTS = 3, BATCH_BYTES = 4 << 20, BATCH_RECORDS = 1 << 16, PARTS = 64 };

/* A record that is broken, and before which of the part's documents it stands. */
struct broken {
	size_t before;
	struct qz_record record;
	struct qz_err e;
};

struct part {
	size_t first, n; /* of the batch's records */
	struct tokens out;
	struct counts c;
	struct broken *broken;
	size_t n_broken, broken_cap;
	bool no_memory;
};

struct batch {
	struct qz_buf text;
	struct qz_record *records; /* s: an offset until the batch is full */
	size_t n, cap;
	enum qz_docs_format format;
	struct part parts[PARTS];
	bool unknown; /* one more record follows, whose format cannot be told: e */
	struct qz_record last;
	struct qz_err e;
};

struct thread {
	struct qz_maker *maker;
	struct encoder encoder;
};

struct run {
	const struct job *j;
	struct qz_docs *docs;
	struct counts *c;
	struct batch batches[SLOTS];
	struct thread *threads;
};

static int
put_record(struct batch *b, const struct qz_record *r, struct qz_err *e)
{
	struct qz_record *v = qz_grow(b->records, b->n, &b->cap, 256, sizeof *v, e);

	if (!v)
		return -1;
	b->records = v;
	b->records[b->n] = *r;
	b->records[b->n++].s = NULL;
	qz_buf_add(&b->text, r->s, r->n);
	return qz_buf_ok(&b->text, e);
}

/* Records share the batch's text, one behind the other. */
static void
settle(struct batch *b)
{
	size_t at = 0;

	for (size_t i = 0; i < b->n; i++) {
		b->records[i].s = b->text.data + at;
		at += b->records[i].n;
	}
}

static int
read_batch(void *arg, int slot, struct qz_err *e)
{
	struct run *r = arg;
	struct batch *b = &r->batches[slot];
	struct qz_record rec;
	int got = 0;

	qz_buf_clear(&b->text);
	b->n = 0;
	b->unknown = false;
	while (b->n < BATCH_RECORDS && b->text.n < BATCH_BYTES && !b->unknown &&
	       (got = qz_docs_read(r->docs, &rec, e)) > 0) {
		if (qz_docs_format(r->docs, &rec, &b->e) < 0) {
			b->unknown = true;
			b->last = rec;
		} else if (put_record(b, &rec, e) < 0) {
			return -1;
		}
	}
	if (got < 0)
		return -1;
	settle(b);
	b->format = qz_docs_found(r->docs);
	return b->n || b->unknown;
}

static int
put_broken(struct part *p, const struct qz_record *r, const struct qz_err *e)
{
	if (p->n_broken == p->broken_cap) {
		size_t cap = p->broken_cap ? 2 * p->broken_cap : 4;
		struct broken *v = realloc(p->broken, cap * sizeof *v);

		p->no_memory = !v;
		if (!v)
			return -1;
		p->broken = v;
		p->broken_cap = cap;
	}
	p->broken[p->n_broken++] = (struct broken){ p->out.n_docs, *r, *e };
	return 0;
}

struct shared {
	struct run *r;
	struct batch *b;
};

static void
encode_part(void *arg, int index, int thread)
{
	const struct shared *s = arg;
	struct part *p = &s->b->parts[index];
	struct thread *t = &s->r->threads[thread];

	p->out.n = p->out.n_docs = p->n_broken = 0;
	p->c = (struct counts){ 0 };
	p->no_memory = false;
	for (size_t i = p->first; i < p->first + p->n; i++) {
		const struct qz_record *rec = &s->b->records[i];
		const struct qz_doc *doc;
		struct qz_err e;

		if (qz_maker_make(t->maker, s->b->format, rec, &doc, &e) == 0) {
			if (encode_doc(&t->encoder, doc, &p->c, &p->out, &e) == 0)
				continue;
			qz_record_at(rec, &e);
		}
		if (put_broken(p, rec, &e) < 0 || e.code != QZ_EDATA)
			return; /* what is not the record's fault ends all: the writer stops there */
	}
}

/* Parts of about as many bytes each. */
static int
share_out(struct batch *b)
{
	size_t share = b->text.n / PARTS + 1, bytes = 0;
	int n = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (!n || bytes >= share * (size_t)n) {
			b->parts[n].first = i;
			b->parts[n++].n = 0;
		}
		b->parts[n - 1].n++;
		bytes += b->records[i].n;
	}
	return n;
}

static int
encode_batch(void *arg, int slot, struct qz_err *e)
{
	struct run *r = arg;
	struct shared s = { r, &r->batches[slot] };
	int n = share_out(s.b);

	(void)e;
	for (int i = n; i < PARTS; i++)
		s.b->parts[i].out.n_docs = s.b->parts[i].n_broken = s.b->parts[i].n = 0;
	qz_pool_run(r->j->pool, n, encode_part, &s);
	return 0;
}

/* 0: the broken record is passed over; -1: it is one too many. */
static int
forgive(struct run *r, const struct qz_record *rec, const struct qz_err *why, struct qz_err *e)
{
	if (!qz_docs_forgive(r->docs, rec, why)) {
		*e = *why;
		return -1;
	}
	r->j->skip(r->j->arg, why);
	return 0;
}

static int
write_part(struct run *r, const struct part *p, struct qz_err *e)
{
	uint64_t at = 0;
	size_t k = 0;

	for (size_t d = 0; d <= p->out.n_docs; d++) {
		for (; k < p->n_broken && p->broken[k].before == d; k++)
			if (forgive(r, &p->broken[k].record, &p->broken[k].e, e) < 0)
				return -1;
		if (d == p->out.n_docs)
			break;
		if (r->j->take(
			r->j->arg, p->out.ids + at, p->out.mask + at, p->out.ends[d] - at, e) < 0)
			return -1;
		at = p->out.ends[d];
	}
	counts_add(r->c, &p->c);
	return p->no_memory ? qz_nomem(e, sizeof *p->broken) : 0;
}

static int
write_batch(void *arg, int slot, struct qz_err *e)
{
	struct run *r = arg;
	const struct batch *b = &r->batches[slot];

	for (int i = 0; i < PARTS && b->parts[i].n; i++)
		if (write_part(r, &b->parts[i], e) < 0)
			return -1;
	return b->unknown ? forgive(r, &b->last, &b->e, e) : 0;
}

static int
run_all(struct run *r, struct qz_err *e)
{
	const struct qz_flow flow = { r, SLOTS, read_batch, encode_batch, write_batch };
	int got;

	if (qz_pool_threads(r->j->pool) > 1)
		return qz_flow_run(&flow, e);
	while ((got = read_batch(r, 0, e)) > 0)
		if (encode_batch(r, 0, e) < 0 || write_batch(r, 0, e) < 0)
			return -1;
	return got;
}

static void
free_all(struct run *r, int n_threads)
{
	for (int i = 0; i < n_threads && r->threads; i++) {
		qz_maker_free(r->threads[i].maker);
		encoder_free(&r->threads[i].encoder);
	}
	free(r->threads);
	for (int i = 0; i < SLOTS; i++) {
		qz_buf_free(&r->batches[i].text);
		free(r->batches[i].records);
		for (int p = 0; p < PARTS; p++) {
			tokens_free(&r->batches[i].parts[p].out);
			free(r->batches[i].parts[p].broken);
		}
	}
	free(r);
}

int
run_batches(const struct job *j, struct qz_docs *docs, struct counts *c, struct qz_err *e)
{
	int n = qz_pool_threads(j->pool), ret = 0;
	struct run *r = calloc(1, sizeof *r);

	if (!r)
		return qz_nomem(e, sizeof *r);
	r->j = j;
	r->docs = docs;
	r->c = c;
	r->threads = calloc((size_t)n, sizeof *r->threads);
	if (!r->threads)
		ret = qz_nomem(e, 1);
	for (int i = 0; i < n && !ret; i++) {
		r->threads[i].encoder = j->encoder;
		r->threads[i].maker = qz_maker_new(j->options, e);
		ret = r->threads[i].maker ? 0 : -1;
	}
	if (!ret)
		ret = run_all(r, e);
	c->bad += qz_docs_skipped(docs);
	free_all(r, n);
	return ret;
}
