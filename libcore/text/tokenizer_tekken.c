/* A tokenizer from Mistral's tekken.json: "config" (pattern, default_vocab_size,
 * default_num_special_tokens), "vocab" (rank, token_bytes in base64; token_str is not read) and, in newer
 * files, "special_tokens" (rank, token_str).  Special tokens have the first ids; the token of rank r has the
 * id r behind them.  It merges like tiktoken: two neighbours whose bytes are a token, least rank first; a
 * piece that is a token is that token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/base64.h"
#include "libcore/base/utf8.h"
#include "libcore/text/tokenizer_impl.h"

enum { SPECIALS_MAX = 1 << 16, BATCH = 64 };

/* Files of version v3 and before name none: these are theirs (mistral_common, tekken.py); the rest of their
 * number is <SPECIAL_n>. */
static const char *const old_specials[] = { "<unk>", "<s>", "</s>", "[INST]", "[/INST]",
	"[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
	"[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]",
	"[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]" };
enum { N_OLD = sizeof old_specials / sizeof *old_specials };

static int
put_special(struct qz_tokenizer *t, const char *s, uint32_t id, struct qz_err *e)
{
	struct qz_added_token a = { .s = s, .n = strlen(s), .id = id, .special = true };

	if (qz_vocab_put(&t->vocab, s, a.n, id, QZ_V_ADDED | QZ_V_SPECIAL, e) < 0)
		return -1;
	return qz_added_put(&t->raw, &a, e);
}

static int
put_specials(struct qz_tokenizer *t, const struct qz_json *list, int64_t n, struct qz_err *e)
{
	char name[32];
	int64_t id;

	for (const struct qz_json *c = qz_json_first(list); c; c = qz_json_next(c)) {
		const char *s = qz_json_string(qz_json_get(c, "token_str"), NULL);

		if (!s)
			return qz_fail(e, QZ_EDATA, "special_tokens: no string \"token_str\"");
		if (qz_json_int(qz_json_get(c, "rank"), 0, n - 1, &id, e) < 0)
			return qz_at(e, "special_tokens: the rank of \"%.60s\"", s);
		if (put_special(t, s, (uint32_t)id, e) < 0)
			return qz_at(e, "special_tokens");
	}
	for (id = 0; id < n; id++) {
		size_t len;

		if (qz_vocab_get(&t->vocab, (uint32_t)id, &len))
			continue;
		snprintf(name, sizeof name, "<SPECIAL_%lld>", (long long)id);
		if (put_special(t, !list && id < N_OLD ? old_specials[id] : name, (uint32_t)id, e) <
		    0)
			return -1;
	}
	return 0;
}

/* A byte's character. */
struct letter {
	char utf8[4];
	size_t n;
};

/* Tokens that wait to be put, many at once, whose waits for memory overlap. */
struct tokens {
	struct qz_tokenizer *t;
	int64_t first, n; /* the id of rank 0; ranks in use */
	struct letter letters[256];
	struct qz_buf bytes; /* scratch */
	struct qz_buf text;  /* theirs */
	size_t n_waiting;
	struct {
		size_t at, n, of; /* in text; in the list */
		uint32_t id;
	} waiting[BATCH];
};

