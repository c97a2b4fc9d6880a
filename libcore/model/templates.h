/* templates - a model's chat templates by name, from wherever it keeps them.
 *
 * "default" is chat_template.jinja; without that file "chat_template" of tokenizer_config.json, without that the
 * one of chat_template.json: a string, or a list of {name, template}.  additional_chat_templates/NAME.jinja is NAME,
 * whatever a list says of it. */
#ifndef QZ_TEMPLATES_H
#define QZ_TEMPLATES_H

#include "libcore/base/arena.h"
#include "libcore/base/json.h"
#include "libcore/model/source.h"

enum { QZ_TEMPLATES_MAX = 64 };
#define QZ_TEMPLATES_FOLDER "additional_chat_templates"

struct qz_templates {
	struct qz_named_template {
		const char *name, *text;
	} t[QZ_TEMPLATES_MAX];
	int n;
	struct qz_arena arena; /* holds all texts */
};

/* From the n files of a model; t is zeroed by the call.  options: tokenizer_config.json where the caller has parsed
 * it, or NULL.  QZ_EDATA: a file is no JSON, or they are too many. */
int qz_templates_load(struct qz_templates *t, const struct qz_source_file *files, size_t n,
    const struct qz_json *options, struct qz_err *e);
void qz_templates_free(struct qz_templates *t);
/* The text, NULL: there is none of that name. */
const char *qz_templates_find(const struct qz_templates *t, const char *name);

/* Of "additional_chat_templates/rag.jinja" "rag", and its length; NULL: it is no such name. */
const char *qz_template_file(const char *path, size_t *n);
/* The names of such files in a model's folder, sorted, as source.h gives them; to free, each and all. */
int qz_template_files(const char *folder, char ***names, size_t *n, struct qz_err *e);

#endif
