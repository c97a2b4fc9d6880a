#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/model/adapter.h"
#include "libcore/model/adapter_peft.h"

static void
put_scales(const struct qz_lora *l, struct qz_buf *b)
{
	const char *sep = ",\"scales\":{";

	for (int i = 0; i < l->n; i++) {
		const struct qz_lora_tensor *t = &l->t[i];
		char module[160];

		if (t->scale == qz_lora_scale(l->alpha, t->rank, l->rslora))
			continue;
		qz_adapter_module(t->layer, t->proj, module, sizeof module);
		qz_buf_str(b, sep);
		qz_json_put_string(b, module, strlen(module));
		qz_buf_chr(b, ':');
		qz_json_put_number(b, (double)t->scale);
		sep = ",";
	}
	if (*sep == ',' && sep[1] == '\0')
		qz_buf_chr(b, '}');
}

static void
put_meta(const struct qz_adapter *a, struct qz_buf *b)
{
	const char *base = a->base ? a->base : "";

	qz_buf_str(b, "{\"base\":");
	qz_json_put_string(b, base, strlen(base));
	qz_buf_fmt(b, ",\"lora\":{\"r\":%d,\"alpha\":", a->lora.rank);
	qz_json_put_number(b, a->lora.alpha);
	qz_buf_str(b, ",\"dropout\":");
	qz_json_put_number(b, a->lora.dropout);
	qz_buf_fmt(b, ",\"rslora\":%s,\"targets\":[\"", a->lora.rslora ? "true" : "false");
	qz_proj_set_put(a->lora.targets, "\",\"", b);
	qz_buf_str(b, "\"]");
	put_scales(&a->lora, b);
	qz_buf_str(b, "}}");
}

/* Entry `half` of tensor i: its name, shape and place in values. */
static int
entry(const struct qz_adapter *a, int i, int half, struct qz_arena *names, struct qz_tensor *out,
    struct qz_err *e)
{
	const struct qz_lora_tensor *t = &a->lora.t[i];
	char name[160];

	qz_lora_name(t->layer, t->proj, (char)('A' + half), name, sizeof name);
	*out = (struct qz_tensor){ .name = qz_arena_strdup(names, name),
		.dtype = QZ_F32,
		.n_dims = 2,
		.dims = {
		    (uint64_t)(half ? t->rows : t->rank), (uint64_t)(half ? t->rank : t->cols) } };
	return out->name ? qz_tensor_plan(out, e) : qz_nomem(e, sizeof name);
}

static int
put_records(const struct qz_adapter *a, const struct qz_tensor *manifest, struct qz_shard_writer *w,
    struct qz_err *e)
{
	for (int i = 0; i < 2 * a->lora.n; i++) {
		const struct qz_lora_tensor *t = &a->lora.t[i / 2];
		const struct qz_tensor *m = &manifest[i];

		if (qz_shard_tensor_begin(w, m, e) < 0 ||
		    qz_shard_tensor_write(w, a->values + (i % 2 ? t->b : t->a),
			(size_t)qz_tensor_count(m) * sizeof(float), e) < 0 ||
		    qz_shard_tensor_end(w, a->source ? a->source[i / 2] : 0, e) < 0)
			return -1;
	}
	return 0;
}

int
qz_adapter_write(const struct qz_adapter *a, struct qz_out *o, const char *chain, struct qz_err *e)
{
	struct qz_tensor *manifest = calloc(2 * (size_t)a->lora.n + 1, sizeof *manifest);
	struct qz_shard_writer *w = NULL;
	struct qz_arena names = { 0 };
	struct qz_buf meta = { 0 };
	int ret = manifest ? 0 : qz_nomem(e, 2 * (size_t)a->lora.n * sizeof *manifest);

	for (int i = 0; ret == 0 && i < 2 * a->lora.n; i++)
		ret = entry(a, i / 2, i % 2, &names, &manifest[i], e);
	put_meta(a, &meta);
	if (ret == 0)
		ret = qz_buf_ok(&meta, e);
	if (ret == 0) {
		w = qz_shard_writer_new(
		    o, "adapter", meta.data, manifest, 2 * (size_t)a->lora.n, 0, e);
		ret = w ? put_records(a, manifest, w, e) : -1;
	}
	if (ret == 0 && (qz_shard_provenance_put(w, chain, e) < 0 || qz_shard_writer_end(w, e) < 0))
		ret = -1;
	qz_shard_writer_free(w);
	qz_buf_free(&meta);
	qz_arena_free(&names);
	free(manifest);
	return ret;
}

