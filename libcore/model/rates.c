/* The rates of a device, measured at the start of a run. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/clock.h"
#include "libcore/model/estimate.h"

enum { RUNS = 3, PAIR = 2, FEW = 64, COPY = 64 << 20, TOKENS_MAX = 4096, LENGTH_MAX = 16384 };
/* Parts of heads must be so much faster than none to be worth their memory. */
static const double WORTH = 1.05;
static const double WARM = 0.3;

struct probe {
	struct qz_dev *d;
	const struct qz_backend *k;
	const struct qz_config *c;
	int64_t t, len, docs,
	    rows; /* rows: of attention, `docs` documents, the longest may have len */
	char *memory, *host;
	int32_t *starts, *starts_host;
	bool any_order;
	int parts, rank; /* rank 0: no dropout */
	float dropout;
	struct qz_linear pair[PAIR];
	char *x, *dx;
};

/* The best of a few runs of `times` calls, per call. */
static int
best(struct probe *p, void (*op)(struct probe *), int times, double *seconds, struct qz_err *e)
{
	op(p);
	*seconds = 1e9;
	for (int i = 0; i < RUNS; i++) {
		double start, spent;

		if (p->k->sync(p->d, e) < 0)
			return -1;
		start = qz_clock();
		for (int j = 0; j < times; j++)
			op(p);
		if (p->k->sync(p->d, e) < 0)
			return -1;
		spent = (qz_clock() - start) / times;
		*seconds = spent < *seconds ? spent : *seconds;
	}
	return 0;
}

/* What a step sees of an op that a card cannot do for long at its highest clock: the mean over the last of WARM
 * seconds, per call. */
static int
steady(struct probe *p, void (*op)(struct probe *), int times, double *seconds, struct qz_err *e)
{
	double start, spent, all = 0;
	int n;

	if (p->k->sync(p->d, e) < 0)
		return -1;
	do {
		n = times;
		start = qz_clock();
		for (int i = 0; i < n; i++)
			op(p);
		if (p->k->sync(p->d, e) < 0)
			return -1;
		spent = qz_clock() - start;
		all += spent;
		times = spent < WARM / 4 ? 2 * n : n;
	} while (all < WARM);
	*seconds = spent / n;
	return 0;
}

static void
product(struct probe *p)
{
	size_t act = p->k->act_size;
	struct qz_mat w = {
		.type = p->k->act_type, .rows = p->c->ffn, .cols = p->c->hidden, .data = p->memory
	};
	char *x = p->memory + (size_t)(p->c->ffn * p->c->hidden) * act;
	struct qz_linear l = { .w = w, .y = x + (size_t)(p->t * p->c->hidden) * act };

	p->k->linear(p->d, &l, 1, x, p->t);
}

/* Bytes of one of what lies in the memory for a pair: x and dx; y and dy; s; da, db. */
struct pair_sizes {
	size_t in, narrow, s, da, db;
};

static struct pair_sizes
pair_sizes(const struct probe *p)
{
	size_t act = p->k->act_size, par = p->k->par_size;
	size_t t = (size_t)p->t, hidden = (size_t)p->c->hidden, rank = (size_t)p->rank;

	return (struct pair_sizes){ t * hidden * act, t * FEW * act, t * rank * act,
		rank * hidden * par, FEW * rank * par };
}

static size_t
pair_bytes(const struct probe *p)
{
	struct pair_sizes z = pair_sizes(p);

	return 2 * z.in + PAIR * (2 * z.narrow + z.s + z.da + z.db);
}

/* Two adapted projections of one input to a few outputs. */
static void
lay_out_pair(struct probe *p)
{
	struct pair_sizes z = pair_sizes(p);
	size_t act = p->k->act_size, a = (size_t)(p->rank * p->c->hidden) * act;
	char *at = p->memory;

	p->x = at;
	p->dx = at += z.in;
	for (int i = 0; i < PAIR; i++)
		p->pair[i] = (struct qz_linear){ .w = { .type = p->k->act_type,
						     .rows = FEW,
						     .cols = p->c->hidden,
						     .data = p->x },
			.rank = p->rank,
			.scale = 1,
			.stream = (uint64_t)i,
			.a = p->x + (size_t)i * a, /* any numbers do */
			.b = p->x,
			.lds = PAIR * p->rank };
	at += z.in;
	for (int i = 0; i < PAIR; i++) {
		p->pair[i].y = at + (size_t)i * z.narrow;
		p->pair[i].dy = at + (size_t)(PAIR + i) * z.narrow;
	}
	at += 2 * PAIR * z.narrow;
	for (int i = 0; i < PAIR; i++) {
		p->pair[i].s = at + (size_t)(i * p->rank) * act;
		p->pair[i].da = at + PAIR * z.s + (size_t)i * z.da;
		p->pair[i].db = at + PAIR * (z.s + z.da) + (size_t)i * z.db;
	}
}

static void
forward(struct probe *p)
{
	p->k->linear(p->d, p->pair, PAIR, p->x, p->t);
}

