/* golden - reading the reference files: whole files, .npy of int32, tensors of a safetensors file. */
#ifndef QZ_GOLDEN_H
#define QZ_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/le.h"
#include "libcore/format/safetensors.h"

/* NULL when the file is not there. */
__attribute__((unused)) static char *
file_bytes(const char *path, size_t *n)
{
	struct qz_buf b = { 0 };
	struct qz_err e;

	if (!path || qz_file_read(path, &b, 1 << 30, &e) < 0)
		return NULL;
	*n = b.n;
	return b.data;
}

/* The data of an .npy file, version 1: magic 6, version 2, u16 length of a header, header. */
__attribute__((unused)) static int32_t *
npy_i32(const char *path)
{
	size_t n, skip;
	char *b = file_bytes(path, &n);

	if (!b)
		return NULL;
	skip = 10 + le16_get(b + 8);
	memmove(b, b + skip, n - skip);
	return (int32_t *)(void *)b;
}

/* Calls fn for each float32 tensor of a safetensors file; 0 or -1. */
__attribute__((unused)) static int
each_tensor(const char *path, void (*fn)(void *arg, const char *name, const float *x, uint64_t n),
    void *arg)
{
	struct qz_st st = { 0 };
	struct qz_err e;
	struct qz_in *in = qz_in_open(path, &e);
	int ret = in ? qz_st_read(&st, in, &e) : -1;

	for (size_t i = 0; ret == 0 && i < st.n; i++) {
		uint64_t nbytes = st.tensors[i].end - st.tensors[i].begin;
		float *x = malloc(nbytes);

		ret = qz_in_read(in, x, nbytes, &e);
		if (ret == 0)
			fn(arg, st.tensors[i].name, x, nbytes / sizeof *x);
		free(x);
	}
	qz_st_free(&st);
	qz_in_close(in);
	return ret;
}

#endif
