/* Keys of a GGUF file against those that llama.cpp's converter wrote, and tokenizers by structure. */
#include "libcore/model/gguf_meta.h"

#include "libcore/base/le.h"
#include "libcore/text/spm.h"
#include "libcore/io/in.h"
#include "libcore/model/gguf_name.h"
#include "libcore/model/gguf_vocab.h"
#include "tests/unit/tap.h"

static const struct qz_family llama = { "llama", "LlamaForCausalLM", "llama", true, false, false,
	1e4 };

static struct qz_config
tiny(int64_t vocab)
{
	return (struct qz_config){ .family = &llama,
		.hidden = 64,
		.ffn = 172,
		.layers = 5,
		.heads = 8,
		.kv_heads = 4,
		.head_dim = 8,
		.vocab = vocab,
		.context = 512,
		.norm_eps = 1e-5f,
		.rope_theta = 1e4,
		.tied = true,
		.bos = 1,
		.eos = 2,
		.pad = -1 };
}

/* The files of a folder of ../shared that are there; how many. */
static size_t
folder(const char *name, bool spm, struct qz_source_file *files, struct qz_buf *text)
{
	static const char *const names[] = { "config.json", "tokenizer.json",
		"tokenizer_config.json", "generation_config.json", "tokenizer.model" };
	size_t n = 0;

	for (size_t i = 0; i < 4 + (size_t)spm; i++) {
		char path[256];
		struct qz_err e;
		const char *at;

		snprintf(path, sizeof path, "models/%s/%s", name, names[i]);
		at = shared(path);
		text[n] = (struct qz_buf){ 0 };
		if (!at || qz_file_read(at, &text[n], 1u << 26, &e) < 0)
			continue;
		files[n] = (struct qz_source_file){ names[i], text[n].data, text[n].n };
		n++;
	}
	return n;
}

static void
drop(struct qz_buf *text, size_t n)
{
	while (n-- > 0)
		qz_buf_free(&text[n]);
}

static const struct {
	const char *file;
	int ftype;
} golden[] = {
	{ "golden/gguf/stories260k-f32.gguf", 0 },
	{ "golden/gguf/stories260k-f16.gguf", 1 },
	{ "golden/gguf/stories260k-bf16.gguf", 32 },
	{ "golden/gguf/stories260k-q8_0.gguf", 7 },
};

static void
converter(void)
{
	struct qz_source_file files[8];
	struct qz_buf text[8], want = { 0 };
	size_t n = folder("stories260k", true, files, text);

	for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
		struct qz_config c = tiny(512);
		struct qz_gguf_meta m = { &c, files, n, "stories260k", NULL, 260032,
			golden[i].ftype, NULL, NULL };
		struct qz_ggufw g = { 0 };
		struct qz_err e = { 0 };
		const char *at = n ? shared(golden[i].file) : NULL;
		int got;

		if (!at) {
			skip("no %s", golden[i].file);
			continue;
		}
		qz_buf_clear(&want);
		qz_file_read(at, &want, 1u << 24, &e);
		got = qz_gguf_meta_put(&g, &m, NULL, &e);
		ok(got == 0, "keys of %s: %s", golden[i].file, got ? e.msg : "made");
		ok(le64_get(want.data + 16) == g.n_kvs, "%llu keys", (unsigned long long)g.n_kvs);
		ok(want.n > 24 + g.kvs.n && g.kvs.n && !memcmp(want.data + 24, g.kvs.data, g.kvs.n),
		    "%zu bytes are the converter's", g.kvs.n);
		qz_ggufw_free(&g);
	}
	qz_buf_free(&want);
	drop(text, n);
}

static int
load(struct qz_gguf_vocab *v, const struct qz_source_file *files, size_t n,
    const struct qz_config *c, struct qz_err *e)
{
	struct qz_vocab_files f = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(files[i].name, "tokenizer.json"))
			f.tokenizer = &files[i];
		if (!strcmp(files[i].name, "tokenizer_config.json"))
			f.options = &files[i];
		if (!strcmp(files[i].name, "tokenizer.model"))
			f.spm = &files[i];
	}
	return qz_gguf_vocab_load(v, &f, c, e);
}

static bool
contains(const struct qz_buf *all, const struct qz_buf *part)
{
	for (size_t i = 0; part->n && i + part->n <= all->n; i++)
		if (!memcmp(all->data + i, part->data, part->n))
			return true;
	return false;
}

