/* A chat template of any bytes, rendered: text whose segments cover it, or an error.   make fuzz */
#include <stdlib.h>
#include <string.h>

#include "libcore/text/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char text[] = "[{\"role\":\"system\",\"content\":\"Be "
				   "brief.\"},{\"role\":\"user\",\"content\":\"Hi <|im_end|>\"},"
				   "{\"role\":\"assistant\",\"content\":\"Yo\",\"tool_calls\":[{"
				   "\"function\":{\"name\":\"f\",\"arguments\":{\"x\":1.0}}}]}]";
	struct qz_err e;
	struct qz_json *messages = qz_json_parse(text, sizeof text - 1, &e);
	struct qz_template *t = qz_template_new((const char *)data, n, &e);
	struct qz_chat_vars v = { .messages = messages,
		.bos_token = "<s>",
		.eos_token = "</s>",
		.pad_token = "",
		.unk_token = "<unk>" };
	struct qz_rendering r = { 0 };
	size_t at = 0;

	if (t && qz_template_render(t, &v, &r, &e) == 0)
		for (size_t i = 0; i < r.n_segments; i++) {
			if (r.segments[i].at != at)
				abort();
			at += r.segments[i].n;
		}
	if (t && r.n_segments && at != r.text.n)
		abort();
	qz_rendering_free(&r);
	qz_template_free(t);
	qz_json_free(messages);
	return 0;
}
