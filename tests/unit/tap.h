/* tap - what a test program says: one line a case, in the Test Anything Protocol that prove(1) reads.
 * For one translation unit; main ends with `return done();`. */
#ifndef QZ_TAP_H
#define QZ_TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_n, tap_bad;

__attribute__((format(printf, 2, 3), unused)) static int
ok(int cond, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", cond ? "" : "not ", ++tap_n);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	tap_bad += !cond;
	return cond;
}

/* Strings equal, or both are shown. */
__attribute__((unused)) static int
is(const char *got, const char *want, const char *name)
{
	int same = got && want ? !strcmp(got, want) : got == want;

	ok(same, "%s", name);
	if (!same)
		printf("#   got: %s\n#  want: %s\n", got ? got : "(null)", want ? want : "(null)");
	return same;
}

__attribute__((format(printf, 1, 2), unused)) static void
skip(const char *fmt, ...)
{
	va_list ap;

	printf("ok %d # SKIP ", ++tap_n);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* The folder with models, data and golden answers, or NULL: the test skips. */
__attribute__((unused)) static const char *
shared(const char *file)
{
	static char path[4096];
	const char *root = getenv("QZ_SHARED");
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", root ? root : "../shared", file);
	f = fopen(path, "r");
	if (!f)
		return NULL;
	fclose(f);
	return path;
}

__attribute__((unused)) static int
done(void)
{
	printf("1..%d\n", tap_n);
	return tap_bad ? 1 : 0;
}

#endif
