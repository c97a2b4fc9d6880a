/* Steps of the optimizer: how many, over which rows, with which denominators; reducing, visiting,
 * checkpoints, and what is not finite. */
#include <unistd.h>

#include "libcore/model/checkpoint.h"
#include "tests/unit/tap.h"
#include "tests/unit/tiny.h"

static struct qz_dev *dev;
static enum qz_optim optim;
static bool offload;
static const int lengths[] = { 7, 5, 9, 3, 8, 6, 4, 0 };

static const struct {
	int64_t batch, accumulate, steps;
	double epochs;
	uint64_t n;
	int64_t want_steps;
	uint64_t want_rows;
} extents[] = {
	{ 4, 1, 0, 1, 8, 2, 8 },
	{ 4, 1, 0, 1, 9, 3, 9 },
	{ 4, 2, 0, 1, 9, 2, 9 },
	{ 4, 2, 0, 2, 9, 3, 18 },
	{ 4, 1, 0, 0.5, 9, 2, 5 },
	{ 4, 1, 0, 1e-6, 9, 1, 1 },
	{ 4, 2, 10, 1, 9, 10, 80 },
	{ 100, 1, 0, 3, 7, 1, 21 },
};

static void
check_extents(void)
{
	for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
		struct qz_train_options o = { .batch = extents[i].batch,
			.accumulate = extents[i].accumulate,
			.steps = extents[i].steps,
			.epochs = extents[i].epochs };
		struct qz_data d = { .n = extents[i].n };
		int64_t steps;
		uint64_t rows;

		qz_train_extent(&o, &d, &steps, &rows);
		ok(steps == extents[i].want_steps && rows == extents[i].want_rows,
		    "%d x %d of %d rows, %g epochs: %d steps, %d rows", (int)o.accumulate,
		    (int)o.batch, (int)d.n, o.epochs, (int)steps, (int)rows);
	}
}

struct model {
	struct qz_config c;
	struct qz_weights w;
	struct qz_lora lora;
	struct qz_data data;
	struct qz_net net;
	struct qz_train train;
};

static void
start(struct model *m, struct qz_train_options o, const struct qz_reduce *reduce)
{
	struct qz_net_shape shape = {
		.logits_bytes = 2000, .optim = optim, .states_host = offload
	};
	struct qz_err e;

	m->c = tiny_config("llama", false);
	tiny_data(&m->data, lengths, m->c.vocab, false);
	if (qz_data_end(&m->data, m->c.vocab, &e) < 0 || tiny_weights(&m->w, dev, &m->c, &e) < 0 ||
	    qz_lora_uniform(&m->lora, &m->c, 2, 3, 0.1, QZ_PROJ_ALL, &e) < 0 ||
	    qz_train_shape(&o, &m->data, NULL, &shape, &e) < 0 ||
	    qz_net_open(&m->net, &m->w, &m->lora, &shape, &e) < 0 ||
	    qz_train_begin(&m->train, &m->net, &m->data, &o, reduce, &e) < 0)
		ok(0, "%s", e.msg);
}

static void
stop(struct model *m)
{
	qz_train_end(&m->train);
	qz_net_close(&m->net);
	qz_lora_free(&m->lora);
	qz_weights_free(&m->w);
	qz_data_free(&m->data);
}

static struct qz_train_options
options(int64_t batch, int64_t accumulate, int64_t steps)
{
	return (struct qz_train_options){ .batch = batch,
		.accumulate = accumulate,
		.steps = steps,
		.epochs = 1,
		.lr = 0.01,
		.beta1 = 0.9,
		.beta2 = 0.999,
		.eps = 1e-8,
		.clip = 1,
		.weight_decay = 0.01,
		.seed = 3 };
}

