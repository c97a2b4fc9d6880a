#include "libcore/model/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/clock.h"
#include "libcore/base/hash.h"

void
qz_train_extent(
    const struct qz_train_options *o, const struct qz_data *d, int64_t *steps, uint64_t *rows)
{
	uint64_t each = (uint64_t)(o->batch * o->accumulate);

	*rows = o->steps ? (uint64_t)o->steps * each : (uint64_t)ceil(o->epochs * (double)d->n);
	if (*rows == 0)
		*rows = 1;
	*steps = (int64_t)((*rows + each - 1) / each);
}

static int64_t
most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* How often one row can be among n that follow each other: once in each epoch that they touch. */
static uint64_t
times(const struct qz_train_options *o, const struct qz_data *d, uint64_t n)
{
	uint64_t rows;
	int64_t steps;

	qz_train_extent(o, d, &steps, &rows);
	return rows <= d->n || n < 2 ? 1 : 2 + (n - 2) / d->n;
}

int
qz_train_shape(const struct qz_train_options *o, const struct qz_data *d,
    const struct qz_data *eval, struct qz_net_shape *shape, struct qz_err *e)
{
	struct qz_extent step, row = { 0 };
	uint64_t batch = (uint64_t)o->batch, all = (uint64_t)(o->batch * o->accumulate);

	if (qz_data_extent(d, batch, times(o, d, batch), &shape->room, e) < 0 ||
	    qz_data_extent(d, all, times(o, d, all), &step, e) < 0)
		return -1;
	if (eval && qz_data_extent(eval, 1, 1, &row, e) < 0)
		return -1;
	shape->room.tokens = most(shape->room.tokens, row.tokens);
	shape->room.docs = most(shape->room.docs, row.docs);
	shape->room.trained = most(shape->room.trained, row.trained);
	shape->room.max_len = most(shape->room.max_len, row.max_len);
	shape->losses = most(step.trained, shape->room.trained);
	shape->train = true;
	return 0;
}

static int
draw_adapter(struct qz_train *t, struct qz_err *e)
{
	float *v = malloc(t->net->lora.n_par * sizeof *v + 1);

	if (!v)
		return qz_nomem(e, t->net->lora.n_par * sizeof *v);
	qz_lora_init(&t->net->lora, t->o.seed, v);
	qz_net_put(t->net, t->net->p, v, t->net->lora.n_par);
	free(v);
	return t->net->k->sync(t->net->dev, e);
}

int
qz_train_begin(struct qz_train *t, struct qz_net *net, const struct qz_data *data,
    const struct qz_train_options *o, const struct qz_reduce *reduce, struct qz_err *e)
{
	uint64_t each = (uint64_t)(o->batch * o->accumulate);

	*t = (struct qz_train){
		.net = net, .data = data, .o = *o, .reduce = reduce, .epoch = UINT64_MAX
	};
	qz_train_extent(o, data, &t->steps, &t->rows);
	t->order = malloc(data->n * sizeof *t->order);
	t->step_rows = malloc(each * sizeof *t->step_rows);
	t->losses = malloc(((size_t)net->shape.losses + 1) * sizeof *t->losses);
	net->seed = o->seed;
	qz_scale_begin(&t->scale, net->k->act_type == QZ_F16);
	if (!t->order || !t->step_rows || !t->losses) {
		qz_train_end(t);
		return qz_nomem(e, data->n * sizeof *t->order);
	}
	/* Evaluation packs as many rows as there is room for. */
	if (qz_batch_new(&t->batch, net->shape.room, net->shape.room.docs, e) < 0 ||
	    draw_adapter(t, e) < 0) {
		qz_train_end(t);
		return -1;
	}
	return 0;
}

void
qz_train_end(struct qz_train *t)
{
	qz_batch_free(&t->batch);
	free(t->order);
	free(t->step_rows);
	free(t->losses);
	*t = (struct qz_train){ 0 };
}

/* The rows of the current step, each by its place in the run. */
static void
choose_rows(struct qz_train *t)
{
	uint64_t each = (uint64_t)(t->o.batch * t->o.accumulate), n = t->data->n;
	uint64_t first = (uint64_t)t->step * each;

	t->n_step_rows = t->rows - first < each ? t->rows - first : each;
	for (uint64_t i = 0; i < t->n_step_rows; i++) {
		uint64_t c = first + i;

		if (c / n != t->epoch) {
			t->epoch = c / n;
			qz_data_order(t->data, t->o.seed, t->epoch, t->order);
		}
		t->step_rows[i] = t->order[c % n];
	}
}

/* Forward and backward of rows[0..n), whose losses count `weight` each: losses to net->losses[at..]; returns their
 * number.  weight 0: forward alone. */
