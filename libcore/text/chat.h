/* chat - a conversation rendered by the model's own template, with what is to be learned marked.
 *
 * A template is the Jinja that models publish as chat_template.  Rendering gives text in segments:
 * each segment says whether its bytes come from the template, from a field of the user's data, and
 * whether they are to be trained.
 *
 * Bytes keep their origin on their way through the template: through + and ~, slices, strip(),
 * replace() (what is put in has the origin of the argument), join, filters, macros and set blocks.  A
 * role that is a plain word counts as the template's own text.  While a loop's item is a message, what
 * is written belongs to that message: a pass.
 *
 * What is trained:
 * (a) With {% generation %} blocks: what is written in them, and nothing else.
 * (b) Else every turn of the role "assistant".  What its pass writes is trained
 *     from: the pass's start where only blanks stand before the message's first content.  Else the
 *         template is asked: behind what it writes for the messages before this one with
 *         add_generation_prompt, or behind the last place in the pass where that prompt stands whole, or
 *         behind the beginning of it that the pass begins with, up to the last `>`, `]`, `:` or newline.
 *         A template without a prompt is asked for a plain answer in this place: what it writes before
 *         that one's content is the header; where it writes nothing there, all of the pass is trained
 *         ([TOOL_CALLS]).  Where none of this is found: from the first content.
 *     to: the end of the first eos_token behind the message's last content; without one, the end of the
 *         last mark <...> or [...]; without one, the last character that is not blank.  A pass that writes
 *         only blanks behind the content takes the eos_token that follows it from elsewhere.
 *     Text of the template between two pieces of content is trained too (tool calls, thoughts).
 *     Where other data (of another message, of tools) comes before that end, the turn ends with the
 *     first marks; that data is never trained.
 *     Content that is written outside of its message's pass is trained as such, with the eos_token
 *     (blanks may come before it) or the marks that directly follow it. */
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
	size_t at, n;   /* bytes in the text */
	bool from_data; /* a value of the user's data: special-token text in it is plain text */
	bool trained;
	int message; /* index of the message whose content this is, or -1: the template's own text */
};

struct qz_rendering {
	struct qz_buf text;
	struct qz_segment *segments; /* in order, without gaps */
	size_t n_segments, cap;
	int32_t failed_at; /* the message at hand when the template failed, or -1 */
};

struct qz_chat_vars {
	const struct qz_json *messages;    /* array of {role, content, ...} */
	const struct qz_json *tools;       /* or NULL */
	const char *bos_token, *eos_token; /* "" when the model has none */
	const char *pad_token, *unk_token;
	bool add_generation_prompt;
	int64_t now; /* seconds since 1970 for strftime_now: fixed, so that bytes repeat */
	const struct qz_json *extra; /* object of further variables, or NULL */
	const char *
	    response; /* the variable of extra that is learned as if an assistant said it, or NULL */
};

/* Renders with trim_blocks and lstrip_blocks on, as transformers does.  Bounded: at most 1e6 steps
 * and 64 MiB of text.  raise_exception() gives QZ_EDATA with its message.  r zeroed to start;
 * free with qz_rendering_free. */
int qz_template_render(const struct qz_template *t, const struct qz_chat_vars *v,
    struct qz_rendering *r, struct qz_err *e);
/* Appends a segment; its text goes into r->text by itself. */
int qz_rendering_add(struct qz_rendering *r, struct qz_segment s, struct qz_err *e);
void qz_rendering_free(struct qz_rendering *r);

#endif
