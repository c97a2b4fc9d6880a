#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/io/out.h"
#include "libcore/io/sync.h"
#include "libcore/io/temp.h"

struct qz_outdir {
	char *path, *temp;
	struct qz_buf joined;
	bool committed;
};

static int
check_place(const char *path, struct qz_err *e)
{
	struct stat st;
	DIR *d;
	int n = 0;

	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return qz_fail(
		    e, QZ_EUSAGE, "%s: is there and no folder: remove it, or name another", path);
	d = opendir(path);
	if (!d)
		return qz_fail_errno(e, "%s: cannot look into it", path);
	while (n < 3 && readdir(d))
		n++;
	closedir(d);
	if (n > 2)
		return qz_fail(e, QZ_EUSAGE,
		    "%s: is a folder with files in it: remove it, or name another", path);
	return 0;
}

struct qz_outdir *
qz_outdir_open(const char *path, struct qz_err *e)
{
	struct qz_outdir *d = calloc(1, sizeof *d);
	size_t n = strlen(path);

	if (!d || !(d->path = strdup(path))) {
		free(d);
		qz_nomem(e, sizeof *d);
		return NULL;
	}
	while (n > 1 && d->path[n - 1] == '/')
		d->path[--n] = '\0';
	if (check_place(d->path, e) < 0 || !(d->temp = qz_temp_folder(d->path, e))) {
		qz_outdir_close(d);
		return NULL;
	}
	return d;
}

const char *
qz_outdir_name(const struct qz_outdir *d)
{
	return d->path;
}

const char *
qz_outdir_path(struct qz_outdir *d, const char *file)
{
	qz_buf_clear(&d->joined);
	qz_buf_fmt(&d->joined, "%s/%s", d->temp, file);
	return d->joined.failed ? "" : d->joined.data;
}

struct qz_out *
qz_outdir_file(struct qz_outdir *d, const char *file, struct qz_err *e)
{
	struct qz_buf name = { 0 };
	struct qz_out *o = NULL;

	qz_buf_fmt(&name, "%s/%s", d->path, file);
	if (qz_buf_ok(&name, e) == 0)
		o = qz_out_open_as(qz_outdir_path(d, file), name.data, e);
	qz_buf_free(&name);
	return o;
}

/* NAME, or FOLDER/NAME, of which the folder is made. */
static int
check_name(struct qz_outdir *d, const char *file, struct qz_err *e)
{
	const char *slash = strchr(file, '/'), *name = slash ? slash + 1 : file;
	char *folder;
	int ret = 0;

	if (!*name || *name == '.' || *file == '.' || slash == file || strchr(name, '/'))
		return qz_fail(
		    e, QZ_EDATA, "'%s' is not the name of a file in a model's folder", file);
	if (!slash)
		return 0;
	folder = strndup(qz_outdir_path(d, file), strlen(d->temp) + 1 + (size_t)(slash - file));
	if (!folder)
		return qz_nomem(e, strlen(file));
	if (mkdir(folder, 0777) < 0 && errno != EEXIST)
		ret = qz_fail_errno(e, "%s: cannot make the folder of %s", d->path, file);
	free(folder);
	return ret;
}

int
qz_outdir_write(struct qz_outdir *d, const char *file, const void *data, size_t n, struct qz_err *e)
{
	struct qz_out *o;
	int ret;

	if (check_name(d, file, e) < 0)
		return -1;
	o = qz_outdir_file(d, file, e);
	if (!o)
		return -1;
	ret = qz_out_write(o, data, n, e);
	if (ret == 0)
		ret = qz_out_commit(o, e);
	qz_out_close(o);
	return ret;
}

int
qz_outdir_commit(struct qz_outdir *d, struct qz_err *e)
{
	int fd = open(d->temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || qz_sync_fd(fd) < 0) {
		if (fd >= 0)
			close(fd);
		return qz_fail_errno(e, "%s: cannot sync", d->path);
	}
	close(fd);
	if (rename(d->temp, d->path) < 0)
		return qz_fail_errno(e, "%s: cannot rename the finished folder to it", d->path);
	qz_temp_forget(d->temp);
	d->committed = true;
	return 0;
}

void
qz_outdir_close(struct qz_outdir *d)
{
	if (!d)
		return;
	if (d->temp && !d->committed)
		qz_temp_remove(d->temp);
	qz_buf_free(&d->joined);
	free(d->temp);
	free(d->path);
	free(d);
}
