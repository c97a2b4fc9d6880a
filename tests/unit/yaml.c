/* YAML as JSON: what PyYAML's safe_load reads, but that every scalar stays a string; and what is refused. */
#include "libcore/base/json.h"
#include "libcore/base/yaml.h"
#include "tests/unit/tap.h"

static const struct {
	const char *yaml, *json;
} good[] = {
	{ "", "null" },
	{ "# nothing\n\n", "null" },
	{ "a: b", "{\"a\":\"b\"}" },
	{ "license: apache-2.0\nlanguage:\n- en\n- no\n",
	    "{\"license\":\"apache-2.0\",\"language\":[\"en\",\"no\"]}" },
	{ "tags:\n  - x # the first\n  - \"y: z\"\n# all\n", "{\"tags\":[\"x\",\"y: z\"]}" },
	{ "a:\nb: ~\nc: null\nd: 1.10\n", "{\"a\":null,\"b\":null,\"c\":null,\"d\":\"1.10\"}" },
	{ "u: https://x.org/a#b\n", "{\"u\":\"https://x.org/a#b\"}" },
	{ "a: [x, 'y, z', [1, 2], ]\nb: {c: d, e: [f]}\n",
	    "{\"a\":[\"x\",\"y, z\",[\"1\",\"2\"]],\"b\":{\"c\":\"d\",\"e\":[\"f\"]}}" },
	{ "a: [x,\n  y # more\n  , z w\n   v]\n", "{\"a\":[\"x\",\"y\",\"z w v\"]}" },
	{ "a: {}\nb: []\n", "{\"a\":{},\"b\":[]}" },
	{ "a: 'it''s'\nb: \"q\\\"\\u00e9\\n\"\n", "{\"a\":\"it's\",\"b\":\"q\\\"\xc3\xa9\\n\"}" },
	{ "a: one\n  two\n\n  three\nb: c\n", "{\"a\":\"one two\\nthree\",\"b\":\"c\"}" },
	{ "a: \"one\n  two \\\n  three\"\n", "{\"a\":\"one two three\"}" },
	{ "a: |\n  x\n   y\n\n  z\n\nb: >-\n  x\n  y\n\n  z\n   w\n  v\n",
	    "{\"a\":\"x\\n y\\n\\nz\\n\",\"b\":\"x y\\nz\\n w\\nv\"}" },
	{ "a: |+\n  x\n\nb: >\n  c\n", "{\"a\":\"x\\n\\n\",\"b\":\"c\\n\"}" },
	{ "m:\n- name: x\n  results:\n  - task:\n      type: t\n    metrics:\n    - value: 1\n     "
	  " name: acc\n- name: y\n",
	    "{\"m\":[{\"name\":\"x\",\"results\":[{\"task\":{\"type\":\"t\"},\"metrics\":[{"
	    "\"value\":\"1\",\"name\":"
	    "\"acc\"}]}]},{\"name\":\"y\"}]}" },
	{ "- - a\n  - b\n-\n  c: d\n-\n", "[[\"a\",\"b\"],{\"c\":\"d\"},null]" },
	{ "\"a b\": c\n'd': e\n", "{\"a b\":\"c\",\"d\":\"e\"}" },
	{ "'it''s': a\n\"q\\\"\": b\n", "{\"it's\":\"a\",\"q\\\"\":\"b\"}" },
	{ "a:\t\r\n- b\r\n", "{\"a\":[\"b\"]}" },
	{ "a: b:c -d\n", "{\"a\":\"b:c -d\"}" },
};

static const struct {
	const char *yaml, *why;
} bad[] = {
	{ "a: b: c\n", "line 1: a colon within a value" },
	{ "a: b\n  c: d\n", "line 2: a colon within a value" },
	{ "a:\n    - x\n  - y\n", "line 3: this stands too far right" },
	{ "a: &x b\n", "line 1: anchors" },
	{ "a: *x\n", "line 1: anchors" },
	{ "a: !!str b\n", "line 1: anchors" },
	{ "? a\n: b\n", "line 1: a key that is no scalar" },
	{ "a: b\nc\n", "line 2: a key and a colon" },
	{ "a: [b, c\n", "a bracket is not closed" },
	{ "a: [b c: d]\n", "a comma or a closing bracket" },
	{ "a: [,]\n", "line 1: a value is expected" },
	{ "a: \"b\n", "a quote is not closed" },
	{ "a: \"b\\", "a quote is not closed" },
	{ "a: \"b\" c\n", "line 1: something stands behind" },
	{ "a: \"\\q\"\n", "line 1: a backslash" },
	{ "a: \"\\ud800\"\n", "line 1: no character" },
	{ "a: \"\\x0\"\n", "line 1: no character" },
	{ "a: | b\n  c\n", "line 1: something stands behind the mark" },
	{ "a: - b\n", "line 1: a list starts" },
};

static void
deep(char c)
{
	char text[400];
	struct qz_buf out = { 0 };
	struct qz_err e;

	memset(text, c, sizeof text);
	for (size_t i = 1; c == '-' && i < sizeof text; i += 2)
		text[i] = ' ';
	ok(qz_yaml_json(text, sizeof text, &out, &e) == -1 && strstr(e.msg, "too deep"),
	    "%c %c %c ...: %s", c, c, c, e.msg);
	qz_buf_free(&out);
}

int
main(void)
{
	struct qz_buf out = { 0 };
	struct qz_err e;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		int got;

		qz_buf_clear(&out);
		got = qz_yaml_json(good[i].yaml, strlen(good[i].yaml), &out, &e);
		if (!ok(got == 0 && !strcmp(out.data, good[i].json), "%s", good[i].json))
			printf("# %s\n", got ? e.msg : out.data);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int got = qz_yaml_json(bad[i].yaml, strlen(bad[i].yaml), &out, &e);

		if (!ok(got == -1 && e.code == QZ_EDATA && strstr(e.msg, bad[i].why), "%s",
			bad[i].why))
			printf("# %s\n", got ? e.msg : "read");
	}
	ok(qz_yaml_json("a\0b", 3, &out, &e) == -1, "a NUL byte");
	deep('[');
	deep('-');
	qz_buf_free(&out);
	return done();
}
