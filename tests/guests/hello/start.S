/* start.S - entry of the built-in guest: Multiboot header, stack, GDT, interrupt stubs.
 * Multiboot Specification 0.6.96, section 3. */
#define MAGIC 0x1badb002
#define FLAGS 0x00000003        /* modules page-aligned, memory map wanted */

#ifdef PVH                      /* the same guest as a PVH kernel: no Multiboot header, a Xen note instead */
        .section .note.Xen, "a", @note
        .align 4
        .long 4, 4, 18          /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long pvh_start
#else
        .section .multiboot, "a"
        .align 4
        .long MAGIC, FLAGS, -(MAGIC + FLAGS)
#endif

        .text
        .globl _start
#ifdef PVH
pvh_start:                      /* xen/include/public/arch-x86/hvm/start_info.h: EBX = struct hvm_start_info */
        movl (%ebx), %eax       /* its magic, 0x336ec578 */
#endif
_start:
        movl $stack_top, %esp
        lgdt gdt_pointer
        ljmp $0x08, $1f
1:      movl $0x10, %ecx
        movl %ecx, %ds
        movl %ecx, %es
        movl %ecx, %fs
        movl %ecx, %gs
        movl %ecx, %ss
        pushl %ebx              /* multiboot information */
        pushl %eax              /* 0x2badb002 */
        call main
2:      cli
        hlt
        jmp 2b

/* Exceptions 0..31 and IRQs 0..15 (vectors 32..47): a stub each, 16 bytes apart. All push an error code or 0. */
        .align 16
        .globl stubs
stubs:
        .set n, 0
        .rept 48
        .align 16
        .if (n != 8) && (n != 10) && (n != 11) && (n != 12) && (n != 13) && (n != 14) && (n != 17)
        pushl $0
        .endif
        pushl $n
        jmp common
        .set n, n + 1
        .endr

common:
        pusha
        cld
        pushl %esp              /* struct frame * */
        call interrupt
        addl $4, %esp
        popa
        addl $8, %esp
        iret

        .data
        .align 8
gdt:    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
        .word gdt_pointer - gdt - 1
        .long gdt

        .bss
        .align 16
        .skip 16384
stack_top:
