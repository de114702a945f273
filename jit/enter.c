/* enter.c - what must be ready before code runs, whatever the host: the memory of the return-address stack.
 *
 * Translated code pushes where a CALL's callee returns to, and a RET jumps there. Where that stack's pointer is kept and how code
 * uses it is the backend's; here is its memory. At its bottom stands the address of the backend's `underflow`. Both ends lie in
 * front of pages without access: a push that runs into the lower one is repaired by the signal handler, which starts the
 * stack anew. Whoever pushes anything but a call's return loses it then.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "jit/jit_private.h"

enum { STACK_BYTES = 1 << 20, GUARD_BYTES = 1 << 16 /* a multiple of all page sizes */, SPARE_BYTES = 4096 };

static _Thread_local u8 *return_stack;     /* lowest usable byte */

/* --- the return-address stack ------------------------------------------------------------------------------------- */

static void stack_reset(u8 *low, u64 *sp)
{
    u64 *top = (u64 *)(low + STACK_BYTES - SPARE_BYTES);
    for (unsigned i = 0; i < 4; i++)
        top[i] = (uintptr_t)*host_backend.underflow;
    *sp = (uintptr_t)top;
}

void jit_reset_returns(struct vcpu *c)
{
    if (c->jit.code_sp)
        stack_reset((u8 *)c->jit.stack, &c->jit.code_sp);
}

void jit_returns_push(struct vcpu *c)
{
    u64 *sp = (u64 *)(uintptr_t)c->jit.code_sp;
    if (!sp)
        return;
    if ((u8 *)sp - c->jit.stack < SPARE_BYTES) {
        jit_reset_returns(c);
        return;
    }
    *--sp = (uintptr_t)*host_backend.underflow;
    c->jit.code_sp = (uintptr_t)sp;
}

void jit_returns_pop(struct vcpu *c)
{
    if (c->jit.code_sp && c->jit.code_sp < (uintptr_t)c->jit.stack + STACK_BYTES - SPARE_BYTES)
        c->jit.code_sp += 8;
}

static u8 *stack_new(void)
{
    u8 *m = mmap(NULL, STACK_BYTES + 2 * GUARD_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m == MAP_FAILED || mprotect(m + GUARD_BYTES, STACK_BYTES, PROT_READ | PROT_WRITE))
        return NULL;
    return m + GUARD_BYTES;
}

static struct sigaction old_action;

/* A call of translated code ran off the end of its stack: it is executed again on an empty one. Everything else is not
 * ours: it happens again and finds who was there before. */
static void on_segv(int sig, siginfo_t *info, void *context)
{
    u8 *at = info->si_addr, *low = return_stack;
    if (low && at < low && at >= low - GUARD_BYTES) {
        u64 sp;
        stack_reset(low, &sp);
        host_backend.set_returns(context, sp);
        return;
    }
    sigaction(sig, &old_action, NULL);
}

/* On a stack of its own: the host's stack pointer may be the one that ran off the end. */
static bool install_handler(void)
{
    static _Thread_local u8 alternate[1 << 16];
    stack_t old, st = { .ss_sp = alternate, .ss_size = sizeof alternate };
    struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    if (sigaltstack(NULL, &old) || (old.ss_flags & SS_DISABLE && sigaltstack(&st, NULL)))
        return false;
    return !sigaction(SIGSEGV, &sa, &old_action);
}

static void stack_ready(struct vcpu *c)
{
    return_stack = stack_new();
    c->jit.stack = return_stack;
    if (!return_stack || !install_handler()) {
        fprintf(stderr, "shadow86: no memory for the translator's stack\n");
        abort();
    }
    stack_reset(return_stack, &c->jit.code_sp);
}

/* --- entering --------------------------------------------------------------------------------------------------------- */

void jit_code_ready(struct vcpu *c)
{
    if (unlikely(!c->jit.code_sp))
        stack_ready(c);
    return_stack = c->jit.stack;
}
