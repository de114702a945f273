/* pc_run.c - the machine in motion: the vCPU's thread, what the CPU asks of the machine, pause, reset, power-off.
 *
 * One thread runs the vCPU. It leaves cpu_run when CPU_STOP is requested and then looks at the flags under run_mutex:
 * quit, pause, reset. So resets asked for by any device on any thread happen on the vCPU's thread between two
 * instructions.
 *
 * Two kinds of reset, as on the board: a hard one (CF9h with bit 1, the front end's button) resets every chip and the
 * CPU; a soft one (keyboard controller, port 92h, CF9h without bit 1, and the CPU's shutdown cycle) is INIT# of the
 * CPU alone, which is how 286 software returns to real mode: the BIOS looks at CMOS 0Fh. With no_reboot either ends
 * the run, a soft one only if that byte does not ask for anything else than a reboot.
 *
 * Time: with the host clock, timers run on the main loop's thread (pc_run_timers). With the instruction clock they
 * run here, when the CPU's instruction count reaches the next deadline (CPU_TIMER), and HLT jumps to it.
 */
#include <stdio.h>
#include <string.h>

#include "devices/pc_private.h"

enum { CMOS_SHUTDOWN = 0x0f };

bool pc_lock(void)
{
    if (machine_locked_by_me())
        return false;
    machine_lock();
    return true;
}

void pc_unlock(bool taken)
{
    if (taken)
        machine_unlock();
}

static void wake_main_loop(struct pc *p)
{
    void (*wake)(void *ctx) = atomic_load(&p->wake);
    if (wake)
        wake(atomic_load(&p->wake_ctx));
}

/* ------------------------------------------------------------------------------------------- exit and resets ----- */

void pc_finish(struct pc *p, enum pc_exit why, int status)
{
    int running = PC_RUNNING;
    if (!atomic_compare_exchange_strong(&p->exit_state, &running, (int)why | status << 8))
        return;
    if (p->cpu)
        cpu_request(p->cpu, CPU_STOP);
    wake_main_loop(p);
}

void pc_hard_reset(struct pc *p)
{
    if (p->cfg.no_reboot) {
        pc_finish(p, PC_RESET_EXIT, 0);
        return;
    }
    pthread_mutex_lock(&p->run_mutex);
    p->reset_pending = true;
    pthread_mutex_unlock(&p->run_mutex);
    cpu_request(p->cpu, CPU_STOP);
}

static void init_cpu(struct pc *p, enum pc_exit if_no_reboot)
{
    if (p->cfg.no_reboot && !mc146818_get(p->rtc, CMOS_SHUTDOWN)) {
        pc_finish(p, if_no_reboot, 0);
        return;
    }
    lapic_init_reset(p->lapic);
    cpu_request(p->cpu, CPU_INIT);
}

void pc_soft_reset(struct pc *p)
{
    init_cpu(p, PC_RESET_EXIT);
}

static void reset_everything(struct pc *p)
{
    machine_lock();
    bus_reset(p->bus);
    machine_unlock();
    vcpu_reset(p->cpu);
}

/* ----------------------------------------------------------------------------------------- what the CPU asks ----- */

static u32 host_port_in(void *ctx, u16 port, unsigned bytes)
{
    struct pc *p = ctx;
    machine_lock();
    u32 v = bus_io_read(p->bus, port, bytes);
    machine_unlock();
    return v;
}

static void host_port_out(void *ctx, u16 port, unsigned bytes, u32 value)
{
    struct pc *p = ctx;
    machine_lock();
    bus_io_write(p->bus, port, bytes, value);
    machine_unlock();
}

void pc_intr(void *pc, int n, bool level)
{
    struct pc *p = pc;
    if (level == p->intr || !p->cpu)
        return;
    p->intr = level;
    if (level)
        cpu_request(p->cpu, CPU_INTR);
    else
        cpu_clear_request(p->cpu, CPU_INTR);
}

static int host_interrupt_ack(void *ctx)
{
    struct pc *p = ctx;
    machine_lock();
    int vector = lapic_ack(p->lapic);
    if (vector == LAPIC_ACK_EXTINT)
        vector = i8259_ack(p->pic);
    machine_unlock();
    return vector < 0 ? -1 : vector;
}

static u64 host_tsc(void *ctx)
{
    struct pc *p = ctx;
    static_assert(CPU_TSC_HZ % NS_PER_SEC == 0, "whole ticks per nanosecond");
    return clock_now(p->clock) * (CPU_TSC_HZ / NS_PER_SEC);
}

static u64 host_apic_read_msr(void *ctx, u32 msr)
{
    struct pc *p = ctx;
    machine_lock();
    u64 v = lapic_read_msr(p->lapic, msr);
    machine_unlock();
    return v;
}

static void host_apic_write_msr(void *ctx, u32 msr, u64 value)
{
    struct pc *p = ctx;
    machine_lock();
    lapic_write_msr(p->lapic, msr, value);
    machine_unlock();
}

