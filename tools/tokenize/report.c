#include <string.h>

#include "libcore/base/json.h"
#include "tools/tokenize/tokenize.h"

enum { N_COUNTS = sizeof(struct counts) / sizeof(uint64_t), FINE = 64 };

/* Every count: its name as data, and what is worth a line of its own when it is not zero. */
static const struct {
	const char *name, *text;
} texts[N_COUNTS] = {
	{ "documents", NULL },
	{ "rows", NULL },
	{ "tokens", NULL },
	{ "trained", NULL },
	{ "truncated", NULL }, /* cut_texts */
	{ "too_long", "documents left out: longer than --length" },
	{ "untrained", "rows left out: no token in them is to be learnt" },
	{ "no_end",
	    "documents without a trained end token: the model does not learn to stop there" },
	{ "double_bos", "documents that begin with two BOS tokens" },
	{ "special_in_data", NULL }, /* special_texts */
	{ "repaired", "records with bytes that were no text: now U+FFFD" },
	{ "broken", "broken records passed over" },
	{ "capacity", NULL },
};

static const char *const cut_texts[] = {
	[CUT_END] = "documents cut at --length: their end is gone",
	[CUT_START] = "documents cut to --length: their start is gone",
	[CUT_DROP] = NULL,
	[CUT_SPLIT] = "documents longer than --length: they go on in further rows",
};
static const char *const special_texts[] = {
	"documents with the text of a special token in a field: taken as plain text",
	"documents with the text of a special token in a field: taken for that token",
};

void
counts_add(struct counts *to, const struct counts *c)
{
	uint64_t *a = (uint64_t *)to;
	const uint64_t *b = (const uint64_t *)c;

	for (int i = 0; i < N_COUNTS; i++)
		a[i] += b[i];
}

static const char *
note(int i, const struct report_style *style)
{
	if (!strcmp(texts[i].name, "truncated"))
		return cut_texts[style->cut];
	if (!strcmp(texts[i].name, "special_in_data"))
		return special_texts[style->parse_special];
	return texts[i].text;
}

static void
put_table(const struct report *r, size_t n, const struct report_style *style, struct qz_buf *out)
{
	int width = 4;

	for (size_t i = 0; i < n; i++) {
		if ((int)strlen(r[i].name) > width)
			width = (int)strlen(r[i].name);
		if ((int)strlen(r[i].format) > width)
			width = (int)strlen(r[i].format);
	}
	qz_buf_fmt(out, "%-*s %9s %9s %11s %11s\n", width, r[0].format, "documents", "rows",
	    "tokens", "trained");
	for (size_t i = 0; i < n; i++) {
		const uint64_t *c = (const uint64_t *)&r[i].c;

		qz_buf_fmt(out, "%-*s %9llu %9llu %11llu %11llu", width, r[i].name,
		    (unsigned long long)c[0], (unsigned long long)c[1], (unsigned long long)c[2],
		    (unsigned long long)c[3]);
		if (r[i].c.tokens)
			qz_buf_fmt(out, "  %.0f %%",
			    100.0 * (double)r[i].c.trained / (double)r[i].c.tokens);
		qz_buf_chr(out, '\n');
		if (strcmp(r[i].format, r[0].format) != 0)
			qz_buf_fmt(out, "  read as %s\n", r[i].format);
		if (r[i].c.capacity)
			qz_buf_fmt(out, "  rows are %.2f %% full\n",
			    100.0 * (double)r[i].c.tokens / (double)r[i].c.capacity);
		for (int k = 4; k < N_COUNTS; k++)
			if (c[k] && note(k, style))
				qz_buf_fmt(
				    out, "  %llu %s\n", (unsigned long long)c[k], note(k, style));
	}
}

/* ---- lengths ---- */

static int
log2_of(uint64_t v)
{
	return 63 - __builtin_clzll(v);
}

void
lengths_add(struct lengths *l, uint64_t length)
{
	int shift = length < FINE ? 0 : log2_of(length) - 6;
	uint64_t bin = length < FINE ? length
				     : (uint64_t)FINE * (uint64_t)shift + (length >> shift);

	l->n[bin < LENGTH_BINS ? bin : LENGTH_BINS - 1]++;
	l->least = !l->docs || length < l->least ? length : l->least;
	l->most = length > l->most ? length : l->most;
	l->docs++;
	l->tokens += length;
}

/* The smallest length of a bin. */
static uint64_t
bin_from(int bin)
{
	int shift = bin < 2 * FINE ? 0 : bin / FINE - 1;

	return (uint64_t)(bin - shift * FINE) << shift;
}

/* The length that so many per cent of the documents do not exceed. */
static uint64_t
percentile(const struct lengths *l, int percent)
{
	uint64_t want = (l->docs * (uint64_t)percent + 99) / 100, seen = 0, end;

	for (int b = 0; b < LENGTH_BINS; b++) {
		seen += l->n[b];
		end = bin_from(b + 1) - 1;
		if (seen >= want && seen)
			return end < l->most ? end : l->most;
	}
	return l->most;
}

