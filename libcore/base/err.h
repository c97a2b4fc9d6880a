/* err - one description of one failure.
 *
 * A function that can fail takes a struct qz_err * last, returns 0 or -1 (or a pointer or NULL),
 * and describes the failure once, where it is known.  Each level on the way up may put its place
 * before it.  The library neither prints nor exits; tools do (tools/common/cli.h).
 * The struct is fixed in size, so that the failing path allocates nothing. */
#ifndef QZ_ERR_H
#define QZ_ERR_H

/* The values are the exit statuses of every tool. */
enum qz_code {
	QZ_OK = 0,
	QZ_EIO = 1,     /* the system refused: open, read, write, memory, time */
	QZ_EUSAGE = 2,  /* the command line is wrong */
	QZ_EDATA = 3,   /* the input is not what its format says */
	QZ_EDEVICE = 4, /* the device asked for is not here */
};

struct qz_err {
	enum qz_code code;
	char msg[1024];
};

/* Replace the description.  Control characters in the result become '?'.  Always -1. */
int qz_fail(struct qz_err *e, enum qz_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with QZ_EIO and ": strerror(errno)" at its end. */
int qz_fail_errno(struct qz_err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "place: " before the description.  Always -1. */
int qz_at(struct qz_err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* qz_fail(QZ_EIO, "out of memory ..."), for an allocation of nbytes. */
int qz_nomem(struct qz_err *e, unsigned long long nbytes);

#endif
