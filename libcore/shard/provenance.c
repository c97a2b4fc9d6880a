#include "libcore/shard/provenance.h"

#include <string.h>

#include "libcore/base/json.h"

static void
member(struct qz_buf *b, const char *name)
{
	if (b->n)
		qz_buf_chr(b, ',');
	qz_json_put_string(b, name, strlen(name));
	qz_buf_chr(b, ':');
}

void
qz_step_option_str(struct qz_step *s, const char *name, const char *value)
{
	member(&s->options, name);
	qz_json_put_string(&s->options, value, strlen(value));
}

void
qz_step_option_num(struct qz_step *s, const char *name, double value)
{
	member(&s->options, name);
	qz_json_put_number(&s->options, value);
}

void
qz_step_input(struct qz_step *s, const char *role, struct qz_digest digest)
{
	char hex[33];

	qz_digest_hex(digest, hex);
	if (s->inputs.n)
		qz_buf_chr(&s->inputs, ',');
	qz_buf_str(&s->inputs, "{\"input\":");
	qz_json_put_string(&s->inputs, role, strlen(role));
	qz_buf_fmt(&s->inputs, ",\"digest\":\"%s\"}", hex);
}

/* Steps are compared as text: two inputs often share their first steps. */
static bool
has_step(const struct qz_buf *chain, const struct qz_buf *step)
{
	return chain->data && step->data && strstr(chain->data, step->data) != NULL;
}

int
qz_step_inherit(struct qz_step *s, const char *chain, struct qz_err *e)
{
	struct qz_json *j = qz_json_parse(chain, strlen(chain), e);
	struct qz_buf step = { 0 };

	if (!j)
		return -1;
	for (const struct qz_json *c = qz_json_first(j); c; c = qz_json_next(c)) {
		qz_buf_clear(&step);
		qz_json_put(&step, c, 0);
		if (has_step(&s->chain, &step))
			continue;
		if (s->chain.n)
			qz_buf_chr(&s->chain, ',');
		qz_buf_add(&s->chain, step.data, step.n);
	}
	qz_buf_free(&step);
	qz_json_free(j);
	return qz_buf_ok(&s->chain, e);
}

int
qz_step_chain(
    struct qz_step *s, const char *tool, const char *device, struct qz_buf *out, struct qz_err *e)
{
	qz_buf_fmt(out, "[%s%s{\"tool\":\"%s\",\"version\":\"%s\"", s->chain.n ? s->chain.data : "",
	    s->chain.n ? "," : "", tool, QZ_VERSION);
	if (device)
		qz_buf_fmt(out, ",\"device\":\"%s\"", device);
	qz_buf_fmt(out, ",\"options\":{%s},\"inputs\":[%s]}]", s->options.n ? s->options.data : "",
	    s->inputs.n ? s->inputs.data : "");
	if (qz_buf_ok(&s->options, e) < 0 || qz_buf_ok(&s->inputs, e) < 0)
		return -1;
	return qz_buf_ok(out, e);
}

void
qz_step_free(struct qz_step *s)
{
	qz_buf_free(&s->options);
	qz_buf_free(&s->inputs);
	qz_buf_free(&s->chain);
}
