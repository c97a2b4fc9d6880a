/* The functions that every template sees. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libcore/text/jinja.h"

static struct qz_jv
range(struct qz_jctx *c, const struct qz_jcall *call)
{
	int64_t v[3] = { 0, 0, 1 };
	struct qz_jv q;
	int n = 0;

	for (; n < 3 && call->a[n].kind != QZ_J_MISSING; n++)
		if (!qz_jv_whole(call->a[n], &v[n]))
			return call->a[n].kind == QZ_J_UNDEF
				   ? qz_jfail_undefined(c, call->a[n])
				   : qz_jfail(c, "range of a %s", qz_jv_type(call->a[n]));
	if (n == 1) {
		v[1] = v[0];
		v[0] = 0;
	}
	if (v[2] == 0)
		return qz_jfail(c, "range with step 0");
	q = qz_jv_seq(c, QZ_J_RANGE, 0);
	if (c->failed)
		return q;
	q.u.q->start = v[0];
	q.u.q->stop = v[1];
	q.u.q->step = v[2];
	for (int64_t i = v[0]; v[2] > 0 ? i < v[1] : i > v[1];) {
		if (q.u.q->n == QZ_J_RANGE_MAX)
			return qz_jfail(c, "range of more than %d numbers", QZ_J_RANGE_MAX);
		if (!qz_jspend(c, q.u.q->n % 16 == 0))
			break;
		qz_jseq_add(c, q.u.q, qz_jv_int(i));
		if (__builtin_add_overflow(i, v[2], &i))
			break;
	}
	return q;
}

/* Pairs, a dict or keywords into d. */
static void
fill(struct qz_jctx *c, const struct qz_jcall *call, struct qz_jdict *d)
{
	const struct qz_jseq *q;

	if (call->n_pos > 1) {
		qz_jfail(c, "dict and namespace take at most one argument without a name");
		return;
	}
	if (call->n_pos && call->pos[0].kind == QZ_J_DICT) {
		const struct qz_jdict *from = call->pos[0].u.d;

		for (size_t i = 0; i < from->n; i++)
			qz_jdict_put(c, d, from->keys[i], from->values[i]);
	} else if (call->n_pos) {
		q = qz_jv_iterate(c, call->pos[0]);
		for (size_t i = 0; q && i < q->n && !c->failed; i++) {
			const struct qz_jseq *pair = qz_jv_iterate(c, q->v[i]);

			if (pair && pair->n == 2)
				qz_jdict_put(c, d, pair->v[0], pair->v[1]);
			else
				qz_jfail(c, "dict: element %zu is no pair", i);
		}
	}
	for (size_t i = 0; i < call->n_kw; i++)
		qz_jdict_put(
		    c, d, qz_jstr_new(c, call->kw[i].name, call->kw[i].name_n), call->kw_values[i]);
}

static struct qz_jv
dict(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv d = qz_jv_dict(c, 0);

	fill(c, call, d.u.d);
	return d;
}

static struct qz_jv namespace(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv d = dict(c, call);

	d.kind = QZ_J_SPACE;
	return d;
}

static struct qz_jv
raise_exception(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv s = qz_jv_str(c, call->a[0]);
	int n = s.u.s->n < 800 ? (int)s.u.s->n : 800;

	return qz_jfail(c, "%.*s", n, qz_jstr_flat(c, s.u.s));
}

/* One directive of strftime in the C locale; false: not known. */
static bool
date_part(char kind, bool bare, const struct tm *t, char out[64])
{
	static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday",
		"Friday", "Saturday" };
	static const char *const months[] = { "January", "February", "March", "April", "May",
		"June", "July", "August", "September", "October", "November", "December" };
	int hour12 = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
	const struct {
		char kind;
		int v, width;
	} numbers[] = { { 'd', t->tm_mday, 2 }, { 'm', t->tm_mon + 1, 2 },
		{ 'Y', t->tm_year + 1900, 4 }, { 'y', t->tm_year % 100, 2 }, { 'H', t->tm_hour, 2 },
		{ 'I', hour12, 2 }, { 'M', t->tm_min, 2 }, { 'S', t->tm_sec, 2 },
		{ 'j', t->tm_yday + 1, 3 }, { 'u', t->tm_wday ? t->tm_wday : 7, 1 },
		{ 'w', t->tm_wday, 1 }, { 'f', 0, 6 } };

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (numbers[i].kind == kind) {
			snprintf(out, 64, "%0*d", bare ? 1 : numbers[i].width, numbers[i].v);
			return true;
		}
	switch (kind) {
	case 'A':
		return snprintf(out, 64, "%s", days[t->tm_wday]) > 0;
	case 'a':
		return snprintf(out, 64, "%.3s", days[t->tm_wday]) > 0;
	case 'B':
		return snprintf(out, 64, "%s", months[t->tm_mon]) > 0;
	case 'b':
	case 'h':
		return snprintf(out, 64, "%.3s", months[t->tm_mon]) > 0;
	case 'p':
		return snprintf(out, 64, "%s", t->tm_hour < 12 ? "AM" : "PM") > 0;
	case 'e':
		return snprintf(out, 64, "%*d", bare ? 1 : 2, t->tm_mday) > 0;
	case 'F':
		return snprintf(out, 64, "%04d-%02d-%02d", t->tm_year + 1900, t->tm_mon + 1,
			   t->tm_mday) > 0;
	case 'T':
		return snprintf(out, 64, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec) > 0;
	case 'Z':
	case 'z':
		out[0] = 0; /* a time without a zone, as Python's datetime.now() */
		return true;
	case '%':
		return snprintf(out, 64, "%%") > 0;
	default:
		return false;
	}
}

static struct qz_jv
strftime_now(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv fmt = qz_jv_str(c, call->a[0]);
	const char *s = qz_jstr_flat(c, fmt.u.s);
	struct qz_buf out = { 0 };
	time_t now = (time_t)c->now;
	struct tm t;
	char part[64];
	struct qz_jv v;

	if (!gmtime_r(&now, &t))
		return qz_jfail(c, "strftime_now: the time is out of range");
	for (size_t i = 0; i < fmt.u.s->n && !c->failed; i++) {
		bool bare = false;

		if (s[i] != '%' || i + 1 == fmt.u.s->n) {
			qz_buf_chr(&out, s[i]);
			continue;
		}
		i++;
		if (s[i] == '-' && i + 1 < fmt.u.s->n) {
			bare = true;
			i++;
		}
		if (date_part(s[i], bare, &t, part))
			qz_buf_str(&out, part);
		else
			qz_jfail(c, "strftime_now: %%%c is not supported", s[i]);
	}
	v = out.failed ? qz_jfail(c, "out of memory")
		       : qz_jv_copy(c, out.data ? out.data : "", out.n, qz_jv_none());
	qz_buf_free(&out);
	return v;
}

const struct qz_jbuiltin qz_jfunctions[] = {
	{ "range", 1, "start stop step", range, 0 },
	{ "dict", 0, "*", dict, 0 },
	{ "namespace", 0, "*", namespace, 0 },
	{ "raise_exception", 1, "message", raise_exception, 0 },
	{ "strftime_now", 1, "format", strftime_now, 0 },
	{ 0 },
};
