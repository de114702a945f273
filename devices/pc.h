/* pc.h - the machine: what it is made of (config), and what the front end can do with it.
 *
 * pc.c is the one place that knows addresses, IRQ numbers and wires. Threads: the caller's thread runs the main loop
 * (frontend/mainloop.c) and the timers; pc_start makes one thread for the vCPU.
 */
#ifndef SHADOW86_PC_H
#define SHADOW86_PC_H

#include "cpu/types.h"
#include "devices/block.h"
#include "devices/chardev.h"
#include "devices/clock.h"
#include "devices/display.h"

#define PC_MAX_SERIAL 4

struct pc_drive { struct block *block; bool cdrom; bool present; };     /* an empty CD drive: present, no block */

struct pc_config {
    u64 ram_bytes;                      /* a multiple of 1 MiB; above 3 GiB (below the PCI hole) continues at 4 GiB */
    const char *cpu_model;              /* -cpu */
    const char *bios_file;              /* NULL: SeaBIOS of the distribution, searched in bios_dirs */
    const char *const *bios_dirs;       /* NULL-terminated (-L first, then the usual places) */
    struct pc_drive ide[4];             /* primary master, slave, secondary master, slave */
    struct pc_drive floppy[2];
    struct chardev *serial[PC_MAX_SERIAL];
    struct chardev *debugcon;           /* port 0x402; NULL: output dropped */
    u16 debugcon_port;                  /* 0: 0x402 */
    bool has_debug_exit;                /* -device isa-debug-exit,iobase=,iosize= */
    u16 debug_exit_port, debug_exit_size;
    const char *vga;                    /* "std" or "none" */
    const char *boot_order;             /* letters of -boot, NULL: "cad" */
    bool boot_menu;
    unsigned boot_menu_timeout_ms;      /* splash time, 0: SeaBIOS's own */
    const char *kernel_file, *initrd_file, *append;     /* direct kernel boot; initrd: for Multiboot, "file args,file args" */
    const void *kernel_image;           /* or an image in memory (the built-in guest) */
    size_t kernel_image_size;
    s64 rtc_offset;                     /* seconds added to host time; -rtc base= */
    bool rtc_localtime;
    bool icount;
    unsigned icount_shift;
    bool no_reboot;                     /* a reset request ends the run */
    const char *fw_cfg_files;           /* reserved for -fw_cfg */
};

enum pc_exit { PC_RUNNING, PC_POWEROFF, PC_RESET_EXIT /* with no_reboot */, PC_DEBUG_EXIT, PC_QUIT, PC_TRIPLE_FAULT };

struct pc;
/* Builds the machine, paused, CPU in reset. NULL and one line in err. Takes over blocks and chardevs (closes them in
 * pc_free), also when it fails. */
struct pc *pc_new(const struct pc_config *cfg, char *err, size_t errlen);
void pc_free(struct pc *p);
bool pc_start(struct pc *p, char *err, size_t errlen);      /* makes the vCPU thread and lets it run */
void pc_pause(struct pc *p);                /* returns when the vCPU stands still; not from the vCPU's thread */
void pc_pause_soon(struct pc *p);           /* any thread, the vCPU's too: does not wait for that */
void pc_resume(struct pc *p);
bool pc_is_paused(const struct pc *p);
void pc_reset(struct pc *p);                /* the reset button */
void pc_powerbutton(struct pc *p);          /* ACPI power button */
void pc_quit(struct pc *p);
/* Not PC_RUNNING: the guest (or pc_quit) ended the run; *status is the process's exit status. */
enum pc_exit pc_exit_state(const struct pc *p, int *status);
/* Called from any thread when the exit state or the timers' deadline changes: the main loop's wake-up. */
void pc_set_wake(struct pc *p, void (*wake)(void *ctx), void *ctx);
u64 pc_run_timers(struct pc *p);            /* main loop: fires what is due; returns ns until the next, TIMER_NEVER if none */

/* for the monitor */
struct vcpu *pc_cpu(struct pc *p);
struct bus *pc_bus(struct pc *p);
struct pci_bus *pc_pci(struct pc *p);
struct physmap *pc_physmap(struct pc *p);
const struct display *pc_display(struct pc *p);     /* NULL with -vga none */
void pc_key(struct pc *p, u16 key, bool down);      /* set-1 scan code; 0xe0xx for extended keys */
void pc_mouse(struct pc *p, int dx, int dy, int dz, unsigned buttons /* 1 left 2 right 4 middle */);
bool pc_change_cd(struct pc *p, unsigned ide_unit, struct block *medium /* NULL: eject */, char *err, size_t errlen);
bool pc_change_floppy(struct pc *p, unsigned unit, struct block *medium, char *err, size_t errlen);

#endif