/* Bins of half a power of two: 16 to 23, 24 to 31, 32 to 47.  The next one's start. */
static uint64_t
next_edge(uint64_t from)
{
	uint64_t power = from < 2 ? 2 : (uint64_t)1 << log2_of(from);

	if (from < 2)
		return 2;
	return from == power && power > 2 ? power + power / 2 : 2 * power;
}

static uint64_t
count_within(const struct lengths *l, uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	for (int b = 0; b < LENGTH_BINS; b++)
		if (bin_from(b) >= from && bin_from(b) < to)
			n += l->n[b];
	return n;
}

static uint64_t
first_edge(const struct lengths *l)
{
	uint64_t from = 0;

	while (next_edge(from) <= l->least)
		from = next_edge(from);
	return from;
}

static void
put_histogram(const struct lengths *l, int columns, struct qz_buf *out)
{
	uint64_t top = 1;
	/* Of 29 columns before the bar; 80 where the width is not known. */
	int bar = !columns ? 50 : columns > 40 ? columns - 30 : 10;

	qz_buf_fmt(out, "tokens a row: %llu to %llu, mean %.1f,%cmedian %llu, 90 %% up to %llu, ",
	    (unsigned long long)l->least, (unsigned long long)l->most,
	    (double)l->tokens / (double)l->docs, columns && columns < 100 ? '\n' : ' ',
	    (unsigned long long)percentile(l, 50), (unsigned long long)percentile(l, 90));
	qz_buf_fmt(out, "99 %% up to %llu\n", (unsigned long long)percentile(l, 99));
	for (uint64_t a = first_edge(l); a <= l->most; a = next_edge(a))
		if (count_within(l, a, next_edge(a)) > top)
			top = count_within(l, a, next_edge(a));
	for (uint64_t a = first_edge(l); a <= l->most; a = next_edge(a)) {
		uint64_t n = count_within(l, a, next_edge(a));
		int width = (int)((n * (uint64_t)bar + top - 1) / top);

		qz_buf_fmt(out, "%8llu..%-8llu %9llu ", (unsigned long long)a,
		    (unsigned long long)next_edge(a) - 1, (unsigned long long)n);
		for (int i = 0; i < width; i++)
			qz_buf_chr(out, '#');
		qz_buf_chr(out, '\n');
	}
}

static void
put_lengths_json(const struct lengths *l, struct qz_buf *out)
{
	const char *sep = "";

	qz_buf_fmt(out,
	    ",\"lengths\":{\"least\":%llu,\"most\":%llu,\"mean\":%.1f,\"median\":%llu,\"p90\":%llu,"
	    "\"p99\":%llu,\"bins\":[",
	    (unsigned long long)l->least, (unsigned long long)l->most,
	    (double)l->tokens / (double)l->docs, (unsigned long long)percentile(l, 50),
	    (unsigned long long)percentile(l, 90), (unsigned long long)percentile(l, 99));
	for (uint64_t a = first_edge(l); a <= l->most; a = next_edge(a), sep = ",")
		qz_buf_fmt(out, "%s{\"from\":%llu,\"to\":%llu,\"rows\":%llu}", sep,
		    (unsigned long long)a, (unsigned long long)next_edge(a) - 1,
		    (unsigned long long)count_within(l, a, next_edge(a)));
	qz_buf_str(out, "]}");
}

static void
put_json(const struct report *r, size_t n, const struct lengths *l,
    const struct report_style *style, struct qz_buf *out)
{
	qz_buf_str(out, "{\"files\":[");
	for (size_t i = 0; i < n; i++) {
		const uint64_t *c = (const uint64_t *)&r[i].c;

		qz_buf_str(out, i ? ",{\"name\":" : "{\"name\":");
		qz_json_put_string(out, r[i].name, strlen(r[i].name));
		qz_buf_fmt(out, ",\"format\":\"%s\"", r[i].format);
		for (int k = 0; k < N_COUNTS; k++)
			if (strcmp(texts[k].name, "capacity") != 0 || c[k])
				qz_buf_fmt(
				    out, ",\"%s\":%llu", texts[k].name, (unsigned long long)c[k]);
		qz_buf_chr(out, '}');
	}
	qz_buf_chr(out, ']');
	if (style->stats && l->docs)
		put_lengths_json(l, out);
	qz_buf_str(out, "}\n");
}

void
report_put(const struct report *r, size_t n, const struct lengths *l,
    const struct report_style *style, struct qz_buf *out)
{
	if (style->json) {
		put_json(r, n, l, style, out);
		return;
	}
	put_table(r, n, style, out);
	if (style->stats && l->docs)
		put_histogram(l, style->width, out);
}
