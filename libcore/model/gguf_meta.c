#include "libcore/model/gguf_meta.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "libcore/model/gguf_card.h"
#include "libcore/model/gguf_differ.h"
#include "libcore/model/gguf_vocab.h"

static const struct qz_source_file *
find(const struct qz_gguf_meta *m, const char *name)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (!strcmp(m->files[i].name, name))
			return &m->files[i];
	return NULL;
}

/* general.sampling.*: what the model's makers advise. */
static void
put_sampling(struct qz_ggufw *g, const struct qz_json *generation)
{
	static const struct {
		const char *name, *key;
		bool whole;
	} rows[] = {
		{ "top_k", "general.sampling.top_k", true },
		{ "top_p", "general.sampling.top_p", false },
		{ "min_p", "general.sampling.min_p", false },
		{ "xtc_probability", "general.sampling.xtc_probability", false },
		{ "xtc_threshold", "general.sampling.xtc_threshold", false },
		{ "temperature", "general.sampling.temp", false },
		{ "penalty_last_n", "general.sampling.penalty_last_n", true },
		{ "penalty_repeat", "general.sampling.penalty_repeat", false },
		{ "mirostat", "general.sampling.mirostat", true },
		{ "mirostat_tau", "general.sampling.mirostat_tau", false },
		{ "mirostat_eta", "general.sampling.mirostat_eta", false },
	};
	const char *sequence = qz_json_string(qz_json_get(generation, "sequence"), NULL);

	if (sequence)
		qz_ggufw_str(g, "general.sampling.sequence", sequence);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct qz_json *j = qz_json_get(generation, rows[i].name);
		double v = qz_json_number(j, 0);

		if (!qz_json_is(j, QZ_JSON_NUMBER) || fabs(v) > 1e9)
			continue;
		if (rows[i].whole)
			qz_ggufw_i32(g, rows[i].key, (int32_t)v);
		else
			qz_ggufw_f32(g, rows[i].key, (float)v);
	}
}

/* Integers "%s.KEY" of the config. */
static void
put_counts(struct qz_ggufw *g, const char *arch, const struct qz_config *c)
{
	const struct {
		const char *key;
		int64_t value;
	} rows[] = {
		{ "block_count", c->layers },
		{ "context_length", c->context },
		{ "embedding_length", c->hidden },
		{ "feed_forward_length", c->ffn },
		{ "attention.head_count", c->heads },
		{ "attention.head_count_kv", c->kv_heads },
	};
	char key[128];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(key, sizeof key, "%s.%s", arch, rows[i].key);
		qz_ggufw_u32(g, key, (uint32_t)rows[i].value);
	}
}

static void
put_u32(struct qz_ggufw *g, const char *arch, const char *name, int64_t v)
{
	char key[128];

	snprintf(key, sizeof key, "%s.%s", arch, name);
	qz_ggufw_u32(g, key, (uint32_t)v);
}

static void
put_f32(struct qz_ggufw *g, const char *arch, const char *name, double v)
{
	char key[128];

	snprintf(key, sizeof key, "%s.%s", arch, name);
	qz_ggufw_f32(g, key, (float)v);
}

/* raw: config.json as it stands, for what the converter writes only when it is said there. */
static void
put_config(struct qz_ggufw *g, const struct qz_config *c, const struct qz_json *raw, int ftype)
{
	const char *arch = c->family->gguf;
	char key[128];

	put_counts(g, arch, c);
	if (c->rope_kind == QZ_ROPE_LINEAR) {
		snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
		qz_ggufw_str(g, key, "linear");
		put_f32(g, arch, "rope.scaling.factor", c->rope_factor);
	}
	put_f32(g, arch, "rope.freq_base", c->rope_theta);
	put_f32(g, arch, "attention.layer_norm_rms_epsilon", (double)c->norm_eps);
	if (c->head_dim * c->heads != c->hidden ||
	    qz_json_is(qz_json_get(raw, "head_dim"), QZ_JSON_NUMBER)) {
		put_u32(g, arch, "attention.key_length", c->head_dim);
		put_u32(g, arch, "attention.value_length", c->head_dim);
	}
	qz_ggufw_u32(g, "general.file_type", (uint32_t)ftype);
	if (!strcmp(arch, "llama")) {
		put_u32(g, arch, "vocab_size", c->vocab);
		put_u32(g, arch, "rope.dimension_count", c->head_dim);
	}
	qz_ggufw_u32(g, "general.quantization_version", 2);
}

