#include "tools/common/meter.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libcore/base/num.h"
#include "tools/common/cli.h"
#include "tools/common/terminal.h"

uint64_t
qz_peak_memory(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kb = 0;
	char line[256];

	if (!f)
		return 0;
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "VmHWM: %llu", &kb) == 1)
			break;
	fclose(f);
	return kb * 1024;
}

void
qz_meter_start(struct qz_meter *m, const char *what, uint64_t total, const char *unit)
{
	*m = (struct qz_meter){ .what = what, .total = total, .unit = unit, .started = qz_clock() };
	m->live = !qz_quiet && qz_on_terminal(STDERR_FILENO);
}

static void
amount(uint64_t n, const char *unit, char out[32])
{
	if (unit)
		snprintf(out, 32, "%llu %s", (unsigned long long)n, unit);
	else
		qz_num_bytes(n, out);
}

static int
columns(void)
{
	int n = qz_terminal_columns(STDERR_FILENO);

	return n > 1 ? n : 80;
}

static void
draw(struct qz_meter *m, double now)
{
	double spent = now - m->started, rate = spent > 0 ? (double)m->done / spent : 0;
	char done[32], speed[32], bar[21], left[48] = "", line[256];
	int filled = m->total ? (int)(20.0 * (double)m->done / (double)m->total) : 0;

	if (filled > 20)
		filled = 20;
	amount(m->done, m->unit, done);
	amount((uint64_t)rate, m->unit, speed);
	memset(bar, ' ', 20);
	memset(bar, '=', (size_t)filled);
	bar[20] = '\0';
	if (m->total && rate > 0 && m->done <= m->total)
		snprintf(left, sizeof left, "  %.0f s left", (double)(m->total - m->done) / rate);
	snprintf(line, sizeof line, "%s [%s] %s  %s/s%s", m->what, bar, done, speed, left);
	/* A line that wrapped could not be wiped: the last column stays free, too. */
	fprintf(stderr, "\r%.*s\033[K", columns() - 1, line);
	fflush(stderr);
}

void
qz_meter_add(struct qz_meter *m, uint64_t n)
{
	double now;

	m->done += n;
	if (!m->live)
		return;
	now = qz_clock();
	if (now - m->drawn < 0.1)
		return;
	m->drawn = now;
	draw(m, now);
}

void
qz_meter_stop(struct qz_meter *m)
{
	if (m->live)
		fputs("\r\033[K", stderr);
	m->live = 0;
}
