/* tty.h - the terminal on standard input: raw while a guest or the monitor listens there, as it was at the end. */
#ifndef SHADOW86_TTY_H
#define SHADOW86_TTY_H

#include <stdbool.h>

/* Keys arrive one by one, unchanged. signals: Ctrl-C, Ctrl-\ and Ctrl-Z keep their meaning. Nothing happens if standard
 * input is no terminal. */
void tty_raw(bool signals);
void tty_restore(void);         /* also done at exit */
void tty_continued(void);       /* after SIGCONT: the shell has put its own settings back */

#endif
