#include "libcore/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/buf.h"

enum {
	PATTERN_MAX = 1 << 16,
	MATCH_LIMIT = 10000000, /* steps of one search */
	DEPTH_LIMIT = 100000,
	HEAP_KIB = 64 * 1024,
	JIT_STACK = 1 << 20,
};

struct qz_regex {
	pcre2_code *code;
};

struct qz_regex_match {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
};

/* Oniguruma's \w has these only where it stands outside a class (regenc.c, Latin-1 table). */
#define LATIN1_WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

/* Escapes that PCRE2 reads otherwise (without flags \s has U+180E, \w has no marks, \h is blank). */
static const struct {
	char c;
	const char *outside, *inside; /* a class; NULL: no way to write it there */
} escapes[] = {
	{ 's', "\\p{White_Space}", "\\p{White_Space}" },
	{ 'S', "\\P{White_Space}", "\\P{White_Space}" },
	{ 'w', "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" LATIN1_WORD "]",
	    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" },
	{ 'W', "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" LATIN1_WORD "]", NULL },
	{ 'h', "[0-9a-fA-F]", "0-9a-fA-F" },
	{ 'H', "[^0-9a-fA-F]", NULL },
	{ 'd', "\\p{Nd}", "\\p{Nd}" },
	{ 'D', "\\P{Nd}", "\\P{Nd}" },
	{ 't', "\\t", "\\t" },
	{ 'n', "\\n", "\\n" },
	{ 'r', "\\r", "\\r" },
	{ 'f', "\\f", "\\f" },
	{ 'v', "\\x{0b}", "\\x{0b}" },
	{ 'a', "\\a", "\\a" },
	{ 'e', "\\e", "\\e" },
	{ 'A', "\\A", NULL },
	{ 'z', "\\z", NULL },
	{ 'Z', "\\Z", NULL },
};

/* PCRE2 takes these names for script extensions; they are scripts. */
static const char *const scripts[] = { "Han", "Hiragana", "Katakana", "Hangul", "Latin", "Cyrillic",
	"Greek", "Arabic", "Hebrew", "Thai", "Devanagari", "Bengali", "Tamil", "Telugu", "Armenian",
	"Georgian" };

static const char *const groups[] = { "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:" };

/* \p{Name} at s; how many bytes it takes, or -1. */
static int
property(const char *s, struct qz_buf *out, struct qz_err *e)
{
	const char *name = s + 3, *end = s[2] == '{' ? strchr(name, '}') : NULL;
	size_t n, neg;

	if (!end)
		return qz_fail(e, QZ_EDATA, "\\%c without {name}", s[1]);
	n = (size_t)(end - name);
	neg = n && *name == '^';
	for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
		if (n - neg == strlen(scripts[i]) && !strncmp(name + neg, scripts[i], n - neg)) {
			qz_buf_fmt(out, "\\%c{%ssc:%s}", s[1], neg ? "^" : "", scripts[i]);
			return (int)n + 4;
		}
	if (n - neg < 1 || n - neg > 2)
		return qz_fail(e, QZ_EDATA, "the property \\p{%.*s} is not known",
		    (int)(n < 60 ? n : 60), name);
	qz_buf_add(out, s, n + 4);
	return (int)n + 4;
}

static int
escape(const char *s, bool in_class, struct qz_buf *out, struct qz_err *e)
{
	unsigned char c = (unsigned char)s[1];

	if (!c)
		return qz_fail(e, QZ_EDATA, "ends in a backslash");
	if (c == 'p' || c == 'P')
		return property(s, out, e);
	if (c == 'u' && strspn(s + 2, "0123456789abcdefABCDEF") >= 4) {
		qz_buf_fmt(out, "\\x{%.4s}", s + 2);
		return 6;
	}
	if (c == 'x' && s[2] == '{') {
		qz_buf_add(out, s, 3);
		return 3;
	}
	for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
		const char *as = in_class ? escapes[i].inside : escapes[i].outside;

		if (escapes[i].c == (char)c && as) {
			qz_buf_str(out, as);
			return 2;
		}
	}
	if (c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return qz_fail(e, QZ_EDATA, "\\%c%s is not supported", c < 0x80 ? c : '?',
		    in_class ? " in a class" : "");
	qz_buf_add(out, s, 2);
	return 2;
}

/* A class, from its [ to its ]; how many bytes. */
static int class(const char *s, struct qz_buf *out, struct qz_err *e)
{
	const char *p = s + 1;
	int n;

	qz_buf_chr(out, '[');
	if (*p == '^')
		qz_buf_chr(out, *p++);
	if (*p == ']')
		return qz_fail(e, QZ_EDATA, "an empty class");
	while (*p != ']') {
		if (!*p)
			return qz_fail(e, QZ_EDATA, "a class without ]");
		if (*p == '[' || !strncmp(p, "&&", 2))
			return qz_fail(e, QZ_EDATA, "a class with %c in it is not supported", *p);
		if (*p == '\\') {
			n = escape(p, true, out, e);
			if (n < 0)
				return -1;
			p += n;
		} else {
			qz_buf_chr(out, *p++);
		}
	}
	qz_buf_chr(out, ']');
	return (int)(p + 1 - s);
}

static int
group(const char *s, struct qz_buf *out, struct qz_err *e)
{
	if (s[1] != '?') {
		qz_buf_chr(out, '(');
		return 1;
	}
	for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
		size_t n = strlen(groups[i]);

		if (!strncmp(s, groups[i], n)) {
			qz_buf_add(out, groups[i], n);
			return (int)n;
		}
	}
	return qz_fail(e, QZ_EDATA, "the group %.5s is not supported", s);
}

