#include "libcore/base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"

enum { DEPTH_MAX = 256 };

/* A qz_json is a cJSON node under another name. */
static const cJSON *
node(const struct qz_json *j)
{
	return (const cJSON *)j;
}

static const struct qz_json *
wrap(const cJSON *c)
{
	return (const struct qz_json *)c;
}

/* What cJSON would let pass: depth is bounded before it recurses, NULs would cut strings short,
 * control characters in strings are not JSON. */
static int
scan(const char *s, size_t n, struct qz_err *e)
{
	int depth = 0;
	bool in_string = false;
	size_t bad = qz_utf8_valid(s, n);

	if (bad < n)
		return qz_fail(e, QZ_EDATA, "JSON: byte %zu is not valid UTF-8", bad);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (in_string) {
			if (c == '\\') {
				if (n - i > 5 && !memcmp(s + i + 1, "u0000", 5))
					return qz_fail(
					    e, QZ_EDATA, "JSON: a NUL in a string at byte %zu", i);
				i++;
			} else if (c == '"') {
				in_string = false;
			} else if (c < 0x20) {
				return qz_fail(e, QZ_EDATA,
				    "JSON: a control character in a string at byte %zu", i);
			}
			continue;
		}
		if (!c)
			return qz_fail(e, QZ_EDATA, "JSON: a NUL at byte %zu", i);
		if (c == '"')
			in_string = true;
		else if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		if (depth > DEPTH_MAX)
			return qz_fail(
			    e, QZ_EDATA, "JSON: nested deeper than %d at byte %zu", DEPTH_MAX, i);
	}
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
check_keys(const cJSON *object, struct qz_err *e)
{
	size_t n = 0, i = 0;
	const char **keys;
	const cJSON *c;
	int ret = 0;

	cJSON_ArrayForEach(c, object) n++;
	if (n < 2)
		return 0;
	keys = malloc(n * sizeof *keys);
	if (!keys)
		return qz_nomem(e, n * sizeof *keys);
	cJSON_ArrayForEach(c, object) keys[i++] = c->string;
	qsort(keys, n, sizeof *keys, by_name);
	for (i = 1; i < n && ret == 0; i++)
		if (!strcmp(keys[i - 1], keys[i]))
			ret = qz_fail(
			    e, QZ_EDATA, "JSON: the key \"%.200s\" is there twice", keys[i]);
	free(keys);
	return ret;
}

static int
check_tree(const cJSON *j, struct qz_err *e)
{
	const cJSON *c;

	if (cJSON_IsObject(j) && check_keys(j, e) < 0)
		return -1;
	if (!cJSON_IsObject(j) && !cJSON_IsArray(j))
		return 0;
	cJSON_ArrayForEach(c, j) if (c->child && check_tree(c, e) < 0) return -1;
	return 0;
}

struct qz_json *
qz_json_parse(const char *text, size_t n, struct qz_err *e)
{
	const char *end = NULL;
	char *copy;
	cJSON *j;

	if (scan(text, n, e) < 0)
		return NULL;
	copy = malloc(n + 1); /* cJSON wants the NUL within what it may read */
	if (!copy) {
		qz_nomem(e, n + 1);
		return NULL;
	}
	memcpy(copy, text, n);
	copy[n] = '\0';
	j = cJSON_ParseWithLengthOpts(copy, n + 1, &end, 1);
	if (!j)
		qz_fail(e, QZ_EDATA, "JSON: not well-formed at byte %zu of %zu",
		    end ? (size_t)(end - copy) : 0, n);
	free(copy);
	if (j && check_tree(j, e) < 0) {
		cJSON_Delete(j);
		j = NULL;
	}
	return (struct qz_json *)j;
}

void
qz_json_free(struct qz_json *root)
{
	cJSON_Delete((cJSON *)root);
}

enum qz_json_kind
qz_json_kind(const struct qz_json *j)
{
	const cJSON *c = node(j);

	if (cJSON_IsBool(c))
		return QZ_JSON_BOOL;
	if (cJSON_IsNumber(c))
		return QZ_JSON_NUMBER;
	if (cJSON_IsString(c))
		return QZ_JSON_STRING;
	if (cJSON_IsArray(c))
		return QZ_JSON_ARRAY;
	if (cJSON_IsObject(c))
		return QZ_JSON_OBJECT;
	return QZ_JSON_NULL;
}

const char *
qz_json_kind_name(enum qz_json_kind k)
{
	static const char *const names[] = { "null", "a boolean", "a number", "a string",
		"an array", "an object" };

	return names[k];
}

bool
qz_json_is(const struct qz_json *j, enum qz_json_kind k)
{
	return j && qz_json_kind(j) == k;
}