/* A token's bytes in the characters of the byte-level alphabet. */
static int
add_token(struct tokens *k, const struct qz_json *j, size_t of, struct qz_err *e)
{
	const char *base64 = qz_json_string(qz_json_get(j, "token_bytes"), NULL);
	size_t at = k->text.n;
	int64_t rank;
	char *out;

	if (qz_json_int(qz_json_get(j, "rank"), 0, QZ_ID_MAX - k->first, &rank, e) < 0)
		return qz_at(e, "rank");
	if (rank >= k->n)
		return 0; /* beyond default_vocab_size: not in use */
	if (!base64)
		return qz_fail(e, QZ_EDATA, "no string \"token_bytes\"");
	qz_buf_clear(&k->bytes);
	if (qz_base64_decode(base64, strlen(base64), &k->bytes, e) < 0)
		return qz_at(e, "token_bytes");
	out = qz_buf_room(&k->text, 2 * k->bytes.n);
	if (!out)
		return qz_buf_ok(&k->text, e);
	for (size_t i = 0; i < k->bytes.n; i++) {
		const struct letter *l = &k->letters[(unsigned char)k->bytes.data[i]];

		memcpy(out, l->utf8, 2);
		out += l->n;
	}
	k->text.n = (size_t)(out - k->text.data);
	k->waiting[k->n_waiting].at = at;
	k->waiting[k->n_waiting].n = k->text.n - at;
	k->waiting[k->n_waiting].of = of;
	k->waiting[k->n_waiting++].id = (uint32_t)(k->first + rank);
	return 0;
}

static int
put_waiting(struct tokens *k, struct qz_err *e)
{
	for (size_t i = 0; i < k->n_waiting; i++)
		qz_vocab_expect(&k->t->vocab, k->text.data + k->waiting[i].at, k->waiting[i].n);
	for (size_t i = 0; i < k->n_waiting; i++)
		if (qz_vocab_put(&k->t->vocab, k->text.data + k->waiting[i].at, k->waiting[i].n,
			k->waiting[i].id, QZ_V_MODEL, e) < 0)
			return qz_at(e, "vocab[%zu]", k->waiting[i].of);
	k->n_waiting = 0;
	qz_buf_clear(&k->text);
	return 0;
}

static int
put_tokens(
    struct qz_tokenizer *t, const struct qz_json *vocab, int64_t first, int64_t n, struct qz_err *e)
{
	struct tokens k = { .t = t, .first = first, .n = n };
	size_t i = 0;
	int ret = qz_json_is(vocab, QZ_JSON_ARRAY)
		      ? 0
		      : qz_fail(e, QZ_EDATA, "vocab: is %s, not an array",
			    qz_json_kind_name(qz_json_kind(vocab)));

	for (unsigned b = 0; b < 256; b++)
		k.letters[b].n = (size_t)qz_utf8_put(
		    qz_byte_char((unsigned char)b), k.letters[b].utf8);
	if (!ret)
		ret = qz_vocab_reserve(&t->vocab, qz_json_count(vocab) + (size_t)first, 1, e);
	for (const struct qz_json *c = qz_json_first(vocab); c && !ret; c = qz_json_next(c), i++) {
		if (add_token(&k, c, i, e) < 0)
			ret = qz_at(e, "vocab[%zu]", i);
		else if (k.n_waiting == BATCH)
			ret = put_waiting(&k, e);
	}
	if (!ret)
		ret = put_waiting(&k, e);
	qz_buf_free(&k.bytes);
	qz_buf_free(&k.text);
	return ret;
}

/* The same from the ready form. */
static int
load_tokens(struct qz_tokenizer *t, uint32_t first, struct qz_err *e)
{
	const struct qz_vocab_image *v = &t->ready->vocab;

	for (uint32_t id = 0; id < first && id < v->n_ids; id++)
		if (v->lengths[id])
			return qz_fail(
			    e, QZ_EDATA, "id %lu is a special token's", (unsigned long)id);
	return qz_vocab_load(&t->vocab, v, e);
}

static int
load_ranks(struct qz_tokenizer *t, uint32_t first, struct qz_err *e)
{
	uint32_t n = t->vocab.size, *rank = malloc(n * sizeof *rank);
	int ret;

	if (!rank)
		return qz_nomem(e, n * sizeof *rank);
	for (uint32_t id = 0; id < n; id++)
		rank[id] = id < first || !t->vocab.entry[id].n ? QZ_NO_MERGE : id - first;
	ret = qz_bpe_load_ranks(&t->bpe, &t->vocab, rank, n, e);
	free(rank);
	return ret;
}

