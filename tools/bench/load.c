#include "tools/bench/load.h"

#include "tools/common/cli.h"
#include "tools/common/meter.h"

static void
progress(void *arg, uint64_t n)
{
	qz_meter_add(arg, n);
}

static int
load_weights(struct bench_model *m, struct qz_dev *d, struct qz_err *e)
{
	struct qz_meter meter;
	size_t n;
	const struct qz_tensor *t = qz_source_manifest(m->source, &n);
	int ret;

	qz_meter_start(&meter, "load", t ? qz_weights_size(t, n) : 0, NULL);
	ret = qz_weights_load(
	    &m->weights, d, m->source, false, (int)qz_threads, progress, &meter, e);
	qz_meter_stop(&meter);
	return ret;
}

static int
load_adapter(struct bench_model *m, const char *path, double scale, struct qz_err *e)
{
	if (qz_adapter_read(&m->adapter, path, e) < 0)
		return -1;
	if (qz_adapter_fits(&m->adapter, &m->weights.config, e) < 0)
		return qz_at(e, "%s", path);
	for (int i = 0; i < m->adapter.lora.n; i++)
		m->adapter.lora.t[i].scale *= (float)scale;
	return 0;
}

int
bench_model_load(struct bench_model *m, struct qz_dev *d, const char *path, const char *adapter,
    double scale, struct qz_err *e)
{
	m->source = qz_source_open(path, e);
	if (!m->source || load_weights(m, d, e) < 0)
		return -1;
	return adapter ? load_adapter(m, adapter, scale, e) : 0;
}

int
bench_model_open(struct bench_model *m, const struct qz_net_shape *shape, struct qz_err *e)
{
	const struct qz_lora *l = m->adapter.lora.n ? &m->adapter.lora : NULL;

	if (qz_net_open(&m->net, &m->weights, l, shape, e) < 0)
		return -1;
	if (l)
		qz_net_put(&m->net, m->net.p, m->adapter.values, l->n_par);
	return 0;
}

void
bench_model_free(struct bench_model *m)
{
	qz_net_close(&m->net);
	qz_adapter_free(&m->adapter);
	qz_weights_free(&m->weights);
	qz_source_close(m->source);
}