/* Adapter, m and v after the steps; what is not used of their room stays zero. */
static double *
states(struct model *m, double *last_loss)
{
	uint64_t n = m->net.lora.n_par;
	double *s = calloc(3 * n, sizeof *s);
	struct qz_report r = { 0 };
	struct qz_err e;

	while (m->train.step < m->train.steps)
		if (qz_train_step(&m->train, &r, &e) < 0) {
			ok(0, "%s", e.msg);
			break;
		}
	dev->k->copy_out(dev, s, m->net.p, n * sizeof *s);
	dev->k->copy_out(dev, s + n, m->net.m, n * (optim == QZ_OPTIM_ADAMW8 ? 1 : sizeof *s));
	dev->k->copy_out(dev, s + 2 * n, m->net.v, n * (optim == QZ_OPTIM_ADAMW8 ? 1 : sizeof *s));
	if (optim == QZ_OPTIM_ADAMW8) {
		dev->k->copy_out(
		    dev, s + n + n / 2, m->net.absmax_m, n / QZ_ADAMW8_BLOCK * sizeof(float));
		dev->k->copy_out(
		    dev, s + 2 * n + n / 2, m->net.absmax_v, n / QZ_ADAMW8_BLOCK * sizeof(float));
	}
	*last_loss = r.loss;
	return s;
}

static double
farthest(const double *a, const double *b, uint64_t n)
{
	double worst = 0;

	for (uint64_t i = 0; i < n; i++)
		worst = fmax(worst, fabs(a[i] - b[i]));
	return worst;
}

/* Rows have different numbers of trained tokens: only the step's total may divide. */
static void
check_accumulation(void)
{
	struct model a, b;
	double la, lb, *sa, *sb;
	uint64_t n;

	/* One after the other: a device has the workspace of the net that was opened last. */
	start(&a, options(4, 1, 5), NULL);
	a.net.lora.dropout = 0; /* its key counts tokens within a batch */
	sa = states(&a, &la);
	start(&b, options(1, 4, 5), NULL);
	b.net.lora.dropout = 0;
	sb = states(&b, &lb);
	n = 3 * a.net.lora.n_par;
	ok(farthest(sa, sb, n) < 1e-12 && fabs(la - lb) < 1e-12,
	    "1 x 4 rows and 4 x 1 rows lead to the same adapter and states (%.1e)",
	    farthest(sa, sb, n));
	free(sa);
	free(sb);
	stop(&a);
	stop(&b);
}

static int
count_twice(void *arg, uint64_t *trained, struct qz_err *e)
{
	(void)arg;
	(void)e;
	*trained *= 2;
	return 0;
}

/* The other device of this pretended pair has the same rows, and so the same sums. */
static int
sum_twice(void *arg, struct qz_net *n, double *loss, struct qz_err *e)
{
	uint64_t count = n->lora.n_par;
	double *g = calloc(count, sizeof *g);

	(void)arg;
	(void)e;
	n->k->copy_out(n->dev, g, n->g, count * sizeof *g);
	for (uint64_t i = 0; i < count; i++)
		g[i] *= 2;
	n->k->copy_in(n->dev, n->g, g, count * sizeof *g);
	free(g);
	*loss *= 2;
	return 0;
}

static void
check_reduce(void)
{
	const struct qz_reduce twice = { NULL, count_twice, sum_twice };
	struct model a, b;
	double la, lb, *sa, *sb;

	start(&a, options(2, 2, 4), NULL);
	start(&b, options(2, 2, 4), &twice);
	sa = states(&a, &la);
	sb = states(&b, &lb);
	ok(!memcmp(sa, sb, 3 * a.net.lora.n_par * sizeof *sa) && la == lb,
	    "two devices with the same rows step as one does");
	free(sa);
	free(sb);
	stop(&a);
	stop(&b);
}

/* Every row of an epoch once; the last step has what is left. */
static void
check_rows(void)
{
	struct qz_train_options o = options(2, 1, 0);
	struct model m;
	struct qz_report r;
	struct qz_err e;
	uint64_t seen[7] = { 0 }, tokens = 0, once = 1;

	o.epochs = 2;
	start(&m, o, NULL);
	ok(m.train.steps == 7, "14 rows are 7 steps of 2");
	for (int i = 0; i < 7; i++) {
		qz_train_step(&m.train, &r, &e);
		tokens += r.tokens;
		for (uint64_t k = 0; k < m.train.n_step_rows; k++)
			seen[m.train.step_rows[k]]++;
	}
	for (int i = 0; i < 7; i++)
		once &= seen[i] == 2;
	ok(once == 1 && tokens == 2 * m.data.n_tokens, "each row comes once in each of two epochs");
	stop(&m);
	o.epochs = 1;
	start(&m, o, NULL);
	for (int i = 0; i < 4; i++)
		qz_train_step(&m.train, &r, &e);
	ok(m.train.steps == 4 && m.train.n_step_rows == 1, "the last step has the one row left");
	stop(&m);
}

