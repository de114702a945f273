/* vcpu.c - a virtual CPU as a whole: making it, reset and INIT, requests from other threads, noting faults, printing.
 *
 * Requests are bits of vcpu.pending, which any thread sets; the vCPU's own thread looks at the word between instructions
 * and acts in cpu_boundary (interrupt.c). SDM 3A 9.1 for the state after reset and INIT.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/log.h"
#include "cpu/vcpu.h"

/* ------------------------------------------------------------------------ a machine that has nothing (tests) --- */

static u32 no_port_in(void *ctx, u16 port, unsigned bytes) { return 0xffffffff >> (32 - 8 * bytes); }
static void no_port_out(void *ctx, u16 port, unsigned bytes, u32 value) { }
static int no_interrupt_ack(void *ctx) { return -1; }
static u64 no_tsc(void *ctx) { return 0; }
static void no_call(void *ctx) { }
static u64 no_apic_read(void *ctx, u32 msr) { return 0; }
static void no_apic_write(void *ctx, u32 msr, u64 value) { }
static void no_apic_base(void *ctx, u64 base) { }
static void no_ferr(void *ctx, bool level) { }

static const struct cpu_host no_host = {
    .port_in = no_port_in, .port_out = no_port_out, .interrupt_ack = no_interrupt_ack, .tsc = no_tsc, .wait = no_call,
    .timer_due = no_call, .apic_read_msr = no_apic_read, .apic_write_msr = no_apic_write,
    .apic_set_base = no_apic_base, .ferr = no_ferr, .shutdown = no_call, .kick = no_call,
};

/* Missing functions do nothing. */
static void host_complete(struct cpu_host *out, const struct cpu_host *host)
{
    *out = host ? *host : no_host;
#define DEFAULT(f) do { if (!out->f) out->f = no_host.f; } while (0)
    DEFAULT(port_in); DEFAULT(port_out); DEFAULT(interrupt_ack); DEFAULT(tsc); DEFAULT(wait); DEFAULT(timer_due);
    DEFAULT(apic_read_msr); DEFAULT(apic_write_msr); DEFAULT(apic_set_base); DEFAULT(ferr); DEFAULT(shutdown);
    DEFAULT(kick);
#undef DEFAULT
}

/* ---------------------------------------------------------------------------------------------- new and free --- */

struct vcpu_box { struct vcpu cpu; struct cpu_host host; };

struct vcpu *vcpu_new(const char *model, struct physmap *phys, const struct cpu_host *host, void *ctx, char *err,
    size_t errlen)
{
    struct cpu_model m;
    if (!cpuid_model(&m, model, err, errlen))
        return NULL;
    size_t size = (sizeof(struct vcpu_box) + 63) & ~(size_t)63;
    struct vcpu_box *box = aligned_alloc(64, size);
    if (!box) {
        snprintf(err, errlen, "no memory for a CPU");
        return NULL;
    }
    memset(box, 0, size);
    struct vcpu *c = &box->cpu;
    host_complete(&box->host, host);
    c->host = &box->host;
    c->host_ctx = ctx;
    c->model = m;
    c->apic_base = 0xfee00000 | 1 << 8;     /* the bootstrap processor: vcpu_reset keeps the bit */
    c->wake_mask = ~0u;
    mmu_init(&c->mmu, phys, m.phys_bits);
    c->mmu.gbpages = cpu_has(&m, CPUID_PDPE1GB);
    if (!icache_new(c)) {
        snprintf(err, errlen, "no memory for the decoded-code cache");
        mmu_fini(&c->mmu);
        free(box);
        return NULL;
    }
    vcpu_reset(c);
    return c;
}

void vcpu_free(struct vcpu *c)
{
    if (!c)
        return;
    if (c->engine)
        c->engine->free(c);
    icache_free(c);
    mmu_fini(&c->mmu);
    free(c);        /* the first member of its box */
}

/* --------------------------------------------------------------------------------------------- reset and INIT --- */

static void reset_segments(struct vcpu *c)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        c->seg[i] = (struct segment){ .limit = 0xffff, .attr = SEG_P | SEG_S | SEG_W | SEG_A };
    c->seg[SEG_CS].sel = 0xf000;
    c->seg[SEG_CS].base = 0xffff0000;
    c->ldtr = (struct segment){ .limit = 0xffff, .attr = SEG_P | SYS_LDT };
    c->tr = (struct segment){ .limit = 0xffff, .attr = SEG_P | SYS_TSS32_BUSY };
    c->gdtr.base = c->idtr.base = 0;
    c->gdtr.limit = c->idtr.limit = 0xffff;
}

