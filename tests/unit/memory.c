/* Free memory: what the system says, within control groups of both versions. */
#define _DEFAULT_SOURCE
#include "libcore/base/memory.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/tap.h"

#define G1 "sys/fs/cgroup/memory/"
#define G2 "sys/fs/cgroup/"
#define INFO "proc/meminfo", "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:    8000 kB\n"
#define GROUP "proc/self/cgroup"

static const struct {
	const char *name;
	uint64_t want;
	struct {
		const char *path, *text;
	} files[8];
} cases[] = {
	{ "no groups: what is available", 8192000, { { INFO } } },
	{ "no limit", 8192000, { { INFO }, { GROUP, "0::/a\n" }, { G2 "a/memory.max", "max\n" } } },
	{ "a limit less what is taken", 5000000,
	    { { INFO }, { GROUP, "0::/a\n" }, { G2 "a/memory.max", "6000000\n" },
		{ G2 "a/memory.current", "1000000\n" } } },
	{ "page cache is free, shared memory is not", 5700000,
	    { { INFO }, { GROUP, "0::/a\n" }, { G2 "a/memory.max", "6000000\n" },
		{ G2 "a/memory.current", "1000000\n" },
		{ G2 "a/memory.stat", "anon 3\nfile_mapped 9\nfile 800000\nshmem 100000\n" } } },
	{ "the group above", 3000000,
	    { { INFO }, { GROUP, "0::/a/b\n" }, { G2 "a/b/memory.max", "6000000\n" },
		{ G2 "a/memory.max", "3000000\n" } } },
	{ "more is taken than the limit", 0,
	    { { INFO }, { GROUP, "0::/a\n" }, { G2 "a/memory.max", "6\n" },
		{ G2 "a/memory.current", "7\n" } } },
	{ "version 1", 4000000,
	    { { INFO }, { GROUP, "7:cpu:/x\n4:cpuset,memory:/a/b\n0::/\n" },
		{ G1 "a/memory.limit_in_bytes", "5000000\n" },
		{ G1 "a/memory.usage_in_bytes", "3000000\n" },
		{ G1 "a/memory.stat", "cache 1\ntotal_cache 2000000\n" } } },
	{ "a container sees its own group at the top", 1000,
	    { { INFO }, { GROUP, "0::/../..\n" }, { G2 "memory.max", "1000\n" } } },
};

static void
put(const char *root, const char *path, const char *text)
{
	char name[512];
	FILE *f;

	snprintf(name, sizeof name, "%s/%s", root, path);
	for (char *p = strchr(name + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(name, 0777);
		*p = '/';
	}
	f = fopen(name, "we");
	if (!f)
		return;
	fputs(text, f);
	fclose(f);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char root[] = "/tmp/qz-memory-XXXXXX", command[64];
		uint64_t got;

		if (!mkdtemp(root))
			return ok(0, "a temporary folder"), done();
		for (int k = 0; k < 8 && cases[i].files[k].path; k++)
			put(root, cases[i].files[k].path, cases[i].files[k].text);
		got = qz_memory_free(root);
		ok(got == cases[i].want, "%s: %llu bytes", cases[i].name, (unsigned long long)got);
		snprintf(command, sizeof command, "rm -r %s", root);
		if (system(command))
			return ok(0, "%s", command), done();
	}
	ok(qz_memory_free("") > 1 << 20, "this machine has some: %llu",
	    (unsigned long long)qz_memory_free(""));
	return done();
}