const struct qz_json *
qz_json_get(const struct qz_json *object, const char *key)
{
	if (!qz_json_is(object, QZ_JSON_OBJECT))
		return NULL;
	return wrap(cJSON_GetObjectItemCaseSensitive(node(object), key));
}

const struct qz_json *
qz_json_first(const struct qz_json *j)
{
	return cJSON_IsArray(node(j)) || cJSON_IsObject(node(j)) ? wrap(node(j)->child) : NULL;
}

const struct qz_json *
qz_json_next(const struct qz_json *child)
{
	return child ? wrap(node(child)->next) : NULL;
}

const char *
qz_json_key(const struct qz_json *child)
{
	return child ? node(child)->string : NULL;
}

size_t
qz_json_count(const struct qz_json *j)
{
	size_t n = 0;

	for (const struct qz_json *c = qz_json_first(j); c; c = qz_json_next(c))
		n++;
	return n;
}

const char *
qz_json_string(const struct qz_json *j, const char *otherwise)
{
	return cJSON_IsString(node(j)) ? node(j)->valuestring : otherwise;
}

double
qz_json_number(const struct qz_json *j, double otherwise)
{
	return cJSON_IsNumber(node(j)) ? node(j)->valuedouble : otherwise;
}

bool
qz_json_bool(const struct qz_json *j, bool otherwise)
{
	return cJSON_IsBool(node(j)) ? cJSON_IsTrue(node(j)) != 0 : otherwise;
}

int
qz_json_int(const struct qz_json *j, int64_t lo, int64_t hi, int64_t *v, struct qz_err *e)
{
	double d;

	if (!cJSON_IsNumber(node(j)))
		return qz_fail(e, QZ_EDATA, "is %s, not a number",
		    j ? qz_json_kind_name(qz_json_kind(j)) : "missing");
	d = node(j)->valuedouble;
	if (d != floor(d) || d < (double)lo || d > (double)hi)
		return qz_fail(e, QZ_EDATA, "is %.17g, not a whole number within %lld..%lld", d,
		    (long long)lo, (long long)hi);
	*v = (int64_t)d;
	return 0;
}

void
qz_json_put_string(struct qz_buf *b, const char *s, size_t n)
{
	static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* character, letter */

	qz_buf_chr(b, '"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		const char *at = NULL;

		for (const char *p = names; *p; p += 2)
			if ((unsigned char)*p == c)
				at = p;
		if (at)
			qz_buf_fmt(b, "\\%c", at[1]);
		else if (c < 0x20 || c == 0x7f)
			qz_buf_fmt(b, "\\u%04x", c);
		else
			qz_buf_chr(b, (char)c);
	}
	qz_buf_chr(b, '"');
}

void
qz_json_put_number(struct qz_buf *b, double v)
{
	char s[40];

	if (!isfinite(v)) {
		qz_buf_str(b, "null");
		return;
	}
	if (v == floor(v) && fabs(v) < 0x1p53) {
		qz_buf_fmt(b, "%.0f", v);
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(s, sizeof s, "%.*g", digits, v);
		if (strtod(s, NULL) == v)
			break;
	}
	qz_buf_str(b, s);
}

static void
newline(struct qz_buf *b, int indent, int level)
{
	if (indent)
		qz_buf_fmt(b, "\n%*s", indent * level, "");
}

static void
put(struct qz_buf *b, const cJSON *j, int indent, int level)
{
	bool object = cJSON_IsObject(j);
	const cJSON *c;

	if (cJSON_IsString(j)) {
		qz_json_put_string(b, j->valuestring, strlen(j->valuestring));
	} else if (cJSON_IsNumber(j)) {
		qz_json_put_number(b, j->valuedouble);
	} else if (cJSON_IsBool(j)) {
		qz_buf_str(b, cJSON_IsTrue(j) ? "true" : "false");
	} else if (!object && !cJSON_IsArray(j)) {
		qz_buf_str(b, "null");
	} else if (!j->child) {
		qz_buf_str(b, object ? "{}" : "[]");
	} else {
		qz_buf_chr(b, object ? '{' : '[');
		cJSON_ArrayForEach(c, j)
		{
			if (c != j->child)
				qz_buf_chr(b, ',');
			newline(b, indent, level + 1);
			if (object) {
				qz_json_put_string(b, c->string, strlen(c->string));
				qz_buf_str(b, indent ? ": " : ":");
			}
			put(b, c, indent, level + 1);
		}
		newline(b, indent, level);
		qz_buf_chr(b, object ? '}' : ']');
	}
}

void
qz_json_put(struct qz_buf *b, const struct qz_json *j, int indent)
{
	put(b, node(j), indent, 0);
}
