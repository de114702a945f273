/* fwcfg_options.h - options that become contents of fw_cfg: -fw_cfg, -boot once=, -nographic. */
#ifndef SHADOW86_FWCFG_OPTIONS_H
#define SHADOW86_FWCFG_OPTIONS_H

#include "frontend/options.h"

/* Puts them into the machine, which has not started. False: a file of -fw_cfg cannot be read, one line in err. */
bool fwcfg_options_apply(struct pc *pc, const struct options *o, char *err, size_t errlen);

#endif
