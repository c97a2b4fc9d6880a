#include "libcore/text/decode.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/normalize.h"
#include "libcore/text/vocab.h"

enum { STEPS_MAX = 64, COUNT_MAX = 1 << 20 };
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

struct qz_decode_step {
	const struct type *type;
	struct qz_pattern pattern;
	char *text;
	size_t n;
	int64_t start, stop; /* Strip */
	bool prefix;         /* Metaspace: the first text starts with what stands for no space */
};

void
qz_parts_add(struct qz_parts *p, const char *s, size_t n)
{
	size_t at = p->buf.n;

	qz_buf_add(&p->buf, s, n);
	if (p->pieces.n == p->pieces.cap)
		qz_pieces_grow(&p->pieces);
	if (!p->pieces.failed)
		p->pieces.v[p->pieces.n++] = (struct qz_piece){ (uint32_t)at, (uint32_t)n };
}

void
qz_parts_clear(struct qz_parts *p)
{
	qz_buf_free(&p->buf);
	free(p->pieces.v);
	memset(p, 0, sizeof *p);
}

static const char *
part(const struct qz_parts *p, size_t i, size_t *n)
{
	*n = p->pieces.v[i].n;
	return p->buf.data + p->pieces.v[i].at;
}

/* The text with every malformed sequence replaced by U+FFFD, one for each maximal part of a
 * character (Unicode 3.9, table 3-8). */
static void
add_lossy(struct qz_buf *out, const char *s, size_t n)
{
	int len;

	while (n) {
		size_t valid = qz_utf8_valid(s, n);

		qz_buf_add(out, s, valid);
		s += valid;
		n -= valid;
		if (!n)
			return;
		qz_utf8_get(s, n, &len);
		qz_buf_str(out, replacement);
		s += len;
		n -= (size_t)len;
	}
}

/* A token with a character outside the alphabet stands for its own bytes. */
static int
byte_level(
    const struct qz_decode_step *g, struct qz_parts *in, struct qz_parts *out, struct qz_err *e)
{
	struct qz_buf bytes = { 0 }, text = { 0 };
	int len, byte, ret;
	size_t n;

	(void)g;
	(void)e;
	for (size_t k = 0; k < in->pieces.n; k++) {
		const char *s = part(in, k, &n);
		size_t before = bytes.n;

		for (size_t i = 0; i < n; i += (size_t)len) {
			byte = qz_byte_of_char((uint32_t)qz_utf8_get(s + i, n - i, &len));
			if (byte < 0) {
				bytes.n = before;
				qz_buf_add(&bytes, s, n);
				break;
			}
			qz_buf_chr(&bytes, (char)byte);
		}
	}
	add_lossy(&text, bytes.data, bytes.n);
	qz_parts_add(out, text.data, text.n);
	ret = bytes.failed || text.failed ? qz_nomem(e, in->buf.n) : 0;
	qz_buf_free(&bytes);
	qz_buf_free(&text);
	return ret;
}

static int
replace(const struct qz_decode_step *g, struct qz_parts *in, struct qz_parts *out, struct qz_err *e)
{
	struct qz_regex_match *m = g->pattern.regex ? qz_regex_match_new(e) : NULL;
	struct qz_buf text = { 0 };
	int ret = g->pattern.regex && !m ? -1 : 0;
	size_t n;

	for (size_t k = 0; k < in->pieces.n && !ret; k++) {
		const char *s = part(in, k, &n);

		qz_buf_clear(&text);
		ret = qz_pattern_replace(&g->pattern, m, s, n, g->text, g->n, &text, e);
		qz_parts_add(out, text.data, text.n);
	}
	qz_buf_free(&text);
	qz_regex_match_free(m);
	return ret;
}