static int64_t
pass(struct qz_train *t, const uint64_t *rows, uint64_t n, int64_t at, double weight)
{
	qz_batch_clear(&t->batch);
	for (uint64_t i = 0; i < n; i++)
		qz_batch_add(&t->batch, t->data, rows[i]);
	qz_net_batch(t->net, &t->batch, 0);
	qz_net_forward(t->net);
	qz_net_loss(t->net, at, weight * t->scale.factor);
	if (weight != 0)
		qz_net_backward(t->net);
	return t->batch.n_trained;
}

/* A key that also stands for these numbers. */
static uint64_t
mix(uint64_t key, const int64_t *v, size_t nbytes)
{
	uint64_t both[2] = { key, qz_hash64(v, nbytes) };

	return qz_hash64(both, sizeof both);
}

/* What decides the shapes of a pass over the first `rows` of the step, and where its operands lie. */
static uint64_t
shapes_key(const struct qz_train *t, uint64_t rows)
{
	const struct qz_net *n = t->net;
	const struct qz_policy *p = &n->shape.policy;
	const struct qz_extent *x = &n->shape.room;
	int64_t net[] = { n->c.hidden, n->c.ffn, n->c.layers, n->c.heads, n->c.kv_heads,
		n->c.head_dim, n->c.vocab, x->tokens, x->docs, x->trained, x->max_len,
		n->logits_rows, n->shape.optim, n->shape.states_host, n->lora.dropout > 0 };
	int64_t policy[] = { p->x_only, p->no_mlp, p->x_host, p->attn_host, p->chunk,
		p->attention_parts, p->cached, p->embed_host };
	uint64_t key = mix(mix(n->w->identity, net, sizeof net), policy, sizeof policy);

	for (int i = 0; i < n->lora.n; i++) {
		const struct qz_lora_tensor *l = &n->lora.t[i];
		int64_t tensor[] = { l->layer, l->proj, l->rank };

		key = mix(key, tensor, sizeof tensor);
	}
	for (uint64_t i = 0; i < rows; i++) {
		uint64_t row = t->step_rows[i];
		int64_t batch[] = { (int64_t)(t->data->end[row] - t->data->start[row]),
			t->data->trained[row] };

		key = mix(key, batch, sizeof batch);
	}
	return key;
}

int
qz_train_warm(struct qz_train *t, struct qz_err *e)
{
	struct qz_net *n = t->net;
	uint64_t rows;

	if (!n->k->tune)
		return 0;
	choose_rows(t);
	rows = t->n_step_rows < (uint64_t)t->o.batch ? t->n_step_rows : (uint64_t)t->o.batch;
	if (!n->k->tune(n->dev, true, shapes_key(t, rows)))
		return 0;
	pass(t, t->step_rows, rows, 0, 1);
	n->k->tune(n->dev, false, 0);
	return n->k->sync(n->dev, e);
}

static void
clear_gradient(struct qz_net *n)
{
	n->k->fill(n->dev, n->g, 0, n->lora.n_par * n->k->par_size);
}

static double
gradient_norm(struct qz_train *t)
{
	struct qz_net *n = t->net;
	double sum;

	n->k->sum_squares(n->dev, n->sum, n->g, (int64_t)n->lora.n_par);
	n->k->copy_out(n->dev, &sum, n->sum, sizeof sum);
	return sqrt(sum) / t->scale.factor;
}

/* "row 3, row 17": rows of the step whose own loss, or with `alone` whose own gradient, is not finite. */
static void
name_bad_rows(struct qz_train *t, bool alone, struct qz_buf *out)
{
	int64_t at = 0;

	for (uint64_t i = 0; i < t->n_step_rows; i++) {
		uint64_t row = t->step_rows[i];
		double sum = 0;

		for (uint32_t k = 0; k < t->data->trained[row]; k++)
			sum += t->losses[at++];
		if (alone) {
			clear_gradient(t->net);
			pass(t, &row, 1, 0, 1.0 / t->data->trained[row]);
			sum = gradient_norm(t);
		}
		if (!isfinite(sum))
			qz_buf_fmt(out, "%srow %llu", out->n ? ", " : "",
			    (unsigned long long)t->data->number[row]);
	}
}

static int
not_finite(struct qz_train *t, const struct qz_report *r, struct qz_err *e)
{
	struct qz_buf rows = { 0 };
	bool loss = !isfinite(r->loss);

	name_bad_rows(t, !loss, &rows);
	qz_fail(e, QZ_EDATA, "step %lld: the %s is not a finite number: %s", (long long)r->step,
	    loss ? "loss" : "gradient",
	    rows.n ? rows.data : "of all its rows together, of none alone");
	qz_buf_free(&rows);
	return -1;
}

static void
update(struct qz_train *t, const struct qz_report *r)
{
	struct qz_net *n = t->net;
	struct qz_adamw args = { .lr = r->lr,
		.beta1 = t->o.beta1,
		.beta2 = t->o.beta2,
		.eps = t->o.eps,
		.weight_decay = t->o.weight_decay,
		.clip = t->o.clip,
		.step = (double)(t->step - t->scale.skipped + 1),
		.scale = r->scale };

	n->k->copy_in(n->dev, n->adamw, &args, sizeof args);
	qz_net_update(n);
}

