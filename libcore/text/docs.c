/* Records of an input, and which format they have. */
#include "libcore/text/docs_formats.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/text/fields.h"
#include "libcore/text/records.h"

struct qz_docs {
	struct qz_docs_options o;
	struct qz_records in;
	enum qz_docs_format found;
	bool opened;
	uint64_t skipped;
	struct qz_maker *maker; /* of the reader itself */
};

static const char *const format_names[] = { "auto", "chat", "prompt", "alpaca", "dolly", "text",
	"jinja" };
enum { N_FORMATS = sizeof format_names / sizeof *format_names };

int
qz_docs_format_by_name(const char *name)
{
	for (int i = 0; i < N_FORMATS; i++)
		if (!strcmp(name, format_names[i]))
			return i;
	return -1;
}

const char *
qz_docs_format_name(enum qz_docs_format f)
{
	return (unsigned)f < N_FORMATS ? format_names[f] : "unknown";
}

const struct qz_docs_row qz_docs_rows[QZ_DOCS_ROWS] = {
	{ QZ_DOCS_CHAT, "messages", NULL },
	{ QZ_DOCS_CHAT, "conversations", NULL },
	{ QZ_DOCS_ALPACA, "instruction", "output" },
	{ QZ_DOCS_DOLLY, "instruction", "response" },
	{ QZ_DOCS_PROMPT, "prompt", "completion" },
	{ QZ_DOCS_PROMPT, "prompt", "response" },
	{ QZ_DOCS_PROMPT, "question", "answer" },
	{ QZ_DOCS_PROMPT, "input", "output" },
	{ QZ_DOCS_TEXT, "text", NULL },
};

int
qz_record_at(const struct qz_record *r, struct qz_err *e)
{
	if (r->element)
		return qz_at(e, "line %llu, element %llu", (unsigned long long)r->line,
		    (unsigned long long)r->element);
	return qz_at(e, "line %llu", (unsigned long long)r->line);
}

struct qz_json *
qz_record_parse(const char *s, size_t n, struct qz_err *e)
{
	struct qz_json *record = n == 1 && *s == '{' ? NULL : qz_json_parse(s, n, e);

	if (n == 1 && *s == '{')
		qz_fail(
		    e, QZ_EDATA, "an object that goes on in further lines, expected one a line");
	if (!record || qz_json_is(record, QZ_JSON_OBJECT))
		return record;
	qz_fail(e, QZ_EDATA, "the record is %s, expected an object",
	    qz_json_kind_name(qz_json_kind(record)));
	qz_json_free(record);
	return NULL;
}

static int
detect(struct qz_docs *d, const struct qz_json *record, struct qz_err *e)
{
	const struct qz_renames *f = &d->o.fields;
	char fields[400];

	for (int i = 0; i < QZ_DOCS_ROWS; i++)
		if (qz_json_get(record, qz_field_theirs(f, qz_docs_rows[i].a)) &&
		    (!qz_docs_rows[i].b ||
			qz_json_get(record, qz_field_theirs(f, qz_docs_rows[i].b)))) {
			d->found = qz_docs_rows[i].format;
			return 0;
		}
	qz_fields_list(record, fields, sizeof fields);
	return qz_fail(e, QZ_EDATA,
	    "the fields %s fit no known format: name the format, or the fields",
	    fields[0] ? fields : "(none)");
}

/* Is this line a record with a text in it, though it was asked for as text? */
static bool
has_text(const struct qz_docs *d, const char *line, size_t n)
{
	struct qz_err e;
	struct qz_json *j = d->in.kind == QZ_RECORDS_LINES ? qz_json_parse(line, n, &e) : NULL;
	bool has = qz_json_is(j, QZ_JSON_OBJECT);

	qz_json_free(j);
	if (d->in.kind == QZ_RECORDS_ARRAY && n > 1) {
		size_t i = 1;

		while (i < n && strchr(" \t\r\n", line[i]))
			i++;
		has = i == n || line[i] == '{';
	}
	return has;
}

