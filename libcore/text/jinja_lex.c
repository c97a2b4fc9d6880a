/* Text into tokens, with whitespace control as trim_blocks and lstrip_blocks have it: a block or
 * comment takes the newline behind it and the blanks before it when it opens a line; a minus takes
 * all whitespace on its side; a plus takes none.  One newline at the source's end is dropped. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

struct lexer {
	struct qz_arena *a;
	const char *s;
	size_t n, at;
	int line;
	bool line_start; /* what was read last ended with a newline */
	bool failed;
	struct qz_jtoken *tokens;
	size_t n_tokens, cap;
	struct qz_err *e;
};

/* Longest first. */
static const struct {
	const char *s;
	enum qz_jtok kind;
} operators[] = {
	{ "**", QZ_JT_POW },
	{ "//", QZ_JT_FLOORDIV },
	{ "==", QZ_JT_EQ },
	{ "!=", QZ_JT_NE },
	{ ">=", QZ_JT_GE },
	{ "<=", QZ_JT_LE },
	{ "+", QZ_JT_ADD },
	{ "-", QZ_JT_SUB },
	{ "*", QZ_JT_MUL },
	{ "/", QZ_JT_DIV },
	{ "%", QZ_JT_MOD },
	{ "~", QZ_JT_TILDE },
	{ "[", QZ_JT_LBRACKET },
	{ "]", QZ_JT_RBRACKET },
	{ "(", QZ_JT_LPAREN },
	{ ")", QZ_JT_RPAREN },
	{ "{", QZ_JT_LBRACE },
	{ "}", QZ_JT_RBRACE },
	{ ">", QZ_JT_GT },
	{ "<", QZ_JT_LT },
	{ "=", QZ_JT_ASSIGN },
	{ ".", QZ_JT_DOT },
	{ ":", QZ_JT_COLON },
	{ "|", QZ_JT_PIPE },
	{ ",", QZ_JT_COMMA },
	{ ";", QZ_JT_SEMICOLON },
};
enum { N_OPERATORS = sizeof operators / sizeof *operators };

const char *
qz_jtok_name(enum qz_jtok t)
{
	static const char *const names[] = {
		[QZ_JT_EOF] = "the end of the template",
		[QZ_JT_DATA] = "text",
		[QZ_JT_VAR] = "{{",
		[QZ_JT_VAR_END] = "}}",
		[QZ_JT_BLOCK] = "{%",
		[QZ_JT_BLOCK_END] = "%}",
		[QZ_JT_NAME] = "a name",
		[QZ_JT_STRING] = "a string",
		[QZ_JT_INT] = "a number",
		[QZ_JT_FLOAT] = "a number",
		[QZ_JT_IN] = "in",
		[QZ_JT_NOT_IN] = "not in",
	};

	for (int i = 0; i < N_OPERATORS; i++)
		if (operators[i].kind == t)
			return operators[i].s;
	return names[t];
}

static void
fail(struct lexer *x, int line, const char *what)
{
	if (!x->failed)
		qz_fail(x->e, QZ_EDATA, "line %d: %s", line, what);
	x->failed = true;
}

static void
put(struct lexer *x, struct qz_jtoken t)
{
	t.line = x->line;
	if (x->n_tokens == x->cap) {
		size_t cap = x->cap ? x->cap * 2 : 256;
		struct qz_jtoken *more = qz_arena_alloc(x->a, cap * sizeof *more);

		if (!more) {
			x->failed = true;
			qz_nomem(x->e, cap * sizeof *more);
			return;
		}
		if (x->n_tokens)
			memcpy(more, x->tokens, x->n_tokens * sizeof *more);
		x->tokens = more;
		x->cap = cap;
	}
	x->tokens[x->n_tokens++] = t;
}

static void
add(struct lexer *x, enum qz_jtok kind, const char *s, size_t n)
{
	put(x, (struct qz_jtoken){ .kind = kind, .s = s, .n = n });
}

/* Length of the whitespace character at s, or 0. */
static int
space_at(const char *s, size_t n)
{
	int len;
	int32_t c;

	if (!n)
		return 0;
	c = qz_utf8_get(s, n, &len);
	return c >= 0 && qz_jspace((uint32_t)c) ? len : 0;
}

static bool
at(const struct lexer *x, const char *what)
{
	size_t n = strlen(what);

	return x->n - x->at >= n && !memcmp(x->s + x->at, what, n);
}

