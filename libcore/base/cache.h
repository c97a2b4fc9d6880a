/* cache - files of what was measured on this machine, for later runs: $XDG_CACHE_HOME/qz, or ~/.cache/qz.
 *
 * They are only a cache: whoever reads one takes anything odd for a file that is not there, and that one cannot be
 * written is no failure.  QZ_TUNE=0: nothing is kept.  Tools and the GPU's plugin each have this file's code. */
#ifndef QZ_CACHE_H
#define QZ_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { QZ_CACHE_PATH = 4096 };

/* A file that is being written beside the one that it will replace. */
struct qz_cache_file {
	FILE *f;
	char path[QZ_CACHE_PATH], next[QZ_CACHE_PATH + 32];
};

/* FOLDER/kind-HASH; false when there is no place for it. */
bool qz_cache_path(char path[QZ_CACHE_PATH], const char *kind, uint64_t hash);
/* Makes the folders that are missing; false when it cannot be written. */
bool qz_cache_create(struct qz_cache_file *c, const char *path);
/* The file as written so far, if nothing failed, takes its place; else it is removed. */
void qz_cache_close(struct qz_cache_file *c);

#ifdef __cplusplus
}
#endif
#endif
