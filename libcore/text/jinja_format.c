/* "...".format(...) as the sandbox of jinja2 has it: fields by place or name, their attributes and items, and of the format
 * specification what texts and numbers take (Python's reference, "Format String Syntax"). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "libcore/text/jinja.h"

/* What a specification says: [[fill]align][sign][0][width][,][.precision][type]. */
struct spec {
	char fill, align, sign, type;
	bool zero, comma;
	int width, precision; /* -1: not given */
};

static int
digits(const char *s, size_t n, size_t *at)
{
	int v = 0;

	for (; *at < n && s[*at] >= '0' && s[*at] <= '9' && v < 10000; ++*at)
		v = 10 * v + (s[*at] - '0');
	return v;
}

static bool
one_of(const char *set, char ch)
{
	return ch && strchr(set, ch);
}

/* False: there is something in it that is not known here. */
static bool
read_spec(const char *s, size_t n, struct spec *p)
{
	size_t i = 0;

	*p = (struct spec){ .fill = ' ', .width = 0, .precision = -1 };
	if (n > 1 && one_of("<>^=", s[1])) {
		p->fill = s[0];
		p->align = s[1];
		i = 2;
	} else if (n && one_of("<>^=", s[0])) {
		p->align = s[i++];
	}
	if (i < n && one_of("+- ", s[i]))
		p->sign = s[i++];
	if (i < n && s[i] == '0') {
		p->zero = true;
		i++;
	}
	p->width = digits(s, n, &i);
	if (i < n && s[i] == ',') {
		p->comma = true;
		i++;
	}
	if (i < n && s[i] == '.') {
		size_t from = ++i;

		p->precision = digits(s, n, &i);
		if (i == from)
			return false;
	}
	if (i < n && one_of("sdfFeEgGx%", s[i]))
		p->type = s[i++];
	return i == n && p->width < 10000 && p->precision < 100 && !(p->fill & 0x80);
}

