/* in - bytes from a file, a pipe or memory, read forwards.
 *
 * A read is whole or it is an error: what ends too early is QZ_EDATA ("ends at byte N, M more were
 * expected"), what the system refuses is QZ_EIO.  The name is what messages call the input
 * ("<stdin>", "base.qz").  A running digest of all bytes passed can be asked for. */
#ifndef QZ_IN_H
#define QZ_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"

struct qz_in;

/* "-" is standard input.  A folder is refused. */
struct qz_in *qz_in_open(const char *path, struct qz_err *e);
/* Borrowed memory, which must outlive the stream. */
struct qz_in *qz_in_memory(const char *name, const void *data, size_t n, struct qz_err *e);
void qz_in_close(struct qz_in *in);

const char *qz_in_name(const struct qz_in *in);
uint64_t qz_in_offset(const struct qz_in *in); /* bytes passed so far */
bool qz_in_seekable(const struct qz_in *in);
/* Size in bytes when it is known (a regular file, memory), else -1. */
int64_t qz_in_size(const struct qz_in *in);

/* Exactly n bytes. */
int qz_in_read(struct qz_in *in, void *data, size_t n, struct qz_err *e);
/* Up to n bytes; 0 at the end, -1 on failure. */
int64_t qz_in_some(struct qz_in *in, void *data, size_t n, struct qz_err *e);
/* Up to n <= 4096 bytes without passing them, fewer only near the end. */
int64_t qz_in_peek(struct qz_in *in, const void **data, size_t n, struct qz_err *e);
/* Passes n bytes. */
int qz_in_skip(struct qz_in *in, uint64_t n, struct qz_err *e);
/* Goes to an absolute offset; a pipe can only go forwards.  Digests stop being meaningful. */
int qz_in_seek(struct qz_in *in, uint64_t offset, struct qz_err *e);
/* n bytes from an absolute offset of a seekable input, for any thread: the stream stays where it is. */
int qz_in_at(const struct qz_in *in, uint64_t offset, void *data, size_t n, struct qz_err *e);
/* The rest, at most max bytes: more is QZ_EDATA. */
int qz_in_all(struct qz_in *in, struct qz_buf *b, size_t max, struct qz_err *e);

/* A whole small file, at most max bytes. */
int qz_file_read(const char *path, struct qz_buf *b, size_t max, struct qz_err *e);

#endif
