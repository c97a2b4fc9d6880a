#include "libcore/text/split.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/splitters.h"
#include "libcore/text/vocab.h"

enum { STAGES_MAX = 64 };

enum behaviour { REMOVED, ISOLATED, MERGED_PREVIOUS, MERGED_NEXT, CONTIGUOUS };
static const char *const behaviours[] = { "Removed", "Isolated", "MergedWithPrevious",
	"MergedWithNext", "Contiguous" };

enum scheme { FIRST, ALWAYS, NEVER };
static const char *const schemes[] = { "first", "always", "never" };

struct run {
	const struct qz_uclass *u;
	struct qz_regex_match *m;
	struct qz_cuts *p;
	bool first, bytes; /* bytes: this stage leaves the alphabet to the model */
};

struct qz_stage {
	const struct type *type;
	enum behaviour behaviour;
	enum scheme scheme;
	bool invert, prefix, split;
	const struct qz_splitter *splitter; /* or */
	struct qz_pattern pattern;
	unsigned mask;       /* characters of these classes are the matches */
	char replacement[5]; /* Metaspace */
	size_t replacement_n;
};

/* Pieces of one span, as matches and what lies between them come along. */
struct cutter {
	enum behaviour behaviour;
	struct qz_pieces *out;
	size_t at, end;   /* a piece that may still grow */
	bool open, match; /* there is one; the last part was a match */
};

static void
cutter_close(struct cutter *c)
{
	if (c->open)
		qz_pieces_add(c->out, c->at, c->end);
	c->open = false;
}

/* The next part of the span.  Whether it joins the piece before it:
 *   Isolated never, Contiguous when both are matches or both are not, MergedWithPrevious a match to
 *   what is no match, MergedWithNext what is no match to one match before it. */
static void
cutter_add(struct cutter *c, size_t at, size_t end, bool match)
{
	bool join = false;

	switch (c->behaviour) {
	case REMOVED:
		if (!match)
			qz_pieces_add(c->out, at, end);
		return;
	case ISOLATED:
		break;
	case CONTIGUOUS:
		join = match == c->match;
		break;
	case MERGED_PREVIOUS:
		join = match && !c->match;
		break;
	case MERGED_NEXT:
		join = !match && c->match;
		break;
	}
	if (c->open && join) {
		c->end = end;
	} else {
		cutter_close(c);
		c->at = at;
		c->end = end;
		c->open = true;
	}
	c->match = match;
}

static int
split_pattern(
    const struct qz_stage *g, struct run *r, struct qz_piece v, struct cutter *c, struct qz_err *e)
{
	struct qz_pattern_scan scan = { 0, SIZE_MAX };
	size_t from = 0, at, end;
	int found;

	while ((found = qz_pattern_next(
		    &g->pattern, r->m, r->p->t.s + v.at, v.n, &scan, &at, &end, e)) > 0) {
		if (from != at)
			cutter_add(c, v.at + from, v.at + at, g->invert);
		cutter_add(c, v.at + at, v.at + end, !g->invert);
		from = end;
	}
	if (from != v.n)
		cutter_add(c, v.at + from, v.at + v.n, g->invert);
	return found;
}

/* Each character of the classes is a match of its own; what lies between is one part. */
static void
split_class(const struct qz_stage *g, struct run *r, struct qz_piece v, struct cutter *c)
{
	const char *s = r->p->t.s;
	size_t end = (size_t)v.at + v.n, from = v.at;
	unsigned len;

	for (size_t i = v.at; i < end; i += len) {
		if (!(qz_uclass_at(r->u, s + i, &len) & g->mask))
			continue;
		if (from != i)
			cutter_add(c, from, i, false);
		cutter_add(c, i, i + len, true);
		from = i + len;
	}
	if (from != end)
		cutter_add(c, from, end, false);
}

/* The pieces through a stage that only cuts. */
static int
cut(const struct qz_stage *g, struct run *r, struct qz_err *e)
{
	struct qz_cuts *p = r->p;
	struct cutter c = { g->behaviour, &p->more, 0, 0, false, false };
	struct qz_pieces tmp;

	p->more.n = 0;
	for (size_t i = 0; i < p->pieces.n; i++) {
		struct qz_piece v = p->pieces.v[i];

		c.match = false;
		if (g->splitter)
			qz_splitter_run(g->splitter, r->u, p->t.s, v.at, v.n, &p->more);
		else if (g->mask)
			split_class(g, r, v, &c);
		else if (split_pattern(g, r, v, &c, e) < 0)
			return -1;
		cutter_close(&c);
	}
	if (p->more.failed)
		return qz_nomem(e, p->more.cap * sizeof *p->more.v);
	tmp = p->pieces;
	p->pieces = p->more;
	p->more = tmp;
	return 0;
}

