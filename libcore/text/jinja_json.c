/* JSON into values, and values into JSON as Python's json.dumps writes it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

/* Strings stay where they are: the document outlives the rendering. */
static struct qz_jv
data_string(struct qz_jctx *c, const char *s, int32_t message)
{
	struct qz_jbuild b = { 0 };
	struct qz_jv v;

	qz_jbuild_run(c, &b,
	    (struct qz_jrun){
		.s = s, .n = strlen(s), .message = message, .turn = -1, .from = QZ_J_DATA });
	v = qz_jbuild_done(c, &b);
	v.from = QZ_J_DATA;
	v.message = message;
	return v;
}

/* As Python reads it: with a point or an exponent it is a float. */
static struct qz_jv
json_number(const struct qz_json *j)
{
	double f = qz_json_number(j, 0);
	bool whole = !qz_json_is_real(j) && f == floor(f) && fabs(f) < 0x1p53;

	return whole ? qz_jv_int((int64_t)f) : qz_jv_float(f);
}

/* The reader has bounded the depth. */
struct qz_jv
qz_jv_json(struct qz_jctx *c, const struct qz_json *j, int32_t message)
{
	struct qz_jv v = qz_jv_none();

	switch (qz_json_kind(j)) {
	case QZ_JSON_NULL:
		break;
	case QZ_JSON_BOOL:
		v = qz_jv_bool(qz_json_bool(j, false));
		break;
	case QZ_JSON_NUMBER:
		v = json_number(j);
		break;
	case QZ_JSON_STRING:
		return data_string(c, qz_json_string(j, ""), message);
	case QZ_JSON_ARRAY:
		v = qz_jv_seq(c, QZ_J_LIST, qz_json_count(j));
		for (const struct qz_json *k = qz_json_first(j); k && !c->failed;
		     k = qz_json_next(k))
			qz_jseq_add(c, v.u.q, qz_jv_json(c, k, message));
		break;
	case QZ_JSON_OBJECT:
		v = qz_jv_dict(c, qz_json_count(j));
		for (const struct qz_json *k = qz_json_first(j); k && !c->failed;
		     k = qz_json_next(k)) {
			struct qz_jdict
			    *d = v.u.d; /* the reader refuses a key that is there twice */

			d->keys[d->n] = data_string(c, qz_json_key(k), message);
			d->values[d->n] = qz_jv_json(c, k, message);
			d->n += !c->failed;
		}
		break;
	}
	v.from = QZ_J_DATA;
	v.message = message;
	return v;
}

struct dump {
	struct qz_jctx *c;
	struct qz_jbuild *b;
	const char *indent; /* of one level, or NULL: all in one line */
	size_t indent_n;
	struct qz_jstr *comma, *colon;
	bool ascii, sorted;
	int level;
};

static void dump(struct dump *d, struct qz_jv v);

static void
quote(struct dump *d, struct qz_jstr *str, struct qz_jv like)
{
	static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	const char *s = qz_jstr_flat(d->c, str), *p;
	struct qz_buf out = { 0 };
	int len;

	if (str->n_runs)
		like = (struct qz_jv){ .from = str->runs[0].from, .message = str->runs[0].message };
	qz_buf_chr(&out, '"');
	for (size_t i = 0; i < str->n; i += (size_t)len) {
		uint32_t ch = (uint32_t)qz_utf8_get(s + i, str->n - i, &len);

		for (p = named; *p && *p != s[i];)
			p += 2;
		if (*p)
			qz_buf_fmt(&out, "\\%c", p[1]);
		else if (ch >= 0x10000 && d->ascii)
			qz_buf_fmt(
			    &out, "\\u%04x\\u%04x", 0xd7c0 + (ch >> 10), 0xdc00 + (ch & 0x3ff));
		else if (ch < 0x20 || (ch > 0x7e && d->ascii))
			qz_buf_fmt(&out, "\\u%04x", ch);
		else
			qz_buf_add(&out, s + i, (size_t)len);
	}
	qz_buf_chr(&out, '"');
	if (out.failed)
		qz_jfail(d->c, "out of memory");
	else
		qz_jbuild_copy(d->c, d->b, out.data, out.n, like);
	qz_buf_free(&out);
}

/* A piece of notation, with the origin of the value it belongs to. */
static void
mark(struct dump *d, const char *s, size_t n, struct qz_jv like)
{
	qz_jbuild_run(d->c, d->b,
	    (struct qz_jrun){
		.s = s, .n = n, .message = like.message, .turn = d->c->turn, .from = like.from });
}

static void
newline(struct dump *d, struct qz_jv like)
{
	if (!d->indent)
		return;
	mark(d, "\n", 1, like);
	for (int i = 0; i < d->level; i++)
		mark(d, d->indent, d->indent_n, like);
}

/* Between two members: the separator (which has no blank at a line's end), then the line. */
static void
comma(struct dump *d, struct qz_jv like, bool first)
{
	if (!first)
		mark(d, qz_jstr_flat(d->c, d->comma), d->comma->n, like);
	newline(d, like);
}

static void
key(struct dump *d, struct qz_jv k, struct qz_jv like)
{
	struct qz_jv text = k;

	if (k.kind == QZ_J_BOOL)
		text = qz_jstr_new(d->c, k.u.b ? "true" : "false", k.u.b ? 4 : 5);
	else if (k.kind == QZ_J_NONE)
		text = qz_jstr_new(d->c, "null", 4);
	else if (k.kind == QZ_J_INT || k.kind == QZ_J_FLOAT)
		text = qz_jv_str(d->c, k);
	else if (k.kind != QZ_J_STR)
		text = qz_jfail(d->c, "tojson: a key that is a %s", qz_jv_type(k));
	if (!d->c->failed)
		quote(d, text.u.s, like);
	mark(d, qz_jstr_flat(d->c, d->colon), d->colon->n, like);
}