static void host_apic_set_base(void *ctx, u64 base)
{
    struct pc *p = ctx;
    if (!p->lapic)
        return;
    bool taken = pc_lock();
    lapic_set_base(p->lapic, p->has_apic ? base : base & ~(u64)0xc00);
    pc_unlock(taken);
}

static void host_ferr(void *ctx, bool level)
{
    struct pc *p = ctx;
    machine_lock();
    coprocessor_ferr(p->coprocessor, level);
    machine_unlock();
}

static void host_shutdown(void *ctx)
{
    machine_lock();
    init_cpu(ctx, PC_TRIPLE_FAULT);
    machine_unlock();
}

/* ---------------------------------------------------------------------------------------------- HLT and time ----- */

static void host_kick(void *ctx)
{
    struct pc *p = ctx;
    if (!atomic_load(&p->sleeping))
        return;
    pthread_mutex_lock(&p->sleep_mutex);
    pthread_cond_signal(&p->sleep_wake);
    pthread_mutex_unlock(&p->sleep_mutex);
}

/* `sleeping` is set before the requests are looked at, and requests are set before host_kick looks at it: one of the
 * two sees the other. */
static void sleep_for_request(struct pc *p)
{
    pthread_mutex_lock(&p->sleep_mutex);
    atomic_store(&p->sleeping, true);
    while (!cpu_has_request(p->cpu))
        pthread_cond_wait(&p->sleep_wake, &p->sleep_mutex);
    atomic_store(&p->sleeping, false);
    pthread_mutex_unlock(&p->sleep_mutex);
}

/* Instruction clock, lock held: the count at which the next timer is due. */
static void icount_set_limit(struct pc *p)
{
    u64 deadline = clock_deadline(p->clock), now = clock_now(p->clock);
    if (deadline == TIMER_NEVER) {
        cpu_set_icount_limit(p->cpu, UINT64_MAX);
        return;
    }
    u64 ns = deadline > now ? deadline - now : 0, step = 1ull << p->cfg.icount_shift;
    u64 count = ns / step + (ns % step != 0);
    cpu_set_icount_limit(p->cpu, cpu_icount(p->cpu) + (count ? count : 1));
}

static void host_timer_due(void *ctx)
{
    struct pc *p = ctx;
    if (!clock_is_icount(p->clock))
        return;
    machine_lock();
    clock_run(p->clock);
    icount_set_limit(p);
    machine_unlock();
}

static void host_wait(void *ctx)
{
    struct pc *p = ctx;
    if (clock_is_icount(p->clock) && !cpu_has_request(p->cpu)) {
        machine_lock();
        u64 deadline = clock_deadline(p->clock), now = clock_now(p->clock);
        if (deadline != TIMER_NEVER) {
            if (deadline > now)
                clock_skip(p->clock, deadline - now);
            clock_run(p->clock);
            icount_set_limit(p);
        }
        machine_unlock();
        if (deadline != TIMER_NEVER)
            return;                     /* the CPU looks at its requests and comes back */
    }
    sleep_for_request(p);
}

const struct cpu_host pc_cpu_host = {
    .port_in = host_port_in, .port_out = host_port_out, .interrupt_ack = host_interrupt_ack, .tsc = host_tsc,
    .wait = host_wait, .timer_due = host_timer_due, .apic_read_msr = host_apic_read_msr,
    .apic_write_msr = host_apic_write_msr, .apic_set_base = host_apic_set_base, .ferr = host_ferr,
    .shutdown = host_shutdown, .kick = host_kick,
};

static u64 icount_of(void *ctx)
{
    struct pc *p = ctx;
    return p->cpu ? cpu_icount(p->cpu) : 0;
}

static void deadline_moved(void *ctx)
{
    struct pc *p = ctx;
    if (!clock_is_icount(p->clock)) {
        if (!p->timers_run)
            wake_main_loop(p);
    } else if (p->cpu) {
        cpu_request(p->cpu, CPU_TIMER);
    }
}

void pc_set_wake(struct pc *p, void (*wake)(void *ctx), void *ctx)
{
    atomic_store(&p->wake_ctx, ctx);
    atomic_store(&p->wake, wake);
}

u64 pc_run_timers(struct pc *p)
{
    if (clock_is_icount(p->clock) || pc_is_paused(p))
        return TIMER_NEVER;
    bool taken = pc_lock();
    p->timers_run = true;
    clock_run(p->clock);
    p->timers_run = false;
    u64 deadline = clock_deadline(p->clock), now = clock_now(p->clock);
    pc_unlock(taken);
    if (deadline == TIMER_NEVER)
        return TIMER_NEVER;
    return deadline > now ? deadline - now : 0;
}

/* --------------------------------------------------------------------------------------- the vCPU's thread ----- */

