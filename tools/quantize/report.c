#include <stdio.h>

#include "libcore/base/num.h"
#include "tools/common/cli.h"
#include "tools/quantize/quantize.h"

/* Bytes of the sections, without padding. */
static uint64_t
bytes_of(const struct qz_tensor *t)
{
	uint64_t n = 0;

	for (int i = 0; i < t->n_sections; i++)
		n += t->sections[i].nbytes;
	return n;
}

void
report_add(struct report *r, const struct qz_tensor *in, const struct qz_tensor *out)
{
	int i = 0;

	while (i < r->n && (r->rows[i].from != in->dtype || r->rows[i].to != out->dtype))
		i++;
	if (i == (int)(sizeof r->rows / sizeof *r->rows))
		return;
	if (i == r->n)
		r->rows[r->n++] = (struct report_row){ .from = in->dtype, .to = out->dtype };
	r->rows[i].tensors++;
	r->rows[i].elements += qz_tensor_count(out);
	r->rows[i].before += bytes_of(in);
	r->rows[i].after += bytes_of(out);
}

static void
line(const struct report_row *x, const char *from, const char *to)
{
	char before[16], after[16];

	qz_num_bytes(x->before, before);
	qz_num_bytes(x->after, after);
	fprintf(stderr, "%9llu  %-6s %-6s %10s %10s %9.2f\n", (unsigned long long)x->tensors, from,
	    to, before, after, x->elements ? 8.0 * (double)x->after / (double)x->elements : 0.0);
}

void
report_print(const struct report *r, const char *name, double seconds)
{
	struct report_row all = { 0 };
	char peak[16];

	if (qz_quiet)
		return;
	qz_num_bytes(qz_peak_memory(), peak);
	fprintf(stderr, "  tensors  from   to         before      after  bits each\n");
	for (int i = 0; i < r->n; i++) {
		const struct report_row *x = &r->rows[i];

		line(x, qz_dtype((unsigned)x->from)->name, qz_dtype((unsigned)x->to)->name);
		all.tensors += x->tensors;
		all.elements += x->elements;
		all.before += x->before;
		all.after += x->after;
	}
	line(&all, "all", "");
	qz_say("%s: %.1f s, %s of memory", name, seconds, peak);
}
