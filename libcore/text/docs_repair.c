/* Text that is none. */
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/docs_formats.h"

/* A \uD83D without its other half at s: it is written as \uFFFD. */
static bool
half_pair(const char *s, size_t n, bool *whole)
{
	*whole = n >= 12 && s[1] == 'u' && strchr("dD", s[2]) && strchr("89abAB", s[3]) &&
		 s[6] == '\\' && s[7] == 'u' && strchr("dD", s[8]) && strchr("cdefCDEF", s[9]);
	return n >= 6 && s[1] == 'u' && strchr("dD", s[2]) && strchr("89abcdefABCDEF", s[3]) &&
	       !*whole;
}

/* Appends s with U+FFFD for what is no UTF-8, each maximal part of a character once (Unicode 15, table
 * 3-8), and in JSON for half a surrogate pair; whether there was any. */
bool
qz_docs_repair(const char *s, size_t n, bool json, struct qz_buf *out)
{
	bool any = false, whole;
	size_t from = 0;
	int len;

	for (size_t i = 0; i < n; i += (size_t)len) {
		const char *by = NULL;

		len = 1;
		if ((unsigned char)s[i] >= 0x80) {
			by = qz_utf8_get(s + i, n - i, &len) < 0 ? "\xef\xbf\xbd" : NULL;
		} else if (json && s[i] == '\\' && n - i > 1) {
			by = half_pair(s + i, n - i, &whole) ? "\\ufffd" : NULL;
			len = by ? 6 : whole ? 12 : 2;
		}
		if (!by)
			continue;
		qz_buf_add(out, s + from, i - from);
		qz_buf_str(out, by);
		from = i + (size_t)len;
		any = true;
	}
	if (any)
		qz_buf_add(out, s + from, n - from);
	return any;
}
