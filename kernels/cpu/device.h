/* device - the entries of the table that are no ops. */
#ifndef QZ_CPU_DEVICE_H
#define QZ_CPU_DEVICE_H

#include "kernels/cpu/cpu.h"

int CPU(count)(void);
struct qz_dev *CPU(open)(int index, int n_threads, struct qz_err *e);
void CPU(close)(struct qz_dev *d);
void CPU(describe)(struct qz_dev *d, char *text, size_t n);
uint64_t CPU(memory)(struct qz_dev *d);
uint64_t CPU(used)(struct qz_dev *d);
void *CPU(alloc)(struct qz_dev *d, size_t nbytes, struct qz_err *e);
void CPU(free)(struct qz_dev *d, void *p);
void CPU(copy)(struct qz_dev *d, void *to, const void *from, size_t nbytes);
void CPU(side_copy)(struct qz_dev *d, int lane, void *to, const void *from, size_t nbytes);
void CPU(side_wait)(struct qz_dev *d, int lane);
void CPU(fill)(struct qz_dev *d, void *p, int byte, size_t nbytes);
int CPU(sync)(struct qz_dev *d, struct qz_err *e);
size_t CPU(workspace)(struct qz_dev *d, const struct qz_need *need);
void CPU(set_workspace)(struct qz_dev *d, void *p, size_t nbytes);
bool CPU(attention_parts)(struct qz_dev *d, const struct qz_need *need, int parts);
void CPU(attention_name)(struct qz_dev *d, const struct qz_need *need, char *text, size_t n);

extern const struct qz_backend CPU(backend);

#endif
