/* pc_private.h - the machine's struct, shared by pc.c (parts and wires), pc_run.c (threads, time, power) and
 * pc_cmos.c. */
#ifndef SHADOW86_PC_PRIVATE_H
#define SHADOW86_PC_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cpu/cpu.h"
#include "devices/coprocessor.h"
#include "devices/fdc.h"
#include "devices/fw_cfg.h"
#include "devices/hpet.h"
#include "devices/i440fx.h"
#include "devices/i8042.h"
#include "devices/i8237.h"
#include "devices/i8254.h"
#include "devices/i8259.h"
#include "devices/ide.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/mc146818.h"
#include "devices/pc.h"
#include "devices/piix3.h"
#include "devices/piix4_pm.h"
#include "devices/vga.h"

enum { PC_GSIS = 24 };

struct pc {
    /* blocks and chardevs in it are cleared when a device or pc.c has taken them over */
    struct pc_config cfg;
    struct clock *clock;
    struct ram *ram, *bios, *vga_rom;
    u64 bios_size, ram_below_4g, ram_above_4g;
    struct physmap *phys;
    struct region regions[6];       /* RAM and ROM */
    unsigned region_count;
    struct bus *bus;
    struct pci_bus *pci;
    struct vcpu *cpu;
    struct chardev *chardevs[PC_MAX_SERIAL + 1];

    struct i8259 *pic;
    struct i8254 *pit;
    struct mc146818 *rtc;
    struct lapic *lapic;
    struct lapic_bus apic_bus;
    struct ioapic *ioapic;
    struct hpet *hpet;
    struct i440fx *host;
    struct piix3 *piix3;
    struct piix4_pm *pm;
    struct ide *ide;
    struct i8042 *kbc;
    struct coprocessor *coprocessor;
    struct i8237 *dma;
    struct fdc *fdc;
    struct vga *vga;
    struct fw_cfg *fw_cfg;

    bool has_apic;                  /* CPUID.APIC of the model */
    bool a20;
    bool intr;                      /* INTR as the CPU was last told */
    bool hpet_legacy;               /* IRQ 0 and 8 belong to the HPET */
    bool pit_level, rtc_level;
    u8 gsi_sources[PC_GSIS];        /* who drives each line high: bits of enum pc_source (pc.c) */

    /* pc_run.c */
    pthread_t thread;
    bool started;
    pthread_mutex_t run_mutex;      /* guards the flags below */
    pthread_cond_t run_changed;
    bool paused, quitting, standing, reset_pending;
    pthread_mutex_t sleep_mutex;    /* HLT */
    pthread_cond_t sleep_wake;
    atomic_bool sleeping;
    _Atomic int exit_state;         /* enum pc_exit, the process's exit status from bit 8 on */
    void (*_Atomic wake)(void *ctx);
    void *_Atomic wake_ctx;
    bool timers_run;            /* under the machine lock: pc_run_timers is at it and looks at the deadline afterwards */
};

/* pc_run.c */
extern const struct cpu_host pc_cpu_host;
void pc_run_init(struct pc *p);
void pc_run_fini(struct pc *p);             /* stops the vCPU's thread */
void pc_hard_reset(struct pc *p);           /* RESET# for everything, soon */
void pc_soft_reset(struct pc *p);           /* INIT# of the CPU: keyboard controller, port 92h; lock held */
void pc_finish(struct pc *p, enum pc_exit why, int status);    /* the first caller wins */
void pc_intr(void *pc, int n, bool level);  /* irq_fn: the CPU's INTR */
bool pc_lock(void);                         /* takes the machine lock unless this thread has it; false: it had */
void pc_unlock(bool taken);

/* pc_cmos.c */
void pc_cmos_fill(struct pc *p);

#endif
