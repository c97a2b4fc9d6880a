#include "libcore/io/sync.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool qz_sync = true;

int
qz_sync_fd(int fd)
{
	return qz_sync ? fsync(fd) : 0;
}

void
qz_sync_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path))
			     : strdup(".");
	int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		qz_sync_fd(fd);
		close(fd);
	}
	free(folder);
}

void
qz_sync_begin(int fd, uint64_t from, uint64_t n)
{
#ifdef SYNC_FILE_RANGE_WRITE
	if (qz_sync)
		sync_file_range(fd, (off_t)from, (off_t)n, SYNC_FILE_RANGE_WRITE);
#else
	(void)fd, (void)from, (void)n;
#endif
}
