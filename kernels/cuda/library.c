#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

/* Below a folder of Python packages, or of a CUDA Toolkit; %s: the library's name. */
static const char *const python[] = {
	"%s/lib/python3*/*-packages/nvidia/cu1[3-9]/lib/%s",
	"%s/lib/python3*/*-packages/nvidia/cudnn/lib/%s",
};
static const char *const prefixes[] = { "/usr/local", "/usr", "/opt/*", "/opt/*/.venv",
	"/opt/*/venv" };
static const char *const toolkits[] = {
	"/usr/local/cuda/lib64/%s",
	"/usr/local/cuda/targets/*/lib/%s",
	"/usr/local/cuda-1[3-9]*/lib*/%s",
};

/* The last of the files that match: the newest version. */
static void *
open_place(const char *pattern)
{
	glob_t found;
	void *so = NULL;

	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = found.gl_pathc; !so && i-- > 0;)
			so = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
	globfree(&found);
	return so;
}

static void *
open_python(const char *prefix, const char *name)
{
	char pattern[4096];
	void *so = NULL;

	for (size_t i = 0; !so && i < sizeof python / sizeof *python; i++) {
		snprintf(pattern, sizeof pattern, python[i], prefix, name);
		so = open_place(pattern);
	}
	return so;
}

void *
qz_cuda_library(const char *name, const char *variable, char *why, size_t n)
{
	const char *venv = getenv("VIRTUAL_ENV"), *told = variable ? getenv(variable) : NULL;
	void *so = dlopen(told && *told ? told : name, RTLD_NOW | RTLD_LOCAL);
	char pattern[4096];

	if (!so && told && *told) {
		snprintf(why, n, "%s: %s", variable, dlerror());
		return NULL;
	}
	if (!so)
		snprintf(why, n, "%s (looked also in /usr/local/cuda and in Python's packages)",
		    dlerror());
	if (!so && venv)
		so = open_python(venv, name);
	for (size_t i = 0; !so && i < sizeof toolkits / sizeof *toolkits; i++) {
		snprintf(pattern, sizeof pattern, toolkits[i], name);
		so = open_place(pattern);
	}
	for (size_t i = 0; !so && i < sizeof prefixes / sizeof *prefixes; i++)
		so = open_python(prefixes[i], name);
	return so;
}

void *
qz_cuda_symbol(void *library, const char *name)
{
	return dlsym(library, name);
}
