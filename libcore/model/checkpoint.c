#include "libcore/model/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"

enum { TENSORS_MAX = 5, PIECE = 1 << 20 };

struct flat {
	const char *name;
	void *at; /* device memory */
	enum qz_dtype dtype;
	uint64_t count;
};

/* The buffers of a run in their order; returns how many. */
static int
buffers(const struct qz_train *t, struct flat f[TENSORS_MAX])
{
	const struct qz_net *n = t->net;
	uint64_t count = n->lora.n_par, blocks = count / QZ_ADAMW8_BLOCK;
	enum qz_dtype par = n->k->par_type, state = n->absmax_m ? QZ_U8 : par;

	f[0] = (struct flat){ "adapter", n->p, par, count };
	f[1] = (struct flat){ "optimizer.m", n->m, state, count };
	f[2] = (struct flat){ "optimizer.v", n->v, state, count };
	f[3] = (struct flat){ "optimizer.m.absmax", n->absmax_m, QZ_F32, blocks };
	f[4] = (struct flat){ "optimizer.v.absmax", n->absmax_v, QZ_F32, blocks };
	return n->absmax_m ? 5 : 3;
}

static uint64_t
size_of(const struct flat *f)
{
	return f->count * qz_dtype(f->dtype)->bytes;
}

static int
plan(const struct flat *f, int n, struct qz_tensor *list, struct qz_err *e)
{
	for (int i = 0; i < n; i++) {
		list[i] = (struct qz_tensor){
			.name = f[i].name, .dtype = f[i].dtype, .n_dims = 1, .dims = { f[i].count }
		};
		if (qz_tensor_plan(&list[i], e) < 0)
			return -1;
	}
	return 0;
}

static int
put_tensor(struct qz_train *t, const struct flat *f, const struct qz_tensor *m,
    struct qz_shard_writer *w, char *piece, struct qz_err *e)
{
	uint64_t nbytes = size_of(f);

	if (qz_shard_tensor_begin(w, m, e) < 0)
		return -1;
	for (uint64_t at = 0; at < nbytes; at += PIECE) {
		size_t n = nbytes - at < PIECE ? (size_t)(nbytes - at) : PIECE;

		t->net->k->copy_out(t->net->dev, piece, (char *)f->at + at, n);
		if (qz_shard_tensor_write(w, piece, n, e) < 0)
			return -1;
	}
	return qz_shard_tensor_end(w, 0, e);
}

int
qz_checkpoint_write(
    struct qz_train *t, const char *settings, const char *chain, struct qz_out *o, struct qz_err *e)
{
	struct flat f[TENSORS_MAX];
	struct qz_tensor list[TENSORS_MAX];
	struct qz_shard_writer *w = NULL;
	struct qz_buf meta = { 0 };
	char *piece = malloc(PIECE);
	int n = buffers(t, f), ret = piece ? plan(f, n, list, e) : qz_nomem(e, PIECE);

	qz_buf_fmt(&meta, "{\"step\":%lld,\"device\":\"%s\",\"settings\":{%s}", (long long)t->step,
	    t->net->k->name, settings);
	qz_scale_put(&t->scale, &meta);
	qz_buf_chr(&meta, '}');
	if (ret == 0 && (ret = qz_buf_ok(&meta, e)) == 0) {
		w = qz_shard_writer_new(o, "checkpoint", meta.data, list, (size_t)n, 0, e);
		ret = w ? 0 : -1;
	}
	for (int i = 0; ret == 0 && i < n; i++)
		ret = put_tensor(t, &f[i], &list[i], w, piece, e);
	if (ret == 0 && (qz_shard_provenance_put(w, chain, e) < 0 || qz_shard_writer_end(w, e) < 0))
		ret = -1;
	qz_shard_writer_free(w);
	qz_buf_free(&meta);
	free(piece);
	return ret;
}

/* Two JSON values as text. */
static bool
same(const struct qz_json *a, const struct qz_json *b, struct qz_buf *ta, struct qz_buf *tb)
{
	qz_buf_clear(ta);
	qz_buf_clear(tb);
	qz_json_put(ta, a, 0);
	qz_json_put(tb, b, 0);
	return a && b && ta->data && tb->data && !strcmp(ta->data, tb->data);
}

