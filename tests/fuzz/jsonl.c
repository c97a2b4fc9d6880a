/* Training data of any bytes: documents whose segments cover their text, or an error.  The first byte chooses the
 * format, repairing, and how much is read at once.   make fuzz */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/docs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct input {
	const uint8_t *s;
	size_t n, at, step;
};

static int64_t
read_some(void *arg, void *data, size_t n, struct qz_err *e)
{
	struct input *in = arg;

	(void)e;
	n = n < in->step ? n : in->step;
	n = n < in->n - in->at ? n : in->n - in->at;
	if (n)
		memcpy(data, in->s + in->at, n);
	in->at += n;
	return (int64_t)n;
}

static void
check(const struct qz_doc *doc)
{
	size_t at = 0;

	for (size_t i = 0; i < doc->n_segments; i++) {
		if (doc->segments[i].at != at)
			abort();
		at += doc->segments[i].n;
	}
	if (at != doc->text.n || qz_utf8_valid(doc->text.data ? doc->text.data : "", at) != at)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char source[] =
	    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>\n{% endfor %}";
	struct input in = { data + 1, n - 1, 0, n && data[0] & 64 ? 7 : 4096 };
	struct qz_err e;
	struct qz_template *t = qz_template_new(source, sizeof source - 1, &e);
	struct qz_docs_options o = { .model_template = t,
		.vars = { .bos_token = "", .eos_token = "</s>" },
		.skip_bad = 100 };
	struct qz_docs *docs = NULL;
	const struct qz_doc *doc;

	if (n) {
		o.format = (enum qz_docs_format)(data[0] % QZ_DOCS_JINJA);
		o.repair = data[0] & 32;
		docs = qz_docs_new(&o, read_some, &in, &e);
	}
	while (docs && qz_docs_next(docs, &doc, &e) > 0)
		check(doc);
	qz_docs_free(docs);
	qz_template_free(t);
	return 0;
}