/* What RESET# and INIT# have in common. */
static void reset_common(struct vcpu *c)
{
    memset(c->gpr, 0, sizeof c->gpr);
    c->rip = 0xfff0;
    c->rdx = c->model.stepping | (c->model.model & 15) << 4 | (c->model.family > 15 ? 15 : c->model.family) << 8 |
        c->model.model >> 4 << 16 | (c->model.family > 15 ? c->model.family - 15 : 0) << 20;
    rflags_set(c, EFL_1);
    c->cpl = 0;
    c->shadow = SHADOW_NONE;
    c->halted = c->in_shutdown = c->wait_sipi = c->nmi_blocked = false;
    reset_segments(c);
    c->cr2 = c->cr3 = c->cr4 = c->efer = 0;
    memset(c->dr, 0, sizeof c->dr);
    c->dr[6] = 0xffff0ff0;
    c->dr[7] = 0x400;
    c->dr6_pending = 0;
    c->exc_ext = 0;
    c->debugctl = 0;
}

static void reset_finish(struct vcpu *c)
{
    segment_refresh(c);
    sysreg_refresh_mmu(c);
    mmu_flush_all(&c->mmu);
    if (log_on(LOG_CPU_RESET)) {
        char text[4096];
        cpu_print_state(c, text, sizeof text);
        log_print(LOG_CPU_RESET, "%s", text);
    }
}

void vcpu_reset(struct vcpu *c)
{
    u64 bsp = c->apic_base & 1 << 8;
    reset_common(c);
    c->cr0 = CR0_ET | CR0_CD | CR0_NW;
    c->xcr0 = 1;
    c->xss = 0;
    memset(&c->x87, 0, sizeof c->x87);
    c->x87.cw = 0x40;               /* the registers hold +0 and are tagged so, not empty */
    memset(c->vec, 0, sizeof c->vec);
    c->mxcsr = 0x1f80;
    c->star = c->lstar = c->cstar = c->fmask = c->kernel_gs_base = c->tsc_aux = 0;
    c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
    c->pat = 0x0007040600070406;
    c->misc_enable = 1 | (!cpu_has(&c->model, CPUID_MONITOR) ? 0 : 1 << 18) | 1 << 11 | 1 << 12;   /* no BTS, no PEBS */
    c->tsc_offset = c->tsc_deadline = 0;
    c->mtrr_def_type = 0;
    memset(c->mtrr_phys, 0, sizeof c->mtrr_phys);
    memset(c->mtrr_fixed, 0, sizeof c->mtrr_fixed);
    c->mcg_status = 0;
    memset(c->mc_bank, 0, sizeof c->mc_bank);
    c->feature_control = c->spec_ctrl = c->hwcr = c->syscfg = 0;
    c->sipi_vector = 0;
    c->apic_base = 0xfee00000 | 1 << 11 | bsp;
    c->host->apic_set_base(c->host_ctx, c->apic_base);
    c->wait_sipi = !bsp;
    reset_finish(c);
}

void vcpu_init_signal(struct vcpu *c)
{
    u64 cr0 = c->cr0;
    reset_common(c);
    c->cr0 = CR0_ET | (cr0 & (CR0_CD | CR0_NW));
    c->wait_sipi = !(c->apic_base & 1 << 8);
    reset_finish(c);
}

/* ---------------------------------------------------------------------------------------------------- requests --- */

static const u32 request_bits[] = {
    [CPU_INTR] = PEND_INTR, [CPU_NMI] = PEND_NMI, [CPU_INIT] = PEND_INIT, [CPU_RESET] = PEND_RESET,
    [CPU_STOP] = PEND_STOP, [CPU_SIPI] = PEND_SIPI, [CPU_TIMER] = PEND_TIMER, [CPU_FLUSH] = PEND_FLUSH,
};

void cpu_request(struct vcpu *c, enum cpu_request r)
{
    atomic_fetch_or(&c->pending, request_bits[r]);
    jit_poll(c);
    c->host->kick(c->host_ctx);
}

void cpu_clear_request(struct vcpu *c, enum cpu_request r)
{
    atomic_fetch_and(&c->pending, ~request_bits[r]);
}

