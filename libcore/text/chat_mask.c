/* Which bytes of a rendered conversation are learned.  The rule stands in chat.h. */
#include <stdlib.h>
#include <string.h>

#include "libcore/text/jinja.h"

struct mask {
	const struct qz_jctx *c;
	const struct qz_chat_vars *v;
	const struct qz_jrun *runs;
	size_t n_runs;
	size_t *at;   /* where each run begins, and the text's end */
	size_t *last; /* the last run of each pass over a message, or SIZE_MAX */
	size_t *first;
	bool *assistant; /* by message */
	size_t n_messages;
	const char *text, *eos;
	size_t n, n_eos;
	struct qz_buf prompt; /* what add_generation_prompt adds, as last asked */
	bool bare;            /* it adds nothing, and nothing stands before an answer */
	uint64_t asked;       /* steps of the template, to find that out */
	size_t end;           /* of the text without a generation prompt at its end */
	bool *trained;
};

static bool
blank(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strchr(" \t\n\r", s[i]) || !s[i])
			return false;
	return true;
}

static size_t
skip_blank(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && blank(s + i, 1))
		i++;
	return i;
}

static bool
is_data(const struct qz_jrun *r)
{
	return r->from == QZ_J_DATA;
}

static bool
is_content(const struct mask *m, const struct qz_jrun *r)
{
	return is_data(r) && r->message >= 0 && (size_t)r->message < m->n_messages &&
	       m->assistant[r->message];
}

/* Bytes lo..hi of message i's turn are learned, but not what other messages said. */
static void
train(struct mask *m, size_t lo, size_t hi, int32_t message, size_t from_run)
{
	while (from_run > 0 && m->at[from_run] > lo)
		from_run--;
	for (size_t k = from_run; k < m->n_runs && m->at[k] < hi; k++) {
		size_t a = m->at[k] > lo ? m->at[k] : lo, b = m->at[k + 1] < hi ? m->at[k + 1] : hi;

		if (b > a && (!is_data(&m->runs[k]) || m->runs[k].message == message))
			memset(m->trained + a, 1, b - a);
	}
}

/* The length of what looks like an end mark at s: <...> or [...] without blanks, or 0. */
static size_t
marker(const char *s, size_t n)
{
	char close = n && *s == '<' ? '>' : n && *s == '[' ? ']' : 0;

	for (size_t i = 1; close && i < n && i < 64; i++) {
		if (s[i] == close)
			return i > 1 ? i + 1 : 0;
		if (blank(s + i, 1) || s[i] == *s)
			break;
	}
	return 0;
}

/* Marks that follow each other directly. */
static size_t
markers(const char *s, size_t n)
{
	size_t all = 0, len;

	while ((len = marker(s + all, n - all)) > 0)
		all += len;
	return all;
}

/* Where the end token stands at lo: its length, or 0. */
static size_t
eos_at(const struct mask *m, size_t lo, size_t hi)
{
	return m->n_eos && hi - lo >= m->n_eos && !memcmp(m->text + lo, m->eos, m->n_eos) ? m->n_eos
											  : 0;
}

/* The end of a turn whose content ends at lo, when the text up to hi is the turn's own. */
static size_t
own_end(const struct mask *m, size_t lo, size_t hi, bool cut)
{
	size_t end = lo, len;

	for (size_t i = lo; i < hi; i++)
		if (eos_at(m, i, hi))
			return i + m->n_eos;
	for (size_t i = lo; i < hi; i += len ? len : 1) {
		len = markers(m->text + i, hi - i);
		if (len)
			end = i + len;
		if (len && cut)
			return end; /* what follows may open the next turn */
	}
	if (end > lo || cut)
		return end;
	while (hi > lo && blank(m->text + hi - 1, 1))
		hi--;
	return hi;
}

