#include "kernels/cuda/library.cuh"

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <glob.h>

/* %s: the library's name. */
static const char *const places[] = {
	"/usr/local/cuda/lib64/%s",
	"/usr/local/cuda/targets/*/lib/%s",
	"/usr/local/cuda-1[3-9]*/lib*/%s",
	"/usr/local/lib/python3*/*-packages/nvidia/cu1[3-9]/lib/%s",
	"/usr/lib/python3*/*-packages/nvidia/cu1[3-9]/lib/%s",
	"/opt/*/lib/python3*/site-packages/nvidia/cu1[3-9]/lib/%s",
};

/* The last of the files that match: the newest version. */
static void *
open_place(const char *pattern)
{
	glob_t found;
	void *so = nullptr;

	if (glob(pattern, 0, nullptr, &found) == 0)
		for (size_t i = found.gl_pathc; !so && i-- > 0;)
			so = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
	globfree(&found);
	return so;
}

void *
qz_cuda_library(const char *name, char *why, size_t n)
{
	const char *venv = getenv("VIRTUAL_ENV");
	void *so = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	char pattern[4096];

	if (!so)
		snprintf(why, n, "%s (looked also in /usr/local/cuda and in Python's packages)", dlerror());
	if (!so && venv) {
		snprintf(pattern, sizeof pattern, "%s/lib/python3*/site-packages/nvidia/cu1[3-9]/lib/%s",
		    venv, name);
		so = open_place(pattern);
	}
	for (size_t i = 0; !so && i < sizeof places / sizeof *places; i++) {
		snprintf(pattern, sizeof pattern, places[i], name);
		so = open_place(pattern);
	}
	return so;
}

void *
qz_cuda_symbol(void *library, const char *name)
{
	return dlsym(library, name);
}