/* Where one epoch ends within a step and the next one begins, a row may come twice, and all rows may: there is
 * room for them, and none is left out. */
static void
check_room(int64_t batch, int64_t accumulate)
{
	struct qz_train_options o = options(batch, accumulate, 12);
	struct model m;
	struct qz_report r;
	struct qz_err e = { 0 };
	uint64_t most = 0;
	int ret = 0;

	for (o.seed = 0; o.seed < 8 && ret == 0; o.seed++) {
		start(&m, o, NULL);
		for (int i = 0; i < 12 && ret == 0; i++) {
			ret = qz_train_step(&m.train, &r, &e);
			most = r.trained > most ? r.trained : most;
			if (ret == 0 && (int64_t)r.trained > m.net.shape.losses)
				ret = -1;
			if (ret == 0 && accumulate == 1 && m.train.batch.n_rows != batch)
				ret = -1;
		}
		stop(&m);
	}
	ok(ret == 0, "%d x %d of 7 rows in many epochs: up to %d trained tokens a step",
	    (int)accumulate, (int)batch, (int)most);
}

static struct qz_out *
checkpoint(struct model *m, const char *settings, struct qz_buf *b)
{
	struct qz_err e;
	struct qz_out *o = qz_out_memory(b, &e);

	ok(qz_checkpoint_write(&m->train, settings, "[]", o, &e) == 0 && qz_out_commit(o, &e) == 0,
	    "a checkpoint is written");
	return o;
}

static int
poison(void *arg, struct qz_net *n, double *loss, struct qz_err *e)
{
	double nan = NAN;

	(void)loss;
	(void)e;
	if (--*(int *)arg == 0)
		n->k->copy_in(n->dev, n->g, &nan, sizeof nan);
	return 0;
}

static int
count_once(void *arg, uint64_t *trained, struct qz_err *e)
{
	(void)arg;
	(void)trained;
	(void)e;
	return 0;
}

/* scaled: the loss is, and the second step is skipped. */
static void
check_checkpoint(bool scaled)
{
	int bad_step = 2, never = 0;
	const struct qz_reduce bad = { &bad_step, count_once, poison };
	const struct qz_reduce good = { &never, count_once, poison };
	struct model a, b;
	struct qz_report r;
	struct qz_err e;
	struct qz_buf bytes = { 0 };
	char path[] = "/tmp/qz-train-XXXXXX", device[64] = "";
	int fd = mkstemp(path);
	double la, lb, *sa, *sb;
	struct qz_out *o;

	start(&a, options(2, 2, 6), scaled ? &bad : NULL);
	qz_scale_begin(&a.train.scale, scaled);
	for (int i = 0; i < 3; i++)
		qz_train_step(&a.train, &r, &e);
	o = checkpoint(&a, "\"lr\":1", &bytes);
	ok(write(fd, bytes.data, bytes.n) == (ssize_t)bytes.n, "to a file");
	close(fd);
	start(&b, options(2, 2, 6), scaled ? &good : NULL);
	qz_scale_begin(&b.train.scale, scaled);
	ok(qz_checkpoint_read(&b.train, "\"lr\":1", path, device, sizeof device, &e) == 0 &&
		b.train.step == 3 && !strcmp(device, "cpu-f64"),
	    "and read by another run of %s", device);
	ok(b.train.scale.factor == (scaled ? QZ_SCALE_FIRST / 2 : 1) &&
		b.train.scale.good == scaled && b.train.scale.skipped == scaled,
	    "which scales by %.0f and has skipped %d", b.train.scale.factor,
	    (int)b.train.scale.skipped);
	sa = states(&a, &la);
	sb = states(&b, &lb);
	ok(!memcmp(sa, sb, 3 * a.net.lora.n_par * sizeof *sa) && la == lb,
	    "which ends with the same bits: adapter, m and v");
	ok(qz_checkpoint_read(&b.train, "\"lr\":2", path, device, sizeof device, &e) == -1 &&
		e.code == QZ_EUSAGE && strstr(e.msg, "lr is 2, in the checkpoint 1"),
	    "another setting: %s", e.msg);
	ok(qz_checkpoint_read(&b.train, "\"lr\":1,\"seed\":4", path, device, sizeof device, &e) ==
		    -1 &&
		strstr(e.msg, "seed is 4, in the checkpoint not set"),
	    "one more setting: %s", e.msg);
	ok(qz_checkpoint_read(&b.train, "", path, device, sizeof device, &e) == -1 &&
		strstr(e.msg, "lr is not set, in the checkpoint 1"),
	    "one setting less: %s", e.msg);
	b.train.steps = 2;
	ok(qz_checkpoint_read(&b.train, "\"lr\":1", path, device, sizeof device, &e) == -1 &&
		e.code == QZ_EDATA,
	    "more steps than the run has: %s", e.msg);
	free(sa);
	free(sb);
	stop(&a);
	stop(&b);
	qz_out_close(o);
	qz_buf_free(&bytes);
	unlink(path);
}