static int
load_bpe(struct qz_tokenizer *t, uint32_t first, struct qz_err *e)
{
	t->bpe.ignore_merges = true;
	t->bpe.unk = QZ_ID_NONE;
	if ((t->ready ? qz_bpe_load_ready(&t->bpe, &t->vocab, t->ready, e)
		      : load_ranks(t, first, e)) < 0 ||
	    qz_bpe_use_bytes(&t->bpe, true, t->ready, e) < 0)
		return -1;
	for (int b = 0; b < 256; b++)
		if (t->bpe.byte_id[b] == QZ_ID_NONE)
			return qz_fail(e, QZ_EDATA, "vocab: no token is the byte %d alone", b);
	t->pretokenizer.bytes = true;
	return 0;
}

/* The pattern as a pre-tokenizer of tokenizer.json, and its decoder. */
static int
load_cutting(struct qz_tokenizer *t, const char *pattern, struct qz_err *e)
{
	static const char level[] =
	    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}";
	struct qz_buf b = { 0 };
	struct qz_json *pre = NULL, *dec = qz_json_parse(level, sizeof level - 1, e);
	int ret = dec ? 0 : -1;

	qz_buf_str(&b, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{"
		       "\"Regex\":");
	qz_json_put_string(&b, pattern, strlen(pattern));
	qz_buf_fmt(&b, "},\"behavior\":\"Removed\",\"invert\":true},%s]}", level);
	if (!ret && (ret = qz_buf_ok(&b, e)) == 0) {
		pre = qz_json_parse(b.data, b.n, e);
		ret = pre ? qz_pretokenizer_load(&t->pretokenizer, pre, e) : -1;
	}
	if (!ret)
		ret = qz_decoder_load(&t->decoder, dec, e);
	qz_json_free(pre);
	qz_json_free(dec);
	qz_buf_free(&b);
	return ret;
}

static int64_t
special_id(const struct qz_tokenizer *t, const char *s)
{
	int64_t id = qz_vocab_id(t, s, strlen(s));

	return id >= 0 && qz_vocab_is_special(t, (uint32_t)id) ? id : -1;
}

int
qz_tokenizer_from_tekken(struct qz_tokenizer *t, const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *config = qz_json_get(j, "config"),
			     *specials = qz_json_get(j, "special_tokens");
	const char *pattern = qz_json_string(qz_json_get(config, "pattern"), NULL);
	int64_t n = 0, n_specials = 0;

	if (!pattern)
		return qz_fail(e, QZ_EDATA, "config: no string \"pattern\"");
	if (qz_json_int(qz_json_get(config, "default_num_special_tokens"), 0, SPECIALS_MAX,
		&n_specials, e) < 0)
		return qz_at(e, "config: default_num_special_tokens");
	if (qz_json_int(
		qz_json_get(config, "default_vocab_size"), n_specials + 1, QZ_ID_MAX, &n, e) < 0)
		return qz_at(e, "config: default_vocab_size");
	t->classes = qz_uclass_new(0, e);
	if (!t->classes || load_cutting(t, pattern, e) < 0)
		return -1;
	t->vocab.twins = true; /* special tokens have names that ordinary ones may spell */
	if ((t->ready
		    ? load_tokens(t, (uint32_t)n_specials, e)
		    : put_tokens(t, qz_json_get(j, "vocab"), n_specials, n - n_specials, e)) < 0 ||
	    put_specials(
		t, qz_json_kind(specials) == QZ_JSON_NULL ? NULL : specials, n_specials, e) < 0 ||
	    load_bpe(t, (uint32_t)n_specials, e) < 0)
		return -1;
	qz_added_sort(&t->raw);
	t->bos = special_id(t, "<s>");
	t->eos = special_id(t, "</s>");
	t->pad = special_id(t, "<pad>");
	t->unk = special_id(t, "<unk>");
	return t->bos < 0 ? 0 : qz_post_put(&t->post.before, (uint32_t)t->bos, e);
}
