/* Where an adapter's tensors stand, how they start, and adapters written and read again. */
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/format/peft.h"
#include "libcore/model/adapter.h"
#include "tests/unit/tap.h"
#include "tests/unit/tiny.h"

static struct qz_config config;

static void
check_layout(void)
{
	struct qz_lora l;
	struct qz_err e;
	uint8_t *used;
	uint64_t overlaps = 0, params = 0;
	const struct qz_lora_tensor *q, *k;

	ok(qz_lora_uniform(&l, &config, 8, 16, 0, QZ_PROJ_ALL, &e) == 0 && l.n == 14,
	    "seven projections in each of two layers");
	used = calloc(1, l.n_par);
	for (int i = 0; i < l.n; i++)
		for (int half = 0; half < 2; half++) {
			uint64_t at = half ? l.t[i].b : l.t[i].a;
			uint64_t n = (uint64_t)(l.t[i].rank * (half ? l.t[i].rows : l.t[i].cols));

			overlaps += at % QZ_LORA_ALIGN != 0 || at + n > l.n_par;
			for (uint64_t p = at; p < at + n && p < l.n_par; p++)
				overlaps += used[p]++;
			params += n;
		}
	ok(overlaps == 0 && params == l.n_params && l.n_par >= params,
	    "places do not overlap: %llu parameters in %llu elements", (unsigned long long)params,
	    (unsigned long long)l.n_par);
	q = qz_lora_find(&l, 1, QZ_PROJ_Q);
	k = qz_lora_find(&l, 1, QZ_PROJ_K);
	ok(q && k && k->a == q->a + QZ_LORA_ALIGN, "A of q and k follow each other");
	ok(q && q->scale == 2, "scale is alpha / rank");
	ok(!qz_lora_find(&l, 2, QZ_PROJ_Q), "there is no third layer");
	free(used);
	qz_lora_free(&l);
	ok(qz_lora_uniform(&l, &config, 8, 16, 0, 1 << QZ_PROJ_V | 1 << QZ_PROJ_DOWN, &e) == 0 &&
		l.n == 4 && !qz_lora_find(&l, 0, QZ_PROJ_Q) && qz_lora_find(&l, 1, QZ_PROJ_DOWN),
	    "only v and down");
	qz_lora_free(&l);
	ok(qz_lora_scale(16, 4, true) == 8 && qz_lora_scale(16, 4, false) == 4, "rsLoRA's scale");
}

static void
check_init(void)
{
	struct qz_lora l;
	struct qz_err e;
	float *a, *b;
	double worst = 0, sum = 0, b_sum = 0, squares = 0;
	uint64_t n = 0;

	qz_lora_uniform(&l, &config, 64, 16, 0, QZ_PROJ_ALL, &e);
	a = calloc(l.n_par, sizeof *a);
	b = calloc(l.n_par, sizeof *b);
	qz_lora_init(&l, 42, a);
	qz_lora_init(&l, 42, b);
	ok(!memcmp(a, b, l.n_par * sizeof *a), "the same seed draws the same");
	for (int i = 0; i < l.n; i++) {
		const struct qz_lora_tensor *t = &l.t[i];

		for (int64_t k = 0; k < t->rank * t->cols; k++, n++) {
			double v = (double)a[t->a + (uint64_t)k] * sqrt((double)t->cols);

			worst = fmax(worst, fabs(v));
			sum += v;
			squares += v * v;
		}
		for (int64_t k = 0; k < t->rank * t->rows; k++)
			b_sum += fabs((double)a[t->b + (uint64_t)k]);
	}
	ok(worst <= 1.000001 && worst > 0.99, "A is within 1/sqrt(in), to %.4f of it", worst);
	ok(fabs(sum / (double)n) < 0.02 && fabs(squares / (double)n - 1.0 / 3) < 0.01,
	    "A is uniform: mean %.4f, mean square %.4f", sum / (double)n, squares / (double)n);
	ok(b_sum == 0, "B is zero");
	qz_lora_init(&l, 43, b);
	ok(memcmp(a, b, l.n_par * sizeof *a) != 0, "another seed draws another");
	ok(a[l.t[0].a] != a[l.t[7].a], "each tensor draws its own");
	free(a);
	free(b);
	qz_lora_free(&l);
}

