/* docs - training data as documents: JSON Lines, a JSON array, or plain text, one document at a time.
 *
 * A reader gives records, one thread's work; a maker makes a record a document, and any number of threads
 * may have one each.  A document is text in segments, ready to be encoded: each says whether it is trained and whether
 * it comes from the user's data.  What a format is, is a row of a table (docs.c).
 * Memory: a window of the input and one record, at most QZ_RECORD_MAX bytes.  What is handed out is
 * borrowed until the next call. */
#ifndef QZ_DOCS_H
#define QZ_DOCS_H

#include "libcore/text/chat.h"
#include "libcore/text/fields.h"

enum { QZ_RECORD_MAX = 1 << 30 };

enum qz_docs_format {
	QZ_DOCS_AUTO,   /* told by the first record's fields */
	QZ_DOCS_CHAT,   /* "messages", or ShareGPT's "conversations" */
	QZ_DOCS_PROMPT, /* prompt and completion, or the fields that are named */
	QZ_DOCS_ALPACA, /* instruction, input, output */
	QZ_DOCS_DOLLY,  /* instruction, context, response */
	QZ_DOCS_TEXT,   /* plain text: a "text" field, or the input is one document */
	QZ_DOCS_JINJA,  /* the user's own template, with the record's fields as variables */
};
/* What is trained: chat - what the assistant says (chat.h); prompt, alpaca, dolly - the response; text -
 * all; jinja - the template's {% generation %} blocks, else what the assistant says in "messages", else the
 * field response_field (or one that the other formats know: response, completion, output, answer), and
 * where there is none of these, all.
 * A chat has the BOS that its template writes, and no other; it needs an end token where nothing but blanks
 * follows what was said last.  Special tokens in plain text are meant as such, in fields they are text. */
/* By command-line name ("auto", "chat", ...); -1: none.  And back. */
int qz_docs_format_by_name(const char *name);
const char *qz_docs_format_name(enum qz_docs_format f);

struct qz_doc {
	struct qz_buf text;          /* all segments' bytes */
	struct qz_segment *segments; /* in order, without gaps (chat.h) */
	size_t n_segments;
	bool needs_bos,
	    needs_eos; /* the text has none of its own: the tokenizer adds one (EOS trained) */
	uint64_t line; /* where it starts in the input, from 1 */
	bool repaired; /* it had bytes that are no text, now U+FFFD */
	bool plain;    /* plain text: a row of its own even where there is nothing to learn */
};

struct qz_docs_options {
	enum qz_docs_format format;
	const char *prompt_field, *response_field; /* NULL: the format's own names */
	struct qz_renames fields, roles;           /* borrowed */
	const struct qz_template *model_template;  /* chat: the model's; NULL when it has none */
	const struct qz_template *tool_template;   /* the one for records with tools, or NULL */
	const struct qz_template *user_template;   /* jinja */
	struct qz_chat_vars
	    vars;         /* bos_token, eos_token, now ... for the template; messages unset */
	bool train_all;   /* every token is trained, not only responses */
	int64_t skip_bad; /* broken records that are passed over before it is an error */
	bool repair; /* U+FFFD for invalid UTF-8 and half surrogate pairs; else they are broken */
	size_t record_max; /* bytes of one record, 0: QZ_RECORD_MAX */
};

/* Reads up to n bytes; 0 at the end, -1 with the error described. */
typedef int64_t qz_read_fn(void *arg, void *data, size_t n, struct qz_err *e);

struct qz_docs;
struct qz_docs *qz_docs_new(
    const struct qz_docs_options *o, qz_read_fn *read, void *arg, struct qz_err *e);
void qz_docs_free(struct qz_docs *d);
/* A document after the other: 1, 0 at the end, -1: QZ_EDATA "line 17: ...". */
int qz_docs_next(struct qz_docs *d, const struct qz_doc **doc, struct qz_err *e);

/* The same in parts, for threads.  The next record as it stands: 1, 0 at the end, -1. */
struct qz_record {
	const char *s; /* JSON or, when plain, text; borrowed until the next call */
	size_t n;
	uint64_t line, element; /* element: of an array, from 1; else 0 */
	bool plain;
};
/* Adds the record's place; -1. */
int qz_record_at(const struct qz_record *r, struct qz_err *e);
int qz_docs_read(struct qz_docs *d, struct qz_record *r, struct qz_err *e);
/* Every record until one has told the format: 0, or -1 and the record is broken. */
int qz_docs_format(struct qz_docs *d, const struct qz_record *r, struct qz_err *e);
/* Of a record that failed with e: counted and passed over (true), or an error. */
bool qz_docs_forgive(struct qz_docs *d, const struct qz_record *r, const struct qz_err *e);

struct qz_maker; /* one thread's */
struct qz_maker *qz_maker_new(
    const struct qz_docs_options *o, struct qz_err *e); /* o is borrowed */
void qz_maker_free(struct qz_maker *m);
/* The document is borrowed until the next call.  -1: QZ_EDATA "line 17: ...". */
int qz_maker_make(struct qz_maker *m, enum qz_docs_format format, const struct qz_record *record,
    const struct qz_doc **doc, struct qz_err *e);

enum qz_docs_format qz_docs_found(const struct qz_docs *d); /* what AUTO has become */
uint64_t qz_docs_skipped(const struct qz_docs *d);          /* broken records passed over */

#endif
