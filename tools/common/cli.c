#include "tools/common/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcore/base/num.h"
#include "libcore/io/temp.h"
#include "libcore/shard/shard.h"

bool qz_quiet;
int qz_verbose;
const char *qz_device_name = "auto";
int64_t qz_threads;

static const struct qz_tool *tool;
static bool show_version;

/* What every tool has, after its own rows. */
static const struct qz_opt common[] = {
	{ 'q', "quiet", QZ_OPT_FLAG, &qz_quiet, NULL, "Print errors only.", 0, 0, NULL },
	{ 'v', "verbose", QZ_OPT_FLAG, &qz_verbose, NULL, "Print more about what is done.", 0, 0,
	    NULL },
	{ 'h', "help", QZ_OPT_FLAG, NULL, NULL, "Print this help.", 0, 0, NULL },
	{ 0, "version", QZ_OPT_FLAG, &show_version, NULL,
	    "Print the versions of qz and of the shard format.", 0, 0, NULL },
	QZ_OPT_LAST,
};

enum { OPTS_MAX = 64, LONG_ONLY = 1000 };

void
qz_say(const char *fmt, ...)
{
	va_list ap;

	if (qz_quiet)
		return;
	va_start(ap, fmt);
	fprintf(stderr, "%s: ", tool->name);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

void
qz_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s: ", tool->name);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

void
qz_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "%s: ", tool->name);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n%s: try '%s --help'\n", tool->name, tool->name);
	va_end(ap);
	exit(QZ_EUSAGE);
}

void
qz_die(const struct qz_err *e)
{
	fprintf(stderr, "%s: %s\n", tool->name, e->msg);
	exit(e->code ? e->code : QZ_EIO);
}

bool
qz_on_terminal(int fd)
{
	return isatty(fd) == 1;
}

static const struct qz_opt *
option(int i)
{
	int own = 0;

	while (tool->opts[own].type != QZ_OPT_END)
		own++;
	return i < own ? &tool->opts[i] : &common[i - own];
}

static int
count(void)
{
	int n = 0;

	while (option(n)->type != QZ_OPT_END)
		n++;
	return n;
}

static bool
takes_argument(const struct qz_opt *o)
{
	return o->type != QZ_OPT_FLAG && o->type != QZ_OPT_NO;
}

/* The variable's value, as a person would type it; "" when there is nothing to say. */
static void
default_text(const struct qz_opt *o, char *out, size_t n)
{
	const char *s;

	out[0] = '\0';
	switch (o->type) {
	case QZ_OPT_INT:
		snprintf(out, n, "%lld", (long long)*(int64_t *)o->var);
		break;
	case QZ_OPT_REAL:
		snprintf(out, n, "%g", *(double *)o->var);
		break;
	case QZ_OPT_SIZE:
		if (*(uint64_t *)o->var)
			qz_num_bytes(*(uint64_t *)o->var, out);
		break;
	case QZ_OPT_STR:
		s = *(const char **)o->var;
		if (s)
			snprintf(out, n, "%s", s);
		break;
	default:
		break;
	}
}

/* Up to and with the first full stop that ends a sentence. */
static int
first_sentence(const char *text)
{
	const char *p = text;

	while ((p = strchr(p, '.')) && p[1] && p[1] != ' ')
		p++;
	return p ? (int)(p - text) : (int)strlen(text);
}

static void
print_help(void)
{
	printf("%s - %s\n\nusage: %s [OPTION]... %s\n\n", tool->name, tool->does, tool->name,
	    tool->operands);
	for (int i = 0, n = count(); i < n; i++) {
		const struct qz_opt *o = option(i);
		char left[80], value[160];
		int w;

		w = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
			      : snprintf(left, sizeof left, "      --%s", o->name);
		if (takes_argument(o) && w < (int)sizeof left)
			snprintf(left + w, sizeof left - (size_t)w, " %s", o->arg);
		default_text(o, value, sizeof value);
		printf("%-28s%s%.*s", left,
		    strlen(left) > 27 ? "\n                            " : "",
		    first_sentence(o->text), o->text);
		if (*value && strcmp(value, "0"))
			printf(" [%s]", value);
		putchar('\n');
	}
	if (tool->example)
		printf("\nexample:\n  %s\n", tool->example);
	printf("\nThe manual is %s(1); qz(7) shows whole pipelines.\n", tool->name);
}

/* Tab-separated, for the manual and the completion: letter, name, argument, default, words, text. */
static void
print_table(void)
{
	for (int i = 0, n = count(); i < n; i++) {
		const struct qz_opt *o = option(i);
		char value[160];

		default_text(o, value, sizeof value);
		printf("%c\t%s\t%s\t%s\t%s\t%s\n", o->letter ? o->letter : '-', o->name,
		    takes_argument(o) ? o->arg : "", value, o->words ? o->words : "", o->text);
	}
}