static void
mistral(void)
{
	struct qz_source_file files[8];
	struct qz_buf text[8], want = { 0 };
	size_t n = folder("mistral-v1-tokenizer", true, files, text);
	const char *at = n ? shared("golden/gguf/mistral-v1-vocab.gguf") : NULL;
	struct qz_config c = tiny(32000);
	struct qz_gguf_vocab v;
	struct qz_ggufw g = { 0 };
	struct qz_err e = { 0 };
	int got;

	if (!at) {
		skip("no golden/gguf/mistral-v1-vocab.gguf");
		return;
	}
	qz_file_read(at, &want, 1u << 24, &e);
	got = load(&v, files, n, &c, &e);
	ok(got == 0, "tokenizer of Mistral: %s", got ? e.msg : "read");
	if (got == 0) {
		qz_gguf_vocab_put(&v, &g);
		ok(contains(&want, &g.kvs), "%zu bytes are the converter's", g.kvs.n);
		qz_gguf_vocab_free(&v);
	}
	qz_ggufw_free(&g);
	qz_buf_free(&want);
	drop(text, n);
}

static const struct qz_gguf_vocab *sorted;

static int
by_score(const void *a, const void *b)
{
	float x = sorted->scores[*(const size_t *)a], y = sorted->scores[*(const size_t *)b];

	return (x < y) - (x > y);
}

/* Scores from tokenizer.json alone put the pieces in sentencepiece's order. */
static void
ranks(const char *name, int64_t vocab)
{
	struct qz_source_file files[8];
	struct qz_buf text[8];
	size_t n = folder(name, true, files, text), n_made = 0, wrong = 0, other = 0, *made;
	struct qz_config c = tiny(vocab);
	struct qz_gguf_vocab json, spm;
	struct qz_err e = { 0 };

	if (!n) {
		skip("no models/%s", name);
		return;
	}
	if (!ok(load(&json, files, n - 1, &c, &e) == 0 && load(&spm, files, n, &c, &e) == 0,
		"%s: %s", name, e.msg))
		return;
	made = calloc(json.n, sizeof *made);
	for (size_t i = 0; i < json.n; i++) {
		other += json.tokens[i].n != spm.tokens[i].n ||
			 memcmp(json.tokens[i].s, spm.tokens[i].s, spm.tokens[i].n);
		if (json.types[i] == QZ_TOKEN_NORMAL && json.scores[i] < 0)
			made[n_made++] = i;
	}
	sorted = &json;
	qsort(made, n_made, sizeof *made, by_score);
	for (size_t i = 1; i < n_made; i++)
		wrong += spm.scores[made[i - 1]] < spm.scores[made[i]] ||
			 json.scores[made[i - 1]] == json.scores[made[i]];
	ok(json.n == spm.n && !other, "the same %zu tokens", json.n);
	ok(n_made > 100 && !wrong, "%zu merged pieces in sentencepiece's order, %zu not", n_made,
	    wrong);
	free(made);
	qz_gguf_vocab_free(&json);
	qz_gguf_vocab_free(&spm);
	drop(text, n);
}

static void
bytes(const char *name, int64_t vocab, const char *pre, size_t merges, size_t padding)
{
	struct qz_source_file files[8];
	struct qz_buf text[8];
	size_t n = folder(name, true, files, text);
	struct qz_config c = tiny(vocab);
	struct qz_gguf_vocab v;
	struct qz_err e = { 0 };

	if (!n) {
		skip("no models/%s", name);
		return;
	}
	if (!ok(load(&v, files, n, &c, &e) == 0, "%s: %s", name, e.msg))
		return;
	is(v.model, "gpt2", "model");
	is(v.pre, pre, "pre-tokenizer");
	ok(v.n_merges == merges, "%zu merges", v.n_merges);
	ok(v.n_padding == padding, "%zu tokens of padding", v.n_padding);
	qz_gguf_vocab_free(&v);
	drop(text, n);
}

#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"

static const struct {
	const char *pre_tokenizer, *want;
	int ignore_merges;
} structures[] = {
	{ BYTES, "gpt-2", 0 },
	{ "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
	  "true}," BYTES "]}",
	    "smollm", 0 },
	{ "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":"
	  "false}," BYTES "]}",
	    NULL, 0 },
	{ "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}", NULL, 0 },
	{ "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
	  "\"\\\\w+\"},"
	  "\"behavior\":\"Isolated\",\"invert\":false}," BYTES "]}",
	    NULL, 0 },
	{ "{\"type\":\"Whitespace\"}", NULL, 0 },
	{ "null", NULL, 0 },
};

