#include "libcore/shard/names.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"

static int
put(uint64_t *slots, uint64_t cap, uint64_t h)
{
	for (uint64_t i = h & (cap - 1);; i = (i + 1) & (cap - 1)) {
		if (slots[i] == h)
			return 0;
		if (!slots[i]) {
			slots[i] = h;
			return 1;
		}
	}
}

static int
grow(struct qz_names *s, struct qz_err *e)
{
	uint64_t cap = s->cap ? s->cap * 2 : 256, *slots = calloc(cap, sizeof *slots);

	if (!slots)
		return qz_nomem(e, cap * sizeof *slots);
	for (uint64_t i = 0; i < s->cap; i++)
		if (s->slots[i])
			put(slots, cap, s->slots[i]);
	free(s->slots);
	s->slots = slots;
	s->cap = cap;
	return 0;
}

int
qz_names_add(struct qz_names *s, const char *name, struct qz_err *e)
{
	uint64_t h = qz_hash64(name, strlen(name));

	if (s->n * 2 >= s->cap && grow(s, e) < 0)
		return -1;
	if (!put(s->slots, s->cap, h ? h : 1))
		return 0;
	s->n++;
	return 1;
}

void
qz_names_free(struct qz_names *s)
{
	free(s->slots);
	*s = (struct qz_names){ 0 };
}