static const struct {
	const char *name;
	int layer, proj; /* proj -1: not one */
	char half;
} names[] = {
	{ "model.layers.0.self_attn.q_proj.lora_A.weight", 0, QZ_PROJ_Q, 'A' },
	{ "model.layers.31.mlp.down_proj.lora_B.weight", 31, QZ_PROJ_DOWN, 'B' },
	{ "model.layers.0.self_attn.q_proj.lora_C.weight", 0, -1, 0 },
	{ "model.layers.0.self_attn.q_proj.lora_A.bias", 0, -1, 0 },
	{ "model.layers.0.input_layernorm.lora_A.weight", 0, -1, 0 },
	{ "model.embed_tokens.lora_A.weight", 0, -1, 0 },
	{ "lora_A.weight", 0, -1, 0 },
	{ ".lora_A.weight", 0, -1, 0 },
	{ "", 0, -1, 0 },
};

static void
check_names(void)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int layer = -1, ret;
		enum qz_proj p = QZ_PROJ_N;
		char half = 0, back[200] = "";

		ret = qz_lora_name_parse(names[i].name, &layer, &p, &half);
		if (names[i].proj < 0) {
			ok(ret == -1, "'%s' is no adapter's tensor", names[i].name);
			continue;
		}
		qz_lora_name(layer, p, half, back, sizeof back);
		ok(ret == 0 && layer == names[i].layer && (int)p == names[i].proj &&
			half == names[i].half,
		    "%s is understood", names[i].name);
		is(back, names[i].name, "and written the same");
	}
}

static const struct {
	const char *text;
	int set; /* -1: refused */
} sets[] = {
	{ "all", QZ_PROJ_ALL },
	{ "q", 1 << QZ_PROJ_Q },
	{ "q_proj,v_proj", 1 << QZ_PROJ_Q | 1 << QZ_PROJ_V },
	{ "down,gate,up", 1 << QZ_PROJ_DOWN | 1 << QZ_PROJ_GATE | 1 << QZ_PROJ_UP },
	{ "", -1 },
	{ "q,", -1 },
	{ "q,lm_head", -1 },
	{ "Q", -1 },
};

static void
check_sets(void)
{
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		struct qz_err e;
		unsigned got;
		int ret = qz_proj_set_parse(sets[i].text, &got, &e);

		ok(sets[i].set < 0 ? ret == -1 && e.code == QZ_EUSAGE
				   : ret == 0 && (int)got == sets[i].set,
		    "targets '%s'%s", sets[i].text, sets[i].set < 0 ? " are refused" : "");
	}
}

/* An adapter whose tensors have their own ranks and scales. */
static void
make_adapter(struct qz_adapter *a, int mixed)
{
	struct qz_err e;

	*a = (struct qz_adapter){ 0 };
	qz_lora_uniform(&a->lora, &config, 4, 6, 0.25, 1 << QZ_PROJ_Q | 1 << QZ_PROJ_UP, &e);
	if (mixed) {
		a->lora.t[1].rank = 2;
		a->lora.t[1].scale = qz_lora_scale(6, 2, false);
		a->lora.t[2].scale = 0.3f;
		qz_lora_place(&a->lora, &e);
	}
	a->values = calloc(a->lora.n_par, sizeof *a->values);
	a->source = calloc((size_t)a->lora.n, sizeof *a->source);
	a->base = strdup("a \"base\"");
	for (int i = 0; i < a->lora.n; i++) {
		const struct qz_lora_tensor *t = &a->lora.t[i];

		a->source[i] = 1000 + (uint64_t)i;
		for (int64_t k = 0; k < t->rank * t->cols; k++)
			a->values[t->a + (uint64_t)k] = (float)noise((uint64_t)i, (uint64_t)k);
		for (int64_t k = 0; k < t->rank * t->rows; k++)
			a->values[t->b + (uint64_t)k] = (float)noise(
			    100 + (uint64_t)i, (uint64_t)k);
	}
}