/* The buffer that the text is not in. */
static struct qz_textbuf *
other(struct qz_cuts *p)
{
	struct qz_textbuf *b = &p->buf[p->t.s == p->buf[0].s.data];

	qz_textbuf_clear(b);
	return b;
}

/* Piece i is what b has got since at. */
static void
settle(struct qz_cuts *p, size_t i, const struct qz_textbuf *b, size_t at)
{
	p->pieces.v[i].at = (uint32_t)at;
	p->pieces.v[i].n = (uint32_t)(b->s.n - at);
}

/* A space before every piece that has none. */
static int
prefix(struct qz_cuts *p, struct qz_err *e)
{
	struct qz_textbuf *b;
	bool changes = false;

	for (size_t i = 0; i < p->pieces.n && !changes; i++)
		changes = p->t.s[p->pieces.v[i].at] != ' ';
	if (!changes)
		return 0;
	b = other(p);
	for (size_t i = 0; i < p->pieces.n; i++) {
		struct qz_piece v = p->pieces.v[i];
		size_t at = b->s.n;

		if (p->t.s[v.at] != ' ')
			qz_textbuf_put(b, " ", 1, qz_text_mark(&p->t, v.at));
		qz_textbuf_copy(b, &p->t, v.at, v.n);
		settle(p, i, b, at);
	}
	return qz_textbuf_text(b, &p->t, e);
}

static int
byte_level(const struct qz_stage *g, struct run *r, struct qz_err *e)
{
	struct qz_cuts *p = r->p;
	struct qz_textbuf *b;
	char utf8[4];

	if (g->prefix && prefix(p, e) < 0)
		return -1;
	if (g->splitter && cut(g, r, e) < 0)
		return -1;
	if (r->bytes)
		return 0;
	b = other(p);
	for (size_t i = 0; i < p->pieces.n; i++) {
		struct qz_piece v = p->pieces.v[i];
		size_t at = b->s.n;

		for (size_t k = v.at; k < (size_t)v.at + v.n; k++) {
			uint32_t c = qz_byte_char((unsigned char)p->t.s[k]);

			qz_textbuf_put(
			    b, utf8, (size_t)qz_utf8_put(c, utf8), qz_text_end(&p->t, k));
		}
		settle(p, i, b, at);
	}
	return qz_textbuf_text(b, &p->t, e);
}

static bool
starts_with(const char *s, size_t n, const char *with, size_t m)
{
	return n >= m && !memcmp(s, with, m);
}

static int
metaspace(const struct qz_stage *g, struct run *r, struct qz_err *e)
{
	struct qz_cuts *p = r->p;
	struct qz_textbuf *b = other(p);

	for (size_t i = 0; i < p->pieces.n; i++) {
		struct qz_piece v = p->pieces.v[i];
		const char *s = p->t.s;
		size_t at = b->s.n, from = v.at, end = from + v.n;
		bool starts = s[from] == ' ' ||
			      starts_with(s + from, v.n, g->replacement, g->replacement_n);

		if (!starts && (g->scheme == ALWAYS || (g->scheme == FIRST && r->first && !from)))
			qz_textbuf_put(
			    b, g->replacement, g->replacement_n, qz_text_mark(&p->t, from));
		for (const char *q; (q = memchr(s + from, ' ', end - from));
		     from = (size_t)(q - s) + 1) {
			qz_textbuf_copy(b, &p->t, from, (size_t)(q - s) - from);
			qz_textbuf_put(b, g->replacement, g->replacement_n,
			    qz_text_end(&p->t, (size_t)(q - s)));
		}
		qz_textbuf_copy(b, &p->t, from, end - from);
		settle(p, i, b, at);
	}
	if (qz_textbuf_text(b, &p->t, e) < 0)
		return -1;
	return g->split ? cut(g, r, e) : 0;
}

