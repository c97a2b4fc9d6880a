/* sample - text that a model goes on with: token by token, with a cache of keys and values. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/rng.h"
#include "libcore/model/modeltext.h"
#include "tools/bench/bench.h"
#include "tools/bench/load.h"

enum { STOPS_MAX = 16 };

struct sample {
	const struct bench_options *o;
	struct bench_model m;
	struct qz_model_text text;
	struct qz_encoding prompt;
	struct qz_batch batch;
	uint32_t *ids; /* what was sampled */
	size_t n;
	int64_t stops[STOPS_MAX];
	int n_stops;
	double *logits;
	struct candidate *order;
	size_t printed; /* bytes */
};

struct candidate {
	double p;
	uint32_t id;
};

static void
add_stop(struct sample *s, int64_t id)
{
	if (id >= 0 && s->n_stops < STOPS_MAX)
		s->stops[s->n_stops++] = id;
}

/* eos_token_id of generation_config.json: a number or a list. */
static int
find_stops(struct sample *s, struct qz_err *e)
{
	const struct qz_source_file *f = qz_source_file(s->m.source, "generation_config.json");
	struct qz_json *j = NULL;
	const struct qz_json *eos;

	add_stop(s, qz_vocab_eos(s->text.tokenizer));
	add_stop(s, s->m.weights.config.eos);
	if (!f)
		return 0;
	j = qz_json_parse(f->data, f->n, e);
	if (!j)
		return qz_at(e, "generation_config.json");
	eos = qz_json_get(j, "eos_token_id");
	if (qz_json_is(eos, QZ_JSON_ARRAY))
		for (const struct qz_json *c = qz_json_first(eos); c; c = qz_json_next(c))
			add_stop(s, (int64_t)qz_json_number(c, -1));
	else
		add_stop(s, (int64_t)qz_json_number(eos, -1));
	qz_json_free(j);
	return 0;
}

static bool
is_stop(const struct sample *s, uint32_t id)
{
	for (int i = 0; i < s->n_stops; i++)
		if (s->stops[i] == id)
			return true;
	return false;
}

/* [{"role":"user","content":PROMPT}] */
static struct qz_json *
as_messages(const char *prompt, struct qz_err *e)
{
	struct qz_buf b = { 0 };
	struct qz_json *j;

	qz_buf_str(&b, "[{\"role\":\"user\",\"content\":");
	qz_json_put_string(&b, prompt, strlen(prompt));
	qz_buf_str(&b, "}]");
	j = b.failed ? NULL : qz_json_parse(b.data, b.n, e);
	qz_buf_free(&b);
	return j;
}

static int
encode_rendered(struct sample *s, const struct qz_rendering *r, struct qz_err *e)
{
	struct qz_span *plain = calloc(r->n_segments + 1, sizeof *plain);
	size_t n = 0;
	int ret;

	if (!plain)
		return qz_nomem(e, r->n_segments * sizeof *plain);
	for (size_t i = 0; i < r->n_segments; i++)
		if (r->segments[i].from_data && r->segments[i].n)
			plain[n++] = (struct qz_span){ r->segments[i].at, r->segments[i].n };
	ret = qz_encode(
	    s->text.tokenizer, r->text.data, r->text.n, QZ_SPECIAL_PARSE, plain, n, &s->prompt, e);
	free(plain);
	return ret;
}

static int
encode_prompt(struct sample *s, const char *prompt, struct qz_err *e)
{
	struct qz_rendering r = { 0 };
	struct qz_json *messages;
	struct qz_chat_vars v = { .bos_token = s->text.bos,
		.eos_token = s->text.eos,
		.pad_token = s->text.pad,
		.unk_token = s->text.unk,
		.add_generation_prompt = true };
	int ret;

	if (s->o->raw || !s->text.template)
		return qz_encode(s->text.tokenizer, prompt, strlen(prompt), QZ_SPECIAL_ADD, NULL, 0,
		    &s->prompt, e);
	messages = as_messages(prompt, e);
	if (!messages)
		return -1;
	v.messages = messages;
	ret = qz_template_render(s->text.template, &v, &r, e);
	if (ret == 0)
		ret = encode_rendered(s, &r, e);
	qz_rendering_free(&r);
	qz_json_free(messages);
	return ret;
}

static int
likelier_first(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->p != y->p)
		return x->p < y->p ? 1 : -1;
	return x->id < y->id ? -1 : 1;
}

static uint32_t
likeliest(const double *logits, int64_t vocab)
{
	int64_t best = 0;

	for (int64_t i = 1; i < vocab; i++)
		if (logits[i] > logits[best])
			best = i;
	return (uint32_t)best;
}

/* A number in [0, 1) for the n-th token. */
static double
dice(int64_t seed, size_t n)
{
	uint32_t w[4];

	qz_philox((uint64_t)seed, 0, n, w);
	return ((double)(w[0] >> 5) * 67108864.0 + (double)(w[1] >> 6)) * 0x1p-53;
}

static uint32_t
choose(struct sample *s, int64_t vocab)
{
	double top = s->logits[likeliest(s->logits, vocab)], all = 0, kept = 0, at;
	int64_t n = 0;

	if (s->o->temperature <= 0)
		return likeliest(s->logits, vocab);
	for (int64_t i = 0; i < vocab; i++) {
		s->order[i] = (struct candidate){ exp((s->logits[i] - top) / s->o->temperature),
			(uint32_t)i };
		all += s->order[i].p;
	}
	qsort(s->order, (size_t)vocab, sizeof *s->order, likelier_first);
	while (n < vocab && (n == 0 || kept < s->o->top_p * all))
		kept += s->order[n++].p;
	at = dice(s->o->seed, s->n) * kept;
	for (int64_t i = 0; i < n; i++)
		if ((at -= s->order[i].p) < 0)
			return s->order[i].id;
	return s->order[n - 1].id;
}

