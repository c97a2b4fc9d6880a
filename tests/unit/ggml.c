/* ggml's block types against files that llama-quantize wrote (golden/kquant): quantize_ggml gives its
 * bytes for the types that are written, and what comes back out of every type are the numbers of
 * gguf-py 0.19's dequantize, told by their hash. */
#include "tests/unit/tap.h"
#include "tests/unit/golden_file.h"
#include "tests/unit/device.h"
#include "libcore/base/hash.h"
#include "libcore/format/gguf_read.h"
#include "libcore/format/imatrix.h"

static int
open_gguf(struct qz_gguf *g, const char *folder, const char *name, char **bytes)
{
	char file[128];
	struct qz_err e = { 0 };
	struct qz_in *in;
	size_t n;
	int ret;

	memset(g, 0, sizeof *g);
	snprintf(file, sizeof file, "golden/kquant/%s%s.gguf", folder, name);
	*bytes = shared_bytes(file, &n);
	if (!*bytes)
		return -1;
	in = qz_in_open(shared(file), &e);
	ret = in ? qz_gguf_read(g, in, &e) : -1;
	qz_in_close(in);
	if (ret < 0) {
		printf("# %s: %s\n", file, e.msg);
		free(*bytes);
	}
	return ret;
}

static void
back(struct qz_dev *d, const char *folder, const char *name, uint64_t want)
{
	struct qz_hash *h = qz_hash_new();
	struct qz_gguf g;
	char *bytes;

	if (open_gguf(&g, folder, name, &bytes) < 0) {
		skip("no golden/kquant/%s%s.gguf", folder, name);
		qz_hash_free(h);
		return;
	}
	for (size_t i = 0; i < g.n_tensors; i++) {
		const struct qz_gguf_tensor *t = &g.tensors[i];
		struct qz_mat w = { .type = t->dtype,
			.rows = (int64_t)t->dims[0],
			.cols = (int64_t)t->dims[1],
			.data = bytes + t->offset };
		float *y;

		if (t->dtype == QZ_F32)
			continue;
		y = need((size_t)(w.rows * w.cols) * sizeof *y);
		d->k->dequantize(d, y, QZ_F32, &w, 0, w.rows);
		qz_hash_add(h, y, (size_t)(w.rows * w.cols) * sizeof *y);
		free(y);
	}
	ok(qz_hash_get64(h) == want, "%s: %s%s back", d->k->name, folder, name);
	qz_hash_free(h);
	qz_gguf_free(&g);
	free(bytes);
}

/* Every tensor of the f16 input as blocks of the type that it has in the output. */
static void
forth(struct qz_dev *d, const char *folder, const char *name, const struct qz_imatrix *m)
{
	int tensors = 0, right = 0;
	struct qz_gguf in, out;
	char *from, *to;

	if (open_gguf(&in, "", "in", &from) < 0 || open_gguf(&out, folder, name, &to) < 0) {
		skip("no golden/kquant");
		return;
	}
	for (size_t i = 0; i < out.n_tensors; i++) {
		const struct qz_gguf_tensor *t = &out.tensors[i], *f = qz_gguf_tensor(&in, t->name);
		const struct qz_imatrix_entry *x = qz_imatrix_find(m, t->name);
		int64_t rows = (int64_t)t->dims[0], cols = (int64_t)t->dims[1];
		float *v;
		uint8_t *y;

		if (qz_dtype(t->dtype)->plain)
			continue;
		v = need((size_t)(rows * cols) * sizeof *v);
		y = memset(need(t->nbytes), 0xff, t->nbytes);
		d->k->cast(d, v, QZ_F32, from + f->offset, f->dtype, rows * cols);
		d->k->quantize_ggml(d, t->dtype, y, v, rows, cols, x ? x->values : NULL);
		tensors++;
		right += !memcmp(y, to + t->offset, t->nbytes);
		if (memcmp(y, to + t->offset, t->nbytes)) {
			uint64_t k = 0;

			while (y[k] == (uint8_t)to[t->offset + k])
				k++;
			printf("# %s: %s differs first in row %llu at byte %llu\n", t->name,
			    qz_dtype(t->dtype)->name,
			    (unsigned long long)(k / (t->nbytes / t->dims[0])),
			    (unsigned long long)(k % (t->nbytes / t->dims[0])));
		}
		free(v);
		free(y);
	}
	ok(tensors > 0 && right == tensors, "%s: to %s%s, %d of %d tensors", d->k->name, folder,
	    name, right, tensors);
	qz_gguf_free(&in);
	qz_gguf_free(&out);
	free(from);
	free(to);
}

