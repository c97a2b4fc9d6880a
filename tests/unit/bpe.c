/* Ids and ends of random words under random merges, beside merging by the definition. */
#include "libcore/base/json.h"
#include "libcore/base/rng.h"
#include "libcore/base/utf8.h"
#include "libcore/text/tokenizer.h"
#include "libcore/text/vocab.h"
#include "tests/unit/tap.h"

enum {
	MODELS = 40,
	TEXTS = 100,
	TEXT_MAX = 400,
	WORD_MAX = 90,
	TOKEN = 12,
	MERGES = 60,
	TOKENS = 256 + 2 * MERGES
};

static uint64_t drawn;

static uint32_t
draw(uint32_t below)
{
	uint32_t v[4];

	qz_philox(1, 0, drawn++, v);
	return v[0] % below;
}

/* Ids 0 to 255 are the bytes. */
struct model {
	struct {
		char s[TOKEN];
		size_t n;
	} token[TOKENS];
	struct {
		uint32_t left, right, to;
	} merge[MERGES];
	uint32_t n, n_merges;
	bool ignore_merges;
};

/* m->n: no token has this text. */
static uint32_t
find(const struct model *m, const char *s, size_t n)
{
	uint32_t id = 0;

	while (id < m->n && (m->token[id].n != n || memcmp(m->token[id].s, s, n)))
		id++;
	return id;
}

/* The token of a text, new where there is none; TOKENS: the text is too long. */
static uint32_t
token_of(struct model *m, const char *s, size_t n)
{
	uint32_t id = find(m, s, n);

	if (n > TOKEN)
		return TOKENS;
	if (id < m->n)
		return id;
	memcpy(m->token[id].s, s, n);
	m->token[id].n = n;
	m->n++;
	return id;
}

/* A letter's byte, or one of a letter of two. */
static uint32_t
any_part(const struct model *m)
{
	static const uint8_t bytes[] = { 'a', 'b', 'c', 0xc3, 0xa9 };

	return m->n == 256 || draw(2) ? bytes[draw(sizeof bytes)] : 256 + draw(m->n - 256);
}

static bool
is_there(const struct model *m, uint32_t left, uint32_t right)
{
	for (uint32_t i = 0; i < m->n_merges; i++)
		if (m->merge[i].left == left && m->merge[i].right == right)
			return true;
	return false;
}

/* In no order: a merge's parts may be of later ones. */
static void
make_model(struct model *m)
{
	memset(m, 0, sizeof *m);
	for (; m->n < 256; m->n++) {
		m->token[m->n].s[0] = (char)m->n;
		m->token[m->n].n = 1;
	}
	m->ignore_merges = draw(2);
	while (m->n_merges < MERGES) {
		uint32_t l = any_part(m), r = any_part(m), to, at = draw(m->n_merges + 1);
		char s[2 * TOKEN];

		memcpy(s, m->token[l].s, m->token[l].n);
		memcpy(s + m->token[l].n, m->token[r].s, m->token[r].n);
		to = is_there(m, l, r) ? TOKENS : token_of(m, s, m->token[l].n + m->token[r].n);
		if (to == TOKENS)
			continue;
		m->merge[m->n_merges++] = m->merge[at];
		m->merge[at].left = l;
		m->merge[at].right = r;
		m->merge[at].to = to;
	}
}

/* Letters a b c, one of two bytes and, where there are spaces, words. */
static size_t
make_text(char *s, size_t n, bool spaces)
{
	size_t k = 0;

	while (k < n) {
		uint32_t c = draw(spaces ? 30 : 28);

		if (c < 24)
			s[k++] = "abc"[c % 3];
		else
			k += (size_t)qz_utf8_put(c < 28 ? 0xe9 : ' ', s + k);
	}
	return k;
}

/* Its text, in the characters of bytes. */
static void
put_token(struct qz_buf *b, const struct model *m, uint32_t id)
{
	char s[4 * TOKEN];
	size_t n = 0;

	for (size_t i = 0; i < m->token[id].n; i++)
		n += (size_t)qz_utf8_put(qz_byte_char((unsigned char)m->token[id].s[i]), s + n);
	qz_json_put_string(b, s, n);
}