static int load_split(struct qz_stage *g, const struct qz_json *j, struct qz_err *e);
static int load_digits(struct qz_stage *g, const struct qz_json *j, struct qz_err *e);
static int load_punctuation(struct qz_stage *g, const struct qz_json *j, struct qz_err *e);
static int load_whitespace(struct qz_stage *g, const struct qz_json *j, struct qz_err *e);
static int load_byte_level(struct qz_stage *g, const struct qz_json *j, struct qz_err *e);
static int load_metaspace(struct qz_stage *g, const struct qz_json *j, struct qz_err *e);

static const struct type {
	const char *name;
	int (*load)(struct qz_stage *g, const struct qz_json *j, struct qz_err *e);
	int (*run)(const struct qz_stage *g, struct run *r, struct qz_err *e);
} types[] = {
	{ "Split", load_split, cut },
	{ "Digits", load_digits, cut },
	{ "Punctuation", load_punctuation, cut },
	{ "WhitespaceSplit", load_whitespace, cut },
	{ "ByteLevel", load_byte_level, byte_level },
	{ "Metaspace", load_metaspace, metaspace },
};

/* The index of a string member among names; `otherwise` when it is absent. */
static int
load_choice(const struct qz_json *j, const char *member, const char *const *names, int n,
    int otherwise, struct qz_err *e)
{
	const struct qz_json *c = qz_json_get(j, member);
	const char *s = qz_json_string(c, NULL);

	if (!c && otherwise >= 0)
		return otherwise;
	for (int i = 0; s && i < n; i++)
		if (!strcmp(names[i], s))
			return i;
	return qz_fail(
	    e, QZ_EDATA, "%s is \"%.40s\", which is not known", member, s ? s : "(no string)");
}

static int
load_behaviour(struct qz_stage *g, const struct qz_json *j, int otherwise, struct qz_err *e)
{
	int i = load_choice(j, "behavior", behaviours, 5, otherwise, e);

	g->behaviour = i < 0 ? ISOLATED : (enum behaviour)i;
	return i < 0 ? -1 : 0;
}

static int
load_split(struct qz_stage *g, const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *pattern = qz_json_get(j, "pattern");
	const char *regex = qz_json_string(qz_json_get(pattern, "Regex"), NULL);

	g->invert = qz_json_bool(qz_json_get(j, "invert"), false);
	if (load_behaviour(g, j, -1, e) < 0)
		return -1;
	/* Where its matches cover the text, the inverse of Removed is Isolated. */
	if (regex && (g->behaviour == ISOLATED || (g->behaviour == REMOVED && g->invert)))
		g->splitter = qz_splitter_find(regex);
	if (g->splitter && g->behaviour != ISOLATED && !qz_splitter_covers(g->splitter))
		g->splitter = NULL;
	return g->splitter ? 0 : qz_pattern_load(&g->pattern, pattern, e);
}

static int
load_digits(struct qz_stage *g, const struct qz_json *j, struct qz_err *e)
{
	(void)e;
	g->mask = QZ_U_NUMBER;
	g->behaviour = qz_json_bool(qz_json_get(j, "individual_digits"), false) ? ISOLATED
										: CONTIGUOUS;
	return 0;
}

static int
load_punctuation(struct qz_stage *g, const struct qz_json *j, struct qz_err *e)
{
	g->mask = QZ_U_PUNCT;
	return load_behaviour(g, j, ISOLATED, e);
}

static int
load_whitespace(struct qz_stage *g, const struct qz_json *j, struct qz_err *e)
{
	(void)j;
	(void)e;
	g->mask = QZ_U_SPACE;
	g->behaviour = REMOVED;
	return 0;
}

static int
load_byte_level(struct qz_stage *g, const struct qz_json *j, struct qz_err *e)
{
	(void)e;
	g->prefix = qz_json_bool(qz_json_get(j, "add_prefix_space"), true);
	if (qz_json_bool(qz_json_get(j, "use_regex"), true))
		g->splitter = qz_splitter_gpt2();
	return 0;
}

/* add_prefix_space is the older way to say prepend_scheme: false stands beside "first" or without it
 * and means "never". */
