#include <string.h>

#include "libcore/model/gguf_vocab.h"

/* What GPT-2 splits by; ByteLevel with use_regex is the same. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* Llama 3 and Qwen2 differ in how many digits stay together. */
#define LLAMA3(digits)                                                                             \
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                       \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Names of llama.cpp's src/llama-vocab.cpp and the tokenizer.json that each stands for.  "smaug-bpe"
 * splits as "llama-bpe" does but applies its merges to words that are tokens themselves, too. */
static const struct {
	const char *structure;
	int ignore_merges; /* -1: either */
	const char *pre;
} table[] = {
	{ "bytes(gpt2)", -1, "gpt-2" },
	{ "split(" GPT2 ") bytes", -1, "gpt-2" },
	{ "digits bytes(gpt2)", -1, "smollm" },
	{ "split(" LLAMA3("\\p{N}{1,3}") ") bytes", 1, "llama-bpe" },
	{ "split(" LLAMA3("\\p{N}{1,3}") ") bytes", 0, "smaug-bpe" },
	{ "split(" LLAMA3("\\p{N}") ") bytes", -1, "qwen2" },
};

static void
describe_split(const struct qz_json *p, struct qz_buf *b)
{
	const struct qz_json *pattern = qz_json_get(p, "pattern");
	const char *regex = qz_json_string(qz_json_get(pattern, "Regex"), NULL);
	const char *behavior = qz_json_string(qz_json_get(p, "behavior"), "?");

	if (regex)
		qz_buf_fmt(b, "split(%s", regex);
	else
		qz_buf_fmt(
		    b, "split(the text %s", qz_json_string(qz_json_get(pattern, "String"), "?"));
	if (strcmp(behavior, "Isolated"))
		qz_buf_fmt(b, ", %s", behavior);
	if (qz_json_bool(qz_json_get(p, "invert"), false))
		qz_buf_str(b, ", inverted");
	qz_buf_chr(b, ')');
}

/* One step as a word or two. */
static void
describe_step(const struct qz_json *p, struct qz_buf *b)
{
	const char *type = qz_json_string(qz_json_get(p, "type"), "none");

	if (b->n)
		qz_buf_chr(b, ' ');
	if (!strcmp(type, "Split")) {
		describe_split(p, b);
	} else if (!strcmp(type, "Digits")) {
		qz_buf_str(b, "digits");
		if (!qz_json_bool(qz_json_get(p, "individual_digits"), false))
			qz_buf_str(b, "(runs)");
	} else if (!strcmp(type, "ByteLevel")) {
		qz_buf_str(b, "bytes");
		if (qz_json_bool(qz_json_get(p, "use_regex"), true))
			qz_buf_str(b, "(gpt2)");
		if (qz_json_bool(qz_json_get(p, "add_prefix_space"), true))
			qz_buf_str(b, "(space before the text)");
	} else {
		qz_buf_str(b, type);
	}
}

static void
describe(const struct qz_json *p, struct qz_buf *b)
{
	const char *type = qz_json_string(qz_json_get(p, "type"), "none");

	if (strcmp(type, "Sequence")) {
		describe_step(p, b);
		return;
	}
	p = qz_json_first(qz_json_get(p, "pretokenizers"));
	for (; p; p = qz_json_next(p))
		describe_step(p, b);
}

const char *
qz_gguf_pre(const struct qz_json *tokenizer, struct qz_err *e)
{
	int ignore = qz_json_bool(
	    qz_json_get(qz_json_get(tokenizer, "model"), "ignore_merges"), false);
	struct qz_buf b = { 0 };
	const char *pre = NULL;

	describe(qz_json_get(tokenizer, "pre_tokenizer"), &b);
	if (qz_buf_ok(&b, e) < 0) {
		qz_buf_free(&b);
		return NULL;
	}
	for (size_t i = 0; i < sizeof table / sizeof *table && !pre; i++)
		if (!strcmp(table[i].structure, b.data) &&
		    (table[i].ignore_merges < 0 || table[i].ignore_merges == ignore))
			pre = table[i].pre;
	if (!pre)
		qz_fail(e, QZ_EDATA,
		    "tokenizer.json: llama.cpp has no pre-tokenizer known here for: %s",
		    b.n ? b.data : "an empty sequence");
	qz_buf_free(&b);
	return pre;
}
