#include "libcore/text/gguf_tokens.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/base/utf8.h"
#include "libcore/text/gguf_merges.h"
#include "libcore/text/vocab.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE }; /* tokenizer.ggml.token_type */

#define BYTE_LEVEL(prefix, regex)                                                                  \
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":" prefix                                     \
	",\"trim_offsets\":true,\"use_regex\":" regex "}"
#define SEQUENCE(first, second) "{\"type\":\"Sequence\",\"pretokenizers\":[" first "," second "]}"
#define SPLIT(pattern)                                                                             \
	"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern                                    \
	"\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define LLAMA3(numbers)                                                                            \
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" numbers            \
	"| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define DIGITS "{\"type\":\"Digits\",\"individual_digits\":true}"
#define AFTER_SPLIT(numbers) SEQUENCE(SPLIT(LLAMA3(numbers)), BYTE_LEVEL("false", "false"))

/* What llama.cpp's names of pre-tokenizers are in the models' own files (src/llama-vocab.cpp). */
static const struct pre {
	const char *name, *pre_tokenizer, *normalizer;
	bool ignore_merges, add_bos;
} pres[] = {
	{ "gpt-2", BYTE_LEVEL("false", "true"), "null", false, false },
	{ "phi-2", BYTE_LEVEL("false", "true"), "null", false, false },
	{ "smollm", SEQUENCE(DIGITS, BYTE_LEVEL("false", "true")), "null", false, false },
	{ "starcoder", SEQUENCE(DIGITS, BYTE_LEVEL("false", "true")), "null", false, false },
	{ "refact", SEQUENCE(DIGITS, BYTE_LEVEL("false", "true")), "null", false, false },
	{ "llama-bpe", AFTER_SPLIT("\\\\p{N}{1,3}"), "null", true, true },
	{ "llama3", AFTER_SPLIT("\\\\p{N}{1,3}"), "null", true, true },
	{ "llama-v3", AFTER_SPLIT("\\\\p{N}{1,3}"), "null", true, true },
	{ "qwen2", AFTER_SPLIT("\\\\p{N}"), "{\"type\":\"NFC\"}", false, false },
	{ "deepseek-r1-qwen", AFTER_SPLIT("\\\\p{N}"), "{\"type\":\"NFC\"}", false, false },
};

#define UNDER "\xe2\x96\x81" /* U+2581 */
#define SPACES "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" UNDER "\"}"
static const char spm_prefix[] =
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
    "\"" UNDER "\"}," SPACES "]}";
static const char spm_decoder[] =
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
    "{\"String\":\"" UNDER "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
    "{\"type\":\"Fuse\"}";
static const char spm_strip[] = ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}";

static int
type_of(const struct qz_gguf_tokens *v, uint64_t id)
{
	return v->types ? v->types[id] : NORMAL;
}

/* llama.cpp's converter names ids without a token so. */
static bool
is_gap(const struct qz_gguf_tokens *v, uint64_t id)
{
	char name[32];
	int n = snprintf(name, sizeof name, "[PAD%" PRIu64 "]", id);

	return type_of(v, id) == UNUSED && v->lens[id] == (size_t)n &&
	       !memcmp(v->tokens[id], name, (size_t)n);
}

static void
put_token(struct qz_buf *b, const struct qz_gguf_tokens *v, int64_t id)
{
	qz_json_put_string(b, v->tokens[id], v->lens[id]);
}

