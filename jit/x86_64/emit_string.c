/* emit_string.c - REP MOVS, STOS, CMPS, SCAS: the usual case in line, in front of the call of the interpreter's function.
 *
 * The host's own instruction works on host addresses, page by page: as many elements as there are before either side's page
 * ends. Each page is looked up in the TLB, so it is memory without code, MMIO or a dirty log. An overlap, a count of 0, a fault
 * in the middle: all as the guest's own instruction does it, since after every page RSI, RDI and RCX are what they would be
 * there. What does not go this way (DF set, an element on two pages, a page that is not in the TLB, somebody waits) is the
 * interpreter's function's, from where it has come to.
 *
 * Only for flat segments. Not with check=on: the interpreter would do again what has been done (check.c).
 */
#include "jit/jit_private.h"
#include "jit/x86_64/emit.h"

#include "cpu/interp.h"

/* opcode: the host's, for bytes; one more: for words and longer. */
static const struct string { interp_fn *run; u8 opcode; bool source, writes, compares; } strings[] = {
    { in_movs, 0xa4, true, true, false },
    { in_stos, 0xaa, false, true, false },
    { in_cmps, 0xa6, true, false, true },
    { in_scas, 0xae, false, false, true },
};

/* A string instruction on its way. */
struct way {
    const struct string *s;
    struct enc w;           /* how addresses and counts are calculated: 64 or 32 bits */
    unsigned shift;         /* log2 of the element's size */
    u8 rep;
    u32 slow[6];            /* jumps to the interpreter's function */
    unsigned slows;
};

static const struct enc W = { .w = true }, D = { 0 };

static const struct string *string_of(const struct insn *in)
{
    interp_fn *const run = insn_rows[in->row].run;
    for (unsigned i = 0; in->rep && i < ARRAY_LEN(strings); i++)
        if (strings[i].run == run)
            return &strings[i];
    return NULL;
}

static bool is_flat(u32 mode, unsigned seg, enum ir_access access)
{
    return mode_code_size(mode) == 8 ? seg < SEG_FS : mode_flat_for(mode, seg, access);
}

static bool is_usual(const struct emit *e, const struct insn *in, const struct string *s)
{
    const u32 mode = e->u->mode;
    if (e->j->opt.check || in->addrsize != (mode_code_size(mode) == 8 ? 8 : 4))
        return false;
    return is_flat(mode, SEG_ES, s->writes ? IR_WRITE : IR_READ) && (!s->source || is_flat(mode, in->seg, IR_READ));
}

static void to_slow(struct emit *e, struct way *way, unsigned cc) { way->slow[way->slows++] = emit_jump_if(e, cc); }

static void group1(struct emit *e, struct enc how, unsigned digit, unsigned reg, u32 imm)
{
    how.imm_bytes = 4;
    enc(e, how, 0x81, digit, rm_reg(reg));
    put32(e, imm);
}

/* p = host address of the page's byte at guest register `from`; by: what was added. RCX is destroyed. */
static void look_up(struct emit *e, struct way *way, unsigned p, unsigned by, unsigned from, bool write)
{
    enc(e, way->w, 0x8b, p, rm_reg(from));
    enc(e, W, 0x8b, by, rm_reg(p));
    enc(e, (struct enc){ .w = true, .imm_bytes = 1 }, 0xc1, 5, rm_reg(by));     /* shr: page number * 16 */
    put8(e, PAGE_SHIFT - 4);
    enc(e, W, 0x23, by, rm_vcpu(write ? VCPU_DISP(mmu.wr_mask) : VCPU_DISP(mmu.rd_mask)));
    enc(e, W, 0x03, by, rm_vcpu(write ? VCPU_DISP(mmu.wr) : VCPU_DISP(mmu.rd)));
    enc(e, W, 0x8b, RCX, rm_reg(p));
    group1(e, W, 4, RCX, (u32)PAGE_MASK);
    enc(e, W, 0x3b, RCX, rm_mem(by, offsetof(struct tlb_entry, tag)));
    to_slow(e, way, 5);
    enc(e, W, 0x8b, by, rm_mem(by, offsetof(struct tlb_entry, addend)));
    enc(e, W, 0x03, p, rm_reg(by));
}

/* ECX = bytes from p to the end of its page. */
static void room(struct emit *e, unsigned p)
{
    enc(e, D, 0x8b, RCX, rm_reg(p));
    group1(e, D, 1, RCX, ~(u32)(PAGE_SIZE - 1));        /* or */
    enc(e, D, 0xf7, 3, rm_reg(RCX));                    /* neg */
}