/* The same where the text is not known to be the turn's: only what stands right behind the content. */
static size_t
near_end(const struct mask *m, size_t lo, size_t hi)
{
	size_t skip = skip_blank(m->text + lo, hi - lo), len = eos_at(m, lo + skip, hi);

	if (len)
		return lo + skip + len;
	return lo + markers(m->text + lo, hi - lo);
}

/* How much of the turn's text lo..a begins like s, cut to the end of a mark or word; 0: none of it. */
static size_t
alike(const struct mask *m, const char *s, size_t n, size_t lo, size_t a)
{
	const char *t = m->text + lo;
	size_t skip_s = skip_blank(s, n), skip_t = skip_blank(t, a - lo), same = 0;

	if (skip_s == n)
		return 0;
	while (skip_s + same < n && skip_t + same < a - lo && s[skip_s + same] == t[skip_t + same])
		same++;
	if (skip_s + same == n)
		return skip_t + same;
	while (same > 0 && !strchr(">]:\n", t[skip_t + same - 1]))
		same--;
	return same ? skip_t + same : 0;
}

/* The end of the last whole generation prompt in lo..a, or SIZE_MAX. */
static size_t
behind_prompt(const struct mask *m, size_t lo, size_t a)
{
	size_t n = m->prompt.n;

	if (!n || blank(m->prompt.data, n))
		return SIZE_MAX;
	for (size_t at = a; at >= lo + n; at--)
		if (!memcmp(m->text + at - n, m->prompt.data, n))
			return at;
	return SIZE_MAX;
}

/* Keeps what the prompt adds to the messages before this one. */
static void
keep_prompt(struct mask *m, const struct qz_buf *with, const struct qz_buf *without)
{
	qz_buf_clear(&m->prompt);
	if (with->n > without->n && (!without->n || !memcmp(with->data, without->data, without->n)))
		qz_buf_add(&m->prompt, with->data + without->n, with->n - without->n);
}

/* Asks the template where message i's turn begins: it writes the messages before it with the prompt. */
static size_t
ask_start(struct mask *m, size_t i, size_t lo, size_t a)
{
	const struct qz_template *t = m->c->t;
	struct qz_buf with = { 0 }, without = { 0 }, plain = { 0 };
	size_t start = SIZE_MAX, same = 0;

	if (qz_chat_prefix(t, m->v, i, true, &with, &m->asked) == 0) {
		if (qz_chat_prefix(t, m->v, i, false, &without, &m->asked) == 0)
			keep_prompt(m, &with, &without);
		if (with.n > lo && with.n <= a && !memcmp(m->text, with.data, with.n))
			start = with.n;
	}
	if (start == SIZE_MAX)
		start = behind_prompt(m, lo, a);
	if (start == SIZE_MAX)
		same = alike(m, m->prompt.data ? m->prompt.data : "", m->prompt.n, lo, a);
	if (start == SIZE_MAX && !same && qz_chat_header(t, m->v, i, &plain, &m->asked) == 0) {
		if (blank(plain.data ? plain.data : "", plain.n))
			start =
			    lo; /* nothing stands before an answer: this pass is all the model's */
		else
			same = alike(m, plain.data, plain.n, lo, a);
	}
	qz_buf_free(&with);
	qz_buf_free(&without);
	qz_buf_free(&plain);
	return start != SIZE_MAX ? start : same ? lo + same : a;
}

/* Where what is learned begins in a pass that begins at lo and has its first content at a. */
static size_t
start_of(struct mask *m, int32_t message, size_t lo, size_t a)
{
	size_t start;

	if (m->bare || blank(m->text + lo, a - lo) || m->asked > QZ_J_ASK_MAX)
		return lo;
	start = behind_prompt(m, lo, a);
	return start != SIZE_MAX ? start : ask_start(m, (size_t)message, lo, a);
}

