/* "..." % values. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "libcore/text/jinja.h"

/* One directive, spec = "%-8.3f" and the like, of a value. */
static void
directive(struct qz_jctx *c, struct qz_jbuild *out, const char *spec, struct qz_jv v)
{
	char kind = spec[strlen(spec) - 1], fmt[48], text[512];
	int n = -1;
	int64_t i;
	double x;

	if (kind == 's' && !strcmp(spec, "%s")) {
		qz_jbuild_value(c, out, v);
		return;
	}
	if (kind == 's') {
		struct qz_jv s = qz_jv_str(c, v);

		snprintf(fmt, sizeof fmt, "%.*s.*s", (int)strlen(spec) - 1, spec);
		if (strchr(spec, '.') || s.u.s->n > 400)
			qz_jfail(c, "the format %s is not supported", spec);
		else
			n = snprintf(text, sizeof text, fmt, (int)s.u.s->n, qz_jstr_flat(c, s.u.s));
	} else if (strchr("dix", kind) && (qz_jv_whole(v, &i) || v.kind == QZ_J_FLOAT)) {
		if (v.kind == QZ_J_FLOAT)
			i = fabs(v.u.f) < 0x1p63 ? (int64_t)v.u.f : 0;
		snprintf(fmt, sizeof fmt, "%.*sll%c", (int)strlen(spec) - 1, spec, kind);
		n = snprintf(text, sizeof text, fmt, (long long)i);
	} else if (strchr("feg", kind) && qz_jv_number(v, &x) && fabs(x) < 1e100) {
		n = snprintf(text, sizeof text, spec, x);
	}
	if (n < 0 || (size_t)n >= sizeof text)
		qz_jfail(c, "the format %s does not take %s", spec, qz_jv_type(v));
	else
		qz_jbuild_copy(c, out, text, (size_t)n, v);
}

/* The length of the directive at s, which begins with %, or 0: flags, width, precision, kind. */
static size_t
directive_len(const char *s, size_t n)
{
	size_t i = 1, digits = 0;

	while (i < n && s[i] && strchr("-+ 0#", s[i]) && i < 6)
		i++;
	for (; i < n && ((s[i] >= '0' && s[i] <= '9') || s[i] == '.'); i++)
		if (++digits > 4)
			return 0;
	return i < n && s[i] && strchr("sdixfeg", s[i]) ? i + 1 : 0;
}

struct qz_jv
qz_jinja_format(struct qz_jctx *c, const struct qz_jstr *str, const struct qz_jv *args, size_t n)
{
	const char *s = qz_jstr_flat(c, (struct qz_jstr *)(uintptr_t)str);
	struct qz_jbuild out = { 0 };
	size_t used = 0, len;
	char spec[24];

	for (size_t i = 0; i < str->n && qz_jspend(c, 1); i += len) {
		const char *p = memchr(s + i, '%', str->n - i);

		len = p ? (size_t)(p - s) - i : str->n - i;
		if (len) {
			qz_jbuild_part(c, &out, str, i, i + len);
		} else if (str->n - i > 1 && s[i + 1] == '%') {
			qz_jbuild_part(c, &out, str, i, i + 1);
			len = 2;
		} else {
			len = directive_len(s + i, str->n - i);
			if (!len || used == n)
				return qz_jfail(c, len ? "not enough values for a format"
						       : "a format that is not supported");
			memcpy(spec, s + i, len);
			spec[len] = 0;
			directive(c, &out, spec, args[used++]);
		}
	}
	if (used < n && !(n == 1 && (args[0].kind == QZ_J_DICT || args[0].kind == QZ_J_LIST ||
					args[0].kind == QZ_J_UNDEF)))
		return qz_jfail(c, "more values than a format takes");
	return qz_jbuild_done(c, &out);
}