static bool
among(const char *words, const char *value)
{
	size_t n = strlen(value);

	for (const char *w = words; w; w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL)
		if (!strncmp(w, value, n) && (w[n] == '|' || w[n] == '\0'))
			return true;
	return false;
}

static void
add_item(struct qz_list *l, const char *value)
{
	const char **more = realloc(l->items, (l->n + 1) * sizeof *more);

	if (!more)
		qz_usage("out of memory");
	l->items = more;
	l->items[l->n++] = value;
}

static void
set(const struct qz_opt *o, const char *value)
{
	struct qz_err e;
	double real;
	int64_t whole;

	switch (o->type) {
	case QZ_OPT_FLAG:
		if (o->var == &qz_verbose)
			qz_verbose++;
		else
			*(bool *)o->var = true;
		return;
	case QZ_OPT_NO:
		*(bool *)o->var = false;
		return;
	case QZ_OPT_INT:
		if (qz_num_int(value, &whole, &e) < 0)
			qz_usage("--%s: %s", o->name, e.msg);
		if ((double)whole < o->lo || (double)whole > o->hi)
			qz_usage("--%s: %lld is not within %.0f..%.0f", o->name, (long long)whole,
			    o->lo, o->hi);
		*(int64_t *)o->var = whole;
		return;
	case QZ_OPT_REAL:
		if (qz_num_real(value, &real, &e) < 0)
			qz_usage("--%s: %s", o->name, e.msg);
		if (real < o->lo || real > o->hi)
			qz_usage("--%s: %g is not within %g..%g", o->name, real, o->lo, o->hi);
		*(double *)o->var = real;
		return;
	case QZ_OPT_SIZE:
		if (qz_num_size(value, (uint64_t *)o->var, &e) < 0)
			qz_usage("--%s: %s", o->name, e.msg);
		return;
	case QZ_OPT_STR:
		if (o->words && !among(o->words, value))
			qz_usage("--%s: '%s' is none of %s", o->name, value, o->words);
		*(const char **)o->var = value;
		return;
	case QZ_OPT_LIST:
		add_item(o->var, value);
		return;
	case QZ_OPT_END:
		return;
	}
}

static _Noreturn void
print_version(void)
{
	printf("%s (qz) %s, shard format %d.%d\n", tool->name, QZ_VERSION, QZ_SHARD_MAJOR,
	    QZ_SHARD_MINOR);
	if (fflush(stdout) == EOF)
		exit(QZ_EIO);
	exit(QZ_OK);
}

/* Temporary files go, then the signal does what it does by itself. */
static void
on_signal(int sig)
{
	qz_temp_abandon();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* A tool started with stdin, stdout or stderr closed must not get its output's descriptor as one of
 * them: closed ones become /dev/null, stdout one that cannot be written (io/out.c then says so). */
static void
check_descriptors(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
			continue;
		if (open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd)
			exit(QZ_EIO);
	}
}

int
qz_cli(const struct qz_tool *t, int argc, char **argv)
{
	struct option longs[OPTS_MAX + 1] = { { 0 } };
	char shorts[2 * OPTS_MAX + 2] = ":";
	int n, c;

	tool = t;
	check_descriptors();
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	n = count();
	for (int i = 0; i < n; i++) {
		const struct qz_opt *o = option(i);
		size_t at = strlen(shorts);

		longs[i] = (struct option){ o->name, takes_argument(o), NULL, LONG_ONLY + i };
		if (o->letter)
			snprintf(shorts + at, sizeof shorts - at, "%c%s", o->letter,
			    takes_argument(o) ? ":" : "");
	}
	if (argc == 2 && !strcmp(argv[1], "--help=table")) {
		print_table();
		exit(fflush(stdout) == EOF ? QZ_EIO : QZ_OK);
	}
	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		int i = c - LONG_ONLY;

		if (c == ':')
			qz_usage("%s needs an argument", argv[optind - 1]);
		if (c == '?')
			qz_usage("%s is no option", optopt && optopt < LONG_ONLY
							? (char[]){ '-', (char)optopt, 0 }
							: argv[optind - 1]);
		for (int k = 0; c < LONG_ONLY && k < n; k++)
			if (option(k)->letter == c)
				i = k;
		if (option(i)->letter == 'h' && !option(i)->var) {
			print_help();
			exit(fflush(stdout) == EOF ? QZ_EIO : QZ_OK);
		}
		set(option(i), optarg);
	}
	if (show_version)
		print_version();
	return optind;
}
