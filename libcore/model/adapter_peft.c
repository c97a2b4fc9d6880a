#include "libcore/model/adapter_peft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcore/base/half.h"
#include "libcore/base/hash.h"
#include "libcore/base/le.h"
#include "libcore/format/peft.h"
#include "libcore/format/safetensors.h"

enum { CONFIG_MAX = 1 << 24 };

bool
qz_adapter_is_folder(const char *path)
{
	struct stat st;

	return strcmp(path, "-") && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Elements in place as float32: narrow types are spread from the end of the memory. */
static void
widen(float *data, enum qz_dtype type, uint64_t n)
{
	const char *bytes = (const char *)data;

	if (type == QZ_F32)
		return;
	for (uint64_t i = n; i-- > 0;) {
		uint16_t half = le16_get(bytes + 2 * i);

		data[i] = type == QZ_F16 ? qz_f16_to_f32(half) : qz_bf16_to_f32(half);
	}
}

static int
read_tensor(struct qz_adapter_parts *parts, const struct qz_st_tensor *s, struct qz_in *in,
    struct qz_hash *h, struct qz_err *e)
{
	size_t prefix = strlen(QZ_PEFT_PREFIX);
	struct qz_tensor t = { .name = s->name + prefix, .dtype = QZ_F32, .n_dims = s->n_dims };
	float *data;

	if (strncmp(s->name, QZ_PEFT_PREFIX, prefix))
		return qz_fail(e, QZ_EDATA, "tensor %.200s: its name does not start with %s",
		    s->name, QZ_PEFT_PREFIX);
	if (s->dtype != QZ_F32 && s->dtype != QZ_F16 && s->dtype != QZ_BF16)
		return qz_fail(e, QZ_EDATA, "tensor %.200s: type %s, F32, F16 or BF16 expected",
		    s->name, s->type);
	memcpy(t.dims, s->dims, sizeof t.dims);
	if (qz_tensor_plan(&t, e) < 0)
		return qz_at(e, "tensor %.200s", s->name);
	data = qz_adapter_part(parts, &t, e);
	if (!data || qz_in_read(in, data, (size_t)(s->end - s->begin), e) < 0)
		return -1;
	qz_hash_add(h, data, (size_t)(s->end - s->begin));
	widen(data, s->dtype, qz_tensor_count(&t));
	return 0;
}

static int
read_tensors(struct qz_adapter_parts *parts, struct qz_in *in, struct qz_hash *h, struct qz_err *e)
{
	struct qz_st st = { 0 };
	int ret = qz_st_read(&st, in, e);

	for (size_t i = 0; ret == 0 && i < st.n; i++)
		ret = read_tensor(parts, &st.tensors[i], in, h, e);
	qz_st_free(&st);
	return ret;
}

static int
scale_of(void *arg, const char *module, int rank, float *s, struct qz_err *e)
{
	const struct qz_peft *p = arg;
	int64_t said = qz_peft_rank(p, module);

	if (said != rank)
		return qz_fail(e, QZ_EDATA, "%s has rank %d, " QZ_PEFT_CONFIG " says %lld", module,
		    rank, (long long)said);
	*s = qz_lora_scale(qz_peft_alpha(p, module), rank, p->rslora);
	return 0;
}

static int
read_config(struct qz_adapter *a, struct qz_peft *p, const struct qz_buf *text, struct qz_err *e)
{
	if (qz_peft_parse(p, text->data ? text->data : "", text->n, e) < 0)
		return -1;
	a->lora.rank = (int)p->r;
	a->lora.alpha = p->alpha;
	a->lora.dropout = p->dropout;
	a->lora.rslora = p->rslora;
	a->base = strdup(p->base);
	a->provenance = strdup("[]");
	return a->base && a->provenance ? 0 : qz_nomem(e, 1);
}

static int
read_folder(struct qz_adapter *a, const char *config, const char *weights, struct qz_hash *h,
    struct qz_err *e)
{
	struct qz_adapter_parts parts = { 0 };
	struct qz_buf text = { 0 };
	struct qz_peft p = { 0 };
	struct qz_in *in = NULL;
	int ret = qz_file_read(config, &text, CONFIG_MAX, e);

	if (ret == 0 && (ret = read_config(a, &p, &text, e)) < 0)
		qz_at(e, "%s", config);
	qz_hash_add(h, text.data, text.n);
	if (ret == 0) {
		in = qz_in_open(weights, e);
		ret = in ? 0 : -1;
	}
	if (ret == 0 && ((ret = read_tensors(&parts, in, h, e)) < 0 ||
			    (ret = qz_adapter_build(a, &parts, scale_of, &p, e)) < 0))
		qz_at(e, "%s", weights);
	a->digest = qz_hash_get128(h);
	qz_in_close(in);
	qz_adapter_parts_free(&parts);
	qz_peft_free(&p);
	qz_buf_free(&text);
	return ret;
}

int
qz_adapter_read_peft(struct qz_adapter *a, const char *path, struct qz_err *e)
{
	struct qz_buf config = { 0 }, weights = { 0 };
	struct qz_hash *h = qz_hash_new();
	int ret = h ? 0 : qz_nomem(e, 1);

	qz_buf_fmt(&config, "%s/" QZ_PEFT_CONFIG, path);
	qz_buf_fmt(&weights, "%s/" QZ_PEFT_WEIGHTS, path);
	if (ret == 0 && (ret = qz_buf_ok(&config, e)) == 0)
		ret = qz_buf_ok(&weights, e);
	if (ret == 0)
		ret = read_folder(a, config.data, weights.data, h, e);
	qz_hash_free(h);
	qz_buf_free(&config);
	qz_buf_free(&weights);
	return ret;
}

/* rank_pattern and alpha_pattern: the modules whose rank or scale is their own. */
static void
put_patterns(const struct qz_lora *l, struct qz_buf *ranks, struct qz_buf *alphas)
{
	for (int i = 0; i < l->n; i++) {
		const struct qz_lora_tensor *t = &l->t[i];
		char module[160];

		qz_adapter_module(t->layer, t->proj, module, sizeof module);
		if (t->rank != l->rank)
			qz_buf_fmt(
			    ranks, "%s    \"%s\": %d", ranks->n ? ",\n" : "", module, t->rank);
		if (t->scale == qz_lora_scale(l->alpha, t->rank, l->rslora))
			continue;
		qz_buf_fmt(alphas, "%s    \"%s\": ", alphas->n ? ",\n" : "", module);
		qz_json_put_number(alphas,
		    (double)t->scale * (l->rslora ? sqrt((double)t->rank) : (double)t->rank));
	}
}

static int
write_config(const struct qz_adapter *a, struct qz_outdir *d, struct qz_err *e)
{
	struct qz_buf text = { 0 }, ranks = { 0 }, alphas = { 0 };
	const char *targets[QZ_PROJ_N];
	struct qz_peft_out c = { .base = a->base ? a->base : "",
		.r = a->lora.rank,
		.alpha = a->lora.alpha,
		.dropout = a->lora.dropout,
		.rslora = a->lora.rslora,
		.targets = targets,
		.ranks = &ranks,
		.alphas = &alphas };
	int ret;

	for (int p = 0; p < QZ_PROJ_N; p++)
		if (a->lora.targets & 1u << p)
			targets[c.n_targets++] = qz_proj((enum qz_proj)p)->name;
	put_patterns(&a->lora, &ranks, &alphas);
	qz_peft_put(&c, &text);
	ret = qz_buf_ok(&text, e);
	if (ret == 0)
		ret = qz_outdir_write(d, QZ_PEFT_CONFIG, text.data, text.n, e);
	qz_buf_free(&text);
	qz_buf_free(&ranks);
	qz_buf_free(&alphas);
	return ret;
}

static int
write_weights(const struct qz_adapter *a, struct qz_out *o, struct qz_err *e)
{
	size_t n = 2 * (size_t)a->lora.n;
	struct qz_st_tensor *list = calloc(n + 1, sizeof *list);
	struct qz_arena names = { 0 };
	struct qz_buf header = { 0 };
	char name[200] = QZ_PEFT_PREFIX;
	size_t prefix = strlen(name);
	int ret = list ? 0 : qz_nomem(e, n * sizeof *list);

	for (size_t i = 0; ret == 0 && i < n; i++) {
		const struct qz_lora_tensor *t = &a->lora.t[i / 2];
		bool b = i % 2;

		qz_lora_name(t->layer, t->proj, b ? 'B' : 'A', name + prefix, sizeof name - prefix);
		list[i] = (struct qz_st_tensor){ .name = qz_arena_strdup(&names, name),
			.type = "F32",
			.dtype = QZ_F32,
			.n_dims = 2,
			.dims = { (uint64_t)(b ? t->rows : t->rank),
			    (uint64_t)(b ? t->rank : t->cols) } };
		if (!list[i].name)
			ret = qz_nomem(e, sizeof name);
	}
	if (ret == 0 && (ret = qz_st_put(&header, list, n, e)) == 0 &&
	    (ret = qz_buf_ok(&header, e)) == 0)
		ret = qz_out_write(o, header.data, header.n, e);
	for (size_t i = 0; ret == 0 && i < n; i++)
		ret = qz_out_write(o, a->values + (i % 2 ? a->lora.t[i / 2].b : a->lora.t[i / 2].a),
		    (size_t)(list[i].dims[0] * list[i].dims[1]) * sizeof(float), e);
	qz_buf_free(&header);
	qz_arena_free(&names);
	free(list);
	return ret;
}

int
qz_adapter_write_peft(const struct qz_adapter *a, struct qz_outdir *d, struct qz_err *e)
{
	struct qz_out *o;
	int ret;

	if (write_config(a, d, e) < 0)
		return -1;
	o = qz_outdir_file(d, QZ_PEFT_WEIGHTS, e);
	ret = o ? write_weights(a, o, e) : -1;
	if (ret == 0)
		ret = qz_out_commit(o, e);
	qz_out_close(o);
	return ret;
}