int
qz_train_step(struct qz_train *t, struct qz_report *r, struct qz_err *e)
{
	struct qz_net *n = t->net;
	uint64_t batch = (uint64_t)t->o.batch;
	enum qz_scale_next next;
	int64_t at = 0;
	double sum = 0, start = qz_clock();

	*r = (struct qz_report){ .step = t->step + 1, .scale = t->scale.factor };
	r->lr = t->o.lr * qz_schedule_factor(t->o.schedule, t->step, t->steps, t->o.warmup);
	choose_rows(t);
	for (uint64_t i = 0; i < t->n_step_rows; i++) {
		uint64_t row = t->step_rows[i];

		r->trained += t->data->trained[row];
		r->tokens += t->data->end[row] - t->data->start[row];
	}
	if (t->reduce && t->reduce->count(t->reduce->arg, &r->trained, e) < 0)
		return -1;
	n->step = (uint64_t)t->step;
	n->part = 0;
	n->dropping = true;
	clear_gradient(n);
	for (uint64_t i = 0; i < t->n_step_rows; i += batch, n->part++) {
		uint64_t rows = t->n_step_rows - i < batch ? t->n_step_rows - i : batch;

		at += pass(t, t->step_rows + i, rows, at, 1.0 / (double)r->trained);
	}
	r->queued = qz_clock() - start;
	n->k->copy_out(n->dev, t->losses, n->losses, (size_t)at * sizeof *t->losses);
	for (int64_t i = 0; i < at; i++)
		sum += t->losses[i];
	if (t->reduce && t->reduce->sum(t->reduce->arg, n, &sum, e) < 0)
		return -1;
	r->grad_norm = gradient_norm(t);
	r->loss = sum / (double)r->trained;
	if (n->k->sync(n->dev, e) < 0)
		return -1;
	next = isfinite(r->loss) ? qz_scale_step(&t->scale, isfinite(r->grad_norm)) : QZ_SCALE_STOP;
	if (next == QZ_SCALE_STOP)
		return not_finite(t, r, e);
	r->skipped = next == QZ_SCALE_SKIP;
	if (!r->skipped)
		update(t, r);
	if (n->k->sync(n->dev, e) < 0)
		return -1;
	t->step++;
	return 0;
}

/* The losses of the batch that is packed, added up. */
static double
eval_batch(struct qz_train *t)
{
	struct qz_net *n = t->net;
	double sum = 0;

	qz_net_batch(n, &t->batch, 0);
	qz_net_forward(n);
	qz_net_loss(n, 0, 0);
	n->k->copy_out(n->dev, t->losses, n->losses, (size_t)t->batch.n_trained * sizeof sum);
	for (int64_t i = 0; i < t->batch.n_trained; i++)
		sum += t->losses[i];
	qz_batch_clear(&t->batch);
	return sum;
}

int
qz_train_eval(struct qz_train *t, const struct qz_data *d, double *loss, qz_eval_fn *hear,
    void *arg, struct qz_err *e)
{
	double sum = 0;
	uint64_t tokens;

	t->net->dropping = false;
	qz_batch_clear(&t->batch);
	for (uint64_t row = 0; row < d->n; row++) {
		if (qz_batch_add(&t->batch, d, row))
			continue;
		tokens = (uint64_t)t->batch.n_tokens;
		sum += eval_batch(t);
		if (hear(arg, tokens)) {
			*loss = NAN;
			return 0;
		}
		if (!qz_batch_add(&t->batch, d, row))
			return qz_fail(e, QZ_EDATA, "row %llu does not fit into the plan",
			    (unsigned long long)d->number[row]);
	}
	if (t->batch.n_rows)
		sum += eval_batch(t);
	*loss = sum / (double)d->n_trained;
	return t->net->k->sync(t->net->dev, e);
}

int
qz_train_adapter(struct qz_train *t, const char *base, struct qz_adapter *a, struct qz_err *e)
{
	const struct qz_lora *l = &t->net->lora;

	*a = (struct qz_adapter){ 0 };
	if (qz_lora_copy(&a->lora, l, e) < 0)
		return -1;
	a->values = malloc(l->n_par * sizeof *a->values + 1);
	a->source = calloc((size_t)l->n + 1, sizeof *a->source);
	a->base = strdup(base);
	if (!a->values || !a->source || !a->base) {
		qz_adapter_free(a);
		return qz_nomem(e, l->n_par * sizeof *a->values);
	}
	for (int i = 0; i < l->n; i++)
		a->source[i] = t->net->w->source[l->t[i].layer][l->t[i].proj];
	qz_net_get(t->net, a->values, t->net->p, l->n_par);
	return t->net->k->sync(t->net->dev, e);
}
