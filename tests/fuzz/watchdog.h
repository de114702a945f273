/* watchdog.h - names the case when the process dies, and ends it when it hangs. */
#ifndef SHADOW86_FUZZ_WATCHDOG_H
#define SHADOW86_FUZZ_WATCHDOG_H

void watchdog_start(void);
void watchdog_case(unsigned long long seed);
void watchdog_doing(const char *what);      /* starts the clock again */
void watchdog_rest(void);

#endif
