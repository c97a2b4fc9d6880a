/* fields - what a record must have: text where text is expected, messages that say something.  A failure
 * names the field, and what is there. */
#ifndef QZ_FIELDS_H
#define QZ_FIELDS_H

#include "libcore/base/json.h"

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
