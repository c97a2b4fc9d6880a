#include <string.h>

#include "tools/tokenize/tokenize.h"

/* What is worth a line of its own when it is not zero. */
static const struct {
	size_t offset;
	const char *text;
} notes[] = {
	{ offsetof(struct report, untrained),
	    "documents left out: no token in them is to be learnt" },
	{ offsetof(struct report, dropped), "documents left out: longer than --length" },
	{ offsetof(struct report, truncated), "documents cut at --length" },
	{ offsetof(struct report, no_end),
	    "rows without a trained end token: the model does not learn to stop there" },
	{ offsetof(struct report, double_bos), "rows that begin with two BOS tokens" },
	{ offsetof(struct report, special_in_data),
	    "documents with the text of a special token in a field: taken as plain text" },
	{ offsetof(struct report, bad), "broken records passed over" },
};

void
report_put(const struct report *r, size_t n, const char *format, struct qz_buf *out)
{
	int width = (int)strlen(format);

	for (size_t i = 0; i < n; i++)
		if ((int)strlen(r[i].name) > width)
			width = (int)strlen(r[i].name);
	qz_buf_fmt(out, "%-*s %9s %9s %11s %11s\n", width, format, "documents", "rows", "tokens",
	    "trained");
	for (size_t i = 0; i < n; i++) {
		qz_buf_fmt(out, "%-*s %9llu %9llu %11llu %11llu", width, r[i].name,
		    (unsigned long long)r[i].docs, (unsigned long long)r[i].rows,
		    (unsigned long long)r[i].tokens, (unsigned long long)r[i].trained);
		if (r[i].tokens)
			qz_buf_fmt(
			    out, "  %.0f %%", 100.0 * (double)r[i].trained / (double)r[i].tokens);
		qz_buf_chr(out, '\n');
		for (size_t k = 0; k < sizeof notes / sizeof *notes; k++) {
			uint64_t v = *(const uint64_t *)((const char *)&r[i] + notes[k].offset);

			if (v)
				qz_buf_fmt(
				    out, "  %llu %s\n", (unsigned long long)v, notes[k].text);
		}
	}
}
