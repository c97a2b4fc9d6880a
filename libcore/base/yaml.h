/* yaml - the YAML of model cards and settings, as JSON.
 *
 * Block and flow mappings and sequences, plain, quoted and block scalars, comments.  Every scalar becomes a string
 * as it stands: "1.10" and "no" stay what they are; null, ~ and nothing become null.  A tab counts as two spaces.
 * Refused with the line: anchors, aliases, tags, keys that are no scalars, more than one document, depth above 64. */
#ifndef QZ_YAML_H
#define QZ_YAML_H

#include <stddef.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"

/* Adds one JSON value, null for a text without content; QZ_EDATA "line 3: ...". */
int qz_yaml_json(const char *text, size_t n, struct qz_buf *out, struct qz_err *e);

#endif
