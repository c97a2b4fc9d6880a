/* The JSON reader: what it takes, what it refuses and with which words; the writer's bytes. */
#include "libcore/base/json.h"
#include "tests/unit/tap.h"

static const struct {
	const char *text, *want; /* compact form, or the message */
	int bad;
} cases[] = {
	{ "{\"a\": [1, 2.5, -3e2, true, null, \"x\"]}", "{\"a\":[1,2.5,-300,true,null,\"x\"]}", 0 },
	{ " [ ] ", "[]", 0 },
	{ "\"\\u00e9\\n\\t\\\"\"", "\"\xc3\xa9\\n\\t\\\"\"", 0 },
	{ "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"", 0 },
	{ "0.1", "0.1", 0 },
	{ "1e-7", "1e-07", 0 },
	{ "9007199254740991", "9007199254740991", 0 },
	{ "", "JSON: not well-formed at byte 0 of 0", 1 },
	{ "{\"a\":1,\"a\":2}", "JSON: the key \"a\" is there twice", 1 },
	{ "{\"a\":1} x", "JSON: not well-formed at byte 8 of 9", 1 },
	{ "\"a\\u0000b\"", "JSON: a NUL in a string at byte 2", 1 },
	{ "\"a\nb\"", "JSON: a control character in a string at byte 2", 1 },
	{ "\"\xff\"", "JSON: byte 1 is not valid UTF-8", 1 },
	{ "\"\\ud83d\"", NULL, 1 },
	{ "{\"a\":}", NULL, 1 },
	{ "[1,", NULL, 1 },
};

static void
table(void)
{
	struct qz_err e;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct qz_json *j = qz_json_parse(cases[i].text, strlen(cases[i].text), &e);
		struct qz_buf b = { 0 };

		if (j)
			qz_json_put(&b, j, 0);
		if (!cases[i].want)
			ok(!j && e.code == QZ_EDATA, "case %zu is refused", i);
		else
			is(j ? b.data : e.msg, cases[i].want, "text and message");
		ok((j == NULL) == cases[i].bad, "case %zu: taken or refused as expected", i);
		qz_buf_free(&b);
		qz_json_free(j);
	}
}

static void
deep(void)
{
	struct qz_buf b = { 0 };
	struct qz_err e;
	struct qz_json *j;

	for (int i = 0; i < 10000; i++)
		qz_buf_chr(&b, '[');
	j = qz_json_parse(b.data, b.n, &e);
	ok(!j, "a depth of 10,000 is refused");
	is(e.msg, "JSON: nested deeper than 256 at byte 256", "and says where");
	qz_buf_free(&b);
}

static void
getters(void)
{
	const char *text = "{\"n\":3,\"s\":\"x\",\"b\":true,\"h\":1.5}";
	struct qz_err e;
	struct qz_json *j = qz_json_parse(text, strlen(text), &e);
	int64_t v;

	ok(qz_json_int(qz_json_get(j, "n"), 0, 10, &v, &e) == 0 && v == 3, "a whole number");
	ok(qz_json_int(qz_json_get(j, "n"), 0, 2, &v, &e) < 0, "out of bounds");
	is(e.msg, "is 3, not a whole number within 0..2", "is said");
	ok(qz_json_int(qz_json_get(j, "h"), 0, 2, &v, &e) < 0, "1.5 is not whole");
	ok(qz_json_int(qz_json_get(j, "s"), 0, 2, &v, &e) < 0, "a string is no number");
	ok(qz_json_int(qz_json_get(j, "none"), 0, 2, &v, &e) < 0, "nothing is no number");
	is(e.msg, "is missing, not a number", "is said");
	is(qz_json_string(qz_json_get(qz_json_get(j, "s"), "deeper"), "none"), "none",
	    "look-ups can be chained");
	ok(qz_json_bool(qz_json_get(j, "b"), false), "a boolean");
	qz_json_free(j);
}

int
main(void)
{
	table();
	deep();
	getters();
	return done();
}
