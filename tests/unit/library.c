/* The search for libraries at run time: what is not good is passed by, and the first good one is taken. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/cuda/library.h"
#include "tests/unit/tap.h"

#define NAME "libqz-search-test.so.9"
#define OLD "/lib/python3.9/site-packages/nvidia/cu13/lib"
#define NEW "/lib/python3.9/site-packages/nvidia/cudnn/lib"

static char root[] = "/tmp/qz-library-XXXXXX";

static bool
good(void *so, char *why, size_t n)
{
	snprintf(why, n, "it compresses nothing");
	return qz_cuda_symbol(so, "ZSTD_versionNumber") != NULL;
}

/* Makes the folders of a path, one by one. */
static void
make_folders(const char *below)
{
	char path[512];

	for (size_t i = 1; i <= strlen(below); i++) {
		if (below[i] != '/' && below[i] != '\0')
			continue;
		snprintf(path, sizeof path, "%s%.*s", root, (int)i, below);
		mkdir(path, 0700);
	}
}

/* A library of this machine under the name that is looked for. */
static bool
place(const char *below, const char *library)
{
	void *so = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	struct link_map *map;
	char path[512];

	if (!so || dlinfo(so, RTLD_DI_LINKMAP, &map) != 0)
		return false;
	make_folders(below);
	snprintf(path, sizeof path, "%s%s/%s", root, below, NAME);
	return symlink(map->l_name, path) == 0;
}

static void
clear(void)
{
	char command[600];

	snprintf(command, sizeof command, "rm -r %s", root);
	if (system(command) != 0)
		printf("# %s stays\n", root);
}

int
main(void)
{
	char why[512], path[512];
	void *so;

	if (!mkdtemp(root))
		return ok(0, "a folder in /tmp"), done();
	setenv("VIRTUAL_ENV", root, 1);
	so = qz_cuda_library(NAME, NULL, good, why, sizeof why);
	ok(!so && strstr(why, NAME " is neither"), "nowhere: %s", why);
	ok(place(OLD, "libm.so.6"), "a library that is not good");
	so = qz_cuda_library(NAME, NULL, good, why, sizeof why);
	ok(!so && strstr(why, "/nvidia/cu13/lib/" NAME ": it compresses nothing"), "refused: %s",
	    why);
	so = qz_cuda_library(NAME, NULL, NULL, why, sizeof why);
	ok(so && qz_cuda_symbol(so, "cos"), "taken when any will do");
	ok(place(NEW, "libzstd.so.1"), "one that is good in the next place");
	so = qz_cuda_library(NAME, NULL, good, why, sizeof why);
	ok(so && qz_cuda_symbol(so, "ZSTD_versionNumber"), "the good one is found");
	snprintf(path, sizeof path, "%s" OLD "/" NAME, root);
	setenv("QZ_TEST_LIBRARY", path, 1);
	so = qz_cuda_library(NAME, "QZ_TEST_LIBRARY", good, why, sizeof why);
	ok(!so && !strncmp(why, "QZ_TEST_LIBRARY: /", 18) && strstr(why, "compresses"),
	    "what the variable names is the only place: %s", why);
	setenv("QZ_TEST_LIBRARY", "/nowhere.so", 1);
	so = qz_cuda_library(NAME, "QZ_TEST_LIBRARY", good, why, sizeof why);
	ok(!so && strstr(why, "/nowhere.so"), "and may be missing: %s", why);
	clear();
	return done();
}
