/* host_entry.S - into the state under test and out of it. host.c tells how it works.
 *
 * host_enter(frame): saves C's registers, loads the segment registers and flags that a signal frame does not carry, and
 *     lets rt_sigreturn load everything else. It "returns" when host_signal_entry does.
 * host_signal_entry(signo, info, context): notes segment registers and bases, gives C its own (nothing that C code
 *     relies on is sane here: FS base, flags), calls host_on_signal, and returns to whoever called host_enter.
 */
#if defined(__x86_64__)
/* struct host_live in host.c */
#define LIVE_ES 0
#define LIVE_DS 2
#define LIVE_FS 4
#define LIVE_GS 6
#define LIVE_FSBASE 8
#define LIVE_GSBASE 16
#define LIVE_FLAGS 24
#define LIVE_SET_BASES 32
#define LIVE_OWN_FSBASE 40
#define LIVE_OWN_RSP 48
#define SYS_RT_SIGRETURN 15

    .text
    .globl host_enter
    .type host_enter, @function
host_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    leaq host_live(%rip), %r8
    movq %rsp, LIVE_OWN_RSP(%r8)
    pushq LIVE_FLAGS(%r8)
    popfq
    movzwl LIVE_ES(%r8), %eax
    movl %eax, %es
    movzwl LIVE_DS(%r8), %eax
    movl %eax, %ds
    movzwl LIVE_FS(%r8), %eax
    movl %eax, %fs
    movzwl LIVE_GS(%r8), %eax
    movl %eax, %gs
    cmpq $0, LIVE_SET_BASES(%r8)
    je 1f
    movq LIVE_FSBASE(%r8), %rax
    wrfsbase %rax
    movq LIVE_GSBASE(%r8), %rax
    wrgsbase %rax
1:  movq %rdi, %rsp
    movl $SYS_RT_SIGRETURN, %eax
    syscall
    ud2
    .size host_enter, .-host_enter

/* A first signal, which has a frame to copy. */
    .globl host_take_frame
    .type host_take_frame, @function
host_take_frame:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, LIVE_OWN_RSP+host_live(%rip)
    int3
    ud2
    .size host_take_frame, .-host_take_frame

    .globl host_signal_entry
    .type host_signal_entry, @function
host_signal_entry:
    pushq $0x202
    popfq
    leaq host_live(%rip), %r8
    movw %es, LIVE_ES(%r8)
    movw %ds, LIVE_DS(%r8)
    movw %fs, LIVE_FS(%r8)
    movw %gs, LIVE_GS(%r8)
    rdfsbase %rax
    movq %rax, LIVE_FSBASE(%r8)
    rdgsbase %rax
    movq %rax, LIVE_GSBASE(%r8)
    xorl %eax, %eax
    movl %eax, %es
    movl %eax, %ds
    movl %eax, %fs
    movl %eax, %gs
    movq LIVE_OWN_FSBASE(%r8), %rax
    wrfsbase %rax
    subq $8, %rsp
    call host_on_signal
    movq LIVE_OWN_RSP+host_live(%rip), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
    .size host_signal_entry, .-host_signal_entry
#endif
    .section .note.GNU-stack, "", @progbits
