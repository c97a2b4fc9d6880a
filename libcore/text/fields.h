/* fields - what a record must have: text where text is expected, messages that say something.  A failure
 * names the field, and what is there. */
#ifndef QZ_FIELDS_H
#define QZ_FIELDS_H

#include "libcore/base/json.h"

/* What the data calls by another word than the formats do: a field, or who speaks. */
struct qz_rename {
	const char *ours, *theirs;
};
struct qz_renames {
	struct qz_rename *list;
	size_t n;
};
/* The names of fields that formats know, up to a NULL: those that can be the data's by another word. */
extern const char *const qz_field_names[];
/* What the data calls the field: as it is, unless it is renamed. */
const char *qz_field_theirs(const struct qz_renames *r, const char *ours);
/* What the formats call what the data calls so; NULL: it is not renamed. */
const char *qz_field_ours(const struct qz_renames *r, const char *theirs);

/* The text of a field, borrowed; NULL with an error. */
const char *qz_field_text(const struct qz_json *record, const char *name, struct qz_err *e);
/* "a", "b", "c": the names, cut where there are too many. */
void qz_fields_list(const struct qz_json *record, char *out, size_t n);
/* Of a chat: an array of objects with a role, which say something. */
int qz_messages_check(const struct qz_json *messages, struct qz_err *e);
/* Of a message that has a role: what it says is no number, and is there, unless it calls tools or has
 * another field that a template may show. */
int qz_message_says(const struct qz_json *message, struct qz_err *e);

#endif