/* Moves on by n bytes. */
static void
pass(struct lexer *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x->line += x->s[x->at + i] == '\n';
	x->at += n;
	if (n)
		x->line_start = x->s[x->at - 1] == '\n';
}

static void
pass_space(struct lexer *x)
{
	for (int n; (n = space_at(x->s + x->at, x->n - x->at)) > 0;)
		pass(x, (size_t)n);
}

/* The end of a tag: "-%}" takes the whitespace behind it, "%}" of a block one newline. */
static bool
end_tag(struct lexer *x, const char *end, bool plus, bool trim)
{
	char signed_end[4] = { '-', end[0], end[1], 0 };

	if (at(x, signed_end)) {
		pass(x, 3);
		pass_space(x);
		return true;
	}
	signed_end[0] = '+';
	if (plus && at(x, signed_end)) {
		pass(x, 3);
		return true;
	}
	if (!at(x, end))
		return false;
	pass(x, 2);
	if (trim && at(x, "\n"))
		pass(x, 1);
	return true;
}

/* Text from..to stands before a tag whose sign is given. */
static void
text(struct lexer *x, size_t from, size_t to, char sign, bool block)
{
	bool line_start = x->line_start;
	size_t line, i, end = to;

	if (sign == '-') {
		for (i = from, end = from; i < to;) {
			int len = space_at(x->s + i, to - i);

			i += len ? (size_t)len : 1;
			if (!len)
				end = i;
		}
	} else if (sign != '+' && block) {
		for (line = to; line > from && x->s[line - 1] != '\n';)
			line--;
		for (i = line; i < to;) {
			int len = space_at(x->s + i, to - i);

			if (!len)
				break;
			i += (size_t)len;
		}
		if (i == to && (line > from || line_start))
			end = line;
	}
	if (end > from)
		add(x, QZ_JT_DATA, x->s + from, end - from);
	x->at = from;
	pass(x, to - from);
}

/* At "{%": is it {% name %} with any signs?  Its length without what the closing sign takes. */
static size_t
tag_named(const struct lexer *x, size_t from, const char *name, char *sign)
{
	size_t i = from + 2, len = strlen(name);

	*sign = i < x->n && (x->s[i] == '-' || x->s[i] == '+') ? x->s[i] : 0;
	i += *sign != 0;
	for (int sp; (sp = space_at(x->s + i, x->n - i)) > 0;)
		i += (size_t)sp;
	if (x->n - i < len || memcmp(x->s + i, name, len))
		return 0;
	i += len;
	for (int sp; (sp = space_at(x->s + i, x->n - i)) > 0;)
		i += (size_t)sp;
	if (x->n - i >= 2 && !memcmp(x->s + i, "%}", 2))
		return i - from;
	if (x->n - i >= 3 && (x->s[i] == '-' || x->s[i] == '+') && !memcmp(x->s + i + 1, "%}", 2))
		return i - from;
	return 0;
}

static void
raw(struct lexer *x, size_t open)
{
	size_t from, len;
	int line = x->line;
	char sign;

	pass(x, open);
	end_tag(x, "%}", true, false);
	for (from = x->at; from < x->n; from++) {
		if (x->n - from < 2 || memcmp(x->s + from, "{%", 2))
			continue;
		len = tag_named(x, from, "endraw", &sign);
		if (!len)
			continue;
		text(x, x->at, from, sign, true);
		pass(x, len);
		end_tag(x, "%}", true, true);
		return;
	}
	fail(x, line, "{% raw %} has no {% endraw %}");
}

static void
comment(struct lexer *x, size_t open)
{
	int line = x->line;

	pass(x, open);
	for (; x->at < x->n; pass(x, 1))
		if (end_tag(x, "#}", true, true))
			return;
	fail(x, line, "a comment has no #}");
}

/* \ooo, \xhh, \uhhhh, \Uhhhhhhhh; -1 when the digits are not there. */
static int32_t
digits(const char *s, size_t n, int base, size_t most, size_t *used)
{
	char copy[9] = { 0 };
	char *end;
	uint32_t v;

	memcpy(copy, s, n < most ? n : most);
	if (strspn(copy, base == 8 ? "01234567" : "0123456789abcdefABCDEF") == 0)
		return -1;
	v = (uint32_t)strtoul(copy, &end, base);
	*used = (size_t)(end - copy);
	if (base == 16 && *used != most)
		return -1;
	return v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? -1 : (int32_t)v;
}

