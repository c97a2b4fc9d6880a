/* memory - how much of the machine's memory a process may still take.
 *
 * What the system calls available, within the limits of the control groups (version 1 and 2) that the process
 * is in; page cache counts as free, there as here. */
#ifndef QZ_MEMORY_H
#define QZ_MEMORY_H

#include <stdint.h>

/* Bytes.  root: a folder with proc and sys in it; "" for this machine's own. */
uint64_t qz_memory_free(const char *root);

#endif
