/* stream_parts - how the ops of a stream tell their arguments. */
#ifndef QZ_BENCH_STREAM_PARTS_H
#define QZ_BENCH_STREAM_PARTS_H

#include <string.h>

#include "tools/bench/stream.h"

/* Of the stream s that each op is given. */
#define T (s->t)
#define H (s->c->hidden)
#define F (s->c->ffn)
#define V (s->c->vocab)
#define QD ((int64_t)s->c->heads * s->c->head_dim)
#define KD ((int64_t)s->c->kv_heads * s->c->head_dim)
#define ACT (s->k->act_type)
#define PAR (s->k->par_type)
/* A list of parts that a function gives. */
#define PARTS(...)                                                                                 \
	do {                                                                                       \
		const struct stream_part list[] = { __VA_ARGS__ };                                 \
                                                                                                   \
		memcpy(p, list, sizeof list);                                                      \
		return sizeof list / sizeof *list;                                                 \
	} while (0)

#endif