static int
check(const struct qz_gguf_tokens *v, struct qz_err *e)
{
	static const char *const names[] = { "bos", "eos", "unknown", "padding" };
	const int64_t ids[] = { v->bos, v->eos, v->unk, v->pad };

	if (!v->n || v->n > QZ_ID_MAX)
		return qz_fail(
		    e, QZ_EDATA, "%" PRIu64 " tokens, expected 1 to %d", v->n, QZ_ID_MAX);
	for (uint64_t i = 0; i < v->n; i++) {
		size_t bad = qz_utf8_valid(v->tokens[i], v->lens[i]);

		if (bad < v->lens[i])
			return qz_fail(
			    e, QZ_EDATA, "token %" PRIu64 ": byte %zu is not valid UTF-8", i, bad);
		if (memchr(v->tokens[i], 0, v->lens[i]))
			return qz_fail(e, QZ_EDATA, "token %" PRIu64 ": a NUL in its text", i);
		if (type_of(v, i) < NORMAL || type_of(v, i) > BYTE)
			return qz_fail(e, QZ_EDATA, "token %" PRIu64 ": type %d, expected 1 to 6",
			    i, type_of(v, i));
	}
	for (int i = 0; i < 4; i++)
		if (ids[i] < -1 || ids[i] >= (int64_t)v->n)
			return qz_fail(e, QZ_EDATA, "the %s token is id %" PRId64 " of %" PRIu64,
			    names[i], ids[i], v->n);
	return 0;
}

/* Control tokens are special; those of the user are cut out of the text all the same. */
static void
put_added(struct qz_buf *b, const struct qz_gguf_tokens *v)
{
	const char *sep = "";

	qz_buf_str(b, "\"added_tokens\":[");
	for (uint64_t i = 0; i < v->n; i++) {
		int type = type_of(v, i);

		if (type != CONTROL && type != UNKNOWN && type != USER)
			continue;
		qz_buf_fmt(b, "%s{\"id\":%" PRIu64 ",\"content\":", sep, i);
		put_token(b, v, (int64_t)i);
		qz_buf_fmt(b,
		    ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
		    "\"special\":%s}",
		    type == USER ? "false" : "true");
		sep = ",";
	}
	qz_buf_str(b, "],");
}

static void
put_vocab(struct qz_buf *b, const struct qz_gguf_tokens *v)
{
	const char *sep = "";

	qz_buf_str(b, "\"vocab\":{");
	for (uint64_t i = 0; i < v->n; i++) {
		if (is_gap(v, i))
			continue;
		qz_buf_str(b, sep);
		put_token(b, v, (int64_t)i);
		qz_buf_fmt(b, ":%" PRIu64, i);
		sep = ",";
	}
	qz_buf_str(b, "},");
}

static void
put_special(struct qz_buf *b, const struct qz_gguf_tokens *v, int64_t id, int which)
{
	qz_buf_str(b, "{\"SpecialToken\":{\"id\":");
	put_token(b, v, id);
	qz_buf_fmt(b, ",\"type_id\":%d}}", which);
}

static void
put_definition(struct qz_buf *b, const struct qz_gguf_tokens *v, int64_t id)
{
	put_token(b, v, id);
	qz_buf_str(b, ":{\"id\":");
	put_token(b, v, id);
	qz_buf_fmt(b, ",\"ids\":[%" PRId64 "],\"tokens\":[", id);
	put_token(b, v, id);
	qz_buf_str(b, "]}");
}

/* A template that adds what is to be added; null when there is nothing. */
static void
put_template(struct qz_buf *b, const struct qz_gguf_tokens *v, bool bos, bool eos)
{
	if (!bos && !eos) {
		qz_buf_str(b, "null");
		return;
	}
	qz_buf_str(b, "{\"type\":\"TemplateProcessing\"");
	for (int pair = 0; pair < 2; pair++) {
		qz_buf_str(b, pair ? ",\"pair\":[" : ",\"single\":[");
		for (int i = 0; i <= pair; i++) {
			if (i)
				qz_buf_chr(b, ',');
			if (bos) {
				put_special(b, v, v->bos, i);
				qz_buf_chr(b, ',');
			}
			qz_buf_fmt(b, "{\"Sequence\":{\"id\":\"%c\",\"type_id\":%d}}", 'A' + i, i);
			if (eos) {
				qz_buf_chr(b, ',');
				put_special(b, v, v->eos, i);
			}
		}
		qz_buf_chr(b, ']');
	}
	qz_buf_str(b, ",\"special_tokens\":{");
	if (bos)
		put_definition(b, v, v->bos);
	if (eos && (!bos || v->eos != v->bos)) {
		if (bos)
			qz_buf_chr(b, ',');
		put_definition(b, v, v->eos);
	}
	qz_buf_str(b, "}}");
}