static int
translate(const char *s, struct qz_buf *out, struct qz_err *e)
{
	int n;

	for (const char *p = s; *p; p += n) {
		n = 1;
		if (*p == '\\')
			n = escape(p, false, out, e);
		else if (*p == '[')
			n = class(p, out, e);
		else if (*p == '(')
			n = group(p, out, e);
		else if (!strncmp(p, "{,", 2))
			n = qz_fail(e, QZ_EDATA, "a repeat {,n} is not supported");
		else if (!strncmp(p, "}+", 2))
			n = qz_fail(e, QZ_EDATA, "+ after {} is not supported");
		else
			qz_buf_chr(out, *p);
		if (n < 0)
			return -1;
	}
	return qz_buf_ok(out, e);
}

static int
compile(struct qz_regex *r, const char *pattern, size_t n, struct qz_err *e)
{
	pcre2_compile_context *c = pcre2_compile_context_create(NULL);
	PCRE2_UCHAR text[200];
	PCRE2_SIZE at;
	int code;

	if (!c)
		return qz_nomem(e, 0);
	pcre2_set_newline(c, PCRE2_NEWLINE_LF);
	pcre2_set_bsr(c, PCRE2_BSR_UNICODE);
	r->code = pcre2_compile(
	    (PCRE2_SPTR)pattern, n, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &at, c);
	pcre2_compile_context_free(c);
	if (!r->code) {
		pcre2_get_error_message(code, text, sizeof text);
		return qz_fail(e, QZ_EDATA, "at byte %zu: %s", (size_t)at, (char *)text);
	}
	pcre2_jit_compile(
	    r->code, PCRE2_JIT_COMPLETE); /* where there is none, the interpreter serves */
	return 0;
}

struct qz_regex *
qz_regex_new(const char *pattern, struct qz_err *e)
{
	struct qz_regex *r = calloc(1, sizeof *r);
	struct qz_buf b = { 0 };
	int ret;

	if (!r) {
		qz_nomem(e, sizeof *r);
		return NULL;
	}
	ret = strlen(pattern) > PATTERN_MAX
		  ? qz_fail(e, QZ_EDATA, "longer than %d bytes", PATTERN_MAX)
		  : 0;
	if (!ret)
		ret = translate(pattern, &b, e);
	if (!ret)
		ret = compile(r, b.data ? b.data : "", b.n, e);
	qz_buf_free(&b);
	if (!ret)
		return r;
	qz_at(e, "regex \"%.200s\"", pattern);
	qz_regex_free(r);
	return NULL;
}

void
qz_regex_free(struct qz_regex *r)
{
	if (!r)
		return;
	pcre2_code_free(r->code);
	free(r);
}

struct qz_regex_match *
qz_regex_match_new(struct qz_err *e)
{
	struct qz_regex_match *m = calloc(1, sizeof *m);

	if (m) {
		m->data = pcre2_match_data_create(1, NULL);
		m->context = pcre2_match_context_create(NULL);
		m->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK, NULL); /* NULL: no JIT */
	}
	if (!m || !m->data || !m->context) {
		qz_nomem(e, sizeof *m);
		qz_regex_match_free(m);
		return NULL;
	}
	pcre2_set_match_limit(m->context, MATCH_LIMIT);
	pcre2_set_depth_limit(m->context, DEPTH_LIMIT);
	pcre2_set_heap_limit(m->context, HEAP_KIB);
	if (m->stack)
		pcre2_jit_stack_assign(m->context, NULL, m->stack);
	return m;
}

void
qz_regex_match_free(struct qz_regex_match *m)
{
	if (!m)
		return;
	pcre2_match_data_free(m->data);
	pcre2_match_context_free(m->context);
	pcre2_jit_stack_free(m->stack);
	free(m);
}

int
qz_regex_find(const struct qz_regex *r, struct qz_regex_match *m, const char *s, size_t n,
    size_t from, size_t *at, size_t *end, struct qz_err *e)
{
	int rc = pcre2_match(
	    r->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
	PCRE2_SIZE *o = pcre2_get_ovector_pointer(m->data);
	PCRE2_UCHAR text[200];

	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc < 0) {
		pcre2_get_error_message(rc, text, sizeof text);
		return qz_fail(
		    e, QZ_EDATA, "the split pattern fails at byte %zu: %s", from, (char *)text);
	}
	*at = o[0];
	*end = o[1];
	if (*end < *at) /* \K is not in the syntax */
		return qz_fail(
		    e, QZ_EDATA, "the split pattern matches backwards at byte %zu", from);
	return 1;
}
