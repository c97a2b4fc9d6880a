#include "libcore/text/records.h"

#include <string.h>

enum { CHUNK = 256 * 1024, HEAD = 8 };

/* Reads more behind the window.  1, 0 at the end of the input, -1. */
static int
fill(struct qz_records *r, struct qz_err *e)
{
	size_t have = r->window.n - r->at;
	int64_t got;
	char *p;

	if (r->eof)
		return 0;
	if (have > r->max) {
		qz_fail(e, QZ_EDATA, "a record of more than %zu MiB", r->max >> 20);
		return qz_at(e, "line %llu", (unsigned long long)r->line);
	}
	if (r->at > CHUNK) { /* what is given out makes room */
		memmove(r->window.data, r->window.data + r->at, have);
		r->window.n = have;
		r->at = 0;
	}
	p = qz_buf_room(&r->window, CHUNK);
	if (!p)
		return qz_nomem(e, r->window.n + CHUNK);
	r->window.n -= CHUNK;
	got = r->read(r->arg, p, CHUNK, e);
	if (got < 0)
		return -1;
	r->window.n += (size_t)got;
	r->window.data[r->window.n] = '\0';
	r->eof = got == 0;
	return got > 0;
}

static void
pass(struct qz_records *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		r->line += r->window.data[r->at + i] == '\n';
	r->at += n;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Passes blanks.  1: a character is at r->at; 0: the input ends; -1. */
static int
next_char(struct qz_records *r, struct qz_err *e)
{
	for (;;) {
		while (r->at < r->window.n && is_blank(r->window.data[r->at]))
			pass(r, 1);
		if (r->at < r->window.n)
			return 1;
		int got = fill(r, e);
		if (got <= 0)
			return got;
	}
}

/* The offset from r->at of the first newline at or behind `from`, or the number of bytes left. */
static int
find_newline(struct qz_records *r, size_t *n, struct qz_err *e)
{
	size_t seen = 0;

	for (;;) {
		size_t have = r->window.n - r->at;
		const char *p = have > seen
				    ? memchr(r->window.data + r->at + seen, '\n', have - seen)
				    : NULL;
		int got;

		*n = p ? (size_t)(p - r->window.data) - r->at : have;
		if (p)
			return 1;
		seen = have;
		got = fill(r, e);
		if (got <= 0)
			return got;
	}
}

/* What is no text, but often holds data: it is told before anything is repaired. */
static int
check_text(const struct qz_records *r, struct qz_err *e)
{
	static const struct {
		const char *magic;
		size_t n;
		const char *what, *expected;
	} kinds[] = {
		{ "\xff\xfe", 2, "text in UTF-16", "UTF-8" },
		{ "\xfe\xff", 2, "text in UTF-16", "UTF-8" },
		{ "PAR1\x15", 5, "a Parquet file", "JSON lines, a JSON array or text" },
		{ "ARROW1\0", 8, "an Arrow file", "JSON lines, a JSON array or text" },
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (r->window.n >= kinds[i].n &&
		    !memcmp(r->window.data, kinds[i].magic, kinds[i].n))
			return qz_fail(
			    e, QZ_EDATA, "is %s, expected %s", kinds[i].what, kinds[i].expected);
	return 0;
}

int
qz_records_open(struct qz_records *r, const char **line, size_t *n, struct qz_err *e)
{
	static const char bom[] = "\xef\xbb\xbf";
	size_t i = 0;
	int got;

	r->line = 1;
	while (r->window.n < HEAD && (got = fill(r, e)) != 0)
		if (got < 0)
			return -1;
	if (check_text(r, e) < 0)
		return -1;
	if (r->window.n >= 3 && !memcmp(r->window.data, bom, 3))
		r->at = 3;
	*line = "";
	*n = 0;
	for (;; i++) { /* looks, but does not pass: blanks at its start belong to a text */
		if (r->at + i == r->window.n) {
			got = fill(r, e);
			if (got < 0)
				return -1;
			if (!got)
				break;
		}
		if (!is_blank(r->window.data[r->at + i]))
			break;
	}
	if (r->at + i == r->window.n) {
		r->kind = QZ_RECORDS_TEXT;
		return r->window.n > r->at;
	}
	r->kind = r->window.data[r->at + i] == '{'   ? QZ_RECORDS_LINES
		  : r->window.data[r->at + i] == '[' ? QZ_RECORDS_ARRAY
						     : QZ_RECORDS_TEXT;
	if (r->kind == QZ_RECORDS_TEXT)
		return 1;
	pass(r, i);
	if (find_newline(r, n, e) < 0)
		return -1;
	*line = r->window.data + r->at;
	return 1;
}

static int
next_line(struct qz_records *r, const char **s, size_t *n, uint64_t *line, struct qz_err *e)
{
	int got = next_char(r, e);

	if (got <= 0)
		return got;
	if (find_newline(r, n, e) < 0)
		return -1;
	*s = r->window.data + r->at;
	*line = r->line;
	pass(r, *n);
	while (*n && is_blank((*s)[*n - 1]))
		--*n;
	return 1;
}

/* The length of the value at r->at: brackets are counted outside of strings. */
static int
value_end(struct qz_records *r, size_t *n, struct qz_err *e)
{
	size_t i = 0;
	int depth = 0, got;
	bool in_string = false;

	for (;; i++) {
		char c;

		if (r->at + i >= r->window.n) {
			got = fill(r, e);
			if (got < 0)
				return -1;
			if (!got) {
				*n = i;
				return 0;
			}
		}
		c = r->window.data[r->at + i];
		if (in_string) {
			i += c == '\\';
			in_string = c != '"';
			continue;
		}
		if (depth == 0 && i > 0 && (c == ',' || c == ']' || is_blank(c)))
			break;
		in_string = c == '"';
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		if (depth == 0 && (c == '}' || c == ']')) {
			i++;
			break;
		}
	}
	*n = i;
	return 1;
}

static int
broken_array(struct qz_records *r, const char *what, struct qz_err *e)
{
	qz_fail(e, QZ_EDATA, "%s", what);
	return qz_at(e, "line %llu", (unsigned long long)r->line);
}

static int
next_element(struct qz_records *r, const char **s, size_t *n, uint64_t *line, struct qz_err *e)
{
	int got = next_char(r, e);

	if (got < 0)
		return -1;
	if (r->closed)
		return got ? broken_array(r, "there is something behind the array's end", e) : 0;
	if (!got)
		return broken_array(r, "the array has no end: the input is cut", e);
	if (r->window.data[r->at] == ']') {
		r->closed = true;
		pass(r, 1);
		return next_element(r, s, n, line, e);
	}
	if (r->element) {
		if (r->window.data[r->at] != ',')
			return broken_array(
			    r, "two elements of the array have no comma between them", e);
		pass(r, 1);
		got = next_char(r, e);
		if (got < 0)
			return -1;
	}
	if (!got || r->window.data[r->at] == ',' || r->window.data[r->at] == ']')
		return broken_array(r, "a comma without an element behind it", e);
	got = value_end(r, n, e);
	if (got < 0)
		return -1;
	if (!got)
		return broken_array(r, "the array has no end: the input is cut", e);
	*s = r->window.data + r->at;
	*line = r->line;
	pass(r, *n);
	r->element++;
	return 1;
}

static int
whole_text(struct qz_records *r, const char **s, size_t *n, uint64_t *line, struct qz_err *e)
{
	int got;

	while ((got = fill(r, e)) > 0)
		;
	if (got < 0)
		return -1;
	*s = r->window.data + r->at;
	*n = r->window.n - r->at;
	*line = r->line;
	if (!*n)
		return 0;
	pass(r, *n);
	return 1;
}

int
qz_records_next(struct qz_records *r, const char **s, size_t *n, uint64_t *line, struct qz_err *e)
{
	if (r->kind == QZ_RECORDS_LINES)
		return next_line(r, s, n, line, e);
	if (r->kind == QZ_RECORDS_TEXT)
		return whole_text(r, s, n, line, e);
	if (!r->element && !r->closed && r->at < r->window.n && r->window.data[r->at] == '[')
		pass(r, 1); /* the array's own bracket: open() stopped at it */
	return next_element(r, s, n, line, e);
}

void
qz_records_free(struct qz_records *r)
{
	qz_buf_free(&r->window);
}
