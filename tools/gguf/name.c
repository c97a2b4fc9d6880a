#include "tools/gguf/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
cut(char *name, const char *ending)
{
	size_t n = strlen(name), end = strlen(ending);
	bool has = n > end && !strcmp(name + n - end, ending);

	if (has)
		name[n - end] = '\0';
	return has;
}

/* "model.Q4_1" of a GGUF file is the model in a type that this file will not have. */
static void
cut_type(char *name)
{
	char *dot = strrchr(name, '.');

	if (dot && dot != name && (dot[1] == 'Q' || dot[1] == 'q') && dot[2] >= '0' &&
	    dot[2] <= '9')
		*dot = '\0';
}

void
export_name(const char *path, char *out, size_t n)
{
	static const char *const endings[] = { ".qz", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz",
		".tar.zst" };
	char *full = strcmp(path, "-") ? realpath(path, NULL) : NULL;
	const char *last = full ? strrchr(full, '/') : NULL;

	snprintf(out, n, "%s", last ? last + 1 : "");
	free(full);
	if (cut(out, ".gguf"))
		cut_type(out);
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		cut(out, endings[i]);
}
