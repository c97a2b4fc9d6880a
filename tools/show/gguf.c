/* GGUF files: keys and tensors, and the digest that qz-gguf puts in. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"
#include "libcore/base/num.h"
#include "libcore/base/le.h"
#include "libcore/format/gguf_read.h"
#include "tools/show/show.h"

bool
show_is_gguf(struct qz_in *in, struct qz_err *e)
{
	const void *p;

	return qz_in_peek(in, &p, 4, e) == 4 && !memcmp(p, "GGUF", 4);
}

/* Whole numbers as such, others in as many digits as f32 needs. */
static void
put_number(const struct qz_gguf_kv *kv, uint64_t i, struct qz_buf *out)
{
	double v = qz_gguf_number(kv, i);

	if (kv->type == QZ_GGUF_BOOL)
		qz_buf_str(out, v != 0 ? "true" : "false");
	else if (kv->type == QZ_GGUF_F32 || kv->type == QZ_GGUF_F64)
		qz_buf_fmt(out, v - v == 0 ? "%.9g" : "null", v);
	else
		qz_buf_fmt(out, "%.0f", v);
}

/* The first n values; strings are JSON's, bytes that are not UTF-8 become U+FFFD. */
static void
put_values(const struct qz_gguf_kv *kv, uint64_t n, struct qz_buf *out)
{
	const uint8_t *p = kv->data;

	for (uint64_t i = 0; i < n; i++) {
		if (i)
			qz_buf_chr(out, ',');
		if (kv->type != QZ_GGUF_STRING) {
			put_number(kv, i, out);
			continue;
		}
		qz_json_put_string(out, (const char *)p + 8, (size_t)le64_get(p));
		p += 8 + le64_get(p);
	}
}

static void
put_key(const struct qz_gguf_kv *kv, bool json, struct qz_buf *out)
{
	uint64_t some = json || kv->n < 4 ? kv->n : 4;

	if (json) {
		qz_buf_str(out, "{\"key\":");
		qz_json_put_string(out, kv->key, strlen(kv->key));
		qz_buf_fmt(out, ",\"type\":\"%s\",\"value\":", qz_gguf_type_name(kv->type));
	} else {
		qz_buf_fmt(out, "  key     %-7s %s = ", qz_gguf_type_name(kv->type), kv->key);
	}
	qz_buf_str(out, kv->array ? "[" : "");
	put_values(kv, some, out);
	if (some < kv->n)
		qz_buf_fmt(out, ",... %" PRIu64 " in all", kv->n);
	qz_buf_str(out, kv->array ? "]" : "");
	qz_buf_str(out, json ? "}\n" : "\n");
}

static void
put_tensor(const struct qz_gguf_tensor *t, bool json, struct qz_buf *out)
{
	char size[16];

	qz_num_bytes(t->nbytes, size);
	if (json)
		qz_buf_fmt(out,
		    "{\"tensor\":\"%s\",\"dtype\":\"%s\",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64
		    ",\"dims\":[",
		    t->name, qz_dtype((unsigned)t->dtype)->name, t->offset, t->nbytes);
	else
		qz_buf_fmt(out, "  tensor  %9s  %-6s ", size, qz_dtype((unsigned)t->dtype)->name);
	for (int i = 0; i < t->n_dims; i++)
		qz_buf_fmt(out, "%s%" PRIu64, i ? (json ? "," : "x") : "", t->dims[i]);
	if (json)
		qz_buf_str(out, "]}\n");
	else
		qz_buf_fmt(out, "  %s\n", t->name);
}

static void
list(const struct qz_gguf *g, const char *name, bool json, struct qz_buf *out)
{
	if (!json)
		qz_buf_fmt(out, "%s: GGUF version %u, %zu keys, %zu tensors\n", name, g->version,
		    g->n_kv, g->n_tensors);
	for (size_t i = 0; i < g->n_kv; i++)
		put_key(&g->kv[i], json, out);
	for (size_t i = 0; i < g->n_tensors; i++)
		put_tensor(&g->tensors[i], json, out);
}

static int
hash_data(const struct qz_gguf *g, struct qz_in *in, char hex[33], struct qz_err *e)
{
	struct qz_hash *h = qz_hash_new();
	char window[64 * 1024];
	int ret = h ? 0 : qz_nomem(e, 1);

	for (size_t i = 0; ret == 0 && i < g->n_tensors; i++) {
		uint64_t left = g->tensors[i].nbytes;

		ret = qz_in_seek(in, g->tensors[i].offset, e);
		while (ret == 0 && left) {
			size_t n = left < sizeof window ? (size_t)left : sizeof window;

			ret = qz_in_read(in, window, n, e);
			qz_hash_add(h, window, n);
			left -= n;
		}
	}
	if (ret == 0)
		qz_digest_hex(qz_hash_get128(h), hex);
	qz_hash_free(h);
	return ret;
}

/* qz-gguf puts the digest last.  Programs that quantize such a file copy the key and put theirs behind it. */
static int
differs(const struct qz_gguf *g, const char *hex, const char *want, struct qz_err *e)
{
	const char *last = g->kv[g->n_kv - 1].key;

	if (strcmp(last, QZ_GGUF_DIGEST))
		return qz_fail(e, QZ_EDATA,
		    "the digest of its data is not the one of the key " QZ_GGUF_DIGEST
		    ", and %.80s stands behind it: another program has written the file since, "
		    "and copied the key",
		    last);
	return qz_fail(e, QZ_EDATA,
	    "the digest of its data is %s, the key " QZ_GGUF_DIGEST " says %.32s", hex, want);
}

static int
verify(struct qz_gguf *g, struct qz_in *in, struct qz_buf *out, struct qz_err *e)
{
	const char *want = NULL;
	char hex[33];

	if (qz_gguf_string(g, QZ_GGUF_DIGEST, &want, e) < 0 || hash_data(g, in, hex, e) < 0)
		return -1;
	if (want && strcmp(want, hex))
		return differs(g, hex, want, e);
	qz_buf_fmt(out, "%s  %s  %s, %zu tensors\n", hex, qz_in_name(in),
	    want ? "ok" : "carries no digest", g->n_tensors);
	return 0;
}

int
show_gguf(struct qz_in *in, bool json, bool check, struct qz_buf *out, struct qz_err *e)
{
	struct qz_gguf g = { 0 };
	int ret = qz_gguf_read(&g, in, e);

	if (ret == 0 && check)
		ret = verify(&g, in, out, e);
	else if (ret == 0)
		list(&g, qz_in_name(in), json, out);
	qz_gguf_free(&g);
	return ret < 0 ? qz_at(e, "%s", qz_in_name(in)) : qz_buf_ok(out, e);
}
