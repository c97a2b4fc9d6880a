#include "libcore/base/yaml_impl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

static int node(struct yaml *y, long least);
static int flow(struct yaml *y);

int
yaml_wrong(struct yaml *y, const char *what)
{
	size_t line = 1;

	for (const char *p = y->text; p < y->p; p++)
		line += *p == '\n';
	return qz_fail(y->e, QZ_EDATA, "line %zu: %s", line, what);
}

long
yaml_column(const struct yaml *y)
{
	const char *p = y->p;

	while (p > y->text && p[-1] != '\n')
		p--;
	return y->p - p;
}

static bool
is_comment(const struct yaml *y)
{
	return *y->p == '#' && (y->p == y->text || y->p[-1] == ' ' || y->p[-1] == '\n');
}

bool
yaml_at_end(struct yaml *y)
{
	while (*y->p == ' ')
		y->p++;
	if (y->p < y->end && is_comment(y))
		y->p += strcspn(y->p, "\n");
	return y->p == y->end || *y->p == '\n';
}

void
yaml_skip(struct yaml *y)
{
	while (yaml_at_end(y) && y->p < y->end)
		y->p++;
}

static bool
ends_word(const struct yaml *y, const char *p)
{
	return p == y->end || *p == ' ' || *p == '\n';
}

bool
yaml_colon(const struct yaml *y, const char *p)
{
	return *p == ':' && ends_word(y, p + 1);
}

static bool
is_dash(const struct yaml *y)
{
	return y->p < y->end && *y->p == '-' && ends_word(y, y->p + 1);
}

/* Behind the quoted string that begins at p, if its line has the end of it; else the line's end. */
static const char *
pass_quoted(const char *p)
{
	char quote = *p++;

	for (; *p && *p != '\n'; p++) {
		if (*p == quote && p[1] == quote && quote == '\'')
			p++;
		else if (*p == quote)
			return p + 1;
		else if (*p == '\\' && quote == '"' && p[1])
			p++;
	}
	return p;
}

/* Does a key with its colon stand here? */
static bool
is_key(const struct yaml *y)
{
	const char *p = y->p;

	if (*p == '"' || *p == '\'') {
		p = pass_quoted(p);
		p += strspn(p, " ");
		return p < y->end && yaml_colon(y, p);
	}
	if (*p && strchr("[{|>", *p))
		return false;
	for (; p < y->end && *p != '\n' && !(*p == '#' && p > y->p && p[-1] == ' '); p++)
		if (yaml_colon(y, p))
			return true;
	return false;
}

static int
check_start(struct yaml *y)
{
	if (strchr("&*!%@`", *y->p))
		return yaml_wrong(y, "anchors, aliases, tags and directives are not read here");
	if (*y->p == '?' && ends_word(y, y->p + 1))
		return yaml_wrong(y, "a key that is no scalar is not read here");
	return 0;
}

static int
key(struct yaml *y)
{
	const char *from = y->p, *to;

	if (check_start(y) < 0)
		return -1;
	if (*from == '"' || *from == '\'') {
		if (yaml_quoted(y) < 0)
			return -1;
		while (*y->p == ' ')
			y->p++;
	} else {
		while (!yaml_colon(y, y->p))
			y->p++;
		for (to = y->p; to > from && to[-1] == ' ';)
			to--;
		qz_buf_clear(&y->scalar);
		qz_buf_add(&y->scalar, from, (size_t)(to - from));
	}
	yaml_put_string(y);
	qz_buf_chr(y->out, ':');
	y->p++;
	return 0;
}

/* What is neither a block mapping nor a block sequence, and the rest of its line. */
static int
value(struct yaml *y, long parent)
{
	int ret;

	if (check_start(y) < 0)
		return -1;
	if (*y->p == '|' || *y->p == '>') {
		ret = yaml_block(y, parent);
		yaml_put_string(y);
		return ret;
	}
	if (*y->p == '[' || *y->p == '{') {
		ret = flow(y);
	} else if (*y->p == '"' || *y->p == '\'') {
		ret = yaml_quoted(y);
		yaml_put_string(y);
	} else {
		ret = yaml_plain(y, parent);
		yaml_put_plain(y);
	}
	if (ret == 0 && !yaml_at_end(y))
		return yaml_wrong(y, "something stands behind the value");
	return ret;
}

/* The next item or key at this column; -1: what comes is in a column where nothing can stand. */
static int
more(struct yaml *y, long column)
{
	yaml_skip(y);
	if (y->p < y->end && yaml_column(y) > column)
		return yaml_wrong(y, "this stands too far right");
	return y->p < y->end && yaml_column(y) == column;
}

static int
sequence(struct yaml *y, long column)
{
	int again = 1;

	for (char mark = '['; again > 0 && is_dash(y); mark = ',') {
		qz_buf_chr(y->out, mark);
		*y->p++ = ' ';
		if (node(y, column + 1) < 0)
			return -1;
		again = more(y, column);
	}
	qz_buf_chr(y->out, ']');
	return again < 0 ? -1 : 0;
}

