#include "tools/gguf/wishes.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum qz_dtype
type_named(const char *option, const char *name, size_t n)
{
	char text[32];
	enum qz_dtype t;

	snprintf(text, sizeof text, "%.*s", (int)n, name);
	for (char *s = text; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	t = n < sizeof text ? qz_dtype_by_name(text) : 0;
	if (!t || !qz_dtype((unsigned)t)->name || qz_dtype((unsigned)t)->ggml < 0 || t == QZ_F64 ||
	    t == QZ_I32)
		qz_usage("--%s: '%.*s' is no type of a GGUF matrix", option, (int)n, name);
	return t;
}

static int
read_overrides(const struct request *r, struct plan_options *o, struct qz_err *e)
{
	o->overrides = calloc(r->tensor_types.n + 1, sizeof *o->overrides);
	if (!o->overrides)
		return qz_nomem(e, r->tensor_types.n * sizeof *o->overrides);
	for (; o->n_overrides < r->tensor_types.n; o->n_overrides++) {
		const char *text = r->tensor_types.items[o->n_overrides], *is = strrchr(text, '=');

		if (!is || is == text || is - text > 200)
			qz_usage("--tensor-type %s: PATTERN=TYPE is expected", text);
		o->overrides[o->n_overrides] = (struct override){ text, (size_t)(is - text),
			type_named("tensor-type", is + 1, strlen(is + 1)), 0 };
	}
	return 0;
}

int
wishes_read(const struct request *r, struct wishes *w, struct qz_err *e)
{
	struct plan_options *o = &w->plan;

	o->mixture = mixture_find(r->type);
	o->pure = r->pure;
	o->like = r->like != NULL;
	o->merging = r->merges.n > 0;
	o->chosen = r->plan || r->max_size;
	if (r->head_type)
		o->head = type_named("output-type", r->head_type, strlen(r->head_type));
	if (r->embedding_type)
		o->embedding = type_named(
		    "token-embedding-type", r->embedding_type, strlen(r->embedding_type));
	w->choice.max_size = r->max_size;
	if (o->chosen && choice_parse(&w->choice, r->plan, r->types, e) < 0)
		return -1;
	if (read_overrides(r, o, e) < 0)
		return -1;
	if (!r->imatrix)
		return 0;
	o->imatrix = &w->imatrix;
	return qz_imatrix_read(&w->imatrix, r->imatrix, e);
}

void
wishes_free(struct wishes *w)
{
	free(w->plan.overrides);
	qz_imatrix_free(&w->imatrix);
}
