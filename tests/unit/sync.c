/* Outputs wait for the disk, or with qz_sync false do not; they appear whole or not at all either way.
 * fsync() and sync_file_range() are this program's own: they count. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/io/out.h"
#include "libcore/io/sync.h"
#include "tests/unit/tap.h"

static char root[] = "/tmp/qz-sync-XXXXXX";
static int n_fsync, n_range;

int
fsync(int fd)
{
	n_fsync += fcntl(fd, F_GETFD) >= 0;
	return 0;
}

int
sync_file_range(int fd, off_t from, off_t n, unsigned flags)
{
	(void)flags;
	n_range += fcntl(fd, F_GETFD) >= 0 && from >= 0 && n > 0;
	return 0;
}

static off_t
size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : -1;
}

static void
one_file(uint64_t n, int reserve, int commit)
{
	char path[80];
	struct qz_err e;
	struct qz_out *o;

	snprintf(path, sizeof path, "%s/file", root);
	o = qz_out_open(path, false, &e);
	if (o && reserve)
		qz_out_reserve(o, n);
	ok(o && qz_out_zeros(o, n, &e) == 0 && size_of(path) == -1,
	    "%llu bytes, and nothing under the name", (unsigned long long)n);
	if (commit)
		ok(o && qz_out_commit(o, &e) == 0, "committed");
	qz_out_close(o);
	ok(size_of(path) == (commit ? (off_t)n : -1), commit ? "all is there" : "nothing is there");
	unlink(path);
}

static void
one_folder(uint64_t n, int reserve, int commit)
{
	char path[80], file[100];
	struct qz_err e;
	struct qz_outdir *d;

	(void)n, (void)reserve;
	snprintf(path, sizeof path, "%s/folder", root);
	snprintf(file, sizeof file, "%s/a", path);
	d = qz_outdir_open(path, &e);
	ok(d && qz_outdir_write(d, "a", "x", 1, &e) == 0 && size_of(path) == -1,
	    "a file in it, and nothing under the name");
	if (commit)
		ok(d && qz_outdir_commit(d, &e) == 0, "committed");
	qz_outdir_close(d);
	ok(size_of(file) == (commit ? 1 : -1), commit ? "all is there" : "nothing is there");
	unlink(file);
	rmdir(path);
}

static void
test_waits(void)
{
	static const struct {
		const char *what;
		void (*make)(uint64_t n, int reserve, int commit);
		uint64_t n;
		int sync, reserve, commit, fsyncs, ranges;
	} rows[] = {
		{ "a file, synced", one_file, 40 << 20, 1, 0, 1, 2, 2 }, /* and its folder */
		{ "a file, synced, reserved", one_file, 40 << 20, 1, 1, 1, 2, 2 },
		{ "a file given up", one_file, 40 << 20, 1, 1, 0, 0, 2 },
		{ "a folder, synced", one_folder, 1, 1, 0, 1, 3, 0 },
		{ "a file, not synced", one_file, 40 << 20, 0, 0, 1, 0, 0 },
		{ "a file, not synced, reserved", one_file, 40 << 20, 0, 1, 1, 0, 0 },
		{ "a file given up, not synced", one_file, 40 << 20, 0, 1, 0, 0, 0 },
		{ "a folder, not synced", one_folder, 1, 0, 0, 1, 0, 0 },
		{ "a folder given up, not synced", one_folder, 1, 0, 0, 0, 0, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		n_fsync = n_range = 0;
		qz_sync = rows[i].sync;
		rows[i].make(rows[i].n, rows[i].reserve, rows[i].commit);
		ok(n_fsync == rows[i].fsyncs && n_range == rows[i].ranges,
		    "%s: %d fsync, %d ranges begun", rows[i].what, n_fsync, n_range);
	}
	qz_sync = true;
}

int
main(void)
{
	if (!mkdtemp(root))
		return 1;
	test_waits();
	ok(rmdir(root) == 0, "nothing is left");
	return done();
}
