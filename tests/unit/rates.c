/* Rates of a device: measured once, then read from a file that is only a cache. */
#define _GNU_SOURCE
#include <glob.h>
#include <unistd.h>

#include "libcore/model/estimate.h"
#include "tests/unit/tap.h"
#include "tests/unit/tiny.h"

static struct qz_dev *dev;
static struct qz_config config;
static struct qz_lora lora;
static char cache[] = "/tmp/qz-rates-XXXXXX", path[4096];
static const struct qz_extent room = { 64, 2, 64, 32 };

/* The CPU's own tells its free memory, which is never the same. */
static void
describe(struct qz_dev *d, char *text, size_t n)
{
	(void)d;
	snprintf(text, n, "a device");
}

static bool
get(struct qz_rates *r, const struct qz_extent *x)
{
	struct qz_err e;

	if (qz_rates_get(r, dev, &config, &lora, x, false, &e) == 0)
		return true;
	return ok(0, "%s", e.msg);
}

static bool
same(const struct qz_rates *a, const struct qz_rates *b)
{
	return a->product == b->product && a->attention == b->attention && a->copy == b->copy &&
	       a->attention_bwd[0] == b->attention_bwd[0] && a->link == b->link &&
	       a->launch == b->launch && a->drop == b->drop && a->drop_bwd == b->drop_bwd;
}

/* Files in the cache; path is the first. */
static int
files(void)
{
	char pattern[64];
	glob_t g;
	int n = 0;

	snprintf(pattern, sizeof pattern, "%s/qz/*", cache);
	if (glob(pattern, 0, NULL, &g) == 0) {
		n = (int)g.gl_pathc;
		snprintf(path, sizeof path, "%s", g.gl_pathv[0]);
	}
	globfree(&g);
	return n;
}

/* The file with one text in the place of another: is it still believed? */
static const struct {
	const char *name, *from, *to;
} damages[] = {
	{ "of another device", "qz ", "gz " },
	{ "a rate that is none", "\ncopy ", "\ncopy x" },
	{ "a rate of nothing", "\nlink ", "\nlink -" },
	{ "a name that is another", "\nlaunch ", "\nlunch " },
	{ "cut", "\nlibraries ", "" },
	{ "with more behind it", "libraries 0\n", "libraries 0\nmore\n" },
};

static void
check_damage(const struct qz_rates *known)
{
	char text[4096], other[4200];
	struct qz_rates r;
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
	for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
		char *at = strstr(text, damages[i].from);

		if (!at || !(f = fopen(path, "we"))) {
			ok(0, "no '%s' in the file", damages[i].from);
			continue;
		}
		snprintf(other, sizeof other, "%.*s%s%s", (int)(at - text), text, damages[i].to,
		    *damages[i].to ? at + strlen(damages[i].from) : "");
		fputs(other, f);
		fclose(f);
		ok(get(&r, &room) && !same(&r, known), "a file %s is measured anew",
		    damages[i].name);
	}
	f = fopen(path, "we");
	if (f) {
		fputs(text, f);
		fclose(f);
	}
	ok(get(&r, &room) && same(&r, known), "the old one is believed");
}

int
main(void)
{
	struct qz_extent longer = room;
	struct qz_backend k;
	struct qz_rates a, b, c;
	struct qz_err e;
	char command[64];

	config = tiny_config("llama", false);
	dev = qz_device_open("cpu", 1, &e);
	if (!dev || !mkdtemp(cache) ||
	    qz_lora_uniform(&lora, &config, 8, 8, 0.1, QZ_PROJ_ALL, &e) < 0)
		return ok(0, "%s", e.msg), done();
	k = *dev->k;
	k.describe = describe;
	dev->k = &k;
	setenv("XDG_CACHE_HOME", cache, 1);
	unsetenv("QZ_TUNE");
	ok(get(&a, &room) && a.product > 0 && a.copy > 0 && a.drop + a.drop_bwd > 0 && files() == 1,
	    "measured, and kept");
	ok(get(&b, &room) && same(&a, &b), "the same again");
	longer.max_len = 64;
	longer.docs = 1;
	ok(get(&c, &longer) && !same(&a, &c) && files() == 2, "other batches are measured apart");
	get(&a, &room);
	if (files() == 2)
		unlink(path);
	get(&a, &room);
	setenv("QZ_TUNE", "0", 1);
	ok(get(&b, &room) && !same(&a, &b), "QZ_TUNE=0 measures each time");
	unsetenv("QZ_TUNE");
	ok(get(&b, &room) && same(&a, &b), "and keeps nothing");
	snprintf(command, sizeof command, "rm -r %s", cache);
	if (system(command))
		return ok(0, "%s", command), done();
	get(&a, &room);
	if (files() == 1)
		check_damage(&a);
	else
		ok(0, "%d files", files());
	setenv("XDG_CACHE_HOME", "/proc/none", 1);
	ok(get(&b, &room) && !same(&a, &b), "without a folder they are measured");
	if (system(command))
		return ok(0, "%s", command), done();
	qz_lora_free(&lora);
	qz_device_close(dev);
	return done();
}