/* Whether a token is added: as the file says, or by habit where it has one. */
static int
adds(const char *name, int says, bool otherwise, int64_t id, bool *yes, struct qz_err *e)
{
	*yes = says < 0 ? otherwise && id >= 0 : says;
	if (*yes && id < 0)
		return qz_fail(
		    e, QZ_EDATA, "add_%s_token is true, and there is no %s token", name, name);
	return 0;
}

static int
put_gpt2(struct qz_buf *b, const struct qz_gguf_tokens *v, const struct pre *p, bool bos, bool eos,
    struct qz_err *e)
{
	qz_buf_fmt(b, "\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":", p->normalizer,
	    p->pre_tokenizer);
	put_template(b, v, bos, eos);
	qz_buf_fmt(b,
	    ",\"decoder\":%s,\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
	    "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
	    "\"byte_fallback\":false,\"ignore_merges\":%s,",
	    BYTE_LEVEL("true", "true"), p->ignore_merges ? "true" : "false");
	put_vocab(b, v);
	qz_buf_str(b, "\"merges\":[");
	for (uint64_t i = 0; i < v->n_merges; i++) {
		const char *m = v->merges[i];

		if (qz_utf8_valid(m, strlen(m)) < strlen(m))
			return qz_fail(e, QZ_EDATA, "merge %" PRIu64 " is not valid UTF-8", i);
		if (i)
			qz_buf_chr(b, ',');
		qz_json_put_string(b, m, strlen(m));
	}
	qz_buf_str(b, "]}}\n");
	return 0;
}

static int
put_llama(struct qz_buf *b, const struct qz_gguf_tokens *v, int64_t unk, bool bos, bool eos,
    struct qz_err *e)
{
	bool prefix = v->add_space_prefix != 0;
	struct qz_merge *merges;
	size_t n;

	if (!v->scores)
		return qz_fail(e, QZ_EDATA, "a llama vocabulary without scores");
	if (qz_gguf_merges(v, &merges, &n, e) < 0)
		return -1;
	qz_buf_fmt(b, "\"normalizer\":%s,\"pre_tokenizer\":null,\"post_processor\":",
	    prefix ? spm_prefix : SPACES);
	put_template(b, v, bos, eos);
	qz_buf_fmt(b,
	    ",\"decoder\":%s%s]},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":",
	    spm_decoder, prefix ? spm_strip : "");
	if (unk >= 0)
		put_token(b, v, unk);
	else
		qz_buf_str(b, "null");
	qz_buf_str(b,
	    ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":true,"
	    "\"byte_fallback\":true,\"ignore_merges\":false,");
	put_vocab(b, v);
	qz_buf_str(b, "\"merges\":[");
	for (size_t i = 0; i < n; i++) {
		qz_buf_str(b, i ? ",[" : "[");
		put_token(b, v, merges[i].left);
		qz_buf_chr(b, ',');
		put_token(b, v, merges[i].right);
		qz_buf_chr(b, ']');
	}
	qz_buf_str(b, "]}}\n");
	free(merges);
	return 0;
}

static void
put_named(struct qz_buf *b, const char *name, const char *text)
{
	qz_buf_str(b, "{\"name\": ");
	qz_json_put_string(b, name, strlen(name));
	qz_buf_str(b, ", \"template\": ");
	qz_json_put_string(b, text, strlen(text));
	qz_buf_chr(b, '}');
}

