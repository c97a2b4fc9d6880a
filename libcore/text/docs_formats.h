/* docs_formats - by which fields a record is known: for docs.c, which looks, and those who make a record a document:
 * docs_make.c of the formats that are tables, docs_chat.c of those with a template, docs_repair.c. */
#ifndef QZ_DOCS_FORMATS_H
#define QZ_DOCS_FORMATS_H

#include "libcore/text/docs.h"

/* Told by the fields of the first record; the first row that fits.  Also the names that a format's
 * two fields may have. */
struct qz_docs_row {
	enum qz_docs_format format;
	const char *a, *b; /* b NULL: one is enough */
};
enum { QZ_DOCS_ROWS = 9 };
extern const struct qz_docs_row qz_docs_rows[QZ_DOCS_ROWS];

struct qz_maker {
	const struct qz_docs_options *o;
	enum qz_docs_format format; /* of the record at hand */
	struct qz_rendering r;
	struct qz_doc doc;
	struct qz_buf scratch, repaired;
};

/* What the data calls a field. */
static inline const char *
qz_named(const struct qz_maker *d, const char *ours)
{
	return qz_field_theirs(&d->o->fields, ours);
}

static inline const struct qz_json *
qz_record_get(const struct qz_maker *d, const struct qz_json *record, const char *ours)
{
	return qz_json_get(record, qz_named(d, ours));
}

/* docs_chat.c: a conversation through the model's template, a record through the user's: rendered to m->r. */
int qz_docs_chat(struct qz_maker *m, const struct qz_json *record, struct qz_err *e);
int qz_docs_jinja(struct qz_maker *m, const struct qz_json *record, struct qz_err *e);
/* docs_repair.c: appends s with U+FFFD for what is no text; whether there was any. */
bool qz_docs_repair(const char *s, size_t n, bool json, struct qz_buf *out);

/* JSON that must be an object; the caller frees it.  NULL with an error. */
struct qz_json *qz_record_parse(const char *s, size_t n, struct qz_err *e);
/* The record's text as it is to be read: repaired where the options ask for it, then the maker's memory. */
int qz_maker_text(struct qz_maker *m, struct qz_record *r, bool *repaired, struct qz_err *e);

#endif
