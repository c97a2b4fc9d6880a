#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct search {
	const char *name;
	qz_library_good *good;
	char *why; /* of each that was refused */
	size_t n;
};

/* Opens a file, or a name for the loader to find. */
static void *
try(struct search *s, const char *file)
{
	size_t at = strlen(s->why);
	char reason[256] = "";
	struct link_map *map;
	void *apart, *so;
	bool good;

	if (!s->good)
		return dlopen(file, RTLD_NOW | RTLD_LOCAL);
	apart = dlmopen(LM_ID_NEWLM, file, RTLD_NOW | RTLD_LOCAL);
	if (!apart)
		return NULL;
	if (dlinfo(apart, RTLD_DI_LINKMAP, &map) != 0)
		map = NULL;
	good = s->good(apart, reason, sizeof reason);
	so = good ? dlopen(map ? map->l_name : file, RTLD_NOW | RTLD_LOCAL) : NULL;
	if (!so)
		snprintf(s->why + at, s->n - at, "%s%s: %s", at ? "; " : "",
		    map ? map->l_name : file, good ? dlerror() : reason);
	dlclose(apart);
	return so;
}

/* The last of the files that match comes first: the newest version. */
static void *
open_place(struct search *s, const char *pattern)
{
	glob_t found;
	void *so = NULL;

	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = found.gl_pathc; !so && i-- > 0;)
			so = try(s, found.gl_pathv[i]);
	globfree(&found);
	return so;
}

static void *
open_python(struct search *s, const char *prefix)
{
	char pattern[4096];
	void *so = NULL;

	for (size_t i = 0; !so && i < sizeof python / sizeof *python; i++) {
		snprintf(pattern, sizeof pattern, python[i], prefix, s->name);
		so = open_place(s, pattern);
	}
	return so;
}

void *
qz_cuda_library(const char *name, const char *variable, qz_library_good *good, char *why, size_t n)
{
	const char *venv = getenv("VIRTUAL_ENV"), *told = variable ? getenv(variable) : NULL;
	struct search s = { .name = name, .good = good, .why = why, .n = n };
	char pattern[4096], *none;
	void *so;

	*why = '\0';
	so = try(&s, told && *told ? told : name);
	if (!so && told && *told) {
		none = dlerror();
		snprintf(pattern, sizeof pattern, "%s: %s", variable, *why ? why : none);
		snprintf(why, n, "%s", pattern);
		return NULL;
	}
	if (!so && venv)
		so = open_python(&s, venv);
	for (size_t i = 0; !so && i < sizeof toolkits / sizeof *toolkits; i++) {
		snprintf(pattern, sizeof pattern, toolkits[i], name);
		so = open_place(&s, pattern);
	}
	for (size_t i = 0; !so && i < sizeof prefixes / sizeof *prefixes; i++)
		so = open_python(&s, prefixes[i]);
	if (!so && !*why)
		snprintf(why, n,
		    "%s is neither where the loader looks nor in /usr/local/cuda nor in Python's "
		    "packages",
		    name);
	return so;
}

void *
qz_cuda_symbol(void *library, const char *name)
{
	return dlsym(library, name);
}