/* One is a string, several are a list. */
static void
put_templates(struct qz_buf *b, const struct qz_gguf_tokens *v)
{
	if (!v->chat_template && !v->n_templates)
		return;
	qz_buf_str(b, ",\n  \"chat_template\": ");
	if (!v->n_templates) {
		qz_json_put_string(b, v->chat_template, strlen(v->chat_template));
		return;
	}
	qz_buf_chr(b, '[');
	if (v->chat_template)
		put_named(b, "default", v->chat_template);
	for (int i = 0; i < v->n_templates; i++) {
		if (i || v->chat_template)
			qz_buf_str(b, ", ");
		put_named(b, v->templates[i].name, v->templates[i].text);
	}
	qz_buf_chr(b, ']');
}

static void
put_config(struct qz_buf *b, const struct qz_gguf_tokens *v, int64_t unk, bool bos, bool eos)
{
	const struct {
		const char *name;
		int64_t id;
	} names[] = { { "bos_token", v->bos }, { "eos_token", v->eos }, { "unk_token", unk },
		{ "pad_token", v->pad } };

	qz_buf_str(b, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"");
	for (int i = 0; i < 4; i++) {
		if (names[i].id < 0)
			continue;
		qz_buf_fmt(b, ",\n  \"%s\": ", names[i].name);
		put_token(b, v, names[i].id);
	}
	qz_buf_fmt(b,
	    ",\n  \"add_bos_token\": %s,\n  \"add_eos_token\": %s,\n"
	    "  \"clean_up_tokenization_spaces\": false",
	    bos ? "true" : "false", eos ? "true" : "false");
	put_templates(b, v);
	qz_buf_str(b, "\n}\n");
}

static bool
is_text(const char *s)
{
	return !s || qz_utf8_valid(s, strlen(s)) == strlen(s);
}

static int
check_templates(const struct qz_gguf_tokens *v, struct qz_err *e)
{
	if (!is_text(v->chat_template))
		return qz_fail(e, QZ_EDATA, "the chat template is not valid UTF-8");
	for (int i = 0; i < v->n_templates; i++)
		if (!is_text(v->templates[i].name) || !is_text(v->templates[i].text))
			return qz_fail(e, QZ_EDATA, "chat template %d is not valid UTF-8", i + 1);
	return 0;
}

static const struct pre *
pre_by_name(const char *name)
{
	for (size_t i = 0; name && i < sizeof pres / sizeof *pres; i++)
		if (!strcmp(pres[i].name, name))
			return &pres[i];
	return NULL;
}

/* The token that stands for what is unknown: named, or by its type. */
static int64_t
find_unk(const struct qz_gguf_tokens *v)
{
	if (v->unk >= 0)
		return v->unk;
	for (uint64_t i = 0; v->types && i < v->n; i++)
		if (v->types[i] == UNKNOWN)
			return (int64_t)i;
	return -1;
}

int
qz_gguf_tokens_to_json(
    const struct qz_gguf_tokens *v, struct qz_buf *json, struct qz_buf *config, struct qz_err *e)
{
	bool llama = v->model && !strcmp(v->model, "llama"), bos, eos;
	const struct pre *pre = pre_by_name(v->pre);
	int64_t unk;

	if (!llama && (!v->model || strcmp(v->model, "gpt2")))
		return qz_fail(e, QZ_EDATA, "the tokenizer model \"%.60s\" is not supported",
		    v->model ? v->model : "");
	if (!llama && !pre)
		return qz_fail(
		    e, QZ_EDATA, "the pre-tokenizer \"%.60s\" is not known", v->pre ? v->pre : "");
	if (check(v, e) < 0)
		return -1;
	if (check_templates(v, e) < 0)
		return -1;
	if (adds("bos", v->add_bos, llama || pre->add_bos, v->bos, &bos, e) < 0 ||
	    adds("eos", v->add_eos, false, v->eos, &eos, e) < 0)
		return -1;
	unk = find_unk(v);
	qz_buf_str(json, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
	put_added(json, v);
	if ((llama ? put_llama(json, v, unk, bos, eos, e) : put_gpt2(json, v, pre, bos, eos, e)) <
	    0)
		return -1;
	put_config(config, v, unk, bos, eos);
	return qz_buf_ok(json, e) < 0 ? -1 : qz_buf_ok(config, e);
}