/* One escape of a string; s[0] is the character behind the backslash.  Bytes read. */
static size_t
escape(struct lexer *x, const char *s, size_t n, char *out, size_t *n_out)
{
	static const char simple[] = "a\ab\bf\fn\nr\rt\tv\v\\\\''\"\"";
	static const char hex[] = "x\2u\4U\10";
	const char *p;
	size_t used = 0;
	int32_t v;

	if (*s == '\n')
		return 1;
	for (p = simple; *p; p += 2)
		if (*p == *s) {
			out[(*n_out)++] = p[1];
			return 1;
		}
	for (p = hex; *p; p += 2)
		if (*p == *s) {
			v = digits(s + 1, n - 1, 16, (size_t)p[1], &used);
			if (v < 0)
				fail(x, x->line, "a string has an escape that is no character");
			else
				*n_out += (size_t)qz_utf8_put((uint32_t)v, out + *n_out);
			return 1 + used;
		}
	if (*s >= '0' && *s <= '7') {
		v = digits(s, n, 8, 3, &used);
		*n_out += (size_t)qz_utf8_put((uint32_t)v, out + *n_out);
		return used;
	}
	if (*s == 'N')
		fail(x, x->line, "\\N{name} in a string is not supported");
	out[(*n_out)++] = '\\';
	out[(*n_out)++] = *s;
	return 1;
}

static void
string(struct lexer *x)
{
	char quote = x->s[x->at];
	size_t from = x->at + 1, to = from, n = 0;
	char *out;

	while (to < x->n && x->s[to] != quote)
		to += x->s[to] == '\\' && to + 1 < x->n ? 2 : 1;
	if (to >= x->n) {
		fail(x, x->line, "a string has no closing quote");
		return;
	}
	out = qz_arena_alloc(x->a, to - from + 1);
	if (!out) {
		x->failed = true;
		qz_nomem(x->e, to - from + 1);
		return;
	}
	for (size_t i = from; i < to;) {
		if (x->s[i] != '\\')
			out[n++] = x->s[i++];
		else
			i += 1 + escape(x, x->s + i + 1, to - i - 1, out, &n);
	}
	add(x, QZ_JT_STRING, out, n);
	pass(x, to + 1 - x->at);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_name(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) ||
	       (!first && is_digit(c));
}

/* Digits with single underscores between them, without these into out; the bytes read. */
static size_t
run_of_digits(const char *s, size_t n, const char *set, char *out, size_t *n_out)
{
	size_t i = 0;

	while (i < n && *n_out < 60) {
		size_t under = s[i] == '_' && i > 0;

		if (i + under >= n || !strchr(set, s[i + under]) || !s[i + under])
			break;
		i += under;
		out[(*n_out)++] = s[i++];
	}
	return i;
}

static void
number(struct lexer *x)
{
	static const char *const sets[] = { "01", "01234567", "0123456789abcdefABCDEF" };
	static const char dec[] = "0123456789", letters[] = "bBoOxX";
	const char *s = x->s + x->at, *letter;
	size_t n = x->n - x->at, i, m = 0, more;
	bool after_dot = x->at > 0 && s[-1] == '.', real = false;
	char text_[64] = { 0 };
	unsigned long long v;

	letter = n > 1 && s[0] == '0' && s[1] ? strchr(letters, s[1]) : NULL;
	if (letter) {
		int k = (int)(letter - letters) / 2;

		i = 2 + run_of_digits(s + 2, n - 2, sets[k], text_, &m);
		v = strtoull(text_, NULL, k == 0 ? 2 : k == 1 ? 8 : 16);
	} else {
		i = run_of_digits(s, n, dec, text_, &m);
		if (!after_dot && i + 1 < n && s[i] == '.' && is_digit(s[i + 1])) {
			text_[m++] = '.';
			i += 1 + run_of_digits(s + i + 1, n - i - 1, dec, text_, &m);
			real = true;
		}
		if (!after_dot && i < n && (s[i] == 'e' || s[i] == 'E') && m < 50) {
			size_t sign = i + 1 < n && (s[i + 1] == '+' || s[i + 1] == '-');

			if (i + 1 + sign < n && is_digit(s[i + 1 + sign])) {
				text_[m++] = 'e';
				if (sign)
					text_[m++] = s[i + 1];
				more = run_of_digits(
				    s + i + 1 + sign, n - i - 1 - sign, dec, text_, &m);
				i += 1 + sign + more;
				real = true;
			}
		}
		v = strtoull(text_, NULL, 10);
	}
	if (m >= 50 || (!real && (v > INT64_MAX || m == 0))) {
		fail(x, x->line, m ? "a number is too large" : "a number has no digits");
		return;
	}
	put(x, (struct qz_jtoken){ .kind = real ? QZ_JT_FLOAT : QZ_JT_INT,
		   .s = s,
		   .n = i,
		   .i = (int64_t)v,
		   .f = strtod(text_, NULL) });
	pass(x, i);
}

