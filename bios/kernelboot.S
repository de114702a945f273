/* kernelboot.S - our option ROM that starts a directly loaded kernel once the BIOS has set up the machine.
 *
 * SeaBIOS finds it as the fw_cfg file "genroms/kernelboot.bin", sees a PnP header with a bootstrap entry vector (BIOS Boot
 * Specification 1.01, 3.2) and puts it first because "bootorder" names it. The entry then
 *   1. gives the prepared fw_cfg DMA descriptors to the device, one after the other: setup code, kernel, initrd,
 *      information for the kernel, zeros for .bss; the device puts each to its physical address;
 *   2. for Multiboot and PVH: adds what only the BIOS knows (memory map from INT 15h E820, size of low memory,
 *      the place of the ACPI RSDP);
 *   3. enters the kernel: in real mode (Linux) or in flat 32-bit protected mode (the others).
 *
 * All that differs between kernels is in the parameters at 40h and the descriptors at 800h, which bios/kernelboot.c
 * fills in before it gives the ROM to fw_cfg (struct kernelboot_parameters: keep both in step).
 *
 * The image is flat, offsets count from the ROM's segment. Option ROM memory is write-protected by now, so what has to be
 * written lives between 7000h and 7c20h, where no kernel is loaded (kernelboot.c sees to that). Needs a 386.
 */
        .set SCRATCH_GDT, 0x7000        /* 4 descriptors */
        .set SCRATCH_GDTR, 0x7020       /* 6 bytes */
        .set SCRATCH_FAR, 0x7028        /* far pointer into protected mode */
        .set SCRATCH_ENTRY, 0x7030      /* where to jump; then EBX and EAX for it */
        .set SCRATCH_EBX, 0x7034
        .set SCRATCH_EAX, 0x7038
        .set STACK_TOP, 0x7c00
        .set SCRATCH_DMA, 0x7c00        /* the descriptor that is running */
        .set SCRATCH_DMA_BE, 0x007c0000 /* its address as the big-endian port takes it */

        .set PORT_DMA_HIGH, 0x514
        .set PORT_DMA_LOW, 0x518
        .set DMA_ERROR_BE, 0x01000000

        .set KIND_LINUX, 0
        .set KIND_MULTIBOOT, 1
        .set KIND_PVH, 2
        .set E820_ENTRY, 24             /* bytes in the kernel's table, both kinds */
        .set SMAP, 0x534d4150

        .text
        .code16
        .globl _start
_start:
rom:    .word 0xaa55
        .byte 4096 / 512
init:   lret                            /* nothing to initialise (called with a far call) */
        .org 0x06
        .byte 0                         /* checksum: kernelboot.c */
        .org 0x1a
        .word pnp - rom
        .org 0x20
pnp:    .ascii "$PnP"
        .byte 1, 0x20 / 16
        .word 0                         /* no further header */
        .byte 0, 0                      /* reserved, checksum: kernelboot.c */
        .long 0
        .word maker - rom, product - rom
        .byte 0, 0, 0                   /* device type */
        .byte 0x60                      /* this ROM may be shadowed; read-cacheable */
        .word 0, 0                      /* boot connection, disconnect */
        .word boot - rom                /* bootstrap entry */
        .word 0, 0

        .org 0x40                       /* struct kernelboot_parameters */
magic:          .ascii "S86K"
kind:           .word 0
descriptors:    .word 0
e820_table:     .long 0                 /* physical, below 1 MiB */
e820_room:      .long 0                 /* entries */
e820_result:    .long 0                 /* Multiboot: gets the table's bytes; PVH: gets its entries */
memory_result:  .long 0                 /* Multiboot: gets KiB of low memory, then KiB from 1 MiB on */
rsdp_result:    .long 0                 /* PVH */
entry:          .long 0                 /* physical; Linux: the setup code's segment in 15:0, SP in 31:16 */
entry_eax:      .long 0
entry_ebx:      .long 0

