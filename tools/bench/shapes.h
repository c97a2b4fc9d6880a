/* shapes - models by name, for timing without their weights. */
#ifndef QZ_BENCH_SHAPES_H
#define QZ_BENCH_SHAPES_H

#include "libcore/model/config.h"

/* "mistral-7b|llama3-8b|...": for the option table. */
#define BENCH_SHAPES "smollm2-135m|mistral-7b|llama3-8b|qwen2.5-7b"
int bench_shape(const char *name, struct qz_config *c, struct qz_err *e);

#endif
