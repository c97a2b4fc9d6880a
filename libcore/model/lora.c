#include "libcore/model/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"
#include "libcore/base/pool.h"
#include "libcore/base/rng.h"
#include "libcore/base/size.h"

enum { DRAW_PART = 1 << 20 /* elements that are cleared at a time */ };

static int
by_place(const void *pa, const void *pb)
{
	const struct qz_lora_tensor *a = pa, *b = pb;

	return a->layer != b->layer ? (a->layer > b->layer) - (a->layer < b->layer)
				    : (int)a->proj - (int)b->proj;
}

/* First projection of the group that has p's input. */
static enum qz_proj
group(enum qz_proj p)
{
	return p <= QZ_PROJ_V ? QZ_PROJ_Q : p == QZ_PROJ_UP ? QZ_PROJ_GATE : p;
}

static uint64_t
take(uint64_t *at, uint64_t n)
{
	uint64_t place = *at;

	*at += qz_round_up(n, QZ_LORA_ALIGN);
	return place;
}

int
qz_lora_place(struct qz_lora *l, struct qz_err *e)
{
	uint64_t at = 0;

	qsort(l->t, (size_t)l->n, sizeof *l->t, by_place);
	l->n_params = 0;
	for (int i = 0, end; i < l->n; i = end) {
		for (end = i; end < l->n && l->t[end].layer == l->t[i].layer &&
			      group(l->t[end].proj) == group(l->t[i].proj);
		     end++) {
			if (end > i && l->t[end].proj == l->t[end - 1].proj)
				return qz_fail(e, QZ_EDATA, "%s of layer %d is there twice",
				    qz_proj(l->t[end].proj)->name, l->t[end].layer);
			l->t[end].a = take(&at, (uint64_t)(l->t[end].rank * l->t[end].cols));
		}
		for (int k = i; k < end; k++) {
			l->t[k].b = take(&at, (uint64_t)(l->t[k].rank * l->t[k].rows));
			l->n_params += (uint64_t)(l->t[k].rank * (l->t[k].rows + l->t[k].cols));
		}
	}
	l->n_par = at;
	return 0;
}

float
qz_lora_scale(double alpha, int rank, bool rslora)
{
	return (float)(alpha / (rslora ? sqrt(rank) : (double)rank));
}

int
qz_lora_uniform(struct qz_lora *l, const struct qz_config *c, int rank, double alpha,
    double dropout, unsigned targets, struct qz_err *e)
{
	*l = (struct qz_lora){
		.rank = rank, .alpha = alpha, .dropout = dropout, .targets = targets
	};
	l->t = calloc((size_t)c->layers * QZ_PROJ_N, sizeof *l->t);
	if (!l->t)
		return qz_nomem(e, (size_t)c->layers * QZ_PROJ_N * sizeof *l->t);
	for (int layer = 0; layer < c->layers; layer++)
		for (int p = 0; p < QZ_PROJ_N; p++) {
			struct qz_lora_tensor *t = &l->t[l->n];

			if (!(targets & 1u << p))
				continue;
			*t = (struct qz_lora_tensor){ .layer = layer,
				.proj = (enum qz_proj)p,
				.rank = rank,
				.scale = qz_lora_scale(alpha, rank, false) };
			qz_proj_shape(c, t->proj, &t->rows, &t->cols);
			l->n++;
		}
	return qz_lora_place(l, e);
}

int
qz_lora_copy(struct qz_lora *to, const struct qz_lora *from, struct qz_err *e)
{
	*to = *from;
	to->t = malloc((size_t)from->n * sizeof *to->t + 1);
	if (!to->t)
		return qz_nomem(e, (size_t)from->n * sizeof *to->t);
	if (from->n)
		memcpy(to->t, from->t, (size_t)from->n * sizeof *to->t);
	return 0;
}

void
qz_lora_free(struct qz_lora *l)
{
	free(l->t);
	*l = (struct qz_lora){ 0 };
}

const struct qz_lora_tensor *
qz_lora_find(const struct qz_lora *l, int layer, enum qz_proj p)
{
	struct qz_lora_tensor key = { .layer = layer, .proj = p };

	return l->n ? bsearch(&key, l->t, (size_t)l->n, sizeof *l->t, by_place) : NULL;
}

void
qz_lora_name(int layer, enum qz_proj p, char half, char *out, size_t n)
{
	char weight[128];

	qz_role_name(qz_proj(p)->weight, layer, weight, sizeof weight);
	snprintf(
	    out, n, "%.*s.lora_%c.weight", (int)(strlen(weight) - strlen(".weight")), weight, half);
}

int
qz_lora_name_parse(const char *name, int *layer, enum qz_proj *p, char *half)
{
	static const char tails[2][16] = { ".lora_A.weight", ".lora_B.weight" };
	char weight[160];
	size_t n = strlen(name), tail = strlen(tails[0]);
	int found;

	if (n <= tail || n - tail + sizeof ".weight" > sizeof weight)
		return -1;
	*half = '\0';
	for (int i = 0; i < 2; i++)
		if (!strcmp(name + n - tail, tails[i]))
			*half = (char)('A' + i);
	snprintf(weight, sizeof weight, "%.*s.weight", (int)(n - tail), name);
	found = qz_proj_of_role(qz_role_of(weight, layer));
	if (!*half || found < 0)
		return -1;
	*p = (enum qz_proj)found;
	return 0;
}

struct drawing {
	const struct qz_lora *l;
	uint64_t seed;
	float *values;
};

static void
clear(void *arg, int part, int thread)
{
	struct drawing *d = arg;
	uint64_t at = (uint64_t)part * DRAW_PART;
	uint64_t n = d->l->n_par - at < DRAW_PART ? d->l->n_par - at : DRAW_PART;

	(void)thread;
	memset(d->values + at, 0, n * sizeof *d->values);
}

static void
draw(void *arg, int part, int thread)
{
	struct drawing *d = arg;
	const struct qz_lora_tensor *t = &d->l->t[part];
	uint64_t n = (uint64_t)(t->rank * t->cols), stream;
	float bound = (float)(1 / sqrt((double)t->cols));
	uint32_t words[4];
	char name[160];

	(void)thread;
	qz_lora_name(t->layer, t->proj, 'A', name, sizeof name);
	stream = qz_hash64(name, strlen(name));
	for (uint64_t i = 0; i < n; i++) {
		if (i % 4 == 0)
			qz_philox(d->seed, stream, i / 4, words);
		d->values[t->a + i] = bound * (2 * qz_unit(words[i % 4]) - 1);
	}
}

void
qz_lora_init(const struct qz_lora *l, uint64_t seed, float *values)
{
	struct drawing d = { l, seed, values };
	struct qz_err none;
	/* Without threads it is done here. */
	struct qz_pool *pool = l->n_par > DRAW_PART ? qz_pool_new(0, &none) : NULL;

	qz_pool_run(pool, (int)((l->n_par + DRAW_PART - 1) / DRAW_PART), clear, &d);
	qz_pool_run(pool, l->n, draw, &d);
	qz_pool_free(pool);
}
