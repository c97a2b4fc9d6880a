#include "libcore/io/in.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 256 * 1024, PEEK_MAX = 4096 };

struct qz_in {
	int fd; /* -1: memory */
	char *name;
	bool seekable;
	int64_t size;
	uint64_t offset;  /* of the next byte that a caller gets */
	const char *data; /* the window: own memory, or the caller's */
	size_t at, n;
	char *window;
};

static struct qz_in *
new_in(const char *name, struct qz_err *e)
{
	struct qz_in *in = calloc(1, sizeof *in);

	if (in)
		in->name = strdup(name);
	if (!in || !in->name) {
		free(in);
		qz_nomem(e, sizeof *in);
		return NULL;
	}
	in->fd = -1;
	in->size = -1;
	return in;
}

static int
open_fd(struct qz_in *in, const char *path, struct qz_err *e)
{
	struct stat st;

	in->fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	if (in->fd < 0)
		return qz_fail_errno(e, "%s: cannot open", in->name);
	if (fstat(in->fd, &st) < 0)
		return qz_fail_errno(e, "%s: cannot stat", in->name);
	if (S_ISDIR(st.st_mode))
		return qz_fail(e, QZ_EDATA, "%s: is a folder, a file is expected", in->name);
	if (S_ISREG(st.st_mode)) {
		off_t here = lseek(in->fd, 0, SEEK_CUR);

		in->seekable = here == 0; /* a redirection may have been read from before */
		in->size = here >= 0 ? st.st_size - here : -1;
		posix_fadvise(in->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	}
	in->window = malloc(WINDOW);
	if (!in->window)
		return qz_nomem(e, WINDOW);
	in->data = in->window;
	return 0;
}

struct qz_in *
qz_in_open(const char *path, struct qz_err *e)
{
	struct qz_in *in = new_in(strcmp(path, "-") ? path : "<stdin>", e);

	if (in && open_fd(in, path, e) < 0) {
		qz_in_close(in);
		return NULL;
	}
	return in;
}

struct qz_in *
qz_in_memory(const char *name, const void *data, size_t n, struct qz_err *e)
{
	struct qz_in *in = new_in(name, e);

	if (!in)
		return NULL;
	in->data = data;
	in->n = n;
	in->size = (int64_t)n;
	in->seekable = true;
	return in;
}

void
qz_in_close(struct qz_in *in)
{
	if (!in)
		return;
	if (in->fd >= 0)
		close(in->fd);
	free(in->window);
	free(in->name);
	free(in);
}

const char *
qz_in_name(const struct qz_in *in)
{
	return in->name;
}

uint64_t
qz_in_offset(const struct qz_in *in)
{
	return in->offset;
}

bool
qz_in_seekable(const struct qz_in *in)
{
	return in->seekable;
}

int64_t
qz_in_size(const struct qz_in *in)
{
	return in->size;
}

/* One read(2); 0 at the end. */
static int64_t
read_once(struct qz_in *in, void *data, size_t n, struct qz_err *e)
{
	ssize_t got;

	if (in->fd < 0)
		return 0;
	do
		got = read(in->fd, data, n < 1u << 30 ? n : 1u << 30);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return qz_fail_errno(
		    e, "%s: cannot read at byte %llu", in->name, (unsigned long long)in->offset);
	return got;
}

int64_t
qz_in_some(struct qz_in *in, void *data, size_t n, struct qz_err *e)
{
	int64_t got;

	if (in->at == in->n && n >= WINDOW) {
		got = read_once(in, data, n, e);
		if (got > 0)
			in->offset += (uint64_t)got;
		return got;
	}
	if (in->at == in->n && in->fd >= 0) {
		got = read_once(in, in->window, WINDOW, e);
		if (got <= 0)
			return got;
		in->at = 0;
		in->n = (size_t)got;
	}
	if (n > in->n - in->at)
		n = in->n - in->at;
	memcpy(data, in->data + in->at, n);
	in->at += n;
	in->offset += n;
	return (int64_t)n;
}

static int
ends_at(const struct qz_in *in, uint64_t offset, uint64_t missing, struct qz_err *e)
{
	return qz_fail(e, QZ_EDATA, "%s: ends at byte %llu, %llu more were expected", in->name,
	    (unsigned long long)offset, (unsigned long long)missing);
}

static int
ends_early(struct qz_in *in, uint64_t missing, struct qz_err *e)
{
	return ends_at(in, in->offset, missing, e);
}

int
qz_in_read(struct qz_in *in, void *data, size_t n, struct qz_err *e)
{
	char *p = data;

	while (n) {
		int64_t got = qz_in_some(in, p, n, e);

		if (got < 0)
			return -1;
		if (got == 0)
			return ends_early(in, n, e);
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

int64_t
qz_in_peek(struct qz_in *in, const void **data, size_t n, struct qz_err *e)
{
	if (n > PEEK_MAX)
		n = PEEK_MAX;
	if (in->fd >= 0 && in->n - in->at < n) {
		memmove(in->window, in->window + in->at, in->n - in->at);
		in->n -= in->at;
		in->at = 0;
		while (in->n < n) {
			int64_t got = read_once(in, in->window + in->n, WINDOW - in->n, e);

			if (got < 0)
				return -1;
			if (got == 0)
				break;
			in->n += (size_t)got;
		}
	}
	*data = in->data + in->at;
	return (int64_t)(n < in->n - in->at ? n : in->n - in->at);
}

int
qz_in_skip(struct qz_in *in, uint64_t n, struct qz_err *e)
{
	char scrap[16 * 1024];

	if (in->seekable && n > WINDOW) {
		if (in->offset + n > (uint64_t)in->size)
			return ends_early(in, in->offset + n - (uint64_t)in->size, e);
		return qz_in_seek(in, in->offset + n, e);
	}
	while (n) {
		size_t part = n < sizeof scrap ? (size_t)n : sizeof scrap;

		if (qz_in_read(in, scrap, part, e) < 0)
			return -1;
		n -= part;
	}
	return 0;
}

int
qz_in_seek(struct qz_in *in, uint64_t offset, struct qz_err *e)
{
	if (!in->seekable) {
		if (offset >= in->offset)
			return qz_in_skip(in, offset - in->offset, e);
		return qz_fail(e, QZ_EIO, "%s: cannot go back to byte %llu: not a file", in->name,
		    (unsigned long long)offset);
	}
	if (offset > (uint64_t)in->size)
		return qz_fail(e, QZ_EDATA, "%s: byte %llu is past its end at %lld", in->name,
		    (unsigned long long)offset, (long long)in->size);
	if (in->fd < 0) {
		in->at = (size_t)offset;
	} else if (lseek(in->fd, (off_t)offset, SEEK_SET) < 0) {
		return qz_fail_errno(e, "%s: cannot seek", in->name);
	} else {
		in->at = in->n = 0;
	}
	in->offset = offset;
	return 0;
}

int
qz_in_at(const struct qz_in *in, uint64_t offset, void *data, size_t n, struct qz_err *e)
{
	char *p = data;

	if (in->fd < 0) {
		if (offset > in->n || n > in->n - offset)
			return ends_at(in, in->n, n, e);
		memcpy(p, in->data + offset, n);
		return 0;
	}
	while (n) {
		ssize_t got = pread(in->fd, p, n < 1u << 30 ? n : 1u << 30, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return qz_fail_errno(e, "%s: cannot read at byte %llu", in->name,
			    (unsigned long long)offset);
		if (got == 0)
			return ends_at(in, offset, n, e);
		p += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

int
qz_in_all(struct qz_in *in, struct qz_buf *b, size_t max, struct qz_err *e)
{
	size_t start = b->n;

	for (;;) {
		char *p = qz_buf_room(b, 64 * 1024);
		int64_t got;

		if (!p)
			return qz_buf_ok(b, e);
		got = qz_in_some(in, p, 64 * 1024, e);
		if (got < 0)
			return -1;
		b->n -= 64 * 1024 - (size_t)got;
		b->data[b->n] = '\0';
		if (b->n - start > max)
			return qz_fail(e, QZ_EDATA,
			    "%s: is larger than %zu bytes, the most that is read", in->name, max);
		if (got == 0)
			return 0;
	}
}

int
qz_file_read(const char *path, struct qz_buf *b, size_t max, struct qz_err *e)
{
	struct qz_in *in = qz_in_open(path, e);
	int ret;

	if (!in)
		return -1;
	ret = qz_in_all(in, b, max, e);
	qz_in_close(in);
	return ret;
}
