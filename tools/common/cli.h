/* cli - a tool's option table is its parser, its --help, its manual's OPTIONS and its completion.
 *
 * The first sentence of an option's text is what --help shows; the manual shows all.  Defaults are the
 * variables' initial values.  Every tool also has -q -v -h --version (and -d -j where its table has
 * them through QZ_OPT_DEVICE). */
#ifndef QZ_CLI_H
#define QZ_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/err.h"
#include "libcore/io/sync.h"

enum qz_opt_type {
	QZ_OPT_END,
	QZ_OPT_FLAG, /* bool */
	QZ_OPT_NO,   /* bool that the option sets to false: --no-x */
	QZ_OPT_INT,  /* int64_t, within lo..hi */
	QZ_OPT_REAL, /* double, within lo..hi */
	QZ_OPT_SIZE, /* uint64_t: 16G */
	QZ_OPT_STR,  /* const char *; words: the allowed ones, "a|b|c", or NULL */
	QZ_OPT_LIST, /* struct qz_list: may be given several times */
};

struct qz_list {
	const char **items;
	size_t n;
};

struct qz_opt {
	int letter; /* or 0 */
	const char *name;
	enum qz_opt_type type;
	void *var;
	const char *arg;  /* what the argument is called: "FILE" */
	const char *text; /* sentences to the user */
	double lo, hi;
	const char *words;
};

struct qz_tool {
	const char *name;     /* "qz-merge" */
	const char *does;     /* "merge adapters into a model" */
	const char *operands; /* "BASE ADAPTER..." */
	const struct qz_opt *opts;
	const char *example; /* one line, shown by --help */
};

extern bool qz_quiet;              /* -q: no progress, no reports */
extern int qz_verbose;             /* -v: how many */
extern const char *qz_device_name; /* -d */
extern int64_t qz_threads;         /* -j, 0: all processors */

/* The two rows that every tool with a device has. */
#define QZ_OPT_DEVICE                                                                              \
	{ 'd', "device", QZ_OPT_STR, &qz_device_name, "NAME",                                      \
		"Compute on this device: auto, cpu, cpu-bf16, cuda or cuda-fp16, with :N the "     \
		"GPU N. Auto takes a GPU when there is one.",                                      \
		0, 0, NULL },                                                                      \
	{                                                                                          \
		'j', "threads", QZ_OPT_INT, &qz_threads, "N",                                      \
		    "Use N threads; 0, the default, takes all processors. The output does not "    \
		    "depend on it.",                                                               \
		    0, 1024, NULL                                                                  \
	}
/* The row of tools whose output is soon made again.  A training's is not. */
#define QZ_OPT_SYNC                                                                                \
	{                                                                                          \
		0, "no-sync", QZ_OPT_NO, &qz_sync, NULL,                                           \
		    "Do not wait for the disk. The output still appears when it is complete, but " \
		    "a power cut soon after may take it; without this option it is on the disk "   \
		    "when the program ends.",                                                      \
		    0, 0, NULL                                                                     \
	}
#define QZ_OPT_LAST                                                                                \
	{                                                                                          \
		0, NULL, QZ_OPT_END, NULL, NULL, NULL, 0, 0, NULL                                  \
	}

/* Parses; --help and --version print and exit 0, mistakes exit 2 with a message.  Returns the index of
 * the first operand.  SIGPIPE keeps its default, so that `| head` ends a tool quietly; SIGINT, SIGTERM and
 * SIGHUP remove temporary files first. */
int qz_cli(const struct qz_tool *tool, int argc, char **argv);

/* "qz-merge: MESSAGE" and a hint to --help, exit 2. */
_Noreturn void qz_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "qz-merge: MESSAGE", exit with the error's code. */
_Noreturn void qz_die(const struct qz_err *e);
/* "qz-merge: MESSAGE" on stderr, unless -q. */
void qz_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, even with -q: what the user must know. */
void qz_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

bool qz_on_terminal(int fd);

#endif
