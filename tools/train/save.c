#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/shard/provenance.h"
#include "tools/train/train.h"

static void
number(struct run *r, struct qz_step *s, const char *name, double v)
{
	qz_step_option_num(s, name, v);
	qz_buf_fmt(&r->settings, "%s\"%s\":", r->settings.n ? "," : "", name);
	qz_json_put_number(&r->settings, v);
}

static void
text(struct run *r, struct qz_step *s, const char *name, const char *v)
{
	if (s)
		qz_step_option_str(s, name, v);
	qz_buf_fmt(&r->settings, "%s\"%s\":\"%s\"", r->settings.n ? "," : "", name, v);
}

/* What decides the result; the same list makes two runs comparable and a checkpoint resumable. */
static void
put_options(struct run *r, struct qz_step *s)
{
	struct qz_buf targets = { 0 };

	qz_proj_set_put(r->lora.targets, ",", &targets);
	number(r, s, "rank", r->lora.rank);
	number(r, s, "alpha", r->lora.alpha);
	number(r, s, "dropout", r->lora.dropout);
	text(r, s, "targets", targets.data ? targets.data : "");
	number(r, s, "lr", r->o.lr);
	text(r, s, "schedule", qz_schedule_name(r->o.schedule));
	number(r, s, "warmup", (double)r->o.warmup);
	number(r, s, "steps", (double)r->train.steps);
	number(r, s, "rows", (double)r->train.rows);
	number(r, s, "batch", (double)r->o.batch);
	number(r, s, "accumulate", (double)r->o.accumulate);
	number(r, s, "clip", r->o.clip);
	number(r, s, "weight-decay", r->o.weight_decay);
	text(r, s, "optim", train_opt.optim);
	number(r, s, "seed", (double)r->o.seed);
	qz_buf_free(&targets);
}

static int
inherit(struct qz_step *s, const struct qz_buf *chains, struct qz_err *e)
{
	const char *line = chains->data ? chains->data : "";
	int ret = 0;

	while (ret == 0 && *line) {
		size_t n = strcspn(line, "\n");
		char *one = strndup(line, n);

		ret = one ? qz_step_inherit(s, one, e) : qz_nomem(e, n);
		free(one);
		line += n + (line[n] == '\n');
	}
	return ret;
}

int
train_describe(struct run *r, struct qz_err *e)
{
	struct qz_step s = { 0 };
	char hex[33];
	int ret;

	put_options(r, &s);
	qz_step_input(&s, "base", qz_source_total(r->source));
	qz_step_input(&s, "tokens", r->data.digest);
	snprintf(hex, sizeof hex, "%016llx", (unsigned long long)r->weights.identity);
	text(r, NULL, "the base model", hex);
	qz_digest_hex(r->data.digest, hex);
	text(r, NULL, "the token data", hex);
	ret = qz_step_inherit(&s, qz_source_provenance(r->source), e);
	if (ret == 0)
		ret = inherit(&s, &r->data.chains, e);
	if (ret == 0)
		ret = qz_step_chain(&s, "qz-train", r->dev->k->name, &r->chain, e);
	qz_step_free(&s);
	return ret < 0 ? -1 : qz_buf_ok(&r->settings, e);
}

int
train_open_output(struct run *r, struct qz_err *e)
{
	bool peft = !strcmp(train_opt.to, "peft");

	if (peft && !train_opt.output)
		return qz_fail(e, QZ_EUSAGE, "--to peft makes a folder: say which with -o");
	if (peft)
		r->folder = qz_outdir_open(train_opt.output, e);
	else
		r->out = qz_out_open(train_opt.output, false, e);
	return r->folder || r->out ? 0 : -1;
}

int
train_write_output(struct run *r, struct qz_err *e)
{
	const char *name = train_opt.base_name, *slash = strrchr(train_opt.base, '/');
	struct qz_adapter a;
	int ret;

	/* The name without the way to it: the output must not depend on where things lie. */
	if (!name && !strcmp(train_opt.base, "-"))
		name = "";
	if (!name)
		name = slash && slash[1] ? slash + 1 : train_opt.base;
	if (qz_train_adapter(&r->train, name, &a, e) < 0)
		return -1;
	if (r->folder) {
		ret = qz_adapter_write_peft(&a, r->folder, e);
		if (ret == 0)
			ret = qz_outdir_commit(r->folder, e);
	} else {
		ret = qz_adapter_write(&a, r->out, r->chain.data, e);
		if (ret == 0)
			ret = qz_out_commit(r->out, e);
	}
	qz_adapter_free(&a);
	return ret;
}

const char *
train_checkpoint_path(void)
{
	static char path[4096];
	const char *out = train_opt.output;
	size_t n;

	if (train_opt.checkpoint)
		return train_opt.checkpoint;
	if (!out || !strcmp(out, "-"))
		return "qz-train.ckpt";
	n = strlen(out);
	while (n > 1 && out[n - 1] == '/')
		n--;
	snprintf(path, sizeof path, "%.*s.ckpt", (int)n, out);
	return path;
}

int
train_save(struct run *r, struct qz_err *e)
{
	struct qz_out *o = qz_out_open(train_checkpoint_path(), false, e);
	int ret = -1;

	if (o && (ret = qz_checkpoint_write(&r->train, r->settings.data, r->chain.data, o, e)) == 0)
		ret = qz_out_commit(o, e);
	qz_out_close(o);
	if (ret < 0)
		return qz_at(e, "checkpoint");
	r->saved = r->train.step;
	return 0;
}

/* A word as a shell reads it back. */
static void
put_word(struct qz_buf *out, const char *word)
{
	static const char plain[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";

	if (*word && word[strspn(word, plain)] == '\0') {
		qz_buf_str(out, word);
		return;
	}
	qz_buf_chr(out, '\'');
	for (; *word; word++) {
		if (*word == '\'')
			qz_buf_str(out, "'\\''");
		else
			qz_buf_chr(out, *word);
	}
	qz_buf_chr(out, '\'');
}

void
train_command(const struct run *r, struct qz_buf *out)
{
	for (int i = 0; i < r->argc; i++) {
		bool options = true;

		for (int k = 1; k < i; k++)
			options &= strcmp(r->argv[k], "--") != 0;
		if (options && i && !strcmp(r->argv[i], "--resume")) {
			i++;
			continue;
		}
		if (options && i && !strncmp(r->argv[i], "--resume=", 9))
			continue;
		put_word(out, r->argv[i]);
		qz_buf_chr(out, ' ');
		if (i == 0) {
			qz_buf_str(out, "--resume ");
			put_word(out, train_checkpoint_path());
			qz_buf_chr(out, ' ');
		}
	}
	if (out->n)
		out->data[--out->n] = '\0';
}
