/* export - a model as GGUF: planned, its keys and types chosen, written. */
#ifndef QZ_GGUF_TOOL_EXPORT_H
#define QZ_GGUF_TOOL_EXPORT_H

#include <stdbool.h>

#include "tools/common/cli.h"

struct request { /* the options of qz-gguf */
	const char *type, *output, *title, *base, *imatrix, *like;
	const char *head_type, *embedding_type, *plan, *types;
	struct qz_list tensor_types, settings, merges;
	bool strict, pure, any_base, digest;
	uint64_t split_max, max_size;
};

/* What a path calls the model: its last part, without the ending of a file.  "" for standard input. */
void export_name(const char *path, char *out, size_t n);
int export_model(const char *path, const struct request *r, struct qz_err *e);

#endif