static int
hex(int c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

static void
flush_bytes(struct qz_parts *out, struct qz_buf *bytes)
{
	if (qz_utf8_valid(bytes->data, bytes->n) == bytes->n) {
		if (bytes->n)
			qz_parts_add(out, bytes->data, bytes->n);
	} else {
		for (size_t i = 0; i < bytes->n; i++)
			qz_parts_add(out, replacement, sizeof replacement - 1);
	}
	qz_buf_clear(bytes);
}

/* A run of <0xXX> is UTF-8, or as many U+FFFD as it has bytes. */
static int
byte_fallback(
    const struct qz_decode_step *g, struct qz_parts *in, struct qz_parts *out, struct qz_err *e)
{
	struct qz_buf bytes = { 0 };
	int ret;
	size_t n;

	(void)g;
	for (size_t k = 0; k < in->pieces.n; k++) {
		const char *s = part(in, k, &n);

		if (n == 6 && !memcmp(s, "<0x", 3) && s[5] == '>' && hex(s[3]) >= 0 &&
		    hex(s[4]) >= 0) {
			qz_buf_chr(&bytes, (char)(hex(s[3]) << 4 | hex(s[4])));
			continue;
		}
		flush_bytes(out, &bytes);
		qz_parts_add(out, s, n);
	}
	flush_bytes(out, &bytes);
	ret = qz_buf_ok(&bytes, e);
	qz_buf_free(&bytes);
	return ret;
}

static int
fuse(const struct qz_decode_step *g, struct qz_parts *in, struct qz_parts *out, struct qz_err *e)
{
	size_t n, before = out->buf.n;

	(void)g;
	(void)e;
	qz_parts_add(out, "", 0);
	for (size_t k = 0; k < in->pieces.n; k++) {
		const char *s = part(in, k, &n);

		qz_buf_add(&out->buf, s, n);
	}
	if (out->pieces.n)
		out->pieces.v[0].n = (uint32_t)(out->buf.n - before);
	return 0;
}

/* At most start characters from the left and stop from the right, of each text. */
static int
strip(const struct qz_decode_step *g, struct qz_parts *in, struct qz_parts *out, struct qz_err *e)
{
	size_t n;

	(void)e;
	for (size_t k = 0; k < in->pieces.n; k++) {
		const char *s = part(in, k, &n);

		for (int64_t i = 0; i < g->start && n >= g->n && !memcmp(s, g->text, g->n); i++) {
			s += g->n;
			n -= g->n;
		}
		for (int64_t i = 0;
		     i < g->stop && n >= g->n && !memcmp(s + n - g->n, g->text, g->n); i++)
			n -= g->n;
		qz_parts_add(out, s, n);
	}
	return 0;
}

/* Every replacement character is a space, but in the first text, where it is nothing. */
static int
metaspace(
    const struct qz_decode_step *g, struct qz_parts *in, struct qz_parts *out, struct qz_err *e)
{
	struct qz_buf text = { 0 };
	int ret = 0;
	size_t n;

	for (size_t k = 0; k < in->pieces.n && !ret; k++) {
		const char *s = part(in, k, &n);

		qz_buf_clear(&text);
		ret = qz_pattern_replace(&g->pattern, NULL, s, n, " ", k || !g->prefix, &text, e);
		qz_parts_add(out, text.data, text.n);
	}
	qz_buf_free(&text);
	return ret;
}

static int
load_text(struct qz_decode_step *g, const struct qz_json *j, const char *member, struct qz_err *e)
{
	const char *s = qz_json_string(qz_json_get(j, member), NULL);

	if (!s)
		return qz_fail(e, QZ_EDATA, "no string \"%s\"", member);
	g->n = strlen(s);
	g->text = malloc(g->n + 1);
	if (!g->text)
		return qz_nomem(e, g->n + 1);
	memcpy(g->text, s, g->n + 1);
	return 0;
}

static int
load_replace(struct qz_decode_step *g, const struct qz_json *j, struct qz_err *e)
{
	return qz_pattern_load(&g->pattern, qz_json_get(j, "pattern"), e) < 0
		   ? -1
		   : load_text(g, j, "content", e);
}

static int
load_strip(struct qz_decode_step *g, const struct qz_json *j, struct qz_err *e)
{
	int len;

	if (load_text(g, j, "content", e) < 0)
		return -1;
	if (!g->n || (qz_utf8_get(g->text, g->n, &len), (size_t)len != g->n))
		return qz_fail(e, QZ_EDATA, "content is \"%.40s\", not one character", g->text);
	if (qz_json_int(qz_json_get(j, "start"), 0, COUNT_MAX, &g->start, e) < 0)
		return qz_at(e, "start");
	if (qz_json_int(qz_json_get(j, "stop"), 0, COUNT_MAX, &g->stop, e) < 0)
		return qz_at(e, "stop");
	return 0;
}

static int
load_metaspace(struct qz_decode_step *g, const struct qz_json *j, struct qz_err *e)
{
	const char *with = qz_json_string(qz_json_get(j, "replacement"), "\xe2\x96\x81");
	const char *scheme = qz_json_string(qz_json_get(j, "prepend_scheme"), "always");

	g->prefix = strcmp(scheme, "never") &&
		    qz_json_bool(qz_json_get(j, "add_prefix_space"), true);
	g->pattern.n = strlen(with);
	if (!g->pattern.n)
		return qz_fail(e, QZ_EDATA, "an empty replacement");
	g->pattern.literal = malloc(g->pattern.n + 1);
	if (!g->pattern.literal)
		return qz_nomem(e, g->pattern.n + 1);
	memcpy(g->pattern.literal, with, g->pattern.n + 1);
	return 0;
}

static const struct type {
	const char *name;
	int (*load)(struct qz_decode_step *g, const struct qz_json *j, struct qz_err *e);
	int (*run)(const struct qz_decode_step *g, struct qz_parts *in, struct qz_parts *out,
	    struct qz_err *e);
} types[] = {
	{ "ByteLevel", NULL, byte_level },
	{ "Replace", load_replace, replace },
	{ "ByteFallback", NULL, byte_fallback },
	{ "Fuse", NULL, fuse },
	{ "Strip", load_strip, strip },
	{ "Metaspace", load_metaspace, metaspace },
};

static int
load(struct qz_decoder *d, const struct qz_json *j, struct qz_err *e)
{
	const char *name = qz_json_string(qz_json_get(j, "type"), "(none)");
	struct qz_decode_step *g;

	if (!strcmp(name, "Sequence")) {
		const struct qz_json *c = qz_json_get(j, "decoders");

		if (!qz_json_is(c, QZ_JSON_ARRAY))
			return qz_fail(e, QZ_EDATA, "a Sequence without the array \"decoders\"");
		for (c = qz_json_first(c); c; c = qz_json_next(c))
			if (load(d, c, e) < 0)
				return -1;
		return 0;
	}
	if (d->n == STEPS_MAX)
		return qz_fail(e, QZ_EDATA, "more than %d steps", STEPS_MAX);
	g = &d->steps[d->n];
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(types[i].name, name)) {
			g->type = &types[i];
			d->n++;
			return types[i].load && types[i].load(g, j, e) < 0 ? qz_at(e, "%s", name)
									   : 0;
		}
	return qz_fail(e, QZ_EDATA, "the type %.60s is not supported", name);
}