static bool
operator(struct lexer *x, char *stack, int *depth)
{
	static const char pairs[] = "{}()[]";

	for (int i = 0; i < N_OPERATORS; i++) {
		const char *s = operators[i].s, *p;

		if (!at(x, s))
			continue;
		p = strchr(pairs, *s);
		if (p && (p - pairs) % 2 == 0) {
			if (*depth == QZ_J_NEST_MAX)
				fail(x, x->line, "brackets are nested too deep");
			else
				stack[(*depth)++] = p[1];
		} else if (p && (*depth == 0 || stack[--*depth] != *s)) {
			fail(x, x->line, "a closing bracket without its opening one");
		}
		add(x, operators[i].kind, s, strlen(s));
		pass(x, strlen(s));
		return true;
	}
	return false;
}

/* What stands between {{ and }}, or {% and %}. */
static void
tag(struct lexer *x, bool block)
{
	const char *end = block ? "%}" : "}}";
	char stack[QZ_J_NEST_MAX];
	int depth = 0, line = x->line;

	while (!x->failed && x->at < x->n) {
		char c = x->s[x->at];
		size_t n = 1;

		if (space_at(x->s + x->at, x->n - x->at)) {
			pass_space(x);
			continue;
		}
		if (!depth) {
			int before = x->line;

			if (end_tag(x, end, block, block)) {
				int now = x->line;

				x->line = before;
				add(x, block ? QZ_JT_BLOCK_END : QZ_JT_VAR_END, end, 2);
				x->line = now;
				return;
			}
		}
		if (is_digit(c)) {
			number(x);
		} else if (is_name(c, true)) {
			while (x->at + n < x->n && is_name(x->s[x->at + n], false))
				n++;
			add(x, QZ_JT_NAME, x->s + x->at, n);
			pass(x, n);
		} else if (c == '"' || c == '\'') {
			string(x);
		} else if (!operator(x, stack, &depth)) {
			fail(x, x->line, "a character that no expression has");
		}
	}
	fail(x, line, block ? "{% has no %}" : "{{ has no }}");
}

static void
lex(struct lexer *x)
{
	size_t i;

	while (!x->failed && x->at < x->n) {
		char sign, kind;
		size_t len = 0;

		for (i = x->at; i < x->n; i++)
			if (x->s[i] == '{' && i + 1 < x->n && x->s[i + 1] &&
			    strchr("%{#", x->s[i + 1]))
				break;
		if (i >= x->n) {
			add(x, QZ_JT_DATA, x->s + x->at, x->n - x->at);
			return;
		}
		kind = x->s[i + 1];
		if (kind == '%')
			len = tag_named(x, i, "raw", &sign);
		sign = i + 2 < x->n && (x->s[i + 2] == '-' || x->s[i + 2] == '+') ? x->s[i + 2] : 0;
		text(x, x->at, i, sign, kind != '{');
		if (len) {
			raw(x, len);
		} else if (kind == '#') {
			comment(x, 2 + (sign != 0));
		} else {
			add(x, kind == '%' ? QZ_JT_BLOCK : QZ_JT_VAR, x->s + i, 2);
			pass(x, 2 + (sign != 0));
			tag(x, kind == '%');
		}
	}
}

struct qz_jtoken *
qz_jinja_lex(struct qz_arena *a, const char *source, size_t n, struct qz_err *e)
{
	struct lexer x = { .a = a, .line = 1, .line_start = true, .e = e };
	size_t bad = qz_utf8_valid(source, n), m = 0;
	char *s = qz_arena_alloc(a, n + 1);

	if (bad < n) {
		qz_fail(e, QZ_EDATA, "the template's byte %zu is not valid UTF-8", bad);
		return NULL;
	}
	if (!s) {
		qz_nomem(e, n + 1);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) { /* CR LF and CR are newlines */
		if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n')
			continue;
		s[m++] = source[i] == '\r' ? '\n' : source[i];
	}
	if (m && s[m - 1] == '\n')
		m--;
	x.s = s;
	x.n = m;
	lex(&x);
	add(&x, QZ_JT_EOF, "", 0);
	return x.failed ? NULL : x.tokens;
}
