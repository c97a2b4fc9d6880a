#include "libcore/base/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
qz_cache_path(char path[QZ_CACHE_PATH], const char *kind, uint64_t hash)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME"),
		   *tune = getenv("QZ_TUNE");
	bool own = cache && *cache == '/';
	int n;

	if ((tune && !strcmp(tune, "0")) || (!own && !(home && *home == '/')))
		return false;
	n = snprintf(path, QZ_CACHE_PATH, "%s%s/qz/%s-%016llx", own ? cache : home,
	    own ? "" : "/.cache", kind, (unsigned long long)hash);
	return n > 0 && n < QZ_CACHE_PATH;
}

/* Folders of a path, as far as they are missing. */
static void
make_folders(char *path)
{
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(path, 0777) < 0 && errno != EEXIST) {
			*p = '/';
			return;
		}
		*p = '/';
	}
}

bool
qz_cache_create(struct qz_cache_file *c, const char *path)
{
	snprintf(c->path, sizeof c->path, "%s", path);
	snprintf(c->next, sizeof c->next, "%s.%d", path, (int)getpid());
	make_folders(c->path);
	c->f = fopen(c->next, "wbe");
	return c->f != NULL;
}

void
qz_cache_close(struct qz_cache_file *c)
{
	bool bad = ferror(c->f);

	if (fclose(c->f) != 0 || bad || rename(c->next, c->path) < 0)
		unlink(c->next);
}
