/* start.S - entry of the benchmark kernel: Multiboot header, then 64-bit mode with the first GiB mapped by large pages. */
#define MAGIC 0x1badb002
#define FLAGS 0x00000003

        .section .multiboot, "a"
        .align 4
        .long MAGIC, FLAGS, -(MAGIC + FLAGS)

        .text
        .code32
        .globl _start
_start:
        movl $stack_top, %esp
        movl 16(%ebx), %edi             /* the command line */
        movl $tables, %eax
        leal 4096+3(%eax), %ecx
        movl %ecx, (%eax)
        leal 8192+3(%eax), %ecx
        movl %ecx, 4096(%eax)
        movl $0x83, %ecx                /* present, writable, 2 MiB */
        xorl %edx, %edx
1:      movl %ecx, 8192(%eax,%edx,8)
        addl $0x200000, %ecx
        incl %edx
        cmpl $512, %edx
        jne 1b
        movl %eax, %cr3
        movl $0x620, %eax               /* PAE, SSE */
        movl %eax, %cr4
        movl $0xc0000080, %ecx          /* EFER.LME */
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl %cr0, %eax
        andl $~4, %eax
        orl $0x80000003, %eax
        movl %eax, %cr0
        lgdt gdt_pointer
        ljmp $0x08, $2f
        .code64
2:      movl $0x10, %ecx
        movl %ecx, %ds
        movl %ecx, %es
        movl %ecx, %ss
        movl %edi, %edi
        call kernel_main
3:      hlt
        jmp 3b

        .data
        .align 8
gdt:    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
        .word gdt_pointer - gdt - 1
        .long gdt

        .bss
        .align 4096
tables: .skip 3 * 4096
        .skip 65536
stack_top:

        .section .note.GNU-stack, "", @progbits
