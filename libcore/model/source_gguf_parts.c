/* The files of a GGUF model: one, or several that llama.cpp calls splits, NAME-00001-of-00003.gguf and so on.
 * The first has the keys; each says which it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/model/source_gguf.h"

/* "-00001-of-00003.gguf" */
enum { ENDING = 20, PARTS_MAX = 99999 };

static int
numbers(const struct qz_gguf *g, int64_t *no, int64_t *count, int64_t *tensors, struct qz_err *e)
{
	*no = 0;
	*count = 1;
	*tensors = (int64_t)g->n_tensors;
	if (qz_gguf_int(g, "split.no", 0, PARTS_MAX, no, e) < 0 ||
	    qz_gguf_int(g, "split.count", 0, PARTS_MAX, count, e) < 0 ||
	    qz_gguf_int(g, "split.tensors.count", 0, INT32_MAX, tensors, e) < 0)
		return -1;
	if (*count < 1)
		*count = 1;
	return 0;
}

/* The name of part no, when the first's has its form; to free. */
static char *
name_part(const char *first, int no, int count, struct qz_err *e)
{
	char ending[ENDING + 12], *name;
	size_t n = strlen(first);

	snprintf(ending, sizeof ending, "-00001-of-%05d.gguf", count);
	if (n <= ENDING || strcmp(first + n - ENDING, ending)) {
		qz_fail(e, QZ_EDATA,
		    "GGUF: the first of %d files: its name must end in %s for the others to be "
		    "found",
		    count, ending);
		return NULL;
	}
	name = malloc(n + 12);
	if (!name) {
		qz_nomem(e, n);
		return NULL;
	}
	snprintf(name, n + 12, "%.*s-%05d-of-%05d.gguf", (int)(n - ENDING), first, no + 1, count);
	return name;
}

static int
open_part(struct gguf_parts *p, int i, const char *name, struct qz_err *e)
{
	struct gguf_part *x = &p->parts[i];
	int64_t no, count, tensors;

	x->in = qz_in_open(name, e);
	if (!x->in)
		return -1;
	if (qz_gguf_read(&x->g, x->in, e) < 0 || numbers(&x->g, &no, &count, &tensors, e) < 0)
		return qz_at(e, "%s", name);
	if (no != i || count != p->n)
		return qz_fail(e, QZ_EDATA,
		    "%s: GGUF: says that it is file %lld of %lld, not %d of %d", name,
		    (long long)no + 1, (long long)count, i + 1, p->n);
	return 0;
}

int
gguf_parts_open(struct gguf_parts *p, struct qz_in *in, struct qz_err *e)
{
	int64_t no, count, tensors;
	uint64_t found;

	p->parts = calloc(1, sizeof *p->parts);
	if (!p->parts) {
		qz_in_close(in);
		return qz_nomem(e, sizeof *p->parts);
	}
	p->n = 1;
	p->parts[0].in = in;
	if (qz_gguf_read(&p->parts[0].g, in, e) < 0 ||
	    numbers(&p->parts[0].g, &no, &count, &tensors, e) < 0)
		return -1;
	if (no)
		return qz_fail(e, QZ_EDATA,
		    "GGUF: is file %lld of %lld: name the first, which has the keys",
		    (long long)no + 1, (long long)count);
	if (count > 1) {
		struct gguf_part *more = realloc(p->parts, (size_t)count * sizeof *more);

		if (!more)
			return qz_nomem(e, (size_t)count * sizeof *more);
		memset(more + 1, 0, (size_t)(count - 1) * sizeof *more);
		p->parts = more;
		p->n = (int)count;
	}
	found = p->parts[0].g.n_tensors;
	for (int i = 1; i < p->n; i++) {
		char *name = name_part(qz_in_name(in), i, p->n, e);
		int ret = name ? open_part(p, i, name, e) : -1;

		free(name);
		if (ret < 0)
			return -1;
		found += p->parts[i].g.n_tensors;
	}
	if (found != (uint64_t)tensors)
		return qz_fail(e, QZ_EDATA, "GGUF: %llu tensors in %d files, %lld are expected",
		    (unsigned long long)found, p->n, (long long)tensors);
	return 0;
}

void
gguf_parts_close(struct gguf_parts *p)
{
	for (int i = 0; i < p->n; i++) {
		qz_gguf_free(&p->parts[i].g);
		qz_in_close(p->parts[i].in);
	}
	free(p->parts);
	*p = (struct gguf_parts){ 0 };
}

const struct qz_gguf_tensor *
gguf_parts_tensor(const struct gguf_parts *p, const char *name, const struct gguf_part **part)
{
	for (int i = 0; i < p->n; i++) {
		const struct qz_gguf_tensor *t = qz_gguf_tensor(&p->parts[i].g, name);

		*part = &p->parts[i];
		if (t)
			return t;
	}
	return NULL;
}
