#include "libcore/io/out.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libcore/io/sync.h"
#include "libcore/io/temp.h"

enum { WINDOW = 256 * 1024, AHEAD = 16 << 20 };

struct qz_out {
	int fd;     /* -1: memory */
	char *name; /* for messages */
	char *path; /* NULL: there is nothing to rename */
	char *temp; /* the name it is written under, NULL: none yet */
	char *window;
	size_t n;
	uint64_t offset;
	uint64_t written,
	    sent;    /* bytes that the system has, and those that are on their way to the disk */
	off_t start; /* where in the file the output begins, -1: not a file that can be patched */
	struct qz_buf *memory;
	bool failed, committed;
	struct qz_err first; /* the first failure */
};

static struct qz_out *
new_out(struct qz_err *e)
{
	struct qz_out *o = calloc(1, sizeof *o);

	if (!o || !(o->window = malloc(WINDOW))) {
		free(o);
		qz_nomem(e, WINDOW);
		return NULL;
	}
	o->fd = -1;
	o->start = -1;
	return o;
}

/* What is appended to cannot be patched: there pwrite() appends, too. */
static void
find_start(struct qz_out *o)
{
	struct stat st;
	int flags = fcntl(o->fd, F_GETFL);

	if (flags >= 0 && !(flags & O_APPEND) && fstat(o->fd, &st) == 0 && S_ISREG(st.st_mode))
		o->start = lseek(o->fd, 0, SEEK_CUR);
}

static int
open_stdout(struct qz_out *o, bool text, struct qz_err *e)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);

	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return qz_fail(e, QZ_EUSAGE, "standard output is closed: use -o FILE");
	if (!text && isatty(STDOUT_FILENO))
		return qz_fail(e, QZ_EUSAGE,
		    "binary data is not written to a terminal: use -o FILE or a pipe");
	o->fd = dup(STDOUT_FILENO);
	return o->fd < 0 ? qz_fail_errno(e, "<stdout>: cannot write") : 0;
}

/* A special file (/dev/null, a fifo) is opened as it is: there is nothing to rename. */
static int
open_file(struct qz_out *o, const char *path, const char *name, struct qz_err *e)
{
	struct stat st;

	o->name = strdup(name);
	if (!o->name)
		return qz_nomem(e, strlen(name));
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return qz_fail(e, QZ_EUSAGE, "%s: is a folder", path);
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		o->fd = open(path, O_WRONLY | O_CLOEXEC);
		return o->fd < 0 ? qz_fail_errno(e, "%s: cannot open", path) : 0;
	}
	o->path = strdup(path);
	if (!o->path)
		return qz_nomem(e, strlen(path));
	o->fd = qz_temp_open(path, &o->temp, e);
	return o->fd < 0 ? -1 : 0;
}

/* o, when it could be opened. */
static struct qz_out *
opened(struct qz_out *o, int ret)
{
	if (ret < 0) {
		qz_out_close(o);
		return NULL;
	}
	find_start(o);
	return o;
}

struct qz_out *
qz_out_open(const char *path, bool text, struct qz_err *e)
{
	struct qz_out *o;

	if (path && strcmp(path, "-"))
		return qz_out_open_as(path, path, e);
	o = new_out(e);
	return o ? opened(o, open_stdout(o, text, e)) : NULL;
}

struct qz_out *
qz_out_open_as(const char *path, const char *name, struct qz_err *e)
{
	struct qz_out *o = new_out(e);

	return o ? opened(o, open_file(o, path, name, e)) : NULL;
}

struct qz_out *
qz_out_memory(struct qz_buf *b, struct qz_err *e)
{
	struct qz_out *o = new_out(e);

	if (o)
		o->memory = b;
	return o;
}

const char *
qz_out_name(const struct qz_out *o)
{
	return o->name ? o->name : o->memory ? "<memory>" : "<stdout>";
}

uint64_t
qz_out_offset(const struct qz_out *o)
{
	return o->offset;
}

static int
fails(struct qz_out *o, struct qz_err *e)
{
	if (!o->failed) {
		o->failed = true;
		qz_fail_errno(&o->first, "%s: cannot write at byte %llu", qz_out_name(o),
		    (unsigned long long)o->offset);
	}
	*e = o->first;
	return -1;
}

/* The disk works while we do, so that little is left for the fsync() at the end. */
static void
send(struct qz_out *o)
{
	if (!o->path || o->written - o->sent < AHEAD)
		return;
	qz_sync_begin(o->fd, o->sent, o->written - o->sent);
	o->sent = o->written;
}