bool cpu_has_request(const struct vcpu *c)
{
    return atomic_load(&c->pending) & atomic_load(&c->wake_mask) & ~PEND_TRAP;
}

bool cpu_is_halted(const struct vcpu *c) { return c->halted || c->in_shutdown || c->wait_sipi; }

void cpu_sipi(struct vcpu *c, u8 vector)
{
    c->sipi_vector = vector;        /* the fetch_or in cpu_request publishes it */
    cpu_request(c, CPU_SIPI);
}

/* ----------------------------------------------------------------------------------------------------- running --- */

void cpu_attach(struct vcpu *c) { mmu_attach(&c->mmu); }

void cpu_run(struct vcpu *c)
{
    if (c->engine)
        c->engine->run(c);
    else
        interp_run(c);
}

/* A stop request stays for cpu_run. A halted CPU executes nothing unless something wakes it. */
void cpu_step(struct vcpu *c)
{
    u32 stop = atomic_fetch_and(&c->pending, ~PEND_STOP) & PEND_STOP;
    c->no_sleep = true;
    if ((!atomic_load(&c->pending) && !cpu_is_halted(c)) || cpu_boundary(c))
        interp_step(c);
    c->no_sleep = false;
    cpu_raise(c, stop);
}

u64 cpu_icount(const struct vcpu *c) { return c->icount; }
void cpu_set_icount_limit(struct vcpu *c, u64 limit) { c->icount_limit = limit; }
u64 cpu_tsc(struct vcpu *c) { return c->host->tsc(c->host_ctx) + c->tsc_offset; }

/* ------------------------------------------------------------------------------------------------------ faults --- */

bool cpu_fault(struct vcpu *c, enum exc vector)
{
    c->exc.vector = (u8)vector;
    c->exc.has_error = vector == EXC_AC || vector == EXC_DF;
    c->exc.error = 0;
    return false;
}

bool cpu_fault_code(struct vcpu *c, enum exc vector, u32 error)
{
    bool takes_ext = vector >= EXC_TS && vector <= EXC_GP;      /* SDM 3A 6.13 */
    c->exc.vector = (u8)vector;
    c->exc.has_error = true;
    c->exc.error = error | (takes_ext ? c->exc_ext : 0);
    return false;
}

/* ------------------------------------------------------------------------------------------ direct kernel boot --- */

void cpu_start_flat(struct vcpu *c, const struct cpu_flat_start *s)
{
    c->cr0 = CR0_PE | CR0_ET;
    c->cr4 = c->efer = 0;
    c->cpl = 0;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        unsigned type = i == SEG_CS ? SEG_CODE | SEG_W | SEG_A : SEG_W | SEG_A;
        c->seg[i] = (struct segment){ .limit = 0xffffffff, .sel = i == SEG_CS ? s->cs : s->ds,
                                      .attr = (u16)(SEG_G | SEG_D | SEG_P | SEG_S | type) };
    }
    c->gdtr.base = s->gdt_base;
    c->gdtr.limit = s->gdt_limit;
    c->idtr.base = 0;
    c->idtr.limit = 0;
    c->rax = s->eax, c->rbx = s->ebx, c->rcx = s->ecx, c->rdx = s->edx;
    c->rsi = s->esi, c->rdi = s->edi, c->rbp = s->ebp, c->rsp = s->esp;
    c->rip = s->eip;
    rflags_set(c, EFL_1);
    segment_refresh(c);
    sysreg_refresh_mmu(c);
}

/* --------------------------------------------------------------------------------------------------- printing --- */

struct text { char *at; size_t left; };

static void __attribute__((format(printf, 2, 3))) text_add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->at, t->left, format, args);
    va_end(args);
    if (n <= 0 || !t->left)
        return;
    size_t used = (size_t)n < t->left ? (size_t)n : t->left - 1;
    t->at += used;
    t->left -= used;
}

static const char *mode_name(const struct vcpu *c)
{
    if (in_real_mode(c))
        return "real";
    if (in_v86_mode(c))
        return "virtual-8086";
    if (in_long_mode(c))
        return c->code_size == 8 ? "64-bit" : c->code_size == 4 ? "compatibility, 32-bit" : "compatibility, 16-bit";
    return c->code_size == 4 ? "protected, 32-bit" : "protected, 16-bit";
}

