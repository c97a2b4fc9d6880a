#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "libcore/io/temp.h"
#include "libcore/model/source_impl.h"

int
source_spool_open(struct qz_source *s, struct qz_err *e)
{
	if (s->spool.open)
		return 0;
	s->spool.fd = qz_temp_spool(e);
	if (s->spool.fd < 0)
		return -1;
	s->spool.open = true;
	snprintf(s->spool.path, sizeof s->spool.path, "/proc/self/fd/%d", s->spool.fd);
	return 0;
}

int
source_spool_add(struct qz_source *s, const void *data, size_t n, struct qz_err *e)
{
	const char *p = data;

	while (n) {
		ssize_t put = write(s->spool.fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return qz_fail_errno(e,
			    "%s: cannot write to a temporary file (TMPDIR chooses the folder)",
			    s->name);
		p += put;
		n -= (size_t)put;
		s->spool.nbytes += (uint64_t)put;
	}
	return 0;
}

void
source_spool_close(struct qz_source *s)
{
	if (s->spool.open)
		close(s->spool.fd);
	s->spool.open = false;
}
