/* arena - many small things that live and die together (names, tables, metadata).
 * A zeroed struct is empty and valid.  Memory comes zeroed, aligned to 16, and is never moved. */
#ifndef QZ_ARENA_H
#define QZ_ARENA_H

#include <stddef.h>

struct qz_arena {
	struct qz_arena_block *blocks;
};

void *qz_arena_alloc(struct qz_arena *a, size_t nbytes);             /* NULL: no memory */
char *qz_arena_strndup(struct qz_arena *a, const char *s, size_t n); /* NUL-terminated copy */
char *qz_arena_strdup(struct qz_arena *a, const char *s);
void qz_arena_free(struct qz_arena *a); /* everything; the struct is empty again */

#endif