/* What is new in the decoded text; half a character waits for its other half. */
static int
show(struct sample *s, struct qz_err *e)
{
	struct qz_buf b = { 0 };
	int ret = qz_decode(s->text.tokenizer, s->ids, s->n, true, &b, e);

	while (ret == 0 && b.n >= 3 && b.n > s->printed &&
	       !memcmp(b.data + b.n - 3, "\xef\xbf\xbd", 3))
		b.n -= 3;
	if (ret == 0 && b.n > s->printed) {
		fwrite(b.data + s->printed, 1, b.n - s->printed, stdout);
		fflush(stdout);
		s->printed = b.n;
	}
	qz_buf_free(&b);
	return ret;
}

static int
step(struct sample *s, const uint32_t *ids, int64_t n, int64_t past, uint32_t *next,
    struct qz_err *e)
{
	int32_t last = (int32_t)n - 1;
	int64_t vocab = s->m.weights.config.vocab;

	if (!qz_batch_plain(&s->batch, ids, n, past))
		return qz_fail(e, QZ_EIO, "a prompt of %lld tokens does not fit", (long long)n);
	qz_net_batch(&s->m.net, &s->batch, past);
	qz_net_forward(&s->m.net);
	if (qz_net_logits(&s->m.net, &last, 1, s->logits, e) < 0)
		return -1;
	*next = choose(s, vocab);
	return 0;
}

static int
generate(struct sample *s, struct qz_err *e)
{
	int64_t past = (int64_t)s->prompt.n;
	uint32_t next;

	if (step(s, s->prompt.ids, past, 0, &next, e) < 0)
		return -1;
	while (!is_stop(s, next)) {
		s->ids[s->n++] = next;
		if (!s->o->json && show(s, e) < 0)
			return -1;
		if ((int64_t)s->n == s->o->tokens)
			break;
		if (step(s, &s->ids[s->n - 1], 1, past++, &next, e) < 0)
			return -1;
	}
	return 0;
}

static int
prepare(struct sample *s, struct qz_err *e)
{
	int64_t vocab = s->m.weights.config.vocab, n = (int64_t)s->prompt.n;
	struct qz_net_shape shape = {
		.room = { n, 1, 1, n }, .losses = 1, .past = n + s->o->tokens, .logits_bytes = 1
	};

	if (n == 0)
		return qz_fail(e, QZ_EUSAGE, "the prompt has no tokens");
	for (int64_t i = 0; i < n; i++)
		if (s->prompt.ids[i] >= vocab)
			return qz_fail(e, QZ_EDATA,
			    "the tokenizer gives id %u, the model's vocabulary ends at %lld",
			    s->prompt.ids[i], (long long)vocab - 1);
	s->ids = calloc((size_t)s->o->tokens, sizeof *s->ids);
	s->logits = calloc((size_t)vocab, sizeof *s->logits);
	s->order = calloc((size_t)vocab, sizeof *s->order);
	if (!s->ids || !s->logits || !s->order)
		return qz_nomem(e, (size_t)vocab * sizeof *s->order);
	if (qz_batch_new(&s->batch, shape.room, 1, e) < 0)
		return -1;
	return bench_model_open(&s->m, &shape, e);
}

static int
print_json(const struct sample *s, struct qz_err *e)
{
	struct qz_buf text = { 0 }, b = { 0 };
	int ret = qz_decode(s->text.tokenizer, s->ids, s->n, true, &text, e);

	qz_buf_str(&b, "{\"prompt\":[");
	for (size_t i = 0; i < s->prompt.n; i++)
		qz_buf_fmt(&b, "%s%u", i ? "," : "", s->prompt.ids[i]);
	qz_buf_str(&b, "],\"ids\":[");
	for (size_t i = 0; i < s->n; i++)
		qz_buf_fmt(&b, "%s%u", i ? "," : "", s->ids[i]);
	qz_buf_str(&b, "],\"text\":");
	qz_json_put_string(&b, text.data ? text.data : "", text.n);
	qz_buf_str(&b, "}\n");
	if (ret == 0)
		ret = qz_buf_ok(&b, e);
	if (ret == 0)
		fwrite(b.data, 1, b.n, stdout);
	qz_buf_free(&text);
	qz_buf_free(&b);
	return ret;
}

static int
run(struct sample *s, struct qz_dev *d, char **args, struct qz_err *e)
{
	if (bench_model_load(&s->m, d, args[0], s->o->adapter, s->o->adapter_scale, e) < 0 ||
	    qz_model_text_load(&s->text, s->m.source, e) < 0 || encode_prompt(s, args[1], e) < 0 ||
	    find_stops(s, e) < 0 || prepare(s, e) < 0 || generate(s, e) < 0)
		return -1;
	if (s->o->json)
		return print_json(s, e);
	putchar('\n');
	return 0;
}

int
bench_sample(struct qz_dev *d, const struct bench_options *o, char **args, struct qz_err *e)
{
	struct sample s = { .o = o };
	int ret = run(&s, d, args, e);

	qz_encoding_free(&s.prompt);
	qz_batch_free(&s.batch);
	qz_model_text_free(&s.text);
	free(s.ids);
	free(s.logits);
	free(s.order);
	bench_model_free(&s.m);
	return ret;
}
