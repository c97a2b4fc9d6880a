/* sync - whether an output waits for the disk.
 *
 * An output that is complete is on the disk, too: a power cut does not take it.  With qz_sync false it is
 * complete as soon as the system has its bytes, which write them when it likes.  All of libcore's waiting
 * for disks is here; qz_sync is set once, before the first output. */
#ifndef QZ_SYNC_H
#define QZ_SYNC_H

#include <stdbool.h>
#include <stdint.h>

extern bool qz_sync;

/* A file's bytes, or a folder's names.  0, or -1 and errno. */
int qz_sync_fd(int fd);
/* The folder in which path lies: a rename is on the disk when its folder is. */
void qz_sync_folder_of(const char *path);
/* The disk begins with these bytes, so that little is left to wait for at the end. */
void qz_sync_begin(int fd, uint64_t from, uint64_t n);

#endif