/* The 8-bit states are in use, and lead near to where those in par's type lead. */
static void
check_codes(void)
{
	struct model a, b;
	double la, lb, *sa, *sb, far, moved = 0;
	uint64_t n;

	start(&a, options(7, 1, 8), NULL);
	sa = states(&a, &la);
	n = a.net.lora.n_par;
	ok(a.net.absmax_m && a.net.plan.bytes[QZ_USE_OPTIMIZER] < n * 3, "states of %llu bytes",
	    (unsigned long long)a.net.plan.bytes[QZ_USE_OPTIMIZER]);
	optim = QZ_OPTIM_ADAMW;
	start(&b, options(7, 1, 8), NULL);
	sb = states(&b, &lb);
	optim = QZ_OPTIM_ADAMW8;
	far = farthest(sa, sb, n);
	for (int i = 0; i < b.net.lora.n; i++)
		moved = fmax(moved, fabs(sb[b.net.lora.t[i].b])); /* B began at zero */
	ok(far > 0 && far < 0.2 * moved && fabs(la - lb) < 0.05 * lb,
	    "adapters differ by %.1e where it moved %.1e, losses %.4f and %.4f", far, moved, la,
	    lb);
	free(sa);
	free(sb);
	stop(&a);
	stop(&b);
}

/* An embedding that only row 2 looks up; scaling does not change it. */
static void
not_finite_loss(bool scaled)
{
	struct model m;
	struct qz_report r;
	struct qz_err e = { 0 };
	uint32_t id;

	start(&m, options(7, 1, 1), NULL);
	qz_scale_begin(&m.train.scale, scaled);
	id = m.data.rows.ids[m.data.start[2]];
	for (uint64_t i = 0; i < m.data.rows.n_tokens; i++)
		if (i != m.data.start[2] && m.data.rows.ids[i] == id)
			m.data.rows.ids[i] = (id + 1) % 20;
	((float *)(uintptr_t)m.w.embed.data)[(int64_t)id * m.w.embed.cols] = INFINITY;
	ok(qz_train_step(&m.train, &r, &e) == -1 && e.code == QZ_EDATA, "an infinite embedding");
	is(e.msg, "step 1: the loss is not a finite number: row 2", "names its row");
	stop(&m);
}

static void
check_not_finite(void)
{
	int steps = 2;
	const struct qz_reduce bad = { &steps, count_once, poison };
	struct model m;
	struct qz_report r;
	struct qz_err e = { 0 };
	double before, after;

	start(&m, options(2, 1, 4), &bad);
	ok(qz_train_step(&m.train, &r, &e) == 0, "a step");
	dev->k->copy_out(dev, &before, m.net.p, sizeof before);
	ok(qz_train_step(&m.train, &r, &e) == -1 && e.code == QZ_EDATA &&
		strstr(e.msg, "step 2: the gradient is not a finite number"),
	    "a gradient from elsewhere: %s", e.msg);
	dev->k->copy_out(dev, &after, m.net.p, sizeof after);
	ok(before == after && m.train.step == 1, "the adapter is as before the step");
	stop(&m);

	not_finite_loss(false);
	not_finite_loss(true);
}

