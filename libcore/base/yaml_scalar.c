#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/base/utf8.h"
#include "libcore/base/yaml_impl.h"

void
yaml_put_string(struct yaml *y)
{
	qz_json_put_string(y->out, y->scalar.n ? y->scalar.data : "", y->scalar.n);
}

void
yaml_put_plain(struct yaml *y)
{
	static const char *const nothing[] = { "", "~", "null", "Null", "NULL" };
	const char *text = y->scalar.n ? y->scalar.data : "";

	for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
		if (!strcmp(text, nothing[i])) {
			qz_buf_str(y->out, "null");
			return;
		}
	yaml_put_string(y);
}

/* At the end of a line of a scalar: goes to where its next line begins.  One line end is a space, each
 * empty line more is a line end. */
static void
fold(struct yaml *y)
{
	size_t ends = 0;

	while (y->p < y->end && (*y->p == ' ' || *y->p == '\n'))
		ends += *y->p++ == '\n';
	if (ends == 1)
		qz_buf_chr(&y->scalar, ' ');
	for (; ends > 1; ends--)
		qz_buf_chr(&y->scalar, '\n');
}

/* ---- plain ---- */

/* What of this line belongs to the scalar, without blanks at its end. */
static int
plain_line(struct yaml *y)
{
	const char *from = y->p, *to = y->p;

	for (; y->p < y->end && *y->p != '\n'; y->p++) {
		if (*y->p == '#' && y->p > from && y->p[-1] == ' ')
			break;
		if (yaml_colon(y, y->p))
			return yaml_wrong(y, "a colon within a value that has no quotes");
		if (*y->p != ' ')
			to = y->p + 1;
	}
	qz_buf_add(&y->scalar, from, (size_t)(to - from));
	return 0;
}

int
yaml_plain(struct yaml *y, long parent)
{
	qz_buf_clear(&y->scalar);
	for (;;) {
		char *p;

		if (plain_line(y) < 0)
			return -1;
		p = y->p;
		if (p == y->end || *p == '#')
			return 0;
		while (*y->p == ' ' || *y->p == '\n')
			y->p++;
		if (y->p == y->end || yaml_column(y) <= parent || *y->p == '#') {
			y->p = p;
			return 0;
		}
		y->p = p;
		fold(y);
	}
}

int
yaml_plain_flow(struct yaml *y)
{
	const char *from = y->p;

	qz_buf_clear(&y->scalar);
	while (y->p < y->end && !strchr(",[]{}", *y->p) && !yaml_colon(y, y->p)) {
		size_t blanks = strspn(y->p, " \n");
		const char *next = y->p + blanks;

		if (!blanks) {
			qz_buf_chr(&y->scalar, *y->p++);
		} else if (next == y->end || strchr(",[]{}#", *next) || yaml_colon(y, next)) {
			y->p += blanks;
			break;
		} else if (memchr(y->p, '\n', blanks)) {
			fold(y);
		} else {
			qz_buf_add(&y->scalar, y->p, blanks);
			y->p += blanks;
		}
	}
	return y->p == from ? yaml_wrong(y, "a value is expected") : 0;
}

/* ---- quoted ---- */

static int
put_code(struct yaml *y, int digits)
{
	char hex[9] = "", utf8[4], *end;
	unsigned long c;

	snprintf(hex, sizeof hex, "%.*s", digits, y->p);
	c = strtoul(hex, &end, 16);
	if (end != hex + digits || *hex == '-' || *hex == '+' || *hex == ' ' || c > 0x10ffff ||
	    (c >= 0xd800 && c < 0xe000) || !c)
		return yaml_wrong(y, "no character has this number");
	y->p += digits;
	qz_buf_add(&y->scalar, utf8, (size_t)qz_utf8_put((uint32_t)c, utf8));
	return 0;
}