static int
same(const struct qz_adapter *a, const struct qz_adapter *b, int sources)
{
	if (a->lora.n != b->lora.n || a->lora.n_par != b->lora.n_par ||
	    a->lora.rank != b->lora.rank || a->lora.alpha != b->lora.alpha ||
	    a->lora.dropout != b->lora.dropout || a->lora.targets != b->lora.targets ||
	    a->lora.rslora != b->lora.rslora || strcmp(a->base, b->base))
		return 0;
	for (int i = 0; i < a->lora.n; i++)
		if (a->lora.t[i].rank != b->lora.t[i].rank ||
		    a->lora.t[i].scale != b->lora.t[i].scale ||
		    a->lora.t[i].rows != b->lora.t[i].rows ||
		    (sources && a->source[i] != b->source[i]))
			return 0;
	return !memcmp(a->values, b->values, a->lora.n_par * sizeof *a->values);
}

static void
check_shard(const char *dir, int mixed)
{
	struct qz_adapter a, b = { 0 };
	struct qz_err e = { 0 };
	struct qz_out *o;
	char path[300];

	snprintf(path, sizeof path, "%s/a%d.qz", dir, mixed);
	make_adapter(&a, mixed);
	o = qz_out_open(path, false, &e);
	ok(qz_adapter_write(&a, o, "[{\"tool\":\"test\"}]", &e) == 0 && qz_out_commit(o, &e) == 0 &&
		qz_adapter_read(&b, path, &e) == 0 && same(&a, &b, 1),
	    "an adapter shard%s is read as it was written %s", mixed ? " of several ranks" : "",
	    e.msg);
	is(b.provenance, "[{\"tool\":\"test\"}]", "with its provenance");
	ok(qz_adapter_fits(&b, &config, &e) == 0, "it fits its model");
	config.ffn++;
	ok(qz_adapter_fits(&b, &config, &e) == -1 && strstr(e.msg, "up_proj"),
	    "and not one of another shape: %s", e.msg);
	config.ffn--;
	config.layers--;
	ok(qz_adapter_fits(&b, &config, &e) == -1, "nor one with fewer layers: %s", e.msg);
	config.layers++;
	qz_out_close(o);
	qz_adapter_free(&a);
	qz_adapter_free(&b);
}

static void
check_folder(const char *dir, int mixed)
{
	struct qz_adapter a, b = { 0 };
	struct qz_err e = { 0 };
	struct qz_outdir *d;
	char path[300];

	snprintf(path, sizeof path, "%s/peft%d", dir, mixed);
	make_adapter(&a, mixed);
	d = qz_outdir_open(path, &e);
	ok(d && qz_adapter_write_peft(&a, d, &e) == 0 && qz_outdir_commit(d, &e) == 0 &&
		qz_adapter_read(&b, path, &e) == 0 && same(&a, &b, 0),
	    "a PEFT folder%s is read as it was written %s", mixed ? " of several ranks" : "",
	    e.msg);
	qz_outdir_close(d);
	qz_adapter_free(&a);
	qz_adapter_free(&b);
}

#define LORA "\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8"

