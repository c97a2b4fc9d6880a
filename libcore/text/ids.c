#include "libcore/text/ids.h"

#include <stdlib.h>
#include <string.h>

int
qz_ids_room(struct qz_ids *ids, size_t n, struct qz_err *e)
{
	size_t cap = ids->cap ? ids->cap : 256, *ends;
	uint32_t *v;

	if (ids->cap - ids->n > n)
		return 0;
	while (cap - ids->n <= n)
		cap *= 2;
	v = realloc(ids->v, cap * sizeof *v);
	if (v)
		ids->v = v;
	ends = realloc(ids->ends, cap * sizeof *ends);
	if (ends)
		ids->ends = ends;
	if (!v || !ends)
		return qz_nomem(e, cap * (sizeof *v + sizeof *ends));
	ids->cap = cap;
	return 0;
}

void
qz_ids_clear(struct qz_ids *ids)
{
	free(ids->v);
	free(ids->ends);
	memset(ids, 0, sizeof *ids);
}
