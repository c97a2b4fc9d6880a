/* post - tokenizer.json's "post_processor": the ids that stand around every text. */
#ifndef QZ_POST_H
#define QZ_POST_H

#include <stdbool.h>

#include "libcore/base/json.h"
#include "libcore/text/ids.h"
#include "libcore/text/vocab.h"

struct qz_post {
	struct qz_ids before, after;
	bool says; /* there is a template: tokenizer_config.json has no say in it */
};

/* Ids are checked against the vocabulary. */
int qz_post_load(
    struct qz_post *p, const struct qz_vocab *v, const struct qz_json *j, struct qz_err *e);
int qz_post_put(struct qz_ids *ids, uint32_t id, struct qz_err *e);
void qz_post_clear(struct qz_post *p);

#endif
