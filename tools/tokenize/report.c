#include <stdio.h>
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
	{ "empty", "documents left out: there is no token in them" },
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

/* A sentence, wrapped between words; further lines stand below its text. */
static void
put_words(const char *s, int columns, struct qz_buf *out)
{
	size_t indent = strspn(s, " "), column = 0;

	for (size_t n; *s; s += n) {
		size_t space = strspn(s, " ");

		n = space + strcspn(s + space, " ");
		if (columns && column > indent && column + n > (size_t)columns) {
			qz_buf_chr(out, '\n');
			for (size_t i = 0; i < indent; i++)
				qz_buf_chr(out, ' ');
			qz_buf_add(out, s + space, n - space);
			column = indent + n - space;
		} else {
			qz_buf_add(out, s, n);
			column += n;
		}
	}
	qz_buf_chr(out, '\n');
}

static void
put_notes(const struct report *r, const struct report_style *style, struct qz_buf *out)
{
	const uint64_t *c = (const uint64_t *)&r->c;
	char line[200];

	if (r->c.capacity)
		qz_buf_fmt(out, "  rows are %.2f %% full\n",
		    100.0 * (double)r->c.tokens / (double)r->c.capacity);
	for (int k = 4; k < N_COUNTS; k++) {
		if (!c[k] || !note(k, style))
			continue;
		snprintf(line, sizeof line, "  %llu %s", (unsigned long long)c[k], note(k, style));
		put_words(line, style->width, out);
	}
}

enum { COLUMNS = 4 };
static const char *const heads[COLUMNS] = { "documents", "rows", "tokens", "trained" };

/* What follows a file's name, or, with no counts, the heads. */
static void
put_columns(const struct counts *counts, const int *wide, struct qz_buf *out)
{
	const uint64_t *c = (const uint64_t *)counts;

	for (int k = 0; k < COLUMNS && c; k++)
		qz_buf_fmt(out, " %*llu", wide[k], (unsigned long long)c[k]);
	for (int k = 0; k < COLUMNS && !c; k++)
		qz_buf_fmt(out, " %*s", wide[k], heads[k]);
	if (c && counts->tokens)
		qz_buf_fmt(
		    out, "  %.0f %%", 100.0 * (double)counts->trained / (double)counts->tokens);
	qz_buf_chr(out, '\n');
}

static void
put_name(const struct report *r, int columns, struct qz_buf *out)
{
	bool fits = strlen(r->name) + strlen(r->format) + 2 <= (size_t)columns;

	qz_buf_fmt(out, "%s:%s%s\n", r->name, fits ? " " : "\n  ", r->format);
}

/* On a narrow terminal each file has its own small table. */
static void
put_narrow(const struct report *r, size_t n, const struct report_style *style, struct qz_buf *out)
{
	for (size_t i = 0; i < n; i++) {
		const uint64_t *c = (const uint64_t *)&r[i].c;
		int wide[COLUMNS];

		for (int k = 0; k < COLUMNS; k++) {
			int digits = snprintf(NULL, 0, "%llu", (unsigned long long)c[k]);

			wide[k] = (int)strlen(heads[k]);
			wide[k] = digits > wide[k] ? digits : wide[k];
		}
		put_name(&r[i], style->width, out);
		put_columns(NULL, wide, out);
		put_columns(&r[i].c, wide, out);
		put_notes(&r[i], style, out);
	}
}

static void
put_table(const struct report *r, size_t n, const struct report_style *style, struct qz_buf *out)
{
	static const int wide[COLUMNS] = { 9, 9, 11, 11 };
	int width = 4, numbers = 51; /* of the columns: "  100 %" ends them */

	for (size_t i = 0; i < n; i++) {
		if ((int)strlen(r[i].name) > width)
			width = (int)strlen(r[i].name);
		if ((int)strlen(r[i].format) > width)
			width = (int)strlen(r[i].format);
	}
	if (style->width && width + numbers > style->width) {
		put_narrow(r, n, style, out);
		return;
	}
	qz_buf_fmt(out, "%-*s", width, r[0].format);
	put_columns(NULL, wide, out);
	for (size_t i = 0; i < n; i++) {
		qz_buf_fmt(out, "%-*s", width, r[i].name);
		put_columns(&r[i].c, wide, out);
		if (strcmp(r[i].format, r[0].format) != 0)
			qz_buf_fmt(out, "  read as %s\n", r[i].format);
		put_notes(&r[i], style, out);
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
put_histogram(const struct lengths *l, int columns, const char *what, struct qz_buf *out)
{
	char line[200];
	uint64_t top = 1;
	/* Of 29 columns before the bar; 80 where the width is not known. */
	int bar = !columns ? 50 : columns > 40 ? columns - 30 : 10;

	snprintf(line, sizeof line,
	    "tokens a %s: %llu to %llu, mean %.1f, median %llu, 90 %% up to %llu, 99 %% up to %llu",
	    what, (unsigned long long)l->least, (unsigned long long)l->most,
	    (double)l->tokens / (double)l->docs, (unsigned long long)percentile(l, 50),
	    (unsigned long long)percentile(l, 90), (unsigned long long)percentile(l, 99));
	put_words(line, columns, out);
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
put_lengths_json(const struct lengths *l, const char *what, struct qz_buf *out)
{
	const char *sep = "";

	qz_buf_fmt(out,
	    ",\"lengths\":{\"least\":%llu,\"most\":%llu,\"mean\":%.1f,\"median\":%llu,\"p90\":%llu,"
	    "\"p99\":%llu,\"bins\":[",
	    (unsigned long long)l->least, (unsigned long long)l->most,
	    (double)l->tokens / (double)l->docs, (unsigned long long)percentile(l, 50),
	    (unsigned long long)percentile(l, 90), (unsigned long long)percentile(l, 99));
	for (uint64_t a = first_edge(l); a <= l->most; a = next_edge(a), sep = ",")
		qz_buf_fmt(out, "%s{\"from\":%llu,\"to\":%llu,\"%ss\":%llu}", sep,
		    (unsigned long long)a, (unsigned long long)next_edge(a) - 1, what,
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
		put_lengths_json(l, style->packed ? "document" : "row", out);
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
		put_histogram(l, style->width, style->packed ? "document" : "row", out);
}