/* The digits of a number, its sign apart, with commas between thousands; how many bytes, -1: not for this type. */
static int
number(const struct spec *p, struct qz_jv v, char *out, size_t n, bool *negative)
{
	char plain[400], fmt[16];
	int64_t whole = 0;
	double x;
	int len, point;
	size_t at = 0;

	if (!qz_jv_number(v, &x) || fabs(x) > 1e100)
		return -1;
	*negative = x < 0;
	if (qz_jv_whole(v, &whole) && (!p->type || one_of("dx", p->type))) {
		if (p->precision >= 0)
			return -1;
		len = snprintf(plain, sizeof plain, p->type == 'x' ? "%llx" : "%llu",
		    (unsigned long long)(whole < 0 ? -(uint64_t)whole : (uint64_t)whole));
	} else {
		char type = p->type == '%' ? 'f' : p->type;

		if (!type || one_of("dxs", type))
			return -1;
		snprintf(fmt, sizeof fmt, "%%.%d%c", p->precision < 0 ? 6 : p->precision, type);
		len = snprintf(plain, sizeof plain, fmt, fabs(x) * (p->type == '%' ? 100 : 1));
	}
	point = (int)strspn(plain, "0123456789abcdef");
	for (int i = 0; i < len && at + 3 < n; i++) {
		if (p->comma && i && i < point && (point - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = plain[i];
	}
	if (p->type == '%')
		out[at++] = '%';
	return (int)at;
}

static void
fill(struct qz_jctx *c, struct qz_jbuild *out, char ch, int n, struct qz_jv like)
{
	char some[64];

	memset(some, ch, sizeof some);
	for (int k; n > 0; n -= k) {
		k = n < (int)sizeof some ? n : (int)sizeof some;
		qz_jbuild_copy(c, out, some, (size_t)k, like);
	}
}

/* A value by its specification; texts to the left, numbers to the right. */
static void
put_field(struct qz_jctx *c, struct qz_jbuild *out, struct qz_jv v, const char *s, size_t n)
{
	bool text = v.kind == QZ_J_STR, negative = false;
	char some[800], sign[2] = { 0 };
	struct spec p;
	int len = 0, chars, left;

	if (!n) {
		qz_jbuild_value(c, out, v);
		return;
	}
	if (!read_spec(s, n, &p) || (text && (p.sign || p.zero || p.comma || p.align == '=' ||
						 (p.type && p.type != 's')))) {
		qz_jfail(c, "the format %.*s is not supported", (int)n, s);
		return;
	}
	if (!text)
		len = number(&p, v, some, sizeof some, &negative);
	if (len < 0) {
		qz_jfail(c, "the format %.*s does not take %s", (int)n, s, qz_jv_type(v));
		return;
	}
	if (text && p.precision >= 0)
		v = qz_jinja_slice(c, v, qz_jv_none(), qz_jv_int(p.precision), qz_jv_none());
	sign[0] = negative ? '-' : p.sign == '-' ? 0 : p.sign;
	if (p.zero && !p.align) {
		p.fill = '0';
		p.align = '=';
	}
	chars = c->failed ? 0 : text ? (int)qz_jv_length(c, v) : len + (sign[0] != 0);
	p.align = p.align ? p.align : text ? '<' : '>';
	left = p.width > chars ? p.width - chars : 0;
	if (p.align == '=')
		qz_jbuild_copy(c, out, sign, strlen(sign), v);
	fill(c, out, p.fill, p.align == '<' ? 0 : p.align == '^' ? left / 2 : left, v);
	if (p.align != '=')
		qz_jbuild_copy(c, out, sign, strlen(sign), v);
	if (text)
		qz_jbuild_value(c, out, v);
	else
		qz_jbuild_copy(c, out, some, (size_t)len, v);
	fill(c, out, p.fill, p.align == '<' ? left : p.align == '^' ? left - left / 2 : 0, v);
}

/* Arguments that are taken in turn, or by their numbers. */
struct turns {
	const struct qz_jcall *call;
	int64_t next; /* -1: they have numbers */
};

static struct qz_jv
argument(struct qz_jctx *c, struct turns *t, const char *s, size_t n)
{
	const struct qz_jcall *call = t->call;
	size_t at = 0;
	int64_t i;

	if (n && (s[0] < '0' || s[0] > '9')) {
		for (size_t k = 0; k < call->n_kw; k++)
			if (call->kw[k].name_n == n && !memcmp(call->kw[k].name, s, n))
				return call->kw_values[k];
		return qz_jfail(c, "format: no argument '%.*s'", (int)n, s);
	}
	if (n ? t->next > 0 : t->next < 0)
		return qz_jfail(c, "format: fields with and without a number");
	i = n ? digits(s, n, &at) : t->next;
	t->next = n ? -1 : t->next + 1;
	if (at != n || (size_t)i >= call->n_pos)
		return qz_jfail(c, "not enough values for a format");
	return call->pos[i];
}

/* name.attribute[item]... */
static struct qz_jv
field(struct qz_jctx *c, struct turns *t, const char *s, size_t n)
{
	size_t i = 0, from;
	struct qz_jv v;

	while (i < n && s[i] != '.' && s[i] != '[')
		i++;
	v = argument(c, t, s, i);
	while (i < n && qz_jspend(c, 1)) {
		bool item = s[i] == '[';
		size_t at = 0;

		from = ++i;
		while (i < n && (item ? s[i] != ']' : s[i] != '.' && s[i] != '['))
			i++;
		if (i == from || (item && i == n))
			return qz_jfail(c, "format: a field that is not supported");
		if (!item) {
			v = qz_jinja_attr(c, v, s + from, i - from);
			continue;
		}
		v = qz_jinja_item(c, v,
		    s[from] >= '0' && s[from] <= '9' ? qz_jv_int(digits(s + from, i - from, &at))
						     : qz_jstr_new(c, s + from, i - from));
		i++;
	}
	return v;
}

/* The field {...} whose text s is. */
static void
put_braces(struct qz_jctx *c, struct qz_jbuild *out, struct turns *t, const char *s, size_t n)
{
	const char *colon = memchr(s, ':', n), *mark = memchr(s, '!', n);
	size_t name = colon ? (size_t)(colon - s) : n;
	struct qz_jbuild shown = { 0 };
	char how = 's';
	struct qz_jv v;

	if (memchr(s, '{', n)) {
		qz_jfail(c, "format: a field within a field is not supported");
		return;
	}
	if (mark && (size_t)(mark - s) < name) {
		how = mark + 2 == s + name ? mark[1] : 0;
		name = (size_t)(mark - s);
	}
	v = field(c, t, s, name);
	if (how == 'r') {
		qz_jv_repr(c, &shown, v);
		v = qz_jbuild_done(c, &shown);
	} else if (how != 's') {
		qz_jfail(c, "format: a conversion that is not supported");
	} else if (mark && mark < s + n && (!colon || mark < colon)) {
		v = qz_jv_str(c, v);
	}
	if (!c->failed)
		put_field(
		    c, out, v, colon ? colon + 1 : "", colon ? (size_t)(s + n - colon - 1) : 0);
}

struct qz_jv
qz_jinja_braces(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jstr *str = call->self.u.s;
	const char *s = qz_jstr_flat(c, str);
	struct turns t = { call, 0 };
	struct qz_jbuild out = { 0 };
	size_t len;

	for (size_t i = 0; i < str->n && qz_jspend(c, 1); i += len) {
		const char *close;

		for (len = 0; i + len < str->n && s[i + len] != '{' && s[i + len] != '}';)
			len++;
		if (len) {
			qz_jbuild_part(c, &out, str, i, i + len);
			continue;
		}
		if (i + 1 < str->n && s[i + 1] == s[i]) {
			qz_jbuild_part(c, &out, str, i, i + 1);
			len = 2;
			continue;
		}
		close = s[i] == '{' ? memchr(s + i, '}', str->n - i) : NULL;
		if (!close)
			return qz_jfail(c, "format: a brace without its other one");
		len = (size_t)(close - s) - i + 1;
		put_braces(c, &out, &t, s + i + 1, len - 2);
	}
	return qz_jbuild_done(c, &out);
}
