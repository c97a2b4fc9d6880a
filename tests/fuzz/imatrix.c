/* Importance matrices, on any bytes.   make fuzz */
#include <stdio.h>
#include <stdlib.h>

#include "libcore/format/imatrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char path[64];
	struct qz_imatrix m = { 0 };
	struct qz_err e;
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f = tmpfile()));
	fwrite(data, 1, n, f);
	fflush(f);
	qz_imatrix_read(&m, path, &e);
	qz_imatrix_free(&m);
	fclose(f);
	return 0;
}
