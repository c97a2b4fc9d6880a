#include "libcore/model/feed.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcore/base/arena.h"
#include "libcore/io/temp.h"

enum { WINDOW = 1 << 20 };

static int
source_next(void *arg, const struct qz_tensor **t, struct qz_err *e)
{
	return qz_source_next(arg, t, e);
}

static int
source_read(void *arg, void *data, size_t n, struct qz_err *e)
{
	return qz_source_read(arg, data, n, e);
}

static uint64_t
source_digest(void *arg)
{
	return qz_source_digest(arg);
}

struct qz_feed
qz_feed_source(struct qz_source *s)
{
	return (struct qz_feed){ s, source_next, source_read, source_digest };
}

struct qz_spool {
	int fd;
	struct qz_arena names;
	struct qz_buf tensors, digests; /* struct qz_tensor, uint64_t */
	size_t n, next;
	uint64_t nbytes, at,
	    left; /* where the next read begins; what the current tensor has left */
};

static int
put(struct qz_spool *p, const char *data, size_t n, struct qz_err *e)
{
	while (n) {
		ssize_t did = write(p->fd, data, n);

		if (did < 0 && errno == EINTR)
			continue;
		if (did < 0)
			return qz_fail_errno(e,
			    "cannot write to the temporary file at byte %llu (TMPDIR "
			    "names another place)",
			    (unsigned long long)p->nbytes);
		data += did;
		n -= (size_t)did;
		p->nbytes += (uint64_t)did;
	}
	return 0;
}

/* One tensor's data into the file. */
static int
take(struct qz_spool *p, struct qz_source *s, const struct qz_tensor *t, char *window,
    struct qz_err *e)
{
	struct qz_tensor copy = *t;
	uint64_t left = t->nbytes, digest;

	copy.name = qz_arena_strdup(&p->names, t->name);
	if (!copy.name)
		return qz_nomem(e, 1);
	while (left) {
		size_t n = left < WINDOW ? (size_t)left : WINDOW;

		if (qz_source_read(s, window, n, e) < 0 || put(p, window, n, e) < 0)
			return -1;
		left -= n;
	}
	digest = qz_source_digest(s);
	qz_buf_add(&p->tensors, &copy, sizeof copy);
	qz_buf_add(&p->digests, &digest, sizeof digest);
	p->n++;
	return qz_buf_ok(&p->tensors, e) < 0 ? -1 : qz_buf_ok(&p->digests, e);
}

static int
take_all(struct qz_spool *p, struct qz_source *s, struct qz_err *e)
{
	char *window = malloc(WINDOW);
	const struct qz_tensor *t;
	int got = window ? 1 : qz_nomem(e, WINDOW);

	while (got > 0 && (got = qz_source_next(s, &t, e)) > 0)
		if (take(p, s, t, window, e) < 0)
			got = -1;
	free(window);
	return got;
}

struct qz_spool *
qz_spool_new(struct qz_source *s, struct qz_err *e)
{
	struct qz_spool *p = calloc(1, sizeof *p);

	if (!p) {
		qz_nomem(e, sizeof *p);
		return NULL;
	}
	p->fd = qz_temp_spool(e);
	if (p->fd >= 0 && take_all(p, s, e) == 0)
		return p;
	qz_spool_free(p);
	return NULL;
}

void
qz_spool_free(struct qz_spool *p)
{
	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	qz_arena_free(&p->names);
	qz_buf_free(&p->tensors);
	qz_buf_free(&p->digests);
	free(p);
}

const struct qz_tensor *
qz_spool_manifest(const struct qz_spool *p, size_t *n)
{
	*n = p->n;
	return (const struct qz_tensor *)(const void *)p->tensors.data;
}

uint64_t
qz_spool_nbytes(const struct qz_spool *p)
{
	return p->nbytes;
}

static int
spool_next(void *arg, const struct qz_tensor **t, struct qz_err *e)
{
	struct qz_spool *p = arg;
	size_t n;

	(void)e;
	if (p->next == p->n)
		return 0;
	*t = &qz_spool_manifest(p, &n)[p->next++];
	p->at += p->left;
	p->left = (*t)->nbytes;
	return 1;
}

static int
spool_read(void *arg, void *data, size_t n, struct qz_err *e)
{
	struct qz_spool *p = arg;
	char *to = data;

	if (n > p->left)
		return qz_fail(e, QZ_EDATA, "%zu bytes of a tensor that has %llu left", n,
		    (unsigned long long)p->left);
	p->left -= n;
	while (n) {
		ssize_t did = pread(p->fd, to, n, (off_t)p->at);

		if (did < 0 && errno == EINTR)
			continue;
		if (did <= 0)
			return did < 0
				   ? qz_fail_errno(e, "cannot read the temporary file")
				   : qz_fail(e, QZ_EIO, "the temporary file has become shorter");
		to += did;
		n -= (size_t)did;
		p->at += (uint64_t)did;
	}
	return 0;
}

static uint64_t
spool_digest(void *arg)
{
	const struct qz_spool *p = arg;

	return ((const uint64_t *)(const void *)p->digests.data)[p->next - 1];
}

struct qz_feed
qz_feed_spool(struct qz_spool *p)
{
	p->next = 0;
	p->at = p->left = 0;
	return (struct qz_feed){ p, spool_next, spool_read, spool_digest };
}
