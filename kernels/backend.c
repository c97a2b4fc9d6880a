/* Which device a name means: the CPU variants are linked in, CUDA is a plugin. */
#define _GNU_SOURCE
#include "kernels/backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct qz_backend qz_cpu_backend_base, qz_cpu_backend_f64;
#ifdef __x86_64__
extern const struct qz_backend qz_cpu_backend_avx2, qz_cpu_backend_avx512,
    qz_cpu_backend_avx512bf16;

static bool
has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool
has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vl");
}

static bool
has_avx512bf16(void)
{
	return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
#endif

static bool
always(void)
{
	return true;
}

/* Best first.  Products in bfloat16 are for who asks for them. */
static const struct {
	const char *name;
	const struct qz_backend *k;
	bool (*here)(void);
	bool bf16;
} variants[] = {
#ifdef __x86_64__
	{ "avx512bf16", &qz_cpu_backend_avx512bf16, has_avx512bf16, true },
	{ "avx512", &qz_cpu_backend_avx512, has_avx512, false },
	{ "avx2", &qz_cpu_backend_avx2, has_avx2, false },
#endif
	{ "base", &qz_cpu_backend_base, always, false },
};
enum { N_VARIANTS = sizeof variants / sizeof *variants };

static struct qz_dev *
open_bf16(int n_threads, struct qz_err *e)
{
	for (size_t i = 0; i < N_VARIANTS; i++)
		if (variants[i].bf16 && variants[i].here())
			return variants[i].k->open(0, n_threads, e);
	qz_fail(e, QZ_EDEVICE,
	    "device cpu-bf16: this processor has no products of bfloat16 (avx512_bf16)");
	return NULL;
}

static struct qz_dev *
open_cpu(int n_threads, struct qz_err *e)
{
	const char *want = getenv("QZ_CPU");

	for (size_t i = 0; i < N_VARIANTS; i++) {
		if (want && *want ? strcmp(want, variants[i].name) : variants[i].bf16)
			continue;
		if (variants[i].here())
			return variants[i].k->open(0, n_threads, e);
		if (want && *want) {
			qz_fail(e, QZ_EDEVICE, "QZ_CPU=%s: this processor lacks it", want);
			return NULL;
		}
	}
	qz_fail(
	    e, QZ_EDEVICE, "QZ_CPU=%s: no such variant; base, avx2, avx512 or avx512bf16", want);
	return NULL;
}

enum plugin { NO_FILE, NOT_LOADED, OTHER_TABLE, LOADED };

/* The table of a name inside a plugin, or a message. */
static enum plugin
load_plugin(const char *path, const char *symbol, const struct qz_backend **table, struct qz_err *e)
{
	void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const struct qz_backend *k = so ? dlsym(so, symbol) : NULL;

	if (!so || !k) {
		qz_fail(e, QZ_EDEVICE, "%s", dlerror());
		return NOT_LOADED;
	}
	if (k->abi != QZ_KERNELS_ABI || k->size != sizeof *k) {
		qz_fail(e, QZ_EDEVICE,
		    "%s: made for table %u of %u bytes, this tool has table %u of %zu; take both "
		    "from one build",
		    path, k->abi, k->size, QZ_KERNELS_ABI, sizeof *k);
		return OTHER_TABLE;
	}
	*table = k; /* it stays loaded: devices hold its functions */
	return LOADED;
}

/* Places to look at, in order: $QZ_PLUGINDIR, ../lib beside the tool, the installed directory. */
static bool
plugin_path(int place, char *path, size_t n)
{
	const char *env = getenv("QZ_PLUGINDIR");
	char exe[PATH_MAX];
	ssize_t len;

	if (place == 0) {
		if (env && env[0] == '/')
			snprintf(path, n, "%s/qz-cuda.so", env);
		return env && env[0] == '/';
	}
	if (place == 2) {
		snprintf(path, n, "%s/qz-cuda.so", QZ_LIBDIR);
		return QZ_LIBDIR[0] == '/';
	}
	len = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (len < 0)
		return false;
	exe[len] = '\0';
	for (int up = 0; up < 2; up++)
		if (strrchr(exe, '/'))
			*strrchr(exe, '/') = '\0';
	return snprintf(path, n, "%s/lib/qz-cuda.so", exe) < (int)n;
}

static enum plugin
find_plugin(const char *symbol, const struct qz_backend **table, struct qz_err *e)
{
	char path[PATH_MAX + 32];

	for (int place = 0; place < 3; place++)
		if (plugin_path(place, path, sizeof path) && access(path, F_OK) == 0)
			return load_plugin(path, symbol, table, e);
	qz_fail(e, QZ_EDEVICE,
	    "there is no plugin qz-cuda.so in QZ_PLUGINDIR, beside the tool or in %s", QZ_LIBDIR);
	return NO_FILE;
}

/* GPUs, and the plugin's tables: the first gives activations the type that suits the GPU. */
static const struct {
	const char *name, *symbol;
} gpus[] = { { "cuda", "qz_backend_v1" }, { "cuda-fp16", "qz_backend_f16_v1" } };
enum { N_GPUS = sizeof gpus / sizeof *gpus };

/* The row of a name like "cuda" or "cuda:1", or -1. */
static int
find_gpu(const char *name)
{
	for (int i = 0; i < N_GPUS; i++)
		if (strcspn(name, ":") == strlen(gpus[i].name) &&
		    !strncmp(name, gpus[i].name, strlen(gpus[i].name)))
			return i;
	return -1;
}

static struct qz_dev *
open_gpu(int row, const char *name, struct qz_err *e)
{
	const char *colon = strchr(name, ':');
	const struct qz_backend *k;
	char *end = "";
	long index = 0;
	int n;

	if (colon)
		index = strtol(colon + 1, &end, 10);
	if (colon && (end == colon + 1 || *end || index < 0 || index > INT_MAX)) {
		qz_fail(e, QZ_EUSAGE, "device %s: what follows %s: is not a number", name,
		    gpus[row].name);
		return NULL;
	}
	if (find_plugin(gpus[row].symbol, &k, e) != LOADED) {
		qz_at(e, "device %s", name);
		return NULL;
	}
	n = k->count();
	if (index >= n) {
		qz_fail(e, QZ_EDEVICE, "device %s: this machine has %d GPU%s that CUDA can use",
		    name, n, n == 1 ? "" : "s");
		return NULL;
	}
	return k->open((int)index, 0, e);
}

/* A complete plugin with a device, or the CPU.  A plugin that cannot be loaded (its libraries are not
 * here) counts as none; one that loads but has another table is a broken installation and is refused. */
static struct qz_dev *
open_auto(int n_threads, struct qz_err *e)
{
	const struct qz_backend *k;
	struct qz_err why;
	enum plugin state = find_plugin(gpus[0].symbol, &k, &why);

	if (state == OTHER_TABLE) {
		*e = why;
		return NULL;
	}
	if (state == LOADED && k->complete && k->count() > 0)
		return k->open(0, 0, e);
	return open_cpu(n_threads, e);
}

struct qz_dev *
qz_device_open(const char *name, int n_threads, struct qz_err *e)
{
	if (!strcmp(name, "auto"))
		return open_auto(n_threads, e);
	if (!strcmp(name, "cpu"))
		return open_cpu(n_threads, e);
	if (!strcmp(name, "cpu-bf16"))
		return open_bf16(n_threads, e);
	if (!strcmp(name, "cpu-f64"))
		return qz_cpu_backend_f64.open(0, n_threads, e);
	if (find_gpu(name) >= 0)
		return open_gpu(find_gpu(name), name, e);
	qz_fail(e, QZ_EUSAGE,
	    "device %s: not one of auto, cpu, cpu-bf16, cuda, cuda:N, cuda-fp16, cuda-fp16:N",
	    name);
	return NULL;
}

void
qz_device_close(struct qz_dev *d)
{
	if (d)
		d->k->close(d);
}
