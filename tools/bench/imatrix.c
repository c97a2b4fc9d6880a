/* imatrix - an importance matrix: the mean of the squares that each input of each projection has over the
 * tokens of a shard.  Sums are float64, in the order of the tokens. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/half.h"
#include "libcore/format/imatrix.h"
#include "libcore/model/proj.h"
#include "tools/bench/bench.h"
#include "tools/bench/load.h"
#include "tools/common/meter.h"

enum { BATCH_TOKENS = 1024 };

struct job {
	struct bench_model m;
	struct qz_data data;
	struct qz_batch batch;
	struct qz_meter meter;
	double **
	    sums; /* [layers * QZ_PROJ_N]: the columns of each; those that share an input share it */
	uint64_t tokens; /* that were seen */
	uint64_t rows, rows_a_batch;
	void *x; /* a copy of what the visitor is shown */
	struct qz_imatrix out;
};

static int
read_tokens(struct job *j, const char *path, struct qz_err *e)
{
	struct qz_in *in = qz_in_open(path, e);
	int ret;

	if (!in)
		return -1;
	ret = qz_data_read(&j->data, in, e);
	if (ret == 0 && qz_data_end(&j->data, j->m.weights.config.vocab, e) < 0)
		ret = qz_at(e, "%s", path);
	qz_in_close(in);
	return ret;
}

static int64_t
cols_of(const struct qz_config *c, enum qz_proj p)
{
	int64_t rows, cols;

	qz_proj_shape(c, p, &rows, &cols);
	return cols;
}

static int
prepare(struct job *j, struct qz_err *e)
{
	const struct qz_config *c = &j->m.weights.config;
	struct qz_net_shape shape = { .logits_bytes = QZ_LOGITS_BYTES };
	struct qz_extent one;
	int64_t most = c->ffn > c->hidden ? c->ffn : c->hidden;

	if (qz_data_extent(&j->data, 1, 1, &one, e) < 0)
		return -1;
	j->rows_a_batch = one.tokens < BATCH_TOKENS ? (uint64_t)(BATCH_TOKENS / one.tokens) : 1;
	if (qz_data_extent(&j->data, j->rows_a_batch, 1, &shape.room, e) < 0)
		return -1;
	shape.losses = shape.room.trained;
	most = c->heads * c->head_dim > most ? c->heads * c->head_dim : most;
	j->x = malloc((size_t)(shape.room.tokens * most) * sizeof(double));
	j->sums = calloc((size_t)c->layers * QZ_PROJ_N, sizeof *j->sums);
	if (!j->x || !j->sums)
		return qz_nomem(e, (uint64_t)(shape.room.tokens * most) * sizeof(double));
	for (int64_t i = 0; i < c->layers * QZ_PROJ_N; i++) {
		size_t n = (size_t)cols_of(c, (enum qz_proj)(i % QZ_PROJ_N));

		j->sums[i] = calloc(n, sizeof **j->sums);
		if (!j->sums[i])
			return qz_nomem(e, n * sizeof **j->sums);
	}
	if (qz_batch_new(&j->batch, shape.room, (int64_t)j->rows_a_batch, e) < 0)
		return -1;
	return bench_model_open(&j->m, &shape, e);
}

static double
element(const void *x, enum qz_dtype type, int64_t i)
{
	switch (type) {
	case QZ_F64:
		return ((const double *)x)[i];
	case QZ_F32:
		return (double)((const float *)x)[i];
	case QZ_BF16:
		return (double)qz_bf16_to_f32(((const uint16_t *)x)[i]);
	default:
		return (double)qz_f16_to_f32(((const uint16_t *)x)[i]);
	}
}

/* The projections from `first` on have the same input. */
static void
visit(void *arg, int layer, enum qz_proj first, int n, const qz_act *x, int64_t t)
{
	struct job *j = arg;
	const struct qz_net *net = &j->m.net;
	int64_t cols = cols_of(&net->c, first);
	double *sum = j->sums[layer * QZ_PROJ_N + (int)first];

	net->k->copy_out(net->dev, j->x, x, (size_t)(t * cols) * net->k->act_size);
	for (int64_t r = 0; r < t; r++)
		for (int64_t i = 0; i < cols; i++) {
			double v = element(j->x, net->k->act_type, r * cols + i);

			sum[i] += v * v;
		}
	for (int k = 1; k < n; k++)
		memcpy(
		    j->sums[layer * QZ_PROJ_N + (int)first + k], sum, (size_t)cols * sizeof *sum);
}

