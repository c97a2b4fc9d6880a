#include "libcore/io/arc.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"

enum {
	WINDOW = 256 * 1024,
	MEMBERS_MAX = 1 << 20,
	SKIP_FREE = 1 << 30, /* bytes that may be passed before the ratio counts */
	SKIP_RATIO = 200,
	N_ARCHIVES = 2,
};

struct qz_arc {
	struct qz_in *in;
	struct archive *a;
	struct archive_entry *entry;
	struct qz_err *e; /* of the call under way: a callback's own failure */
	bool in_failed;
	struct qz_arc_member member;
	struct qz_buf name;
	uint64_t n_members, at, passed; /* bytes read of the current file; bytes passed in all */
	char window[WINDOW];
};

static const struct {
	size_t at, n;
	const char *bytes;
} magics[] = {
	{ 257, 5, "ustar" }, { 0, 4, "PK\3\4" }, /* the archives first: N_ARCHIVES */
	{ 0, 2, "\x1f\x8b" },                    /* gzip */
	{ 0, 4, "\x28\xb5\x2f\xfd" },            /* zstd */
	{ 0, 6,
	    "\xfd"
	    "7zXZ\0" },
	{ 0, 3, "BZh" }, { 0, 4, "\x04\x22\x4d\x18" }, /* lz4 */
	{ 0, 4, "LZIP" }, { 0, 2, "\x1f\x9d" },        /* compress */
	{ 0, 5, "\x5d\0\0\x80\0" },                    /* lzma */
};

static bool
is_one_from(size_t first, const void *head, size_t n)
{
	for (size_t i = first; i < sizeof magics / sizeof *magics; i++)
		if (n >= magics[i].at + magics[i].n &&
		    !memcmp((const char *)head + magics[i].at, magics[i].bytes, magics[i].n))
			return true;
	return false;
}

bool
qz_arc_is(const void *head, size_t n)
{
	return is_one_from(0, head, n);
}

bool
qz_arc_is_packed(const void *head, size_t n)
{
	return is_one_from(N_ARCHIVES, head, n);
}

static la_ssize_t
on_read(struct archive *a, void *arg, const void **data)
{
	struct qz_arc *arc = arg;
	int64_t got = qz_in_some(arc->in, arc->window, WINDOW, arc->e);

	*data = arc->window;
	if (got >= 0)
		return (la_ssize_t)got;
	arc->in_failed = true;
	archive_set_error(a, ARCHIVE_FATAL, "read");
	return ARCHIVE_FATAL;
}

static la_int64_t
on_skip(struct archive *a, void *arg, la_int64_t n)
{
	struct qz_arc *arc = arg;
	uint64_t left;

	(void)a;
	if (!qz_in_seekable(arc->in) || n <= 0)
		return 0;
	left = (uint64_t)qz_in_size(arc->in) - qz_in_offset(arc->in);
	if ((uint64_t)n > left)
		n = (la_int64_t)left;
	return qz_in_seek(arc->in, qz_in_offset(arc->in) + (uint64_t)n, arc->e) < 0 ? 0 : n;
}

static la_int64_t
on_seek(struct archive *a, void *arg, la_int64_t offset, int whence)
{
	struct qz_arc *arc = arg;
	int64_t base = whence == SEEK_SET   ? 0
		       : whence == SEEK_CUR ? (int64_t)qz_in_offset(arc->in)
					    : qz_in_size(arc->in);

	(void)a;
	if (offset < -base || qz_in_seek(arc->in, (uint64_t)(base + offset), arc->e) < 0)
		return ARCHIVE_FATAL;
	return base + offset;
}

static int
fails(struct qz_arc *arc, struct qz_err *e)
{
	const char *text = archive_error_string(arc->a);

	if (arc->in_failed)
		return -1; /* the stream has said why */
	return qz_fail(
	    e, QZ_EDATA, "%s: archive: %s", qz_in_name(arc->in), text ? text : "is damaged");
}

/* "x.tar: archive: " before what is wrong with it. */
static int
place(const struct qz_arc *arc, struct qz_err *e)
{
	return qz_at(e, "%s: archive", qz_in_name(arc->in));
}

