/* temp - files and folders under a name that is not yet theirs.
 * Names that exist meanwhile are kept in a list, so that a signal handler can remove them. */
#ifndef QZ_TEMP_H
#define QZ_TEMP_H

#include "libcore/base/err.h"

/* A file for path, without a name (*temp NULL) where the system can, else ".NAME.qz-XXXXXX" beside it
 * (*temp, to free).  The descriptor, or -1. */
int qz_temp_open(const char *path, char **temp, struct qz_err *e);
/* Gives it its name, replacing a file that is there. */
int qz_temp_name(int fd, char **temp, const char *path, struct qz_err *e);
/* An unnamed file in $TMPDIR or /tmp for spooling; it is gone when closed. */
int qz_temp_spool(struct qz_err *e);
/* A folder ".NAME.qz-XXXXXX" beside path; NULL on failure, else to free. */
char *qz_temp_folder(const char *path, struct qz_err *e);
/* Removes a file, or a folder with its files, and forgets it. */
void qz_temp_remove(const char *temp);
void qz_temp_forget(const char *temp);
/* Async-signal-safe: removes what is in the list, folders with their files. */
void qz_temp_abandon(void);

#endif
