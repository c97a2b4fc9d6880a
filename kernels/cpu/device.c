/* Opening the CPU, its memory and its errors. */
#define _DEFAULT_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/device.h"
#include "libcore/base/buf.h"
#include "libcore/base/memory.h"

int
CPU(count)(void)
{
	return 1;
}

struct qz_dev *
CPU(open)(int index, int n_threads, struct qz_err *e)
{
	struct qz_cpu_dev *c = calloc(1, sizeof *c);

	if (index != 0) {
		free(c);
		qz_fail(e, QZ_EDEVICE, "cpu:%d: there is only one CPU device, 0", index);
		return NULL;
	}
	if (!c) {
		qz_nomem(e, sizeof *c);
		return NULL;
	}
	c->dev.k = &CPU(backend);
	c->pool = qz_pool_new(n_threads, e);
	if (!c->pool) {
		free(c);
		return NULL;
	}
	return &c->dev;
}

void
CPU(close)(struct qz_dev *d)
{
	if (!d)
		return;
	qz_pool_free(cpu_dev(d)->pool);
	free(d);
}

/* The value of the first line of a text file that starts with key; "" when there is none. */
static void
read_line(const char *path, const char *key, char *value, size_t n)
{
	char line[512];
	FILE *f = fopen(path, "re");

	value[0] = '\0';
	if (!f)
		return;
	while (fgets(line, sizeof line, f)) {
		if (strncmp(line, key, strlen(key)))
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(value, n, "%s", line + strlen(key) + strspn(line + strlen(key), ": \t"));
		break;
	}
	fclose(f);
}

void
CPU(describe)(struct qz_dev *d, char *text, size_t n)
{
	char model[128];

	read_line("/proc/cpuinfo", "model name", model, sizeof model);
	snprintf(text, n, "%s: %s, %d thread%s, %.1f GB", d->k->name, model[0] ? model : "CPU",
	    CPU(threads)(d), CPU(threads)(d) == 1 ? "" : "s", (double)CPU(memory)(d) / 1e9);
}

uint64_t
CPU(memory)(struct qz_dev *d)
{
	(void)d;
	return qz_memory_free("");
}

uint64_t
CPU(used)(struct qz_dev *d)
{
	(void)d;
	return 0;
}

void *
CPU(alloc)(struct qz_dev *d, size_t nbytes, struct qz_err *e)
{
	void *p = NULL;

	(void)d;
	if (nbytes <= SIZE_MAX - QZ_CPU_ALIGN)
		p = aligned_alloc(QZ_CPU_ALIGN, qz_round_up(nbytes ? nbytes : 1, QZ_CPU_ALIGN));
	if (!p)
		qz_nomem(e, nbytes);
	else
		qz_huge(
		    p, nbytes); /* gigabytes of weights are a quarter of a second of page faults */
	return p;
}

void
CPU(free)(struct qz_dev *d, void *p)
{
	(void)d;
	free(p);
}

void
CPU(copy)(struct qz_dev *d, void *to, const void *from, size_t nbytes)
{
	(void)d;
	if (nbytes)
		memmove(to, from, nbytes);
}

/* Nothing runs beside anything here: the copy is done when this returns. */
void
CPU(side_copy)(struct qz_dev *d, int lane, void *to, const void *from, size_t nbytes)
{
	(void)lane;
	CPU(copy)(d, to, from, nbytes);
}

void
CPU(side_wait)(struct qz_dev *d, int lane)
{
	(void)d;
	(void)lane;
}

void
CPU(fill)(struct qz_dev *d, void *p, int byte, size_t nbytes)
{
	(void)d;
	if (nbytes)
		memset(p, byte, nbytes);
}

int
CPU(sync)(struct qz_dev *d, struct qz_err *e)
{
	struct qz_cpu_dev *c = cpu_dev(d);

	if (c->err.code == QZ_OK)
		return 0;
	*e = c->err;
	c->err.code = QZ_OK;
	return -1;
}

void
CPU(fail)(struct qz_dev *d, enum qz_code code, const char *fmt, ...)
{
	struct qz_cpu_dev *c = cpu_dev(d);
	char text[256];
	va_list ap;

	if (c->err.code != QZ_OK)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	qz_fail(&c->err, code, "%s", text);
}

void
CPU(run)(struct qz_dev *d, int parts, void (*fn)(void *, int, int), void *arg)
{
	qz_pool_run(cpu_dev(d)->pool, parts, fn, arg);
}

int
CPU(threads)(const struct qz_dev *d)
{
	return qz_pool_threads(((const struct qz_cpu_dev *)d)->pool);
}

/* Ops run one after another, so that they share the same bytes. */
size_t
CPU(workspace)(struct qz_dev *d, const struct qz_need *need)
{
	int threads = CPU(threads)(d);
	size_t n = CPU(linear_need)(threads, need);

	if (n < CPU(attention_need)(threads, need))
		n = CPU(attention_need)(threads, need);
	return n;
}

bool
CPU(attention_parts)(struct qz_dev *d, const struct qz_need *need, int parts)
{
	(void)d;
	(void)need;
	(void)parts;
	return false;
}

void
CPU(attention_name)(struct qz_dev *d, const struct qz_need *need, char *text, size_t n)
{
	(void)d;
	(void)need;
	snprintf(text, n, "qz's, on the CPU");
}

void
CPU(set_workspace)(struct qz_dev *d, void *p, size_t nbytes)
{
	cpu_dev(d)->ws = p;
	cpu_dev(d)->ws_n = nbytes;
}

void *
CPU(ws)(struct qz_dev *d, size_t nbytes, const char *op)
{
	struct qz_cpu_dev *c = cpu_dev(d);

	if (nbytes <= c->ws_n && c->ws)
		return c->ws;
	CPU(fail)(d, QZ_EIO, "%s: needs %zu bytes of workspace, has %zu", op, nbytes, c->ws_n);
	return NULL;
}
