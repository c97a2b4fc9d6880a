#include "libcore/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json_node.h"

enum qz_json_kind
qz_json_kind(const struct qz_json *j)
{
	return j ? (enum qz_json_kind)j->kind : QZ_JSON_NULL;
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
	size_t n = strlen(key);

	if (!qz_json_is(object, QZ_JSON_OBJECT))
		return NULL;
	for (const struct qz_json *c = qz_json_first(object); c; c = qz_json_next(c))
		if (c->key_n == n && !memcmp(c->key, key, n))
			return c;
	return NULL;
}

const struct qz_json *
qz_json_first(const struct qz_json *j)
{
	return qz_json_count(j) ? j + 1 : NULL;
}

const struct qz_json *
qz_json_next(const struct qz_json *child)
{
	return child && child->more ? child + child->size : NULL;
}

const char *
qz_json_key(const struct qz_json *child)
{
	return child ? child->key : NULL;
}

size_t
qz_json_count(const struct qz_json *j)
{
	return qz_json_is(j, QZ_JSON_ARRAY) || qz_json_is(j, QZ_JSON_OBJECT) ? j->n : 0;
}

const char *
qz_json_string(const struct qz_json *j, const char *otherwise)
{
	return qz_json_is(j, QZ_JSON_STRING) ? j->v.string : otherwise;
}

double
qz_json_number(const struct qz_json *j, double otherwise)
{
	return qz_json_is(j, QZ_JSON_NUMBER) ? j->v.number : otherwise;
}

bool
qz_json_is_real(const struct qz_json *j)
{
	return qz_json_is(j, QZ_JSON_NUMBER) && j->real;
}

bool
qz_json_bool(const struct qz_json *j, bool otherwise)
{
	return qz_json_is(j, QZ_JSON_BOOL) ? j->v.truth : otherwise;
}

int
qz_json_int(const struct qz_json *j, int64_t lo, int64_t hi, int64_t *v, struct qz_err *e)
{
	double d;

	if (!qz_json_is(j, QZ_JSON_NUMBER))
		return qz_fail(e, QZ_EDATA, "is %s, not a number",
		    j ? qz_json_kind_name(qz_json_kind(j)) : "missing");
	d = j->v.number;
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
	size_t from = 0;

	qz_buf_chr(b, '"');
	for (size_t i = 0; i <= n; i++) {
		unsigned char c = i < n ? (unsigned char)s[i] : 0;
		const char *at = NULL;

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		qz_buf_add(b, s + from, i - from);
		from = i + 1;
		if (i == n)
			break;
		for (const char *p = names; *p; p += 2)
			if ((unsigned char)*p == c)
				at = p;
		if (at)
			qz_buf_fmt(b, "\\%c", at[1]);
		else
			qz_buf_fmt(b, "\\u%04x", c);
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
put(struct qz_buf *b, const struct qz_json *j, int indent, int level)
{
	bool object = qz_json_is(j, QZ_JSON_OBJECT);
	const char *sep = "";

	switch (qz_json_kind(j)) {
	case QZ_JSON_STRING:
		qz_json_put_string(b, j->v.string, j->n);
		return;
	case QZ_JSON_NUMBER:
		qz_json_put_number(b, j->v.number);
		return;
	case QZ_JSON_BOOL:
		qz_buf_str(b, j->v.truth ? "true" : "false");
		return;
	case QZ_JSON_NULL:
		qz_buf_str(b, "null");
		return;
	default:
		break;
	}
	qz_buf_chr(b, object ? '{' : '[');
	for (const struct qz_json *c = qz_json_first(j); c; c = qz_json_next(c), sep = ",") {
		qz_buf_str(b, sep);
		newline(b, indent, level + 1);
		if (object) {
			qz_json_put_string(b, c->key, c->key_n);
			qz_buf_str(b, indent ? ": " : ":");
		}
		put(b, c, indent, level + 1);
	}
	if (qz_json_count(j))
		newline(b, indent, level);
	qz_buf_chr(b, object ? '}' : ']');
}

void
qz_json_put(struct qz_buf *b, const struct qz_json *j, int indent)
{
	put(b, j, indent, 0);
}
