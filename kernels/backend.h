/* backend - "auto", "cpu", "cpu-bf16", "cpu-f64", "cuda", "cuda:1", "cuda-fp16" to an open device.
 * Only tools choose; libcore computes with the device it is given. */
#ifndef QZ_BACKEND_H
#define QZ_BACKEND_H

#include "kernels/kernels.h"

/* auto takes the first GPU when the plugin and a device are there, else the CPU.  QZ_CPU=base|avx2|avx512|
 * avx512bf16 forces a CPU variant (QZ_EDEVICE when this processor lacks it).  cpu-bf16 takes a variant whose
 * large products round their operands to bfloat16; cpu and auto do not.  cuda and auto compute with activations in
 * bfloat16, on a GPU that lacks it in float16, as cuda-fp16 does on every one.  The plugin is qz-cuda.so in
 * $QZ_PLUGINDIR, in ../lib beside the running tool, or in the compiled-in directory; never the current one.
 * n_threads: for the CPU, 0 takes all processors. */
struct qz_dev *qz_device_open(const char *name, int n_threads, struct qz_err *e);
void qz_device_close(struct qz_dev *d); /* NULL is fine */

#endif