/* Both ways round, so that a setting that only one side has is named too. */
static int
compare(const struct qz_json *now, const struct qz_json *then, struct qz_err *e)
{
	struct qz_buf a = { 0 }, b = { 0 };
	const struct qz_json *both[2] = { now, then };
	int ret = 0;

	for (int i = 0; i < 2 && ret == 0; i++)
		for (const struct qz_json *c = qz_json_first(both[i]); c && ret == 0;
		     c = qz_json_next(c)) {
			const char *key = qz_json_key(c);

			if (!same(qz_json_get(now, key), qz_json_get(then, key), &a, &b))
				ret = qz_fail(e, QZ_EUSAGE,
				    "cannot go on: %s is %.200s, in the checkpoint %.200s", key,
				    qz_json_get(now, key) ? a.data : "not set",
				    qz_json_get(then, key) ? b.data : "not set");
		}
	qz_buf_free(&a);
	qz_buf_free(&b);
	return ret;
}

static int
read_head(struct qz_train *t, const char *settings, const struct qz_json *head, char *device,
    size_t n, struct qz_err *e)
{
	struct qz_buf text = { 0 };
	struct qz_json *now = NULL;
	int ret = -1;

	qz_buf_fmt(&text, "{%s}", settings);
	if (qz_buf_ok(&text, e) == 0)
		now = qz_json_parse(text.data, text.n, e);
	if (now)
		ret = compare(now, qz_json_get(head, "settings"), e);
	qz_json_free(now);
	qz_buf_free(&text);
	if (ret < 0)
		return -1;
	if (qz_json_int(qz_json_get(head, "step"), 0, t->steps, &t->step, e) < 0)
		return qz_at(e, "step");
	if (qz_scale_get(&t->scale, head, t->step, e) < 0)
		return -1;
	snprintf(device, n, "%s", qz_json_string(qz_json_get(head, "device"), "?"));
	return 0;
}

/* f: what has to come here, or NULL. */
static int
get_tensor(struct qz_train *t, const struct flat *f, struct qz_shard_reader *r,
    const struct qz_record *rec, char *piece, struct qz_err *e)
{
	uint64_t nbytes;

	if (!f || strcmp(rec->name, f->name) || rec->tensor.dtype != f->dtype ||
	    rec->tensor.n_dims != 1 || rec->tensor.dims[0] != f->count)
		return qz_fail(e, QZ_EDATA,
		    "tensor %.100s (%s, %llu) is not what this run's checkpoints have here",
		    rec->name, qz_dtype(rec->tensor.dtype)->name,
		    (unsigned long long)qz_tensor_count(&rec->tensor));
	nbytes = size_of(f);
	for (uint64_t at = 0; at < nbytes; at += PIECE) {
		size_t n = nbytes - at < PIECE ? (size_t)(nbytes - at) : PIECE;

		if (qz_shard_read(r, piece, n, e) < 0)
			return -1;
		t->net->k->copy_in(t->net->dev, (char *)f->at + at, piece, n);
	}
	return qz_shard_finish(r, e);
}

static int
read_records(struct qz_train *t, const char *settings, struct qz_shard_reader *r, char *piece,
    char *device, size_t n, struct qz_err *e)
{
	const struct qz_record *rec;
	struct flat f[TENSORS_MAX];
	int got, tensors = 0, want = buffers(t, f);

	while ((got = qz_shard_next(r, &rec, e)) > 0) {
		if (rec->type == QZ_REC_HEAD &&
		    read_head(t, settings, qz_shard_head(r), device, n, e) < 0)
			return -1;
		if (rec->type != QZ_REC_TENSOR)
			continue;
		if (get_tensor(t, tensors < want ? &f[tensors] : NULL, r, rec, piece, e) < 0)
			return -1;
		tensors++;
	}
	qz_net_adapter_changed(t->net);
	if (got == 0 && tensors != want)
		return qz_fail(e, QZ_EDATA, "%d tensors, %d expected", tensors, want);
	return got;
}

int
qz_checkpoint_read(struct qz_train *t, const char *settings, const char *path, char *device,
    size_t n, struct qz_err *e)
{
	struct qz_in *in = qz_in_open(path, e);
	struct qz_shard_reader *r = in ? qz_shard_reader_new(in, "checkpoint", e) : NULL;
	char *piece = malloc(PIECE);
	int ret = -1;

	if (!piece)
		qz_nomem(e, PIECE);
	else if (r && (ret = read_records(t, settings, r, piece, device, n, e)) < 0 &&
		 !strstr(e->msg, qz_in_name(in)))
		qz_at(e, "%s", qz_in_name(in));
	if (ret == 0)
		ret = t->net->k->sync(t->net->dev, e);
	free(piece);
	qz_shard_reader_free(r);
	qz_in_close(in);
	return ret;
}
