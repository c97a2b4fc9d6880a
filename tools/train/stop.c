#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "libcore/io/temp.h"
#include "tools/train/train.h"

volatile int train_stop;

/* On a terminal there stands ^C already, or a meter. */
static const char own_line[] =
    "\nqz-train: stopping with a checkpoint; the same again ends it at once\n";
static const char *text = own_line;

static void
on_signal(int sig)
{
	if (train_stop) {
		qz_temp_abandon();
		signal(sig, SIG_DFL);
		raise(sig);
		return;
	}
	train_stop = sig;
	if (!qz_quiet && write(2, text, strlen(text)) < 0)
		return;
}

void
train_catch_signals(void)
{
	static const int which[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction a = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	text = own_line + !qz_on_terminal(STDERR_FILENO);
	for (size_t i = 0; i < sizeof which / sizeof *which; i++)
		sigaction(which[i], &a, NULL);
}
