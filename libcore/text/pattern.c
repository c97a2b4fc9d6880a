/* A "pattern" of tokenizer.json: a literal, found by memmem, or a regex. */
#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "libcore/text/normalize.h"

int
qz_pattern_load(struct qz_pattern *p, const struct qz_json *j, struct qz_err *e)
{
	const char *literal = qz_json_string(qz_json_get(j, "String"), NULL);
	const char *regex = qz_json_string(qz_json_get(j, "Regex"), NULL);

	if (!literal == !regex || qz_json_count(j) != 1)
		return qz_fail(
		    e, QZ_EDATA, "pattern: expected {\"String\": ...} or {\"Regex\": ...}");
	if (regex) {
		p->regex = qz_regex_new(regex, e);
		return p->regex ? 0 : -1;
	}
	if (!*literal)
		return qz_fail(e, QZ_EDATA, "pattern: an empty String");
	p->n = strlen(literal);
	p->literal = malloc(p->n + 1);
	if (!p->literal)
		return qz_nomem(e, p->n + 1);
	memcpy(p->literal, literal, p->n + 1);
	return 0;
}

void
qz_pattern_clear(struct qz_pattern *p)
{
	free(p->literal);
	qz_regex_free(p->regex);
	memset(p, 0, sizeof *p);
}

static size_t
char_size(const char *s, size_t n)
{
	size_t i = 1;

	while (i < n && ((unsigned char)s[i] & 0xc0) == 0x80)
		i++;
	return i;
}

int
qz_pattern_next(const struct qz_pattern *p, struct qz_regex_match *m, const char *s, size_t n,
    struct qz_pattern_scan *scan, size_t *at, size_t *end, struct qz_err *e)
{
	int found;

	if (p->literal) {
		const char *q = memmem(s + scan->from, n - scan->from, p->literal, p->n);

		if (!q)
			return 0;
		*at = (size_t)(q - s);
		*end = scan->from = *at + p->n;
		return 1;
	}
	while (scan->from <= n) {
		found = qz_regex_find(p->regex, m, s, n, scan->from, at, end, e);
		if (found <= 0)
			return found;
		if (*at != *end || *end != scan->last) {
			scan->from = scan->last = *end;
			return 1;
		}
		scan->from += scan->from < n ? char_size(s + scan->from, n - scan->from) : 1;
	}
	return 0;
}

int
qz_pattern_replace(const struct qz_pattern *p, struct qz_regex_match *m, const char *s, size_t n,
    const char *by, size_t by_n, struct qz_buf *out, struct qz_err *e)
{
	struct qz_pattern_scan scan = { 0, SIZE_MAX };
	size_t from = 0, at, end;
	int found;

	while ((found = qz_pattern_next(p, m, s, n, &scan, &at, &end, e)) > 0) {
		qz_buf_add(out, s + from, at - from);
		qz_buf_add(out, by, by_n);
		from = end;
	}
	if (found < 0)
		return -1;
	qz_buf_add(out, s + from, n - from);
	return qz_buf_ok(out, e);
}
