/* Vocabularies of GGUF files as tokenizer.json: every pre-tokenizer loads, merges come in order, and
 * what is wrong is named. */
#include <math.h>

#include "libcore/base/json.h"
#include "libcore/text/gguf_tokens.h"
#include "libcore/text/tokenizer.h"
#include "tests/unit/tap.h"

enum { N = 7 };
static const char *const texts[N] = { "<unk>", "<s>", "a", "b", "ab", "aba", "ba" };
static const size_t lens[N] = { 5, 3, 1, 1, 2, 3, 2 };
static const int32_t types[N] = { 2, 3, 1, 1, 1, 4, 1 };
static const float scores[N] = { 0, 0, -1, -2, -3, -4, -3 };
static const char *const merges[] = { "a b", "ab a" };

static struct qz_gguf_tokens
vocabulary(const char *model, const char *pre)
{
	return (struct qz_gguf_tokens){ .model = model,
		.pre = pre,
		.n = N,
		.tokens = texts,
		.lens = lens,
		.scores = scores,
		.types = types,
		.n_merges = 2,
		.merges = merges,
		.bos = 1,
		.eos = -1,
		.unk = -1,
		.pad = -1,
		.add_bos = -1,
		.add_eos = -1,
		.add_space_prefix = -1 };
}

/* Both files' texts, as a tokenizer. */
static struct qz_tokenizer *
load(const struct qz_gguf_tokens *v, struct qz_buf *json, struct qz_buf *config, struct qz_err *e)
{
	struct qz_text_files f;

	qz_buf_clear(json);
	qz_buf_clear(config);
	if (qz_gguf_tokens_to_json(v, json, config, e) < 0)
		return NULL;
	f = (struct qz_text_files){ .file = {
					{ json->data, json->n }, { config->data, config->n } } };
	return qz_tokenizer_load(&f, e);
}

/* Names, and whether their habit is to add BOS. */
static const struct {
	const char *model, *pre;
	int bos;
	const char *has;
} known[] = {
	{ "gpt2", "gpt-2", 0, "\"use_regex\":true" },
	{ "gpt2", "smollm", 0, "\"individual_digits\":true" },
	{ "gpt2", "llama-bpe", 1, "\"ignore_merges\":true" },
	{ "gpt2", "llama-bpe", 1, "\\\\p{N}{1,3}" },
	{ "gpt2", "qwen2", 0, "{\"type\":\"NFC\"}" },
	{ "llama", "default", 1, "\"byte_fallback\":true" },
	{ "llama", NULL, 1, "\"type\":\"Prepend\"" },
	/* Best score first; of one score the longer left part, then the longer right one. */
	{ "llama", NULL, 1,
	    "\"merges\":[[\"a\",\"b\"],[\"b\",\"a\"],[\"ab\",\"a\"],[\"a\",\"ba\"]]" },
	{ "llama", NULL, 1, "\"unk_token\":\"<unk>\"" },
};

static void
check_known(void)
{
	struct qz_buf json = { 0 }, config = { 0 };
	struct qz_err e = { 0 };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		struct qz_gguf_tokens v = vocabulary(known[i].model, known[i].pre);
		struct qz_encoding enc = { 0 };
		struct qz_tokenizer *t = load(&v, &json, &config, &e);

		if (!ok(t != NULL, "%s %s loads %s", known[i].model,
			known[i].pre ? known[i].pre : "", e.msg))
			continue;
		ok(strstr(json.data, known[i].has) != NULL, "has %s", known[i].has);
		ok(qz_vocab_bos(t) == 1 && qz_vocab_is_special(t, 1) && qz_vocab_is_special(t, 0) &&
			qz_vocab_is_added(t, 5) && !qz_vocab_is_special(t, 5),
		    "types");
		ok(qz_encode(t, "", 0, QZ_SPECIAL_ADD, NULL, 0, &enc, &e) == 0 &&
			enc.n == (size_t)known[i].bos,
		    "adds BOS: %d", known[i].bos);
		qz_encoding_free(&enc);
		qz_tokenizer_free(t);
	}
	qz_buf_free(&json);
	qz_buf_free(&config);
}

static const float bad_scores[N] = { 0, NAN };
static const int32_t bad_types[N] = { 9 };
static const char *const bad_texts[N] = { "<unk>", "\xff", "a", "b", "ab", "aba", "ba" };
static const char *const twice[N] = { "<unk>", "<s>", "a", "b", "ab", "aba", "ab" };

static void
check_refused(void)
{
	struct qz_gguf_tokens a = vocabulary("bert", "x"), b = vocabulary("gpt2", "new"),
			      c = vocabulary("gpt2", NULL), d = vocabulary("llama", NULL), f = d,
			      g = d, h = d, i = d, j = d, k = d, l = d;
	const struct {
		struct qz_gguf_tokens *v;
		const char *message;
	} rows[] = {
		{ &a, "the tokenizer model \"bert\" is not supported" },
		{ &b, "the pre-tokenizer \"new\" is not known" },
		{ &c, "the pre-tokenizer \"\" is not known" },
		{ &d, "token 1 has the score nan" },
		{ &f, "token 0: type 9, expected 1 to 6" },
		{ &g, "token 1: byte 0 is not valid UTF-8" },
		{ &h, "is there twice, as id 4 and 6" },
		{ &i, "the bos token is id 7 of 7" },
		{ &j, "a llama vocabulary without scores" },
		{ &k, "0 tokens, expected 1 to" },
		{ &l, "add_eos_token is true, and there is no eos token" },
	};
	struct qz_buf json = { 0 }, config = { 0 };
	struct qz_err e = { 0 };

	d.scores = bad_scores;
	f.types = bad_types;
	g.tokens = bad_texts;
	h.tokens = twice;
	i.bos = 7;
	j.scores = NULL;
	k.n = 0;
	l.add_eos = 1;
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		ok(qz_gguf_tokens_to_json(rows[r].v, &json, &config, &e) < 0 &&
			strstr(e.msg, rows[r].message),
		    "refused: %s", rows[r].message);
		if (!strstr(e.msg, rows[r].message))
			printf("#  got: %s\n", e.msg);
	}
	qz_buf_free(&json);
	qz_buf_free(&config);
}

/* What a NUL-free string can hold comes back out of the JSON. */
static void
check_config(void)
{
	struct qz_gguf_tokens v = vocabulary("gpt2", "gpt-2");
	struct qz_buf json = { 0 }, config = { 0 };
	struct qz_err e = { 0 };
	struct qz_json *j;

	v.chat_template = "{{ \"a\\n\" }}\n\x01\x7f\xc3\xa9";
	v.add_bos = 1;
	ok(qz_gguf_tokens_to_json(&v, &json, &config, &e) == 0, "converts");
	j = qz_json_parse(config.data, config.n, &e);
	ok(j != NULL, "is JSON %s", e.msg);
	is(qz_json_string(qz_json_get(j, "chat_template"), ""), v.chat_template,
	    "the template as it was");
	is(qz_json_string(qz_json_get(j, "bos_token"), ""), "<s>", "bos_token");
	is(qz_json_string(qz_json_get(j, "tokenizer_class"), ""), "PreTrainedTokenizerFast",
	    "tokenizer_class");
	ok(qz_json_bool(qz_json_get(j, "add_bos_token"), false), "add_bos_token");
	ok(!qz_json_get(j, "model_max_length") && !qz_json_get(j, "eos_token"),
	    "nothing that is not known");
	qz_json_free(j);
	qz_buf_free(&json);
	qz_buf_free(&config);
}

int
main(void)
{
	check_known();
	check_refused();
	check_config();
	return done();
}
