/* cuDNN's graphs, without a GPU: its headers say the same numbers, and its heuristics find an engine for every
 * kind of GPU that the table in attention.cu sends to it, with the workspace that plans count on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/cudnn_abi.h"
#include "tests/unit/tap.h"

#if defined(__has_include)
#if __has_include(<cudnn_graph.h>) && __has_include(<cuda_runtime.h>)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <cudnn_graph.h>
#define SAME(name, value) _Static_assert(CUDNN_##name == (value), #name);
QZ_CUDNN_NUMBERS(SAME)
#pragma GCC diagnostic pop
#define HEADERS 1
#endif
#endif

/* cuDNN unloads libraries that keep some memory, so LeakSanitizer has no name by which to forgive them. */
int __lsan_is_turned_off(void);
int
__lsan_is_turned_off(void)
{
	return 1;
}

enum { MB = 1 << 20 };

static const struct gpu {
	int sm, multiprocessors, shared;
} gpus[] = {
	{ 80, 108, 166912 },
	{ 89, 58, 101376 },
	{ 90, 132, 232448 },
	{ 100, 148, 232448 },
	{ 120, 188, 101376 },
};

static void
describe(const struct gpu *u, char *text, size_t n)
{
	snprintf(text, n,
	    "{\"version\":1,\"schemaVersion\":1,\"deviceName\":\"x\",\"cudaDeviceId\":0,"
	    "\"deviceVer\":%d,\"driverVer\":13000,\"maxGridSize\":[2147483647,65535,65535],"
	    "\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,\"multiProcessorCount\":%d,"
	    "\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,"
	    "\"maxSharedMemoryPerBlockOptin\":%d,\"reservedSharedMemoryPerBlock\":1024,"
	    "\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,"
	    "\"maxThreadsPerSM\":1536,\"pciDeviceId\":0,\"isTccDriver\":0,\"supportCoopLaunch\":1,"
	    "\"smClockRateKHz\":1980000,\"memClockRateKHz\":3201000,\"l2CacheSize\":62914560,"
	    "\"totalGlobalMem\":80000000000}",
	    10 * u->sm, u->multiprocessors, u->shared);
}

/* most: megabytes of cuDNN's own workspace, at most.  from, to: the GPUs it must run on. */
static const struct row {
	const char *name;
	struct qz_sdpa_shape s;
	int64_t most;
	int from, to;
} rows[] = {
	{ "dense", { 0, 0, 0, 2, 2048, 32, 8, 128, 32, 8, 0 }, 1, 80, 120 },
	{ "dense, window", { 0, 0, 0, 2, 2048, 32, 8, 128, 32, 8, 1000 }, 1, 80, 120 },
	{ "dense, heads of 64", { 0, 0, 0, 2, 2048, 9, 3, 64, 9, 3, 0 }, 1, 80, 120 },
	{ "dense, 1 x 32768", { 0, 0, 0, 1, 32768, 32, 8, 128, 32, 8, 0 }, 1, 80, 120 },
	{ "dense, as many keys", { 0, 0, 0, 4, 128, 8, 8, 128, 8, 8, 0 }, 1, 80, 120 },
	{ "ragged", { 0, 1, 0, 8, 2048, 32, 8, 128, 32, 8, 0 }, 1, 90, 100 },
	{ "ragged, window", { 0, 1, 0, 8, 2048, 32, 8, 128, 32, 8, 1000 }, 1, 90, 100 },
	{ "ragged, up to 128, heads of 96", { 0, 1, 0, 1, 128, 4, 2, 96, 4, 2, 0 }, 1, 90, 100 },
	{ "ragged, 256 documents", { 0, 1, 0, 256, 1024, 32, 8, 128, 32, 8, 0 }, 1, 90, 100 },
	{ "backward, dense", { 1, 0, 1, 2, 2048, 32, 8, 128, 32, 8, 0 }, 64 + 65, 80, 120 },
	{ "backward, dense, window", { 1, 0, 1, 2, 2048, 32, 8, 128, 32, 8, 1000 }, 64 + 65, 80,
	    120 },
	{ "backward, dense, heads of 64", { 1, 0, 1, 2, 2048, 9, 3, 64, 9, 3, 0 }, 20, 80, 120 },
	{ "backward, dense, as many keys", { 1, 0, 1, 4, 128, 8, 8, 128, 8, 8, 0 }, 20, 80, 120 },
	{ "backward, ragged", { 1, 1, 1, 8, 2048, 32, 8, 128, 32, 8, 0 }, 1, 90, 100 },
	{ "backward, ragged, window", { 1, 1, 1, 8, 2048, 32, 8, 128, 32, 8, 1000 }, 1, 90, 100 },
	{ "backward, ragged, as many keys", { 1, 1, 1, 8, 2048, 8, 8, 64, 8, 8, 0 }, 1, 90, 100 },
	{ "backward, ragged, up to 128, heads of 96", { 1, 1, 1, 1, 128, 4, 2, 96, 4, 2, 0 }, 1, 90,
	    100 },
	{ "backward, ragged, 256 documents", { 1, 1, 1, 256, 1024, 32, 8, 128, 32, 8, 0 }, 1, 90,
	    100 },
	{ "backward, in order", { 1, 0, 0, 2, 2048, 32, 8, 128, 32, 8, 0 }, 577, 80, 120 },
	{ "backward, in order, half the heads", { 1, 0, 0, 2, 2048, 16, 4, 128, 32, 8, 0 }, 289, 80,
	    120 },
	{ "backward, in order, window", { 1, 0, 0, 2, 2048, 32, 8, 128, 32, 8, 1000 }, 577, 80,
	    120 },
	{ "backward, in order, an eighth", { 1, 0, 0, 1, 32768, 4, 1, 128, 32, 8, 0 }, 8192 + 65,
	    80, 120 },
	{ "backward, in order, as many keys", { 1, 0, 0, 2, 2048, 8, 8, 128, 8, 8, 0 }, 129, 80,
	    120 },
	{ "backward, in order, 129", { 1, 0, 0, 2, 129, 32, 8, 128, 32, 8, 0 }, 8 + 5, 80, 120 },
	{ "backward, in order, 2047", { 1, 0, 0, 2, 2047, 32, 8, 128, 32, 8, 0 }, 577, 80, 120 },
	{ "backward, in order, ragged", { 1, 1, 0, 8, 2048, 32, 8, 128, 32, 8, 0 }, 2049, 90, 90 },
	{ "backward, in order, ragged, window, an eighth",
	    { 1, 1, 0, 8, 2048, 4, 1, 128, 32, 8, 1000 }, 257, 90, 90 },
	{ "backward, in order, ragged, heads of 96", { 1, 1, 0, 1, 128, 4, 2, 96, 4, 2, 0 }, 1, 90,
	    90 },
};

