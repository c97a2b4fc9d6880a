/* train - the optimizer's steps over rows of tokens.
 *
 * A step takes batch * accumulate rows in the order of their epoch, as `accumulate` packed batches.  The
 * loss is the mean over the trained tokens of the whole step, whatever batch they are in.  Row number c of a
 * run, the learning rate and dropout follow from the options and the step alone: a run that goes on
 * from (adapter, states of the optimizer, step, loss scale) makes the same bits.
 * Where activations are float16 the loss is scaled (scale.h).  A step that is skipped counts: its rows and its
 * learning rate are passed over; the optimizer's own count of steps, which corrects its means, stands still. */
#ifndef QZ_TRAIN_H
#define QZ_TRAIN_H

#include "libcore/model/adapter.h"
#include "libcore/model/net.h"
#include "libcore/model/scale.h"
#include "libcore/model/schedule.h"

struct qz_train_options {
	int64_t batch, accumulate; /* rows, batches a step */
	int64_t steps;             /* 0: as many as `epochs` takes */
	double epochs;
	int64_t warmup;
	enum qz_schedule schedule;
	double lr, beta1, beta2, eps, weight_decay, clip;
	uint64_t seed;
};

/* For a run on several devices: count makes the step's trained tokens those of all, sum adds gradients and
 * loss of all.  NULL: this one is alone. */
struct qz_reduce {
	void *arg;
	int (*count)(void *arg, uint64_t *trained, struct qz_err *e);
	int (*sum)(void *arg, struct qz_net *n, double *loss, struct qz_err *e);
};

struct qz_train {
	struct qz_net *net;
	const struct qz_data *data;
	struct qz_train_options o;
	const struct qz_reduce *reduce;
	int64_t steps; /* of the whole run */
	uint64_t rows; /* of the whole run: the last step may have fewer than the others */
	int64_t step;  /* done */
	struct qz_scale scale;

	struct qz_batch batch;
	uint64_t *order, epoch; /* the order of this epoch; UINT64_MAX: none yet */
	uint64_t *step_rows;    /* [batch * accumulate]: used rows of the current step */
	uint64_t n_step_rows;
	double *losses; /* [net->shape.losses] */
};

struct qz_report {
	int64_t step; /* 1 is the first */
	double loss, grad_norm, lr;
	double scale; /* what the loss was multiplied with; grad_norm is without it */
	bool skipped; /* a gradient was not finite, and the adapter is as it was */
	uint64_t tokens, trained;
	double
	    queued; /* seconds until the host had queued the step's ops, of which it waits for none */
};

/* Steps and rows of a run, before there is a net. */
void qz_train_extent(
    const struct qz_train_options *o, const struct qz_data *d, int64_t *steps, uint64_t *rows);
/* The shape that training on d, and evaluating eval (or NULL), needs; policy and logits are left. */
int qz_train_shape(const struct qz_train_options *o, const struct qz_data *d,
    const struct qz_data *eval, struct qz_net_shape *shape, struct qz_err *e);

/* The net was opened with that shape; net, data and reduce are borrowed.  A is drawn from the seed. */
int qz_train_begin(struct qz_train *t, struct qz_net *net, const struct qz_data *data,
    const struct qz_train_options *o, const struct qz_reduce *reduce, struct qz_err *e);
void qz_train_end(struct qz_train *t);
/* Lets a device choose how it computes this run's shapes, with the rows of the first step; nothing else
 * changes.  Devices that have nothing to choose do nothing. */
int qz_train_warm(struct qz_train *t, struct qz_err *e);

/* One step.  A loss that is not finite, or a gradient that the loss's scale does not excuse, is QZ_EDATA that
 * names the rows; the adapter is then as it was before the step. */
int qz_train_step(struct qz_train *t, struct qz_report *r, struct qz_err *e);
/* Hears of each batch of an evaluation, of so many tokens; other than 0 ends it early. */
typedef int qz_eval_fn(void *arg, uint64_t tokens);
/* Mean loss over all trained tokens of d, without dropout; NaN when it was ended early. */
int qz_train_eval(struct qz_train *t, const struct qz_data *d, double *loss, qz_eval_fn *hear,
    void *arg, struct qz_err *e);
/* The adapter as it is now; base: what it calls its base. */
int qz_train_adapter(struct qz_train *t, const char *base, struct qz_adapter *a, struct qz_err *e);

#endif
