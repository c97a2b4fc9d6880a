/* GGUF models made here: the config that comes of their keys, what is refused, rows put back. */
#include <stdio.h>
#include <unistd.h>

#include "libcore/base/half.h"
#include "libcore/format/gguf_write.h"
#include "libcore/model/source.h"
#include "tests/unit/tap.h"

/* One change of an otherwise good model. */
struct change {
	const char *message; /* NULL: it is good */
	const char *arch, *type;
	const char *key; /* one key more, of the architecture: u32, or f32 when `real` */
	double value;
	bool real;
	const char *scaling;      /* rope.scaling.type */
	double freqs;             /* 0: none; else the factor of a rope_freqs.weight */
	double spoil;             /* what one of its values is multiplied by */
	const char *drop, *extra; /* a tensor less, one more */
	const char *has;          /* in config.json */
};
#define GOOD .arch = "llama", .type = "model"

static const struct change cases[] = {
	{ GOOD, .has = "\"rope_scaling\": null" },
	{ GOOD, .has = "\"tie_word_embeddings\": false" },
	{ GOOD, .drop = "output.weight", .has = "\"tie_word_embeddings\": true" },
	{ GOOD, .key = "rope.freq_base", .value = 500000, .real = true,
	    .has = "\"rope_theta\": 500000.0" },
	{ GOOD, .scaling = "linear", .key = "rope.scaling.factor", .value = 2, .real = true,
	    .has = "\"factor\": 2.0,\n    \"rope_type\": \"linear\"" },
	{ GOOD, .scaling = "none", .has = "\"rope_scaling\": null" },
	{ GOOD, .key = "vocab_size", .value = 999, .has = "\"vocab_size\": 6" },
	{ GOOD, .freqs = 8, .spoil = 1, .key = "rope.freq_base", .value = 500000, .real = true,
	    .has =
		"\"factor\": 8.0,\n    \"high_freq_factor\": 4.0,\n    \"low_freq_factor\": 1.0" },
	{ "GGUF: rope_freqs.weight is not the llama3 scaling with low factor 1, high factor 4 and "
	  "original context 8192: value 2 is 3.23344, not 2.69453",
	    GOOD, .freqs = 8, .spoil = 1.2, .key = "rope.freq_base", .value = 500000,
	    .real = true },
	{ "GGUF: general.architecture 'bert' is not known; llama, qwen2 and qwen3 are",
	    .arch = "bert", .type = "model" },
	{ "GGUF: general.type is adapter, a model is expected", .arch = "llama",
	    .type = "adapter" },
	{ "GGUF: the key llama.attention.softcap is not supported", GOOD,
	    .key = "attention.softcap", .value = 1 },
	{ "GGUF: llama.expert_count is 8, only 0 is supported", GOOD, .key = "expert_count",
	    .value = 8 },
	{ "GGUF: llama.rope.dimension_count is 4, only 8 is supported", GOOD,
	    .key = "rope.dimension_count", .value = 4 },
	{ "GGUF: llama.attention.head_count_kv is a f32, not a whole number", GOOD,
	    .key = "attention.head_count_kv", .value = 2, .real = true },
	{ "GGUF: llama.rope.scaling.type is yarn, which is not supported; none and linear are",
	    GOOD, .scaling = "yarn" },
	{ "GGUF: rope.scaling.factor is 0", GOOD, .scaling = "linear" },
	{ "tensor model.layers.0.mlp.up_proj.weight is missing", GOOD,
	    .drop = "blk.0.ffn_up.weight" },
	{ "GGUF: tensor blk.0.ffn_gate_inp.weight: a llama model has no such tensor", GOOD,
	    .extra = "blk.0.ffn_gate_inp.weight" },
};

enum { HIDDEN = 16, HEADS = 2, FFN = 32, VOCAB = 6 };

static const struct {
	const char *name;
	uint64_t rows, cols; /* cols 0: a vector */
} tensors[] = {
	{ "token_embd.weight", VOCAB, HIDDEN },
	{ "output.weight", VOCAB, HIDDEN },
	{ "output_norm.weight", HIDDEN, 0 },
	{ "blk.0.attn_norm.weight", HIDDEN, 0 },
	{ "blk.0.attn_q.weight", HIDDEN, HIDDEN },
	{ "blk.0.attn_k.weight", HIDDEN, HIDDEN },
	{ "blk.0.attn_v.weight", HIDDEN, HIDDEN },
	{ "blk.0.attn_output.weight", HIDDEN, HIDDEN },
	{ "blk.0.ffn_norm.weight", HIDDEN, 0 },
	{ "blk.0.ffn_gate.weight", FFN, HIDDEN },
	{ "blk.0.ffn_up.weight", FFN, HIDDEN },
	{ "blk.0.ffn_down.weight", HIDDEN, FFN },
};
enum { N = sizeof tensors / sizeof *tensors };

static void
put_keys(struct qz_ggufw *g, const struct change *c)
{
	static const struct {
		const char *name;
		uint32_t value;
	} keys[] = { { "block_count", 1 }, { "context_length", 64 }, { "embedding_length", HIDDEN },
		{ "feed_forward_length", FFN }, { "attention.head_count", HEADS } };
	char key[100];

	qz_ggufw_str(g, "general.architecture", c->arch);
	qz_ggufw_str(g, "general.type", c->type);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		snprintf(key, sizeof key, "%s.%s", c->arch, keys[i].name);
		qz_ggufw_u32(g, key, keys[i].value);
	}
	if (c->key) {
		snprintf(key, sizeof key, "%s.%s", c->arch, c->key);
		if (c->real)
			qz_ggufw_f32(g, key, (float)c->value);
		else
			qz_ggufw_u32(g, key, (uint32_t)c->value);
	}
	if (c->scaling) {
		snprintf(key, sizeof key, "%s.rope.scaling.type", c->arch);
		qz_ggufw_str(g, key, c->scaling);
	}
}

