/* ppl - the mean loss over the trained tokens of a token shard, and its exponential. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/bench/bench.h"
#include "tools/bench/load.h"
#include "tools/common/meter.h"

enum { BATCH_TOKENS = 1024 };

struct ppl {
	struct bench_model m;
	struct qz_data data;
	struct qz_batch batch;
	struct qz_meter meter;
	double *losses; /* of a batch */
	double sum;
	uint64_t n, rows_a_batch;
};

static int
read_tokens(struct ppl *p, const char *path, struct qz_err *e)
{
	struct qz_in *in = qz_in_open(path, e);
	int ret;

	if (!in)
		return -1;
	ret = qz_data_read(&p->data, in, e);
	if (ret == 0 && qz_data_end(&p->data, p->m.weights.config.vocab, e) < 0)
		ret = qz_at(e, "%s", path);
	qz_in_close(in);
	return ret;
}

static int
prepare(struct ppl *p, struct qz_err *e)
{
	struct qz_net_shape shape = { .logits_bytes = QZ_LOGITS_BYTES };
	struct qz_extent one;

	if (qz_data_extent(&p->data, 1, 1, &one, e) < 0)
		return -1;
	p->rows_a_batch = one.tokens < BATCH_TOKENS ? (uint64_t)(BATCH_TOKENS / one.tokens) : 1;
	if (qz_data_extent(&p->data, p->rows_a_batch, 1, &shape.room, e) < 0)
		return -1;
	shape.losses = shape.room.trained;
	p->losses = malloc((size_t)shape.losses * sizeof *p->losses);
	if (!p->losses)
		return qz_nomem(e, (size_t)shape.losses * sizeof *p->losses);
	if (qz_batch_new(&p->batch, shape.room, (int64_t)p->rows_a_batch, e) < 0)
		return -1;
	return bench_model_open(&p->m, &shape, e);
}

static int
add_batch(struct ppl *p, uint64_t first, struct qz_err *e)
{
	struct qz_net *n = &p->m.net;

	qz_batch_clear(&p->batch);
	for (uint64_t r = first; r < p->data.n && r < first + p->rows_a_batch; r++)
		if (!qz_batch_add(&p->batch, &p->data, r))
			return qz_fail(
			    e, QZ_EIO, "row %llu does not fit its batch", (unsigned long long)r);
	qz_net_batch(n, &p->batch, 0);
	qz_net_forward(n);
	qz_net_loss(n, 0, 0);
	n->k->copy_out(
	    n->dev, p->losses, n->losses, (size_t)p->batch.n_trained * sizeof *p->losses);
	if (n->k->sync(n->dev, e) < 0)
		return -1;
	for (int64_t i = 0; i < p->batch.n_trained; i++)
		p->sum += p->losses[i];
	p->n += (uint64_t)p->batch.n_trained;
	qz_meter_add(&p->meter, (uint64_t)p->batch.n_tokens);
	return 0;
}

static void
print(const struct ppl *p, const struct bench_options *o, double seconds)
{
	double loss = p->sum / (double)p->n;
	const char *form = o->json ? "{\"loss\":%.9g,\"perplexity\":%.9g,\"trained\":%llu,"
				     "\"tokens\":%llu,\"rows\":%llu,"
				     "\"seconds\":%.3f}\n"
				   : "loss %.6f  perplexity %.4f  over %llu trained of %llu "
				     "tokens, %llu rows, %.1f s\n";

	printf(form, loss, exp(loss), (unsigned long long)p->n,
	    (unsigned long long)p->data.n_tokens, (unsigned long long)p->data.n, seconds);
}

static int
run(struct ppl *p, struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e)
{
	double start;

	if (bench_model_load(&p->m, d, args[0], o->adapter, o->adapter_scale, e) < 0 ||
	    read_tokens(p, args[1], e) < 0 || prepare(p, e) < 0)
		return -1;
	start = qz_clock();
	qz_meter_start(&p->meter, "evaluate", p->data.n_tokens, "tokens");
	for (uint64_t r = 0; r < p->data.n; r += p->rows_a_batch)
		if (add_batch(p, r, e) < 0)
			return -1;
	qz_meter_stop(&p->meter);
	if (!isfinite(p->sum))
		return qz_fail(e, QZ_EDATA, "the loss is not finite");
	print(p, o, qz_clock() - start);
	return 0;
}

int
bench_ppl(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e)
{
	struct ppl p = { 0 };
	int ret = run(&p, d, o, args, e);

	qz_meter_stop(&p.meter);
	free(p.losses);
	qz_batch_free(&p.batch);
	qz_data_free(&p.data);
	bench_model_free(&p.m);
	return ret;
}
