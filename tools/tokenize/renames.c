/* --field NAME=FIELD and --role WORD=ROLE. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/common/cli.h"
#include "tools/tokenize/tokenize.h"

static bool
is_field(const char *name, size_t n)
{
	for (const char *const *f = qz_field_names; *f; f++)
		if (strlen(*f) == n && !memcmp(*f, name, n))
			return true;
	return false;
}

static void
refuse_field(const char *given)
{
	char names[300];
	size_t at = 0;

	for (const char *const *f = qz_field_names; *f && at < sizeof names; f++)
		at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", *f);
	qz_usage("--field: '%s' does not begin with one of %s, and =", given, names);
}

/* All of what was given, before anything is kept: a wrong one ends the program. */
static void
check(const char *option, const struct qz_list *given, bool roles)
{
	for (size_t i = 0; i < given->n; i++) {
		const char *s = given->items[i], *equals = strchr(s, '=');

		if (!equals || equals == s || !equals[1])
			qz_usage("--%s: '%s' is not of the form %s", option, s,
			    roles ? "WORD=ROLE" : "NAME=FIELD");
		if (!roles && !is_field(s, (size_t)(equals - s)))
			refuse_field(s);
	}
}

struct qz_renames
renames_read(const char *option, const struct qz_list *given)
{
	bool roles = !strcmp(option, "role");
	struct qz_renames r = { 0 };

	check(option, given, roles);
	r.list = calloc(given->n + 1, sizeof *r.list);
	for (; r.n < given->n; r.n++) {
		char *a = r.list ? strdup(given->items[r.n]) : NULL, *b = a ? strchr(a, '=') : NULL;

		if (!b)
			qz_usage("--%s: no memory", option);
		*b++ = 0;
		r.list[r.n] = roles ? (struct qz_rename){ b, a } : (struct qz_rename){ a, b };
	}
	return r;
}

void
renames_free(struct qz_renames *r)
{
	/* The word that came first in the option owns both. */
	for (size_t i = 0; i < r->n; i++)
		free((char *)(r->list[i].ours < r->list[i].theirs ? r->list[i].ours
								  : r->list[i].theirs));
	free(r->list);
	*r = (struct qz_renames){ 0 };
}
