/* a.b, a[b] and a[b:c], as the sandbox has them. */
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/jinja.h"

static struct qz_jv
undef(void)
{
	return (struct qz_jv){ .message = -1 };
}

static struct qz_jv
index_seq(struct qz_jctx *c, struct qz_jv a, struct qz_jv key)
{
	size_t n = qz_jv_length(c, a);
	int64_t i;
	struct qz_jv at;

	if (!qz_jv_whole(key, &i))
		return undef();
	if (i < 0)
		i += (int64_t)n;
	if (i < 0 || (uint64_t)i >= n)
		return undef();
	if (a.kind != QZ_J_STR)
		return a.u.q->v[i];
	at = qz_jv_int(i);
	return qz_jinja_slice(c, a, at, qz_jv_int(i + 1), qz_jv_none());
}

static const char *
object_name(struct qz_jctx *c, struct qz_jv v)
{
	char *s = qz_jalloc(c, 40);

	if (!s)
		return "object";
	if (v.kind == QZ_J_NONE)
		return "None";
	strcpy(s, "a ");
	return strcat(s, qz_jv_type(v));
}

static struct qz_jv
not_there(struct qz_jctx *c, struct qz_jv a, const char *s, size_t n)
{
	return qz_jv_undef(c, object_name(c, a), s, n);
}

static struct qz_jv
loop_attr(struct qz_jctx *c, const struct qz_jloop *l, const char *s, size_t n)
{
	int64_t at = (int64_t)l->i, len = (int64_t)l->seq->n;
	const struct {
		const char *name;
		int64_t v;
	} numbers[] = { { "index", at + 1 }, { "index0", at }, { "length", len },
		{ "revindex", len - at }, { "revindex0", len - at - 1 }, { "depth", l->depth + 1 },
		{ "depth0", l->depth } };
	bool first = at == 0, last = at == len - 1;

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (strlen(numbers[i].name) == n && !memcmp(numbers[i].name, s, n))
			return qz_jv_int(numbers[i].v);
	if (n == 5 && !memcmp(s, "first", 5))
		return qz_jv_bool(first);
	if (n == 4 && !memcmp(s, "last", 4))
		return qz_jv_bool(last);
	if (n == 8 && !memcmp(s, "previtem", 8))
		return first ? qz_jv_undef(c, "the first item's loop", s, n) : l->seq->v[at - 1];
	if (n == 8 && !memcmp(s, "nextitem", 8))
		return last ? qz_jv_undef(c, "the last item's loop", s, n) : l->seq->v[at + 1];
	return qz_jv_undef(c, "loop", s, n);
}

/* A method, or what the sandbox shows in place of one; MISSING: a has no such attribute. */
static struct qz_jv
method(struct qz_jctx *c, struct qz_jv a, const char *s, size_t n)
{
	struct qz_jv v = { .kind = QZ_J_MISSING, .message = -1 };
	const struct qz_jbuiltin *b;
	bool unsafe = false;

	b = qz_jmethod_find(a, s, n, &unsafe);
	if (n > 4 && !memcmp(s, "__", 2) && !memcmp(s + n - 2, "__", 2))
		unsafe = true;
	if (unsafe) {
		v = qz_jv_undef(c, NULL, s, n);
		if (v.u.u)
			v.u.u->what = "access to an unsafe attribute";
		return v;
	}
	if (!b)
		return v;
	v.kind = QZ_J_FUNC;
	v.u.fn = qz_jalloc(c, sizeof *v.u.fn);
	if (v.u.fn)
		*v.u.fn = (struct qz_jbound){ .builtin = b, .self = a };
	return v.u.fn ? v : undef();
}

struct qz_jv
qz_jinja_attr(struct qz_jctx *c, struct qz_jv a, const char *s, size_t n)
{
	const struct qz_jv *have;
	struct qz_jv v;

	if (c->failed)
		return undef();
	if (a.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, a);
	v = method(c, a, s, n);
	if (v.kind != QZ_J_MISSING)
		return v;
	if (a.kind == QZ_J_LOOP)
		return loop_attr(c, a.u.loop, s, n);
	have = a.kind == QZ_J_DICT || a.kind == QZ_J_SPACE ? qz_jdict_name(c, a.u.d, s, n) : NULL;
	return have ? *have : not_there(c, a, s, n);
}

struct qz_jv
qz_jinja_item(struct qz_jctx *c, struct qz_jv a, struct qz_jv key)
{
	const struct qz_jv *have = NULL;
	struct qz_jv v = undef(), text;

	if (c->failed)
		return undef();
	if (a.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, a);
	if (a.kind == QZ_J_DICT || a.kind == QZ_J_SPACE)
		have = qz_jdict_get(c, a.u.d, key);
	else if (a.kind == QZ_J_STR || a.kind == QZ_J_LIST || a.kind == QZ_J_TUPLE ||
		 a.kind == QZ_J_RANGE)
		v = index_seq(c, a, key);
	if (have)
		return *have;
	if (v.kind != QZ_J_UNDEF || v.u.u || c->failed)
		return v;
	if (key.kind == QZ_J_STR) {
		const char *s = qz_jstr_flat(c, key.u.s);

		v = method(c, a, s, key.u.s->n);
		if (v.kind == QZ_J_MISSING && a.kind == QZ_J_LOOP)
			return loop_attr(c, a.u.loop, s, key.u.s->n);
		return v.kind != QZ_J_MISSING ? v : not_there(c, a, s, key.u.s->n);
	}
	text = key.kind == QZ_J_INT ? qz_jv_str(c, key) : qz_jstr_new(c, "that", 4);
	return not_there(c, a, qz_jstr_flat(c, text.u.s), text.u.s->n);
}