maker:  .asciz "shadow86"
product: .asciz "Kernel given on the command line"
failed: .asciz "\r\nkernelboot: fw_cfg could not deliver the kernel\r\n"

        .balign 16
gdt:    .quad 0
        .quad 0x00cf9b000000ffff        /* 08: code, base 0, 4 GiB */
        .quad 0x00cf93000000ffff        /* 10: data, base 0, 4 GiB */
        .quad 0x0000890000000067        /* 18: TSS, base 0, limit 67h (PVH wants one) */
gdt_end:

/* --------------------------------------------------------------------------------------------------- boot ----- */
boot:   cli
        cld
        xorw %ax, %ax
        movw %ax, %ss
        movw $STACK_TOP, %sp
        sti
        movw %cs, %ax
        movw %ax, %ds

        movw descriptors - rom, %bp
        movw $table - rom, %si
1:      testw %bp, %bp
        jz 2f
        call transfer
        decw %bp
        jmp 1b
2:
        cmpw $KIND_LINUX, kind - rom
        je enter_linux
        call memory_map
        call memory_sizes
        call find_rsdp
        jmp enter_flat

/* Runs the descriptor at DS:SI; SI moves on. */
transfer:
        xorw %ax, %ax
        movw %ax, %es
        movw $SCRATCH_DMA, %di
        movw $8, %cx
        rep movsw
        movw $PORT_DMA_HIGH, %dx
        xorl %eax, %eax
        outl %eax, %dx
        movw $PORT_DMA_LOW, %dx
        movl $SCRATCH_DMA_BE, %eax
        outl %eax, %dx                  /* go */
1:      movl %es:SCRATCH_DMA, %eax
        testl %eax, %eax
        jz 2f
        cmpl $DMA_ERROR_BE, %eax
        jne 1b
        movw $failed - rom, %si
3:      lodsb
        testb %al, %al
        jz 4f
        movb $0x0e, %ah
        movw $7, %bx
        int $0x10
        jmp 3b
4:      sti
        hlt
        jmp 4b
2:      ret

/* Stores EAX at the physical address EDX below 1 MiB; nowhere if that is 0. Changes ES, EDX. */
store32:
        testl %edx, %edx
        jz 1f
        pushw %di
        movw %dx, %di
        andw $15, %di
        shrl $4, %edx
        movw %dx, %es
        movl %eax, %es:(%di)
        popw %di
1:      ret

/* The E820 map into the kernel's table: {base, length, type} behind a size of 20 (Multiboot) or before a zero (PVH). Multiboot's
 * idea of upper memory is the RAM that begins at 1 MiB. */
memory_map:
        movl e820_table - rom, %eax
        movw %ax, %di
        andw $15, %di
        shrl $4, %eax
        movw %ax, %es
        xorl %ebx, %ebx
        xorl %ebp, %ebp                 /* entries so far */
1:      cmpl e820_room - rom, %ebp
        jae 3f
        cmpw $KIND_MULTIBOOT, kind - rom
        jne 2f
        movl $20, %es:(%di)
        addw $4, %di
2:      movl $0xe820, %eax
        movl $SMAP, %edx
        movl $20, %ecx
        pushl %ebp
        int $0x15
        popl %ebp
        jc 3f
        cmpl $SMAP, %eax
        jne 3f
        incl %ebp
        call note_upper
        cmpw $KIND_MULTIBOOT, kind - rom
        je 4f
        movl $0, %es:20(%di)
        addw $4, %di
4:      addw $20, %di
        testl %ebx, %ebx
        jnz 1b
3:      movl %ebp, %eax
        cmpw $KIND_MULTIBOOT, kind - rom
        jne 5f
        imull $E820_ENTRY, %eax
5:      movl e820_result - rom, %edx
        jmp store32

