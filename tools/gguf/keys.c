#include "tools/gguf/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/num.h"
#include "libcore/format/gguf_read.h"

/* Keys of a GGUF source that say how that file is, not what the model is. */
static const char *const own[] = { "general.alignment", "general.file_type",
	"general.quantization_version", "split.no", "split.count", "split.tensors.count",
	"quantize.imatrix.file", "quantize.imatrix.dataset", "quantize.imatrix.entries_count",
	"quantize.imatrix.chunks_count", QZ_GGUF_DIGEST };

static bool
is_own(const char *key)
{
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		if (!strcmp(own[i], key))
			return true;
	return false;
}

/* In their order, then what llama-quantize puts behind them. */
static void
copy_keys(struct qz_ggufw *g, const struct keys *k, const struct qz_gguf *from)
{
	for (size_t i = 0; i < from->n_kv; i++)
		if (!is_own(from->kv[i].key))
			qz_ggufw_copy(g, &from->kv[i]);
	qz_ggufw_u32(g, "general.quantization_version", 2);
	qz_ggufw_u32(g, "general.file_type", (uint32_t)k->meta.ftype);
	if (k->meta.title) {
		qz_ggufw_drop(g, "general.name");
		qz_ggufw_str(g, "general.name", k->meta.title);
	}
}

/* llama-quantize keeps 127 bytes of a name. */
static void
put_name(struct qz_ggufw *g, const char *key, const char *name)
{
	char text[128];

	snprintf(text, sizeof text, "%s", name);
	qz_ggufw_str(g, key, text);
}

static void
put_imatrix(struct qz_ggufw *g, const struct keys *k)
{
	put_name(g, "quantize.imatrix.file", k->imatrix_path);
	if (k->imatrix->dataset && *k->imatrix->dataset)
		put_name(g, "quantize.imatrix.dataset", k->imatrix->dataset);
	qz_ggufw_i32(g, "quantize.imatrix.entries_count", (int32_t)k->imatrix->n);
	if (k->imatrix->chunks)
		qz_ggufw_i32(g, "quantize.imatrix.chunks_count", (int32_t)k->imatrix->chunks);
}

/* ---- --set ---- */

static const char *const type_names[] = { "u32:", "i32:", "f32:", "bool:", "str:" };
enum set_type { SET_U32, SET_I32, SET_F32, SET_BOOL, SET_STR };

/* The type that is named, or the one that the value looks like. */
static enum set_type
type_of(const char **value)
{
	struct qz_err e;
	int64_t whole;
	double real;

	for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
		if (!strncmp(*value, type_names[i], strlen(type_names[i]))) {
			*value += strlen(type_names[i]);
			return (enum set_type)i;
		}
	if (qz_num_int(*value, &whole, &e) == 0)
		return whole < 0 ? SET_I32 : SET_U32;
	if (!strcmp(*value, "true") || !strcmp(*value, "false"))
		return SET_BOOL;
	return qz_num_real(*value, &real, &e) == 0 ? SET_F32 : SET_STR;
}

static int
put_whole(
    struct qz_ggufw *g, const char *key, enum set_type type, const char *value, struct qz_err *e)
{
	int64_t v, lo = type == SET_U32 ? 0 : INT32_MIN,
		   hi = type == SET_U32 ? UINT32_MAX : INT32_MAX;

	if (qz_num_int(value, &v, e) < 0)
		return -1;
	if (v < lo || v > hi)
		return qz_fail(e, QZ_EUSAGE, "%s is not within %lld..%lld", value, (long long)lo,
		    (long long)hi);
	if (type == SET_U32)
		qz_ggufw_u32(g, key, (uint32_t)v);
	else
		qz_ggufw_i32(g, key, (int32_t)v);
	return 0;
}

static int
put_value(struct qz_ggufw *g, const char *key, const char *value, struct qz_err *e)
{
	enum set_type type = type_of(&value);
	double real;

	switch (type) {
	case SET_U32:
	case SET_I32:
		return put_whole(g, key, type, value, e);
	case SET_F32:
		if (qz_num_real(value, &real, e) < 0)
			return -1;
		qz_ggufw_f32(g, key, (float)real);
		return 0;
	case SET_BOOL:
		if (strcmp(value, "true") && strcmp(value, "false"))
			return qz_fail(e, QZ_EUSAGE, "%s is neither true nor false", value);
		qz_ggufw_bool(g, key, !strcmp(value, "true"));
		return 0;
	case SET_STR:
		qz_ggufw_str(g, key, value);
	}
	return 0;
}

/* An empty value only takes the key out. */
static int
set(struct qz_ggufw *g, const char *setting, struct qz_err *e)
{
	const char *value = strchr(setting, '=');
	char key[256];

	if (!value || value == setting || (size_t)(value - setting) >= sizeof key)
		return qz_fail(e, QZ_EUSAGE, "--set %.80s: KEY=VALUE is expected", setting);
	snprintf(key, sizeof key, "%.*s", (int)(value - setting), setting);
	qz_ggufw_drop(g, key);
	if (!*++value)
		return 0;
	if (put_value(g, key, value, e) == 0)
		return 0;
	qz_at(e, "--set %s", key);
	e->code = QZ_EUSAGE;
	return -1;
}

int
keys_put(struct qz_ggufw *g, struct keys *k, const struct qz_source *s, struct qz_err *e)
{
	if (qz_source_gguf(s))
		copy_keys(g, k, qz_source_gguf(s));
	else if (qz_gguf_meta_put(g, &k->meta, &k->n_padding, e) < 0)
		return -1;
	if (k->imatrix)
		put_imatrix(g, k);
	for (size_t i = 0; i < k->n_set; i++)
		if (set(g, k->set[i], e) < 0)
			return -1;
	return 0;
}

void
keys_set_ftype(struct qz_ggufw *g, int ftype)
{
	if (qz_ggufw_drop(g, "general.file_type"))
		qz_ggufw_u32(g, "general.file_type", (uint32_t)ftype);
}
