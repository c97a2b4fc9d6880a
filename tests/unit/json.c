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
	{ "\"a\\ud83d\"", "JSON: half of a surrogate pair, \\ud83d, at byte 2", 1 },
	{ "\"\\ud83dx\\ude00\"", "JSON: half of a surrogate pair, \\ud83d, at byte 1", 1 },
	{ "\"\\ud83d\\u0041\"", "JSON: half of a surrogate pair, \\ud83d, at byte 1", 1 },
	{ "\"\\ude00\"", "JSON: half of a surrogate pair, \\ude00, at byte 1", 1 },
	{ "\"\\u12\"", "JSON: not well-formed at byte 1 of 6", 1 },
	{ "\"\\q\"", "JSON: not well-formed at byte 1 of 4", 1 },
	{ "\"\\", "JSON: not well-formed at byte 1 of 2", 1 },
	{ "\"abcdefghijk", "JSON: not well-formed at byte 12 of 12", 1 },
	{ "\"0123456789abcde\\/\"", "\"0123456789abcde/\"", 0 },
	{ "\xef\xbb\xbf{}", "{}", 0 },
	{ "{\"a\":}", "JSON: not well-formed at byte 5 of 6", 1 },
	{ "{\"a\" 1}", "JSON: not well-formed at byte 5 of 7", 1 },
	{ "{a:1}", "JSON: not well-formed at byte 1 of 5", 1 },
	{ "{\"a\":1,}", "JSON: not well-formed at byte 7 of 8", 1 },
	{ "[1,]", "JSON: not well-formed at byte 3 of 4", 1 },
	{ "[1,", "JSON: not well-formed at byte 3 of 3", 1 },
	{ "[1 2]", "JSON: not well-formed at byte 3 of 5", 1 },
	{ "[1}", "JSON: not well-formed at byte 2 of 3", 1 },
	{ "01", "JSON: not well-formed at byte 1 of 2", 1 },
	{ "1.", "JSON: not well-formed at byte 2 of 2", 1 },
	{ ".5", "JSON: not well-formed at byte 0 of 2", 1 },
	{ "+1", "JSON: not well-formed at byte 0 of 2", 1 },
	{ "1e", "JSON: not well-formed at byte 2 of 2", 1 },
	{ "-", "JSON: not well-formed at byte 1 of 1", 1 },
	{ "NaN", "JSON: not well-formed at byte 0 of 3", 1 },
	{ "nul", "JSON: not well-formed at byte 0 of 3", 1 },
	{ "12345678901234567890", "1.2345678901234567e+19", 0 },
	{ "-0", "-0", 0 },
	{ "[[],{},[{}]]", "[[],{},[{}]]", 0 },
	{ "{\"a\":{\"b\":[1,[2,3],4],\"c\":{}},\"d\":5}",
	    "{\"a\":{\"b\":[1,[2,3],4],\"c\":{}},\"d\":5}", 0 },
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
nuls(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "[\"a\\u0000b\",\"c\"]", "[null,\"c\"]" },
		{ "{\"a\":\"\\u0000\",\"b\":\"\\u0001\"}", "{\"a\":null,\"b\":\"\\u0001\"}" },
		{ "{\"a\\u0000\":1}", "JSON: a NUL in a key before byte 10" },
	};
	struct qz_err e;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct qz_json *j = qz_json_parse_nuls(rows[i].text, strlen(rows[i].text), &e);
		struct qz_buf b = { 0 };

		if (j)
			qz_json_put(&b, j, 0);
		is(j ? b.data : e.msg, rows[i].want, "a string with a NUL is null");
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

/* Objects with many keys, one of them twice or none. */
static void
many_keys(void)
{
	for (int twice = 0; twice < 2; twice++) {
		struct qz_buf b = { 0 };
		struct qz_err e;
		struct qz_json *j;

		qz_buf_chr(&b, '{');
		for (int i = 0; i < 1000; i++)
			qz_buf_fmt(
			    &b, "%s\"k%d\":[%d]", i ? "," : "", twice && i == 900 ? 17 : i, i);
		qz_buf_chr(&b, '}');
		j = qz_json_parse(b.data, b.n, &e);
		ok((j == NULL) == (twice == 1), "1000 keys, %s",
		    twice ? "one twice" : "all different");
		if (twice)
			is(e.msg, "JSON: the key \"k17\" is there twice", "and says which");
		ok(!j || qz_json_number(qz_json_first(qz_json_get(j, "k999")), 0) == 999,
		    "the last is found");
		qz_buf_free(&b);
		qz_json_free(j);
	}
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
	ok(qz_json_is_real(qz_json_get(j, "h")) && !qz_json_is_real(qz_json_get(j, "n")),
	    "1.5 has a point, 3 has none");
	qz_json_free(j);
}

int
main(void)
{
	table();
	nuls();
	deep();
	many_keys();
	getters();
	return done();
}
