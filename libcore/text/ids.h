/* ids - where ids are appended, with their ends; the same members as in struct qz_encoding. */
#ifndef QZ_IDS_H
#define QZ_IDS_H

#include <stddef.h>
#include <stdint.h>

#include "libcore/base/err.h"

struct qz_ids {
	uint32_t *v;
	size_t *ends;
	size_t n, cap;
};

/* At least n + 1 more ids fit. */
int qz_ids_room(struct qz_ids *ids, size_t n, struct qz_err *e);
void qz_ids_clear(struct qz_ids *ids);

#endif