static int
load_metaspace(struct qz_stage *g, const struct qz_json *j, struct qz_err *e)
{
	const char *with = qz_json_string(qz_json_get(j, "replacement"), "\xe2\x96\x81");
	int scheme = load_choice(j, "prepend_scheme", schemes, 3, ALWAYS, e), len;

	if (scheme < 0)
		return -1;
	g->scheme = (enum scheme)scheme;
	if (!qz_json_bool(qz_json_get(j, "add_prefix_space"), true)) {
		if (qz_json_get(j, "prepend_scheme") && g->scheme == ALWAYS)
			return qz_fail(
			    e, QZ_EDATA, "add_prefix_space false beside prepend_scheme \"always\"");
		g->scheme = NEVER;
	}
	g->replacement_n = strlen(with);
	if (!g->replacement_n ||
	    (qz_utf8_get(with, g->replacement_n, &len), (size_t)len != g->replacement_n))
		return qz_fail(e, QZ_EDATA, "replacement is \"%.40s\", not one character", with);
	memcpy(g->replacement, with, g->replacement_n + 1);
	g->split = qz_json_bool(qz_json_get(j, "split"), true);
	g->behaviour = MERGED_NEXT;
	g->pattern.n = g->replacement_n;
	g->pattern.literal = malloc(g->replacement_n + 1);
	if (!g->pattern.literal)
		return qz_nomem(e, g->replacement_n + 1);
	memcpy(g->pattern.literal, with, g->replacement_n + 1);
	return 0;
}

static int
load(struct qz_pretokenizer *p, const struct qz_json *j, struct qz_err *e)
{
	const char *name = qz_json_string(qz_json_get(j, "type"), "(none)");
	struct qz_stage *g;

	if (!strcmp(name, "Sequence")) {
		const struct qz_json *c = qz_json_get(j, "pretokenizers");

		if (!qz_json_is(c, QZ_JSON_ARRAY))
			return qz_fail(
			    e, QZ_EDATA, "a Sequence without the array \"pretokenizers\"");
		for (c = qz_json_first(c); c; c = qz_json_next(c))
			if (load(p, c, e) < 0)
				return -1;
		return 0;
	}
	if (p->n == STAGES_MAX)
		return qz_fail(e, QZ_EDATA, "more than %d stages", STAGES_MAX);
	g = &p->stages[p->n];
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!strcmp(types[i].name, name)) {
			g->type = &types[i];
			p->n++;
			return g->type->load(g, j, e) < 0 ? qz_at(e, "%s", name) : 0;
		}
	return qz_fail(e, QZ_EDATA, "the type %.60s is not supported", name);
}

int
qz_pretokenizer_load(struct qz_pretokenizer *p, const struct qz_json *j, struct qz_err *e)
{
	if (qz_json_kind(j) == QZ_JSON_NULL)
		return 0;
	p->stages = calloc(STAGES_MAX, sizeof *p->stages);
	if (!p->stages)
		return qz_nomem(e, STAGES_MAX * sizeof *p->stages);
	return load(p, j, e) < 0 ? qz_at(e, "pre_tokenizer") : 0;
}

void
qz_pretokenizer_clear(struct qz_pretokenizer *p)
{
	for (size_t i = 0; i < p->n; i++)
		qz_pattern_clear(&p->stages[i].pattern);
	free(p->stages);
	memset(p, 0, sizeof *p);
}

bool
qz_pretokenizer_ends_in_bytes(const struct qz_pretokenizer *p)
{
	return p->n && p->stages[p->n - 1].type->run == byte_level;
}

int
qz_pretokenizer_run(const struct qz_pretokenizer *t, const struct qz_uclass *u,
    struct qz_regex_match *m, bool first, struct qz_cuts *c, struct qz_err *e)
{
	struct run r = { u, m, c, first, false };

	c->pieces.n = 0;
	qz_pieces_add(&c->pieces, 0, c->t.n);
	for (size_t i = 0; i < t->n; i++) {
		r.bytes = t->bytes && i + 1 == t->n;
		if (t->stages[i].type->run(&t->stages[i], &r, e) < 0)
			return -1;
	}
	return c->pieces.failed ? qz_nomem(e, sizeof *c->pieces.v) : 0;
}

void
qz_cuts_clear(struct qz_cuts *c)
{
	free(c->pieces.v);
	free(c->more.v);
	qz_textbuf_free(&c->buf[0]);
	qz_textbuf_free(&c->buf[1]);
	memset(c, 0, sizeof *c);
}
