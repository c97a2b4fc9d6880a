#include "libcore/format/bnb.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"

static const struct {
	const char *torch;
	enum qz_dtype dtype;
} dtypes[] = { { "float32", QZ_F32 }, { "float16", QZ_F16 }, { "bfloat16", QZ_BF16 } };

const char *
qz_bnb_suffix(enum qz_section_kind kind)
{
	static const char *const suffixes[] = { [QZ_SEC_DATA] = "",
		[QZ_SEC_ABSMAX] = ".absmax",
		[QZ_SEC_NESTED_ABSMAX] = ".nested_absmax",
		[QZ_SEC_OFFSET] = NULL,
		[QZ_SEC_MAP] = ".quant_map",
		[QZ_SEC_NESTED_MAP] = ".nested_quant_map" };

	return kind <= QZ_SEC_NESTED_MAP ? suffixes[kind] : NULL;
}

static const char *
torch_name(enum qz_dtype d)
{
	for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
		if (dtypes[i].dtype == d)
			return dtypes[i].torch;
	return "float32";
}

static int
get_block(const struct qz_json *j, const char *key, uint32_t *v, struct qz_err *e)
{
	int64_t n;

	if (qz_json_int(qz_json_get(j, key), 1, 1 << 20, &n, e) < 0)
		return qz_at(e, "%s", key);
	*v = (uint32_t)n;
	return 0;
}

static int
get_shape(struct qz_bnb_state *s, const struct qz_json *shape, struct qz_err *e)
{
	size_t n = qz_json_count(shape);
	int64_t v;

	if (!qz_json_is(shape, QZ_JSON_ARRAY) || n < 1 || n > QZ_DIMS_MAX)
		return qz_fail(e, QZ_EDATA, "shape: is no list of 1 to %d sizes", QZ_DIMS_MAX);
	for (const struct qz_json *d = qz_json_first(shape); d; d = qz_json_next(d)) {
		if (qz_json_int(d, 0, (int64_t)1 << 40, &v, e) < 0)
			return qz_at(e, "shape");
		s->dims[s->n_dims++] = (uint64_t)v;
	}
	return 0;
}

static int
parse(struct qz_bnb_state *s, const struct qz_json *j, struct qz_err *e)
{
	const char *type = qz_json_string(qz_json_get(j, "quant_type"), "");
	const char *dtype = qz_json_string(qz_json_get(j, "dtype"), "");
	const char *nested = qz_json_string(qz_json_get(j, "nested_dtype"), "float32");
	const struct qz_json *offset = qz_json_get(j, "nested_offset");

	s->type = !strcmp(type, "nf4") ? QZ_NF4 : !strcmp(type, "fp4") ? QZ_FP4 : 0;
	if (!s->type)
		return qz_fail(e, QZ_EDATA, "quant_type '%.40s' is neither nf4 nor fp4", type);
	for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
		if (!strcmp(dtypes[i].torch, dtype))
			s->dtype = dtypes[i].dtype;
	if (!s->dtype)
		return qz_fail(e, QZ_EDATA, "dtype '%.40s' is not known", dtype);
	if (get_block(j, "blocksize", &s->block, e) < 0 ||
	    get_shape(s, qz_json_get(j, "shape"), e) < 0)
		return -1;
	if (!qz_json_get(j, "nested_blocksize"))
		return 0;
	if (strcmp(nested, "float32"))
		return qz_fail(e, QZ_EDATA, "nested_dtype '%.40s' is not float32", nested);
	if (!qz_json_is(offset, QZ_JSON_NUMBER) || !isfinite((float)qz_json_number(offset, 0)))
		return qz_fail(e, QZ_EDATA, "nested_offset is no finite number");
	s->offset = (float)qz_json_number(offset, 0);
	return get_block(j, "nested_blocksize", &s->nested_block, e);
}

int
qz_bnb_parse(struct qz_bnb_state *s, const char *text, size_t n, struct qz_err *e)
{
	struct qz_json *j = qz_json_parse(text, n, e);
	int ret;

	memset(s, 0, sizeof *s);
	if (!j)
		return -1;
	ret = parse(s, j, e);
	qz_json_free(j);
	return ret;
}

/* Python's repr of a float: the shortest digits that read back the same, in exponent form below 1e-4
 * and from 1e16 on, with at least two digits of exponent and a point in every other number. */
static void
put_repr(struct qz_buf *out, double v)
{
	char s[40], *exponent;
	int digits = 1, power;

	do
		snprintf(s, sizeof s, "%.*e", digits - 1, v);
	while (strtod(s, NULL) != v && ++digits <= 17);
	exponent = strchr(s, 'e');
	power = exponent ? atoi(exponent + 1) : 0;
	if (v != 0 && (power < -4 || power >= 16)) {
		qz_buf_str(out, s);
		return;
	}
	snprintf(s, sizeof s, "%.*f", digits - 1 - power > 0 ? digits - 1 - power : 1, v);
	qz_buf_str(out, s);
}

void
qz_bnb_put(const struct qz_bnb_state *s, struct qz_buf *out)
{
	qz_buf_fmt(out,
	    "{\"quant_type\": \"%s\", \"blocksize\": %u, \"dtype\": \"%s\", \"shape\": [",
	    qz_dtype((unsigned)s->type)->name, s->block, torch_name(s->dtype));
	for (int d = 0; d < s->n_dims; d++)
		qz_buf_fmt(out, "%s%llu", d ? ", " : "", (unsigned long long)s->dims[d]);
	qz_buf_chr(out, ']');
	if (s->nested_block) {
		qz_buf_fmt(out,
		    ", \"nested_blocksize\": %u, \"nested_dtype\": \"float32\", "
		    "\"nested_offset\": ",
		    s->nested_block);
		put_repr(out, (double)s->offset);
	}
	qz_buf_chr(out, '}');
}

void
qz_bnb_config_put(
    struct qz_buf *out, enum qz_dtype type, bool nested, enum qz_dtype compute, const char *skipped)
{
	qz_buf_fmt(out,
	    "{\n"
	    "    \"_load_in_4bit\": true,\n"
	    "    \"_load_in_8bit\": false,\n"
	    "    \"bnb_4bit_compute_dtype\": \"%s\",\n"
	    "    \"bnb_4bit_quant_storage\": \"uint8\",\n"
	    "    \"bnb_4bit_quant_type\": \"%s\",\n"
	    "    \"bnb_4bit_use_double_quant\": %s,\n"
	    "    \"llm_int8_enable_fp32_cpu_offload\": false,\n"
	    "    \"llm_int8_has_fp16_weight\": false,\n"
	    "    \"llm_int8_skip_modules\": %s,\n"
	    "    \"llm_int8_threshold\": 6.0,\n"
	    "    \"load_in_4bit\": true,\n"
	    "    \"load_in_8bit\": false,\n"
	    "    \"quant_method\": \"bitsandbytes\"\n"
	    "  }",
	    torch_name(compute), qz_dtype((unsigned)type)->name, nested ? "true" : "false",
	    skipped);
}
