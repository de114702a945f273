/* test_interp_native.c - integer instructions of the interpreter against the host CPU, on x86-64 hosts.
 *
 * Random encodings of the opcodes listed below run natively on random registers and memory, and on a vCPU in 64-bit mode
 * whose data stands at the same address. All registers, the data and every flag that the instruction's row calls defined
 * must agree; a #DE must be a #DE in both. The seed is fixed, so a failure repeats.
 *
 * SHADOW86_NATIVE_CASES in the environment sets the cases per opcode, SHADOW86_NATIVE_SEED the seed.
 */
#if defined(__x86_64__)
#undef _GNU_SOURCE              /* it makes <signal.h> define names of ours: REG_RAX... */
#define _DEFAULT_SOURCE
#include <check.h>
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/cpu.h"
#include "cpu/interp.h"
#include "cpu/vcpu.h"

enum { DATA_BASE = 0x10000000, DATA_SIZE = 0x8000, DATA_MIDDLE = DATA_BASE + DATA_SIZE / 2, CODE_AT = 0x3000 };

static u64 rng_state;
static u64 rng(void)
{
    u64 z = rng_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* Boundary values often, anything else too. */
static u64 random_value(void)
{
    static const u64 edges[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
                                 0x7fffffffffffffff, 0x8000000000000000, ~(u64)0, ~(u64)1 };
    u64 v = rng();
    switch (rng() % 4) {
    case 0: return edges[v % ARRAY_LEN(edges)];
    case 1: return v >> (rng() % 64);
    default: return v;
    }
}

/* --- the host ------------------------------------------------------------------------------------------------------ */

struct regs { u64 gpr[16], flags; };
static u8 *host_data, *host_code;
static sigjmp_buf escape;

static void on_signal(int sig) { siglongjmp(escape, sig); }

static u8 *put(u8 *p, const char *bytes, unsigned n) { memcpy(p, bytes, n); return p + n; }
/* mov reg, [rdi + 8 * reg] or the other way round */
static u8 *put_move(u8 *p, unsigned reg, bool load)
{
    *p++ = reg >= 8 ? 0x4c : 0x48;
    *p++ = load ? 0x8b : 0x89;
    *p++ = (u8)(0x47 | (reg & 7) << 3);
    *p++ = (u8)(reg * 8);
    return p;
}

/* void code(struct regs *): loads everything but RSP, runs the instruction, stores everything. */
static void build(const u8 *insn, unsigned len)
{
    u8 *p = host_code;
    p = put(p, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57\x57", 11);         /* push rbx rbp r12..r15 rdi */
    p = put(p, "\xff\xb7\x80\x00\x00\x00\x9d", 7);                          /* push [rdi+128]; popfq */
    for (unsigned r = 0; r < 16; r++)
        if (r != REG_RSP && r != REG_RDI)
            p = put_move(p, r, true);
    p = put_move(p, REG_RDI, true);
    p = put(p, (const char *)insn, len);
    p = put(p, "\x48\x87\x3c\x24", 4);                                      /* xchg [rsp], rdi */
    for (unsigned r = 0; r < 16; r++)
        if (r != REG_RSP && r != REG_RDI)
            p = put_move(p, r, false);
    p = put(p, "\x9c\x8f\x87\x80\x00\x00\x00", 7);                          /* pushfq; pop [rdi+128] */
    p = put(p, "\x58\x48\x89\x47\x38", 5);                                  /* pop rax; mov [rdi+56], rax */
    p = put(p, "\xfc\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3", 12);
}

/* 0, or the signal that it raised. */
static int run_native(struct regs *r)
{
    void (*f)(struct regs *);
    int sig = sigsetjmp(escape, 1);
    if (sig)
        return sig;
    memcpy(&f, &host_code, sizeof f);
    f(r);
    return 0;
}

/* --- the guest ----------------------------------------------------------------------------------------------------- */

static struct ram *low, *data;
static struct vcpu *cpu;

static void guest_new(void)
{
    static struct region regions[2];
    char err[256];
    struct physmap *p = physmap_new();
    low = ram_new(1 << 20, err, sizeof err);
    data = ram_new(DATA_SIZE, err, sizeof err);
    regions[0] = (struct region){ .name = "low", .size = 1 << 20, .kind = REGION_RAM, .enabled = true, .ram = low };
    regions[1] = (struct region){ .name = "data", .start = DATA_BASE, .size = DATA_SIZE, .kind = REGION_RAM,
                                  .enabled = true, .ram = data };
    physmap_add(p, &regions[0]);
    physmap_add(p, &regions[1]);
    cpu = vcpu_new("max", p, NULL, NULL, err, sizeof err);
    ck_assert_msg(cpu != NULL, "%s", err);
    u64 pml4 = 0x2003, pdpt = 0x83;             /* one identity-mapped page of 1 GiB */
    memcpy(low->base + 0x1000, &pml4, 8);
    memcpy(low->base + 0x2000, &pdpt, 8);
    cpu->cr0 = CR0_PE | CR0_ET | CR0_PG;
    cpu->cr4 = CR4_PAE;
    cpu->cr3 = 0x1000;
    cpu->efer = EFER_LME | EFER_LMA;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu->seg[i] = (struct segment){ .limit = 0xffffffff, .attr = SEG_P | SEG_S | SEG_G | SEG_W | SEG_A };
    cpu->seg[SEG_CS].attr = SEG_P | SEG_S | SEG_G | SEG_CODE | SEG_W | SEG_A | SEG_L;
    segment_refresh(cpu);
    sysreg_refresh_mmu(cpu);
}

/* --- what is tried ------------------------------------------------------------------------------------------------- */

/* opcode bytes with mandatory prefix; how the rest is made up */
enum shape { MODRM = 1, IMM8 = 2, IMMZ = 4, BYTE = 8 /* 8-bit operands */, FIXED_REG = 16 /* ModRM.reg is part of it */, NO_MEM = 32,
             MEM_ONLY = 64, BITS = 128 /* a register is a bit offset */, NO66 = 256, VEX = 512, STRING = 1024, IMM_V = 2048, LOCKED = 4096 };
struct pattern { const char *name; u8 prefix, map /* 0, 1: 0F, 2: 0F38, 3: 0F3A */, opcode, reg; u32 shape; };

#define LOCK(n) ((n) == 7 ? 0 : LOCKED)      /* not CMP */
#define ALU(name, n) \
    { name " Eb,Gb", 0, 0, (n) * 8, 0, MODRM | BYTE | LOCK(n) }, { name " Ev,Gv", 0, 0, (n) * 8 + 1, 0, MODRM | LOCK(n) }, \
    { name " Gb,Eb", 0, 0, (n) * 8 + 2, 0, MODRM | BYTE }, { name " Gv,Ev", 0, 0, (n) * 8 + 3, 0, MODRM }, \
    { name " AL,Ib", 0, 0, (n) * 8 + 4, 0, IMM8 | BYTE }, { name " rAX,Iz", 0, 0, (n) * 8 + 5, 0, IMMZ }, \
    { name " Eb,Ib", 0, 0, 0x80, n, MODRM | FIXED_REG | IMM8 | BYTE | LOCK(n) }, \
    { name " Ev,Iz", 0, 0, 0x81, n, MODRM | FIXED_REG | IMMZ | LOCK(n) }, \
    { name " Ev,Ibs", 0, 0, 0x83, n, MODRM | FIXED_REG | IMM8 | LOCK(n) }
#define SHIFT(name, n) \
    { name " Eb,Ib", 0, 0, 0xc0, n, MODRM | FIXED_REG | IMM8 | BYTE }, { name " Ev,Ib", 0, 0, 0xc1, n, MODRM | FIXED_REG | IMM8 }, \
    { name " Eb,1", 0, 0, 0xd0, n, MODRM | FIXED_REG | BYTE }, { name " Ev,1", 0, 0, 0xd1, n, MODRM | FIXED_REG }, \
    { name " Eb,CL", 0, 0, 0xd2, n, MODRM | FIXED_REG | BYTE }, { name " Ev,CL", 0, 0, 0xd3, n, MODRM | FIXED_REG }
#define GROUP3(name, n) \
    { name " Eb", 0, 0, 0xf6, n, MODRM | FIXED_REG | BYTE }, { name " Ev", 0, 0, 0xf7, n, MODRM | FIXED_REG }
#define CC(n) { "cmovcc", 0, 1, 0x40 + n, 0, MODRM }, { "setcc", 0, 1, 0x90 + n, 0, MODRM | BYTE }

static const struct pattern patterns[] = {
    ALU("add", 0), ALU("or", 1), ALU("adc", 2), ALU("sbb", 3), ALU("and", 4), ALU("sub", 5), ALU("xor", 6), ALU("cmp", 7),
    SHIFT("rol", 0), SHIFT("ror", 1), SHIFT("rcl", 2), SHIFT("rcr", 3), SHIFT("shl", 4), SHIFT("shr", 5), SHIFT("sar", 7),
    GROUP3("not", 2), GROUP3("neg", 3), GROUP3("mul", 4), GROUP3("imul", 5), GROUP3("div", 6), GROUP3("idiv", 7),
    { "test Eb,Ib", 0, 0, 0xf6, 0, MODRM | FIXED_REG | IMM8 | BYTE }, { "test Ev,Iz", 0, 0, 0xf7, 0, MODRM | FIXED_REG | IMMZ },
    { "test Eb,Gb", 0, 0, 0x84, 0, MODRM | BYTE }, { "test Ev,Gv", 0, 0, 0x85, 0, MODRM },
    { "test AL,Ib", 0, 0, 0xa8, 0, IMM8 | BYTE }, { "test rAX,Iz", 0, 0, 0xa9, 0, IMMZ },
    { "inc Eb", 0, 0, 0xfe, 0, MODRM | FIXED_REG | BYTE }, { "dec Eb", 0, 0, 0xfe, 1, MODRM | FIXED_REG | BYTE },
    { "inc Ev", 0, 0, 0xff, 0, MODRM | FIXED_REG }, { "dec Ev", 0, 0, 0xff, 1, MODRM | FIXED_REG },
    { "imul Gv,Ev", 0, 1, 0xaf, 0, MODRM }, { "imul Gv,Ev,Iz", 0, 0, 0x69, 0, MODRM | IMMZ },
    { "imul Gv,Ev,Ib", 0, 0, 0x6b, 0, MODRM | IMM8 },
    { "cbw cwde cdqe", 0, 0, 0x98, 0, 0 }, { "cwd cdq cqo", 0, 0, 0x99, 0, 0 },
    { "mov Eb,Gb", 0, 0, 0x88, 0, MODRM | BYTE }, { "mov Ev,Gv", 0, 0, 0x89, 0, MODRM },
    { "mov Gb,Eb", 0, 0, 0x8a, 0, MODRM | BYTE }, { "mov Gv,Ev", 0, 0, 0x8b, 0, MODRM },
    { "mov Eb,Ib", 0, 0, 0xc6, 0, MODRM | FIXED_REG | IMM8 | BYTE }, { "mov Ev,Iz", 0, 0, 0xc7, 0, MODRM | FIXED_REG | IMMZ },
    { "mov r,Iv", 0, 0, 0xb8, 0, IMM_V }, { "lea", 0, 0, 0x8d, 0, MODRM | MEM_ONLY },
    { "movsxd", 0, 0, 0x63, 0, MODRM }, { "movzx Eb", 0, 1, 0xb6, 0, MODRM | BYTE }, { "movzx Ew", 0, 1, 0xb7, 0, MODRM },
    { "movsx Eb", 0, 1, 0xbe, 0, MODRM | BYTE }, { "movsx Ew", 0, 1, 0xbf, 0, MODRM },
    { "xchg Eb", 0, 0, 0x86, 0, MODRM | BYTE | LOCKED }, { "xchg Ev", 0, 0, 0x87, 0, MODRM | LOCKED },
    { "xchg rAX", 0, 0, 0x93, 0, 0 }, { "lahf", 0, 0, 0x9f, 0, NO66 }, { "sahf", 0, 0, 0x9e, 0, NO66 },
    { "clc", 0, 0, 0xf8, 0, NO66 }, { "stc", 0, 0, 0xf9, 0, NO66 }, { "cmc", 0, 0, 0xf5, 0, NO66 },
    CC(0), CC(1), CC(2), CC(3), CC(4), CC(5), CC(6), CC(7), CC(8), CC(9), CC(10), CC(11), CC(12), CC(13), CC(14), CC(15),
    { "bt Ev,Gv", 0, 1, 0xa3, 0, MODRM | BITS }, { "bts Ev,Gv", 0, 1, 0xab, 0, MODRM | BITS | LOCKED },
    { "btr Ev,Gv", 0, 1, 0xb3, 0, MODRM | BITS }, { "btc Ev,Gv", 0, 1, 0xbb, 0, MODRM | BITS },
    { "bt Ib", 0, 1, 0xba, 4, MODRM | FIXED_REG | IMM8 }, { "bts Ib", 0, 1, 0xba, 5, MODRM | FIXED_REG | IMM8 },
    { "btr Ib", 0, 1, 0xba, 6, MODRM | FIXED_REG | IMM8 }, { "btc Ib", 0, 1, 0xba, 7, MODRM | FIXED_REG | IMM8 | LOCKED },
    { "shld Ib", 0, 1, 0xa4, 0, MODRM | IMM8 }, { "shld CL", 0, 1, 0xa5, 0, MODRM },
    { "shrd Ib", 0, 1, 0xac, 0, MODRM | IMM8 }, { "shrd CL", 0, 1, 0xad, 0, MODRM },
    { "bsf", 0, 1, 0xbc, 0, MODRM }, { "bsr", 0, 1, 0xbd, 0, MODRM },
    { "tzcnt", 0xf3, 1, 0xbc, 0, MODRM }, { "lzcnt", 0xf3, 1, 0xbd, 0, MODRM }, { "popcnt", 0xf3, 1, 0xb8, 0, MODRM },
    { "xadd Eb", 0, 1, 0xc0, 0, MODRM | BYTE | LOCKED }, { "xadd Ev", 0, 1, 0xc1, 0, MODRM | LOCKED },
    { "cmpxchg Eb", 0, 1, 0xb0, 0, MODRM | BYTE | LOCKED }, { "cmpxchg Ev", 0, 1, 0xb1, 0, MODRM | LOCKED },
    { "cmpxchg8b", 0, 1, 0xc7, 1, MODRM | FIXED_REG | MEM_ONLY | LOCKED }, { "bswap", 0, 1, 0xcb, 0, NO66 },
    { "movbe load", 0, 2, 0xf0, 0, MODRM | MEM_ONLY }, { "movbe store", 0, 2, 0xf1, 0, MODRM | MEM_ONLY },
    { "crc32 Eb", 0xf2, 2, 0xf0, 0, MODRM | BYTE }, { "crc32 Ev", 0xf2, 2, 0xf1, 0, MODRM },
    { "adcx", 0x66, 2, 0xf6, 0, MODRM | NO66 }, { "adox", 0xf3, 2, 0xf6, 0, MODRM | NO66 },
    { "andn", 0, 2, 0xf2, 0, MODRM | VEX }, { "blsr", 0, 2, 0xf3, 1, MODRM | FIXED_REG | VEX },
    { "blsmsk", 0, 2, 0xf3, 2, MODRM | FIXED_REG | VEX }, { "blsi", 0, 2, 0xf3, 3, MODRM | FIXED_REG | VEX },
    { "bzhi", 0, 2, 0xf5, 0, MODRM | VEX }, { "pext", 0xf3, 2, 0xf5, 0, MODRM | VEX }, { "pdep", 0xf2, 2, 0xf5, 0, MODRM | VEX },
    { "mulx", 0xf2, 2, 0xf6, 0, MODRM | VEX }, { "bextr", 0, 2, 0xf7, 0, MODRM | VEX }, { "shlx", 0x66, 2, 0xf7, 0, MODRM | VEX },
    { "sarx", 0xf3, 2, 0xf7, 0, MODRM | VEX }, { "shrx", 0xf2, 2, 0xf7, 0, MODRM | VEX },
    { "rorx", 0xf2, 3, 0xf0, 0, MODRM | VEX | IMM8 },
    { "movsb", 0, 0, 0xa4, 0, STRING | BYTE }, { "movs", 0, 0, 0xa5, 0, STRING }, { "cmpsb", 0, 0, 0xa6, 0, STRING | BYTE },
    { "cmps", 0, 0, 0xa7, 0, STRING }, { "stosb", 0, 0, 0xaa, 0, STRING | BYTE }, { "stos", 0, 0, 0xab, 0, STRING },
    { "lodsb", 0, 0, 0xac, 0, STRING | BYTE }, { "lods", 0, 0, 0xad, 0, STRING }, { "scasb", 0, 0, 0xae, 0, STRING | BYTE },
    { "scas", 0, 0, 0xaf, 0, STRING }, { "xlat", 0, 0, 0xd7, 0, NO66 | BITS },
};

struct attempt { u8 bytes[16]; unsigned len; struct regs regs; };

static unsigned random_reg(void)        /* not RSP */
{
    unsigned r;
    do
        r = rng() & 15;
    while (r == REG_RSP);
    return r;
}

static void add_prefixes(struct attempt *t, const struct pattern *p, unsigned reg, unsigned index, unsigned rm, bool mem)
{
    bool wide = rng() & 1;
    u8 rex = (u8)(0x40 | wide << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | rm >> 3);
    if (p->shape & VEX) {
        unsigned pp = p->prefix == 0x66 ? 1 : p->prefix == 0xf3 ? 2 : p->prefix == 0xf2 ? 3 : 0;
        t->bytes[t->len++] = 0xc4;
        t->bytes[t->len++] = (u8)((~rex & 7) << 5 | p->map);
        t->bytes[t->len++] = (u8)(wide << 7 | (p->map == 3 ? 15 : ~random_reg() & 15) << 3 | pp);     /* RORX has no VVVV */
        return;
    }
    if (mem && p->shape & LOCKED && rng() % 4 == 0)
        t->bytes[t->len++] = 0xf0;
    if (!(p->shape & NO66) && rng() % 4 == 0)
        t->bytes[t->len++] = 0x66;
    if (p->prefix)
        t->bytes[t->len++] = p->prefix;
    if (p->shape & STRING && rng() & 1)
        t->bytes[t->len++] = rng() & 1 ? 0xf3 : 0xf2;
    if (p->shape & FIXED_REG && p->map == 1 && p->opcode == 0xc7)
        rex &= ~8;
    if (rex != 0x40 || rng() & 1)
        t->bytes[t->len++] = rex;
    if (p->map)
        t->bytes[t->len++] = 0x0f;
    if (p->map > 1)
        t->bytes[t->len++] = p->map == 2 ? 0x38 : 0x3a;
}

/* [base + disp8] or [base + index * 1 + disp8], around the middle of the data. */
static void add_memory(struct attempt *t, unsigned reg, unsigned base, unsigned index, bool sib)
{
    bool needs_sib = sib || (base & 7) == 4;
    t->bytes[t->len++] = (u8)(0x40 | (reg & 7) << 3 | (needs_sib ? 4 : base & 7));
    if (needs_sib)
        t->bytes[t->len++] = (u8)((sib ? index & 7 : 4) << 3 | (base & 7));
    t->bytes[t->len++] = (u8)rng();
    t->regs.gpr[base] = DATA_MIDDLE + (rng() & 0xff);
    if (sib)
        t->regs.gpr[index] = base == index ? DATA_MIDDLE / 2 : rng() & 0xff;
}

static void random_attempt(struct attempt *t, const struct pattern *p)
{
    memset(t, 0, sizeof *t);
    for (unsigned i = 0; i < 16; i++)
        t->regs.gpr[i] = random_value();
    t->regs.flags = (rng() & EFL_STATUS) | 0x202 | (p->shape & STRING && rng() & 1 ? EFL_DF : 0);
    bool mem = p->shape & MODRM && (p->shape & MEM_ONLY || (!(p->shape & NO_MEM) && rng() & 1));
    unsigned reg = p->shape & FIXED_REG ? p->reg : random_reg(), rm = random_reg(), index = random_reg();
    bool sib = mem && rng() & 1;
    while (p->shape & BITS && mem && (reg == rm || (sib && reg == index)))
        reg = random_reg();
    add_prefixes(t, p, reg, sib ? index : 0, rm, mem);
    t->bytes[t->len++] = p->opcode;
    if (mem)
        add_memory(t, reg, rm, index, sib);
    else if (p->shape & MODRM)
        t->bytes[t->len++] = (u8)(0xc0 | (reg & 7) << 3 | (rm & 7));
    if (p->shape & BITS)
        t->regs.gpr[reg] = (u64)(s64)(s16)rng();
    if (p->opcode == 0xd7 && !p->map)
        t->regs.gpr[REG_RBX] = DATA_MIDDLE;
    if (p->shape & STRING) {
        t->regs.gpr[REG_RSI] = DATA_MIDDLE + rng() % 5000 - 2500;
        t->regs.gpr[REG_RDI] = rng() & 1 ? t->regs.gpr[REG_RSI] + rng() % 41 - 20 : DATA_MIDDLE + rng() % 5000 - 2500;
        t->regs.gpr[REG_RCX] = rng() & 3 ? rng() % 40 : rng() % 1000;
    }
    if (p->opcode == 0xb1 && p->map && rng() & 1 && !mem)
        t->regs.gpr[REG_RAX] = t->regs.gpr[rm];
    for (unsigned i = 0; i < 8; i++)        /* the longest immediate; the decoder says how many belong to it */
        t->bytes[t->len + i] = (u8)(p->shape & IMM8 && i ? 0x90 : rng());
}

/* --- comparing ----------------------------------------------------------------------------------------------------- */

static bool host_has(unsigned feature)
{
    static const struct { unsigned id, leaf, sub, reg, bit; } rows[] = {
#define F(id, name, leaf, sub, reg, bit) { CPUID_##id, leaf, sub, reg, bit },
        CPUID_FEATURES(F)
#undef F
    };
    unsigned r[4];
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].id == feature)
            return __get_cpuid_count(rows[i].leaf, rows[i].sub, &r[0], &r[1], &r[2], &r[3]) && r[rows[i].reg] >> rows[i].bit & 1;
    return true;
}