/* After a backslash. */
static int
escape(struct yaml *y)
{
	static const struct {
		char letter;
		const char *text;
	} rows[] = {
		{ 'a', "\a" },
		{ 'b', "\b" },
		{ 't', "\t" },
		{ 'n', "\n" },
		{ 'v', "\v" },
		{ 'f', "\f" },
		{ 'r', "\r" },
		{ 'e', "\033" },
		{ ' ', " " },
		{ '"', "\"" },
		{ '/', "/" },
		{ '\\', "\\" },
		{ 'N', "\xc2\x85" },
		{ '_', "\xc2\xa0" },
		{ 'L', "\xe2\x80\xa8" },
		{ 'P', "\xe2\x80\xa9" },
	};
	char c = *y->p++;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (c == rows[i].letter) {
			qz_buf_str(&y->scalar, rows[i].text);
			return 0;
		}
	switch (c) {
	case 'x':
		return put_code(y, 2);
	case 'u':
		return put_code(y, 4);
	case 'U':
		return put_code(y, 8);
	case '\n': /* the line goes on */
		while (*y->p == ' ')
			y->p++;
		return 0;
	default:
		return yaml_wrong(y, "a backslash before what needs none");
	}
}

int
yaml_quoted(struct yaml *y)
{
	char quote = *y->p++;

	qz_buf_clear(&y->scalar);
	while (y->p < y->end) {
		const char *to = y->p + strspn(y->p, " ");
		char c = *y->p;

		if (*to == '\n') {
			fold(y);
		} else if (c == quote && quote == '\'' && y->p[1] == '\'') {
			qz_buf_chr(&y->scalar, '\'');
			y->p += 2;
		} else if (c == quote) {
			y->p++;
			return 0;
		} else if (c == '\\' && quote == '"') {
			y->p++;
			if (y->p == y->end || escape(y) < 0)
				return y->p == y->end ? yaml_wrong(y, "a quote is not closed") : -1;
		} else {
			qz_buf_chr(&y->scalar, c);
			y->p++;
		}
	}
	return yaml_wrong(y, "a quote is not closed");
}

/* ---- | and > ---- */

struct block {
	bool folded;
	char chomp;  /* '-', '+', or 0 */
	long indent; /* 0: that of the first line */
};

static int
block_header(struct yaml *y, struct block *b)
{
	b->folded = *y->p++ == '>';
	for (; *y->p == '-' || *y->p == '+' || (*y->p >= '1' && *y->p <= '9'); y->p++)
		if (*y->p == '-' || *y->p == '+')
			b->chomp = *y->p;
		else
			b->indent = *y->p - '0';
	if (!yaml_at_end(y))
		return yaml_wrong(y, "something stands behind the mark of a block");
	y->p += y->p < y->end;
	return 0;
}

static void
put_ends(struct yaml *y, size_t n)
{
	while (n-- > 0)
		qz_buf_chr(&y->scalar, '\n');
}

int
yaml_block(struct yaml *y, long parent)
{
	struct block b = { 0 };
	size_t empty = 0;
	bool any = false, far = false;

	qz_buf_clear(&y->scalar);
	if (block_header(y, &b) < 0)
		return -1;
	if (b.indent)
		b.indent += parent < 0 ? 0 : parent;
	while (y->p < y->end) {
		long n = (long)strspn(y->p, " ");
		const char *eol = y->p + strcspn(y->p, "\n");
		bool now_far;

		if (y->p + n == eol && (!b.indent || n <= b.indent)) {
			empty++;
			y->p += eol - y->p + (eol < y->end);
			continue;
		}
		if (!b.indent && n > parent)
			b.indent = n > 0 ? n : -1;
		if (n < b.indent || n <= parent)
			break;
		y->p += b.indent > 0 ? b.indent : 0;
		now_far = *y->p == ' ';
		if (!any)
			put_ends(y, empty);
		else if (!b.folded || far || now_far)
			put_ends(y, empty + 1);
		else if (empty)
			put_ends(y, empty);
		else
			qz_buf_chr(&y->scalar, ' ');
		qz_buf_add(&y->scalar, y->p, (size_t)(eol - y->p));
		any = true;
		far = now_far;
		empty = 0;
		y->p += eol - y->p + (eol < y->end);
	}
	if (b.chomp == '+')
		put_ends(y, empty + any);
	else if (!b.chomp && any)
		put_ends(y, 1);
	return 0;
}
