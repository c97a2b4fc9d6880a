/* wishes - what the options ask of the plan: types by name, the importance matrix read. */
#ifndef QZ_GGUF_TOOL_WISHES_H
#define QZ_GGUF_TOOL_WISHES_H

#include "tools/gguf/choose.h"
#include "tools/gguf/export.h"
#include "tools/gguf/plan.h"

struct wishes {
	struct plan_options plan;
	struct choice choice; /* if plan.chosen */
	struct qz_imatrix imatrix;
};

/* A type that has no such name ends the program with its usage. */
int wishes_read(const struct request *r, struct wishes *w, struct qz_err *e);
void wishes_free(struct wishes *w);

#endif
