#include "tools/common/rowview.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcore/base/utf8.h"
#include "tools/common/terminal.h"

/* What a stretch of tokens is, and how it is drawn. */
enum look { PROMPT, TRAINED, SPECIAL, SPECIAL_TRAINED };
static const struct {
	const char *on, *off;       /* on a terminal */
	const char *before, *after; /* elsewhere */
} looks[] = {
	[PROMPT] = { "\033[2m", "\033[0m", "", "" },
	[TRAINED] = { "\033[1;32m", "\033[0m", "[[", "]]" },
	[SPECIAL] = { "\033[33m", "\033[0m", "", "" },
	[SPECIAL_TRAINED] = { "\033[7;32m", "\033[0m", "[[", "]]" },
};

void
qz_rowview_init(struct qz_rowview *v, const struct qz_tokenizer *t, int fd)
{
	int columns = qz_terminal_columns(fd);
	const char *no_colour = getenv("NO_COLOR");
	bool terminal = isatty(fd) == 1;

	v->t = t;
	v->colour = terminal && !(no_colour && *no_colour);
	v->width = terminal && columns > 20 ? columns : 0;
}

static enum look
look_of(const struct qz_rowview *v, uint32_t id, uint8_t mask)
{
	if (qz_vocab_is_special(v->t, id))
		return mask ? SPECIAL_TRAINED : SPECIAL;
	return mask ? TRAINED : PROMPT;
}

/* The text of ids[0..n).  A decoder treats the first token of a text in its own way (it may drop a
 * space), so the token before is decoded too and its text taken off again. */
static int
text_of(const struct qz_rowview *v, const uint32_t *ids, uint64_t n, bool first, struct qz_buf *out,
    struct qz_err *e)
{
	struct qz_buf with = { 0 }, before = { 0 };
	uint64_t back = first ? 0 : 1;
	int ret = qz_decode(v->t, ids - back, (size_t)(n + back), false, &with, e);

	if (ret == 0 && back)
		ret = qz_decode(v->t, ids - 1, 1, false, &before, e);
	if (ret == 0 && with.n >= before.n)
		qz_buf_add(out, with.data ? with.data + before.n : "", with.n - before.n);
	qz_buf_free(&with);
	qz_buf_free(&before);
	return ret;
}

/* Characters that would act on the terminal, turn the text around or not be seen: written as escapes. */
static bool
unseen(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = { { 0, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x200b, 0x200b },
		{ 0x200e, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x2069 }, { 0xfeff, 0xfeff } };

	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

/* What of w columns goes where there is room. */
static void
place(const struct qz_rowview *v, const char *s, size_t n, int w, int *column, struct qz_buf *out)
{
	if (v->width && *column + w > v->width) {
		qz_buf_chr(out, '\n');
		*column = 0;
	}
	qz_buf_add(out, s, n);
	*column += w;
}

/* Text, wrapped, with control characters made visible; *column goes on. */
static void
put_text(const struct qz_rowview *v, const char *s, size_t n, int *column, struct qz_buf *out)
{
	char escape[16];
	int len, w;

	for (size_t i = 0; i < n; i += (size_t)len) {
		int32_t c = qz_utf8_get(s + i, n - i, &len);

		if (c == '\n') {
			place(v, "\xe2\x8f\x8e\n", 4, 1, column, out); /* U+23CE */
			*column = 0;
		} else if (c < 0) {
			place(v, "\xef\xbf\xbd", 3, 1, column, out);
		} else if (unseen((uint32_t)c)) {
			w = snprintf(
			    escape, sizeof escape, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
			place(v, escape, (size_t)w, w, column, out);
		} else {
			place(v, s + i, (size_t)len, qz_utf8_width((uint32_t)c), column, out);
		}
	}
}

/* What stands about a stretch: colours take no room, brackets do. */
static void
put_mark(const struct qz_rowview *v, const char *colour, const char *bracket, int *column,
    struct qz_buf *out)
{
	if (v->colour)
		qz_buf_str(out, colour);
	else
		place(v, bracket, strlen(bracket), (int)strlen(bracket), column, out);
}

static int
put_stretch(const struct qz_rowview *v, enum look look, const uint32_t *ids, uint64_t n, bool first,
    int *column, struct qz_buf *out, struct qz_err *e)
{
	struct qz_buf text = { 0 };
	const char *piece;
	size_t piece_n;
	int ret = 0;

	if (look == SPECIAL || look == SPECIAL_TRAINED) {
		for (uint64_t i = 0; i < n; i++)
			if ((piece = qz_vocab_text(v->t, ids[i], &piece_n)))
				qz_buf_add(&text, piece, piece_n);
	} else {
		ret = text_of(v, ids, n, first, &text, e);
	}
	put_mark(v, looks[look].on, looks[look].before, column, out);
	put_text(v, text.data ? text.data : "", text.n, column, out);
	put_mark(v, looks[look].off, looks[look].after, column, out);
	qz_buf_free(&text);
	return ret;
}

int
qz_rowview_put(const struct qz_rowview *v, uint64_t number, const uint32_t *ids,
    const uint8_t *mask, uint64_t n, const uint64_t *doc_ends, uint64_t n_docs, struct qz_buf *out,
    struct qz_err *e)
{
	uint64_t trained = 0, start = 0;
	int column = 0;

	for (uint64_t i = 0; i < n; i++)
		trained += mask[i];
	qz_buf_fmt(out, "%srow %llu: %llu tokens, %llu trained%s", v->colour ? "\033[1m" : "",
	    (unsigned long long)number, (unsigned long long)n, (unsigned long long)trained,
	    v->colour ? "\033[0m" : "");
	if (n_docs > 1)
		qz_buf_fmt(out, ", %llu documents", (unsigned long long)n_docs);
	qz_buf_chr(out, '\n');
	for (uint64_t d = 0; d < n_docs; d++) {
		uint64_t end = doc_ends[d];

		if (d)
			qz_buf_fmt(out, "%s--- document %llu ---\n", column ? "\n" : "",
			    (unsigned long long)d + 1);
		column = d ? 0 : column;
		for (uint64_t i = start, j; i < end; i = j) {
			enum look look = look_of(v, ids[i], mask[i]);

			for (j = i + 1; j < end && look_of(v, ids[j], mask[j]) == look; j++)
				;
			if (put_stretch(v, look, ids + i, j - i, i == start, &column, out, e) < 0)
				return -1;
		}
		start = end;
	}
	qz_buf_str(out, column ? "\n\n" : "\n");
	return qz_buf_ok(out, e);
}
