/* yaml_impl - what yaml.c (how values are nested) and yaml_scalar.c (text) share. */
#ifndef QZ_YAML_IMPL_H
#define QZ_YAML_IMPL_H

#include <stdbool.h>

#include "libcore/base/yaml.h"

struct yaml {
	char *text, *p,
	    *end; /* a copy: a dash that has been read becomes a space, so columns stay */
	struct qz_buf *out;
	struct qz_buf scalar; /* the one being read */
	int depth;
	struct qz_err *e;
};

int yaml_wrong(struct yaml *y, const char *what); /* -1, with the line */
long yaml_column(const struct yaml *y);
void yaml_skip(struct yaml *y);   /* blanks, line ends and comments */
bool yaml_at_end(struct yaml *y); /* of the line, but for blanks and a comment, which are passed */
bool yaml_colon(const struct yaml *y, const char *p); /* one that ends a key */

/* Each reads the scalar at y->p into y->scalar.  Lines that go on are farther right than column `parent`. */
int yaml_plain(struct yaml *y, long parent);
int yaml_plain_flow(struct yaml *y);
int yaml_quoted(struct yaml *y);
int yaml_block(struct yaml *y, long parent); /* | and > */
void yaml_put_string(struct yaml *y);
void yaml_put_plain(struct yaml *y); /* null, or a string */

#endif
