#include "libcore/text/normalize.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/normalize_impl.h"

enum { STEPS_MAX = 64 };

/* A step writes its text to out and returns 1, or changes t at most and returns 0. */
static int
prepend(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e)
{
	(void)e;
	if (!r->t.n || !p->n)
		return 0;
	qz_textbuf_put(r->out, p->text, p->n, qz_text_mark(&r->t, 0));
	qz_textbuf_copy(r->out, &r->t, 0, r->t.n);
	return 1;
}

static int
replace(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e)
{
	struct qz_pattern_scan scan = { 0, SIZE_MAX };
	size_t from = 0, at, end;
	int found;

	while (
	    (found = qz_pattern_next(&p->pattern, r->m, r->t.s, r->t.n, &scan, &at, &end, e)) > 0) {
		qz_textbuf_copy(r->out, &r->t, from, at - from);
		qz_textbuf_put(r->out, p->text, p->n, qz_text_start(&r->t, end));
		from = end;
	}
	if (found < 0 || (!from && !r->out->s.n))
		return found;
	qz_textbuf_copy(r->out, &r->t, from, r->t.n - from);
	return 1;
}

static uint64_t
load8(const char *s)
{
	uint64_t v;

	memcpy(&v, s, 8);
	return v;
}

/* Part by part: a character that may start one, with those that cannot.  A part of one plain
 * character stays as it is. */
static int
form(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e)
{
	unsigned plain = (unsigned)QZ_U_PLAIN << p->form, starts = (unsigned)QZ_U_STARTS << p->form;
	const char *s = r->t.s;
	size_t done = 0, i = 0, end, n = r->t.n;
	unsigned len, next;

	for (; i < n; i = end) {
		/* ASCII is its own form; the last of a run may be the start of a part. */
		while (n - i > 8 && !(load8(s + i) & 0x8080808080808080u))
			i += 7;
		bool keep = qz_uclass_at(r->u, s + i, &len) & plain;

		for (end = i + len; end < n && !(qz_uclass_at(r->u, s + end, &next) & starts);
		     end += next)
			keep = false;
		if (keep)
			continue;
		qz_buf_clear(&r->part);
		if (qz_unicode_normalize(p->form, s + i, end - i, &r->part, e) < 0)
			return -1;
		if (r->part.n == end - i && !memcmp(r->part.data, s + i, end - i))
			continue;
		qz_textbuf_copy(r->out, &r->t, done, i - done);
		qz_textbuf_put(r->out, r->part.data, r->part.n, qz_text_end(&r->t, end - 1));
		done = end;
	}
	if (!done)
		return 0;
	qz_textbuf_copy(r->out, &r->t, done, n - done);
	return 1;
}

static int
lowercase(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e)
{
	uint32_t c[2];
	char utf8[4];
	int len;

	(void)p;
	(void)e;
	for (size_t i = 0; i < r->t.n; i += (size_t)len) {
		int k = qz_unicode_lower((uint32_t)qz_utf8_get(r->t.s + i, r->t.n - i, &len), c);
		uint32_t end = qz_text_end(&r->t, i + (size_t)len - 1);

		for (int j = 0; j < k; j++)
			qz_textbuf_put(r->out, utf8, (size_t)qz_utf8_put(c[j], utf8), end);
	}
	return 1;
}

static int
strip(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e)
{
	size_t at = 0, n = r->t.n;
	unsigned len;

	(void)e;
	while (p->left && at < n && qz_uclass_at(r->u, r->t.s + at, &len) & QZ_U_SPACE)
		at += len;
	while (p->right && n > at) {
		size_t last = qz_uclass_last(r->t.s, n);

		if (!(qz_uclass_at(r->u, r->t.s + last, &len) & QZ_U_SPACE))
			break;
		n = last;
	}
	r->t = qz_text_part(&r->t, at, n - at);
	return 0;
}

static const struct type {
	const char *name;
	enum qz_step_kind kind;
	enum qz_form form;
	int (*run)(const struct qz_norm_step *p, struct qz_norm_run *r, struct qz_err *e);
	const char *text; /* the member with the text */
} types[] = {
	{ "Prepend", QZ_STEP_PREPEND, 0, prepend, "prepend" },
	{ "Replace", QZ_STEP_REPLACE, 0, replace, "content" },
	{ "NFC", QZ_STEP_FORM, QZ_NFC, form, NULL },
	{ "NFD", QZ_STEP_FORM, QZ_NFD, form, NULL },
	{ "NFKC", QZ_STEP_FORM, QZ_NFKC, form, NULL },
	{ "NFKD", QZ_STEP_FORM, QZ_NFKD, form, NULL },
	{ "Lowercase", QZ_STEP_LOWERCASE, 0, lowercase, NULL },
	{ "Strip", QZ_STEP_STRIP, 0, strip, NULL },
	{ "Precompiled", QZ_STEP_PRECOMPILED, 0, qz_norm_precompiled, "precompiled_charsmap" },
	{ NULL, QZ_STEP_SPM, 0, qz_norm_spm, NULL },
};

