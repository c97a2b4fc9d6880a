/* The CUDA plugin: refused with a sentence where there is no GPU; where there is one, its exact ops give
 * the CPU's bytes and the others stay near float64.  Skips when the plugin is not built. */
#include "tests/unit/tap.h"
#include "tests/unit/weights.h"
#include "libcore/base/half.h"

#include <libgen.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };

/* Points QZ_PLUGINDIR at build/lib; false when the plugin is not there. */
static bool
find_plugin(void)
{
	static char exe[4096];
	char path[4200];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

	if (n < 0)
		return false;
	exe[n] = '\0';
	snprintf(path, sizeof path, "%s/lib", dirname(dirname(dirname(exe))));
	setenv("QZ_PLUGINDIR", path, 1);
	strcat(path, "/qz-cuda.so");
	return access(path, F_OK) == 0;
}

static void
without_gpu(const struct qz_err *why)
{
	struct qz_err e = { 0 };
	struct qz_dev *d;

	ok(why->code == QZ_EDEVICE && strstr(why->msg, "this machine has 0 GPUs"), "no GPU: %s",
	    why->msg);
	d = qz_device_open("auto", 1, &e);
	ok(d && !strncmp(d->k->name, "cpu-", 4), "auto takes the CPU");
	qz_device_close(d);
}

/* Device memory with these bytes. */
static void *
put(struct qz_dev *d, const void *host, size_t n)
{
	struct qz_err e;
	void *p = host ? d->k->alloc(d, n, &e) : NULL;

	if (p)
		d->k->copy_in(d, p, host, n);
	return p;
}

/* The same call on the CPU and on the GPU gives the same n bytes. */
static bool
same_bytes(struct qz_dev *gpu, const void *cpu, const void *device, size_t n)
{
	struct qz_err e = { 0 };
	uint8_t *got = need(n);
	bool same;

	gpu->k->copy_out(gpu, got, device, n);
	same = gpu->k->sync(gpu, &e) == 0 && !memcmp(got, cpu, n);
	if (e.code)
		printf("# %s\n", e.msg);
	free(got);
	return same;
}

/* All float16 and bfloat16, and floats of random bits. */
static void
casts(struct qz_dev *cpu, struct qz_dev *gpu)
{
	static const enum qz_dtype types[] = { QZ_F32, QZ_F16, QZ_BF16, QZ_F64 };
	uint8_t *x = need(SIZE * 8), *y = need(SIZE * 8);

	for (int from = 0; from < 4; from++) {
		size_t size = qz_dtype(types[from])->bytes;
		int64_t n = size == 2 ? 65536 : SIZE - 1;
		void *dx, *dy;

		for (uint64_t i = 0; i < (uint64_t)SIZE * 2; i++)
			if (size == 2)
				((uint16_t *)(void *)x)[i] = (uint16_t)i;
			else
				qz_philox(1, 2, i, (uint32_t *)(void *)(x + i % (SIZE / 2) * 16));
		dx = put(gpu, x, SIZE * 8);
		dy = put(gpu, x, SIZE * 8);
		for (int to = 0; to < 4; to++) {
			cpu->k->cast(cpu, y, types[to], x, types[from], n);
			gpu->k->cast(gpu, dy, types[to], dx, types[from], n);
			ok(same_bytes(gpu, y, dy, (size_t)n * qz_dtype(types[to])->bytes),
			    "cast %s to %s", qz_dtype(types[from])->name,
			    qz_dtype(types[to])->name);
		}
		gpu->k->free(gpu, dx);
		gpu->k->free(gpu, dy);
	}
	free(x);
	free(y);
}