/* A pass over assistant message i; content runs are k (or none: SIZE_MAX) to last. */
static void
own_turn(struct mask *m, int32_t turn, int32_t message, size_t k, size_t last)
{
	size_t lo = m->at[m->first[turn]], end_run = m->last[turn] + 1, hi = m->at[end_run];
	size_t a = k == SIZE_MAX ? hi : m->at[k], b, start, stop;
	bool cut = false;

	if (k == SIZE_MAX && blank(m->text + lo, hi - lo))
		return;
	start = start_of(m, message, lo, a);
	b = k == SIZE_MAX ? start : m->at[last + 1];
	for (size_t i = k == SIZE_MAX ? m->first[turn] : last + 1; i < end_run; i++)
		if (is_data(&m->runs[i]) && m->runs[i].message != message && m->at[i] >= b) {
			hi = m->at[i];
			cut = true;
			break;
		}
	if (hi > m->end && b <= m->end)
		hi = m->end;
	stop = own_end(m, b, hi, cut);
	if (stop == b && blank(m->text + b, hi - b) &&
	    !cut) { /* the end mark may come after the pass */
		size_t more = skip_blank(m->text + hi, m->n - hi);

		if (eos_at(m, hi + more, m->n))
			stop = hi + more + m->n_eos;
	}
	train(m, start, stop, message, k == SIZE_MAX ? end_run - 1 : k);
}

/* Content that is written outside of a pass over its message: runs k to last. */
static void
other_turn(struct mask *m, int32_t message, size_t k, size_t last)
{
	size_t hi = m->n, b = m->at[last + 1];

	for (size_t i = last + 1; i < m->n_runs; i++)
		if (is_data(&m->runs[i])) {
			hi = m->at[i];
			break;
		}
	train(m, m->at[k], near_end(m, b, hi), message, k);
}

/* The last run of the message's content that begins with run k: as far as its pass goes, or, outside of
 * one, as far as no other data comes between. */
static size_t
content_end(const struct mask *m, size_t k, bool own)
{
	int32_t message = m->runs[k].message, turn = m->runs[k].turn;
	size_t last = k, stop = own ? m->last[turn] : m->n_runs - 1;

	for (size_t i = k + 1; i <= stop; i++) {
		if (is_data(&m->runs[i]) && m->runs[i].message == message &&
		    m->runs[i].turn == turn)
			last = i;
		else if (!own && (is_data(&m->runs[i]) || m->runs[i].turn != turn))
			break;
	}
	return last;
}

static void
mark_turns(struct mask *m)
{
	for (size_t k = 0; k < m->n_runs; k++) {
		const struct qz_jrun *r = &m->runs[k];
		bool own = r->turn >= 0 && m->c->turn_of[r->turn] == r->message;
		size_t last;

		if (!is_content(m, r))
			continue;
		if (own && m->first[r->turn] == SIZE_MAX)
			continue;
		last = content_end(m, k, own);
		if (own) {
			own_turn(m, r->turn, r->message, k, last);
			m->first[r->turn] = SIZE_MAX; /* done */
		} else {
			other_turn(m, r->message, k, last);
			k = last;
		}
	}
	for (size_t t = 0; t < m->c->n_turns;
	     t++) { /* turns without content: only text of the template */
		int32_t message = m->c->turn_of[t];

		if (m->first[t] != SIZE_MAX && m->assistant[message])
			own_turn(m, (int32_t)t, message, SIZE_MAX, 0);
	}
}

static int
add_segment(struct qz_rendering *r, struct qz_segment s, struct qz_err *e)
{
	struct qz_segment *last = r->n_segments ? &r->segments[r->n_segments - 1] : NULL;

	if (last && last->from_data == s.from_data && last->trained == s.trained &&
	    last->message == s.message) {
		last->n += s.n;
		return 0;
	}
	return qz_rendering_add(r, s, e);
}

