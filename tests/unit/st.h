/* st - the tensors of a safetensors file that the tests trust: length of the header, JSON header, data.
 * The file is read whole and freed at exit. */
#ifndef QZ_TEST_ST_H
#define QZ_TEST_ST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/base/le.h"

struct st {
	char *bytes;
	struct qz_json *header;
	const char *data;
};

__attribute__((unused)) static char *
read_whole(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	char *p;
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0 || !(p = malloc((size_t)size + 1)))
		abort();
	rewind(f);
	*n = fread(p, 1, (size_t)size, f);
	p[*n] = '\0';
	fclose(f);
	return p;
}

static void
st_open(struct st *s, const char *path)
{
	struct qz_err e;
	size_t n, header;

	s->bytes = read_whole(path, &n);
	header = (size_t)le64_get(s->bytes);
	s->header = qz_json_parse(s->bytes + 8, header, &e);
	s->data = s->bytes + 8 + header;
	if (!s->header)
		abort();
}

static void
st_close(struct st *s)
{
	qz_json_free(s->header);
	free(s->bytes);
}

/* The bytes of a tensor, copied so that they are aligned (free them), or NULL. */
static void *
st_get(const struct st *s, const char *name, size_t *nbytes)
{
	const struct qz_json *at = qz_json_get(qz_json_get(s->header, name), "data_offsets");
	size_t from, to;
	void *p;

	if (!at)
		return NULL;
	from = (size_t)qz_json_number(qz_json_first(at), 0);
	to = (size_t)qz_json_number(qz_json_next(qz_json_first(at)), 0);
	p = malloc(to - from + 1);
	if (!p)
		abort();
	memcpy(p, s->data + from, to - from);
	*nbytes = to - from;
	return p;
}

#endif
