#define _DEFAULT_SOURCE
#include "libcore/base/memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH = 4096 };

/* How the two versions of control groups call things. */
struct version {
	const char *base, *limit, *taken, *cache, *shared;
};
static const struct version v1 = { "/sys/fs/cgroup/memory", "memory.limit_in_bytes",
	"memory.usage_in_bytes", "total_cache", "total_shmem" };
static const struct version v2 = { "/sys/fs/cgroup", "memory.max", "memory.current", "file",
	"shmem" };

/* The number behind a word at the start of a line; false when there is none ("max"). */
static bool
number(const char *path, const char *word, uint64_t *v)
{
	size_t n = strlen(word);
	char line[512], *end;
	bool found = false;
	FILE *f = fopen(path, "re");

	while (f && !found && fgets(line, sizeof line, f)) {
		char *at = line + n;

		if (strncmp(line, word, n) || (n && !strchr(": \t", *at)))
			continue;
		at += strspn(at, ": \t");
		*v = strtoull(at, &end, 10);
		found = end != at;
		break;
	}
	if (f)
		fclose(f);
	return found;
}

static bool
member(const char *folder, const char *file, const char *word, uint64_t *v)
{
	char path[PATH + 64];

	snprintf(path, sizeof path, "%s/%s", folder, file);
	return number(path, word, v);
}

/* What a group has left, when it has a limit; else `free` as it is. */
static uint64_t
within(const char *folder, const struct version *v, uint64_t free)
{
	uint64_t limit, taken = 0, cache = 0, shared = 0, left;

	if (!member(folder, v->limit, "", &limit))
		return free;
	member(folder, v->taken, "", &taken);
	member(folder, "memory.stat", v->cache, &cache);
	member(folder, "memory.stat", v->shared, &shared);
	cache = cache > shared ? cache - shared : 0;
	taken = taken > cache ? taken - cache : 0;
	left = limit > taken ? limit - taken : 0;
	return left < free ? left : free;
}

/* The group at `name` below the base and all those above it. */
static uint64_t
within_all(const char *root, const struct version *v, const char *name, uint64_t free)
{
	char folder[PATH];
	size_t base = (size_t)snprintf(folder, sizeof folder, "%s%s", root, v->base);

	snprintf(folder + base, sizeof folder - base, "%s", name);
	for (;;) {
		char *last = strrchr(folder + base, '/');

		free = within(folder, v, free);
		if (!last)
			return free;
		*last = '\0';
	}
}

/* A line of /proc/self/cgroup: "0::/name" or "4:memory,cpu:/name". */
static const struct version *
version_of(char *line, char **name)
{
	char *controllers = strchr(line, ':'), *end;

	line[strcspn(line, "\n")] = '\0';
	end = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!end)
		return NULL;
	*name = end + 1;
	*end = '\0';
	if (controllers[1] == '\0')
		return &v2;
	for (char *save, *c = strtok_r(controllers + 1, ",", &save); c;
	     c = strtok_r(NULL, ",", &save))
		if (!strcmp(c, "memory"))
			return &v1;
	return NULL;
}

uint64_t
qz_memory_free(const char *root)
{
	uint64_t free = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), kib;
	char path[PATH], line[PATH];
	FILE *f;

	snprintf(path, sizeof path, "%s/proc/meminfo", root);
	if (number(path, "MemAvailable", &kib))
		free = kib * 1024;
	snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f)) {
		char *name;
		const struct version *v = version_of(line, &name);

		if (v)
			free = within_all(root, v, name, free);
	}
	if (f)
		fclose(f);
	/* In a container its own group may be all that can be seen. */
	return within_all(root, &v2, "", free);
}
