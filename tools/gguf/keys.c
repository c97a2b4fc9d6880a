#include "tools/gguf/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/le.h"
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

/* Whole numbers have nbytes and bounds; of 64 bits those that fit an int64_t can be said. */
static const struct {
	const char *name;
	enum qz_gguf_type type;
	size_t nbytes;
	int64_t lo, hi;
} set_types[] = {
	{ "u8:", QZ_GGUF_U8, 1, 0, UINT8_MAX },
	{ "i8:", QZ_GGUF_I8, 1, INT8_MIN, INT8_MAX },
	{ "u16:", QZ_GGUF_U16, 2, 0, UINT16_MAX },
	{ "i16:", QZ_GGUF_I16, 2, INT16_MIN, INT16_MAX },
	{ "u32:", QZ_GGUF_U32, 4, 0, UINT32_MAX },
	{ "i32:", QZ_GGUF_I32, 4, INT32_MIN, INT32_MAX },
	{ "u64:", QZ_GGUF_U64, 8, 0, INT64_MAX },
	{ "i64:", QZ_GGUF_I64, 8, INT64_MIN, INT64_MAX },
	{ "f32:", QZ_GGUF_F32, 0, 0, 0 },
	{ "f64:", QZ_GGUF_F64, 0, 0, 0 },
	{ "bool:", QZ_GGUF_BOOL, 0, 0, 0 },
	{ "str:", QZ_GGUF_STRING, 0, 0, 0 },
};
enum { SET_TYPES = sizeof set_types / sizeof *set_types };

/* Keys that are true of the file as it is written, and of no other. */
static const char *const fixed[] = { "general.architecture", "general.type", "adapter.type",
	"adapter.lora.alpha", "general.alignment", "split.no", "split.count", "split.tensors.count",
	QZ_GGUF_DIGEST };

static int
find_type(int type)
{
	int i = 0;

	while (i < SET_TYPES && (int)set_types[i].type != type)
		i++;
	return i;
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
	bool known = now >= 0;

	*type = known ? (enum qz_gguf_type)now : guess(*value);
	for (int i = 0; i < SET_TYPES; i++) {
		size_t n = strlen(set_types[i].name);

		if (strncmp(*value, set_types[i].name, n))
			continue;
		if (known && (int)set_types[i].type != now)
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
	int i = find_type((int)type);
	uint8_t le[8];
	int64_t v;

	if (qz_num_int(value, &v, e) < 0)
		return -1;
	if (v < set_types[i].lo || v > set_types[i].hi)
		return qz_fail(e, QZ_EUSAGE, "%s is not within %lld..%lld", value,
		    (long long)set_types[i].lo, (long long)set_types[i].hi);
	le64_put(le, (uint64_t)v);
	qz_ggufw_copy(
	    g, &(struct qz_gguf_kv){
		   .key = key, .type = type, .n = 1, .data = le, .nbytes = set_types[i].nbytes });
	return 0;
}

static void
put_f64(struct qz_ggufw *g, const char *key, double v)
{
	uint8_t le[8];
	uint64_t bits;

	memcpy(&bits, &v, sizeof bits);
	le64_put(le, bits);
	qz_ggufw_copy(
	    g, &(struct qz_gguf_kv){
		   .key = key, .type = QZ_GGUF_F64, .n = 1, .data = le, .nbytes = sizeof le });
}

static int
put_value(struct qz_ggufw *g, const char *key, enum qz_gguf_type type, const char *value,
    struct qz_err *e)
{
	double real;

	switch (type) {
	case QZ_GGUF_F32:
	case QZ_GGUF_F64:
		if (qz_num_real(value, &real, e) < 0)
			return -1;
		if (type == QZ_GGUF_F64)
			put_f64(g, key, real);
		else
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