static void
dump_dict(struct dump *d, struct qz_jv v)
{
	const struct qz_jdict *o = v.u.d;
	size_t *order = qz_jalloc(d->c, (o->n + 1) * sizeof *order);

	for (size_t i = 0; order && i < o->n; i++) { /* insertion sort: objects are small */
		size_t k = i;

		for (; d->sorted && k > 0 && qz_jspend(d->c, 1); k--) {
			if (qz_jv_order(d->c, o->keys[order[k - 1]], o->keys[i], "<") <= 0)
				break;
			order[k] = order[k - 1];
		}
		order[k] = i;
	}
	mark(d, "{", 1, v);
	d->level++;
	for (size_t i = 0; i < o->n && !d->c->failed; i++) {
		comma(d, v, i == 0);
		key(d, o->keys[order[i]], v);
		dump(d, o->values[order[i]]);
	}
	d->level--;
	if (o->n)
		newline(d, v);
	mark(d, "}", 1, v);
}

static void
dump_list(struct dump *d, struct qz_jv v)
{
	mark(d, "[", 1, v);
	d->level++;
	for (size_t i = 0; i < v.u.q->n && !d->c->failed; i++) {
		comma(d, v, i == 0);
		dump(d, v.u.q->v[i]);
	}
	d->level--;
	if (v.u.q->n)
		newline(d, v);
	mark(d, "]", 1, v);
}

static void
dump_scalar(struct dump *d, struct qz_jv v)
{
	char text[QZ_J_FLOAT_TEXT];
	size_t n;

	if (v.kind == QZ_J_NONE) {
		mark(d, "null", 4, v);
	} else if (v.kind == QZ_J_BOOL) {
		mark(d, v.u.b ? "true" : "false", v.u.b ? 4 : 5, v);
	} else if (v.kind == QZ_J_FLOAT && !isfinite(v.u.f)) {
		const char *s = isnan(v.u.f) ? "NaN" : v.u.f < 0 ? "-Infinity" : "Infinity";

		mark(d, s, strlen(s), v);
	} else {
		n = v.kind == QZ_J_FLOAT
			? qz_jfloat_text(v.u.f, text)
			: (size_t)snprintf(text, sizeof text, "%lld", (long long)v.u.i);
		qz_jbuild_copy(d->c, d->b, text, n, v);
	}
}

static void
dump(struct dump *d, struct qz_jv v)
{
	if (d->c->depth >= QZ_J_EVAL_MAX) {
		qz_jfail(d->c, "values are nested too deep");
		return;
	}
	if (!qz_jspend(d->c, 1))
		return;
	d->c->depth++;
	switch (v.kind) {
	case QZ_J_NONE:
	case QZ_J_BOOL:
	case QZ_J_INT:
	case QZ_J_FLOAT:
		dump_scalar(d, v);
		break;
	case QZ_J_STR:
		quote(d, v.u.s, v);
		break;
	case QZ_J_LIST:
	case QZ_J_TUPLE:
		dump_list(d, v);
		break;
	case QZ_J_DICT:
		dump_dict(d, v);
		break;
	default:
		qz_jfail(d->c, "tojson: a value of type %s is not JSON", qz_jv_type(v));
	}
	d->c->depth--;
}

/* indent=: a number of spaces or a text. */
static bool
indentation(struct dump *d, struct qz_jv v)
{
	int64_t n;
	char *s;

	if (v.kind == QZ_J_MISSING || v.kind == QZ_J_NONE)
		return true;
	if (v.kind == QZ_J_STR) {
		d->indent = qz_jstr_flat(d->c, v.u.s);
		d->indent_n = v.u.s->n;
	} else if (qz_jv_whole(v, &n) && n <= 1000) {
		n = n < 0 ? 0 : n;
		s = qz_jalloc(d->c, (size_t)n + 1);
		if (s)
			memset(s, ' ', (size_t)n);
		d->indent = s;
		d->indent_n = (size_t)n;
	} else {
		qz_jfail(d->c, "tojson: indent is a %s, expected a number up to 1000 or a text",
		    qz_jv_type(v));
	}
	return !d->c->failed;
}

struct qz_jv
qz_jv_dumps(struct qz_jctx *c, const struct qz_jcall *call)
{
	struct qz_jv separators = call->a[2];
	struct qz_jbuild b = { 0 };
	struct dump d = { .c = c, .b = &b };

	d.ascii = call->a[0].kind != QZ_J_MISSING && qz_jv_true(call->a[0]);
	d.sorted = call->a[3].kind != QZ_J_MISSING && qz_jv_true(call->a[3]);
	if (!indentation(&d, call->a[1]))
		return qz_jv_none();
	d.comma = qz_jstr_new(c, ", ", d.indent ? 1 : 2).u.s;
	d.colon = qz_jstr_new(c, ": ", 2).u.s;
	if (separators.kind != QZ_J_MISSING && separators.kind != QZ_J_NONE) {
		if (!qz_jv_is_seq(separators) || separators.u.q->n != 2 ||
		    separators.u.q->v[0].kind != QZ_J_STR || separators.u.q->v[1].kind != QZ_J_STR)
			return qz_jfail(c, "tojson: separators are not a pair of texts");
		d.comma = separators.u.q->v[0].u.s;
		d.colon = separators.u.q->v[1].u.s;
	}
	if (!c->failed)
		dump(&d, call->self);
	return qz_jbuild_done(c, &b);
}