static int
segments(const struct mask *m, struct qz_rendering *r, struct qz_err *e)
{
	for (size_t k = 0; k < m->n_runs; k++)
		for (size_t a = m->at[k], b; a < m->at[k + 1]; a = b) {
			struct qz_segment s = { .at = a,
				.from_data = is_data(&m->runs[k]),
				.trained = m->trained[a],
				.message = is_data(&m->runs[k]) ? m->runs[k].message : -1 };

			if (s.message == (int)m->n_messages - 1)
				s.message = -1;
			for (b = a + 1; b < m->at[k + 1] && m->trained[b] == m->trained[a];)
				b++;
			s.n = b - a;
			if (add_segment(r, s, e) < 0)
				return -1;
		}
	return 0;
}

static void
find_turns(struct mask *m)
{
	for (size_t t = 0; t < m->c->n_turns; t++)
		m->first[t] = m->last[t] = SIZE_MAX;
	for (size_t k = 0; k < m->n_runs; k++) {
		int32_t t = m->runs[k].turn;

		if (t < 0)
			continue;
		if (m->first[t] == SIZE_MAX)
			m->first[t] = k;
		m->last[t] = k;
	}
}

static void
find_assistants(struct mask *m, const struct qz_json *messages)
{
	size_t i = 0;

	for (const struct qz_json *k = qz_json_first(messages); k; k = qz_json_next(k), i++)
		m->assistant[i] = !strcmp(qz_json_string(qz_json_get(k, "role"), ""), "assistant");
}

/* The generation prompt at the text's end is nobody's turn. */
static void
find_end(struct mask *m)
{
	struct qz_buf without = { 0 };

	if (m->v->add_generation_prompt && !m->c->t->has_generation &&
	    qz_chat_prefix(m->c->t, m->v, SIZE_MAX, false, &without, &m->asked) == 0 &&
	    without.n < m->n && (!without.n || !memcmp(m->text, without.data, without.n)))
		m->end = without.n;
	qz_buf_free(&without);
}

int
qz_chat_mask(struct qz_jctx *c, const struct qz_chat_vars *v, struct qz_rendering *r)
{
	struct mask m = { .c = c, .runs = c->out->runs, .n_runs = c->out->n_runs, .v = v };
	int ret = -1;

	m.n_messages = qz_json_count(v->messages) +
		       1; /* the last is the variable that is learned */
	m.at = malloc((m.n_runs + 1) * sizeof *m.at);
	m.first = malloc((c->n_turns + 1) * sizeof *m.first);
	m.last = malloc((c->n_turns + 1) * sizeof *m.last);
	m.assistant = calloc(m.n_messages + 1, sizeof *m.assistant);
	m.trained = calloc(c->out->n + 1, sizeof *m.trained);
	if (!m.at || !m.first || !m.last || !m.assistant || !m.trained) {
		qz_nomem(c->e, c->out->n);
		goto out;
	}
	for (size_t k = 0; k < m.n_runs; k++) {
		m.at[k] = r->text.n;
		qz_buf_add(&r->text, m.runs[k].s, m.runs[k].n);
	}
	m.at[m.n_runs] = r->text.n;
	if (qz_buf_ok(&r->text, c->e) < 0)
		goto out;
	m.text = r->text.data ? r->text.data : "";
	m.n = m.end = r->text.n;
	m.eos = v->eos_token ? v->eos_token : "";
	m.n_eos = strlen(m.eos);
	find_end(&m);
	find_turns(&m);
	find_assistants(&m, v->messages);
	m.assistant[m.n_messages - 1] = v->response != NULL;
	if (!c->t->has_generation)
		mark_turns(&m);
	for (size_t k = 0; k < m.n_runs && c->t->has_generation; k++)
		if (m.runs[k].generated)
			memset(m.trained + m.at[k], 1, m.runs[k].n);
	if (m.asked > QZ_J_ASK_MAX)
		qz_fail(c->e, QZ_EDATA, "more than %d steps to find out where turns begin",
		    QZ_J_ASK_MAX);
	else
		ret = segments(&m, r, c->e);
out:
	qz_buf_free(&m.prompt);
	free(m.at);
	free(m.first);
	free(m.last);
	free(m.assistant);
	free(m.trained);
	return ret;
}