static void
pre_tokenizers(void)
{
	for (size_t i = 0; i < sizeof structures / sizeof *structures; i++) {
		struct qz_buf b = { 0 };
		struct qz_err e = { 0 };
		struct qz_json *j;
		const char *got;

		qz_buf_fmt(&b, "{\"pre_tokenizer\":%s,\"model\":{}}", structures[i].pre_tokenizer);
		j = qz_json_parse(b.data, b.n, &e);
		got = qz_gguf_pre(j, &e);
		if (structures[i].want)
			is(got, structures[i].want, structures[i].want);
		else
			ok(!got && e.code == QZ_EDATA, "no name: %s", e.msg);
		qz_json_free(j);
		qz_buf_free(&b);
	}
}

#define HEAD                                                                                       \
	"{\"pre_tokenizer\":" BYTES                                                                \
	",\"added_tokens\":[{\"id\":3,\"content\":\"<|x|>\",\"special\":false},"                   \
	"{\"id\":4,\"content\":\"<tool>\",\"special\":false}],\"model\":{\"type\":\"BPE\","
#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},"
#define MARKS                                                                                      \
	"{\"normalizer\":{\"type\":\"Replace\"},\"pre_tokenizer\":null,\"model\":{\"byte_"         \
	"fallback\":true,"

static const struct {
	const char *json;
	int64_t vocab;
	const char *message; /* NULL: read */
} files[] = {
	{ HEAD VOCAB "\"merges\":[\"a b\"]}}", 6, NULL },
	{ HEAD VOCAB "\"merges\":[[\"a\",\"b\"]]}}", 5, NULL },
	{ HEAD VOCAB "\"merges\":[\"a b\"]}}", 4, "beyond the embedding" },
	{ HEAD VOCAB "\"merges\":[\"ab\"]}}", 5, "no two parts" },
	{ HEAD VOCAB "\"merges\":[[\"a\"]]}}", 5, "no two parts" },
	{ HEAD "\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", 5, "two tokens have the id 0" },
	{ HEAD "\"vocab\":{\"a\":0,\"<tool>\":1},\"merges\":[]}}", 5, "are the same text" },
	{ HEAD "\"vocab\":{\"a\":-1},\"merges\":[]}}", 5, "not a whole number" },
	{ HEAD "\"vocab\":[\"a\"],\"merges\":[]}}", 5, "model.vocab" },
	{ HEAD VOCAB "\"end_of_word_suffix\":\"</w>\",\"merges\":[]}}", 5, "end_of_word_suffix" },
	{ "{\"model\":{\"type\":\"Unigram\"}}", 5, "model Unigram" },
	{ MARKS VOCAB "\"merges\":[\"a b\"]}}", 3, NULL },
	{ MARKS VOCAB "\"merges\":[\"b a\"]}}", 3, "which is no token" },
	{ "{\"normalizer\":{\"type\":\"Lowercase\"},\"model\":{\"byte_fallback\":true,\"vocab\":{}}"
	  "}",
	    3, "normalizer Lowercase" },
	{ "[", 3, "JSON" },
};

static void
small(void)
{
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		struct qz_source_file f = { "tokenizer.json", files[i].json,
			strlen(files[i].json) };
		struct qz_config c = tiny(files[i].vocab);
		struct qz_gguf_vocab v;
		struct qz_err e = { 0 };
		int got = load(&v, &f, 1, &c, &e);

		if (files[i].message) {
			ok(got < 0 && e.code == QZ_EDATA && strstr(e.msg, files[i].message),
			    "refused: %s", e.msg);
			continue;
		}
		ok(got == 0, "case %zu: %s", i, got ? e.msg : "read");
		if (got == 0 && v.n == 6)
			ok(v.types[3] == QZ_TOKEN_CONTROL && v.types[4] == QZ_TOKEN_USER &&
				v.types[5] == QZ_TOKEN_UNUSED &&
				!memcmp(v.tokens[5].s, "[PAD5]", 7) && v.n_padding == 1,
			    "looks special, added, padding");
		if (got == 0 && v.n == 3)
			ok(v.scores[2] == -1 && v.add_space_prefix == 0,
			    "score of a merge, no space in front");
		qz_gguf_vocab_free(&v);
	}
}

