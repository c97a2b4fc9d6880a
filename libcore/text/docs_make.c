/* A record becomes a document: the formats as tables, which fields a record has, and its text. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/docs_formats.h"
#include "libcore/text/fields.h"

/* A format's text: pieces of the template and fields of the record; the answer follows the last.  Some
 * belong to it only where the optional field is there and not empty, some only where it is not. */
struct piece {
	const char *text, *field;
	bool when_there, when_not;
};

/* As Stanford Alpaca published it. */
static const struct piece alpaca[] = {
	{ "Below is an instruction that describes a task, paired with an input that provides "
	  "further context. "
	  "Write a response that appropriately completes the request.\n\n### Instruction:\n",
	    NULL, true, false },
	{ "Below is an instruction that describes a task. Write a response that appropriately "
	  "completes the "
	  "request.\n\n### Instruction:\n",
	    NULL, false, true },
	{ NULL, "instruction", false, false },
	{ "\n\n### Input:\n", NULL, true, false },
	{ NULL, "input", true, false },
	{ "\n\n### Response:\n", NULL, false, false },
	{ NULL, NULL, false, false },
};

static const struct piece dolly[] = {
	{ "[INST] Below is an instruction that describes a task, paired with further context. "
	  "Write a response "
	  "that completes the request.\n\n### Instruction:\n",
	    NULL, true, false },
	{ "[INST] Below is an instruction that describes a task. Write a response that completes "
	  "the request."
	  "\n\n### Instruction:\n",
	    NULL, false, true },
	{ NULL, "instruction", false, false },
	{ "\n\n### Context:\n", NULL, true, false },
	{ NULL, "context", true, false },
	{ "\n\n### Response: [/INST] ", NULL, false, false },
	{ NULL, NULL, false, false },
};

static int
add(struct qz_maker *d, const char *s, size_t n, bool from_data, bool trained, struct qz_err *e)
{
	struct qz_rendering *r = &d->r;
	struct qz_segment segment = {
		.at = r->text.n, .n = n, .from_data = from_data, .trained = trained, .message = -1
	};

	if (!n)
		return 0;
	if (qz_rendering_add(r, segment, e) < 0)
		return -1;
	qz_buf_add(&r->text, s, n);
	return qz_buf_ok(&r->text, e);
}

/* The answer's field: the one the user names, or the one of two that is there. */
static const char *
answer_field(
    const struct qz_maker *d, const struct qz_json *record, const char *usual, const char *other)
{
	if (d->o->response_field)
		return d->o->response_field;
	return qz_named(
	    d, !qz_record_get(d, record, usual) && qz_record_get(d, record, other) ? other : usual);
}

static int
instruction(struct qz_maker *d, const struct qz_json *record, const struct piece *p,
    const char *optional, const char *answer, struct qz_err *e)
{
	const struct qz_json *v = qz_record_get(d, record, optional);
	bool there = v && qz_json_kind(v) != QZ_JSON_NULL;
	const char *s = there ? qz_field_text(record, qz_named(d, optional), e) : "";

	if (!s)
		return -1;
	there = *s != 0;
	for (; p->text || p->field; p++) {
		if ((p->when_there && !there) || (p->when_not && there))
			continue;
		s = p->text ? p->text
			    : qz_field_text(record,
				  !p->when_there && d->o->prompt_field ? d->o->prompt_field
								       : qz_named(d, p->field),
				  e);
		if (!s || add(d, s, strlen(s), p->field != NULL, false, e) < 0)
			return -1;
	}
	s = qz_field_text(record, answer, e);
	return s ? add(d, s, strlen(s), true, true, e) : -1;
}

static int
prompt(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	const char *a = d->o->prompt_field, *b = d->o->response_field, *s;

	for (int i = 0; i < QZ_DOCS_ROWS && !(a && b); i++) {
		const struct qz_docs_row *row = &qz_docs_rows[i];

		if (row->format == QZ_DOCS_PROMPT &&
		    (a      ? !strcmp(a, qz_named(d, row->a))
			: b ? !strcmp(b, qz_named(d, row->b))
			    : qz_record_get(d, record, row->a) &&
				  qz_record_get(d, record, row->b))) {
			a = a ? a : qz_named(d, row->a);
			b = b ? b : qz_named(d, row->b);
		}
	}
	a = a ? a : qz_named(d, "prompt");
	b = b ? b : qz_named(d, "completion");
	s = qz_field_text(record, a, e);
	if (!s || add(d, s, strlen(s), true, false, e) < 0)
		return -1;
	s = qz_field_text(record, b, e);
	return s ? add(d, s, strlen(s), true, true, e) : -1;
}

