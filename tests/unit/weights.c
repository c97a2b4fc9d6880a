/* Loading weights: what is missing, there twice, too short, too long, of a wrong shape or not finite. */
#include "libcore/base/half.h"
#include "tests/unit/tap.h"
#include "tests/unit/tiny.h"

static struct qz_dev *dev;
static struct qz_config config;

enum fault {
	NONE,
	NAN_VALUE,
	INF_NORM,
	TWICE,
	MISSING,
	SHORT,
	LONG,
	SHAPE,
	NAMELESS,
	NAN_SCALE,
	CODED_NORM
};

static const struct {
	enum fault fault;
	const char *message;
} faults[] = {
	{ NONE, NULL },
	{ NAN_VALUE, "tensor model.layers.1.mlp.up_proj.weight: element 5 of its values is not a "
		     "finite number" },
	{ INF_NORM, "tensor model.norm.weight: element 3 of its values is not a finite number" },
	{ TWICE, "tensor model.layers.0.self_attn.k_proj.weight is there twice" },
	{ MISSING, "tensor model.layers.1.mlp.down_proj.weight is missing" },
	{ SHORT, "64 bytes of data, its shape takes 1280" },
	{ LONG, "more data than its shape takes" },
	{ SHAPE, "tensor model.layers.1.mlp.up_proj.weight: its shape is 16 x 20, the config says "
		 "20 x 16" },
	{ NAMELESS, "tensor rotary.inv_freq: a llama model of this config has no such tensor" },
	{ NAN_SCALE, "tensor model.layers.0.self_attn.q_proj.weight: element 1 of its scales is "
		     "not a finite number" },
	{ CODED_NORM, "tensor model.norm.weight is of type int8, f32, f16 or bf16 expected" },
};

static int
put(struct qz_weights *w, struct qz_tensor *t, enum fault f, struct qz_err *e)
{
	bool up = strstr(t->name, "layers.1.mlp.up_proj") != NULL,
	     norm = !strcmp(t->name, "model.norm.weight");
	char *data;
	int ret;

	if (f == SHAPE && up) {
		uint64_t d = t->dims[0];

		t->dims[0] = t->dims[1];
		t->dims[1] = d;
	}
	if (f == NAMELESS && norm)
		t->name = "rotary.inv_freq";
	if (f == CODED_NORM && norm)
		t->dtype = QZ_INT8;
	if (f == NAN_SCALE && strstr(t->name, "layers.0.self_attn.q_proj")) {
		t->dtype = QZ_NF4;
		t->block = 16;
	}
	if (qz_tensor_plan(t, e) < 0)
		return -1;
	data = calloc(1, t->nbytes + 64);
	if (f == NAN_VALUE && up)
		((float *)(void *)data)[5] = NAN;
	if (f == INF_NORM && norm)
		((uint16_t *)(void *)data)[3] = qz_f32_to_f16(INFINITY);
	if (t->dtype == QZ_NF4)
		((float *)(void *)(data + qz_tensor_section(t, QZ_SEC_ABSMAX)->offset))[1] = NAN;
	ret = qz_weights_tensor(w, t, e);
	if (ret == 0)
		ret = qz_weights_data(w, data, f == SHORT && up ? 64 : t->nbytes, e);
	if (ret == 0 && f == LONG && up)
		ret = qz_weights_data(w, data, 1, e);
	if (ret == 0)
		ret = qz_weights_tensor_end(w, 9, e);
	free(data);
	return ret;
}

static int
load(struct qz_weights *w, enum fault f, struct qz_err *e)
{
	int ret = qz_weights_begin(w, dev, &config, NULL, 0, false, e);

	for (int layer = 0; layer < config.layers; layer++)
		for (int r = 0; r < QZ_ROLE_END && ret == 0; r++) {
			bool down = r == QZ_DOWN && layer == 1;
			struct qz_tensor t = { .dtype = r == QZ_NORM ? QZ_F16 : QZ_F32 };
			char name[160];

			if (!qz_config_has(&config, (enum qz_role)r) || (f == MISSING && down) ||
			    (layer && !qz_role((enum qz_role)r)->in_layer))
				continue;
			for (int k = 0; k < (f == TWICE && r == QZ_K ? 2 : 1) && ret == 0; k++) {
				qz_role_name((enum qz_role)r, layer, name, sizeof name);
				t.name = name;
				qz_config_shape(&config, (enum qz_role)r, t.dims, &t.n_dims);
				ret = put(w, &t, f, e);
			}
		}
	return ret < 0 ? -1 : qz_weights_end(w, e);
}

static void
check_identity(void)
{
	struct qz_weights a, b;
	struct qz_err e;
	uint64_t one;

	config.tied = true;
	if (load(&a, NONE, &e) < 0 || tiny_weights(&b, dev, &config, &e) < 0) {
		ok(0, "%s", e.msg);
		return;
	}
	one = a.identity;
	ok(a.head.data == a.embed.data, "a tied head is the embedding");
	ok(one && one != b.identity, "weights of other digests have another identity");
	ok(a.source[1][QZ_PROJ_DOWN] == 9, "each projection's digest is kept");
	qz_weights_free(&a);
	qz_weights_free(&b);
	if (load(&a, NONE, &e) == 0)
		ok(a.identity == one, "the same digests, the same identity");
	qz_weights_free(&a);
}

int
main(void)
{
	struct qz_err e;

	dev = qz_device_open("cpu", 1, &e);
	config = tiny_config("llama", false);
	if (!dev)
		return ok(0, "%s", e.msg), done();
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		struct qz_weights w;
		int ret;

		e = (struct qz_err){ 0 };
		ret = load(&w, faults[i].fault, &e);
		if (!faults[i].message) {
			ok(ret == 0, "a whole model is loaded %s", e.msg);
		} else {
			ok(ret == -1 && e.code == QZ_EDATA, "fault %d is refused", (int)i);
			is(e.msg, faults[i].message, "and why");
		}
		qz_weights_free(&w);
	}
	check_identity();
	qz_device_close(dev);
	return done();
}