static void
backward(struct probe *p)
{
	p->k->linear_bwd(p->d, p->pair, PAIR, p->x, p->dx, p->t, false);
}

/* What dropout adds to op, for an element of one input. */
static int
measure_drop(struct probe *p, void (*op)(struct probe *), double *seconds, struct qz_err *e)
{
	double without, with, elements = (double)PAIR * (double)p->t * (double)p->c->hidden;

	for (int i = 0; i < PAIR; i++)
		p->pair[i].dropout = 0;
	if (best(p, op, 8, &without, e) < 0)
		return -1;
	for (int i = 0; i < PAIR; i++)
		p->pair[i].dropout = p->dropout;
	if (best(p, op, 8, &with, e) < 0)
		return -1;
	*seconds = with > without ? (with - without) / elements : 0;
	return 0;
}

static struct qz_attn
attention_of(struct probe *p)
{
	int64_t q = p->rows * p->c->heads * p->c->head_dim;
	int64_t kv = p->rows * p->c->kv_heads * p->c->head_dim;
	size_t act = p->k->act_size;
	char *at = p->memory + 256;
	struct qz_attn a = { .n_docs = (int)p->docs,
		.max_q = (int)p->len,
		.max_k = (int)p->len,
		.q_start = p->starts,
		.k_start = p->starts,
		.q_host = p->starts_host,
		.k_host = p->starts_host,
		.any_order = p->any_order,
		.parts = p->parts,
		.heads = (int)p->c->heads,
		.kv_heads = (int)p->c->kv_heads,
		.head_dim = (int)p->c->head_dim,
		.window = p->c->window,
		.scale = 0.1f };

	a.q = at;
	a.o = at += (size_t)q * act;
	a.d_o = at += (size_t)q * act;
	a.dq = at += (size_t)q * act;
	a.k = at += (size_t)q * act;
	a.v = at += (size_t)kv * act;
	a.dk = at += (size_t)kv * act;
	a.dv = at += (size_t)kv * act;
	a.lse = at += (size_t)kv * act;
	return a;
}

static void
attention(struct probe *p)
{
	struct qz_attn a = attention_of(p);

	p->k->attention(p->d, &a);
}

static void
attention_bwd(struct probe *p)
{
	struct qz_attn a = attention_of(p);

	p->k->attention_bwd(p->d, &a);
}

static void
copy(struct probe *p)
{
	p->k->cast(p->d, p->memory + COPY, QZ_F32, p->memory, QZ_F32, COPY / 4);
}

static void
link_copy(struct probe *p)
{
	p->k->side_copy(p->d, 1, p->memory, p->host, COPY);
	p->k->side_wait(p->d, 1);
}

static void
smallest(struct probe *p)
{
	p->k->cast(p->d, p->memory, QZ_F32, p->memory + 4096, QZ_F32, 64);
}

/* FLOPs of one product of attention, as the estimate counts them. */
static double
scores(const struct probe *p)
{
	return (double)p->rows * (double)p->len * (double)(p->c->heads * p->c->head_dim);
}

static int
measure(struct qz_rates *r, struct probe *p, struct qz_err *e)
{
	double s;

	if (steady(p, product, 8, &s, e) < 0)
		return -1;
	r->product = 2 * (double)p->t * (double)p->c->ffn * (double)p->c->hidden / s;
	if (best(p, attention, 2, &s, e) < 0)
		return -1;
	r->attention = 2 * scores(p) / s;
	if (best(p, attention_bwd, 2, &s, e) < 0)
		return -1;
	r->attention_bwd[0] = 5 * scores(p) / s;
	if (best(p, copy, 8, &s, e) < 0)
		return -1;
	r->copy = 2.0 * COPY / s;
	if (best(p, link_copy, 1, &s, e) < 0)
		return -1;
	r->link = COPY / s;
	if (best(p, smallest, 100, &s, e) < 0)
		return -1;
	r->launch = s;
	if (!p->rank)
		return 0;
	lay_out_pair(p);
	return measure_drop(p, forward, &r->drop, e) < 0
		   ? -1
		   : measure_drop(p, backward, &r->drop_bwd, e);
}

/* Attention's gradients by parts of the heads; what there is no memory for is not measured. */
static int
measure_parts(struct qz_rates *r, struct probe *p, struct qz_need ask, struct qz_err *e)
{
	int ret = 0;

	ask.tokens = p->rows; /* no linears: their workspace would let fewer parts do */
	ask.weight = ask.group = ask.width = 0;
	for (p->parts = 1; ret == 0 && p->parts <= QZ_PARTS_MAX; p->parts++) {
		struct qz_err none;
		size_t nbytes;
		void *ws;
		double s;

		if (p->any_order || !p->k->attention_parts(p->d, &ask, p->parts))
			continue;
		ask.attention_parts = p->parts;
		nbytes = p->k->workspace(p->d, &ask);
		ws = p->k->alloc(p->d, nbytes, &none);
		if (!ws)
			continue;
		p->k->set_workspace(p->d, ws, nbytes);
		ret = best(p, attention_bwd, 2, &s, e);
		if (ret == 0 && 5 * scores(p) / s > WORTH * r->attention_bwd[0])
			r->attention_bwd[p->parts] = 5 * scores(p) / s;
		p->k->set_workspace(p->d, NULL, 0);
		p->k->free(p->d, ws);
	}
	p->parts = 0;
	return ret;
}