static int
plain(struct qz_maker *d, const char *s, size_t n, struct qz_err *e)
{
	size_t bad = qz_utf8_valid(s, n);
	const char *nul = memchr(s, 0, n);

	if (bad < n)
		return qz_fail(e, QZ_EDATA, "byte %zu is not valid UTF-8", bad);
	if (nul)
		return qz_fail(e, QZ_EDATA, "byte %zu is NUL, expected text", (size_t)(nul - s));
	return add(d, s, n, false, true, e); /* as written: special tokens in raw text are meant */
}

static int
plain_field(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	const char *name = d->o->response_field ? d->o->response_field : d->o->prompt_field;
	const char *s = qz_field_text(record, name ? name : qz_named(d, "text"), e);

	return s ? plain(d, s, strlen(s), e) : -1;
}

static int
convert(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	switch (d->format) {
	case QZ_DOCS_CHAT:
		return qz_docs_chat(d, record, e);
	case QZ_DOCS_PROMPT:
		return prompt(d, record, e);
	case QZ_DOCS_ALPACA:
		return instruction(
		    d, record, alpaca, "input", answer_field(d, record, "output", "response"), e);
	case QZ_DOCS_DOLLY:
		return instruction(
		    d, record, dolly, "context", answer_field(d, record, "response", "output"), e);
	case QZ_DOCS_TEXT:
		return plain_field(d, record, e);
	default:
		return qz_docs_jinja(d, record, e);
	}
}

static int
convert_json(struct qz_maker *d, const char *s, size_t n, struct qz_err *e)
{
	struct qz_json *record = qz_record_parse(s, n, e);
	int ret = record ? convert(d, record, e) : -1;

	qz_json_free(record);
	return ret;
}

/* A chat has the BOS that its template writes; it lacks an end when nothing but blanks follows what was
 * said last, and that is to be learned. */
static void
finish(struct qz_maker *d, uint64_t line, bool repaired)
{
	struct qz_rendering *r = &d->r;
	bool chat_like = d->format == QZ_DOCS_CHAT || d->format == QZ_DOCS_JINJA;
	const char *bos = d->o->vars.bos_token ? d->o->vars.bos_token : "";
	size_t end = r->text.n, k = r->n_segments;

	while (end > 0 && strchr(" \n\r\t", r->text.data[end - 1]))
		end--;
	while (k > 1 && r->segments[k - 1].at >= end)
		k--;
	d->doc = (struct qz_doc){ .text = r->text,
		.segments = r->segments,
		.n_segments = r->n_segments,
		.line = line,
		.repaired = repaired,
		.plain = d->format == QZ_DOCS_TEXT,
		.needs_bos = d->format != QZ_DOCS_CHAT,
		.needs_eos = !chat_like || (k > 0 && r->segments[k - 1].from_data &&
					       r->segments[k - 1].trained) };
	if (d->format == QZ_DOCS_JINJA && *bos && r->text.n >= strlen(bos) &&
	    !memcmp(r->text.data, bos, strlen(bos)))
		d->doc.needs_bos = false;
	for (size_t i = 0; i < r->n_segments && d->o->train_all; i++)
		r->segments[i].trained = true;
}

struct qz_maker *
qz_maker_new(const struct qz_docs_options *o, struct qz_err *e)
{
	struct qz_maker *m = calloc(1, sizeof *m);

	if (m)
		m->o = o;
	else
		qz_nomem(e, sizeof *m);
	return m;
}

void
qz_maker_free(struct qz_maker *m)
{
	if (!m)
		return;
	qz_rendering_free(&m->r);
	qz_buf_free(&m->scratch);
	qz_buf_free(&m->repaired);
	free(m);
}

int
qz_maker_text(struct qz_maker *m, struct qz_record *r, bool *repaired, struct qz_err *e)
{
	*repaired = false;
	if (!m->o->repair)
		return 0;
	qz_buf_clear(&m->repaired);
	*repaired = qz_docs_repair(r->s, r->n, !r->plain, &m->repaired);
	if (*repaired) {
		r->s = m->repaired.data;
		r->n = m->repaired.n;
	}
	return qz_buf_ok(&m->repaired, e);
}

int
qz_maker_make(struct qz_maker *m, enum qz_docs_format format, const struct qz_record *record,
    const struct qz_doc **doc, struct qz_err *e)
{
	struct qz_record r = *record;
	bool repaired;

	m->format = format;
	qz_buf_clear(&m->r.text);
	m->r.n_segments = 0;
	if (qz_maker_text(m, &r, &repaired, e) < 0)
		return -1;
	if ((r.plain ? plain(m, r.s, r.n, e) : convert_json(m, r.s, r.n, e)) < 0)
		return qz_record_at(&r, e);
	finish(m, r.line, repaired);
	*doc = &m->doc;
	return 0;
}
