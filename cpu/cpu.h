/* cpu.h - what other folders may call of cpu/.
 *
 * A vCPU runs on one thread. Other threads talk to it only through cpu_request, cpu_clear_request and cpu_kick.
 */
#ifndef SHADOW86_CPU_H
#define SHADOW86_CPU_H

#include "cpu/types.h"
#include "mmu/mmu.h"

struct vcpu;

/* Frequencies that never change: the time-stamp counter, and the clock of the local APIC's timer. CPUID tells guests. */
#define CPU_TSC_HZ 2000000000ull
#define CPU_APIC_HZ 1000000000ull

/* What the CPU needs of the machine around it. Every call is made on the vCPU's thread, without any lock held. */
struct cpu_host {
    u32 (*port_in)(void *ctx, u16 port, unsigned bytes);                /* bytes: 1, 2, 4 */
    void (*port_out)(void *ctx, u16 port, unsigned bytes, u32 value);
    int (*interrupt_ack)(void *ctx);        /* the vector to deliver (0..255), or -1 if the request has gone away */
    u64 (*tsc)(void *ctx);                  /* the time-stamp counter before TSC_ADJUST */
    void (*wait)(void *ctx);                /* HLT: sleeps until vcpu.pending is non-zero or a timer is due */
    void (*timer_due)(void *ctx);           /* PEND_TIMER: run what is due (instruction-count clock) */
    u64 (*apic_read_msr)(void *ctx, u32 msr);           /* x2APIC MSRs 0x800.., CR8 as 0x808 */
    void (*apic_write_msr)(void *ctx, u32 msr, u64 value);
    void (*apic_set_base)(void *ctx, u64 base);         /* IA32_APIC_BASE was written */
    void (*ferr)(void *ctx, bool level);    /* the x87's FERR# (IRQ 13) where CR0.NE is 0 */
    void (*shutdown)(void *ctx);            /* triple fault */
    void (*kick)(void *ctx);                /* may be NULL. Any thread: cpu_request has set a bit, wait() must look again */
};

/* model: a name of -cpu with its +/- features, NULL for the default. On a bad one returns NULL and puts one line into
 * err. The vCPU keeps phys, host and ctx by reference. */
struct vcpu *vcpu_new(const char *model, struct physmap *phys, const struct cpu_host *host, void *ctx, char *err, size_t errlen);
void vcpu_free(struct vcpu *c);
void vcpu_reset(struct vcpu *c);            /* power-on or RESET# state, SDM 3A 9.1; own thread or stopped */
void vcpu_init_signal(struct vcpu *c);      /* INIT# state */

/* Machine lock held: the calling thread is going to run it. */
void cpu_attach(struct vcpu *c);
/* Runs the guest until PEND_STOP is requested (the bit is cleared). */
void cpu_run(struct vcpu *c);
/* Executes exactly one instruction (for tests, the gdb stub). */
void cpu_step(struct vcpu *c);

enum cpu_request { CPU_INTR, CPU_NMI, CPU_INIT, CPU_RESET, CPU_STOP, CPU_SIPI, CPU_TIMER, CPU_FLUSH };
void cpu_request(struct vcpu *c, enum cpu_request r);          /* any thread; wakes a halted CPU through cpu_kick */
void cpu_clear_request(struct vcpu *c, enum cpu_request r);    /* any thread; for the level CPU_INTR */
bool cpu_has_request(const struct vcpu *c);                    /* any bit pending: the host's wait() returns */
bool cpu_is_halted(const struct vcpu *c);
void cpu_sipi(struct vcpu *c, u8 vector);

/* Registers as text ("info registers" of the monitor), at most size bytes. */
void cpu_print_state(struct vcpu *c, char *buf, size_t size);
/* State that loaders set for direct kernel boot: 32-bit flat protected mode, paging off, interrupts off. */
struct cpu_flat_start { u32 eip, eax, ebx, ecx, edx, esi, edi, ebp, esp; u16 cs, ds; u32 gdt_base; u16 gdt_limit; };
void cpu_start_flat(struct vcpu *c, const struct cpu_flat_start *s);
u64 cpu_icount(const struct vcpu *c);
/* Own thread or stopped: host->timer_due is called when the count reaches limit; UINT64_MAX: never. */
void cpu_set_icount_limit(struct vcpu *c, u64 limit);

/* For the monitor and debuggers, on a CPU that stands still (debug.c). */
bool cpu_translate(struct vcpu *c, gla a, gpa *pa);     /* false: not mapped */
/* One instruction at linear address a, in the present mode; returns its length (1 where there is none). */
unsigned cpu_disassemble(struct vcpu *c, gla a, char *buf, size_t size);
gla cpu_pc(const struct vcpu *c);                       /* linear address of the next instruction */
/* A register by name, in lower case: rax..r15, rip, eflags, cs.., fs_base, st0.., xmm0.., fctrl.. (gdb's names of the
 * x87's environment), mxcsr, cr0.., efer, k_gs_base. Little-endian in buf; the number of bytes, 0: no such register.
 * "pc" is cpu_pc's linear address, "rip" the offset in CS. */
#define CPU_REGISTER_MAX 16
unsigned cpu_register_get(const struct vcpu *c, const char *name, u8 buf[CPU_REGISTER_MAX]);
/* False: no such register, or not to be changed from outside (selectors, control registers). */
bool cpu_register_set(struct vcpu *c, const char *name, const u8 buf[CPU_REGISTER_MAX]);
/* Linear memory, no permissions asked. How many bytes were transferred. */
u64 cpu_memory_read(struct vcpu *c, gla a, void *buf, u64 bytes);
u64 cpu_memory_write(struct vcpu *c, gla a, const void *buf, u64 bytes);
unsigned cpu_code_size(const struct vcpu *c);           /* 2, 4, 8 */
bool cpu_in_long_mode(const struct vcpu *c);            /* 64-bit or compatibility */
bool cpu_in_protected_mode(const struct vcpu *c);       /* not virtual-8086 */
bool cpu_knows_long_mode(const struct vcpu *c);         /* the model */

/* What a debugger outside of the guest stops at. Kept beside the guest's state: no byte of memory and no debug register
 * changes, the guest cannot see it. `stopped` is called on the vCPU's thread, in front of the instruction (EXEC) or behind
 * it; it must see to it that CPU_STOP is requested. */
enum cpu_stop { CPU_STOP_NONE, CPU_STOP_EXEC, CPU_STOP_WRITE, CPU_STOP_READ, CPU_STOP_ACCESS, CPU_STOP_STEP };
struct cpu_stopped { enum cpu_stop why; gla at; };
void cpu_debugger_attach(struct vcpu *c, void (*stopped)(void *ctx), void *ctx);
void cpu_debugger_detach(struct vcpu *c);               /* forgets every stop */
bool cpu_debugger_add(struct vcpu *c, enum cpu_stop kind, gla a, u64 bytes);        /* false: too many */
bool cpu_debugger_remove(struct vcpu *c, enum cpu_stop kind, gla a, u64 bytes);     /* false: there is none */
void cpu_debugger_step(struct vcpu *c);                 /* cpu_run stops after one instruction */
void cpu_step_quietly(struct vcpu *c);                  /* cpu_step, but maskable interrupts wait */
struct cpu_stopped cpu_debugger_why(struct vcpu *c);    /* the last stop since the question was asked last */
void cpu_list_models(void (*print)(const char *line, void *ctx), void *ctx);   /* -cpu help */

#endif