static void print_flags(struct text *t, u64 f)
{
    static const struct { u32 bit; const char *name; } flags[] = {
        { EFL_ID, "ID" }, { EFL_VIP, "VIP" }, { EFL_VIF, "VIF" }, { EFL_AC, "AC" }, { EFL_VM, "VM" }, { EFL_RF, "RF" },
        { EFL_NT, "NT" }, { EFL_OF, "OF" }, { EFL_DF, "DF" }, { EFL_IF, "IF" }, { EFL_TF, "TF" }, { EFL_SF, "SF" },
        { EFL_ZF, "ZF" }, { EFL_AF, "AF" }, { EFL_PF, "PF" }, { EFL_CF, "CF" },
    };
    text_add(t, "RFL=%08x [", (unsigned)f);
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
        if (f & flags[i].bit)
            text_add(t, " %s", flags[i].name);
    text_add(t, " ] IOPL=%u\n", (unsigned)(f >> 12 & 3));
}

static void print_segment(struct text *t, const char *name, const struct segment *s)
{
    text_add(t, "%-4s=%04x %016llx %08x %04x%s\n", name, s->sel, (unsigned long long)s->base, s->limit, s->attr,
        s->unusable ? " unusable" : "");
}

static void print_registers(struct text *t, const struct vcpu *c)
{
    static const char *const names[] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                         "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15" };
    static const u8 order[] = { GPR_RAX, GPR_RBX, GPR_RCX, GPR_RDX, GPR_RSI, GPR_RDI, GPR_RBP, GPR_RSP,
                                8, 9, 10, 11, 12, 13, 14, 15 };
    bool wide = in_long_mode(c);
    for (unsigned i = 0; i < (wide ? 16 : 8); i++)
        text_add(t, wide ? "%s=%016llx%c" : "%s=%08llx%c", names[order[i]], (unsigned long long)c->gpr[order[i]],
            i % 4 == 3 ? '\n' : ' ');
    text_add(t, wide ? "RIP=%016llx " : "RIP=%08llx ", (unsigned long long)c->rip);
}

static void print_vectors(struct text *t, const struct vcpu *c)
{
    text_add(t, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x XCR0=%llx\n", c->x87.cw, c->x87.sw, c->x87.sw >> 11 & 7,
        (u8)~c->x87.empty, c->mxcsr, (unsigned long long)c->xcr0);
    for (unsigned i = 0; i < 8; i++)
        text_add(t, "FPR%u=%016llx %04x%s", i, (unsigned long long)c->x87.r[i].mant, c->x87.r[i].se, i & 1 ? "\n" : " ");
    for (unsigned i = 0; i < (in_long_mode(c) ? 16 : 8); i++)
        text_add(t, "XMM%02u=%016llx%016llx%s", i, (unsigned long long)c->vec[i].q[1], (unsigned long long)c->vec[i].q[0],
            i & 1 ? "\n" : " ");
}

void cpu_print_state(struct vcpu *c, char *buf, size_t size)
{
    static const char *const segments[] = { "ES", "CS", "SS", "DS", "FS", "GS" };
    struct text t = { buf, size };
    if (size)
        buf[0] = 0;
    print_registers(&t, c);
    print_flags(&t, rflags_get(c));
    text_add(&t, "CPL=%u %s%s%s%s\n", c->cpl, mode_name(c), c->halted ? ", halted" : "",
        c->in_shutdown ? ", shut down" : "", c->wait_sipi ? ", waits for SIPI" : "");
    for (unsigned i = 0; i < SEG_COUNT; i++)
        print_segment(&t, segments[i], &c->seg[i]);
    print_segment(&t, "LDT", &c->ldtr);
    print_segment(&t, "TR", &c->tr);
    text_add(&t, "GDT =     %016llx %08x\n", (unsigned long long)c->gdtr.base, c->gdtr.limit);
    text_add(&t, "IDT =     %016llx %08x\n", (unsigned long long)c->idtr.base, c->idtr.limit);
    text_add(&t, "CR0=%08llx CR2=%016llx CR3=%016llx CR4=%08llx\n", (unsigned long long)c->cr0,
        (unsigned long long)c->cr2, (unsigned long long)c->cr3, (unsigned long long)c->cr4);
    for (unsigned i = 0; i < 4; i++)
        text_add(&t, "DR%u=%016llx ", i, (unsigned long long)c->dr[i]);
    text_add(&t, "\nDR6=%016llx DR7=%016llx EFER=%016llx\n", (unsigned long long)c->dr[6],
        (unsigned long long)c->dr[7], (unsigned long long)c->efer);
    print_vectors(&t, c);
}
