/* out - bytes to a file that appears whole or not at all, to standard output, or to memory.
 *
 * A file is written without a name where the system can (O_TMPFILE), else under ".NAME.qz-XXXXXX" beside
 * it, synced (sync.h), and takes its name in qz_out_commit(): until then nothing is there under the name, and an
 * old file of that name stays as it was.  qz_out_close() without a commit leaves nothing behind.
 * Errors are kept: after the first, writes do nothing and commit returns it. */
#ifndef QZ_OUT_H
#define QZ_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/buf.h"
#include "libcore/base/err.h"

struct qz_out;

/* path NULL or "-": standard output; binary data is refused on a terminal (QZ_EUSAGE) unless text. */
struct qz_out *qz_out_open(const char *path, bool text, struct qz_err *e);
/* A file that messages call by another name. */
struct qz_out *qz_out_open_as(const char *path, const char *name, struct qz_err *e);
/* Into a buffer of the caller's. */
struct qz_out *qz_out_memory(struct qz_buf *b, struct qz_err *e);
const char *qz_out_name(const struct qz_out *o);
uint64_t qz_out_offset(const struct qz_out *o); /* bytes written so far */
int qz_out_write(struct qz_out *o, const void *data, size_t n, struct qz_err *e);
int qz_out_zeros(struct qz_out *o, uint64_t n, struct qz_err *e);
/* Space for n more bytes is there, or QZ_EIO that says how much is missing.  Of files, and of
 * standard output where it is one. */
int qz_out_expect(struct qz_out *o, uint64_t n, struct qz_err *e);
/* n more bytes are coming, exactly: a file system that looks for blocks at each write() finds them now.  Where
 * that fails, nothing is lost. */
void qz_out_reserve(struct qz_out *o, uint64_t n);
/* Can bytes that were written be replaced?  In a file, not in a pipe. */
bool qz_out_patchable(const struct qz_out *o);
/* Replaces n bytes at offset, which were written before. */
int qz_out_patch(struct qz_out *o, uint64_t offset, const void *data, size_t n, struct qz_err *e);
/* Flush, sync as sync.h says, rename.  The output is complete when this returns 0. */
int qz_out_commit(struct qz_out *o, struct qz_err *e);
void qz_out_close(struct qz_out *o); /* NULL is fine */

/* A folder, built as ".NAME.qz-XXXXXX" beside its place and renamed: qz_outdir_path() joins a file's
 * name to where it is built.  A folder or file that is there already under the name is refused
 * at open, unless it is an empty folder. */
struct qz_outdir;
struct qz_outdir *qz_outdir_open(const char *path, struct qz_err *e);
const char *qz_outdir_name(const struct qz_outdir *d);
/* Borrowed until the next call. */
const char *qz_outdir_path(struct qz_outdir *d, const char *file);
/* A file in it, which messages call by the place that it will have. */
struct qz_out *qz_outdir_file(struct qz_outdir *d, const char *file, struct qz_err *e);
int qz_outdir_write(
    struct qz_outdir *d, const char *file, const void *data, size_t n, struct qz_err *e);
int qz_outdir_commit(struct qz_outdir *d, struct qz_err *e);
void qz_outdir_close(struct qz_outdir *d); /* not committed: everything is removed */

#endif
