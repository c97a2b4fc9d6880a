#include "libcore/model/adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
qz_adapter_free(struct qz_adapter *a)
{
	qz_lora_free(&a->lora);
	free(a->values);
	free(a->source);
	free(a->base);
	free(a->provenance);
	*a = (struct qz_adapter){ 0 };
}

void
qz_adapter_module(int layer, enum qz_proj p, char *out, size_t n)
{
	char name[160];

	qz_lora_name(layer, p, 'A', name, sizeof name);
	snprintf(out, n, "%.*s", (int)(strlen(name) - strlen(".lora_A.weight")), name);
}

float *
qz_adapter_part(struct qz_adapter_parts *parts, const struct qz_tensor *t, struct qz_err *e)
{
	struct qz_adapter_part *more = realloc(parts->p, (parts->n + 1) * sizeof *more), *p;

	if (!more) {
		qz_nomem(e, (parts->n + 1) * sizeof *more);
		return NULL;
	}
	parts->p = more;
	p = &more[parts->n];
	*p = (struct qz_adapter_part){ .rows = t->dims[0], .cols = t->dims[1] };
	if (qz_lora_name_parse(t->name, &p->layer, &p->proj, &p->half) < 0) {
		qz_fail(e, QZ_EDATA,
		    "tensor %.200s: is not lora_A or lora_B of one of the seven projections",
		    t->name);
		return NULL;
	}
	if (t->n_dims != 2 || t->dtype != QZ_F32 || !p->rows || !p->cols || p->rows > INT32_MAX ||
	    p->cols > INT32_MAX) {
		qz_fail(e, QZ_EDATA, "tensor %.200s: a float32 matrix is expected", t->name);
		return NULL;
	}
	p->data = malloc(t->nbytes);
	if (!p->data) {
		qz_nomem(e, t->nbytes);
		return NULL;
	}
	parts->n++;
	return p->data;
}

void
qz_adapter_parts_free(struct qz_adapter_parts *parts)
{
	for (size_t i = 0; i < parts->n; i++)
		free(parts->p[i].data);
	free(parts->p);
	*parts = (struct qz_adapter_parts){ 0 };
}

static int
by_place(const void *pa, const void *pb)
{
	const struct qz_adapter_part *a = pa, *b = pb;

	if (a->layer != b->layer)
		return (a->layer > b->layer) - (a->layer < b->layer);
	return a->proj != b->proj ? (int)a->proj - (int)b->proj : a->half - b->half;
}

/* a and b are the halves of one projection: its row in lora->t. */
static int
pair(struct qz_adapter *a, const struct qz_adapter_part *A, const struct qz_adapter_part *B,
    int (*scale)(void *arg, const char *module, int rank, float *s, struct qz_err *e), void *arg,
    struct qz_err *e)
{
	struct qz_lora_tensor *t = &a->lora.t[a->lora.n];
	char module[160];

	qz_adapter_module(A->layer, A->proj, module, sizeof module);
	if (A->half != 'A' || !B || B->half != 'B' || B->layer != A->layer || B->proj != A->proj)
		return qz_fail(
		    e, QZ_EDATA, "%s: lora_A and lora_B are expected, once each", module);
	if (A->rows != B->cols || A->rows > QZ_RANK_MAX)
		return qz_fail(e, QZ_EDATA,
		    "%s: lora_A has %llu rows and lora_B %llu columns: one rank up to %d expected",
		    module, (unsigned long long)A->rows, (unsigned long long)B->cols, QZ_RANK_MAX);
	*t = (struct qz_lora_tensor){ .layer = A->layer,
		.proj = A->proj,
		.rows = (int64_t)B->rows,
		.cols = (int64_t)A->cols,
		.rank = (int)A->rows };
	a->lora.targets |= 1u << A->proj;
	a->lora.n++;
	return scale(arg, module, t->rank, &t->scale, e);
}

int
qz_adapter_build(struct qz_adapter *a, struct qz_adapter_parts *parts,
    int (*scale)(void *arg, const char *module, int rank, float *s, struct qz_err *e), void *arg,
    struct qz_err *e)
{
	if (parts->n == 0)
		return qz_fail(e, QZ_EDATA, "the adapter has no tensors");
	qsort(parts->p, parts->n, sizeof *parts->p, by_place);
	a->lora.t = calloc(parts->n, sizeof *a->lora.t);
	a->source = calloc(parts->n, sizeof *a->source);
	if (!a->lora.t || !a->source)
		return qz_nomem(e, parts->n * sizeof *a->lora.t);
	a->lora.targets = 0;
	for (size_t i = 0; i < parts->n; i += 2)
		if (pair(a, &parts->p[i], i + 1 < parts->n ? &parts->p[i + 1] : NULL, scale, arg,
			e) < 0)
			return -1;
	if (qz_lora_place(&a->lora, e) < 0)
		return -1;
	a->values = calloc(a->lora.n_par, sizeof *a->values);
	if (!a->values)
		return qz_nomem(e, a->lora.n_par * sizeof *a->values);
	for (int i = 0; i < a->lora.n; i++) {
		const struct qz_lora_tensor *t = &a->lora.t[i];
		struct qz_adapter_part *A = &parts->p[2 * i], *B = A + 1;

		memcpy(a->values + t->a, A->data, (size_t)(A->rows * A->cols) * sizeof(float));
		memcpy(a->values + t->b, B->data, (size_t)(B->rows * B->cols) * sizeof(float));
		a->source[i] = A->source;
		free(A->data);
		free(B->data);
		A->data = B->data = NULL;
	}
	return 0;
}

int
qz_adapter_fits(const struct qz_adapter *a, const struct qz_config *c, struct qz_err *e)
{
	for (int i = 0; i < a->lora.n; i++) {
		const struct qz_lora_tensor *t = &a->lora.t[i];
		int64_t rows, cols;
		char module[160];

		qz_adapter_module(t->layer, t->proj, module, sizeof module);
		if (t->layer >= c->layers)
			return qz_fail(e, QZ_EDATA, "the adapter has %s, the model has %lld layers",
			    module, (long long)c->layers);
		qz_proj_shape(c, t->proj, &rows, &cols);
		if (rows != t->rows || cols != t->cols)
			return qz_fail(e, QZ_EDATA,
			    "the adapter's %s is for a weight of %lld x %lld, the model's is %lld "
			    "x %lld",
			    module, (long long)t->rows, (long long)t->cols, (long long)rows,
			    (long long)cols);
	}
	return 0;
}
