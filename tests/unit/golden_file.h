/* golden_file - whole files of the shared data, for tests. */
#ifndef QZ_GOLDEN_FILE_H
#define QZ_GOLDEN_FILE_H

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/tap.h"

/* The bytes of a shared file, malloc'ed, or NULL when it is not there. */
__attribute__((unused)) static char *
shared_bytes(const char *name, size_t *n)
{
	const char *path = shared(name);
	FILE *f = path ? fopen(path, "rb") : NULL;
	char *s = NULL;
	long size;

	*n = 0;
	if (!f)
		return NULL;
	if (!fseek(f, 0, SEEK_END) && (size = ftell(f)) >= 0 && !fseek(f, 0, SEEK_SET)) {
		s = malloc((size_t)size + 1);
		*n = s ? fread(s, 1, (size_t)size, f) : 0;
		if (s)
			s[*n] = '\0';
	}
	fclose(f);
	return s;
}

#endif