/* The factors as ggml's converter writes them: heads of 8 have 4 frequencies. */
static void
put_freqs(const struct change *c, struct qz_buf *out)
{
	static const float ones[] = { 1, 1, 1, 1 };
	float f[4];

	/* theta 500000, wavelengths 6.3, 167, 4443 and 118151: kept, kept, mixed, divided. */
	memcpy(f, ones, sizeof f);
	f[2] = (float)(1 /
		       ((1 - (8192 / 4442.8829 - 1) / 3) / c->freqs + (8192 / 4442.8829 - 1) / 3));
	f[2] *= (float)c->spoil;
	f[3] = (float)c->freqs;
	qz_buf_add(out, f, sizeof f);
}

static void
write_model(const char *path, const struct change *c)
{
	struct qz_ggufw g = { 0 };
	struct qz_err e = { 0 };
	struct qz_out *o = qz_out_open(path, false, &e);
	struct qz_buf freqs = { 0 };
	float row[FFN * HIDDEN];

	put_keys(&g, c);
	if (c->freqs > 0)
		qz_ggufw_tensor(&g, "rope_freqs.weight", QZ_F32, (uint64_t[]){ 4 }, 1, &e);
	for (int i = 0; i < N; i++)
		if (!c->drop || strcmp(c->drop, tensors[i].name))
			qz_ggufw_tensor(&g, tensors[i].name, QZ_F32,
			    (uint64_t[]){ tensors[i].rows, tensors[i].cols },
			    tensors[i].cols ? 2 : 1, &e);
	if (c->extra)
		qz_ggufw_tensor(&g, c->extra, QZ_F32, (uint64_t[]){ 4 }, 1, &e);
	qz_ggufw_begin(&g, o, &e);
	if (c->freqs > 0) {
		put_freqs(c, &freqs);
		qz_ggufw_write(&g, o, freqs.data, freqs.n, &e);
	}
	for (int i = 0; i < N; i++) {
		uint64_t cols = tensors[i].cols ? tensors[i].cols : 1;

		if (c->drop && !strcmp(c->drop, tensors[i].name))
			continue;
		for (uint64_t k = 0; k < tensors[i].rows * cols; k++)
			row[k] = (float)(k / cols); /* the number of its row in the file */
		qz_ggufw_write(&g, o, row, tensors[i].rows * cols * sizeof *row, &e);
	}
	if (c->extra)
		qz_ggufw_write(&g, o, row, 16, &e);
	qz_out_commit(o, &e);
	qz_out_close(o);
	qz_ggufw_free(&g);
	qz_buf_free(&freqs);
}

static void
test_case(const char *path, const struct change *c)
{
	struct qz_err e = { 0 };
	struct qz_source *s;
	size_t n = strlen(path);

	write_model(path, c);
	s = qz_source_open(path, &e);
	if (c->message) {
		const char *got = strncmp(e.msg, path, n) ? e.msg : e.msg + n + 2;

		if (!ok(!s && e.code == QZ_EDATA && !strcmp(got, c->message), "refuses: %s",
			c->message))
			printf("#   got: %s\n", e.msg);
	} else {
		const struct qz_source_file *f = s ? qz_source_file(s, "config.json") : NULL;

		if (!ok(f && strstr(f->data, c->has), "reads %s: %s",
			c->key       ? c->key
			: c->scaling ? c->scaling
				     : "it",
			e.msg) &&
		    f)
			printf("# %s\n", (const char *)f->data);
	}
	qz_source_close(s);
}

/* Row r of a head of 8 comes from row 2 (r % 4) + r / 4 of the file's head; v is not touched. */
static void
test_rows(const char *path)
{
	struct qz_err e = { 0 };
	struct qz_source *s;
	const struct qz_tensor *t;
	int wrong = 0, seen = 0;

	write_model(path, &cases[0]);
	s = qz_source_open(path, &e);
	while (s && qz_source_next(s, &t, &e) > 0) {
		bool moved = strstr(t->name, "q_proj") || strstr(t->name, "k_proj");
		uint64_t cols = t->n_dims > 1 ? t->dims[1] : 1;
		float x[FFN * HIDDEN];

		seen++;
		/* in two portions that end within a row */
		if (qz_source_read(s, x, 13, &e) < 0 ||
		    qz_source_read(s, (char *)x + 13, (size_t)t->nbytes - 13, &e) < 0)
			break;
		for (uint64_t r = 0; r < t->dims[0]; r++) {
			uint64_t from = moved ? r / 8 * 8 + 2 * (r % 4) + r % 8 / 4 : r;

			for (uint64_t k = 0; k < cols; k++)
				wrong += x[r * cols + k] != (float)from;
		}
	}
	ok(seen == N && wrong == 0, "q and k have their rows back, the others as they were: %s",
	    e.msg);
	qz_source_close(s);
}

int
main(void)
{
	char path[] = "/tmp/qz-gguf-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		test_case(path, &cases[i]);
	test_rows(path);
	unlink(path);
	return done();
}
