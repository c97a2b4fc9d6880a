/* A model in a GGUF file, on any bytes: its config and tokenizer are made, its tensors read.   make fuzz */
#include <stdio.h>
#include <stdlib.h>

#include "libcore/model/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char window[1 << 16];
	char path[64];
	const struct qz_tensor *t;
	struct qz_source *s;
	struct qz_err e;
	FILE *f;

	if (n < 4 || data[0] != 'G')
		return 0;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f = tmpfile()));
	fwrite(data, 1, n, f);
	fflush(f);
	s = qz_source_open(path, &e);
	while (s && qz_source_next(s, &t, &e) > 0)
		for (uint64_t left = t->nbytes; left;) {
			size_t part = left < sizeof window ? (size_t)left : sizeof window;

			if (qz_source_read(s, window, part, &e) < 0)
				break;
			left -= part;
		}
	qz_source_close(s);
	fclose(f);
	return 0;
}
