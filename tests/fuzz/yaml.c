/* A model card's front matter, on any bytes: must give a JSON value or an error.   make fuzz */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/base/utf8.h"
#include "libcore/base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What comes out is JSON, but for a key that is there twice. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct qz_buf out = { 0 };
	struct qz_json *j;
	struct qz_err e;

	if (qz_yaml_json((const char *)data, n, &out, &e) == 0 &&
	    qz_utf8_valid(out.data, out.n) == out.n) {
		j = qz_json_parse(out.data, out.n, &e);
		if (!j && !strstr(e.msg, "twice"))
			abort();
		qz_json_free(j);
	}
	qz_buf_free(&out);
	return 0;
}