static const char *describe(const struct attempt *t, const struct insn *in)
{
    static char text[512];
    char name[128];
    unsigned n = 0;
    insn_print(name, sizeof name, in, CODE_AT);
    n += (unsigned)snprintf(text, sizeof text, "%s [", name);
    for (unsigned i = 0; i < in->len; i++)
        n += (unsigned)snprintf(text + n, sizeof text - n, "%02x ", t->bytes[i]);
    snprintf(text + n, sizeof text - n, "] flags %03llx rax %llx rcx %llx rdx %llx op0 %llx op1 %llx",
        (unsigned long long)t->regs.flags, (unsigned long long)t->regs.gpr[0], (unsigned long long)t->regs.gpr[1],
        (unsigned long long)t->regs.gpr[2], (unsigned long long)t->regs.gpr[in->op[0].reg & 15],
        (unsigned long long)t->regs.gpr[in->op[1].reg & 15]);
    return text;
}

/* Flags that depend on the operands: shift counts. */
static u32 undefined_flags(const struct insn *in, const struct attempt *t)
{
    const struct insn_row *row = &insn_rows[in->row];
    unsigned undef = row->undef;
    if (row->attr & ATTR_CONDFL && !(row->attr & ATTR_STRING)) {
        const struct operand *o = in->op[2].kind != OP_NONE ? &in->op[2] : &in->op[1];
        u64 count = (o->kind == OP_IMM ? in->imm : t->regs.gpr[REG_RCX]) & (in->op[0].size == 8 ? 63 : 31);
        if (count == 0)
            return 0;
        if (count == 1)
            undef &= ~(unsigned)EFL_OF;
        if (count >= 8u * in->op[0].size)
            undef |= in->op[2].kind != OP_NONE && count > 8u * in->op[0].size ? EFL_STATUS : EFL_CF;
    }
    return undef;
}

