#include "libcore/io/temp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/io/sync.h"

enum { LISTED_MAX = 16 };
/* The one piece of state that a signal handler can reach. */
static char *listed[LISTED_MAX];

static void
list(const char *temp)
{
	for (int i = 0; i < LISTED_MAX; i++) {
		if (!listed[i]) {
			listed[i] = strdup(temp);
			return;
		}
	}
}

void
qz_temp_forget(const char *temp)
{
	for (int i = 0; i < LISTED_MAX; i++) {
		if (listed[i] && !strcmp(listed[i], temp)) {
			char *old = listed[i];

			listed[i] = NULL;
			free(old);
		}
	}
}

static void empty(int folder, bool top);

static void
remove_inner(int folder, const char *name)
{
	int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (inner < 0)
		return;
	empty(inner, false);
	close(inner);
	unlinkat(folder, name, AT_REMOVEDIR);
}

/* Unlinks a folder's files, and folders of files, by system calls alone: opendir() is not for signal handlers. */
static void
empty(int folder, bool top)
{
	_Alignas(struct dirent64) char some[2048];
	ssize_t n;

	while ((n = getdents64(folder, some, sizeof some)) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *f = (const struct dirent64 *)(some + at);

			if (strcmp(f->d_name, ".") && strcmp(f->d_name, "..") &&
			    unlinkat(folder, f->d_name, 0) < 0 && errno == EISDIR && top)
				remove_inner(folder, f->d_name);
			at += f->d_reclen;
		}
	}
}

static void
remove_all(const char *temp)
{
	int folder = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (folder < 0) {
		unlink(temp);
		return;
	}
	empty(folder, true);
	close(folder);
	rmdir(temp);
}

void
qz_temp_abandon(void)
{
	for (int i = 0; i < LISTED_MAX; i++)
		if (listed[i])
			remove_all(listed[i]);
}

/* "DIR/.NAME.qz-XXXXXX" for "DIR/NAME", and DIR ("." when there is none). */
static char *
template_for(const char *path, char **folder, struct qz_err *e)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *temp = NULL;

	*folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	if (*folder && asprintf(&temp, "%.*s.%s.qz-XXXXXX", (int)(name - path), path, name) < 0)
		temp = NULL;
	if (!temp) {
		free(*folder);
		*folder = NULL;
		qz_nomem(e, strlen(path));
	}
	return temp;
}

static mode_t
file_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

int
qz_temp_open(const char *path, char **temp, struct qz_err *e)
{
	char *folder, *name = template_for(path, &folder, e);
	int fd;

	*temp = NULL;
	if (!name)
		return -1;
	fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
	if (fd >= 0) {
		free(name);
		free(folder);
		return fd;
	}
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0) {
		qz_fail_errno(e, "%s: cannot create a file in %s", path, folder);
		free(name);
	} else {
		fchmod(fd, file_mode());
		list(name);
		*temp = name;
	}
	free(folder);
	return fd;
}

/* linkat() cannot replace a file, so an unnamed one first gets a name beside it. */
static int
name_unnamed(int fd, char **temp, const char *path, struct qz_err *e)
{
	char *folder, *name = template_for(path, &folder, e), self[64];
	int tries = 100;

	if (!name)
		return -1;
	free(folder);
	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	do {
		snprintf(name + strlen(name) - 6, 7, "%06x", (unsigned)(rand() & 0xffffff));
		if (linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0) {
			list(name);
			*temp = name;
			return 0;
		}
	} while (errno == EEXIST && --tries);
	free(name);
	return qz_fail_errno(e, "%s: cannot give the finished file its name", path);
}

int
qz_temp_name(int fd, char **temp, const char *path, struct qz_err *e)
{
	if (!*temp && name_unnamed(fd, temp, path, e) < 0)
		return -1;
	if (rename(*temp, path) < 0)
		return qz_fail_errno(e, "%s: cannot rename %s to it", path, *temp);
	qz_temp_forget(*temp);
	qz_sync_folder_of(path);
	return 0;
}

int
qz_temp_spool(struct qz_err *e)
{
	const char *folder = getenv("TMPDIR");
	char name[4096];
	int fd;

	if (!folder || !*folder)
		folder = "/tmp";
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	snprintf(name, sizeof name, "%s/qz-spool-XXXXXX", folder);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return qz_fail_errno(
		    e, "%s: cannot create a temporary file (TMPDIR chooses the folder)", folder);
	unlink(name);
	return fd;
}

char *
qz_temp_folder(const char *path, struct qz_err *e)
{
	char *folder, *name = template_for(path, &folder, e);

	if (!name)
		return NULL;
	free(folder);
	if (!mkdtemp(name)) {
		qz_fail_errno(e, "%s: cannot create a folder beside it", path);
		free(name);
		return NULL;
	}
	chmod(name, file_mode() | 0111);
	list(name);
	return name;
}

void
qz_temp_remove(const char *temp)
{
	remove_all(temp);
	qz_temp_forget(temp);
}
