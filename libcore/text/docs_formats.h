/* docs_formats - by which fields a record is known: for docs.c, which looks, and docs_make.c. */
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

/* JSON that must be an object; the caller frees it.  NULL with an error. */
struct qz_json *qz_record_parse(const char *s, size_t n, struct qz_err *e);
/* The record's text as it is to be read: repaired where the options ask for it, then the maker's memory. */
int qz_maker_text(struct qz_maker *m, struct qz_record *r, bool *repaired, struct qz_err *e);

#endif