static bool run_guest(struct attempt *t, const struct insn *in)
{
    memcpy(cpu->gpr, t->regs.gpr, sizeof t->regs.gpr);
    rflags_set(cpu, t->regs.flags);
    u64 rip = CODE_AT;
    do {
        cpu->rip = rip + in->len;
        if (!interp_run_form(cpu, in))
            return false;
    } while (cpu->rip == rip);
    return true;
}

static void compare(const struct pattern *p, struct attempt *t, const struct insn *in)
{
    static u8 before[DATA_SIZE];
    struct regs host = t->regs;
    for (unsigned i = 0; i < DATA_SIZE; i += 8) {
        u64 v = random_value();
        memcpy(before + i, &v, 8);
    }
    if (p->shape & STRING && rng() & 1)
        memset(before, (int)t->regs.gpr[0] & 0xff, DATA_SIZE);
    memcpy(host_data, before, DATA_SIZE);
    memcpy(data->base, before, DATA_SIZE);
    build(t->bytes, in->len);
    int sig = run_native(&host);
    bool ok = run_guest(t, in);
    ck_assert_msg((sig == 0) == ok, "%s: %s: host signal %d, guest %s %u", p->name, describe(t, in), sig,
        ok ? "ran" : "fault", cpu->exc.vector);
    if (!ok) {
        ck_assert_msg(sig != SIGFPE || cpu->exc.vector == EXC_DE, "%s: not #DE", describe(t, in));
        return;
    }
    for (unsigned r = 0; r < 16; r++)
        if (r != REG_RSP)
            ck_assert_msg(host.gpr[r] == cpu->gpr[r], "%s: %s: register %u: host %llx, guest %llx", p->name, describe(t, in), r,
                (unsigned long long)host.gpr[r], (unsigned long long)cpu->gpr[r]);
    u32 mask = EFL_STATUS & ~undefined_flags(in, t);
    ck_assert_msg(!((host.flags ^ rflags_get(cpu)) & mask), "%s: %s: flags: host %03x, guest %03x, defined %03x", p->name,
        describe(t, in), (unsigned)host.flags & EFL_STATUS, (unsigned)rflags_get(cpu) & EFL_STATUS, mask);
    ck_assert_msg(!memcmp(host_data, data->base, DATA_SIZE), "%s: %s: memory differs", p->name, describe(t, in));
}