/* What a config says of the module "model.layers.1.mlp.up_proj", or how it is refused. */
static const struct {
	const char *text;
	int rank;
	double alpha;
	const char *message;
} configs[] = {
	{ "{" LORA "}", 4, 8, NULL },
	{ "{\"peft_type\":\"LORA\"}", 8, 8, NULL },
	{ "{" LORA ",\"rank_pattern\":{\"up_proj\":2},\"alpha_pattern\":{\"q_proj\":3}}", 2, 8,
	    NULL },
	{ "{" LORA ",\"alpha_pattern\":{\"layers.1.mlp.up_proj\":3}}", 4, 3, NULL },
	{ "{" LORA ",\"rank_pattern\":{\"p_proj\":2}}", 4, 8, NULL },
	{ "{" LORA ",\"modules_to_save\":[],\"use_dora\":false,\"a_new_key\":null}", 4, 8, NULL },
	{ "{" LORA ",\"use_dora\":true}", 0, 0, "use_dora is true: qz does not compute this" },
	{ "{" LORA ",\"modules_to_save\":[\"lm_head\"]}", 0, 0,
	    "modules_to_save is [\"lm_head\"]: qz does not compute this" },
	{ "{" LORA ",\"a_new_key\":1}", 0, 0, "a_new_key is 1: qz does not compute this" },
	{ "{" LORA ",\"bias\":\"all\"}", 0, 0, "bias is \"all\": only none is computed" },
	{ "{" LORA ",\"init_lora_weights\":\"pissa_niter_4\"}", 0, 0,
	    "init_lora_weights is \"pissa_niter_4\": it changes the base too" },
	{ "{" LORA ",\"fan_in_fan_out\":true}", 0, 0,
	    "fan_in_fan_out is true: weights stored transposed are not read" },
	{ "{\"peft_type\":\"IA3\"}", 0, 0, "peft_type is \"IA3\": LORA is expected" },
	{ "{" LORA ",\"rank_pattern\":{\".*up\":2}}", 0, 0,
	    "rank_pattern is {\".*up\":2}: only names are read, not regular expressions" },
	{ "{" LORA ",\"alpha_pattern\":{\"up_proj\":\"x\"}}", 0, 0,
	    "alpha_pattern is {\"up_proj\":\"x\"}: numbers above 0 are expected" },
	{ "{\"peft_type\":\"LORA\",\"lora_alpha\":-1}", 0, 0,
	    "lora_alpha is -1: a number above 0 is expected" },
	{ "[]", 0, 0, "is not a JSON object" },
};

static void
check_configs(void)
{
	for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
		struct qz_peft p;
		struct qz_err e = { 0 };
		int ret = qz_peft_parse(&p, configs[i].text, strlen(configs[i].text), &e);
		const char *module = "model.layers.1.mlp.up_proj";

		if (configs[i].message) {
			ok(ret == -1 && e.code == QZ_EDATA, "refused: %s", configs[i].text);
			is(e.msg, configs[i].message, "and why");
		} else {
			ok(ret == 0 && qz_peft_rank(&p, module) == configs[i].rank &&
				qz_peft_alpha(&p, module) == configs[i].alpha,
			    "%s %s", configs[i].text, e.msg);
		}
		qz_peft_free(&p);
	}
}

static void
check_golden(void)
{
	const char *file = shared("golden/lora/init/adapter_config.json");
	struct qz_adapter a;
	struct qz_err e = { 0 };
	char path[4096];

	if (!file) {
		skip("golden/lora is not there");
		return;
	}
	snprintf(path, sizeof path, "%s", file);
	*strrchr(path, '/') = '\0';
	ok(qz_adapter_read(&a, path, &e) == 0 && a.lora.n == 35 && a.lora.rank == 8 &&
		a.lora.t[0].scale == 2 && a.lora.n_params == 46240,
	    "a folder that PEFT wrote is read: %d tensors, %llu parameters %s", a.lora.n,
	    (unsigned long long)a.lora.n_params, e.msg);
	qz_adapter_free(&a);
}

static void
check_missing(const char *dir)
{
	struct qz_adapter a;
	struct qz_err e;
	char path[300];

	ok(qz_adapter_read(&a, "/nowhere/a.qz", &e) == -1 && e.code == QZ_EIO, "no file: %s",
	    e.msg);
	ok(qz_adapter_read(&a, dir, &e) == -1 && e.code == QZ_EIO, "an empty folder: %s", e.msg);
	snprintf(path, sizeof path, "%s/text", dir);
	fclose(fopen(path, "w"));
	ok(qz_adapter_read(&a, path, &e) == -1 && e.code == QZ_EDATA, "an empty file: %s", e.msg);
}

int
main(void)
{
	char dir[] = "/tmp/qz-lora-XXXXXX", command[64];

	config = tiny_config("llama", true);
	check_layout();
	check_init();
	check_names();
	check_sets();
	check_configs();
	check_golden();
	if (!mkdtemp(dir))
		return ok(0, "no temporary folder"), done();
	check_missing(dir);
	for (int mixed = 0; mixed < 2; mixed++) {
		check_shard(dir, mixed);
		check_folder(dir, mixed);
	}
	snprintf(command, sizeof command, "rm -r %s", dir);
	ok(system(command) == 0, "the folder is removed");
	return done();
}
