/* random.h - random guest programs, run by two engines: what the files share.
 *
 *   layout.c     what stands in memory beside the program: descriptor tables, page tables, handlers
 *   generate.c   a random program: modes, pieces, random instructions
 *   pieces.c     the pieces: loops, calls, stores into code, faults, interrupts, changed mappings...
 *   machine.c    a vCPU, RAM, ports; runs a program and keeps a log
 *   compare.c    two runs side by side; which differences are the architecture's (undefined flags)
 *   file.c       programs as text
 *   main.c       options, forks, shrinking
 *
 * A program is the contents of RAM; it starts in real mode at PROGRAM >> 4 : 0. Ports are its windows to the outside, see
 * enum port; every access to one is an entry of the log with all registers. Handlers execute OUT at once, and the host
 * looks at the frame, logs it and changes it: an exception's return address moves behind the instruction, so that
 * the program goes on. All this depends on the guest's state alone, not on time.
 */
#ifndef SHADOW86_TESTS_RANDOM_H
#define SHADOW86_TESTS_RANDOM_H

#include "cpu/cpu.h"
#include "cpu/insn.h"
#include "cpu/vcpu.h"
#include "tests/native/native.h"

enum {
    RAM_BYTES = 2 << 20,
    GDT = 0x1000, IDT32 = 0x2000, IDT64 = 0x3000, TSS32 = 0x4000, TSS64 = 0x4200, POINTERS = 0x4400 /* for LGDT, LIDT */,
    HANDLERS64 = 0x5000, HANDLERS32 = 0x6000, HANDLERS16 = 0x7000, STACKS = 0xf000 /* of handlers, downwards */,
    PML4 = 0x10000, PDPT = 0x11000, PAGE_DIR = 0x12000, PDPT_PAE = 0x13000, TABLE0 = 0x14000, TABLE1 = 0x15000,
    DIR32 = 0x16000, TABLE32 = 0x17000,
    PROGRAM = 0x20000, PROGRAM_END = 0x2b000, NEAR_FUNCTIONS = 0x2c000, FUNCTIONS = 0x30000, FUNCTIONS_END = 0x3c000,
    DATA = 0x40000, WINDOW = 0x41000, WINDOW_END = 0x44000, STACK = 0x4f000,
    ABSENT = 0x80000, READ_ONLY = 0x81000, SUPERVISOR = 0x82000, LAZY = 0x84000 /* 8 pages, mapped when first touched */,
    LAZY_END = 0x8c000, FRAMES = 0x60000 /* 0x60000..0x63fff: what the two pages below are mapped to */,
    MAPPED_DATA = 0x1f0000, MAPPED_CODE = 0x1f1000, ALIAS = 0x200000 /* the lower 2 MiB again, where paging is on */,
};

enum gdt_selector {
    GDT_CODE32 = 0x08, GDT_DATA = 0x10, GDT_CODE32_3 = 0x1b, GDT_DATA_3 = 0x23, GDT_CODE64_3 = 0x2b, GDT_CODE64 = 0x30,
    GDT_SYSCALL = 0x38 /* and 0x40 */, GDT_TSS32 = 0x48, GDT_TSS64 = 0x50, GDT_CODE16 = 0x60, GDT_DATA16 = 0x68,
    GDT_BASED = 0x73, GDT_READ_ONLY = 0x7b, GDT_END = 0x80,
};

/* OUT imm8, AL. */
enum port {
    PORT_EVENT = 0xe0,      /* a handler: vector, error code and frame are on the stack */
    PORT_SYSCALL = 0xe1,
    PORT_PIECE = 0xe2,      /* a piece starts */
    PORT_LOOK = 0xe3,       /* log the registers, flags too */
    PORT_IRQ = 0xe4,        /* raise an interrupt request */
    PORT_END = 0xe5,
};
enum { VECTOR_LOOK = 0x80, VECTOR_KERNEL = 0x81 /* INT: goes on in kernel mode */, VECTOR_IRQ = 0x90, VECTORS = 0xa0 };

struct item { u32 at; u8 len, mode; };              /* an instruction of the program */
enum { MAX_ITEMS = 12000, MAX_PIECES = 400 };
struct piece { u32 at; u16 cs, ss; const char *name; };     /* where to go on when nothing else helps */

struct program {
    u64 seed;
    bool exactflags;
    bool must_end;              /* shrinking: what does not reach PORT_END is of no use */
    char options[200];          /* -accel jit,... */
    u8 *mem;                    /* RAM_BYTES */
    unsigned item_count, piece_count;
    struct item item[MAX_ITEMS];
    struct piece piece[MAX_PIECES];
};

/* --- layout.c --- */
void layout_make(u8 *mem);

/* --- generate.c --- */
void generate(struct program *p, u64 seed);

/* --- machine.c --- */
enum log_kind { LOG_EVENT, LOG_CALL, LOG_PIECE, LOG_LOOK, LOG_REQUEST, LOG_END, LOG_SHUTDOWN, LOG_PORT };
struct log_entry {
    u8 kind, vector;
    u16 cs;
    u32 error, flags;           /* of the frame; LOG_LOOK: the flags */
    u64 rip, sp, cr2, dr6;
    u64 gpr[16], vectors, x87, mxcsr;
    u64 undefined;              /* ENGINE_STEPS: flags of the frame that are */
};
enum { LOG_MAX = 4096, IMAGES = 2048 };
struct run {
    struct vcpu *cpu;
    struct ram *ram;
    struct physmap *map;
    struct region region;
    const struct program *program;
    struct log_entry *log;
    unsigned count;
    bool end, out_of_budget, step;
    u64 image[IMAGES];          /* where flags were pushed by events: physical addresses */
    unsigned images, piece, requests, steps;
    bool pure;                  /* frames with all flags */
    /* compare.c: flags that the architecture leaves undefined at this moment, and the first entry they may reach */
    u32 undefined, undefined_outside /* of the handler that runs */;
    unsigned doubt;
    u64 doubt_at;
};
enum engine { ENGINE_INTERP, ENGINE_STEPS, ENGINE_JIT };
/* False: the machine or the translator cannot be made (said so). */
bool run_program(struct run *r, const struct program *p, enum engine engine);
void run_free(struct run *r);
void run_interrupt(void);       /* from a signal handler: stop the vCPU */

/* --- compare.c --- */
enum verdict { SAME, DIFFERENT, NOT_COMPARED /* does not end */, UNDEFINED /* differs after an undefined flag was looked at */,
               KNOWN /* known_difference in compare.c */, VERDICTS };
void track_flags(struct run *r);        /* before each instruction of ENGINE_STEPS */
u32 flags_read_by(const struct insn *in);
enum verdict compare_engines(const struct program *p, enum engine second, bool print);
void print_log(const struct program *p);        /* under the interpreter */

/* --- file.c --- */
bool program_save(const struct program *p, const char *name);
bool program_load(struct program *p, const char *name);     /* false: said why */
struct program *program_new(void);
void program_free(struct program *p);

#endif
