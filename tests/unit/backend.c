/* Opening devices by name, the CPU's description, memory and errors. */
#define _GNU_SOURCE
#include "tests/unit/tap.h"
#include "tests/unit/device.h"
#include <unistd.h>

/* A name and QZ_CPU, and what comes: a prefix of the backend's name, or a code and part of the message. */
static void
names(void)
{
	static const struct {
		const char *name, *cpu, *backend, *message;
		enum qz_code code;
	} rows[] = {
		{ "cpu", "", "cpu-", NULL, 0 },
		{ "auto", "base", "cpu-base", NULL, 0 },
		{ "cpu", "base", "cpu-base", NULL, 0 },
		{ "cpu-f64", "base", "cpu-f64", NULL, 0 },
		{ "cpu", "sse9", NULL, "QZ_CPU=sse9: no such variant", QZ_EDEVICE },
		{ "gpu", "", NULL, "device gpu: not one of", QZ_EUSAGE },
		{ "", "", NULL, "device : not one of", QZ_EUSAGE },
		{ "cuda", "", NULL, "device cuda: there is no plugin", QZ_EDEVICE },
		{ "cuda:0", "", NULL, "device cuda:0: there is no plugin", QZ_EDEVICE },
		{ "cuda:x", "", NULL, "what follows cuda:", QZ_EUSAGE },
		{ "cuda:", "", NULL, "what follows cuda:", QZ_EUSAGE },
		{ "cuda:-1", "", NULL, "what follows cuda:", QZ_EUSAGE },
		{ "cuda-fp16", "", NULL, "device cuda-fp16: there is no plugin", QZ_EDEVICE },
		{ "cuda-fp16:0", "", NULL, "device cuda-fp16:0: there is no plugin", QZ_EDEVICE },
		{ "cuda-fp16:x", "", NULL, "what follows cuda-fp16: is not", QZ_EUSAGE },
		{ "cuda-fp1", "", NULL, "not one of", QZ_EUSAGE },
		{ "cuda-fp16x", "", NULL, "not one of", QZ_EUSAGE },
		{ "cudart", "", NULL, "not one of", QZ_EUSAGE },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct qz_err e = { 0 };
		struct qz_dev *d;

		if (rows[i].message && strstr(rows[i].message, "no plugin") &&
		    access(QZ_LIBDIR "/qz-cuda.so", F_OK) == 0) {
			skip("%s: a plugin is installed", rows[i].name);
			continue;
		}
		setenv("QZ_CPU", rows[i].cpu, 1);
		d = qz_device_open(rows[i].name, 1, &e);
		if (rows[i].backend)
			ok(d && !strncmp(d->k->name, rows[i].backend, strlen(rows[i].backend)),
			    "%s, QZ_CPU=%s: %s", rows[i].name, rows[i].cpu, d ? d->k->name : e.msg);
		else
			ok(!d && e.code == rows[i].code && strstr(e.msg, rows[i].message), "%s: %s",
			    rows[i].name, e.msg);
		qz_device_close(d);
	}
}

/* Products of bfloat16 are for who asks for them, and only where they are. */
static void
bf16(void)
{
	struct qz_err e = { 0 };
	struct qz_dev *plain, *d;

	setenv("QZ_CPU", "", 1);
	plain = qz_device_open("cpu", 1, &e);
	ok(plain && !strstr(plain->k->name, "bf16"), "cpu: %s", plain ? plain->k->name : e.msg);
	qz_device_close(plain);
	d = qz_device_open("cpu-bf16", 1, &e);
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx512bf16")) {
		ok(d && !strcmp(d->k->name, "cpu-avx512bf16"), "cpu-bf16: %s",
		    d ? d->k->name : e.msg);
		qz_device_close(d);
		return;
	}
#endif
	ok(!d && e.code == QZ_EDEVICE && strstr(e.msg, "no products of bfloat16"), "%s", e.msg);
}

static void
plugin(void)
{
	char dir[] = "/tmp/qz-plugin-XXXXXX", path[64];
	struct qz_err e = { 0 };
	struct qz_dev *d;
	FILE *f;

	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof path, "%s/qz-cuda.so", dir);
	f = fopen(path, "w");
	fputs("not a library", f);
	fclose(f);
	setenv("QZ_PLUGINDIR", dir, 1);
	setenv("QZ_CPU", "", 1);
	d = qz_device_open("cuda", 1, &e);
	ok(!d && e.code == QZ_EDEVICE && strstr(e.msg, path), "a plugin that is none: %s", e.msg);
	d = qz_device_open("auto", 1, &e);
	ok(d && !strncmp(d->k->name, "cpu-", 4), "auto then takes the CPU");
	qz_device_close(d);
	remove(path);
	rmdir(dir);
	unsetenv("QZ_PLUGINDIR");
}

static void
device(void)
{
	struct qz_err e = { 0 };
	struct qz_dev *d = open_variant("base", 3);
	char text[256];
	char *p = d->k->alloc(d, 1000, &e), to[4] = "";

	d->k->describe(d, text, sizeof text);
	ok(strstr(text, "cpu-base: ") == text && strstr(text, "3 threads"), "%s", text);
	ok(d->k->memory(d) > 1 << 20, "memory: %llu", (unsigned long long)d->k->memory(d));
	ok(p && (uintptr_t)p % 256 == 0, "memory is aligned to 256");
	d->k->fill(d, p, 7, 1000);
	d->k->copy_in(d, p + 1, "ab", 2);
	d->k->copy_out(d, to, p, 4);
	ok(to[0] == 7 && to[1] == 'a' && to[2] == 'b' && to[3] == 7, "fill and copies");
	d->k->free(d, p);
	d->k->free(d, NULL);
	ok(!d->k->alloc(d, SIZE_MAX, &e) && e.code == QZ_EIO, "all of memory: %s", e.msg);
	ok(d->k->abi == QZ_KERNELS_ABI && d->k->size == sizeof *d->k && d->k->complete,
	    "the table says what it is");
	ok(!d->k->open(1, 1, &e) && e.code == QZ_EDEVICE, "there is no second CPU: %s", e.msg);
	qz_device_close(d);
	qz_device_close(NULL);
}

int
main(void)
{
	unsetenv("QZ_PLUGINDIR");
	names();
	bf16();
	plugin();
	device();
	return done();
}
