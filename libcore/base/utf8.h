/* utf8 - strict UTF-8 (Unicode 15, table 3-7): no overlong forms, surrogates or values above 10FFFF. */
#ifndef QZ_UTF8_H
#define QZ_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at s, of which n > 0 bytes can be read; its length into *len.
 * A malformed sequence gives -1 with *len the bytes to skip (1 to 3). */
int32_t qz_utf8_get(const char *s, size_t n, int *len);
/* Writes 1 to 4 bytes, returns how many. */
int qz_utf8_put(uint32_t c, char out[4]);
/* The offset of the first malformed byte, or n. */
size_t qz_utf8_valid(const char *s, size_t n);
/* What asks the Unicode database lives in unicode.c.
 * Columns on a terminal (0, 1 or 2). */
int qz_utf8_width(uint32_t c);
/* The simple case mappings of the Unicode database: one character to one. */
uint32_t qz_utf8_upper(uint32_t c);
uint32_t qz_utf8_lower(uint32_t c);
/* Not a control, format, unassigned or private character, nor a separator other than the space. */
bool qz_utf8_printable(uint32_t c);

#endif