static int
read_head(struct qz_adapter *a, const struct qz_json *head, struct qz_err *e)
{
	const struct qz_json *lora = qz_json_get(head, "lora");
	int64_t rank;

	if (!qz_json_is(lora, QZ_JSON_OBJECT))
		return qz_fail(e, QZ_EDATA, "the head does not say \"lora\"");
	if (qz_json_int(qz_json_get(lora, "r"), 1, QZ_RANK_MAX, &rank, e) < 0)
		return qz_at(e, "lora.r");
	a->lora.rank = (int)rank;
	a->lora.alpha = qz_json_number(qz_json_get(lora, "alpha"), -1);
	a->lora.dropout = qz_json_number(qz_json_get(lora, "dropout"), 0);
	a->lora.rslora = qz_json_bool(qz_json_get(lora, "rslora"), false);
	if (!isfinite(a->lora.alpha) || a->lora.alpha <= 0)
		return qz_fail(e, QZ_EDATA, "lora.alpha is not a number above 0");
	a->base = strdup(qz_json_string(qz_json_get(head, "base"), ""));
	return a->base ? 0 : qz_nomem(e, 1);
}

struct head {
	const struct qz_adapter *a;
	struct qz_json *scales; /* a copy, or NULL */
};

static int
scale_of(void *arg, const char *module, int rank, float *s, struct qz_err *e)
{
	const struct head *h = arg;
	const struct qz_json *own = qz_json_get(h->scales, module);
	double v = qz_json_number(
	    own, (double)qz_lora_scale(h->a->lora.alpha, rank, h->a->lora.rslora));

	if (!isfinite(v) || (own && !qz_json_is(own, QZ_JSON_NUMBER)))
		return qz_fail(e, QZ_EDATA, "lora.scales.%s is not a finite number", module);
	*s = (float)v;
	return 0;
}

static struct qz_json *
copy_json(const struct qz_json *j, struct qz_err *e)
{
	struct qz_buf b = { 0 };
	struct qz_json *copy = NULL;

	qz_json_put(&b, j, 0);
	if (qz_buf_ok(&b, e) == 0)
		copy = qz_json_parse(b.data, b.n, e);
	qz_buf_free(&b);
	return copy;
}

static int
read_record(struct qz_adapter *a, struct head *h, struct qz_adapter_parts *parts,
    struct qz_shard_reader *r, const struct qz_record *rec, struct qz_err *e)
{
	const struct qz_json *scales;
	float *data;

	switch (rec->type) {
	case QZ_REC_HEAD:
		if (h->a)
			return qz_fail(e, QZ_EDATA, "a second adapter follows the first");
		h->a = a;
		scales = qz_json_get(qz_json_get(qz_shard_head(r), "lora"), "scales");
		if (scales && !(h->scales = copy_json(scales, e)))
			return -1;
		return read_head(a, qz_shard_head(r), e);
	case QZ_REC_TENSOR:
		data = qz_adapter_part(parts, &rec->tensor, e);
		if (!data ||
		    qz_shard_read(r, data,
			(size_t)qz_tensor_section(&rec->tensor, QZ_SEC_DATA)->nbytes, e) < 0 ||
		    qz_shard_finish(r, e) < 0)
			return -1;
		parts->p[parts->n - 1].source = qz_shard_source(r);
		return 0;
	case QZ_REC_END:
		a->digest = rec->end.digest;
		free(a->provenance);
		a->provenance = strdup(qz_shard_provenance(r));
		return a->provenance ? 0 : qz_nomem(e, 1);
	}
	return 0;
}

static int
read_shard(struct qz_adapter *a, struct qz_in *in, struct qz_err *e)
{
	struct qz_shard_reader *r = qz_shard_reader_new(in, "adapter", e);
	struct qz_adapter_parts parts = { 0 };
	const struct qz_record *rec;
	struct head h = { 0 };
	int got = -1;

	while (r && (got = qz_shard_next(r, &rec, e)) > 0)
		if (read_record(a, &h, &parts, r, rec, e) < 0) {
			got = qz_at(e, "%s", qz_in_name(in));
			break;
		}
	if (got == 0 && qz_adapter_build(a, &parts, scale_of, &h, e) < 0)
		got = qz_at(e, "%s", qz_in_name(in));
	qz_adapter_parts_free(&parts);
	qz_json_free(h.scales);
	qz_shard_reader_free(r);
	return got;
}

int
qz_adapter_read(struct qz_adapter *a, const char *path, struct qz_err *e)
{
	struct qz_in *in;
	int ret;

	*a = (struct qz_adapter){ 0 };
	if (qz_adapter_is_folder(path)) {
		ret = qz_adapter_read_peft(a, path, e);
	} else {
		in = qz_in_open(path, e);
		ret = in ? read_shard(a, in, e) : -1;
		qz_in_close(in);
	}
	if (ret < 0)
		qz_adapter_free(a);
	return ret;
}