int
qz_decoder_load(struct qz_decoder *d, const struct qz_json *j, struct qz_err *e)
{
	d->none = qz_json_kind(j) == QZ_JSON_NULL;
	if (d->none)
		return 0;
	d->steps = calloc(STEPS_MAX, sizeof *d->steps);
	if (!d->steps)
		return qz_nomem(e, STEPS_MAX * sizeof *d->steps);
	return load(d, j, e) < 0 ? qz_at(e, "decoder") : 0;
}

void
qz_decoder_clear(struct qz_decoder *d)
{
	for (size_t i = 0; i < d->n; i++) {
		qz_pattern_clear(&d->steps[i].pattern);
		free(d->steps[i].text);
	}
	free(d->steps);
	memset(d, 0, sizeof *d);
}

static int
parts_ok(const struct qz_parts *p, struct qz_err *e)
{
	if (p->buf.n > UINT32_MAX)
		return qz_fail(e, QZ_EDATA, "a text of %zu bytes, at most 4 GiB", p->buf.n);
	return p->pieces.failed ? qz_nomem(e, sizeof *p->pieces.v) : qz_buf_ok(&p->buf, e);
}

int
qz_decoder_run(
    const struct qz_decoder *d, struct qz_parts *in, struct qz_buf *out, struct qz_err *e)
{
	struct qz_parts next = { 0 }, tmp;
	int ret = parts_ok(in, e);
	size_t n;

	for (size_t i = 0; i < d->n && !ret && in->pieces.n; i++) {
		qz_buf_clear(&next.buf);
		next.pieces.n = 0;
		ret = d->steps[i].type->run(&d->steps[i], in, &next, e);
		if (!ret)
			ret = parts_ok(&next, e);
		tmp = *in;
		*in = next;
		next = tmp;
	}
	for (size_t i = 0; i < in->pieces.n && !ret; i++) {
		const char *s = part(in, i, &n);

		if (i && d->none)
			qz_buf_chr(out, ' ');
		qz_buf_add(out, s, n);
	}
	qz_parts_clear(&next);
	return ret ? -1 : qz_buf_ok(out, e);
}