static void *vcpu_thread(void *arg)
{
    struct pc *p = arg;
    pthread_mutex_lock(&p->run_mutex);
    while (!p->quitting) {
        if (p->paused || atomic_load(&p->exit_state) != PC_RUNNING) {
            p->standing = true;
            pthread_cond_broadcast(&p->run_changed);
            pthread_cond_wait(&p->run_changed, &p->run_mutex);
            continue;
        }
        bool reset = p->reset_pending;
        p->standing = p->reset_pending = false;
        pthread_mutex_unlock(&p->run_mutex);
        machine_lock();
        cpu_attach(p->cpu);
        machine_unlock();
        if (reset)
            reset_everything(p);
        else
            cpu_run(p->cpu);
        pthread_mutex_lock(&p->run_mutex);
    }
    p->standing = true;
    pthread_cond_broadcast(&p->run_changed);
    pthread_mutex_unlock(&p->run_mutex);
    return NULL;
}

void pc_run_init(struct pc *p)
{
    pthread_mutex_init(&p->run_mutex, NULL);
    pthread_cond_init(&p->run_changed, NULL);
    pthread_mutex_init(&p->sleep_mutex, NULL);
    pthread_cond_init(&p->sleep_wake, NULL);
    p->standing = true;
    if (p->cfg.icount)
        clock_use_icount(p->clock, p->cfg.icount_shift, icount_of, p);
    clock_set_wake(p->clock, deadline_moved, p);
}

bool pc_start(struct pc *p, char *err, size_t errlen)
{
    if (p->started)
        return true;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 8u << 20);
    p->standing = p->paused;
    if (!p->paused) {
        bool taken = pc_lock();
        clock_resume(p->clock);
        pc_unlock(taken);
    }
    int e = pthread_create(&p->thread, &attr, vcpu_thread, p);
    pthread_attr_destroy(&attr);
    if (e) {
        snprintf(err, errlen, "cannot start the CPU's thread: %s", strerror(e));
        return false;
    }
    pthread_setname_np(p->thread, "vcpu0");
    p->started = true;
    if (p->cfg.icount)
        cpu_request(p->cpu, CPU_TIMER);
    return true;
}

void pc_pause(struct pc *p)
{
    bool locked = machine_locked_by_me();
    if (locked)
        machine_unlock();               /* the vCPU may wait for it on its way to a stop */
    pthread_mutex_lock(&p->run_mutex);
    p->paused = true;
    if (p->started)
        cpu_request(p->cpu, CPU_STOP);
    while (p->started && !p->standing)
        pthread_cond_wait(&p->run_changed, &p->run_mutex);
    pthread_mutex_unlock(&p->run_mutex);
    machine_lock();
    clock_pause(p->clock);
    if (!locked)
        machine_unlock();
}

void pc_pause_soon(struct pc *p)
{
    pthread_mutex_lock(&p->run_mutex);
    p->paused = true;
    pthread_mutex_unlock(&p->run_mutex);
    bool taken = pc_lock();
    clock_pause(p->clock);
    pc_unlock(taken);
    cpu_request(p->cpu, CPU_STOP);
}

void pc_resume(struct pc *p)
{
    bool taken = pc_lock();
    clock_resume(p->clock);
    pc_unlock(taken);
    pthread_mutex_lock(&p->run_mutex);
    p->paused = false;
    pthread_cond_broadcast(&p->run_changed);
    pthread_mutex_unlock(&p->run_mutex);
    wake_main_loop(p);
}

bool pc_is_paused(const struct pc *p)
{
    struct pc *q = (struct pc *)p;
    pthread_mutex_lock(&q->run_mutex);
    bool paused = p->paused;
    pthread_mutex_unlock(&q->run_mutex);
    return paused;
}

void pc_run_fini(struct pc *p)
{
    if (p->started) {
        pthread_mutex_lock(&p->run_mutex);
        p->quitting = true;
        cpu_request(p->cpu, CPU_STOP);
        pthread_cond_broadcast(&p->run_changed);
        pthread_mutex_unlock(&p->run_mutex);
        pthread_join(p->thread, NULL);
    }
    pthread_mutex_destroy(&p->run_mutex);
    pthread_cond_destroy(&p->run_changed);
    pthread_mutex_destroy(&p->sleep_mutex);
    pthread_cond_destroy(&p->sleep_wake);
}

void pc_reset(struct pc *p)
{
    pc_hard_reset(p);
}

void pc_powerbutton(struct pc *p)
{
    bool taken = pc_lock();
    piix4_pm_powerbutton(p->pm);
    pc_unlock(taken);
}

void pc_quit(struct pc *p)
{
    pc_finish(p, PC_QUIT, 0);
}

enum pc_exit pc_exit_state(const struct pc *p, int *status)
{
    int state = atomic_load(&p->exit_state);
    if (status)
        *status = state >> 8;
    return (enum pc_exit)(state & 0xff);
}
