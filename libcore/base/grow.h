/* grow - arrays that take one more element, and double when they are full. */
#ifndef QZ_GROW_H
#define QZ_GROW_H

#include <stddef.h>
#include <stdlib.h>

#include "libcore/base/err.h"

/* Room behind the n elements of `size` bytes at v, of which *cap fit; the first time for `first`.  Where v is
 * then; NULL with QZ_EIO, and v stays as it was. */
static inline void *
qz_grow(void *v, size_t n, size_t *cap, size_t first, size_t size, struct qz_err *e)
{
	size_t more = *cap ? 2 * *cap : first;
	void *p;

	if (n < *cap)
		return v;
	p = realloc(v, more * size);
	if (p)
		*cap = more;
	else
		qz_nomem(e, more * size);
	return p;
}

#endif
