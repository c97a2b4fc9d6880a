#include "tools/gguf/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/num.h"
#include "libcore/base/utf8.h"
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

static const struct {
	const char *name;
	enum qz_gguf_type type;
} set_types[] = { { "u32:", QZ_GGUF_U32 }, { "i32:", QZ_GGUF_I32 }, { "f32:", QZ_GGUF_F32 },
	{ "bool:", QZ_GGUF_BOOL }, { "str:", QZ_GGUF_STRING } };
enum { SET_TYPES = sizeof set_types / sizeof *set_types };

/* Keys that are true of the file as it is written, and of no other. */
static const char *const fixed[] = { "general.architecture", "general.type", "adapter.type",
	"adapter.lora.alpha", "general.alignment", "split.no", "split.count", "split.tensors.count",
	QZ_GGUF_DIGEST };

static bool
can_set(int type)
{
	for (int i = 0; i < SET_TYPES; i++)
		if ((int)set_types[i].type == type)
			return true;
	return false;
}

/* What the value looks like. */
static enum qz_gguf_type
guess(const char *value)
{
	struct qz_err e;
	int64_t whole;
	double real;

	if (qz_num_int(value, &whole, &e) == 0)
		return whole < 0 ? QZ_GGUF_I32 : QZ_GGUF_U32;
	if (!strcmp(value, "true") || !strcmp(value, "false"))
		return QZ_GGUF_BOOL;
	return qz_num_real(value, &real, &e) == 0 ? QZ_GGUF_F32 : QZ_GGUF_STRING;
}

/* The type that is named, the one that the key has (programs refuse another), or what the value looks like. */
static int
type_of(const char **value, int now, enum qz_gguf_type *type, struct qz_err *e)
{
	*type = can_set(now) ? (enum qz_gguf_type)now : guess(*value);
	for (int i = 0; i < SET_TYPES; i++) {
		size_t n = strlen(set_types[i].name);

		if (strncmp(*value, set_types[i].name, n))
			continue;
		if (can_set(now) && (int)set_types[i].type != now)
			return qz_fail(e, QZ_EUSAGE, "is %s in this file, not %.*s",
			    qz_gguf_type_name((enum qz_gguf_type)now), (int)n - 1,
			    set_types[i].name);
		*type = set_types[i].type;
		*value += n;
		return 0;
	}
	return 0;
}

static int
put_whole(struct qz_ggufw *g, const char *key, enum qz_gguf_type type, const char *value,
    struct qz_err *e)
{
	int64_t v, lo = type == QZ_GGUF_U32 ? 0 : INT32_MIN,
		   hi = type == QZ_GGUF_U32 ? UINT32_MAX : INT32_MAX;

	if (qz_num_int(value, &v, e) < 0)
		return -1;
	if (v < lo || v > hi)
		return qz_fail(e, QZ_EUSAGE, "%s is not within %lld..%lld", value, (long long)lo,
		    (long long)hi);
	if (type == QZ_GGUF_U32)
		qz_ggufw_u32(g, key, (uint32_t)v);
	else
		qz_ggufw_i32(g, key, (int32_t)v);
	return 0;
}

static int
put_value(struct qz_ggufw *g, const char *key, enum qz_gguf_type type, const char *value,
    struct qz_err *e)
{
	double real;

	switch (type) {
	case QZ_GGUF_F32:
		if (qz_num_real(value, &real, e) < 0)
			return -1;
		qz_ggufw_f32(g, key, (float)real);
		return 0;
	case QZ_GGUF_BOOL:
		if (strcmp(value, "true") && strcmp(value, "false"))
			return qz_fail(e, QZ_EUSAGE, "%s is neither true nor false", value);
		qz_ggufw_bool(g, key, !strcmp(value, "true"));
		return 0;
	case QZ_GGUF_STRING:
		qz_ggufw_str(g, key, value);
		return 0;
	default:
		return put_whole(g, key, type, value, e);
	}
}

/* An empty value only takes the key out. */
static int
set_key(struct qz_ggufw *g, const char *key, const char *value, struct qz_err *e)
{
	int now = qz_ggufw_type(g, key);
	enum qz_gguf_type type;

	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		if (!strcmp(key, fixed[i]))
			return qz_fail(e, QZ_EUSAGE, "says how this file is, and stays as it is");
	if (!*value) {
		qz_ggufw_drop(g, key);
		return 0;
	}
	if (now == QZ_GGUF_ARRAY)
		return qz_fail(e, QZ_EUSAGE, "is a list in this file, not one value");
	if (type_of(&value, now, &type, e) < 0)
		return -1;
	qz_ggufw_drop(g, key);
	return put_value(g, key, type, value, e);
}

int
keys_set(struct qz_ggufw *g, const char *setting, struct qz_err *e)
{
	const char *value = strchr(setting, '=');
	char key[256];

	if (!value || value == setting || (size_t)(value - setting) >= sizeof key)
		return qz_fail(e, QZ_EUSAGE, "--set %.80s: KEY=VALUE is expected", setting);
	if (qz_utf8_valid(setting, strlen(setting)) < strlen(setting))
		return qz_fail(e, QZ_EUSAGE, "--set: what is not UTF-8 has no place in GGUF");
	snprintf(key, sizeof key, "%.*s", (int)(value - setting), setting);
	if (set_key(g, key, value + 1, e) == 0)
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
		if (keys_set(g, k->set[i], e) < 0)
			return -1;
	return 0;
}

void
keys_set_ftype(struct qz_ggufw *g, int ftype)
{
	if (qz_ggufw_drop(g, "general.file_type"))
		qz_ggufw_u32(g, "general.file_type", (uint32_t)ftype);
}