/* Numbers that are not zeros, which some devices multiply faster. */
static void
fill(struct probe *p, size_t nbytes)
{
	uint64_t state = 1;

	for (size_t i = 0; i < COPY / 8; i++) {
		/* two bfloat16 or one float32 near 1: exponents below, mantissas at random */
		uint64_t word = 0x3f003f003f003f00;

		state = state * 6364136223846793005 + 1442695040888963407;
		word |= state >> 8 & 0x807f807f807f807f;
		memcpy(p->host + i * 8, &word, 8);
	}
	for (size_t at = 0; at < nbytes; at += COPY)
		p->k->copy_in(
		    p->d, p->memory + at, p->host, nbytes - at < COPY ? nbytes - at : COPY);
}

/* Sizes of a batch like the largest, with fewer documents of the same mean length when it is large. */
static void
set_sizes(struct probe *p, const struct qz_extent *room)
{
	p->t = room->tokens < TOKENS_MAX ? room->tokens : TOKENS_MAX;
	p->len = room->max_len < LENGTH_MAX ? room->max_len : LENGTH_MAX;
	p->rows = p->len > p->t ? p->len : p->t;
	p->docs = (room->docs * p->rows + room->tokens - 1) / room->tokens;
	/* all of one length: whole documents */
	if (room->docs * room->max_len == room->tokens) {
		p->docs = p->rows / p->len;
		p->rows = p->docs * p->len;
	}
}

int
qz_rates_measure(struct qz_rates *r, struct qz_dev *dev, const struct qz_config *c,
    const struct qz_lora *l, const struct qz_extent *room, bool any_order, struct qz_err *e)
{
	struct probe p = { .d = dev,
		.k = dev->k,
		.c = c,
		.any_order = any_order,
		.rank = l->dropout > 0 ? l->rank : 0,
		.dropout = (float)l->dropout };
	struct qz_need ask = { .heads = (int)c->heads,
		.kv_heads = (int)c->kv_heads,
		.head_dim = (int)c->head_dim,
		.any_order = any_order,
		.weight = c->ffn * c->hidden,
		.group = c->ffn * c->hidden,
		.width = c->ffn,
		.rank_sum = PAIR * p.rank,
		.dropout = p.rank > 0 };
	uint64_t before = p.k->used(dev);
	size_t act = p.k->act_size, products, scores_bytes, need, workspace, starts_bytes;
	int32_t *starts;
	char *ws = NULL;
	int ret = -1;

	*r = (struct qz_rates){ 0 };
	set_sizes(&p, room);
	ask.max_len = p.len;
	ask.docs = p.docs;
	ask.tokens = p.rows > p.t ? p.rows : p.t;
	products = (size_t)(c->ffn * c->hidden + p.t * (c->hidden + c->ffn)) * act;
	scores_bytes = (size_t)p.rows * (size_t)(4 * (c->heads + c->kv_heads) * c->head_dim) * act +
		       (size_t)(p.rows * c->heads) * p.k->par_size + 4096;
	need = products > scores_bytes ? products : scores_bytes;
	need = need > 2 * COPY ? need : 2 * COPY;
	if (p.rank && need < pair_bytes(&p))
		need = pair_bytes(&p);
	workspace = p.k->workspace(dev, &ask);
	starts_bytes = (size_t)(p.docs + 1) * sizeof *starts;
	starts = malloc(starts_bytes);
	if (!starts)
		return qz_nomem(e, starts_bytes);
	for (int64_t i = 0; i <= p.docs; i++)
		starts[i] = (int32_t)(p.rows * i / p.docs);
	p.starts_host = starts;
	p.host = p.k->host_alloc(dev, COPY, e);
	p.memory = p.host ? p.k->alloc(dev, need, e) : NULL;
	p.starts = p.memory ? p.k->alloc(dev, starts_bytes, e) : NULL;
	ws = p.starts ? p.k->alloc(dev, workspace, e) : NULL;
	if (ws) {
		p.k->copy_in(dev, p.starts, starts, starts_bytes);
		p.k->set_workspace(dev, ws, workspace);
		fill(&p, need);
		ret = measure(r, &p, e);
		p.k->set_workspace(dev, NULL, 0);
	}
	if (ret == 0)
		ret = measure_parts(r, &p, ask, e);
	p.k->free(dev, ws);
	p.k->free(dev, p.starts);
	p.k->free(dev, p.memory);
	p.k->host_free(dev, p.host);
	free(starts);
	r->libraries = p.k->used(dev) > before ? p.k->used(dev) - before : 0;
	return ret;
}
