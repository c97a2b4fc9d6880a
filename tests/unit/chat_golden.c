/* Every line of the golden conversations renders to the same text, or is refused where the reference
 * refuses it. */
#include "libcore/base/buf.h"
#include "libcore/base/json.h"
#include "libcore/text/chat.h"
#include "tests/unit/tap.h"

static int
slurp(const char *path, struct qz_buf *b)
{
	FILE *f = fopen(path, "r");
	char chunk[65536];
	size_t n;

	if (!f)
		return -1;
	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
		qz_buf_add(b, chunk, n);
	fclose(f);
	return 0;
}

/* The text of a special token: a string, or an object with "content"; NULL when the model has none. */
static const char *
token(const struct qz_json *config, const char *name)
{
	const struct qz_json *t = qz_json_get(config, name);

	return qz_json_string(qz_json_is(t, QZ_JSON_OBJECT) ? qz_json_get(t, "content") : t, NULL);
}

static struct qz_json *
load_config(const char *tokenizer)
{
	struct qz_buf b = { 0 };
	struct qz_json *j = NULL;
	struct qz_err e;
	char path[512];

	snprintf(path, sizeof path, "models/%s/tokenizer_config.json", tokenizer);
	if (shared(path) && slurp(shared(path), &b) == 0)
		j = qz_json_parse(b.data, b.n, &e);
	qz_buf_free(&b);
	return j;
}

/* The segments lie next to each other from the first byte to the last. */
static int
gapless(const struct qz_rendering *r)
{
	size_t at = 0;

	for (size_t i = 0; i < r->n_segments; at += r->segments[i++].n)
		if (r->segments[i].at != at || !r->segments[i].n)
			return 0;
	return at == r->text.n;
}

static int
check_line(const struct qz_template *t, const char *line, size_t n)
{
	struct qz_err e;
	struct qz_json *j = qz_json_parse(line, n, &e);
	struct qz_json *config = load_config(qz_json_string(qz_json_get(j, "tokenizer"), ""));
	const char *want = qz_json_string(qz_json_get(j, "text"), NULL);
	const char *error = qz_json_string(qz_json_get(j, "error"), NULL);
	struct qz_chat_vars v = { .messages = qz_json_get(j, "messages"),
		.bos_token = token(config, "bos_token"),
		.eos_token = token(config, "eos_token"),
		.add_generation_prompt = qz_json_bool(
		    qz_json_get(j, "add_generation_prompt"), false) };
	struct qz_rendering r = { 0 };
	int good;

	if (!j || !config)
		return 0;
	if (qz_template_render(t, &v, &r, &e) < 0)
		good = error && e.code == QZ_EDATA && strstr(e.msg, error);
	else
		good = want && r.text.n == strlen(want) &&
		       (!r.text.n || !memcmp(r.text.data, want, r.text.n)) && gapless(&r);
	if (!good)
		printf("# line: %.300s\n#  got: %s\n# want: %s\n", line,
		    r.text.n ? r.text.data : e.msg, want ? want : error);
	qz_rendering_free(&r);
	qz_json_free(config);
	qz_json_free(j);
	return good;
}

static void
check_file(const char *name)
{
	struct qz_buf source = { 0 }, lines = { 0 };
	struct qz_template *t;
	struct qz_err e = { 0 };
	char path[512];
	int n = 0, bad = 0;

	snprintf(path, sizeof path, "golden/chat/templates/%s.jinja", name);
	if (!shared(path) || slurp(shared(path), &source) < 0) {
		skip("%s: no golden answers here", name);
		return;
	}
	snprintf(path, sizeof path, "golden/chat/%s.jsonl", name);
	if (!shared(path) || slurp(shared(path), &lines) < 0) {
		skip("%s: no golden answers here", name);
		qz_buf_free(&source);
		return;
	}
	t = qz_template_new(source.data, source.n, &e);
	if (ok(t != NULL, "%s compiles %s", name, e.msg)) {
		for (char *p = lines.data, *end; p < lines.data + lines.n; p = end + 1, n++) {
			end = strchr(p, '\n');
			bad += !check_line(t, p, (size_t)(end - p));
		}
		ok(n > 0 && bad == 0, "%s: %d of %d conversations as the reference has them", name,
		    n - bad, n);
	}
	qz_template_free(t);
	qz_buf_free(&source);
	qz_buf_free(&lines);
}

int
main(void)
{
	static const char *const names[] = { "alpaca", "chatml", "chatml-default-system", "gemma",
		"llama2", "llama3", "mistral", "namespace", "zephyr" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		check_file(names[i]);
	return done();
}
