/* provenance - how bytes came about: each tool appends one step to the chain it received.
 * A step is {"tool", "version", "options": {...}, "inputs": [{"input", "digest"}, ...], "device"}: no
 * clock, no host name, no folder names, so that the same work gives the same bytes. */
#ifndef QZ_PROVENANCE_H
#define QZ_PROVENANCE_H

#include "libcore/base/buf.h"
#include "libcore/base/hash.h"

struct qz_step {
	struct qz_buf options; /* members of an object, comma-separated */
	struct qz_buf inputs;  /* elements of an array */
	struct qz_buf chain;   /* earlier steps, elements of an array, comma-separated */
};

/* Zeroed to start; any order of calls. */
void qz_step_option_str(struct qz_step *s, const char *name, const char *value);
void qz_step_option_num(struct qz_step *s, const char *name, double value);
void qz_step_input(struct qz_step *s, const char *role, struct qz_digest digest);
/* Adds the steps of an input's chain (JSON array text) that are not there yet. */
int qz_step_inherit(struct qz_step *s, const char *chain, struct qz_err *e);
/* The whole chain with this step at its end, as JSON array text.  device: backend name, or NULL. */
int qz_step_chain(
    struct qz_step *s, const char *tool, const char *device, struct qz_buf *out, struct qz_err *e);
void qz_step_free(struct qz_step *s);

#endif
