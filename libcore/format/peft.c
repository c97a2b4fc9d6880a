#include "libcore/format/peft.h"

#include <math.h>
#include <string.h>

/* Keys that do not change what an adapter's tensors compute, or that are read below. */
static const char *const harmless[] = { "alpha_pattern", "auto_mapping", "base_model_name_or_path",
	"bias", "ensure_weight_tying", "exclude_modules", "fan_in_fan_out", "inference_mode",
	"init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout",
	"megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern",
	"revision", "runtime_config", "target_modules", "task_type", "use_rslora" };

/* Initialisations that also change the base. */
static const char *const changes_base[] = { "pissa", "olora", "corda", "loftq", "lora_ga" };

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool
is_harmless(const char *key)
{
	for (size_t i = 0; i < COUNT(harmless); i++)
		if (!strcmp(key, harmless[i]))
			return true;
	return false;
}

static bool
is_empty(const struct qz_json *j)
{
	switch (qz_json_kind(j)) {
	case QZ_JSON_NULL:
		return true;
	case QZ_JSON_BOOL:
		return !qz_json_bool(j, true);
	case QZ_JSON_ARRAY:
	case QZ_JSON_OBJECT:
		return qz_json_count(j) == 0;
	default:
		return false;
	}
}

static int
refuse(const char *key, const struct qz_json *j, const char *why, struct qz_err *e)
{
	struct qz_buf b = { 0 };

	qz_json_put(&b, j, 0);
	qz_fail(e, QZ_EDATA, "%.100s is %.100s: %s", key, b.data ? b.data : "?", why);
	qz_buf_free(&b);
	return -1;
}

/* Names of modules with a number above 0 each; the name is the end of a module's name, as written. */
static int
check_pattern(const struct qz_json *config, const char *key, struct qz_err *e)
{
	const struct qz_json *p = qz_json_get(config, key);

	if (p && !qz_json_is(p, QZ_JSON_OBJECT) && !qz_json_is(p, QZ_JSON_NULL))
		return refuse(key, p, "an object is expected", e);
	for (const struct qz_json *c = qz_json_first(p); c; c = qz_json_next(c)) {
		if (strpbrk(qz_json_key(c), "\\^$*+?()[]{}|"))
			return refuse(key, p, "only names are read, not regular expressions", e);
		if (!(qz_json_number(c, 0) > 0) || !isfinite(qz_json_number(c, 0)))
			return refuse(key, p, "numbers above 0 are expected", e);
	}
	return 0;
}

static int
check_values(const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *init = qz_json_get(j, "init_lora_weights");
	const char *how = qz_json_string(init, "");

	for (const struct qz_json *c = qz_json_first(j); c; c = qz_json_next(c))
		if (!is_harmless(qz_json_key(c)) && !is_empty(c))
			return refuse(qz_json_key(c), c, "qz does not compute this", e);
	if (strcmp(qz_json_string(qz_json_get(j, "peft_type"), ""), "LORA"))
		return refuse("peft_type", qz_json_get(j, "peft_type"), "LORA is expected", e);
	if (strcmp(qz_json_string(qz_json_get(j, "bias"), "none"), "none"))
		return refuse("bias", qz_json_get(j, "bias"), "only none is computed", e);
	if (qz_json_bool(qz_json_get(j, "fan_in_fan_out"), false))
		return refuse("fan_in_fan_out", qz_json_get(j, "fan_in_fan_out"),
		    "weights stored transposed are not read", e);
	for (size_t i = 0; i < COUNT(changes_base); i++)
		if (!strncmp(how, changes_base[i], strlen(changes_base[i])))
			return refuse("init_lora_weights", init, "it changes the base too", e);
	if (check_pattern(j, "rank_pattern", e) < 0)
		return -1;
	return check_pattern(j, "alpha_pattern", e);
}

