/* proj - the seven projections of a layer, in the order in which a layer computes them.
 * Those of one group have the same input: q k v; o; gate up; down. */
#ifndef QZ_PROJ_H
#define QZ_PROJ_H

#include "libcore/model/config.h"

enum qz_proj {
	QZ_PROJ_Q,
	QZ_PROJ_K,
	QZ_PROJ_V,
	QZ_PROJ_O,
	QZ_PROJ_GATE,
	QZ_PROJ_UP,
	QZ_PROJ_DOWN,
	QZ_PROJ_N
};
enum { QZ_PROJ_ALL = (1 << QZ_PROJ_N) - 1 };

struct qz_proj_info {
	const char *name; /* "q_proj" */
	enum qz_role weight, bias;
};
const struct qz_proj_info *qz_proj(enum qz_proj p);
/* The projection whose weight has this role, or -1. */
int qz_proj_of_role(int role);
/* Rows (outputs) and columns (inputs). */
void qz_proj_shape(const struct qz_config *c, enum qz_proj p, int64_t *rows, int64_t *cols);

/* A set of projections as bits: "all", or names with commas: "q_proj,v_proj", also "q,v". */
int qz_proj_set_parse(const char *text, unsigned *set, struct qz_err *e);
/* The names with `between` among them. */
void qz_proj_set_put(unsigned set, const char *between, struct qz_buf *out);

#endif