static struct qz_tokenizer *
load(const struct model *m, struct qz_err *e)
{
	struct qz_buf b = { 0 };
	struct qz_text_files f = { 0 };
	struct qz_tokenizer *t;

	qz_buf_str(&b,
	    "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
	    "\"pattern\":{\"String\":\" \"},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\","
	    "\"add_prefix_space\":false,\"use_regex\":false}]},\"model\":{\"type\":\"BPE\",");
	qz_buf_fmt(&b, "\"ignore_merges\":%s,\"vocab\":{", m->ignore_merges ? "true" : "false");
	for (uint32_t i = 0; i < m->n; i++) {
		put_token(&b, m, i);
		qz_buf_fmt(&b, ":%lu%s", (unsigned long)i, i + 1 < m->n ? "," : "},\"merges\":[");
	}
	for (uint32_t i = 0; i < m->n_merges; i++) {
		qz_buf_str(&b, i ? ",[" : "[");
		put_token(&b, m, m->merge[i].left);
		qz_buf_str(&b, ",");
		put_token(&b, m, m->merge[i].right);
		qz_buf_str(&b, "]");
	}
	qz_buf_str(&b, "]}}");
	f.file[QZ_TEXT_JSON].s = b.data;
	f.file[QZ_TEXT_JSON].n = b.n;
	t = qz_tokenizer_load(&f, e);
	qz_buf_free(&b);
	return t;
}

struct symbols {
	uint32_t id[TEXT_MAX + 4];
	size_t end[TEXT_MAX + 4], n;
};

/* Which merge two symbols are; m->n_merges: none. */
static uint32_t
rank_of(const struct model *m, uint32_t left, uint32_t right)
{
	uint32_t r = 0;

	while (r < m->n_merges && (m->merge[r].left != left || m->merge[r].right != right))
		r++;
	return r;
}

/* A word by the definition: the pair of least rank, the leftmost of it, until there is none. */
static void
merge(const struct model *m, const char *s, size_t at, size_t n, struct symbols *y)
{
	uint32_t whole = m->ignore_merges ? find(m, s + at, n) : m->n;
	size_t from = y->n;

	if (whole < m->n) {
		y->id[y->n] = whole;
		y->end[y->n++] = at + n;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		y->id[y->n] = (unsigned char)s[at + i];
		y->end[y->n++] = at + i + 1;
	}
	for (;;) {
		uint32_t least = m->n_merges;
		size_t best = 0;

		for (size_t i = from; i + 1 < y->n; i++) {
			uint32_t r = rank_of(m, y->id[i], y->id[i + 1]);

			if (r < least) {
				least = r;
				best = i;
			}
		}
		if (least == m->n_merges)
			return;
		y->id[best] = m->merge[least].to;
		y->end[best] = y->end[best + 1];
		y->n--;
		for (size_t i = best + 1; i < y->n; i++) {
			y->id[i] = y->id[i + 1];
			y->end[i] = y->end[i + 1];
		}
	}
}

/* A text of words and spaces. */
static void
merge_text(const struct model *m, const char *s, size_t n, struct symbols *y)
{
	y->n = 0;
	for (size_t i = 0, end; i < n; i = end) {
		end = i + 1;
		while (s[i] != ' ' && end < n && s[end] != ' ')
			end++;
		merge(m, s, i, end - i, y);
	}
}

/* How many texts come out otherwise; one encoding for all, so that its cache has seen others. */
static int
differ(const struct model *m, const struct qz_tokenizer *t, struct qz_err *e)
{
	struct qz_encoding enc = { 0 };
	static struct symbols want;
	char s[TEXT_MAX + 4];
	int bad = 0;

	for (int i = 0; i < TEXTS; i++) {
		bool spaces = draw(2);
		size_t n = make_text(s, 1 + draw(spaces ? TEXT_MAX : WORD_MAX), spaces);

		merge_text(m, s, n, &want);
		enc.n = 0;
		if (qz_encode(t, s, n, 0, NULL, 0, &enc, e) < 0 || enc.n != want.n ||
		    memcmp(enc.ids, want.id, want.n * sizeof *want.id) ||
		    memcmp(enc.ends, want.end, want.n * sizeof *want.end)) {
			printf("# other: \"%.*s\"\n", (int)n, s);
			bad++;
		}
	}
	qz_encoding_free(&enc);
	return bad;
}

int
main(void)
{
	static struct model m;

	for (int i = 0; i < MODELS; i++) {
		struct qz_err e = { 0 };
		struct qz_tokenizer *t;

		make_model(&m);
		t = load(&m, &e);
		if (!ok(t != NULL, "model %d loads %s", i, e.msg))
			continue;
		ok(!differ(&m, t, &e), "model %d%s: texts are merged as by the definition %s", i,
		    m.ignore_merges ? ", whole words first" : "", e.msg);
		qz_tokenizer_free(t);
	}
	return done();
}
