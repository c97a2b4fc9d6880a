#include "libcore/base/num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
qz_num_int(const char *s, int64_t *v, struct qz_err *e)
{
	char *end;

	errno = 0;
	*v = strtoll(s, &end, 10);
	if (end == s || *end)
		return qz_fail(e, QZ_EUSAGE, "'%s' is not a whole number", s);
	if (errno == ERANGE)
		return qz_fail(e, QZ_EUSAGE, "'%s' is too large", s);
	return 0;
}

int
qz_num_real(const char *s, double *v, struct qz_err *e)
{
	char *end;

	*v = strtod(s, &end);
	if (end == s || *end || !isfinite(*v))
		return qz_fail(e, QZ_EUSAGE, "'%s' is not a number", s);
	return 0;
}

int
qz_num_size(const char *s, uint64_t *v, struct qz_err *e)
{
	static const char letters[] = "kMGT";
	const char *at;
	char *end;
	double x = strtod(s, &end), unit = 1;

	if (end == s || !(x >= 0))
		goto bad;
	at = *end ? strchr(letters, *end == 'K' ? 'k' : *end) : NULL;
	if (at) {
		end++;
		unit = pow(*end == 'i' ? 1024 : 1000, (double)(at - letters + 1));
		if (*end == 'i')
			end++;
	}
	if (*end == 'B')
		end++;
	if (*end || x * unit >= 0x1p63)
		goto bad;
	*v = (uint64_t)(x * unit);
	return 0;
bad:
	return qz_fail(e, QZ_EUSAGE, "'%s' is not a size such as 6G, 500M or 4GiB", s);
}

void
qz_num_bytes(uint64_t n, char out[16])
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double x = (double)n;
	int u = 0;

	while (x >= 999.5 && u < 6) {
		x /= 1000;
		u++;
	}
	snprintf(out, 16, "%.*f %s", u && x < 99.95 ? (x < 9.995 ? 2 : 1) : 0, x, units[u]);
}