static int
parse(const struct qz_gguf_meta *m, const char *name, struct qz_json **j, struct qz_err *e)
{
	const struct qz_source_file *f = find(m, name);

	*j = f ? qz_json_parse(f->data, f->n, e) : NULL;
	return f && !*j ? qz_at(e, "%s", name) : 0;
}

static int
put(struct qz_ggufw *g, const struct qz_gguf_meta *m, const struct qz_json *raw,
    const struct qz_json *generation, const struct qz_json *card, size_t *n_padding,
    struct qz_err *e)
{
	const struct qz_vocab_files files = { find(m, "tokenizer.model"), find(m, "tokenizer.json"),
		find(m, "tokenizer_config.json"), find(m, "added_tokens.json"), m->files,
		m->n_files };
	const char *path = qz_json_string(qz_json_get(raw, "_name_or_path"), NULL);
	const char *slash = path ? strchr(path, '/') : NULL;
	struct qz_gguf_vocab v;

	if (qz_gguf_vocab_load(&v, &files, m->config, e) < 0)
		return -1;
	qz_ggufw_str(g, "general.architecture", m->config->family->gguf);
	qz_ggufw_str(g, "general.type", "model");
	put_sampling(g, generation);
	/* A path of more than one folder is a place on someone's disk. */
	qz_gguf_card_put(g, card,
	    (const char *[]){ slash && strchr(slash + 1, '/') ? NULL : path, m->id }, m->title,
	    (int64_t)m->n_params);
	put_config(g, m->config, raw, m->ftype);
	qz_gguf_vocab_put(&v, g);
	if (m->differences)
		qz_gguf_differ(&v, m->differences);
	if (n_padding)
		*n_padding = v.n_padding;
	qz_gguf_vocab_free(&v);
	return 0;
}

int
qz_gguf_meta_put(
    struct qz_ggufw *g, const struct qz_gguf_meta *m, size_t *n_padding, struct qz_err *e)
{
	struct qz_json *raw = NULL, *generation = NULL, *card;
	struct qz_err wrong;
	int ret = -1;

	if (qz_gguf_card_read(find(m, "README.md"), &card, &wrong) < 0 && m->card_wrong)
		qz_buf_str(m->card_wrong, wrong.msg);
	if (parse(m, "config.json", &raw, e) == 0 &&
	    parse(m, "generation_config.json", &generation, e) == 0)
		ret = put(g, m, raw, generation, card, n_padding, e);
	qz_json_free(raw);
	qz_json_free(generation);
	qz_json_free(card);
	return ret;
}

void
qz_gguf_meta_put_adapter(
    struct qz_ggufw *g, const struct qz_config *c, const char *id, const char *title, float alpha)
{
	qz_ggufw_str(g, "general.architecture", c->family->gguf);
	qz_ggufw_str(g, "general.type", "adapter");
	qz_ggufw_str(g, "adapter.type", "lora");
	qz_gguf_card_put(g, NULL, (const char *[]){ id, NULL }, title, -1);
	qz_ggufw_f32(g, "adapter.lora.alpha", alpha);
	qz_ggufw_u32(g, "general.quantization_version", 2);
}

void
qz_gguf_rope_factors(const struct qz_config *c, float *factors)
{
	for (int64_t i = 0; i < c->head_dim / 2; i++) {
		double f = pow(c->rope_theta, -2.0 * (double)i / (double)c->head_dim);
		double turns = c->rope_original * f / (2 * 3.14159265358979323846);
		double s = (turns - c->rope_low) / (c->rope_high - c->rope_low);

		if (turns > c->rope_high)
			factors[i] = 1;
		else if (turns < c->rope_low)
			factors[i] = (float)c->rope_factor;
		else
			factors[i] = (float)(1 / ((1 - s) / c->rope_factor + s));
	}
}

uint64_t
qz_gguf_row(uint64_t row, uint64_t head_dim)
{
	uint64_t head = row / head_dim, at = row % head_dim;

	return head * head_dim + (at % 2) * (head_dim / 2) + at / 2;
}