/* The bounds of v[from:to:step] as Python counts them, for a sequence of n. */
static bool
bounds(struct qz_jctx *c, const struct qz_jv in[3], int64_t n, int64_t out[3])
{
	bool given[3];

	out[2] = 1;
	for (int i = 0; i < 3; i++) {
		given[i] = in[i].kind != QZ_J_NONE && in[i].kind != QZ_J_MISSING;
		if (given[i] && in[i].kind == QZ_J_UNDEF)
			qz_jfail_undefined(c, in[i]);
		else if (given[i] && !qz_jv_whole(in[i], &out[i]))
			qz_jfail(c, "a %s as a bound of a slice", qz_jv_type(in[i]));
	}
	if (!c->failed && out[2] == 0)
		qz_jfail(c, "a slice with step 0");
	if (c->failed)
		return false;
	if (out[2] < -n - 1)
		out[2] = -n - 1; /* one step leaves the sequence */
	if (out[2] > n + 1)
		out[2] = n + 1;
	for (int i = 0; i < 2; i++) {
		int64_t lo = out[2] < 0 ? -1 : 0, hi = out[2] < 0 ? n - 1 : n;

		if (!given[i]) {
			out[i] = (i == 0) == (out[2] > 0) ? lo : hi;
			continue;
		}
		if (out[i] < 0)
			out[i] = out[i] < -n ? lo : out[i] + n;
		out[i] = out[i] < lo ? lo : out[i] > hi ? hi : out[i];
	}
	return true;
}

/* The byte where character i begins. */
static size_t
byte_of(const char *s, size_t n, int64_t i)
{
	size_t at = 0;

	for (; at < n; at++)
		if ((s[at] & 0xc0) != 0x80 && i-- == 0)
			break;
	return at;
}

static struct qz_jv
slice_text(struct qz_jctx *c, struct qz_jstr *str, const int64_t b[3], size_t chars)
{
	const char *s = qz_jstr_flat(c, str);
	struct qz_jbuild out = { 0 };
	bool ascii = chars == str->n;

	qz_jspend(c, ascii ? 0 : str->n / 1024);
	if (b[2] == 1) {
		size_t from = ascii ? (size_t)b[0] : byte_of(s, str->n, b[0]);
		size_t to = b[1] <= b[0] ? from : ascii ? (size_t)b[1] : byte_of(s, str->n, b[1]);

		return qz_jstr_part(c, str, from, to);
	}
	for (int64_t i = b[0];
	     (b[2] > 0 ? i < b[1] : i > b[1]) && qz_jspend(c, ascii ? 1 : 1 + str->n / 256);
	     i += b[2]) {
		size_t from = ascii ? (size_t)i : byte_of(s, str->n, i);
		int len = 1;

		qz_utf8_get(s + from, str->n - from, &len);
		qz_jbuild_part(c, &out, str, from, from + (size_t)len);
	}
	return qz_jbuild_done(c, &out);
}

struct qz_jv
qz_jinja_slice(
    struct qz_jctx *c, struct qz_jv v, struct qz_jv from, struct qz_jv to, struct qz_jv step)
{
	const struct qz_jv in[3] = { from, to, step };
	struct qz_jv q;
	int64_t b[3] = { 0, 0, 1 };
	size_t n;

	if (c->failed)
		return undef();
	if (v.kind == QZ_J_UNDEF)
		return qz_jfail_undefined(c, v);
	if (v.kind != QZ_J_STR && v.kind != QZ_J_LIST && v.kind != QZ_J_TUPLE &&
	    v.kind != QZ_J_RANGE)
		return qz_jfail(c, "a slice of a %s", qz_jv_type(v));
	n = qz_jv_length(c, v);
	if (!bounds(c, in, (int64_t)n, b))
		return undef();
	if (v.kind == QZ_J_STR)
		return slice_text(c, v.u.s, b, n);
	q = qz_jv_seq(c, v.kind == QZ_J_TUPLE ? QZ_J_TUPLE : QZ_J_LIST, 0);
	q.from = v.from;
	q.message = v.message;
	for (int64_t i = b[0]; b[2] > 0 ? i < b[1] : i > b[1]; i += b[2]) {
		if (!qz_jspend(c, i % 16 == 0))
			break;
		qz_jseq_add(c, q.u.q, v.u.q->v[i]);
	}
	return q;
}