/* 16-bit double shifts by more than 16 leave the result undefined. */
static bool undefined_result(const struct insn *in, const struct attempt *t)
{
    const char *name = insn_rows[in->row].name;
    if (!strcmp(name, "shld") || !strcmp(name, "shrd")) {
        u64 count = in->op[2].kind == OP_IMM ? in->imm : t->regs.gpr[REG_RCX];
        return in->op[0].size == 2 && (count & 31) > 16;
    }
    return false;
}

static void run_pattern(const struct pattern *p, unsigned cases)
{
    for (unsigned i = 0; i < cases; i++) {
        struct attempt t;
        struct insn in;
        random_attempt(&t, p);
        ck_assert_msg(insn_decode(&in, t.bytes, 15, 8, cpu->model.features) == DECODE_OK, "%s does not decode", p->name);
        if (!host_has(insn_rows[in.row].cpuid))
            return;
        if (undefined_result(&in, &t))
            continue;
        interp_prepare(&in);
        compare(p, &t, &in);
    }
}

START_TEST(native)
{
    const char *cases = getenv("SHADOW86_NATIVE_CASES"), *seed = getenv("SHADOW86_NATIVE_SEED");
    rng_state = (seed ? strtoull(seed, NULL, 0) : 1) * 1000003 + (unsigned)_i;
    guest_new();
    host_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    host_data = mmap((void *)(uintptr_t)DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    ck_assert(host_code != MAP_FAILED);
    ck_assert(host_data == (void *)(uintptr_t)DATA_BASE);
    signal(SIGFPE, on_signal);
    signal(SIGSEGV, on_signal);
    signal(SIGILL, on_signal);
    run_pattern(&patterns[_i], cases ? (unsigned)strtoul(cases, NULL, 0) : 100);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("interp_native");
    TCase *t = tcase_create("integer");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, native, 0, (int)ARRAY_LEN(patterns));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
#else
int main(void)
{
    return 77;          /* skipped: nothing to compare with on this host */
}
#endif
