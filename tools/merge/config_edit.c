#include <string.h>

#include "libcore/base/json.h"
#include "tools/merge/sink.h"

/* transformers' names of types. */
static const char *
torch_name(enum qz_dtype type)
{
	return type == QZ_F32 ? "float32" : type == QZ_F16 ? "float16" : "bfloat16";
}

static void
member(struct qz_buf *b, const char *key)
{
	qz_buf_str(b, b->n > 1 ? ",\n  " : "\n  ");
	qz_json_put_string(b, key, strlen(key));
	qz_buf_str(b, ": ");
}

static void
edit(const struct qz_json *root, const struct qz_config *c, enum qz_dtype type, struct qz_buf *b)
{
	bool dtype = false, torch_dtype = false;

	qz_buf_chr(b, '{');
	for (const struct qz_json *j = qz_json_first(root); j; j = qz_json_next(j)) {
		const char *key = qz_json_key(j);
		bool is_type = !strcmp(key, "dtype") || !strcmp(key, "torch_dtype");

		if (!strcmp(key, "quantization_config"))
			continue;
		dtype = dtype || !strcmp(key, "dtype");
		torch_dtype = torch_dtype || !strcmp(key, "torch_dtype");
		member(b, key);
		if (is_type && type)
			qz_buf_fmt(b, "\"%s\"", torch_name(type));
		else
			qz_json_put(b, j, 2);
	}
	/* transformers 5 reads either, 4 knows torch_dtype alone. */
	if (type && !torch_dtype) {
		member(b, "torch_dtype");
		qz_buf_fmt(b, "\"%s\"", torch_name(type));
	}
	/* 5 writes rope_parameters {rope_theta}, 4 reads rope_theta. */
	if (dtype && !qz_json_get(root, "rope_theta")) {
		member(b, "rope_theta");
		qz_json_put_number(b, c->rope_theta);
	}
	qz_buf_str(b, "\n}\n");
}

int
config_edit(const struct qz_source *s, enum qz_dtype type, struct qz_buf *out, struct qz_err *e)
{
	const struct qz_source_file *f = qz_source_file(s, "config.json");
	struct qz_json *root = f ? qz_json_parse(f->data, f->n, e) : NULL;

	if (!f)
		return qz_fail(e, QZ_EDATA, "%s: has no config.json", qz_source_name(s));
	if (!root)
		return qz_at(e, "%s: config.json", qz_source_name(s));
	edit(root, qz_source_config(s), type, out);
	qz_json_free(root);
	return qz_buf_ok(out, e);
}