static int
open_input(struct qz_docs *d, struct qz_err *e)
{
	const char *line;
	size_t n;
	int got = qz_records_open(&d->in, &line, &n, e);

	if (got <= 0)
		return got;
	d->opened = true;
	if (d->found == QZ_DOCS_TEXT && !has_text(d, line, n))
		d->in.kind = QZ_RECORDS_TEXT;
	if (d->in.kind != QZ_RECORDS_TEXT)
		return 1;
	if (d->found == QZ_DOCS_AUTO)
		d->found = QZ_DOCS_TEXT;
	if (d->found != QZ_DOCS_TEXT) {
		qz_fail(e, QZ_EDATA, "plain text, expected JSON objects for the format %s",
		    qz_docs_format_name(d->found));
		return qz_at(e, "line 1");
	}
	return 1;
}

struct qz_docs *
qz_docs_new(const struct qz_docs_options *o, qz_read_fn *read, void *arg, struct qz_err *e)
{
	struct qz_docs *d = calloc(1, sizeof *d);

	if (!d) {
		qz_nomem(e, sizeof *d);
		return NULL;
	}
	d->o = *o;
	d->maker = qz_maker_new(&d->o, e);
	if (!d->maker) {
		free(d);
		return NULL;
	}
	d->found = o->format;
	if (o->format == QZ_DOCS_AUTO && (o->prompt_field || o->response_field))
		d->found = QZ_DOCS_PROMPT;
	d->in.max = o->record_max ? o->record_max : QZ_RECORD_MAX;
	d->in.read = read;
	d->in.arg = arg;
	if (o->format == QZ_DOCS_JINJA && !o->user_template) {
		qz_fail(e, QZ_EUSAGE, "the format jinja needs a template");
		qz_docs_free(d);
		return NULL;
	}
	return d;
}

void
qz_docs_free(struct qz_docs *d)
{
	if (!d)
		return;
	qz_records_free(&d->in);
	qz_maker_free(d->maker);
	free(d);
}

/* The format, by a record that is whole. */
static int
find_format(struct qz_docs *d, struct qz_record r, struct qz_err *e)
{
	struct qz_json *record;
	bool repaired;
	int ret = -1;

	if (qz_maker_text(d->maker, &r, &repaired, e) < 0)
		return -1;
	record = qz_record_parse(r.s, r.n, e);
	if (record)
		ret = detect(d, record, e);
	qz_json_free(record);
	return ret < 0 ? qz_record_at(&r, e) : 0;
}

int
qz_docs_read(struct qz_docs *d, struct qz_record *r, struct qz_err *e)
{
	int got = d->opened ? 1 : open_input(d, e);

	if (got <= 0)
		return got;
	got = qz_records_next(&d->in, &r->s, &r->n, &r->line, e);
	r->plain = d->in.kind == QZ_RECORDS_TEXT;
	r->element = d->in.element;
	return got;
}

int
qz_docs_format(struct qz_docs *d, const struct qz_record *r, struct qz_err *e)
{
	return d->found == QZ_DOCS_AUTO ? find_format(d, *r, e) : 0;
}

bool
qz_docs_forgive(struct qz_docs *d, const struct qz_record *r, const struct qz_err *e)
{
	if (e->code != QZ_EDATA || r->plain || d->o.skip_bad <= 0 ||
	    d->skipped >= (uint64_t)d->o.skip_bad)
		return false;
	d->skipped++;
	return true;
}

int
qz_docs_next(struct qz_docs *d, const struct qz_doc **doc, struct qz_err *e)
{
	struct qz_record r;
	int got;

	while ((got = qz_docs_read(d, &r, e)) > 0) {
		if (qz_docs_format(d, &r, e) == 0 &&
		    qz_maker_make(d->maker, d->found, &r, doc, e) == 0)
			return 1;
		if (!qz_docs_forgive(d, &r, e))
			return -1;
	}
	return got;
}

enum qz_docs_format
qz_docs_found(const struct qz_docs *d)
{
	return d->found;
}

uint64_t
qz_docs_skipped(const struct qz_docs *d)
{
	return d->skipped;
}