/* RCX = elements in ECX bytes, no more than are left to do; those are one of the two afterwards. */
static void count(struct emit *e, struct way *way)
{
    const unsigned left = host_of_gpr[GPR_RCX];
    if (way->shift) {
        enc(e, (struct enc){ .imm_bytes = 1 }, 0xc1, 5, rm_reg(RCX));
        put8(e, (u8)way->shift);
        to_slow(e, way, 4);         /* an element on two pages */
    }
    enc(e, way->w, 0x3b, RCX, rm_reg(left));
    enc(e, way->w, 0x0f47, RCX, rm_reg(left));          /* cmova */
    enc(e, way->w, 0x2b, left, rm_reg(RCX));
}

static void host_string(struct emit *e, const struct way *way)
{
    if (way->shift == 1)
        put8(e, 0x66);
    put8(e, way->rep == REP_F2 ? 0xf2 : 0xf3);
    if (way->shift == 3)
        put8(e, 0x48);
    put8(e, (u8)(way->s->opcode + (way->shift != 0)));
}

/* reg, which has moved on as a host address, is the guest's again. by: what was added to it, negated. */
static void back(struct emit *e, const struct way *way, unsigned reg, unsigned by)
{
    enc(e, way->w, 0x8d, reg, rm_index(reg, by, 0, 0));
}

/* One run. RAX and RDX are set aside where there is a source: RSI's way back is in RAX, RDI's in RDX, else in R11. */
static void run(struct emit *e, struct way *way)
{
    const bool source = way->s->source;
    const unsigned to = source ? R11 : R10, by = source ? RDX : R11;
    const struct rm keep = rm_vcpu(VCPU_DISP(jit.temp[2]));
    if (source) {
        look_up(e, way, R10, RAX, RSI, false);
        room(e, R10);
        enc(e, D, 0x89, RCX, keep);
    }
    look_up(e, way, to, by, RDI, way->s->writes);
    room(e, to);
    if (source) {
        enc(e, D, 0x3b, RCX, keep);
        enc(e, D, 0x0f47, RCX, keep);                   /* cmova */
    }
    count(e, way);
    if (source) {
        enc(e, W, 0xf7, 3, rm_reg(RAX));                /* neg */
        enc(e, W, 0x8b, RSI, rm_reg(R10));
    }
    enc(e, W, 0xf7, 3, rm_reg(by));
    enc(e, W, 0x8b, RDI, rm_reg(to));
    host_string(e, way);
    if (source)
        back(e, way, RSI, RAX);
    back(e, way, RDI, by);
}

/* The usual case. Returns the jump that is taken when all is done; else it goes on behind the code, and the interpreter's function
 * has the rest to do. 0: there is no usual case. Flags are in memory, before and behind. */
u32 string_usual(struct emit *e, const struct insn *in)
{
    const struct string *s = string_of(in);
    if (!s || !is_usual(e, in, s))
        return 0;
    const unsigned bytes = in->op[s->opcode == 0xae].size, left = host_of_gpr[GPR_RCX];
    struct way way = { .s = s, .w = { .w = in->addrsize == 8 }, .rep = in->rep,
                       .shift = bytes == 8 ? 3 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0 };
    u32 done = 0;
    if (s->source) {
        enc(e, W, 0x89, RAX, rm_vcpu(VCPU_DISP(jit.temp[0])));
        enc(e, W, 0x89, RDX, rm_vcpu(VCPU_DISP(jit.temp[1])));
    }
    enc(e, (struct enc){ .imm_bytes = 4 }, 0xf7, 0, rm_vcpu(VCPU_DISP(eflags)));
    put32(e, EFL_DF);
    to_slow(e, &way, 5);
    enc(e, way.w, 0x85, left, rm_reg(left));
    u32 nothing = emit_jump_if(e, 4);
    const u32 again = e->at;
    run(e, &way);
    if (s->compares) {
        enc(e, way.w, 0x8d, left, rm_index(left, RCX, 0, 0));
        flags_save(e);
        done = emit_jump_if(e, in->rep == REP_F2 ? 4 : 5);
    }
    enc(e, way.w, 0x85, left, rm_reg(left));
    u32 all = emit_jump_if(e, 4);
    enc(e, (struct enc){ .imm_bytes = 1 }, 0x83, 7, rm_vcpu(VCPU_DISP(jit.poll)));
    put8(e, 0);
    emit_fill(e, emit_jump_if(e, 4), again);
    u32 waits = emit_jump(e);
    emit_fill(e, nothing, e->at);
    emit_fill(e, all, e->at);
    if (done)
        emit_fill(e, done, e->at);
    for (unsigned end = 0; end < 2; end++) {    /* the end; the rest to do */
        if (s->source) {
            enc(e, W, 0x8b, RAX, rm_vcpu(VCPU_DISP(jit.temp[0])));
            enc(e, W, 0x8b, RDX, rm_vcpu(VCPU_DISP(jit.temp[1])));
        }
        if (!end) {
            done = emit_jump(e);
            emit_fill(e, waits, e->at);
            for (unsigned i = 0; i < way.slows; i++)
                emit_fill(e, way.slow[i], e->at);
        }
    }
    return done;
}