/* tokenizer.model: cut or changed, it is refused or read, never worse. */
static void
damaged_spm(void)
{
	static const char piece[] = "\x0a\x0a\x0a\x01"
				    "a\x15\x00\x00\x80\x3f\x18\x01"; /* piece "a", 1.0, NORMAL */
	static const struct {
		const char *what, *data;
		size_t n;
	} bad[] = {
		{ "nothing", "", 0 },
		{ "no pieces", "\x12\x02\x18\x02", 4 },
		{ "a length beyond the end",
		    "\x0a\x7f\x0a\x01"
		    "a",
		    5 },
		{ "an endless number", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11 },
		{ "type 9",
		    "\x0a\x05\x0a\x01"
		    "a\x18\x09",
		    7 },
		{ "score NaN",
		    "\x0a\x08\x0a\x01"
		    "a\x15\x00\x00\xc0\x7f",
		    10 },
		{ "not UTF-8", "\x0a\x03\x0a\x01\xff", 5 },
		{ "a group", "\x0b", 1 },
	};
	struct qz_spm s;
	struct qz_err e = { 0 };

	ok(qz_spm_read(&s, piece, 12, &e) == 0 && s.n == 1 && s.pieces[0].score == 1 &&
		s.pieces[0].n == 1,
	    "one piece");
	qz_spm_free(&s);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ok(qz_spm_read(&s, bad[i].data, bad[i].n, &e) < 0 && e.code == QZ_EDATA, "%s: %s",
		    bad[i].what, e.msg);
}

static const struct {
	const char *id;
	int64_t params;
	const char *title, *basename, *size, *finetune, *version;
} names[] = {
	{ "stories260k", 260032, "Stories260K", "", "", "", "" },
	{ "mistral-v1", 0, "Mistral v1", "mistral", "", "", "v1" },
	{ "Mistral-7B-Instruct-v0.2", 7241732096, "Mistral 7B Instruct v0.2", "Mistral", "7B",
	    "Instruct", "v0.2" },
	{ "SmolLM2-135M-Instruct", 134515008, "SmolLM2 135M Instruct", "SmolLM2", "135M",
	    "Instruct", "" },
	{ "HuggingFaceTB/SmolLM2-1.7b", 1711376384, "SmolLM2 1.7b", "SmolLM2", "1.7B", "", "" },
	{ "Yarn-Mistral-7b-128k", 7241732096, "Yarn Mistral 7b 128k", "Yarn-Mistral", "7B", "128k",
	    "" },
	{ "Qwen2.5-0.5B", 494032768, "Qwen2.5 0.5B", "Qwen2.5", "0.5B", "", "" },
	{ "my own model", 0, "My Own Model", "", "", "", "" },
};

static void
names_of(void)
{
	static const struct {
		uint64_t n;
		const char *want;
	} sizes[] = { { 260032, "260K" }, { 134515008, "135M" }, { 1711376384, "1.7B" },
		{ 500, "0.50K" }, { 7241732096, "7.2B" }, { 70553706496, "71B" } };
	struct qz_gguf_name n;
	char label[32];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		qz_gguf_name(&n, names[i].id, names[i].params);
		is(n.title, names[i].title, names[i].id);
		ok(!strcmp(n.basename, names[i].basename) && !strcmp(n.size, names[i].size) &&
			!strcmp(n.finetune, names[i].finetune) &&
			!strcmp(n.version, names[i].version),
		    "basename %s, size %s, finetune %s, version %s", n.basename, n.size, n.finetune,
		    n.version);
	}
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		qz_gguf_size_label(sizes[i].n, label);
		is(label, sizes[i].want, "size label");
	}
}

/* Llama 3.1's scaling, computed apart in double: the first unscaled, the last by the whole factor. */
static void
rope(void)
{
	static const struct {
		int i;
		double want;
	} rows[] = { { 0, 1 }, { 28, 1 }, { 29, 1.207483871283662 }, { 33, 3.684252527745718 },
		{ 34, 5.257326588708467 }, { 35, 8 }, { 63, 8 } };
	static const int heads[] = { 0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13 };
	struct qz_config c = { .head_dim = 128,
		.rope_theta = 5e5,
		.rope_factor = 8,
		.rope_low = 1,
		.rope_high = 4,
		.rope_original = 8192 };
	float f[64];

	qz_gguf_rope_factors(&c, f);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ok(f[rows[i].i] == (float)rows[i].want, "factor %d is %.7g", rows[i].i,
		    (double)f[rows[i].i]);
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		ok(qz_gguf_row(i, 8) == (uint64_t)heads[i], "row %zu comes from %d", i, heads[i]);
}

int
main(void)
{
	converter();
	mistral();
	ranks("stories260k", 512);
	ranks("mistral-v1-tokenizer", 32000);
	bytes("qwen2-tokenizer", 151936, "qwen2", 151387, 290);
	bytes("llama3-like-tokenizer", 100016, "llama-bpe", 232164, 0);
	pre_tokenizers();
	small();
	damaged_spm();
	names_of();
	rope();
	return done();
}
