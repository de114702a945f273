/* options_private.h - shared by options.c (table, -h) and options_*.c (opt_<handler> for options.def's handlers). */
#ifndef SHADOW86_OPTIONS_PRIVATE_H
#define SHADOW86_OPTIONS_PRIVATE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/options.h"

struct parse { struct options *o; const char *option; char *err; size_t errlen; };

#define GROUP(title)
#define OPT(name, syntax, handler, help) bool opt_##handler(struct parse *p, const char *arg);
#include "frontend/options.def"
#undef OPT
#undef GROUP

/* "-OPTION ARG: why" into err; false. */
bool option_wrong(struct parse *p, const char *arg, const char *why);
/* keyvals.c's functions, with the option's name in front of what they complain about. */
bool option_keys(struct parse *p, struct keyvals *k, const char *arg, const char *implied);
bool option_bool(struct parse *p, struct keyvals *k, const char *arg, const char *key, bool *value);
bool option_keys_done(struct parse *p, struct keyvals *k);
/* Keys that QEMU has for the tuning of its host side, which change nothing that a guest sees: taken and ignored. */
void option_ignore(struct keyvals *k, const char *const *keys);
/* The line is printed, the run ends with status 0. */
bool option_print(struct parse *p, const char *text);

#endif
