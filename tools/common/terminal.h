/* terminal - how wide it is. */
#ifndef QZ_TERMINAL_H
#define QZ_TERMINAL_H

#include <sys/ioctl.h>

/* Columns of the terminal behind fd; 0: it is none, or does not tell. */
static inline int
qz_terminal_columns(int fd)
{
	struct winsize w;

	return ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

#endif
