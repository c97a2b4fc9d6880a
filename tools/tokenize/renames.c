/* --field NAME=FIELD and --role WORD=ROLE. */
#include <stdlib.h>
#include <string.h>

#include "tools/common/cli.h"
#include "tools/tokenize/tokenize.h"

static bool
is_field(const char *name)
{
	for (const char *const *n = qz_field_names; *n; n++)
		if (!strcmp(*n, name))
			return true;
	return false;
}

static void
refuse_field(const char *given)
{
	struct qz_buf b = { 0 };

	for (const char *const *n = qz_field_names; *n; n++)
		qz_buf_fmt(&b, "%s%s", n == qz_field_names ? "" : ", ", *n);
	qz_usage("--field: '%s' does not begin with one of %s, and =", given, b.data);
}

/* "a=b" in two, of which the first is the caller's to free; both have something in them. */
static void
split(const char *option, const char *given, char **a, char **b)
{
	char *s = strdup(given), *equals = s ? strchr(s, '=') : NULL;

	if (!equals || equals == s || !equals[1])
		qz_usage("--%s: '%s' is not of the form %s", option, given,
		    strcmp(option, "role") ? "NAME=FIELD" : "WORD=ROLE");
	*equals = 0;
	*a = s;
	*b = equals + 1;
}

struct qz_renames
renames_read(const char *option, const struct qz_list *given)
{
	struct qz_renames r = { calloc(given->n + 1, sizeof *r.list), given->n };
	bool roles = !strcmp(option, "role");

	for (size_t i = 0; i < r.n && r.list; i++) {
		char *a, *b;

		split(option, given->items[i], &a, &b);
		if (!roles && !is_field(a))
			refuse_field(given->items[i]);
		r.list[i] = roles ? (struct qz_rename){ b, a } : (struct qz_rename){ a, b };
	}
	r.n = r.list ? r.n : 0;
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