/* In pieces: of a large write() the kernel asks for its pages in blocks of megabytes, and those a virtual
 * machine may first have to get from its host. */
static int
write_all(struct qz_out *o, const char *p, size_t n, struct qz_err *e)
{
	o->written += n;
	while (n) {
		ssize_t put = write(o->fd, p, n < (size_t)WINDOW ? n : (size_t)WINDOW);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return fails(o, e);
		p += put;
		n -= (size_t)put;
	}
	send(o);
	return 0;
}

static int
flush(struct qz_out *o, struct qz_err *e)
{
	size_t n = o->n;

	o->n = 0;
	return write_all(o, o->window, n, e);
}

int
qz_out_write(struct qz_out *o, const void *data, size_t n, struct qz_err *e)
{
	if (o->failed) {
		*e = o->first;
		return -1;
	}
	o->offset += n;
	if (o->memory) {
		qz_buf_add(o->memory, data, n);
		return qz_buf_ok(o->memory, e);
	}
	if (n > WINDOW - o->n && flush(o, e) < 0)
		return -1;
	if (n >= WINDOW)
		return write_all(o, data, n, e);
	memcpy(o->window + o->n, data, n);
	o->n += n;
	return 0;
}

int
qz_out_zeros(struct qz_out *o, uint64_t n, struct qz_err *e)
{
	static const char zeros[4096];

	while (n) {
		size_t part = n < sizeof zeros ? (size_t)n : sizeof zeros;

		if (qz_out_write(o, zeros, part, e) < 0)
			return -1;
		n -= part;
	}
	return 0;
}

int
qz_out_expect(struct qz_out *o, uint64_t n, struct qz_err *e)
{
	struct statvfs v;
	struct stat st;
	uint64_t room;

	if (o->memory || fstat(o->fd, &st) < 0 || !S_ISREG(st.st_mode) || fstatvfs(o->fd, &v) < 0)
		return 0;
	/* Standard output may go over what stands there. */
	room = (uint64_t)v.f_bavail * v.f_frsize + (o->path ? 0 : (uint64_t)st.st_blocks * 512);
	if (room < n)
		return qz_fail(e, QZ_EIO,
		    "%s: the disk has %llu bytes free, the output takes %llu: %llu are missing",
		    qz_out_name(o), (unsigned long long)room, (unsigned long long)n,
		    (unsigned long long)(n - room));
	return 0;
}

void
qz_out_reserve(struct qz_out *o, uint64_t n)
{
	struct statfs s;

	if (o->path && fstatfs(o->fd, &s) == 0 && s.f_type == EXT4_SUPER_MAGIC)
		fallocate(o->fd, FALLOC_FL_KEEP_SIZE, (off_t)o->offset, (off_t)n);
}

bool
qz_out_patchable(const struct qz_out *o)
{
	return o->memory || o->start >= 0;
}

int
qz_out_patch(struct qz_out *o, uint64_t offset, const void *data, size_t n, struct qz_err *e)
{
	const char *p = data;

	if (o->failed) {
		*e = o->first;
		return -1;
	}
	if (!qz_out_patchable(o) || offset > o->offset || n > o->offset - offset)
		return qz_fail(e, QZ_EIO, "%s: bytes %llu.. cannot be replaced", qz_out_name(o),
		    (unsigned long long)offset);
	if (o->memory) {
		memcpy(o->memory->data + o->memory->n - (o->offset - offset), p, n);
		return 0;
	}
	if (flush(o, e) < 0)
		return -1;
	while (n) {
		ssize_t put = pwrite(o->fd, p, n, o->start + (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return fails(o, e);
		p += put;
		n -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

int
qz_out_commit(struct qz_out *o, struct qz_err *e)
{
	if (o->failed) {
		*e = o->first;
		return -1;
	}
	if (o->memory)
		return qz_buf_ok(o->memory, e);
	if (flush(o, e) < 0)
		return -1;
	if (o->path) {
		if (qz_sync_fd(o->fd) < 0)
			return fails(o, e);
		if (qz_temp_name(o->fd, &o->temp, o->path, e) < 0)
			return -1;
	}
	if (close(o->fd) < 0) {
		o->fd = -1;
		return fails(o, e);
	}
	o->fd = -1;
	o->committed = true;
	return 0;
}

void
qz_out_close(struct qz_out *o)
{
	if (!o)
		return;
	if (o->fd >= 0)
		close(o->fd);
	if (o->temp && !o->committed)
		qz_temp_remove(o->temp);
	free(o->temp);
	free(o->path);
	free(o->name);
	free(o->window);
	free(o);
}