static int
entry(struct yaml *y, long column)
{
	if (key(y) < 0)
		return -1;
	if (!yaml_at_end(y))
		return is_dash(y) ? yaml_wrong(y, "a list starts on a line of its own")
				  : value(y, column);
	yaml_skip(y);
	if (y->p < y->end && yaml_column(y) == column && is_dash(y))
		return sequence(y, column);
	return node(y, column + 1);
}

static int
mapping(struct yaml *y, long column)
{
	int again = 1;

	for (char mark = '{'; again > 0; mark = ',') {
		if (!is_key(y))
			return yaml_wrong(y, "a key and a colon are expected");
		qz_buf_chr(y->out, mark);
		if (entry(y, column) < 0)
			return -1;
		again = more(y, column);
	}
	qz_buf_chr(y->out, '}');
	return again;
}

/* The value that begins at column `least` or farther right; null when nothing does. */
static int
node(struct yaml *y, long least)
{
	int ret;

	yaml_skip(y);
	if (y->p == y->end || yaml_column(y) < least) {
		qz_buf_str(y->out, "null");
		return 0;
	}
	if (y->depth == DEPTH_MAX)
		return yaml_wrong(y, "too deep");
	y->depth++;
	if (is_dash(y))
		ret = sequence(y, yaml_column(y));
	else if (is_key(y))
		ret = mapping(y, yaml_column(y));
	else
		ret = value(y, least - 1);
	y->depth--;
	return ret;
}

/* ---- [a, b] and {a: b} ---- */

static int
flow_key(struct yaml *y)
{
	bool quoted = *y->p == '"' || *y->p == '\'';

	if (check_start(y) < 0 || (quoted ? yaml_quoted(y) : yaml_plain_flow(y)) < 0)
		return -1;
	yaml_put_string(y);
	qz_buf_chr(y->out, ':');
	yaml_skip(y);
	if (*y->p != ':') {
		qz_buf_str(y->out, "null");
		return 0;
	}
	y->p++;
	yaml_skip(y);
	if (*y->p != ',' && *y->p != '}')
		return flow(y);
	qz_buf_str(y->out, "null");
	return 0;
}

static int
flow_items(struct yaml *y, char open, char close)
{
	char mark = 0;

	qz_buf_chr(y->out, open);
	y->p++;
	for (yaml_skip(y); *y->p != close; yaml_skip(y)) {
		if (mark)
			qz_buf_chr(y->out, mark);
		mark = ',';
		if ((open == '{' ? flow_key(y) : flow(y)) < 0)
			return -1;
		yaml_skip(y);
		if (*y->p == ',')
			y->p++;
		else if (*y->p != close)
			return yaml_wrong(y, y->p == y->end
						 ? "a bracket is not closed"
						 : "a comma or a closing bracket is expected");
	}
	qz_buf_chr(y->out, close);
	y->p++;
	return 0;
}

static int
flow(struct yaml *y)
{
	int ret;

	if (y->depth == DEPTH_MAX)
		return yaml_wrong(y, "too deep");
	y->depth++;
	if (*y->p == '[' || *y->p == '{') {
		ret = flow_items(y, *y->p, *y->p == '[' ? ']' : '}');
	} else if (*y->p == '"' || *y->p == '\'') {
		ret = yaml_quoted(y);
		yaml_put_string(y);
	} else {
		ret = check_start(y) < 0 ? -1 : yaml_plain_flow(y);
		yaml_put_plain(y);
	}
	y->depth--;
	return ret;
}

/* Tabs and line ends of other systems go. */
static char *
copy(const char *text, size_t n, size_t *len)
{
	char *s = malloc(2 * n + 1);

	*len = 0;
	for (size_t i = 0; s && i < n; i++) {
		if (text[i] == '\t')
			s[(*len)++] = ' ';
		if (text[i] != '\r' || i + 1 == n || text[i + 1] != '\n')
			s[(*len)++] = text[i] == '\t' ? ' ' : text[i];
	}
	if (s)
		s[*len] = '\0';
	return s;
}

int
qz_yaml_json(const char *text, size_t n, struct qz_buf *out, struct qz_err *e)
{
	struct yaml y = { .out = out, .e = e };
	int ret = -1;
	size_t len;

	if (n > SIZE_MAX / 4 || !(y.text = copy(text, n, &len)))
		return qz_nomem(e, n);
	y.p = y.text;
	y.end = y.text + len;
	if (memchr(y.text, 0, len))
		qz_fail(e, QZ_EDATA, "a NUL byte");
	else if (node(&y, 0) == 0)
		ret = more(&y, -1) < 0 ? -1 : qz_buf_ok(out, e);
	qz_buf_free(&y.scalar);
	free(y.text);
	return ret;
}
