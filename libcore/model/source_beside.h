/* source_beside - an archive's files beside the weights (config, tokenizer, ...), kept until it is known which
 * folder of the archive is the model's: the one of the config.json nearest to the top. */
#ifndef QZ_SOURCE_BESIDE_H
#define QZ_SOURCE_BESIDE_H

#include "libcore/io/arc.h"
#include "libcore/model/source_impl.h"

enum { BESIDE_MAX = 1000 }; /* files */
#define BESIDE_CONFIG "config.json"

struct beside {
	struct beside_file *files;
	size_t n;
	uint64_t nbytes;
};

/* The current member of arc, if it is a file that models carry. */
int beside_keep(struct beside *b, const struct qz_source *s, struct qz_arc *arc,
    const struct qz_arc_member *m, struct qz_err *e);
/* The model's folder, "" or "a/b/", to free; NULL: there is none, or there are two. */
char *beside_folder(const struct beside *b, const struct qz_source *s, struct qz_err *e);
/* Is the config.json beside that file of weights among them? */
bool beside_has_config(const struct beside *b, const char *path);
/* Gives s the folder's files, in the table's order, and forgets all. */
int beside_give(struct beside *b, struct qz_source *s, const char *folder, struct qz_err *e);
void beside_free(struct beside *b);

/* A member's name in the model's folder, which may be the one above (templates.h); is it one of that folder's own? */
const char *path_name(const char *path);
bool path_in_folder(const char *path, const char *folder);

#endif
