/* A folder of output: which names it takes, and that nothing is left of one that is given up. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/io/in.h"
#include "libcore/io/out.h"
#include "tests/unit/tap.h"

static char root[] = "/tmp/qz-outdir-XXXXXX";

static void
test_names(void)
{
	static const struct {
		const char *name;
		int ok;
	} rows[] = { { "a.json", 1 }, { "folder/a.jinja", 1 }, { "folder/b.jinja", 1 }, { "..", 0 },
		{ ".", 0 }, { "", 0 }, { "../a", 0 }, { "folder/..", 0 }, { "folder/", 0 },
		{ "/a", 0 }, { "a/b/c", 0 }, { ".hidden/a", 0 }, { "folder/.hidden", 0 } };
	char path[80];
	struct qz_err e;
	struct qz_outdir *d;

	snprintf(path, sizeof path, "%s/names", root);
	d = qz_outdir_open(path, &e);
	for (size_t i = 0; d && i < sizeof rows / sizeof *rows; i++) {
		int got = qz_outdir_write(d, rows[i].name, "x", 1, &e);

		ok((got == 0) == rows[i].ok, "'%s' is %s", rows[i].name,
		    rows[i].ok ? "written" : "refused");
	}
	ok(d && qz_outdir_commit(d, &e) == 0, "committed");
	qz_outdir_close(d);
	snprintf(path, sizeof path, "%s/names/folder/b.jinja", root);
	ok(access(path, R_OK) == 0, "a file in a folder of its own is there");
}

static void
test_given_up(void)
{
	char path[80];
	struct qz_err e;
	struct qz_outdir *d;

	snprintf(path, sizeof path, "%s/gone", root);
	d = qz_outdir_open(path, &e);
	ok(d && qz_outdir_write(d, "a", "x", 1, &e) == 0 &&
		qz_outdir_write(d, "folder/a", "x", 1, &e) == 0,
	    "two files");
	qz_outdir_close(d);
	snprintf(path, sizeof path, "%s/names/folder/a.jinja", root);
	unlink(path);
	snprintf(path, sizeof path, "%s/names/folder/b.jinja", root);
	unlink(path);
	snprintf(path, sizeof path, "%s/names/folder", root);
	rmdir(path);
	snprintf(path, sizeof path, "%s/names/a.json", root);
	unlink(path);
	snprintf(path, sizeof path, "%s/names", root);
	rmdir(path);
	ok(rmdir(root) == 0, "nothing is left of a folder that is given up");
}

int
main(void)
{
	if (!mkdtemp(root))
		return 1;
	test_names();
	test_given_up();
	return done();
}