/* Adapter and states after the steps, as bytes; and all losses and norms. */
static uint64_t
trace(struct model *m, bool scaled, uint8_t *bytes, double *reports)
{
	const struct qz_backend *k = m->net.k;
	uint64_t n = m->net.lora.n_par, state = optim == QZ_OPTIM_ADAMW8 ? n : n * k->par_size;
	struct qz_report r;
	struct qz_err e;

	qz_scale_begin(&m->train.scale, scaled);
	for (int i = 0; i < 6; i++) {
		if (qz_train_step(&m->train, &r, &e) < 0)
			ok(0, "%s", e.msg);
		reports[2 * i] = r.loss;
		reports[2 * i + 1] = r.grad_norm;
	}
	k->copy_out(dev, bytes, m->net.p, n * k->par_size);
	k->copy_out(dev, bytes + n * k->par_size, m->net.m, state);
	k->copy_out(dev, bytes + n * k->par_size + state, m->net.v, state);
	return n * k->par_size + 2 * state;
}

/* Where numbers have the range, a scaled run is the same to the bit: a power of two rounds nothing. */
static void
check_scaled(void)
{
	struct model a, b;
	uint8_t *x = calloc(1, 1 << 20), *y = calloc(1, 1 << 20);
	double rx[12], ry[12];
	uint64_t n;

	start(&a, options(2, 2, 6), NULL);
	n = trace(&a, false, x, rx);
	stop(&a);
	start(&b, options(2, 2, 6), NULL);
	ok(trace(&b, true, y, ry) == n && n < 1 << 20 && !memcmp(x, y, n) &&
		!memcmp(rx, ry, sizeof rx),
	    "%s, %s: adapter, states, losses and norms are those without scaling", dev->k->name,
	    qz_optim_name(optim));
	ok(rx[1] > options(2, 2, 6).clip, "a norm of %g, which is clipped", rx[1]);
	stop(&b);
	free(x);
	free(y);
}

/* A gradient that is not finite: the rows are passed over, the adapter and the optimizer's count stay. */
static void
check_skipped(void)
{
	int steps = 1;
	const struct qz_reduce bad = { &steps, count_once, poison };
	struct qz_train_options o = options(2, 1, 4);
	struct model m;
	struct qz_report r;
	struct qz_err e = { 0 };
	double *before, *after, most = 0;
	uint64_t first[2], n;
	int ret;

	start(&m, o, &bad);
	n = m.net.lora.n_par;
	before = calloc(2 * n, sizeof *before);
	after = before + n;
	qz_scale_begin(&m.train.scale, true);
	dev->k->copy_out(dev, before, m.net.p, n * sizeof *before);
	ret = qz_train_step(&m.train, &r, &e);
	ok(ret == 0 && r.skipped && r.step == 1 && r.scale == QZ_SCALE_FIRST &&
		!isfinite(r.grad_norm) && isfinite(r.loss) && m.train.step == 1,
	    "a step is skipped: loss %g, gradient %g", r.loss, r.grad_norm);
	memcpy(first, m.train.step_rows, sizeof first);
	dev->k->copy_out(dev, after, m.net.p, n * sizeof *after);
	ok(!memcmp(before, after, n * sizeof *after), "the adapter is as before");
	ret = qz_train_step(&m.train, &r, &e);
	ok(ret == 0 && !r.skipped && r.step == 2 && r.scale == QZ_SCALE_FIRST / 2,
	    "the next one has half the scale: %g", r.scale);
	ok(memcmp(first, m.train.step_rows, sizeof first) != 0, "and the next rows");
	dev->k->copy_out(dev, after, m.net.p, n * sizeof *after);
	/* B is zero: what moves it is lr times the sign of the gradient, at the optimizer's first step alone. */
	for (int i = 0; i < m.net.lora.n; i++)
		most = fmax(most, fabs(after[m.net.lora.t[i].b]));
	ok(fabs(most - r.lr) < 1e-4 * r.lr, "it is the optimizer's first: %g of %g", most, r.lr);
	steps = 1;
	m.train.scale.factor = 1;
	ok(qz_train_step(&m.train, &r, &e) == -1 && e.code == QZ_EDATA && m.train.step == 2,
	    "with a scale of 1: %s", e.msg);
	free(before);
	stop(&m);
}