/* ES:DI = an entry. */
note_upper:
        cmpl $0x100000, %es:(%di)
        jne 1f
        cmpl $0, %es:4(%di)
        jne 1f
        cmpl $1, %es:16(%di)
        jne 1f
        movl memory_result - rom, %edx
        testl %edx, %edx
        jz 1f
        movl %es:8(%di), %eax
        movl %es:12(%di), %ecx
        shrdl $10, %ecx, %eax
        addl $4, %edx
        pushw %es
        call store32
        popw %es
1:      ret

memory_sizes:
        int $0x12
        movzwl %ax, %eax
        movl memory_result - rom, %edx
        jmp store32

/* ACPI 5.2.5.1: on a 16-byte boundary between e0000 and fffff. */
find_rsdp:
        cmpl $0, rsdp_result - rom
        je 3f
        movw $0xe000, %bx
1:      movw %bx, %es
        cmpl $0x20445352, %es:0         /* "RSD " */
        jne 2f
        cmpl $0x20525450, %es:4         /* "PTR " */
        jne 2f
        movzwl %bx, %eax
        shll $4, %eax
        movl rsdp_result - rom, %edx
        jmp store32
2:      incw %bx
        jnz 1b
3:      ret

/* ------------------------------------------------------------------------------------------------ the kernel ----- */
/* Linux Documentation/arch/x86/boot.rst, "Running the Kernel". */
enter_linux:
        cli
        movl entry - rom, %eax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %fs
        movw %ax, %gs
        movw %ax, %ss
        movl %eax, %esp
        shrl $16, %esp
        addw $0x20, %ax
        pushw %ax
        pushw $0
        xorl %eax, %eax
        xorl %ebx, %ebx
        xorl %ecx, %ecx
        xorl %edx, %edx
        xorl %esi, %esi
        xorl %edi, %edi
        xorl %ebp, %ebp
        lretw

/* Multiboot 0.6.96 3.2; Xen docs/misc/pvh: flat segments, paging off, A20 on, interrupts off. */
enter_flat:
        cli
        inb $0x92, %al                  /* A20, in case the BIOS left it off; bit 0 would reset */
        orb $2, %al
        andb $0xfe, %al
        outb %al, $0x92
        xorw %ax, %ax
        movw %ax, %es
        movw $gdt - rom, %si
        movw $SCRATCH_GDT, %di
        movw $(gdt_end - gdt) / 2, %cx
        rep movsw
        movw $gdt_end - gdt - 1, %es:SCRATCH_GDTR
        movl $SCRATCH_GDT, %es:SCRATCH_GDTR + 2
        movl entry - rom, %eax
        movl %eax, %es:SCRATCH_ENTRY
        movl entry_ebx - rom, %eax
        movl %eax, %es:SCRATCH_EBX
        movl entry_eax - rom, %eax
        movl %eax, %es:SCRATCH_EAX
        xorl %eax, %eax
        movw %cs, %ax
        shll $4, %eax
        addl $flat - rom, %eax
        movl %eax, %es:SCRATCH_FAR
        movw $0x08, %es:SCRATCH_FAR + 4
        lgdtl %es:SCRATCH_GDTR
        movl %cr0, %eax
        orl $1, %eax
        movl %eax, %cr0
        ljmpl *%es:SCRATCH_FAR

        .code32
flat:   movl $0x10, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %fs
        movl %eax, %gs
        movl %eax, %ss
        movl $STACK_TOP, %esp
        movl $0x18, %eax
        ltr %ax
        pushl $2
        popfl
        xorl %ecx, %ecx
        xorl %edx, %edx
        xorl %esi, %esi
        xorl %edi, %edi
        xorl %ebp, %ebp
        movl SCRATCH_EAX, %eax
        movl SCRATCH_EBX, %ebx
        jmpl *SCRATCH_ENTRY

        .org 0x800
table:                                  /* fw_cfg DMA descriptors, 16 bytes each */
        .org 0x1000