static void
dequantize(struct qz_dev *cpu, struct qz_dev *gpu, enum qz_dtype type, enum qz_dtype to, int rows,
    int cols)
{
	struct out o = { 0 };
	struct qz_mat w = weight(cpu, &o, type, rows, cols, 1), m = w;
	size_t blocks = (size_t)(rows * cols + 63) / 64, n = (size_t)((rows - 1) * cols);
	size_t size = qz_dtype(to)->bytes;
	uint8_t *y = keep(&o, need(n * size));
	void *dy = put(gpu, y, n * size);

	m.data = put(gpu, w.data, (size_t)(rows * cols) * 8);
	m.absmax = put(gpu, w.absmax, w.nested_block ? blocks : (blocks + (size_t)rows) * 4);
	m.nested_absmax = put(gpu, w.nested_absmax, (blocks / 256 + 1) * 4);
	m.nested_map = put(gpu, w.nested_map, 1024);
	m.map = put(gpu, w.map, 64);
	cpu->k->dequantize(cpu, y, to, &w, 1, rows - 1);
	gpu->k->dequantize(gpu, dy, to, &m, 1, rows - 1);
	ok(same_bytes(gpu, y, dy, n * size), "dequantize %s to %s, %d x %d", qz_dtype(type)->name,
	    qz_dtype(to)->name, rows, cols);
	gpu->k->free(gpu, dy);
	gpu->k->free(gpu, (void *)m.data);
	gpu->k->free(gpu, (void *)m.absmax);
	gpu->k->free(gpu, (void *)m.nested_absmax);
	gpu->k->free(gpu, (void *)m.nested_map);
	gpu->k->free(gpu, (void *)m.map);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

/* n bfloat16 numbers, and the same ones as float64. */
static void
inputs(struct out *o, uint64_t stream, int64_t n, uint16_t **h, double **f)
{
	*h = keep(o, need((size_t)n * 2));
	*f = keep(o, need((size_t)n * 8));
	for (int64_t i = 0; i < n; i++) {
		(*h)[i] = qz_f32_to_bf16((float)normal(stream, (uint64_t)i));
		(*f)[i] = qz_bf16_to_f32((*h)[i]);
	}
}

static double
far(const uint16_t *got, const double *want, int64_t n)
{
	double diff = 0, size = 0;

	for (int64_t i = 0; i < n; i++) {
		double g = qz_bf16_to_f32(got[i]);

		diff += (g - want[i]) * (g - want[i]);
		size += want[i] * want[i];
	}
	return sqrt(diff / size);
}

/* bfloat16 results: the last rounding alone is 2^-9 at most, about 1.7e-3 in the mean square. */
static void
norm(struct qz_dev *oracle, struct qz_dev *gpu, int rows, int cols)
{
	const struct qz_backend *k = gpu->k;
	struct out o = { 0 };
	int64_t n = (int64_t)rows * cols;
	uint16_t *x, *dy, *was, *got = keep(&o, need((size_t)n * 2)),
				*again = keep(&o, need((size_t)n * 2));
	double *fx, *fdy, *fdx, *y = keep(&o, need((size_t)n * 8)),
				*rstd = keep(&o, need((size_t)rows * 8));
	float *w = floats(&o, 4, cols, 1);
	void *g[6];

	inputs(&o, 1, n, &x, &fx);
	inputs(&o, 2, n, &dy, &fdy);
	inputs(&o, 3, n, &was, &fdx);
	g[0] = put(gpu, x, (size_t)n * 2);
	g[1] = put(gpu, dy, (size_t)n * 2);
	g[2] = put(gpu, was, (size_t)n * 2);
	g[3] = put(gpu, w, (size_t)cols * 4);
	g[4] = put(gpu, rstd, (size_t)rows * 4);
	g[5] = put(gpu, got, (size_t)n * 2);
	oracle->k->rmsnorm(oracle, y, rstd, fx, w, rows, cols, 1e-5f);
	k->rmsnorm(gpu, g[5], g[4], g[0], g[3], rows, cols, 1e-5f);
	k->copy_out(gpu, got, g[5], (size_t)n * 2);
	ok(far(got, y, n) < 2e-3, "rmsnorm %d x %d: %.1e", rows, cols, far(got, y, n));
	k->rmsnorm(gpu, g[5], g[4], g[0], g[3], rows, cols, 1e-5f);
	k->copy_out(gpu, again, g[5], (size_t)n * 2);
	ok(!memcmp(got, again, (size_t)n * 2), "the same bits again");
	oracle->k->rmsnorm_bwd(oracle, fdx, fdy, fx, rstd, w, rows, cols, true);
	k->rmsnorm_bwd(gpu, g[2], g[1], g[0], g[4], g[3], rows, cols, true);
	k->copy_out(gpu, got, g[2], (size_t)n * 2);
	ok(far(got, fdx, n) < 2e-3, "rmsnorm_bwd %d x %d: %.1e", rows, cols, far(got, fdx, n));
	for (int i = 0; i < 6; i++)
		k->free(gpu, g[i]);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

static void
with_gpu(struct qz_dev *gpu)
{
	static const enum qz_dtype types[] = { QZ_F32, QZ_F16, QZ_BF16, QZ_NF4, QZ_FP4, QZ_INT8 };
	static const enum qz_dtype to[] = { QZ_F32, QZ_F16, QZ_BF16, QZ_F64 };
	struct qz_dev *cpu = open_variant("base", 2), *oracle = open_variant("f64", 1);
	struct qz_err e = { 0 };
	char text[256];

	gpu->k->describe(gpu, text, sizeof text);
	ok(!strncmp(text, "cuda: ", 6) && gpu->k->memory(gpu) > 0, "%s", text);
	casts(cpu, gpu);
	for (int i = 0; i < 6; i++) {
		for (int j = 0; j < 4; j++) {
			dequantize(cpu, gpu, types[i], to[j], 65, 63);
			dequantize(cpu, gpu, types[i], to[j], 255, 256);
		}
	}
	norm(oracle, gpu, 1, 7);
	norm(oracle, gpu, 65, 255);
	norm(oracle, gpu, 300, 4096);
	ok(gpu->k->sync(gpu, &e) == 0, "no failure is left: %s", e.msg);
	if (!gpu->k->complete) {
		gpu->k->adamw(gpu, NULL, NULL, NULL, NULL, NULL, NULL, 0);
		ok(gpu->k->sync(gpu, &e) == 0 ||
			(e.code == QZ_EDEVICE && strstr(e.msg, "op adamw is not there yet")),
		    "an op that is not there: %s", e.msg);
	}
	ok(!gpu->k->alloc(gpu, SIZE_MAX / 2, &e) && e.code == QZ_EIO, "too much memory: %s", e.msg);
	qz_device_close(cpu);
	qz_device_close(oracle);
}

int
main(void)
{
	struct qz_err e = { 0 };
	struct qz_dev *gpu;

	if (!find_plugin()) {
		skip("the plugin is not built");
		return done();
	}
	gpu = qz_device_open("cuda", 1, &e);
	if (gpu)
		with_gpu(gpu);
	else
		without_gpu(&e);
	qz_device_close(gpu);
	return done();
}