/* The gradient's norm at the adapter that is drawn, after as many steps as are skipped; no dropout, and steps of all
 * rows, so that each one has the same gradient. */
static double
first_norm(double scale, int64_t *skipped, double *after)
{
	struct model m;
	struct qz_report r = { .skipped = true };
	struct qz_err e = { 0 };

	start(&m, options(7, 1, 60), NULL);
	m.net.lora.dropout = 0;
	m.train.scale.factor = scale;
	while (r.skipped && m.train.step < m.train.steps)
		if (qz_train_step(&m.train, &r, &e) < 0) {
			ok(0, "%s", e.msg);
			r.skipped = false;
		}
	*skipped = m.train.scale.skipped;
	*after = m.train.scale.factor;
	stop(&m);
	return r.grad_norm;
}

/* On a GPU in float16: a scale beyond all numbers comes down to one whose gradient is the CPU's, about the largest
 * one that float16 holds. */
static void
check_overflow(void)
{
	struct qz_err e = { 0 };
	double want, far, near, after;
	int64_t skipped;

	dev = qz_device_open("cpu", 2, &e);
	want = first_norm(1, &skipped, &after);
	qz_device_close(dev);
	dev = qz_device_open("cuda-fp16", 1, &e);
	if (!dev) {
		skip("%s", e.msg);
		return;
	}
	near = first_norm(QZ_SCALE_FIRST, &skipped, &after);
	ok(skipped == 0 && fabs(near / want - 1) < 0.01, "cuda-fp16: norm %g, on the CPU %g", near,
	    want);
	far = first_norm(QZ_SCALE_MOST, &skipped, &after);
	ok(skipped > 0 && after * pow(2, (double)skipped) == QZ_SCALE_MOST &&
		fabs(far / want - 1) < 0.01,
	    "cuda-fp16: %d steps skipped, then at scale %g norm %g", (int)skipped, after, far);
	qz_device_close(dev);
}

struct seen {
	int calls, widths;
};

static void
visit(void *arg, int layer, enum qz_proj first, int n, const qz_act *x, int64_t t)
{
	struct seen *s = arg;
	static const int group[QZ_PROJ_N] = { 3, 0, 0, 1, 2, 0, 1 };

	s->calls++;
	s->widths += n == group[first] && x && t > 0 && layer < 2;
}

static void
check_visit(void)
{
	struct model m;
	struct seen s = { 0, 0 };
	struct qz_report r;
	struct qz_err e;

	start(&m, options(7, 1, 1), NULL);
	m.net.visit = visit;
	m.net.visit_arg = &s;
	ok(qz_train_step(&m.train, &r, &e) == 0, "a step with a visitor");
	ok(s.calls == 8 && s.widths == 8,
	    "it sees the inputs of four groups in two layers: %d calls", s.calls);
	stop(&m);
}

/* States in host memory: the same adapter, m and v, and no room on the device but for block constants. */
static void
check_offload(void)
{
	struct qz_train_options o = options(4, 1, 6);
	double *here, *there, loss, again;
	struct model a, b;
	uint64_t n, constants;

	start(&a, o, NULL);
	offload = true;
	start(&b, o, NULL);
	offload = false;
	n = a.net.lora.n_par;
	constants = optim == QZ_OPTIM_ADAMW8 ? 2 * 256 : 0;
	ok(b.net.plan.bytes[QZ_USE_OPTIMIZER] == constants &&
		b.net.plan.host_states == a.net.plan.bytes[QZ_USE_OPTIMIZER] - constants &&
		b.net.plan.host == b.net.plan.host_states && !a.net.plan.host,
	    "%s's states: %llu bytes of host memory", qz_optim_name(optim),
	    (unsigned long long)b.net.plan.host);
	here = states(&a, &loss);
	there = states(&b, &again);
	ok(loss == again && !memcmp(here, there, 3 * n * sizeof *here),
	    "and the same adapter, m and v");
	free(here);
	free(there);
	stop(&a);
	stop(&b);
}