static const struct type *
type_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].name && !strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

static int (*step_run(const struct qz_norm_step *p))(
    const struct qz_norm_step *, struct qz_norm_run *, struct qz_err *)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (types[i].kind == p->kind)
			return types[i].run;
	return NULL;
}

static int
load_step(struct qz_norm_step *p, const struct type *t, const struct qz_json *j, struct qz_err *e)
{
	p->kind = t->kind;
	p->form = t->form;
	p->left = qz_json_bool(qz_json_get(j, "strip_left"), true);
	p->right = qz_json_bool(qz_json_get(j, "strip_right"), true);
	if (t->kind == QZ_STEP_REPLACE &&
	    qz_pattern_load(&p->pattern, qz_json_get(j, "pattern"), e) < 0)
		return -1;
	if (t->text) {
		const char *text = qz_json_string(qz_json_get(j, t->text), NULL);

		if (!text)
			return qz_fail(e, QZ_EDATA, "no string \"%s\"", t->text);
		p->n = strlen(text);
		p->text = malloc(p->n + 1);
		if (!p->text)
			return qz_nomem(e, p->n + 1);
		memcpy(p->text, text, p->n + 1);
	}
	if (t->kind == QZ_STEP_PRECOMPILED && p->n)
		return qz_charsmap_load64(&p->map, p->text, e);
	return 0;
}

static int
load(struct qz_normalizer *n, const struct qz_json *j, struct qz_err *e)
{
	const char *name = qz_json_string(qz_json_get(j, "type"), "(none)");
	const struct type *t = type_by_name(name);

	if (!strcmp(name, "Sequence")) {
		const struct qz_json *c = qz_json_get(j, "normalizers");

		if (!qz_json_is(c, QZ_JSON_ARRAY))
			return qz_fail(e, QZ_EDATA, "a Sequence without the array \"normalizers\"");
		for (c = qz_json_first(c); c; c = qz_json_next(c))
			if (load(n, c, e) < 0)
				return -1;
		return 0;
	}
	if (!t)
		return qz_fail(e, QZ_EDATA, "the type %.60s is not supported", name);
	if (n->n == STEPS_MAX)
		return qz_fail(e, QZ_EDATA, "more than %d steps", STEPS_MAX);
	if (t->kind == QZ_STEP_FORM)
		n->forms |= 1u << t->form;
	return load_step(&n->steps[n->n++], t, j, e) < 0 ? qz_at(e, "%s", name) : 0;
}

int
qz_normalizer_load(struct qz_normalizer *n, const struct qz_json *j, struct qz_err *e)
{
	if (qz_json_kind(j) == QZ_JSON_NULL)
		return 0;
	n->steps = calloc(STEPS_MAX, sizeof *n->steps);
	if (!n->steps)
		return qz_nomem(e, STEPS_MAX * sizeof *n->steps);
	return load(n, j, e) < 0 ? qz_at(e, "normalizer") : 0;
}

int
qz_normalizer_spm(struct qz_normalizer *n, const struct qz_spm *spm, struct qz_err *e)
{
	struct qz_norm_step *p;

	n->steps = calloc(1, sizeof *n->steps);
	if (!n->steps)
		return qz_nomem(e, sizeof *n->steps);
	n->n = 1;
	p = &n->steps[0];
	p->kind = QZ_STEP_SPM;
	p->dummy_prefix = spm->dummy_prefix;
	p->trims = spm->trims;
	p->escapes = spm->escapes;
	if (spm->n_charsmap && qz_charsmap_load(&p->map, spm->charsmap, spm->n_charsmap, e) < 0)
		return -1;
	for (size_t i = 0; i < spm->n; i++)
		if (spm->pieces[i].type == QZ_SPM_USER &&
		    qz_trie_put(&p->user, spm->pieces[i].text, spm->pieces[i].n, 1, e) < 0)
			return -1;
	return 0;
}

void
qz_normalizer_clear(struct qz_normalizer *n)
{
	for (size_t i = 0; i < n->n; i++) {
		qz_pattern_clear(&n->steps[i].pattern);
		qz_charsmap_clear(&n->steps[i].map);
		qz_trie_clear(&n->steps[i].user);
		free(n->steps[i].text);
	}
	free(n->steps);
	memset(n, 0, sizeof *n);
}

int
qz_normalizer_run(const struct qz_normalizer *n, const struct qz_uclass *u,
    struct qz_regex_match *m, struct qz_text *t, struct qz_textbuf *a, struct qz_textbuf *b,
    struct qz_err *e)
{
	struct qz_norm_run r = { .u = u, .m = m, .t = *t, .out = a };
	int ret = 0;

	for (size_t i = 0; i < n->n && ret >= 0; i++) {
		qz_textbuf_clear(r.out);
		ret = step_run(&n->steps[i])(&n->steps[i], &r, e);
		if (ret > 0) {
			ret = qz_textbuf_text(r.out, &r.t, e);
			r.out = r.out == a ? b : a;
		}
	}
	qz_buf_free(&r.part);
	*t = r.t;
	return ret;
}