static void
find_engines(const struct qz_cudnn *lib)
{
	static struct qz_sdpa s;
	char text[1024];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t u = 0; u < sizeof gpus / sizeof *gpus; u++) {
			bool good;

			if (gpus[u].sm < rows[i].from || gpus[u].sm > rows[i].to)
				continue;
			describe(&gpus[u], text, sizeof text);
			good = qz_sdpa_build(lib, NULL, text, &rows[i].s, &s);
			ok(good && s.workspace <= rows[i].most * MB, "sm_%d: %s: %.1f MB%s%s",
			    gpus[u].sm, rows[i].name, (double)s.workspace / MB, good ? "" : ", ",
			    s.why);
			qz_sdpa_free(lib, &s);
		}
	}
}

/* cuDNN asks for the driver even for other machines' GPUs; the toolkit's stub will do. */
static bool
have_driver(void)
{
	static const char *const places[] = { "libcuda.so.1",
		"/usr/local/cuda/lib64/stubs/libcuda.so",
		"/usr/lib/x86_64-linux-gnu/stubs/libcuda.so" };
	void *so = NULL;

	for (size_t i = 0; !so && i < sizeof places / sizeof *places; i++)
		so = dlopen(places[i], RTLD_NOW | RTLD_GLOBAL);
	return so != NULL;
}

int
main(void)
{
	const struct qz_cudnn *lib = qz_cudnn_load();
	static struct qz_sdpa s;
	struct qz_sdpa_shape odd = { 0, 0, 0, 1, 128, 4, 4, 7, 4, 4, 0 };
	char text[1024];

#ifdef HEADERS
	ok(1, "the headers of cuDNN %d.%d say the same numbers", CUDNN_MAJOR, CUDNN_MINOR);
#else
	skip("no cuDNN headers");
#endif
	if (!lib->so || !have_driver()) {
		skip("%s", lib->so ? "no libcuda" : lib->why);
		return done();
	}
	find_engines(lib);
	describe(&gpus[2], text, sizeof text);
	ok(!qz_sdpa_build(lib, NULL, text, &odd, &s) && s.why[0], "heads of 7: %s", s.why);
	qz_sdpa_free(lib, &s);
	return done();
}