/* Formats and filters are named one by one: "all" would let some of them start other programs. */
static void
support(struct archive *a, bool raw)
{
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_lzma(a);
	archive_read_support_filter_lzip(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_compress(a);
	if (raw) {
		archive_read_support_format_raw(a);
		archive_read_support_format_empty(a);
		return;
	}
	archive_read_support_format_tar(a);
	archive_read_support_format_zip(a);
}

static struct qz_arc *
open_as(struct qz_in *in, bool raw, struct qz_err *e)
{
	struct qz_arc *arc = calloc(1, sizeof *arc);

	if (!arc || !(arc->a = archive_read_new())) {
		free(arc);
		qz_nomem(e, sizeof *arc);
		return NULL;
	}
	arc->in = in;
	arc->e = e;
	support(arc->a, raw);
	archive_read_set_read_callback(arc->a, on_read);
	archive_read_set_skip_callback(arc->a, on_skip);
	if (qz_in_seekable(in))
		archive_read_set_seek_callback(arc->a, on_seek);
	archive_read_set_callback_data(arc->a, arc);
	if (archive_read_open1(arc->a) != ARCHIVE_OK) {
		fails(arc, e);
		qz_arc_close(arc);
		return NULL;
	}
	return arc;
}

struct qz_arc *
qz_arc_open(struct qz_in *in, struct qz_err *e)
{
	return open_as(in, false, e);
}

struct qz_arc *
qz_arc_open_raw(struct qz_in *in, struct qz_err *e)
{
	return open_as(in, true, e);
}

void
qz_arc_close(struct qz_arc *arc)
{
	if (!arc)
		return;
	archive_read_free(arc->a);
	qz_buf_free(&arc->name);
	free(arc);
}

/* Reads what is left of the file when passing it means to decompress it, and counts. */
static int
pass(struct qz_arc *arc, struct qz_err *e)
{
	char scrap[16 * 1024];
	int64_t got;

	if (!arc->entry ||
	    (archive_filter_count(arc->a) == 1 && archive_entry_size_is_set(arc->entry)))
		return 0;
	while ((got = qz_arc_some(arc, scrap, sizeof scrap, e)) > 0) {
		uint64_t packed = (uint64_t)archive_filter_bytes(arc->a, -1);

		arc->passed += (uint64_t)got;
		if (arc->passed <= SKIP_FREE || arc->passed / SKIP_RATIO <= packed)
			continue;
		qz_fail(e, QZ_EDATA,
		    "%.200s: expands to more than %d times its size, which no model needs",
		    arc->member.name, SKIP_RATIO);
		return place(arc, e);
	}
	return got < 0 ? -1 : 0;
}

static int
check_name(struct qz_arc *arc, struct qz_err *e)
{
	const char *name = archive_entry_pathname(arc->entry), *part;
	size_t n = name ? strlen(name) : 0;

	if (n == 0 || n > 4096 || qz_utf8_valid(name, n) < n)
		return qz_fail(e, QZ_EDATA,
		    "member %llu: its name is missing, too long or not UTF-8",
		    (unsigned long long)arc->n_members);
	if (*name == '/')
		return qz_fail(e, QZ_EDATA, "%.200s: an absolute name is refused", name);
	for (part = name; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
		if (!strncmp(part, "..", 2) && (part[2] == '/' || part[2] == '\0'))
			return qz_fail(
			    e, QZ_EDATA, "%.200s: a name that leaves its folder is refused", name);
	while (!strncmp(name, "./", 2))
		for (name += 2; *name == '/'; name++)
			;
	qz_buf_clear(&arc->name);
	qz_buf_str(&arc->name, name);
	arc->member.name = arc->name.data;
	return qz_buf_ok(&arc->name, e);
}

/* 1: a plain file, 0: a folder. */
static int
check_type(struct qz_arc *arc, struct qz_err *e)
{
	const char *what = NULL;

	switch (archive_entry_filetype(arc->entry)) {
	case AE_IFREG:
		if (!archive_entry_hardlink(arc->entry))
			return 1;
		what = "a hard link";
		break;
	case AE_IFDIR:
		return 0;
	case AE_IFLNK:
		what = "a symbolic link";
		break;
	default:
		what = archive_entry_hardlink(arc->entry) ? "a hard link" : "a device";
		break;
	}
	return qz_fail(e, QZ_EDATA, "%.200s: %s is refused", arc->member.name, what);
}

int
qz_arc_next(struct qz_arc *arc, const struct qz_arc_member **m, struct qz_err *e)
{
	int got;

	arc->e = e;
	do {
		if (pass(arc, e) < 0)
			return -1;
		arc->entry = NULL;
		got = archive_read_next_header(arc->a, &arc->entry);
		if (got == ARCHIVE_EOF)
			return 0;
		if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
			return fails(arc, e);
		if (++arc->n_members > MEMBERS_MAX) {
			qz_fail(e, QZ_EDATA, "more than %d members", MEMBERS_MAX);
			return place(arc, e);
		}
		arc->at = 0;
		if (check_name(arc, e) < 0 || (got = check_type(arc, e)) < 0)
			return place(arc, e);
	} while (got == 0);
	arc->member.size = archive_entry_size_is_set(arc->entry) ? archive_entry_size(arc->entry)
								 : -1;
	*m = &arc->member;
	return 1;
}

int64_t
qz_arc_some(struct qz_arc *arc, void *data, size_t n, struct qz_err *e)
{
	la_ssize_t got;

	arc->e = e;
	got = archive_read_data(arc->a, data, n);
	if (got < 0)
		return fails(arc, e);
	arc->at += (uint64_t)got;
	return got;
}

int
qz_arc_read(struct qz_arc *arc, void *data, size_t n, struct qz_err *e)
{
	char *p = data;

	while (n) {
		int64_t got = qz_arc_some(arc, p, n, e);

		if (got < 0)
			return -1;
		if (got == 0) {
			qz_fail(e, QZ_EDATA, "%.200s ends at byte %llu, %zu more were expected",
			    arc->member.name, (unsigned long long)arc->at, n);
			return place(arc, e);
		}
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

int
qz_arc_all(struct qz_arc *arc, struct qz_buf *b, size_t max, struct qz_err *e)
{
	size_t start = b->n;

	for (;;) {
		char *p = qz_buf_room(b, 64 * 1024);
		int64_t got = p ? qz_arc_some(arc, p, 64 * 1024, e) : qz_buf_ok(b, e);

		if (got < 0)
			return -1;
		b->n -= 64 * 1024 - (size_t)got;
		b->data[b->n] = '\0';
		if (b->n - start > max) {
			qz_fail(e, QZ_EDATA,
			    "%.200s is larger than %zu bytes, the most that is read",
			    arc->member.name, max);
			return place(arc, e);
		}
		if (got == 0)
			return 0;
	}
}
