/* Every id that tokenizers gave for 399 texts with four tokenizers. */
#include "libcore/base/json.h"
#include "libcore/text/tokenizer.h"
#include "tests/unit/golden_file.h"

static const struct {
	const char *model, *golden;
} sets[] = {
	{ "stories260k", "stories260k" },
	{ "mistral-v1-tokenizer", "mistral-v1" },
	{ "qwen2-tokenizer", "qwen2" },
	{ "llama3-like-tokenizer", "llama3-like" },
};

static struct qz_tokenizer *
load(const char *model, struct qz_err *e)
{
	struct qz_text_files f = { 0 };
	struct qz_tokenizer *t = NULL;
	char name[200], *json, *config;

	snprintf(name, sizeof name, "models/%s/tokenizer.json", model);
	json = shared_bytes(name, &f.file[QZ_TEXT_JSON].n);
	snprintf(name, sizeof name, "models/%s/tokenizer_config.json", model);
	config = shared_bytes(name, &f.file[QZ_TEXT_CONFIG].n);
	f.file[QZ_TEXT_JSON].s = json;
	f.file[QZ_TEXT_CONFIG].s = config;
	t = qz_tokenizer_load(&f, e);
	free(json);
	free(config);
	return t;
}

/* Our JSON has no NUL in strings, two of the texts do: it goes through as U+E0FF, which none has. */
static void
escape_nul(char *line, size_t n)
{
	for (size_t i = 0; i + 6 <= n; i++)
		if (!memcmp(line + i, "\\u0000", 6))
			memcpy(line + i, "\\ue0ff", 6);
}

static size_t
unescape_nul(const char *s, char *out, size_t max)
{
	size_t n = 0;

	while (*s && n < max) {
		bool nul = !strncmp(s, "\xee\x83\xbf", 3);

		out[n++] = nul ? '\0' : *s;
		s += nul ? 3 : 1;
	}
	return n;
}

/* The ids of the text under flags are those of the array; ends grow up to the text's length. */
static int
same(const struct qz_tokenizer *t, const struct qz_json *row, const char *member, unsigned flags,
    struct qz_encoding *enc, struct qz_err *e)
{
	const struct qz_json *id = qz_json_first(qz_json_get(row, member));
	char text[1 << 16];
	size_t n;

	n = unescape_nul(qz_json_string(qz_json_get(row, "text"), ""), text, sizeof text);
	enc->n = 0;
	if (qz_encode(t, text, n, flags | QZ_SPECIAL_PARSE, NULL, 0, enc, e) < 0)
		return 0;
	for (size_t i = 0; i < enc->n; i++, id = qz_json_next(id))
		if (!id || qz_json_number(id, -1) != enc->ids[i])
			return 0;
	for (size_t i = 1; i < enc->n; i++)
		if (enc->ends[i] < enc->ends[i - 1])
			return 0;
	return !id && (!enc->n || enc->ends[enc->n - 1] == n);
}

static void
check_set(const char *model, const char *golden)
{
	struct qz_err e = { 0 };
	struct qz_encoding enc = { 0 };
	struct qz_tokenizer *t;
	char name[200], *lines, *line, *next;
	size_t n, rows = 0, bad = 0;

	snprintf(name, sizeof name, "golden/tokenizer/%s.jsonl", golden);
	lines = shared_bytes(name, &n);
	if (!lines) {
		skip("no %s: set QZ_SHARED", name);
		return;
	}
	t = load(model, &e);
	ok(t != NULL, "%s loads%s%s", model, t ? "" : ": ", e.msg);
	for (line = lines; t && *line; line = next, rows++) {
		struct qz_json *row;

		next = strchr(line, '\n');
		next = next ? next + 1 : line + strlen(line);
		escape_nul(line, (size_t)(next - line));
		row = qz_json_parse(line, (size_t)(next - line), &e);
		if (!row || !same(t, row, "ids", 0, &enc, &e) ||
		    !same(t, row, "ids_special", QZ_SPECIAL_ADD, &enc, &e)) {
			bad++;
			printf("# row %zu %s %.200s\n", rows, e.msg, line);
		}
		qz_json_free(row);
	}
	ok(rows == 399 && !bad, "%s: %zu texts, %zu differ", golden, rows, bad);
	qz_encoding_free(&enc);
	qz_tokenizer_free(t);
	free(lines);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		check_set(sets[i].model, sets[i].golden);
	return done();
}
