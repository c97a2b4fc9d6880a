/* Archives: what comes out of them, and what is refused. */
#include "libcore/io/arc.h"
#include "libcore/io/zst.h"
#include "tests/unit/tap.h"
#include "tests/unit/tarball.h"

/* Everything that comes out, as "name:size ..." */
static int
list(const struct qz_buf *b, char *out, size_t n, struct qz_err *e)
{
	struct qz_in *in = qz_in_memory("x.tar", b->data, b->n, e);
	struct qz_arc *a = qz_arc_open(in, e);
	const struct qz_arc_member *m;
	int got = a ? 1 : -1;

	*out = '\0';
	while (got > 0 && (got = qz_arc_next(a, &m, e)) > 0) {
		struct qz_buf data = { 0 };
		size_t at = strlen(out);

		got = qz_arc_all(a, &data, 1 << 20, e) == 0 ? 1 : -1;
		snprintf(out + at, n - at, "%s%s:%zu", at ? " " : "", m->name, data.n);
		qz_buf_free(&data);
	}
	qz_arc_close(a);
	qz_in_close(in);
	return got;
}

static const struct {
	const char *name;
	char type;
	const char *message; /* NULL: "name" is what comes out, or nothing for a folder */
} members[] = {
	{ "config.json", '0', NULL },
	{ "./a/b/config.json", '0', NULL },
	{ "a/b/", '5', NULL },
	{ "a/..b/x", '0', NULL },
	{ "/etc/passwd", '0', "x.tar: archive: /etc/passwd: an absolute name is refused" },
	{ "../x", '0', "x.tar: archive: ../x: a name that leaves its folder is refused" },
	{ "a/../../x", '0', "x.tar: archive: a/../../x: a name that leaves its folder is refused" },
	{ "a/..", '0', "x.tar: archive: a/..: a name that leaves its folder is refused" },
	{ "../", '5', "x.tar: archive: ../: a name that leaves its folder is refused" },
	{ "link", '2', "x.tar: archive: link: a symbolic link is refused" },
	{ "hard", '1', "x.tar: archive: hard: a hard link is refused" },
	{ "tty", '3', "x.tar: archive: tty: a device is refused" },
	{ "pipe", '6', "x.tar: archive: pipe: a device is refused" },
	{ "\xff\xfe", '0', "x.tar: archive: member 1: its name is missing, too long or not UTF-8" },
};

static void
test_members(void)
{
	for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
		struct qz_buf b = { 0 };
		struct qz_err e = { 0 };
		char out[200], want[200] = "";
		int ret;

		if (members[i].type == '0')
			tar_file(&b, members[i].name, "hello", 5);
		else
			tar_header(&b, members[i].name, members[i].type, 0, "/etc/passwd");
		tar_end(&b);
		ret = list(&b, out, sizeof out, &e);
		if (members[i].message) {
			ok(ret < 0 && e.code == QZ_EDATA, "refuses member %zu", i);
			is(e.msg, members[i].message, "  with its message");
		} else {
			const char *name = members[i].name;

			if (members[i].type == '0')
				snprintf(
				    want, sizeof want, "%s:5", name + (name[0] == '.' ? 2 : 0));
			ok(ret == 0, "reads %s: %s", name, e.msg);
			is(out, want, "  and gives it");
		}
		qz_buf_free(&b);
	}
}

/* Cut anywhere within its files, an archive is an error and never silently shorter. */
static void
test_cuts(void)
{
	struct qz_buf b = { 0 };
	struct qz_err e = { 0 };
	char out[200];
	size_t wrong = 0;

	tar_file(&b, "a", "0123456789", 10);
	tar_file(&b, "b", "0123456789", 10);
	for (size_t n = 513; n < 522; n++) {
		struct qz_buf cut = { b.data, n, n, false };

		wrong += list(&cut, out, sizeof out, &e) >= 0;
	}
	ok(wrong == 0, "refuses an archive cut within a file: %s", e.msg);
	qz_buf_free(&b);
}

/* A little file that expands to very much: passing it stops. */
static void
test_bomb(void)
{
	struct qz_err e = { 0 };
	struct qz_zst *z = qz_zst_new(1, &e);
	struct qz_buf head = { 0 }, b = { 0 };
	static char zeros[1 << 20];
	struct qz_in *in;
	struct qz_arc *a;
	const struct qz_arc_member *m;

	tar_header(&head, "big.bin", '0', (unsigned long long)7 << 30, "");
	qz_zst_add(z, &b, head.data, head.n, false, &e);
	for (int i = 0; i < 1200; i++)
		qz_zst_add(z, &b, zeros, sizeof zeros, i == 1199, &e);
	qz_zst_free(z);
	in = qz_in_memory("bomb.tar.zst", b.data, b.n, &e);
	ok(qz_arc_is(b.data, b.n), "zstd is seen as an archive");
	a = qz_arc_open(in, &e);
	ok(a && qz_arc_next(a, &m, &e) == 1 && m->size == (int64_t)7 << 30,
	    "the file is there (%zu bytes packed)", b.n);
	ok(a && qz_arc_next(a, &m, &e) < 0 && e.code == QZ_EDATA, "passing it is refused");
	is(e.msg,
	    "bomb.tar.zst: archive: big.bin: expands to more than 200 times its size, which no "
	    "model "
	    "needs",
	    "  with its message");
	qz_arc_close(a);
	qz_in_close(in);
	qz_buf_free(&head);
	qz_buf_free(&b);
}

static void
test_limits(void)
{
	struct qz_buf b = { 0 }, data = { 0 };
	struct qz_err e = { 0 };
	struct qz_in *in;
	struct qz_arc *a;
	const struct qz_arc_member *m;
	char ten[10];

	tar_file(&b, "a", "0123456789", 10);
	tar_end(&b);
	in = qz_in_memory("x.tar", b.data, b.n, &e);
	a = qz_arc_open(in, &e);
	qz_arc_next(a, &m, &e);
	ok(qz_arc_all(a, &data, 9, &e) < 0, "ten bytes where nine may be");
	is(e.msg, "x.tar: archive: a is larger than 9 bytes, the most that is read", "  says so");
	qz_arc_close(a);
	qz_in_seek(in, 0, &e);
	a = qz_arc_open(in, &e);
	qz_arc_next(a, &m, &e);
	ok(qz_arc_read(a, ten, 4, &e) == 0 && !memcmp(ten, "0123", 4), "reads four bytes");
	ok(qz_arc_read(a, ten, 7, &e) < 0, "seven more are not there");
	is(e.msg, "x.tar: archive: a ends at byte 10, 1 more were expected", "  says so");
	qz_arc_close(a);
	qz_in_close(in);
	ok(!qz_arc_is("{\"a\":1}", 7) && !qz_arc_is("", 0) && qz_arc_is("PK\3\4", 4),
	    "first bytes tell");
	qz_buf_free(&b);
	qz_buf_free(&data);
}

int
main(void)
{
	test_members();
	test_cuts();
	test_bomb();
	test_limits();
	return done();
}
