#include "tools/gguf/report.h"

#include <string.h>

#include "libcore/base/num.h"

/* What a GGUF file cannot say, or says in another way. */
static void
report_model(const struct plan *p, size_t n_padding)
{
	const struct qz_config *c = p->config;

	if (p->n_fallback)
		qz_say("%zu matrices do not fit %s", p->n_fallback, p->fallback);
	if (p->n_unweighted)
		qz_say("%zu matrices are not in the importance matrix: %s is the first",
		    p->n_unweighted, p->unweighted);
	if (p->n_strays)
		qz_warn("%zu matrices of the importance matrix are not in this model, %s is the "
			"first: is it of another model?",
		    p->n_strays, p->stray);
	if (p->n_requant)
		qz_warn("%zu matrices are quantized a second time, on top of the errors that they "
			"have: %s is the first",
		    p->n_requant, p->requant);
	if (n_padding)
		qz_say("the embedding has %zu rows without a token: they are named [PAD...]",
		    n_padding);
	if (c->window)
		qz_say("attention reaches %lld tokens back in this model; llama.cpp's %s lets it "
		       "reach all",
		    (long long)c->window, c->family->gguf);
}

/* What llama.cpp does otherwise, a line each. */
static void
report_differences(const struct qz_buf *b)
{
	for (const char *s = b->data; s && *s; s += strcspn(s, "\n") + 1)
		qz_say("llama.cpp's tokenizer: %.*s", (int)strcspn(s, "\n"), s);
}

void
report_plan(const struct plan *p, const struct report *x)
{
	report_model(p, x->n_padding);
	report_differences(&x->differences);
	if (x->card_wrong.n)
		qz_warn("README.md: %s: what the card says of the model is left out",
		    x->card_wrong.data);
}

int
report_overflow(const struct request *r, const struct plan *p, struct qz_err *e)
{
	uint64_t n = 0;
	size_t n_tensors = 0, first = 0;

	for (size_t i = p->n; i-- > 0;)
		if (p->tensors[i].overflow) {
			n += p->tensors[i].overflow;
			n_tensors++;
			first = i;
		}
	if (!n)
		return 0;
	if (r->strict)
		return qz_fail(e, QZ_EDATA,
		    "%llu values of %zu tensors are too large for f16, the first in %s; bf16 holds "
		    "them",
		    (unsigned long long)n, n_tensors, p->tensors[first].name);
	qz_warn("%llu values of %zu tensors are too large for f16 and became infinite, the first "
		"in %s; "
		"bf16 holds them",
	    (unsigned long long)n, n_tensors, p->tensors[first].name);
	return 0;
}

void
report_size(const struct plan *p, const struct files *f)
{
	char size[16];

	qz_num_bytes(files_nbytes(f), size);
	if (f->n > 1)
		qz_say("%zu tensors, %s in %zu files", p->n + p->rope_factors, size, f->n);
	else
		qz_say("%zu tensors, %s", p->n + p->rope_factors, size);
}

void
report_free(struct report *x)
{
	qz_buf_free(&x->differences);
	qz_buf_free(&x->card_wrong);
}