static void
refusals(struct qz_dev *d)
{
	uint8_t y[256];
	float x[256] = { 0 };
	struct qz_err e = { 0 };

	d->k->quantize_ggml(d, QZ_Q8_0, y, x, 1, 33, NULL);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EDATA, "a row that is no whole blocks: %s",
	    e.msg);
	d->k->quantize_ggml(d, QZ_NF4, y, x, 1, 64, NULL);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EDATA, "nf4 is not ggml's: %s", e.msg);
}

int
main(void)
{
	static const char *const variants[] = { "base", "avx2", "avx512", "avx512bf16", "f64",
		"cuda" };
	struct qz_imatrix m = { 0 }, none = { 0 };
	struct qz_err e = { 0 };
	static const struct {
		const char *folder, *name;
		uint64_t
		    hash; /* XXH3-64 of all tensors' float32 values in the file's order, f32 tensors left out */
	} rows[] = {
		{ "plain/", "BF16", 0x7396fe47c73a7dfd },
		{ "plain/", "F16", 0xc7f490e606ac4cbf },
		{ "plain/", "IQ4_NL", 0x1def1b077a3e476e },
		{ "plain/", "IQ4_XS", 0xdbcff39e8aae4a88 },
		{ "plain/", "Q2_K", 0x264de44490acf939 },
		{ "plain/", "Q3_K_L", 0x2d5e956e2734bb77 },
		{ "plain/", "Q3_K_M", 0xb252ac6d0bce7250 },
		{ "plain/", "Q3_K_S", 0x09ddf6d860591901 },
		{ "plain/", "Q4_0", 0x2e5a803bf9890e63 },
		{ "plain/", "Q4_1", 0x3e4eef9214ee7860 },
		{ "plain/", "Q4_K_M", 0x918d6aa50f2f4822 },
		{ "plain/", "Q4_K_S", 0xb7bb6a7fd8d64dc0 },
		{ "plain/", "Q5_0", 0xf88a6eae3bfe9c13 },
		{ "plain/", "Q5_1", 0x7e0d67ab3c15f86e },
		{ "plain/", "Q5_K_M", 0x33ad52852806d5d6 },
		{ "plain/", "Q5_K_S", 0xbbf074f168c19860 },
		{ "plain/", "Q6_K", 0xfa63baefe0f84d48 },
		{ "plain/", "Q8_0", 0xf9b29c2936d254fc },
		{ "imatrix/", "IQ4_NL", 0x0189236463a1ed5c },
		{ "imatrix/", "IQ4_XS", 0x85fcdaa4ea1a1681 },
		{ "imatrix/", "Q2_K", 0xe588137a603ca488 },
		{ "imatrix/", "Q3_K_L", 0xcad3afe43c8ab64e },
		{ "imatrix/", "Q3_K_M", 0x02500a89ed2a09df },
		{ "imatrix/", "Q3_K_S", 0x4f4339aa5cdbba79 },
		{ "imatrix/", "Q4_0", 0x708731d2bdc52bae },
		{ "imatrix/", "Q4_1", 0x9003381eb57de438 },
		{ "imatrix/", "Q4_K_M", 0x3b0f1b80af24b46a },
		{ "imatrix/", "Q4_K_S", 0xeba4e7e8a9f2c6fb },
		{ "imatrix/", "Q5_0", 0x8dddb43348b3756c },
		{ "imatrix/", "Q5_1", 0xa5fc0cf8175abbc1 },
		{ "imatrix/", "Q5_K_M", 0x49a0a22ac763cfb5 },
		{ "imatrix/", "Q5_K_S", 0x76a585bd559bacaa },
		{ "imatrix/", "Q6_K", 0x0780e70f719d69df },
	};

	if (shared("golden/kquant/imatrix.dat") &&
	    qz_imatrix_read(&m, shared("golden/kquant/imatrix.dat"), &e) < 0)
		ok(false, "the importance matrix: %s", e.msg);
	for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
		struct qz_dev *d = open_variant(variants[v], 2);

		if (!d) {
			skip("%s: not on this machine", variants[v]);
			continue;
		}
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
			back(d, rows[i].folder, rows[i].name, rows[i].hash);
		for (size_t i = 2; i < sizeof rows / sizeof *rows; i++)
			forth(d, rows[i].folder, rows[i].name, *rows[i].folder == 'i' ? &m : &none);
		refusals(d);
		qz_device_close(d);
	}
	qz_imatrix_free(&m);
	return done();
}
