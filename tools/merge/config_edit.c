#include <math.h>
#include <string.h>

#include "libcore/base/json.h"
#include "tools/merge/sink.h"

/* config.json is changed as text, so that everything else stays as its makers wrote it (500000.0 is a
 * float to transformers, 500000 is not). */

/* transformers' names of types. */
static const char *
torch_name(enum qz_dtype type)
{
	return type == QZ_F32 ? "float32" : type == QZ_F16 ? "float16" : "bfloat16";
}

/* Passes a string; s stands at its opening quote.  The text has been parsed before: it is well-formed. */
static const char *
pass_string(const char *s)
{
	for (s++; *s != '"'; s++)
		s += *s == '\\';
	return s + 1;
}

/* Passes a value, to the comma or bracket behind it. */
static const char *
pass_value(const char *s)
{
	for (int depth = 0; depth > 0 || !strchr(",}]", *s);) {
		if (*s == '"') {
			s = pass_string(s);
			continue;
		}
		depth += *s == '{' || *s == '[';
		depth -= *s == '}' || *s == ']';
		s++;
	}
	return s;
}

struct member {
	const char *key, *value; /* at their first byte */
	size_t key_n, value_n;
};

static const char *
skip_space(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* The next member of the outermost object, from behind '{' or behind the member before.  Returns where it
 * ends, NULL when there is none. */
static const char *
next_member(const char *s, struct member *m)
{
	const char *end;

	s = skip_space(s);
	if (*s == ',')
		s = skip_space(s + 1);
	if (*s != '"')
		return NULL;
	end = pass_string(s);
	m->key = s + 1;
	m->key_n = (size_t)(end - s) - 2;
	m->value = skip_space(strchr(end, ':') + 1);
	end = pass_value(m->value);
	m->value_n = (size_t)(end - m->value);
	while (strchr(" \t\r\n", m->value[m->value_n - 1]))
		m->value_n--;
	return m->value + m->value_n;
}

static bool
is(const struct member *m, const char *key)
{
	return m->key_n == strlen(key) && !memcmp(m->key, key, m->key_n);
}

/* What transformers 4 looks for and 5 has ceased to write. */
static void
add_old_keys(const struct qz_json *root, const struct qz_config *c, enum qz_dtype type,
    const struct member *rope, struct qz_buf *b)
{
	if (!qz_json_get(root, "torch_dtype"))
		qz_buf_fmt(b, ",\n  \"torch_dtype\": \"%s\"", torch_name(type));
	if (!rope->key || qz_json_get(root, "rope_theta"))
		return;
	qz_buf_str(b, ",\n  \"rope_theta\": ");
	qz_json_put_number(b, c->rope_theta);
	qz_buf_str(b, c->rope_theta == floor(c->rope_theta) ? ".0" : "");
	if (c->rope_kind != QZ_ROPE_NONE && !qz_json_get(root, "rope_scaling"))
		qz_buf_fmt(b, ",\n  \"rope_scaling\": %.*s", (int)rope->value_n, rope->value);
}

static void
edit(const char *text, const struct qz_json *root, const struct qz_config *c, enum qz_dtype type,
    struct qz_buf *b)
{
	const char *from = text, *at = strchr(text, '{') + 1, *end;
	struct member m = { 0 }, rope = { 0 };

	while ((end = next_member(at, &m)) != NULL) {
		if (is(&m, "rope_parameters"))
			rope = m;
		if (is(&m, "dtype") || is(&m, "torch_dtype")) {
			qz_buf_add(b, from, (size_t)(m.value - from));
			qz_buf_fmt(b, "\"%s\"", torch_name(type));
			from = end;
		}
		at = end;
	}
	qz_buf_add(b, from, (size_t)(at - from));
	add_old_keys(root, c, type, &rope, b);
	qz_buf_str(b, at);
}

int
config_edit(const struct qz_source *s, enum qz_dtype type, struct qz_buf *out, struct qz_err *e)
{
	const struct qz_source_file *f = qz_source_file(s, "config.json");
	struct qz_json *root = f ? qz_json_parse(f->data, f->n, e) : NULL;
	struct qz_buf text = { 0 };

	if (!f)
		return qz_fail(e, QZ_EDATA, "%s: has no config.json", qz_source_name(s));
	if (!root)
		return qz_at(e, "%s: config.json", qz_source_name(s));
	qz_buf_add(&text, f->data, f->n);
	if (qz_buf_ok(&text, e) == 0)
		edit(text.data, root, qz_source_config(s), type, out);
	qz_json_free(root);
	if (text.failed || qz_buf_ok(out, e) < 0) {
		qz_buf_free(&text);
		return -1;
	}
	qz_buf_free(&text);
	return 0;
}
