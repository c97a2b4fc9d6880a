/* names - a set of names, to find one that comes twice.  Keeps 64-bit hashes only. */
#ifndef QZ_NAMES_H
#define QZ_NAMES_H

#include <stdint.h>

#include "libcore/base/err.h"

struct qz_names { /* zeroed: empty */
	uint64_t *slots;
	uint64_t n, cap;
};

/* 1: it is new, 0: it was there, -1: no memory. */
int qz_names_add(struct qz_names *s, const char *name, struct qz_err *e);
void qz_names_free(struct qz_names *s);

#endif
