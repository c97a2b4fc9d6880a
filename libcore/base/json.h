/* json - a read-only tree, and a writer whose bytes are always the same.
 *
 * Reading is strict (RFC 8259): one value and nothing after it but blanks, valid UTF-8 (a byte order mark
 * may stand before it), depth at most 256, no NUL in a string (\u0000 is refused), no half of a
 * surrogate pair, no key twice in an object.  Nodes belong to the document.
 * A getter on NULL or on a node of another kind returns the default, so that lookups can be chained. */
#ifndef QZ_JSON_H
#define QZ_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"

struct qz_json; /* a node; the root is also the document */

enum qz_json_kind {
	QZ_JSON_NULL,
	QZ_JSON_BOOL,
	QZ_JSON_NUMBER,
	QZ_JSON_STRING,
	QZ_JSON_ARRAY,
	QZ_JSON_OBJECT
};

/* NULL and QZ_EDATA with the byte offset of what is wrong.  Free the root, and only it. */
struct qz_json *qz_json_parse(const char *text, size_t n, struct qz_err *e);
/* The same, but a string other than a key may have \u0000 in it: it is read as null. */
struct qz_json *qz_json_parse_nuls(const char *text, size_t n, struct qz_err *e);
void qz_json_free(struct qz_json *root);

enum qz_json_kind qz_json_kind(const struct qz_json *j); /* of NULL: QZ_JSON_NULL */
const char *qz_json_kind_name(enum qz_json_kind k);
bool qz_json_is(const struct qz_json *j, enum qz_json_kind k); /* false for NULL */
const struct qz_json *qz_json_get(const struct qz_json *object, const char *key);
const struct qz_json *qz_json_first(const struct qz_json *container);
const struct qz_json *qz_json_next(const struct qz_json *child);
const char *qz_json_key(const struct qz_json *child); /* of an object's child */
size_t qz_json_count(const struct qz_json *container);
const char *qz_json_string(const struct qz_json *j, const char *otherwise);
double qz_json_number(const struct qz_json *j, double otherwise);
bool qz_json_is_real(
    const struct qz_json *j); /* a number with a point or an exponent: 1.0, not 1 */
bool qz_json_bool(const struct qz_json *j, bool otherwise);
/* A number that is whole and within lo..hi, or -1 and a message that names what was found. */
int qz_json_int(const struct qz_json *j, int64_t lo, int64_t hi, int64_t *v, struct qz_err *e);

/* Writing: strings are quoted and escaped, numbers are the shortest that read back the same. */
void qz_json_put_string(struct qz_buf *b, const char *s, size_t n);
void qz_json_put_number(struct qz_buf *b, double v);
/* The node as text: members in their order; compact, or with `indent` spaces a level. */
void qz_json_put(struct qz_buf *b, const struct qz_json *j, int indent);

#endif