int
qz_peft_parse(struct qz_peft *p, const char *text, size_t n, struct qz_err *e)
{
	*p = (struct qz_peft){ .json = qz_json_parse(text, n, e) };
	if (!p->json)
		return -1;
	if (!qz_json_is(p->json, QZ_JSON_OBJECT))
		return qz_fail(e, QZ_EDATA, "is not a JSON object");
	if (check_values(p->json, e) < 0)
		return -1;
	p->r = 8; /* PEFT's defaults */
	if (qz_json_get(p->json, "r") &&
	    qz_json_int(qz_json_get(p->json, "r"), 1, 1 << 16, &p->r, e) < 0)
		return qz_at(e, "r");
	p->alpha = qz_json_number(qz_json_get(p->json, "lora_alpha"), 8);
	p->dropout = qz_json_number(qz_json_get(p->json, "lora_dropout"), 0);
	p->rslora = qz_json_bool(qz_json_get(p->json, "use_rslora"), false);
	p->base = qz_json_string(qz_json_get(p->json, "base_model_name_or_path"), "");
	if (!(p->alpha > 0) || !isfinite(p->alpha))
		return refuse("lora_alpha", qz_json_get(p->json, "lora_alpha"),
		    "a number above 0 is expected", e);
	return 0;
}

void
qz_peft_free(struct qz_peft *p)
{
	qz_json_free(p->json);
	*p = (struct qz_peft){ 0 };
}

/* PEFT matches "(.*\.)?(key)$" against the module's name. */
static double
pattern(const struct qz_peft *p, const char *key, const char *module, double otherwise)
{
	const struct qz_json *list = qz_json_get(p->json, key);
	size_t n = strlen(module);

	for (const struct qz_json *c = qz_json_first(list); c; c = qz_json_next(c)) {
		const char *name = qz_json_key(c);
		size_t m = strlen(name);

		if (m <= n && !strcmp(module + n - m, name) && (m == n || module[n - m - 1] == '.'))
			return qz_json_number(c, otherwise);
	}
	return otherwise;
}

int64_t
qz_peft_rank(const struct qz_peft *p, const char *module)
{
	return (int64_t)pattern(p, "rank_pattern", module, (double)p->r);
}

double
qz_peft_alpha(const struct qz_peft *p, const char *module)
{
	return pattern(p, "alpha_pattern", module, p->alpha);
}

static void
put_string(struct qz_buf *out, const char *key, const char *value)
{
	qz_buf_fmt(out, "  \"%s\": ", key);
	qz_json_put_string(out, value, strlen(value));
	qz_buf_str(out, ",\n");
}

static void
put_number(struct qz_buf *out, const char *key, double value)
{
	qz_buf_fmt(out, "  \"%s\": ", key);
	qz_json_put_number(out, value);
	qz_buf_str(out, ",\n");
}

static void
put_pattern(struct qz_buf *out, const char *key, const struct qz_buf *members)
{
	if (!members || !members->n)
		qz_buf_fmt(out, "  \"%s\": {},\n", key);
	else
		qz_buf_fmt(out, "  \"%s\": {\n%s\n  },\n", key, members->data);
}

/* Sorted keys, two spaces: as json.dumps(indent=2, sort_keys=True) writes them. */
void
qz_peft_put(const struct qz_peft_out *c, struct qz_buf *out)
{
	qz_buf_str(out, "{\n");
	put_pattern(out, "alpha_pattern", c->alphas);
	qz_buf_str(out, "  \"auto_mapping\": null,\n");
	put_string(out, "base_model_name_or_path", c->base);
	qz_buf_str(out, "  \"bias\": \"none\",\n"
			"  \"fan_in_fan_out\": false,\n"
			"  \"inference_mode\": true,\n"
			"  \"init_lora_weights\": true,\n"
			"  \"layer_replication\": null,\n"
			"  \"layers_pattern\": null,\n"
			"  \"layers_to_transform\": null,\n"
			"  \"loftq_config\": {},\n");
	put_number(out, "lora_alpha", c->alpha);
	put_number(out, "lora_dropout", c->dropout);
	qz_buf_str(out, "  \"megatron_config\": null,\n"
			"  \"megatron_core\": \"megatron.core\",\n"
			"  \"modules_to_save\": null,\n"
			"  \"peft_type\": \"LORA\",\n");
	put_number(out, "r", c->r);
	put_pattern(out, "rank_pattern", c->ranks);
	qz_buf_str(out, "  \"revision\": null,\n  \"target_modules\": [\n");
	for (int i = 0; i < c->n_targets; i++)
		qz_buf_fmt(out, "    \"%s\"%s\n", c->targets[i], i + 1 < c->n_targets ? "," : "");
	qz_buf_fmt(out,
	    "  ],\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n  \"use_rslora\": "
	    "%s\n}\n",
	    c->rslora ? "true" : "false");
}
