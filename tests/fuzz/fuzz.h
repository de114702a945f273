/* fuzz.h - the whole-machine fuzzer: what its files share.
 *
 *   main.c     options, one case after the other
 *   watchdog.c says which case it was when something is wrong, or nothing goes on any more
 *   devices.c  what a hostile guest does to devices: ports, MMIO, PCI configuration, DMA; and time, keys, media
 *   guest.c    what a hostile guest makes the CPU do: modes, tables, code
 *
 * Numbers and instructions come from tests/native (values.c, encode.c).
 */
#ifndef SHADOW86_FUZZ_H
#define SHADOW86_FUZZ_H

#include "cpu/vcpu.h"
#include "devices/pc_private.h"
#include "tests/native/native.h"

struct fuzz {
    struct pc *pc;
    struct timer stop;          /* ends cpu_run */
    bool verbose;
};

/* A guest physical address: mostly RAM, often a border or something that is no RAM. */
u64 fuzz_address(const struct fuzz *f);
u32 fuzz_ram(const struct fuzz *f);         /* an address in the first MiB or two that has RAM behind it */
void fuzz_poke(struct fuzz *f, gpa at, const void *bytes, unsigned n);  /* as a device would */

void fuzz_devices(struct fuzz *f, unsigned actions);
void fuzz_guest_setup(struct fuzz *f);      /* a new world for the CPU */
void fuzz_guest_run(struct fuzz *f);        /* some instructions */
void fuzz_disturb(struct fuzz *f);          /* from outside, while the CPU runs */
/* Says what is going on, for the watchdog, and starts its clock again. */
void fuzz_doing(const char *what);

#endif
