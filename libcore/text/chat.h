/* chat - a conversation rendered by the model's own template, with what is to be learned marked.
 *
 * A template is the Jinja that models publish as chat_template.  Rendering gives text in segments:
 * each segment says whether its bytes come from the template, from a field of the user's data, and
 * whether they are to be trained.  What is trained follows the template's structure: the content of
 * every assistant turn and the text that the template puts after it up to the end of that turn (its
 * end token), or the {% generation %} blocks where the template has them. */
#ifndef QZ_CHAT_H
#define QZ_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"
#include "libcore/base/json.h"

struct qz_template;

/* Compiles; QZ_EDATA with line number for what is not Jinja or not supported. */
struct qz_template *qz_template_new(const char *source, size_t n, struct qz_err *e);
void qz_template_free(struct qz_template *t);

struct qz_segment {
	size_t at, n;    /* bytes in the text */
	bool from_data;  /* a value of the user's data: special-token text in it is plain text */
	bool trained;
	int message;     /* index of the message whose content this is, or -1: the template's own text */
};

struct qz_rendering {
	struct qz_buf text;
	struct qz_segment *segments; /* in order, without gaps */
	size_t n_segments, cap;
};

struct qz_chat_vars {
	const struct qz_json *messages;       /* array of {role, content, ...} */
	const struct qz_json *tools;          /* or NULL */
	const char *bos_token, *eos_token;    /* "" when the model has none */
	const char *pad_token, *unk_token;
	bool add_generation_prompt;
	int64_t now;                          /* seconds since 1970 for strftime_now: fixed, so that bytes repeat */
	const struct qz_json *extra;          /* object of further variables, or NULL */
};

/* Renders with trim_blocks and lstrip_blocks on, as transformers does.  Bounded: at most 1e6 steps
 * and 64 MiB of text.  raise_exception() gives QZ_EDATA with its message.  r zeroed to start;
 * free with qz_rendering_free. */
int qz_template_render(const struct qz_template *t, const struct qz_chat_vars *v, struct qz_rendering *r,
    struct qz_err *e);
void qz_rendering_free(struct qz_rendering *r);

#endif
