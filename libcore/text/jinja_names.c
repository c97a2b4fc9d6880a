/* The names of a template: each has a number, by which scopes know it. */
#include <string.h>

#include "libcore/text/jinja.h"

static uint32_t
hash(const char *s, size_t n)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 16777619u;
	return h;
}

/* The slot of a name in the hash table: its own, or the free one where it belongs. */
static size_t
slot(const struct qz_template *t, const char *s, size_t n)
{
	size_t i = hash(s, n) & (t->n_hash - 1);

	for (;; i = (i + 1) & (t->n_hash - 1)) {
		const struct qz_jname *name = t->hash[i] ? &t->names[t->hash[i] - 1] : NULL;

		if (!name || (name->n == n && !memcmp(name->s, s, n)))
			return i;
	}
}

uint32_t
qz_jname_find(const struct qz_template *t, const char *s, size_t n)
{
	uint32_t found = t->n_hash ? t->hash[slot(t, s, n)] : 0;

	return found ? found - 1 : UINT32_MAX;
}

static bool
grow(struct qz_template *t)
{
	size_t cap = t->cap_names ? t->cap_names * 2 : 64;
	struct qz_jname *names = qz_arena_alloc(&t->arena, cap * sizeof *names);
	uint32_t *table = qz_arena_alloc(&t->arena, 2 * cap * sizeof *table);

	if (!names || !table)
		return false;
	if (t->n_names)
		memcpy(names, t->names, t->n_names * sizeof *names);
	t->names = names;
	t->cap_names = cap;
	t->hash = table;
	t->n_hash = 2 * cap;
	for (uint32_t i = 0; i < t->n_names; i++)
		t->hash[slot(t, names[i].s, names[i].n)] = i + 1;
	return true;
}

uint32_t
qz_jname_add(struct qz_template *t, const char *s, size_t n)
{
	uint32_t id = qz_jname_find(t, s, n);

	if (id != UINT32_MAX)
		return id;
	if (t->n_names == t->cap_names && !grow(t))
		return UINT32_MAX;
	id = (uint32_t)t->n_names++;
	t->names[id] = (struct qz_jname){ .s = s, .n = n, .builtin = qz_jfunction_find(s, n) };
	t->hash[slot(t, s, n)] = id + 1;
	return id;
}
