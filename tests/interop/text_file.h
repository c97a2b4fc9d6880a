/* text_file - which of a model's text files a path names. */
#ifndef QZ_TEST_TEXT_FILE_H
#define QZ_TEST_TEXT_FILE_H

#include <string.h>

#include "libcore/text/tokenizer.h"

/* By its name. */
static enum qz_text_file
kind_of(const char *path)
{
	const char *end = path + strlen(path);

	for (int i = 0; i < QZ_TEXT_FILES; i++) {
		size_t n = strlen(qz_text_file_names[i]);

		if ((size_t)(end - path) >= n && !strcmp(end - n, qz_text_file_names[i]))
			return (enum qz_text_file)i;
	}
	return QZ_TEXT_JSON;
}

#endif