static int
add_batch(struct job *j, uint64_t first, struct qz_err *e)
{
	struct qz_net *n = &j->m.net;

	qz_batch_clear(&j->batch);
	for (uint64_t r = first; r < j->rows && r < first + j->rows_a_batch; r++)
		if (!qz_batch_add(&j->batch, &j->data, r))
			return qz_fail(
			    e, QZ_EIO, "row %llu does not fit its batch", (unsigned long long)r);
	qz_net_batch(n, &j->batch, 0);
	qz_net_forward(n);
	j->tokens += (uint64_t)j->batch.n_tokens;
	qz_meter_add(&j->meter, (uint64_t)j->batch.n_tokens);
	return n->k->sync(n->dev, e);
}

/* Sums become entries. */
static int
fill(struct job *j, const char *dataset, struct qz_err *e)
{
	const struct qz_config *c = &j->m.weights.config;
	struct qz_imatrix *m = &j->out;
	char name[64];

	m->entries = calloc((size_t)c->layers * QZ_PROJ_N, sizeof *m->entries);
	if (!m->entries)
		return qz_nomem(e, (size_t)c->layers * QZ_PROJ_N * sizeof *m->entries);
	m->chunks = (uint32_t)j->rows;
	m->dataset = dataset;
	for (; m->n < (size_t)c->layers * QZ_PROJ_N; m->n++) {
		enum qz_proj p = (enum qz_proj)(m->n % QZ_PROJ_N);
		struct qz_imatrix_entry *x = &m->entries[m->n];

		qz_role_gguf_name(qz_proj(p)->weight, (int)(m->n / QZ_PROJ_N), name, sizeof name);
		x->name = qz_arena_strdup(&m->arena, name);
		x->n = (uint64_t)cols_of(c, p);
		x->values = qz_arena_alloc(&m->arena, (size_t)x->n * sizeof *x->values);
		if (!x->name || !x->values)
			return qz_nomem(e, x->n * sizeof *x->values);
		for (uint64_t i = 0; i < x->n; i++)
			x->values[i] = (float)(j->sums[m->n][i] / (double)j->tokens);
	}
	return 0;
}

static int
run(struct job *j, struct qz_dev *d, const struct bench_options *o, char **args, struct qz_out *out,
    struct qz_err *e)
{
	int ret = 0;

	if (bench_model_load(&j->m, d, args[0], o->adapter, o->adapter_scale, e) < 0 ||
	    read_tokens(j, args[1], e) < 0 || prepare(j, e) < 0)
		return -1;
	j->m.net.visit = visit;
	j->m.net.visit_arg = j;
	j->rows = o->chunks && (uint64_t)o->chunks < j->data.n ? (uint64_t)o->chunks : j->data.n;
	qz_meter_start(&j->meter, "imatrix", 0, "tokens");
	for (uint64_t r = 0; r < j->rows && ret == 0; r += j->rows_a_batch)
		ret = add_batch(j, r, e);
	qz_meter_stop(&j->meter);
	if (ret == 0)
		ret = fill(j, args[1], e);
	return ret < 0 ? -1 : qz_imatrix_write(&j->out, j->tokens, !strcmp(o->form, "dat"), out, e);
}

int
bench_imatrix(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e)
{
	struct job j = { 0 };
	struct qz_out *out = qz_out_open(o->output, false, e);
	int ret = out ? run(&j, d, o, args, out, e) : -1;

	if (ret == 0)
		ret = qz_out_commit(out, e);
	qz_out_close(out);
	for (int64_t i = 0; j.sums && i < j.m.weights.config.layers * QZ_PROJ_N; i++)
		free(j.sums[i]);
	free(j.sums);
	free(j.x);
	qz_imatrix_free(&j.out);
	qz_batch_free(&j.batch);
	qz_data_free(&j.data);
	bench_model_free(&j.m);
	return ret;
}
