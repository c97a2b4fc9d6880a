/* base64 - RFC 4648, the standard alphabet; padding may be left out. */
#ifndef QZ_BASE64_H
#define QZ_BASE64_H

#include "libcore/base/buf.h"

/* Appends the bytes; QZ_EDATA with the place of what is no base64. */
int qz_base64_decode(const char *s, size_t n, struct qz_buf *out, struct qz_err *e);

#endif