/* A device that chooses how to compute shapes: which it is asked about, and what it answers. */
static uint64_t asked;
static bool unknown;
static int ended;

static bool
tune(struct qz_dev *d, bool on, uint64_t key)
{
	(void)d;
	asked = on ? key : asked;
	ended += !on;
	return on && unknown;
}

/* The key of a run's shapes; a pass is done when they are not known, and only then. */
static uint64_t
warm(struct qz_train_options o, int64_t chunk)
{
	struct qz_backend k = *dev->k;
	struct model m;
	struct qz_err e;
	double sum = 0;

	start(&m, o, NULL);
	k.tune = tune;
	m.net.k = &k;
	m.net.shape.policy.chunk = chunk;
	ended = 0;
	if (qz_train_warm(&m.train, &e) < 0)
		ok(0, "%s", e.msg);
	dev->k->sum_squares(dev, m.net.sum, m.net.g, (int64_t)m.net.lora.n_par);
	dev->k->copy_out(dev, &sum, m.net.sum, sizeof sum);
	ok((sum > 0) == unknown && ended == unknown, unknown ? "a pass" : "no pass");
	stop(&m);
	return asked;
}

static void
check_warm(void)
{
	uint64_t key = warm(options(4, 1, 2), 0), other;

	unknown = true;
	ok(warm(options(4, 1, 2), 0) == key, "the same run, the same key");
	unknown = false;
	other = warm(options(4, 2, 2), 0);
	ok(other == key, "batches decide, not how many there are");
	ok(warm(options(3, 1, 2), 0) != key && warm(options(4, 1, 2), 8) != key,
	    "other batches and another way have other keys");
}

/* Devices whose host memory is at an end: a sentence, and nothing is left behind. */
static void *
no_memory(struct qz_dev *d, size_t nbytes, struct qz_err *e)
{
	(void)d;
	qz_fail(e, QZ_EIO, "cannot pin %zu bytes", nbytes);
	return NULL;
}

static void
check_no_host_memory(void)
{
	static const struct {
		bool states;
		struct qz_policy policy;
		const char *why;
	} cases[] = {
		{ true, { 0 }, "the optimizer's states: cannot pin 114688 bytes" },
		{ false, { .x_only = 2, .x_host = 2 },
		    "activations that wait in host memory: cannot pin 7680 bytes" },
	};
	struct qz_train_options o = options(4, 1, 1);
	struct qz_backend k = *dev->k;
	struct model m;

	start(&m, o, NULL);
	k.host_alloc = no_memory;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct qz_net_shape shape = m.net.shape;
		const struct qz_backend *real = dev->k;
		struct qz_net n;
		struct qz_err e;
		int ret;

		shape.states_host = cases[i].states;
		shape.policy = cases[i].policy;
		dev->k = &k;
		ret = qz_net_open(&n, &m.w, &m.lora, &shape, &e);
		dev->k = real;
		ok(ret == -1 && !n.base && !n.layers, "no net");
		is(e.msg, cases[i].why, "and why");
	}
	stop(&m);
}

int
main(void)
{
	struct qz_err e;

	dev = qz_device_open("cpu-f64", 1, &e);
	if (!dev)
		return ok(0, "%s", e.msg), done();
	check_extents();
	check_accumulation();
	check_reduce();
	check_rows();
	check_room(2, 1);
	check_room(4, 2);
	check_room(10, 1);
	check_room(5, 4);
	check_checkpoint(false);
	check_checkpoint(true);
	check_not_finite();
	check_skipped();
	check_scaled();
	optim = QZ_OPTIM_ADAMW8;
	check_checkpoint(false);
	check_checkpoint(true);
	check_not_finite();
	check_scaled();
	check_codes();
	check_offload();
	optim = QZ_OPTIM_ADAMW;
	check_offload();
	check_no_host_memory();
	check_warm();
	check_visit();
	qz_device_close(dev);
	dev = qz_device_open("cpu", 2, &e);
	check_scaled();
	optim = QZ_OPTIM_ADAMW8;
	check_scaled();
	qz_device_close(dev);
	optim = QZ_OPTIM_ADAMW;
	check_overflow();
	return done();
}
